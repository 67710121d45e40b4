"""Hosts in virtual time over a store in memory; jobs come from the test."""

import asyncio
import contextlib
import gc
import weakref
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

import pytest
from structlog.testing import capture_logs
from typing_extensions import override

from fsm import Phase, RequestedCall
from storage import (
    AnyAnnouncement,
    ContextBusy,
    ContextMissing,
    Listener,
    Owned,
    StorageError,
    StoreRefusedWrite,
    StoreUnavailable,
    WorkerBuried,
    WorkerJoined,
    WorkerLost,
    keys,
    worker_mail,
)
from storage.announcements import Announcer
from storage.keys import WAKE
from storage.sessions import WorkerSessions
from storage.subscriber import Subscriber
from tests.support.clock import in_virtual_time, now_s, settled, until
from tests.support.memory_store import Fault, MemoryStore, open_memory_store
from tests.support.playbook import CONTEXT_ID, RETRY, rename, say, wants
from tests.support.store_faults import lose
from tests.workers.stage import Reply, Scripted, Stage, now_ms, nth_id
from workers import Host, WorkerConfig
from workers.chores import Chores
from workers.dequeue import ActivationSource, Chore
from workers.host import STARTING_MAX


class Jobs(ActivationSource):
    """A source of activations that a test fills."""

    def __init__(self, store: MemoryStore, worker_id: str) -> None:
        super().__init__(store.queue, worker_id, peek_s=5.0)
        self.waiting: asyncio.Queue[str | Chore] = asyncio.Queue()
        self.finished: list[tuple[str, bool]] = []
        self.failed: list[tuple[str, str]] = []
        self.ended: list[tuple[Chore, str | None]] = []
        self.rooms: list[int] = []
        self.errors: list[StorageError] = []
        """What the next takes end with."""

    @override
    async def take(self, room: int) -> list[str | Chore]:
        self.rooms.append(room)
        if self.errors:
            raise self.errors.pop()
        return [await self.waiting.get()]

    @override
    async def finish(self, context_id: str, *, active_elsewhere: bool = False) -> None:
        self.finished.append((context_id, active_elsewhere))

    @override
    async def fail(self, context_id: str, error: str) -> None:
        self.failed.append((context_id, error))

    @override
    async def end_chore(self, chore: Chore, error: str | None) -> None:
        self.ended.append((chore, error))


class Maintenance(Chores):
    """Chores as a test wants them: they work until they are let go, or break."""

    def __init__(self, store: MemoryStore, config: WorkerConfig) -> None:
        super().__init__(store, config, clock=now_ms, teller=None)
        self.beats = 0
        self.working = 0
        self.breaks: Exception | None = None
        self.away = False
        self.let_go = asyncio.Event()

    @override
    async def enqueue_due(self) -> None:
        self.beats += 1
        if self.away:
            raise StoreUnavailable("away")
        await super().enqueue_due()

    @override
    async def perform(self, chore: Chore) -> None:
        self.working += 1
        if self.breaks is not None:
            raise self.breaks
        await self.let_go.wait()
        self.working -= 1


@dataclass(slots=True)
class Hosting:
    """A host that runs, and what goes with it."""

    host: Host
    jobs: Jobs
    performer: Scripted
    stop: asyncio.Event
    task: asyncio.Task[None]
    chores: Maintenance
    outcome: list[ExceptionGroup] = field(default_factory=list[ExceptionGroup])

    def kill(self) -> None:
        """End it as kill -9 would: nothing is drained, nothing is said."""
        self.task.cancel()


@contextlib.asynccontextmanager
async def hosting(
    store: MemoryStore,
    worker_id: str = "w1",
    *,
    performer: Scripted | None = None,
    **settings: float,
) -> AsyncGenerator[Hosting, None]:
    """A host for the length of a block; it is killed at the end unless it has stopped."""
    performer = performer or Scripted()
    jobs = Jobs(store, worker_id)
    config = WorkerConfig.model_validate(settings)
    chores = Maintenance(store, config)
    host = Host(
        worker_id,
        store=store,
        source=jobs,
        performer=performer,
        config=config,
        clock=now_ms,
        chores=chores,
    )
    stop, ready = asyncio.Event(), asyncio.Event()
    outcome: list[ExceptionGroup] = []

    async def run() -> None:
        try:
            await host.run(stop, ready.set)
        except ExceptionGroup as group:
            outcome.append(group)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(run(), name=worker_id)
        try:
            await ready.wait()
            yield Hosting(host, jobs, performer, stop, task, chores, outcome)
        finally:
            task.cancel()


