"""What a host does when something of it fails, and when workers stop or die."""

import asyncio

import pytest
from structlog.testing import capture_logs

from fsm import Phase, RequestedCall
from storage import (
    ContextBusy,
    ContextMissing,
    ContextRecovered,
    ErrorSeen,
    Owned,
    StorageError,
    StoreUnavailable,
    WorkerBuried,
    WorkerJoined,
    WorkerLost,
    announced_after,
    keys,
    worker_mail,
)
from storage.announcements import Entry
from tests.support.clock import in_virtual_time, now_s, settled, until
from tests.support.memory_store import Fault, MemoryOwnership
from tests.support.playbook import CONTEXT_ID, RETRY, rename, say, wants
from tests.support.store_faults import lose
from tests.workers.hosting import hosting, hosting_beside, note_counts, open_world
from tests.workers.stage import Reply, now_ms, nth_id

# Failures that concern one context


@in_virtual_time
async def test_an_activation_that_crashes_is_logged_and_begun_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_world() as world, hosting(world.store) as one:
        counted = note_counts(world.store, monkeypatch)
        world.store.announcer.by = "w1"
        one.performer.replies.append(Reply(("Hel",), bug=True))
        await world.deliver(say())
        with capture_logs() as logs:
            one.jobs.waiting.put_nowait(CONTEXT_ID)
            await until(lambda: one.jobs.failed)
            assert one.host.load() == {"active": 0, "starting": 0, "waiting_for_retry": 1}
            await until(lambda: len(one.performer.kinds) == 2)
            await world.until_phase("idle")
        (crash,) = [line for line in logs if line["event"] == "activation crashed"]
        assert (crash["context_id"], crash["crashes"], crash["log_level"]) == (
            *(CONTEXT_ID, 1, "error"),
        )
        ((_, why),) = one.jobs.failed
        assert why == "Bug: "
        assert now_s() < 3
        assert (await world.said())[-1] == ("assistant", "Hi.", "complete")
        assert counted.count("errors:activation-crashed") == 1
        await asyncio.sleep(2)  # it is announced soon
        told = await announced_after(world.store.link, 0, limit=100)
    whats = [Entry.model_validate_json(raw).what for _, raw in told]
    assert any(isinstance(what, ErrorSeen) for what in whats)
    assert not any(isinstance(what, ContextRecovered) for what in whats)


@in_virtual_time
async def test_what_crashes_each_time_is_tried_ever_less_often_until_its_turn_has_failed() -> (
    None
):
    async with open_world() as world, hosting(world.store, linger_s=0) as one:
        one.performer.usual = Reply(("Hel",), bug=True)
        await world.deliver(say())
        with capture_logs() as logs:
            one.jobs.waiting.put_nowait(CONTEXT_ID)
            state = await world.until_phase("failed")
        assert state.failure is not None
        assert state.failure.code == "attempts_exhausted"
        crashes = [line for line in logs if line["event"] == "activation crashed"]
        assert [crash["pause_s"] for crash in crashes] == [1, 2, 4, 8]
        one.performer.usual = Reply()
        await world.deliver(RETRY)
        await world.until_phase("idle")


