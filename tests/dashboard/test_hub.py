"""What a gateway holds for its dashboards, while the store and the dashboards come and go."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast
from unittest.mock import Mock

import pytest
from aiohttp import WSCloseCode

from dashboard.config import DashboardConfig
from dashboard.hub import READ_MAX, Hub
from dashboard.sockets import Connection, Dashboards
from storage import StorageConfig, Store, StoreUnavailable, WorkerLost, connect
from tests.dashboard.viewer import private

if TYPE_CHECKING:
    from aiohttp import web

    from dashboard.statistics import Surveyor

LOST = WorkerLost(worker_id="w", cause="died", contexts=1)


@dataclass
class Looks:
    """A surveyor whose looks end when the test says so."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    answers: asyncio.Queue[Mock | StoreUnavailable] = field(
        default_factory=asyncio.Queue[Mock | StoreUnavailable]
    )

    async def stats(self) -> Mock:
        self.asked.set()
        answer = await self.answers.get()
        self.answers.task_done()
        if isinstance(answer, StoreUnavailable):
            raise answer
        return answer


def some_stats(at: str) -> Mock:
    return Mock(at=at, model_dump_json=lambda: "{}")


@contextlib.asynccontextmanager
async def hub_of(store_url: str, looks: Looks) -> AsyncGenerator[tuple[Hub, Store], None]:
    config = DashboardConfig(stats_every_s=0.01)
    async with connect(store_url, StorageConfig()) as store:
        store.announcer.by = "test"
        yield Hub(store, cast("Surveyor", looks), config), store


@contextlib.asynccontextmanager
async def surveying(hub: Hub) -> AsyncGenerator[None, None]:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(hub.survey())
        yield
        task.cancel()


async def until(heard: asyncio.Event, holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await heard.wait()
            heard.clear()


@dataclass
class Socket:
    """What a connection sends, and how it is closed: slowly, as by a client far away."""

    texts: list[bytes] = field(default_factory=list[bytes])
    closed: list[int] = field(default_factory=list[int])
    over: asyncio.Event = field(default_factory=asyncio.Event)
    told: asyncio.Event = field(default_factory=asyncio.Event)
    on_text: Callable[[], None] = lambda: None

    async def send_str(self, text: str) -> None:
        self.texts.append(text.encode())
        self.told.set()
        self.on_text()

    async def close(self, *, code: int) -> None:
        self.over.set()
        await asyncio.sleep(0.05)
        self.closed.append(code)

    def __aiter__(self) -> "Socket":
        return self

    async def __anext__(self) -> None:
        await self.over.wait()
        raise StopAsyncIteration


async def test_a_dashboard_that_is_far_behind_is_given_some_at_a_time(store_url: str) -> None:
    woken = asyncio.Event()
    async with hub_of(store_url, Looks()) as (hub, store), hub.watched(woken.set):
        for _ in range(READ_MAX + 2):
            store.announcer.tell(LOST)
        await store.announcer.flush()
        async with asyncio.timeout(10):
            while hub.head < READ_MAX + 2:
                await woken.wait()
                woken.clear()
        assert [shown.seq for shown in await hub.after(1)] == [*range(2, READ_MAX + 2)]


async def test_what_was_missed_is_read_once_the_store_answers_again(store_url: str) -> None:
    async with hub_of(store_url, Looks()) as (hub, store), hub.watched(lambda: None):
        listeners = private(store.subscriber, "_listeners")
        (listener,) = listeners[b"announcements"]
        listeners[b"announcements"] = ()
        store.announcer.tell(LOST)
        await store.announcer.flush()
        listener.on_gap()
        room, store.link.calls_max = store.link.calls_max, 0
        with pytest.raises(StoreUnavailable):
            await hub.after(0)
        store.link.calls_max = room
        assert [shown.seq for shown in await hub.after(0)] == [1]


async def test_nobody_is_shown_statistics_that_were_asked_for_before_he_came(
    store_url: str,
) -> None:
    looks, heard = Looks(), asyncio.Event()
    async with hub_of(store_url, looks) as (hub, _), surveying(hub):
        async with hub.watched(lambda: None):
            await looks.asked.wait()
        looks.answers.put_nowait(some_stats("before"))
        await looks.answers.join()
        async with hub.watched(heard.set):
            assert hub.stats is None
            looks.answers.put_nowait(some_stats("now"))
            await until(heard, lambda: hub.stats is not None)
            assert hub.stats is not None
            assert hub.stats.at == "now"


async def test_while_the_store_does_not_answer_there_are_no_statistics(store_url: str) -> None:
    looks, heard = Looks(), asyncio.Event()
    async with (
        hub_of(store_url, looks) as (hub, _),
        surveying(hub),
        hub.watched(heard.set),
    ):
        looks.answers.put_nowait(some_stats("then"))
        await until(heard, lambda: hub.stats is not None)
        looks.answers.put_nowait(StoreUnavailable("it does not answer"))
        await looks.answers.join()
        assert hub.stats is None


async def test_a_dashboard_that_is_ended_is_told_why_at_once_and_to_the_end(
    store_url: str,
) -> None:
    socket = Socket()
    async with hub_of(store_url, Looks()) as (hub, store), asyncio.TaskGroup() as group:
        made = cast("web.WebSocketResponse", socket)
        connection = Connection(made, None, hub, DashboardConfig(), lambda: 0, "here")
        async with hub.watched(connection.wake):
            running = group.create_task(connection.run())
            await socket.told.wait()
            socket.on_text = lambda: connection.end(WSCloseCode.GOING_AWAY)
            for _ in range(3):
                store.announcer.tell(LOST)
            await store.announcer.flush()
            await running
    assert [b'"worker_lost","data"' in text for text in socket.texts] == [False, True]
    assert socket.closed == [WSCloseCode.GOING_AWAY]


async def test_one_that_makes_room_already_and_is_slow_to_go_makes_none_for_the_next() -> None:
    config = DashboardConfig(dashboards_per_address_max=2, dashboards_evict_idle=True)
    hub = Mock()
    place = private(Dashboards(hub, config, lambda: 0), "_place")
    made = cast("web.WebSocketResponse", Socket())
    first, second, third, fourth = (
        Connection(made, None, hub, config, lambda: 0, "here") for _ in range(4)
    )
    with place(first), place(second), place(third):
        assert [each.is_ending for each in (first, second, third)] == [True, False, False]
        with place(fourth):
            assert [each.is_ending for each in (second, third)] == [True, False]
