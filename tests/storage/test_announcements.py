"""Announcements are numbered once for all processes, and cost nobody anything."""

import asyncio
from collections.abc import Sequence
from typing import Final, cast, get_args

import orjson
import pytest
from fakeredis import FakeServer
from typing_extensions import override

from storage import (
    ANNOUNCEMENTS,
    ActionReceived,
    Announcer,
    AnyAnnouncement,
    ApprovalRequested,
    ContextRecovered,
    Entry,
    ErrorSeen,
    Link,
    Listener,
    Meters,
    RestartAsked,
    RestartComplete,
    RestartProgress,
    Statistics,
    StorageConfig,
    Store,
    StoreRefusedWrite,
    WorkerLost,
    announced_after,
    first_announced,
    keys,
    last_announced,
    read_announced,
    survey,
)
from storage.announcements import ANNOUNCE_S, ANNOUNCED_S, COLLECTED_MAX
from storage.link import Argument, Reply
from storage.scripts import Scripts
from tests.storage.conftest import Backend
from tests.storage.fake_store import fake_pool
from tests.support.clock import in_virtual_time

NOW_MS = 1_800_000_000_000
LOST = WorkerLost(worker_id="w", cause="died", contexts=3)
CRITICAL: Final = {
    *(ApprovalRequested, WorkerLost, ContextRecovered, ErrorSeen),
    *(RestartAsked, RestartProgress, RestartComplete),
}


def received(number: int = 0) -> ActionReceived:
    return ActionReceived(context_id=f"c{number}", action="rename", repeated=False)


def announcer_of(
    store: Store, name: str, *, began_ms: int = NOW_MS
) -> tuple[Announcer, Meters]:
    """A process that tells when it is asked to."""
    meters = Meters(store.link, store.scripts, store.config, lambda: began_ms)
    announcer = Announcer(store.link, store.scripts, store.config, meters)
    announcer.by = name
    meters.begin("gateway", name, dict)
    return announcer, meters


async def told(store: Store, after: int = 0) -> list[tuple[int, AnyAnnouncement]]:
    found = await announced_after(store.link, after, limit=100_000)
    return [(seq, Entry.model_validate_json(raw).what) for seq, raw in found]


async def totals(store: Store, meters: Meters) -> Statistics:
    await meters.report()
    return await survey(store.link, store.scripts)


async def test_several_processes_share_one_line_of_numbers(store: Store) -> None:
    one, other = announcer_of(store, "a")[0], announcer_of(store, "b")[0]
    for number in range(6):
        announcer = (one, other)[number % 2]
        announcer.tell(received(number))
        announcer.tell(LOST)
        await announcer.flush()
    found = await told(store)
    assert [seq for seq, _ in found] == list(range(1, 13))
    assert [what for _, what in found[::2]] == [received(number) for number in range(6)]
    newest, _ = await last_announced(store.link)
    assert (await first_announced(store.link), newest) == (1, 12)
    assert (await survey(store.link, store.scripts)).announced == 12
    assert await told(store, 10) == found[10:]
    kept = await announced_after(store.link, 3, limit=2)
    assert [seq for seq, _ in kept] == [4, 5]


async def test_before_anything_is_announced_there_is_no_number(store: Store) -> None:
    assert await last_announced(store.link) == (0, b"")
    assert await first_announced(store.link) == 0


def test_what_somebody_has_to_look_at_is_critical_and_nothing_else_is() -> None:
    kinds: tuple[type[AnyAnnouncement], ...] = get_args(AnyAnnouncement)
    assert {kind for kind in kinds if kind.is_critical} == CRITICAL


async def test_a_batch_that_is_sent_twice_is_told_once(store: Store) -> None:
    announcer, _ = announcer_of(store, "a")
    announcer.tell(received())
    await announcer.flush()
    vars(announcer)["_batch"] -= 1
    announcer.tell(received())
    await announcer.flush()
    assert len(await told(store)) == 1
    lives_s = cast("int", await store.link.call("TTL", keys.announced("a")))
    assert ANNOUNCED_S - 30 < lives_s <= ANNOUNCED_S


async def test_what_a_process_tells_that_has_the_name_of_an_earlier_one_is_told(
    store: Store,
) -> None:
    for began_ms in (NOW_MS, NOW_MS + 1_000):
        announcer, _ = announcer_of(store, "a", began_ms=began_ms)
        for _ in range(3):
            announcer.tell(LOST)
            await announcer.flush()
    assert len(await told(store)) == 6


async def test_what_is_published_is_what_is_kept(store: Store) -> None:
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    listener = Listener(heard.put_nowait, lambda: None)
    await store.subscriber.subscribe(ANNOUNCEMENTS, listener)
    announcer, _ = announcer_of(store, "a")
    for number in range(3):
        announcer.tell(received(number))
    await announcer.flush()
    async with asyncio.timeout(10):
        publication = await heard.get()
    assert read_announced(publication) == await announced_after(store.link, 0, limit=10)
    entry = orjson.loads(read_announced(publication)[0][1])
    assert (entry["by"], entry["at_ms"], entry["what"]["type"]) == (
        *("a", NOW_MS),
        "action_received",
    )