@contextlib.asynccontextmanager
async def hosting_beside(store: MemoryStore, worker_id: str) -> AsyncGenerator[Hosting, None]:
    """A host in a process of its own, as far as the store can tell."""
    async with open_memory_store(store.server) as own, hosting(own, worker_id) as other:
        yield other


@contextlib.asynccontextmanager
async def open_world(*context_ids: str) -> AsyncGenerator[Stage[MemoryStore], None]:
    """A store with contexts at rest; the stage is for delivering and looking only."""
    async with open_memory_store() as store:
        stage = Stage(store)
        for context_id in context_ids or (CONTEXT_ID,):
            await stage.create(context_id)
        yield stage


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
        await world.deliver(say())
        one.jobs.waiting.put_nowait(CONTEXT_ID)
        await until(lambda: one.performer.kinds)
        name = f"activation {CONTEXT_ID}"
        (kept,) = [weakref.ref(t) for t in asyncio.all_tasks() if t.get_name() == name]
        await until(lambda: one.jobs.finished)
        await settled()
        gc.collect()
        assert kept() is None


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
            await world.store.activate(CONTEXT_ID, "w2")
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
            await world.store.shorten(CONTEXT_ID, keep=1)
        assert await world.store.log_first(CONTEXT_ID) == (await world.state()).version


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
        await world.store.activate(CONTEXT_ID, "w1")  # executed after it was given up
        lost_s = now_s()
        await world.until_phase("idle")
        assert now_s() - lost_s < 5 + 2
        assert (await world.said())[-1] == ("assistant", "Hi.", "complete")
        assert one.performer.kinds == ["call-model"]


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
        let_go, activate = asyncio.Event(), world.store.activate

        async def held(context_id: str, worker_id: str) -> Owned:
            await let_go.wait()
            if is_taken:
                raise ContextBusy("by another worker")
            return await activate(context_id, worker_id)

        monkeypatch.setattr(world.store, "activate", held)
        for context_id in ids:
            await world.deliver(say(), context_id=context_id)
            one.jobs.waiting.put_nowait(context_id)
        await asyncio.sleep(0.1)
        assert one.jobs.waiting.qsize() == STARTING_MAX // 2 - 1
        assert max(one.jobs.rooms) == STARTING_MAX
        let_go.set()
        await until(one.jobs.waiting.empty)


# Failures that concern one context


@in_virtual_time
async def test_an_activation_that_crashes_is_logged_and_begun_again() -> None:
    async with open_world() as world, hosting(world.store) as one:
        one.performer.replies.append(Reply(("Hel",), bug=True))
        await world.deliver(say())
        with capture_logs() as logs:
            one.jobs.waiting.put_nowait(CONTEXT_ID)
            await until(lambda: one.jobs.failed)
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

    async def activate(_: MemoryStore, context_id: str, _worker: str) -> Owned:
        tries.append(context_id)
        raise gone

    async with open_world() as world, hosting(world.store, sweep_s=60) as one:
        one.performer.bug_in = CONTEXT_ID
        await world.deliver(say())
        one.jobs.waiting.put_nowait(CONTEXT_ID)
        await until(lambda: one.jobs.failed)
        monkeypatch.setattr(MemoryStore, "activate", activate)
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
        activate = world.store.activate

        async def unheard_once(context_id: str, worker_id: str) -> Owned:
            owned = await activate(context_id, worker_id)
            tries.append(context_id)
            if len(tries) == 1:
                raise StoreUnavailable("the answer was lost")
            return owned

        monkeypatch.setattr(world.store, "activate", unheard_once)
        other.kill()
        await world.store.link.call("DEL", keys.session("w2"))
        died_s = now_s()
        await until(lambda: one.performer.kinds)
        assert now_s() - died_s < 5


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


# Draining


