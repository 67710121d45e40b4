"""How a host takes contexts and gives them back. Beside this: `test_host_*.py`."""

import asyncio
import gc
import weakref

import pytest

from storage import (
    ContextBusy,
    Listener,
    Owned,
    StorageError,
    StoreRefusedWrite,
    StoreUnavailable,
    WorkerBuried,
    keys,
    worker_mail,
)
from storage.keys import WAKE
from storage.subscriber import Subscriber
from tests.support.clock import in_virtual_time, now_s, settled, until
from tests.support.memory_store import Fault, MemoryStore
from tests.support.playbook import CONTEXT_ID, rename, say
from tests.workers.hosting import hosting, hosting_beside, open_world
from tests.workers.stage import Reply, Stage, now_ms, nth_id
from workers import Activation
from workers.host import STARTING_MAX

# Becoming active


@in_virtual_time
async def test_a_job_activates_its_context_and_ends_when_that_is_passivated() -> None:
    async with open_world() as world, hosting(world.store) as one:
        await world.deliver(say())
        one.jobs.waiting.put_nowait(CONTEXT_ID)
        await until(lambda: one.jobs.finished)
        assert one.jobs.finished == [(CONTEXT_ID, False)]
        assert now_s() == pytest.approx(5, abs=0.1)
        assert (await world.said())[-1] == ("assistant", "Hi.", "complete")
        assert await world.owner_of() == ""


@in_virtual_time
async def test_a_passivated_context_is_kept_nowhere() -> None:
    async with open_world() as world, hosting(world.store) as one:
        one.performer.usual = Reply(("Hel", "lo."), pause_s=1)
        await world.deliver(say())
        one.jobs.waiting.put_nowait(CONTEXT_ID)
        await until(lambda: one.performer.kinds)
        name = f"activation {CONTEXT_ID}"
        (kept,) = [weakref.ref(t) for t in asyncio.all_tasks() if t.get_name() == name]
        await until(lambda: one.jobs.finished)
        await settled()
        gc.collect()
        assert kept() is None
        assert not any(isinstance(each, Activation) for each in gc.get_objects())


@in_virtual_time
async def test_mail_of_an_active_context_needs_no_job() -> None:
    async with open_world() as world, hosting(world.store) as one:
        await world.deliver(say("one"))
        one.jobs.waiting.put_nowait(CONTEXT_ID)
        await until(lambda: one.performer.kinds)
        await world.deliver(say("two"))
        await until(lambda: len(one.performer.kinds) == 2)
        assert now_s() < 1
        assert world.store.steps.count("activate") == 1


@in_virtual_time
async def test_a_context_that_comes_back_without_a_job_ends_none() -> None:
    async with open_world() as world, hosting(world.store) as one:
        await world.deliver(say("one"))
        one.jobs.waiting.put_nowait(CONTEXT_ID)
        await until(lambda: one.jobs.finished)
        await world.deliver(say("two"))
        await asyncio.sleep(20)
        assert len(one.performer.kinds) == 2
        assert await world.owner_of() == ""
        assert one.jobs.finished == [(CONTEXT_ID, False)]


@in_virtual_time
async def test_doubled_and_late_jobs_are_harmless() -> None:
    async with open_world() as world, hosting(world.store) as one:
        await world.deliver(say())
        for _ in range(3):
            one.jobs.waiting.put_nowait(CONTEXT_ID)
        await until(lambda: one.jobs.finished)
        assert world.store.steps.count("activate") == 1
        one.jobs.waiting.put_nowait(CONTEXT_ID)
        one.jobs.waiting.put_nowait(nth_id(404))
        await until(lambda: len(one.jobs.finished) == 3)
        assert len(one.performer.kinds) == 1
        assert [role for role, _, _ in await world.said()] == ["user", "assistant"]
        assert one.jobs.failed == []


@in_virtual_time
async def test_a_job_for_a_context_of_another_living_worker_ends_as_active_elsewhere() -> None:
    async with (
        open_world() as world,
        hosting(world.store, "w1") as one,
        hosting_beside(world.store, "w2") as other,
    ):
        await world.deliver(say())
        one.jobs.waiting.put_nowait(CONTEXT_ID)
        await until(lambda: one.performer.kinds)
        other.jobs.waiting.put_nowait(CONTEXT_ID)
        await until(lambda: other.jobs.finished)
        assert other.jobs.finished == [(CONTEXT_ID, True)]
        assert other.performer.kinds == []