async def test_what_there_is_no_room_for_need_not_be_made_and_is_counted(
    backend: Backend,
) -> None:
    async with backend.connect(announcements_s_max=2) as store:
        announcer, meters = announcer_of(store, "a")
        left_out: list[bool] = []
        for number in range(5):
            left_out.append(announcer.leaves_out())
            if not left_out[-1]:
                announcer.tell(received(number))
        await announcer.flush()
        assert left_out == [False, False, True, True, True]
        assert len(await told(store)) == 2
        assert (await totals(store, meters)).totals["announcements:throttled"] == 3


async def test_too_many_in_a_second_are_counted_and_critical_ones_are_told_all_the_same(
    backend: Backend,
) -> None:
    async with backend.connect(announcements_s_max=5) as store:
        announcer, meters = announcer_of(store, "a")
        for number in range(20):
            announcer.tell(received(number))
            announcer.tell(LOST)
        await announcer.flush()
        found = [what for _, what in await told(store)]
        assert found.count(LOST) == 20
        assert len(found) == 25
        assert (await totals(store, meters)).totals["announcements:throttled"] == 15


async def test_a_clock_that_was_set_back_silences_nobody(backend: Backend) -> None:
    async with backend.connect(announcements_s_max=1) as store:
        times_ms = [NOW_MS]
        meters = Meters(store.link, store.scripts, store.config, lambda: times_ms[-1])
        announcer = Announcer(store.link, store.scripts, store.config, meters)
        announcer.by = "a"
        announcer.tell(received(0))
        times_ms.append(NOW_MS - 10_000)
        announcer.tell(received(1))
        announcer.tell(received(2))  # the same second
        times_ms.append(NOW_MS - 9_000)
        announcer.tell(received(3))
        await announcer.flush()
        assert [what for _, what in await told(store)] == [
            *(received(0), received(1), received(3))
        ]


async def test_only_the_newest_are_kept(backend: Backend) -> None:
    async with backend.connect(announcements_kept=100) as store:
        announcer, _ = announcer_of(store, "a")
        for number in range(1_000):
            announcer.tell(LOST)
            if number % 50 == 0:
                await announcer.flush()
        await announcer.flush()
        first = await first_announced(store.link)
        assert (await last_announced(store.link))[0] == 1_000
        assert 1 < first <= 901  # whole nodes of the stream are dropped
        assert [seq for seq, _ in await told(store, 3)] == list(range(first, 1_001))


async def test_no_more_than_a_bound_wait_to_be_told(store: Store) -> None:
    announcer, meters = announcer_of(store, "a")
    for _ in range(COLLECTED_MAX + 7):
        announcer.tell(LOST)
    await announcer.flush()
    assert (await totals(store, meters)).totals["announcements:dropped"] == 7


async def test_while_the_store_is_away_announcements_are_bounded_dropped_and_counted(
    store: Store,
) -> None:
    announcer, meters = announcer_of(store, "a")
    for _ in range(COLLECTED_MAX + 7):
        announcer.tell(LOST)
    store.link.calls_max, room = 0, store.link.calls_max
    await announcer.flush()
    store.link.calls_max = room
    announcer.tell(LOST)
    await announcer.flush()
    assert len(await told(store)) == 1
    found = (await totals(store, meters)).totals["announcements:dropped"]
    assert found == COLLECTED_MAX + 7


async def test_what_the_store_refuses_is_dropped_and_counted(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(*_: object) -> Reply:
        raise StoreRefusedWrite("the store is full")

    announcer, meters = announcer_of(store, "a")
    announcer.tell(LOST)
    with monkeypatch.context() as patched:
        patched.setattr(Scripts, "run", refused)
        await announcer.flush()
    assert (await totals(store, meters)).totals["announcements:dropped"] == 1


@in_virtual_time
async def test_what_happens_in_one_moment_is_told_together_soon_after() -> None:
    loop, batches = asyncio.get_running_loop(), list[tuple[float, int]]()

    class Heard(Scripts):
        @override
        async def run(
            self, link: Link, name: str, keys: Sequence[Argument], *args: Argument
        ) -> Reply:
            batches.append((round(loop.time(), 3), len(args) - 3))
            return 0

    scripts, config = Heard(), StorageConfig()
    link = Link(fake_pool(FakeServer()), 5.0, 100)
    announcer = Announcer(link, scripts, config, Meters(link, scripts, config, lambda: NOW_MS))
    announcer.by = "a"
    async with asyncio.TaskGroup() as group:
        running = group.create_task(announcer.run())
        for at_s in (1.0, 1.05, 2.0):
            loop.call_at(at_s, announcer.tell, LOST)
        loop.call_at(60.0, running.cancel)
    assert batches == [(1.0 + ANNOUNCE_S, 2), (2.0 + ANNOUNCE_S, 1)]


async def test_a_command_announces_nothing(store: Store) -> None:
    assert store.announcer.leaves_out()
    store.announcer.tell(LOST)
    await store.announcer.flush()
    assert await told(store) == []