@in_virtual_time
async def test_a_running_turn_is_finished_within_the_grace() -> None:
    async with open_world() as world, hosting(world.store, drain_s=10, linger_s=60) as one:
        one.performer.usual = Reply(("Hel", "lo."), pause_s=3)
        await world.deliver(say())
        one.jobs.waiting.put_nowait(CONTEXT_ID)
        await world.until_phase("awaiting_llm_response")
        one.stop.set()
        await asyncio.wait((one.task,))
        assert now_s() == pytest.approx(6, abs=0.2)
        assert (await world.said())[-1] == ("assistant", "Hello.", "complete")
        assert await world.store.sessions.living() == 0
        assert await world.owner_of() == ""
        assert one.outcome == []


@in_virtual_time
async def test_a_turn_that_takes_longer_than_the_grace_is_handed_over_and_finished() -> None:
    async with open_world() as world, hosting_beside(world.store, "w2") as other:
        async with hosting(world.store, "w1", drain_s=2) as one:
            one.performer.usual = Reply(("Hel",), hangs=True)
            await world.deliver(say())
            one.jobs.waiting.put_nowait(CONTEXT_ID)
            await world.until_phase("streaming_llm_response")
            one.stop.set()
            await asyncio.wait((one.task,))
            assert now_s() == pytest.approx(2, abs=0.1)
            assert one.performer.stopped == ["2.0"]
            await world.until_phase("idle")
            assert now_s() < 2.5
        assert len(other.performer.kinds) == 1
        assert (await world.said())[-1] == ("assistant", "Hi.", "complete")


@in_virtual_time
async def test_a_stopping_worker_activates_nothing_more() -> None:
    ids = (nth_id(1), nth_id(2))
    async with open_world(*ids) as world, hosting(world.store, drain_s=5) as one:
        one.performer.usual = Reply((), hangs=True)
        await world.deliver(say(), context_id=ids[0])
        one.jobs.waiting.put_nowait(ids[0])
        await until(lambda: one.performer.kinds)
        one.stop.set()
        await settled()
        await world.deliver(say(), context_id=ids[1])
        one.jobs.waiting.put_nowait(ids[1])
        await asyncio.wait((one.task,))
        assert len(one.performer.kinds) == 1
        assert await world.owner_of(ids[1]) == ""


@in_virtual_time
async def test_a_stopping_worker_leaves_what_has_crashed_to_others() -> None:
    ids = (nth_id(1), nth_id(2))
    async with open_world(*ids) as world, hosting(world.store, drain_s=5) as one:
        one.performer.usual = Reply((), hangs=True)
        one.performer.bug_in = ids[1]
        for context_id in ids:
            await world.deliver(say(), context_id=context_id)
            one.jobs.waiting.put_nowait(context_id)
        await until(lambda: one.jobs.failed)
        one.stop.set()
        await asyncio.wait((one.task,))
        assert world.store.steps.count("activate") == 2


@in_virtual_time
async def test_a_context_that_is_still_loaded_when_the_grace_is_over_is_handed_over() -> None:
    async with open_world() as world, hosting(world.store, drain_s=1) as one:
        one.performer.usual = Reply((), hangs=True)
        await world.deliver(say())
        answer = world.store.hold_answer("activate")
        one.jobs.waiting.put_nowait(CONTEXT_ID)
        await answer.reached.wait()
        one.stop.set()
        await asyncio.wait((one.task,), timeout=5)
        assert one.task.done()
        claimed = await world.store.claim(now_ms=now_ms(), overdue_ms=0)
        assert claimed == [CONTEXT_ID]


@in_virtual_time
async def test_a_worker_stops_even_if_the_store_does_not_hear_of_it() -> None:
    async with open_world() as world, hosting(world.store) as one:
        world.store.fail("bury", "lost")
        one.stop.set()
        await asyncio.wait((one.task,))
        assert one.outcome == []


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


def announcements(monkeypatch: pytest.MonkeyPatch) -> list[AnyAnnouncement]:
    """What is announced from now on."""
    told: list[AnyAnnouncement] = []

    def tell(_: Announcer, what: AnyAnnouncement) -> None:
        told.append(what)

    monkeypatch.setattr(Announcer, "tell", tell)
    return told