@in_virtual_time
@pytest.mark.parametrize("gone", [ContextMissing("gone"), ContextBusy("taken")])
async def test_what_has_crashed_and_is_gone_or_taken_is_not_tried_for_ever(
    gone: StorageError, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[str] = []

    async def activate(_: MemoryOwnership, context_id: str, _worker: str) -> Owned:
        tries.append(context_id)
        raise gone

    async with open_world() as world, hosting(world.store, sweep_s=60) as one:
        one.performer.bug_in = CONTEXT_ID
        await world.deliver(say())
        one.jobs.waiting.put_nowait(CONTEXT_ID)
        await until(lambda: one.jobs.failed)
        monkeypatch.setattr(MemoryOwnership, "activate", activate)
        await asyncio.sleep(30)
        assert tries == [CONTEXT_ID]


@in_virtual_time
async def test_a_turn_that_became_ours_unheard_goes_on_with_the_next_heartbeat(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with (
        open_world() as world,
        hosting(world.store, "w1", sweep_s=60) as one,
        hosting_beside(world.store, "w2") as other,
    ):
        other.performer.usual = Reply(("Hel",), hangs=True)
        await world.deliver(say())
        other.jobs.waiting.put_nowait(CONTEXT_ID)
        await world.until_phase("streaming_llm_response")
        tries: list[str] = []
        activate = world.store.ownership.activate

        async def unheard_once(context_id: str, worker_id: str) -> Owned:
            owned = await activate(context_id, worker_id)
            tries.append(context_id)
            if len(tries) == 1:
                raise StoreUnavailable("the answer was lost")
            return owned

        monkeypatch.setattr(world.store.ownership, "activate", unheard_once)
        other.kill()
        await world.store.link.call("DEL", keys.session("w2"))
        died_s = now_s()
        await until(lambda: one.performer.kinds)
        assert now_s() - died_s < 5


@in_virtual_time
async def test_what_has_crashed_and_runs_again_reads_mail_that_it_has_not_heard() -> None:
    async with open_world() as world, hosting(world.store, linger_s=60) as one:
        one.performer.replies.append(Reply(bug=True))
        await world.deliver(say())
        one.jobs.waiting.put_nowait(CONTEXT_ID)
        await until(lambda: len(one.performer.kinds) == 2)
        await world.until_phase("idle")
        lose(world.store.subscriber, lambda _: True)
        await world.deliver(rename("unheard"))
        await asyncio.sleep(3)
        assert (await world.state()).title == "unheard"


@in_virtual_time
async def test_what_a_late_call_of_our_own_has_fenced_is_begun_again_at_once() -> None:
    async with (
        open_world() as world,
        hosting(world.store, worker_heartbeat_s=60, sweep_s=600) as one,
    ):
        await world.deliver(say())
        commit = world.store.hold("commit")
        one.jobs.waiting.put_nowait(CONTEXT_ID)
        await commit.reached.wait()
        await world.store.ownership.activate(CONTEXT_ID, "w1")  # it had been given up
        commit.opened.set()
        await until(lambda: one.performer.kinds)
        assert now_s() < 1


@in_virtual_time
async def test_crashes_are_counted_in_a_row_only() -> None:
    async with open_world() as world, hosting(world.store, linger_s=0) as one:
        with capture_logs() as logs:
            for said in ("one", "two"):
                one.performer.replies.append(Reply(bug=True))
                await world.deliver(say(said))
                one.jobs.waiting.put_nowait(CONTEXT_ID)
                await until(lambda: not one.performer.replies)
                await asyncio.sleep(5)
                await world.until_phase("idle")
        crashes = [line for line in logs if line["event"] == "activation crashed"]
        assert [crash["pause_s"] for crash in crashes] == [1, 1]


@in_virtual_time
async def test_a_context_that_cannot_be_loaded_does_not_crash_faster_for_being_overdue() -> (
    None
):
    async with open_world() as world, hosting(world.store) as one:
        mail, *_ = keys.of_context(CONTEXT_ID, "mail")
        await world.deliver(say())
        await world.store.link.call("XADD", mail, "9-0", "m", '{"not":"mail"}')
        with capture_logs() as logs:
            one.jobs.waiting.put_nowait(CONTEXT_ID)
            await asyncio.sleep(100)
        crashes = [line for line in logs if line["event"] == "activation crashed"]
        assert [crash["pause_s"] for crash in crashes] == [1, 2, 4, 8, 16, 32, 60]
        assert not one.task.done()


@in_virtual_time
@pytest.mark.parametrize(
    "raw", [b'{"not":"mail"}', b"\xffc2VhbGVk"], ids=["broken", "encrypted"]
)
async def test_mail_that_cannot_be_read_does_not_end_the_worker(raw: bytes) -> None:
    ids = (nth_id(1), nth_id(2))
    async with open_world(*ids) as world, hosting(world.store) as one:
        await world.deliver(say(), context_id=ids[0])
        one.jobs.waiting.put_nowait(ids[0])
        await until(lambda: one.performer.kinds)
        for context_id in ids:
            message = f"{context_id}\n2\n".encode() + raw
            await world.store.link.call("PUBLISH", worker_mail("w1"), message)
        await world.deliver(rename("still here"), context_id=ids[0])
        await settled()
        assert (await world.state(ids[0])).title == "still here"


@in_virtual_time
async def test_one_of_two_hundred_activations_crashes_and_the_others_hear_nothing_of_it() -> (
    None
):
    ids = [nth_id(n) for n in range(200)]
    async with open_world(*ids) as world, hosting(world.store) as one:
        one.performer.usual = Reply(("Hel", "lo."), pause_s=1)
        one.performer.bug_in = ids[77]
        for context_id in ids:
            await world.deliver(say(), context_id=context_id)
            one.jobs.waiting.put_nowait(context_id)
        await until(lambda: len(one.jobs.finished) == 199)
        assert [context_id for context_id, _ in one.jobs.failed] == [ids[77]]
        for context_id in ids:
            if context_id != ids[77]:
                assert await world.kinds(context_id) == [
                    *("context-created", "message-received", "reply-started", "reply-ended")
                ]
        assert not one.task.done()


@in_virtual_time
@pytest.mark.parametrize("fault", ["lost", "unanswered", "refused"])
async def test_a_store_that_fails_now_and_then_is_no_crash(fault: Fault) -> None:
    async with open_world() as world, hosting(world.store) as one:
        await world.deliver(say())
        for step in ("activate", "renew", "claim", "commit", "passivate"):
            world.store.fail(step, fault)
        with capture_logs() as logs:
            one.jobs.waiting.put_nowait(CONTEXT_ID)
            await until(lambda: one.performer.kinds)
            await asyncio.sleep(10)
        assert {line["log_level"] for line in logs} <= {"info", "warning"}
        assert await world.owner_of() == ""
        assert (await world.said())[-1] == ("assistant", "Hi.", "complete")


# Workers that are dead


@in_virtual_time
async def test_the_turn_of_a_killed_worker_is_finished_by_another_and_answered_once() -> None:
    async with (
        open_world() as world,
        hosting(world.store, "w1") as one,
        hosting_beside(world.store, "w2") as other,
    ):
        one.performer.usual = Reply(("Hel", "lo"), pause_s=0.1, hangs=True)
        await world.deliver(say())
        one.jobs.waiting.put_nowait(CONTEXT_ID)
        await world.until_phase("streaming_llm_response")
        one.kill()
        await world.store.link.call("DEL", keys.session("w1"))
        died_s = now_s()
        await until(lambda: other.performer.kinds)
        assert now_s() - died_s < 1.1
        await world.until_phase("idle")
        assert (await world.said()) == [
            ("user", "Hello", "complete"),
            ("assistant", "Hi.", "complete"),
        ]


@in_virtual_time
async def test_a_worker_that_was_buried_stops_and_leaves_its_contexts_to_others() -> None:
    async with open_world() as world, hosting(world.store, "w1") as one:
        one.performer.usual = Reply(("Hel",), hangs=True)
        await world.deliver(say())
        one.jobs.waiting.put_nowait(CONTEXT_ID)
        await world.until_phase("streaming_llm_response")
        commits = len(world.store.commits)
        await world.store.sessions.bury("w1")
        await asyncio.wait((one.task,), timeout=2)
        (group,) = one.outcome
        assert group.subgroup(WorkerBuried)
        assert one.performer.stopped == ["2.0"]
        assert len(world.store.commits) == commits
        async with hosting_beside(world.store, "w2") as other:
            await until(lambda: other.performer.kinds)
            await world.until_phase("idle")


@in_virtual_time
async def test_a_worker_that_was_buried_says_so_though_its_effects_go_on() -> None:
    async with open_world() as world, hosting(world.store, "w1") as one:
        one.performer.usual = Reply((), hangs=True)
        one.performer.stops_after_s = 30
        await world.deliver(say())
        one.jobs.waiting.put_nowait(CONTEXT_ID)
        await until(lambda: one.performer.kinds)
        assert not one.over.is_set()
        await world.store.sessions.bury("w1")
        await asyncio.wait((one.task,), timeout=2)
        assert one.over.is_set()
        assert not one.task.done()


@in_virtual_time
async def test_a_worker_learns_that_it_was_buried_from_its_next_activation_at_the_latest() -> (
    None
):
    async with open_world() as world, hosting(world.store, worker_heartbeat_s=600) as one:
        await settled()
        await world.store.sessions.bury("w1")
        one.jobs.waiting.put_nowait(CONTEXT_ID)
        await asyncio.wait((one.task,), timeout=1)
        (group,) = one.outcome
        assert group.subgroup(WorkerBuried)


@in_virtual_time
async def test_a_worker_whose_session_has_only_run_out_goes_on() -> None:
    async with open_world() as world, hosting(world.store, worker_heartbeat_s=600) as one:
        await settled()
        await world.store.link.call("DEL", keys.session("w1"))
        await world.deliver(say())
        one.jobs.waiting.put_nowait(CONTEXT_ID)
        await until(lambda: one.performer.kinds)
        await world.until_phase("idle")


@in_virtual_time
async def test_a_worker_that_missed_its_own_funeral_cannot_commit() -> None:
    async with (
        open_world() as world,
        hosting(world.store, "w1", worker_heartbeat_s=60) as one,
        hosting_beside(world.store, "w2") as other,
    ):
        one.performer.usual = Reply(("Hel", "lo."), pause_s=2)
        await world.deliver(say())
        one.jobs.waiting.put_nowait(CONTEXT_ID)
        await world.until_phase("awaiting_llm_response")
        lose(world.store.subscriber, lambda _: True)
        await world.store.link.call("DEL", keys.session("w1"))
        await until(lambda: other.performer.kinds)
        with capture_logs() as logs:
            await asyncio.sleep(5)
        assert "context was taken over" in [line["event"] for line in logs]
        assert [role for role, _, _ in await world.said()] == ["user", "assistant"]
        assert (await world.said())[-1] == ("assistant", "Hi.", "complete")
        assert len(one.performer.kinds) == 1


@in_virtual_time
async def test_a_burial_that_was_cut_short_is_repeated_with_the_next_heartbeat(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_world() as world:
        forgotten: list[str] = []
        really_forget = world.store.queue.forget_worker

        async def forget(worker_id: str) -> None:
            forgotten.append(worker_id)
            if len(forgotten) == 1:
                raise StoreUnavailable("lost")
            await really_forget(worker_id)

        monkeypatch.setattr(world.store.queue, "forget_worker", forget)
        await world.store.sessions.renew("w1", now_ms=now_ms(), begin=True)
        await world.store.link.call("DEL", keys.session("w1"))
        async with hosting(world.store, "w2", worker_heartbeat_s=1.0):
            await asyncio.sleep(5)
        assert forgotten == ["w1", "w1"]


@in_virtual_time
async def test_dashboards_are_told_who_takes_contexts_and_who_does_no_more() -> None:
    async with open_world() as world:
        world.store.announcer.by = "w1"
        await world.store.sessions.renew("w0", now_ms=now_ms(), begin=True)
        await world.store.ownership.activate(CONTEXT_ID, "w0")
        await world.store.link.call("DEL", keys.session("w0"))
        async with hosting(world.store, "w1") as one:
            await asyncio.sleep(2)
            one.stop.set()
            await one.task
        told = await announced_after(world.store.link, 0, limit=100)
    whats = [Entry.model_validate_json(raw).what for _, raw in told]
    assert [what for what in whats if isinstance(what, WorkerJoined)] == [
        WorkerJoined(worker_id="w1")
    ]
    assert [what for what in whats if isinstance(what, WorkerLost)] == [
        WorkerLost(worker_id="w0", cause="died", contexts=1),
        WorkerLost(worker_id="w1", cause="left", contexts=0),
    ]


@in_virtual_time
async def test_others_end_the_burial_of_a_worker_that_could_not_when_it_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def lose(_: str) -> None:
        raise StoreUnavailable("lost")

    async with open_world() as world, hosting_beside(world.store, "w2"):
        monkeypatch.setattr(world.store.queue, "forget_worker", lose)
        async with hosting(world.store, "w1") as one:
            one.stop.set()
            await one.task
        assert await world.store.link.call("ZSCORE", keys.WORKERS, "w1") == b"-1"
        await asyncio.sleep(3)
        assert await world.store.link.call("ZSCORE", keys.WORKERS, "w1") is None


@in_virtual_time
async def test_a_tool_that_waits_for_approval_survives_any_number_of_workers() -> None:
    calls: tuple[RequestedCall, ...] = (wants("c1", effect="once"),)
    async with open_world() as world:
        async with hosting(world.store, "w1") as one:
            one.performer.usual = Reply((), calls=calls)
            await world.deliver(say())
            one.jobs.waiting.put_nowait(CONTEXT_ID)
            await world.until_phase("awaiting_tool_approval")
        async with hosting_beside(world.store, "w2") as other:
            await world.store.link.call("DEL", keys.session("w1"))
            await asyncio.sleep(10)
            assert other.performer.kinds == []
            assert (await world.state()).phase is Phase.AWAITING_TOOL_APPROVAL
