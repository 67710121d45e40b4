"""Two hosts over a real store server: deaths, mail without a worker, jobs out of order."""

# pyright: reportUnknownMemberType=false
# redis-py leaves keyword arguments, and so every second method, partly untyped.

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field

import pytest

from fsm import ReplyEnded, ReplyRestarted, decode_event, replay
from storage import (
    CommitFrame,
    Listener,
    Sealer,
    StorageConfig,
    Store,
    WorkerBuried,
    connect,
    decode_frame,
    feed,
)
from tests.support.clock import now_s
from tests.support.playbook import CONTEXT_ID, rename, say
from tests.support.store_server import StoreServer
from tests.workers.stage import Reply, Scripted, Stage, now_ms, nth_id
from workers import Host, WorkerConfig
from workers.chores import Chores
from workers.dequeue import open_source

pytestmark = pytest.mark.real_only

SESSION_MS = 2_000
"""A busy machine is not to take hosts for dead that stand still for a moment."""
DEADLINE_S = 40.0


@pytest.fixture
async def world(server: StoreServer) -> AsyncGenerator[Stage[Store], None]:
    """A client's view of an empty store with one context."""
    client = server.client()
    client.flushall()
    client.close()
    async with open_store(server) as store:
        stage = Stage(store)
        await stage.create()
        yield stage


@contextlib.asynccontextmanager
async def open_store(
    server: StoreServer, *, session_ms: int = SESSION_MS
) -> AsyncGenerator[Store, None]:
    config = StorageConfig(worker_session_ms=session_ms)
    async with connect(server.url, config) as store:
        yield store


@dataclass(slots=True)
class Worker:
    """A host with a store of its own."""

    store: Store
    performer: Scripted
    stop: asyncio.Event
    task: asyncio.Task[int]

    async def kill(self) -> None:
        """End it as kill -9 would: nothing is drained, nothing is said."""
        self.task.cancel()
        await asyncio.wait((self.task,))


@contextlib.asynccontextmanager
async def working(
    server: StoreServer,
    worker_id: str,
    *replies: Reply,
    session_ms: int = SESSION_MS,
    **settings: float,
) -> AsyncGenerator[Worker, None]:
    config = WorkerConfig.model_validate(
        {"worker_heartbeat_s": 0.1, "overdue_ms": 200, "linger_s": 0.2, **settings}
    )
    performer = Scripted()
    performer.replies.extend(replies)
    stop, ready = asyncio.Event(), asyncio.Event()
    async with (
        open_store(server, session_ms=session_ms) as store,
        open_source(store.queue, worker_id, peek_s=0.2) as source,
        asyncio.TaskGroup() as group,
    ):
        host = Host(
            worker_id,
            store=store,
            source=source,
            performer=performer,
            config=config,
            clock=now_ms,
            chores=Chores(store, config, source=source, clock=now_ms, teller=None),
        )
        task = group.create_task(host.run(stop, ready.set), name=worker_id)
        try:
            await ready.wait()
            yield Worker(store, performer, stop, task)
        finally:
            task.cancel()


@dataclass(slots=True)
class Viewer:
    """Somebody who follows the feed and counts on its contiguity."""

    version: int = 1
    text: str = ""
    kinds: list[str] = field(default_factory=list[str])

    def on_message(self, raw: bytes) -> None:
        frame = decode_frame(Sealer(None), "", raw)
        if isinstance(frame, CommitFrame):
            assert frame.base == self.version
            self.version += len(frame.events)
            for event in map(decode_event, frame.events):
                self.kinds.append(event.kind)
                if isinstance(event, ReplyRestarted):
                    self.text = ""
                elif isinstance(event, ReplyEnded):  # with what no draft has told before
                    assert event.text.startswith(self.text)
                    self.text = event.text
            self.text = frame.draft or self.text
        else:
            assert (frame.version, frame.n_before) == (self.version, len(self.text))
            self.text += frame.text


async def until(true: Callable[[], object]) -> None:
    deadline_s = now_s() + DEADLINE_S
    while not true():
        assert now_s() < deadline_s
        await asyncio.sleep(0.005)


async def send(world: Stage[Store], content: str, context_id: str = CONTEXT_ID) -> int:
    """What a gateway does with a message."""
    seq = await world.deliver(say(content), context_id=context_id)
    await world.store.queue.enqueue(context_id)
    return seq


LONG = Reply(("I ", "am ", "about ", "to ", "be ", "cut"), pause_s=0.03, hangs=True)
AGAIN = Reply(("All ", "of ", "it."), pause_s=0.03)


@pytest.mark.parametrize("announced", [True, False])
async def test_a_reply_that_is_cut_by_a_death_is_finished_elsewhere_without_a_gap(
    server: StoreServer, world: Stage[Store], announced: bool
) -> None:
    viewer = Viewer()
    gaps: list[None] = []
    await world.store.subscriber.subscribe(
        feed(CONTEXT_ID), Listener(viewer.on_message, lambda: gaps.append(None))
    )
    async with working(server, "w1", LONG) as one:
        await send(world, "Hello")
        await until(lambda: "be " in viewer.text)
        async with working(server, "w2", AGAIN) as other:
            died_s = now_s()
            await one.kill()
            if announced:  # by the supervisor, who saw it
                await world.store.sessions.bury("w1")
            await until(lambda: other.performer.performed)
            took_s = now_s() - died_s
            await until(lambda: viewer.kinds[-1:] == ["reply-ended"])
    assert took_s < SESSION_MS / 1_000 + (0 if announced else 8)
    assert viewer.kinds == [
        *("message-received", "reply-started", "reply-restarted"),
        *("reply-started", "reply-ended"),
    ]
    assert viewer.text == "All of it."
    assert len(gaps) == 1
    assert await world.said() == [
        ("user", "Hello", "complete"),
        ("assistant", "All of it.", "complete"),
    ]
    raw = await world.store.logs.events(CONTEXT_ID, after=0, until=100)
    assert replay(map(decode_event, raw)) == await world.state()