@in_virtual_time
async def test_mail_without_a_job_is_picked_up_once_it_is_overdue() -> None:
    async with open_world() as world, hosting(world.store) as one:
        await world.deliver(say())  # and the gateway dies before it asks for an activation
        await until(lambda: one.performer.kinds)
        assert now_s() < 0.5 + 2


@in_virtual_time
async def test_mail_that_is_pushed_while_a_context_is_loaded_is_not_lost() -> None:
    async with open_world() as world, hosting(world.store) as one:
        await world.deliver(rename("one"))
        answer = world.store.hold_answer("activate")
        one.jobs.waiting.put_nowait(CONTEXT_ID)
        await answer.reached.wait()
        await world.deliver(rename("two"))
        await settled()
        answer.opened.set()
        await settled()
        assert (await world.state()).title == "two"
        assert "undelivered" not in world.store.steps


async def deliver_unheard(world: Stage[MemoryStore]) -> None:
    """Mail for a context that `w1` has, published to nobody."""
    await world.store.link.call("DEL", keys.session("w1"))
    await world.deliver(rename("unheard"))
    await world.store.sessions.renew("w1", now_ms=now_ms())


@in_virtual_time
async def test_mail_for_an_earlier_worker_of_this_id_may_come_before_all_has_begun(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_world() as world:
        await world.store.sessions.renew("w1", now_ms=now_ms(), begin=True)
        await world.store.ownership.activate(CONTEXT_ID, "w1")
        subscribe = Subscriber.subscribe

        async def heard(self: Subscriber, channel: str, listener: Listener) -> None:
            await subscribe(self, channel, listener)
            if channel == worker_mail("w1"):
                await world.deliver(say())
                await settled()

        monkeypatch.setattr(Subscriber, "subscribe", heard)
        async with hosting(world.store) as one:
            await until(lambda: one.performer.kinds)
            assert now_s() < 1


@in_virtual_time
async def test_mail_whose_publication_was_lost_is_read_once_it_is_overdue() -> None:
    async with open_world() as world, hosting(world.store, linger_s=60) as one:
        await world.deliver(say())
        one.jobs.waiting.put_nowait(CONTEXT_ID)
        await until(lambda: one.performer.kinds)
        await deliver_unheard(world)
        assert (await world.state()).title != "unheard"
        await asyncio.sleep(2)
        assert (await world.state()).title == "unheard"
        assert world.store.steps.count("activate") == 1


@in_virtual_time
async def test_mail_that_was_not_heard_is_read_at_once_when_another_worker_asks() -> None:
    async with open_world() as world, hosting(world.store, linger_s=60) as one:
        await world.deliver(say())
        one.jobs.waiting.put_nowait(CONTEXT_ID)
        await until(lambda: one.performer.kinds)
        await deliver_unheard(world)
        await world.store.sessions.renew("w2", now_ms=now_ms(), begin=True)
        with pytest.raises(ContextBusy):
            await world.store.ownership.activate(CONTEXT_ID, "w2")
        await settled()
        assert (await world.state()).title == "unheard"


def listeners_of_a_host(monkeypatch: pytest.MonkeyPatch) -> dict[str, Listener]:
    """What hosts from now on listen with, by channel; of several the last."""
    listeners: dict[str, Listener] = {}
    subscribe = Subscriber.subscribe

    async def note(self: Subscriber, channel: str, listener: Listener) -> None:
        listeners[channel] = listener
        await subscribe(self, channel, listener)

    monkeypatch.setattr(Subscriber, "subscribe", note)
    return listeners


@in_virtual_time
async def test_mail_that_came_while_publications_were_not_heard_is_read_when_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listeners = listeners_of_a_host(monkeypatch)
    async with open_world() as world, hosting(world.store, linger_s=60) as one:
        await world.deliver(say())
        one.jobs.waiting.put_nowait(CONTEXT_ID)
        await until(lambda: one.performer.kinds)
        await deliver_unheard(world)
        listeners[worker_mail("w1")].on_gap()
        await settled()
        assert (await world.state()).title == "unheard"


@in_virtual_time
async def test_what_waits_is_looked_for_at_once_when_publications_are_heard_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listeners = listeners_of_a_host(monkeypatch)
    async with open_world() as world, hosting(world.store, worker_heartbeat_s=600) as one:
        await world.deliver(say())  # and nobody asks for an activation
        await asyncio.sleep(10)
        assert one.performer.kinds == []
        listeners[WAKE].on_gap()
        await until(lambda: one.performer.kinds)
        assert now_s() < 20


@in_virtual_time
async def test_whoever_wishes_again_for_a_shorter_log_does_not_put_it_off() -> None:
    async with open_world() as world, hosting(world.store, linger_s=5) as one:
        await world.deliver(say())
        one.jobs.waiting.put_nowait(CONTEXT_ID)
        await until(lambda: one.performer.kinds)
        for _ in range(5):
            await asyncio.sleep(2)
            await world.store.logs.shorten(CONTEXT_ID, keep=1)
        assert await world.store.logs.first(CONTEXT_ID) == (await world.state()).version


@in_virtual_time
@pytest.mark.parametrize("error", [StoreUnavailable("away"), StoreRefusedWrite("full")])
async def test_jobs_are_asked_for_again_after_the_store_was_away_or_full(
    error: StorageError,
) -> None:
    async with open_world() as world, hosting(world.store) as one:
        one.jobs.errors.append(error)
        one.jobs.waiting.put_nowait(nth_id(404))  # ends the look that has begun
        one.jobs.waiting.put_nowait(CONTEXT_ID)
        await until(lambda: len(one.jobs.finished) == 2)
        assert not one.task.done()


@in_virtual_time
async def test_jobs_are_asked_for_once_a_heartbeat_while_the_store_is_away() -> None:
    async with open_world() as world, hosting(world.store, worker_heartbeat_s=1) as one:
        one.jobs.errors += [StoreUnavailable("away")] * 100
        one.jobs.waiting.put_nowait(nth_id(404))  # ends the look that has begun
        await asyncio.sleep(10.5)
        assert len(one.jobs.rooms) == 1 + 11


@in_virtual_time
async def test_a_worker_that_may_take_no_jobs_since_its_session_has_run_out_goes_on() -> None:
    async with open_world() as world, hosting(world.store, worker_heartbeat_s=600) as one:
        await settled()
        await world.store.link.call("DEL", keys.session("w1"))
        one.jobs.errors.append(WorkerBuried("w1"))
        one.jobs.waiting.put_nowait(nth_id(404))  # ends the look that has begun
        await until(lambda: one.jobs.finished)
        await settled()
        assert await world.store.link.call("EXISTS", keys.session("w1")) == 1
        assert not one.task.done()


@in_virtual_time
async def test_a_context_that_the_store_says_is_ours_and_nobody_runs_is_begun() -> None:
    async with (
        open_world() as world,
        hosting(world.store, "w1") as one,
        hosting_beside(world.store, "w2") as other,
    ):
        other.performer.usual = Reply(("Hel",), hangs=True)
        await world.deliver(say())
        other.jobs.waiting.put_nowait(CONTEXT_ID)
        await world.until_phase("streaming_llm_response")
        other.kill()
        await world.store.link.call("DEL", keys.session("w2"))
        await world.store.ownership.activate(CONTEXT_ID, "w1")  # executed after it was given up
        lost_s = now_s()
        await world.until_phase("idle")
        assert now_s() - lost_s < 5 + 2
        assert (await world.said())[-1] == ("assistant", "Hi.", "complete")
        assert one.performer.kinds == ["call-model"]


@in_virtual_time
async def test_what_the_store_says_is_ours_is_asked_for_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_world() as world, hosting(world.store, worker_heartbeat_s=1, sweep_s=10):
        asked: list[float] = []

        async def contexts_of(_: str) -> list[str]:
            asked.append(round(now_s()))
            return []

        monkeypatch.setattr(world.store.sessions, "contexts_of", contexts_of)
        await asyncio.sleep(35)
        assert asked == [10, 20, 30]


@in_virtual_time
async def test_no_more_contexts_are_taken_than_may_be_active() -> None:
    ids = [nth_id(n) for n in range(4)]
    async with open_world(*ids) as world, hosting(world.store, activations_max=2) as one:
        one.performer.usual = Reply((), hangs=True)
        for context_id in ids:
            await world.deliver(say(), context_id=context_id)
            one.jobs.waiting.put_nowait(context_id)
        await asyncio.sleep(3)
        assert len(one.performer.kinds) == 2
        assert max(one.jobs.rooms) == 2
        assert one.jobs.waiting.qsize() == 2


@in_virtual_time
@pytest.mark.parametrize("is_taken", [False, True])
async def test_what_cannot_be_loaded_yet_waits_in_the_queue(
    is_taken: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [nth_id(n) for n in range(STARTING_MAX)]
    async with open_world(*ids) as world, hosting(world.store) as one:
        one.jobs.waiting.put_nowait(nth_id(404))
        await until(lambda: one.jobs.finished)
        let_go, activate = asyncio.Event(), world.store.ownership.activate

        async def held(context_id: str, worker_id: str) -> Owned:
            await let_go.wait()
            if is_taken:
                raise ContextBusy("by another worker")
            return await activate(context_id, worker_id)

        monkeypatch.setattr(world.store.ownership, "activate", held)
        for context_id in ids:
            await world.deliver(say(), context_id=context_id)
            one.jobs.waiting.put_nowait(context_id)
        await asyncio.sleep(0.1)
        assert one.jobs.waiting.qsize() == STARTING_MAX // 2 - 1
        assert (max(one.jobs.rooms), min(one.jobs.rooms)) == (STARTING_MAX, STARTING_MAX // 2)
        let_go.set()
        await until(one.jobs.waiting.empty)


# Drafts


@in_virtual_time
async def test_text_reaches_the_store_within_two_frames_time() -> None:
    async with open_world() as world, hosting(world.store, draft_ms=20) as one:
        one.performer.usual = Reply(("Hel", "lo ", "you"), pause_s=1, hangs=True)
        await world.deliver(say())
        one.jobs.waiting.put_nowait(CONTEXT_ID)
        await asyncio.sleep(1.05)
        assert await world.draft() == "Hel"
        await asyncio.sleep(1)
        assert await world.draft() == "Hello "
        await asyncio.sleep(1)
        assert await world.draft() == "Hello you"


@in_virtual_time
async def test_many_replies_share_the_frames_that_a_worker_may_send() -> None:
    ids = [nth_id(n) for n in range(20)]
    async with (
        open_world(*ids) as world,
        hosting(world.store, draft_ms=1, draft_frames_s_max=100) as one,
    ):
        one.performer.usual = Reply(["x"] * 300, pause_s=0.01)
        for context_id in ids:
            await world.deliver(say(), context_id=context_id)
            one.jobs.waiting.put_nowait(context_id)
        await asyncio.sleep(2)
        assert 150 <= world.store.steps.count("draft") <= 220
        await asyncio.sleep(2)
        for context_id in ids:
            assert (await world.said(context_id))[-1] == ("assistant", "x" * 300, "complete")


@in_virtual_time
@pytest.mark.parametrize("fault", ["lost", "unanswered", "refused", "no script"])
async def test_a_frame_that_fails_ends_neither_the_reply_nor_the_worker(fault: Fault) -> None:
    async with open_world() as world, hosting(world.store) as one:
        one.performer.usual = Reply(("Hel", "lo"), pause_s=1, hangs=True)
        world.store.fail("draft", fault, fault)
        world.store.fail("reload", "lost")
        await world.deliver(say())
        one.jobs.waiting.put_nowait(CONTEXT_ID)
        await asyncio.sleep(3)
        assert await world.draft() == "Hello"
        assert not one.task.done()


@in_virtual_time
async def test_a_draft_that_does_not_fit_restarts_the_reply() -> None:
    async with open_world() as world, hosting(world.store) as one:
        one.performer.replies.append(Reply(("Hel", "lo"), pause_s=1, hangs=True))
        world.store.fail("draft", "conflict")
        await world.deliver(say())
        one.jobs.waiting.put_nowait(CONTEXT_ID)
        await until(lambda: len(one.performer.kinds) == 2)
        await world.until_phase("idle")
        assert "reply-restarted" in await world.kinds()