@in_virtual_time
async def test_dashboards_are_told_who_takes_contexts_and_who_does_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = announcements(monkeypatch)
    async with open_world() as world:
        await world.store.sessions.renew("w0", now_ms=now_ms(), begin=True)
        await world.store.activate(CONTEXT_ID, "w0")
        await world.store.link.call("DEL", keys.session("w0"))
        async with hosting(world.store, "w1") as one:
            await asyncio.sleep(2)
            one.stop.set()
            await one.task
    assert [what for what in told if isinstance(what, WorkerJoined | WorkerLost)] == [
        WorkerJoined(worker_id="w1"),
        WorkerLost(worker_id="w0", cause="died", contexts=1),
        WorkerLost(worker_id="w1", cause="left", contexts=0),
    ]


@in_virtual_time
async def test_a_death_that_another_worker_tells_of_is_not_told_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = announcements(monkeypatch)

    bury = WorkerSessions.bury

    async def bury_second(self: WorkerSessions, worker_id: str) -> None:
        """Find that somebody else has begun, who tells of it."""
        await bury(self, worker_id)

    async with open_world() as world:
        await world.store.sessions.renew("w0", now_ms=now_ms(), begin=True)
        await world.store.link.call("DEL", keys.session("w0"))
        monkeypatch.setattr(WorkerSessions, "bury", bury_second)
        async with hosting(world.store, "w1", worker_heartbeat_s=600) as one:
            await settled()
            assert told == [WorkerJoined(worker_id="w1")]
            assert not one.task.done()


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


# chores


@in_virtual_time
async def test_chores_work_beside_turns_and_no_more_at_once_than_there_are_places() -> None:
    async with (
        open_world(CONTEXT_ID) as world,
        hosting(world.store, chores_max=2, linger_s=0) as hosted,
    ):
        chores = [Chore("webhooks", nth_id(number)) for number in range(5)]
        for chore in [*chores, chores[0]]:
            hosted.jobs.waiting.put_nowait(chore)
        await until(lambda: hosted.chores.working == 2)
        await world.deliver(say())
        hosted.jobs.waiting.put_nowait(CONTEXT_ID)
        await until(lambda: hosted.jobs.finished == [(CONTEXT_ID, False)])
        assert (await world.state()).messages[-1].content == "Hi."
        assert (hosted.chores.working, hosted.jobs.ended) == (2, [])
        hosted.chores.let_go.set()
        await until(lambda: len(hosted.jobs.ended) == 5)
        assert sorted(hosted.jobs.ended, key=str) == [(chore, None) for chore in chores]


@in_virtual_time
@pytest.mark.parametrize("broken", [RuntimeError("a bug"), StoreUnavailable("away")])
async def test_a_chore_that_breaks_fails_alone(broken: Exception) -> None:
    async with open_world(CONTEXT_ID) as world, hosting(world.store) as hosted:
        hosted.chores.breaks = broken
        hosted.jobs.waiting.put_nowait(Chore("retention", ""))
        with capture_logs() as logs:
            await until(lambda: bool(hosted.jobs.ended))
        error = f"{type(broken).__name__}: {broken}"
        assert hosted.jobs.ended == [(Chore("retention", ""), error)]
        assert [line["event"] for line in logs if line["log_level"] == "error"] == [
            "chore failed"
        ]
        await world.deliver(say())
        hosted.jobs.waiting.put_nowait(CONTEXT_ID)
        await until(lambda: len(hosted.performer.performed) == 1)


@in_virtual_time
async def test_a_draining_host_leaves_its_chores_to_others() -> None:
    async with open_world() as world, hosting(world.store) as hosted:
        hosted.jobs.waiting.put_nowait(Chore("retention", ""))
        await until(lambda: hosted.chores.working == 1)
        beats = hosted.chores.beats
        hosted.stop.set()
        await asyncio.wait((hosted.task,))
        assert hosted.jobs.ended == [(Chore("retention", ""), None)]
        assert hosted.chores.beats == beats


@in_virtual_time
async def test_chores_are_asked_for_again_and_again_also_while_the_store_is_away() -> None:
    async with open_world() as world, hosting(world.store, worker_heartbeat_s=1.0) as hosted:
        await until(lambda: hosted.chores.beats == 2)
        hosted.chores.away = True
        with capture_logs() as logs:
            await until(lambda: hosted.chores.beats == 4)
        assert "chores wait" in [line["event"] for line in logs]
        assert not hosted.outcome