async def test_a_worker_that_drains_gives_a_long_turn_to_another_at_once(
    server: StoreServer, world: Stage[Store]
) -> None:
    async with working(server, "w1", LONG, drain_s=0.3, session_ms=60_000) as one:
        await send(world, "Hello")
        await until(lambda: one.performer.performed)
        # No session runs out, nobody looks for mail that waits: who leaves has to say so.
        async with working(server, "w2", AGAIN, overdue_ms=60_000) as other:
            one.stop.set()
            await asyncio.wait((one.task,))
            await until(lambda: other.performer.performed)
            await world.until_phase("idle")
    assert one.performer.stopped == ["2.0"]
    assert [role for role, _, _ in await world.said()] == ["user", "assistant"]
    assert (await world.said())[-1] == ("assistant", "All of it.", "complete")


async def test_mail_for_a_context_of_a_dead_worker_is_picked_up(
    server: StoreServer, world: Stage[Store]
) -> None:
    async with working(server, "w1", linger_s=60) as one:
        await send(world, "one")
        await until(lambda: one.performer.performed)
        await world.until_phase("idle")
        await one.kill()
        await world.deliver(say("two"))  # w1 seems to live: nobody else is asked
        async with working(server, "w2") as other:
            await until(lambda: other.performer.performed)
            await world.until_phase("idle")
    assert [content for _, content, _ in await world.said()] == ["one", "Hi.", "two", "Hi."]


async def test_a_worker_whose_session_ran_out_unseen_goes_on(
    server: StoreServer, world: Stage[Store]
) -> None:
    async with working(server, "w1", worker_heartbeat_s=60) as one:
        with server.client() as client:
            await until(lambda: not client.exists("worker:w1:session"))
        await send(world, "Hello")
        await until(lambda: one.performer.performed)
        await world.until_phase("idle")


async def test_a_worker_that_was_buried_meanwhile_ends(
    server: StoreServer, world: Stage[Store]
) -> None:
    with pytest.RaisesGroup(WorkerBuried, flatten_subgroups=True):
        async with working(server, "w1", worker_heartbeat_s=60) as one:
            await world.store.sessions.bury("w1")
            await send(world, "Hello")
            await asyncio.wait((one.task,), timeout=DEADLINE_S)


async def test_a_job_that_comes_late_or_twice_finds_its_work_done(
    server: StoreServer, world: Stage[Store]
) -> None:
    async with working(server, "w1") as one, working(server, "w2") as other:
        for _ in range(3):
            await world.store.queue.enqueue(CONTEXT_ID)
        await send(world, "Hello")
        await until(lambda: one.performer.performed or other.performer.performed)
        await world.until_phase("idle")
        await world.store.queue.enqueue(CONTEXT_ID)
        await world.store.queue.enqueue(nth_id(404))
        client = server.client()
        await until(lambda: client.llen("rq:queue:contextd") == 0)
        await until(lambda: not client.keys("rq:job:*"))
        client.close()
    assert len(one.performer.performed) + len(other.performer.performed) == 1
    assert len(await world.said()) == 2


async def test_mail_that_was_published_while_nobody_listened_is_read_after_the_reconnect(
    server: StoreServer, world: Stage[Store]
) -> None:
    async with working(server, "w1", overdue_ms=60_000, linger_s=60) as one:
        await send(world, "Hello")
        await until(lambda: one.performer.performed)
        await world.until_phase("idle")
        client = server.client()
        client.client_kill_filter(_type="pubsub")
        client.close()
        await world.deliver(rename("unheard"))
        began_s = now_s()
        while (await world.state()).title != "unheard":
            assert now_s() < began_s + DEADLINE_S
            await asyncio.sleep(0.005)


async def test_thirty_contexts_lose_nothing_when_one_of_two_workers_dies(
    server: StoreServer, world: Stage[Store]
) -> None:
    ids = [nth_id(n) for n in range(30)]
    for context_id in ids:
        await world.create(context_id)
    usual = Reply(("Good ", "day."), pause_s=0.2)
    async with working(server, "w1") as one, working(server, "w2") as other:
        one.performer.usual = other.performer.usual = usual
        for context_id in ids:
            await send(world, "Hello", context_id)
        await until(lambda: one.performer.performed or other.performer.performed)
        await one.kill()
        for context_id in ids:
            await world.deliver(rename("after"), context_id=context_id)
        for context_id in ids:
            await until_said(world, context_id, 2)
    for context_id in ids:
        assert await world.said(context_id) == [
            ("user", "Hello", "complete"),
            ("assistant", "Good day.", "complete"),
        ]
        assert (await world.state(context_id)).title == "after"
        await world.log(context_id)


async def until_said(world: Stage[Store], context_id: str, count: int) -> None:
    deadline_s = now_s() + DEADLINE_S
    while True:
        state = await world.state(context_id)
        if len(state.messages) == count and state.title == "after":
            return
        assert now_s() < deadline_s, (context_id, state.phase)
        await asyncio.sleep(0.01)
