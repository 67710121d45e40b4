"""What processes count and time is added up in the store, once."""

import asyncio
import os
import resource
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from fakeredis import FakeServer
from typing_extensions import override

from storage import (
    Link,
    Meters,
    Process,
    Statistics,
    StorageConfig,
    StorageError,
    Store,
    StoreRefusedWrite,
    StoreUnavailable,
    keys,
    memory_of,
    survey,
)
from storage.link import Argument, Reply
from storage.meters import REPORTED_S, SLOT_S, SLOTS
from storage.scripts import Scripts
from tests.storage.arranging import kept
from tests.storage.conftest import Backend
from tests.storage.fake_store import fake_pool
from tests.support.clock import VirtualTimeLoop, in_virtual_time

NOW_MS = 1_800_000_000_000


def meters_of(store: Store, process_id: str, *, began_ms: int = NOW_MS) -> Meters:
    """A process that reports by itself."""
    meters = Meters(store.link, store.scripts, store.config, lambda: began_ms)
    meters.begin("worker", process_id, lambda: {"active": 7})
    return meters


async def seen(store: Store) -> Statistics:
    return await survey(store.link, store.scripts, since_ever=True)


async def test_what_several_processes_count_is_added_up(store: Store) -> None:
    for process_id in ("a", "b", "c"):
        meters = meters_of(store, process_id)
        meters.count("errors:gone", 2)
        meters.took("save", 0.010)
        await meters.report()
        meters.count("errors:gone")
        await meters.report()
    found = await seen(store)
    assert found.totals["errors:gone"] == 9
    assert found.latencies["save"].count == 3
    assert {process.id for process in found.processes} == {"a", "b", "c"}
    assert all(process.load == {"active": 7} for process in found.processes)


async def test_a_report_of_which_nobody_knows_whether_it_came_is_counted_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    meters = meters_of(store, "a")
    meters.count("errors:gone")
    run = Scripts.run

    async def unanswered(scripts: Scripts, link: Link, name: str, *rest: Any) -> Reply:
        await run(scripts, link, name, *rest)
        raise StoreUnavailable("the answer was lost")

    with monkeypatch.context() as patched:
        patched.setattr(Scripts, "run", unanswered)
        await meters.report()
    meters.count("errors:gone", 10)
    await meters.report()  # the one of before, once more
    await meters.report()
    assert (await seen(store)).totals["errors:gone"] == 11


@pytest.mark.parametrize("error", [StoreUnavailable, StoreRefusedWrite])
async def test_a_process_that_leaves_tells_what_it_has_counted_since_a_report_that_failed(
    store: Store, monkeypatch: pytest.MonkeyPatch, error: type[StorageError]
) -> None:
    meters = meters_of(store, "a")
    meters.count("errors:gone")

    async def refused(_scripts: Scripts, _link: Link, _name: str, *_rest: Any) -> Reply:
        raise error("not now")

    with monkeypatch.context() as patched:
        patched.setattr(Scripts, "run", refused)
        await meters.report()
    meters.count("errors:gone", 10)
    await meters.leave()
    assert (await seen(store)).totals["errors:gone"] == 11


@pytest.mark.parametrize("error", [StoreUnavailable, StoreRefusedWrite])
async def test_a_process_that_cannot_take_its_leave_falls_silent(
    store: Store, monkeypatch: pytest.MonkeyPatch, error: type[StorageError]
) -> None:
    meters, call = meters_of(store, "a"), Link.call

    def refused(link: Link, *command: Argument) -> asyncio.Future[Reply]:
        if command[0] == "ZREM":
            raise error("not now")
        return call(link, *command)

    monkeypatch.setattr(Link, "call", refused)
    await meters.leave()
    assert meters.process_id == ""
    assert [process.id for process in (await seen(store)).processes] == ["a"]


async def test_what_a_process_counts_that_has_the_id_of_an_earlier_one_is_added(
    store: Store,
) -> None:
    for began_ms in (NOW_MS, NOW_MS + 1_000):
        meters = meters_of(store, "a", began_ms=began_ms)
        for _ in range(3):
            meters.count("errors:gone")
            await meters.report()
    assert (await seen(store)).totals["errors:gone"] == 6


async def test_totals_are_those_since_the_first_report(store: Store) -> None:
    at_ms = (await seen(store)).at_ms
    await meters_of(store, "a").report()
    assert (since_ms := (await seen(store)).totals["since"]) >= at_ms
    await store.link.call("HINCRBY", keys.TOTALS, "since", -7)
    await meters_of(store, "b").report()
    assert (await seen(store)).totals["since"] == since_ms - 7


async def test_percentiles_are_those_of_all_processes_within_a_hundredth(store: Store) -> None:
    one, other = meters_of(store, "a"), meters_of(store, "b")
    taken_ms = [0.0031 * number for number in range(1, 1_001)]
    for number, took_ms in enumerate(taken_ms):
        (one, other)[number % 2].took("send", took_ms / 1_000)
    await one.report()
    await other.report()
    latency = (await seen(store)).latencies["send"]
    exact = [taken_ms[round(share * 999)] for share in (0.5, 0.95, 0.99)]
    assert latency.count == 1_000
    for found, right in zip(latency.percentiles_ms, exact, strict=True):
        assert found == pytest.approx(right, rel=0.011)


async def test_what_takes_no_time_and_what_takes_an_hour_are_kept(store: Store) -> None:
    meters = meters_of(store, "a")
    meters.took("poll", 0.0)
    meters.took("poll", 0.0)
    meters.took("first_token", 3_600.0)
    await meters.report()
    found = (await seen(store)).since_ever
    assert list(found["poll"]) == [pytest.approx(0.001, rel=0.02)]
    assert [*found["poll"].values(), *found["first_token"].values()] == [2, 1]
    assert list(found["first_token"]) == [pytest.approx(3_600_000, rel=0.02)]


async def test_a_process_that_has_left_or_is_silent_is_not_shown(backend: Backend) -> None:
    async with backend.connect(process_silent_s_max=1) as store:
        leaving, silent = meters_of(store, "leaves"), meters_of(store, "is silent")
        leaving.count("errors:gone")
        await leaving.leave()
        assert (await seen(store)).totals["errors:gone"] == 1
        assert [process.id for process in (await seen(store)).processes] == []
        await silent.report()
        assert [process.id for process in (await seen(store)).processes] == ["is silent"]
        async with asyncio.timeout(10):
            while (await seen(store)).processes:  # noqa: ASYNC110 - time passes in the store
                await asyncio.sleep(0.05)


async def test_of_processes_that_came_and_went_nothing_stays(store: Store) -> None:
    await store.link.call("ZADD", keys.PROCESSES, 0, "long-gone")
    await meters_of(store, "a").report()
    assert await store.link.call("ZRANGE", keys.PROCESSES, 0, -1) == [b"a"]
    slots = [key for key in await kept(store) if key.startswith(f"{keys.LATENCIES}:")]
    for key in (*slots, keys.process("a"), keys.reported("a")):
        assert cast("int", await store.link.call("TTL", key)) > 0, key
    assert len(slots) == 1
    window_s = SLOT_S * (SLOTS + 1)
    assert cast("int", await store.link.call("TTL", slots[0])) > window_s
    # A report that is repeated late must still be known.
    assert cast("int", await store.link.call("TTL", keys.reported("a"))) > REPORTED_S - 60


async def test_latencies_are_those_of_the_last_minute_and_of_the_slot_that_has_begun(
    store: Store,
) -> None:
    at_ms = (await seen(store)).at_ms
    slots = range(at_ms // 10_000 - 9, at_ms // 10_000 + 3)
    for number, slot in enumerate(slots):
        await store.link.call("HSET", f"latencies:{slot}", "at", at_ms, "save:0", 2**number)
    found = await seen(store)
    newest = slots.index(found.at_ms // 10_000)
    expected = sum(2**number for number in range(newest - 6, newest + 1))
    assert found.latencies["save"].count == expected


async def test_latencies_since_ever_are_told_only_where_they_are_asked_for(
    store: Store,
) -> None:
    meters = meters_of(store, "a")
    meters.took("save", 0.01)
    await meters.report()
    assert (await seen(store)).since_ever
    assert not (await survey(store.link, store.scripts)).since_ever


async def test_a_look_has_the_time_of_the_store(store: Store) -> None:
    before = await store.link.call("TIME")
    found = await seen(store)
    after = await store.link.call("TIME")
    assert ms_of(before) <= found.at_ms <= ms_of(after)


def stand_still(span_s: float) -> None:
    """As a call that blocks the loop for so long."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    loop.stand_still(span_s)


def ms_of(told: Reply) -> int:
    seconds, micros = cast("list[bytes]", told)
    return int(seconds) * 1_000 + int(micros) // 1_000


@in_virtual_time
async def test_a_process_reports_now_and_then_once_it_has_said_who_it_is() -> None:
    reports: list[Process] = []

    class Heard(Scripts):
        @override
        async def run(
            self, link: Link, name: str, keys: Sequence[Argument], *args: Argument
        ) -> Reply:
            reports.append(Process.model_validate_json(cast("str", args[2])))
            return b"reported"

    config = StorageConfig(report_s=2)
    link = Link(fake_pool(FakeServer()), 5.0, 100)
    meters = Meters(link, Heard(), config, lambda: NOW_MS)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(meters.run())
        await asyncio.sleep(9)
        assert reports == []
        meters.begin("gateway", "g1", dict)
        await asyncio.sleep(4)
        running.cancel()
    assert [(said.id, said.role, said.lag_ms) for said in reports] == [("g1", "gateway", 0)] * 2


@in_virtual_time
async def test_a_process_says_how_late_its_loop_came_back() -> None:
    loop, lags_ms = asyncio.get_running_loop(), list[float]()

    class Heard(Scripts):
        @override
        async def run(
            self, link: Link, name: str, keys: Sequence[Argument], *args: Argument
        ) -> Reply:
            lags_ms.append(Process.model_validate_json(cast("str", args[2])).lag_ms)
            return b"reported"

    link = Link(fake_pool(FakeServer()), 5.0, 100)
    meters = Meters(link, Heard(), StorageConfig(report_s=2), lambda: NOW_MS)
    meters.begin("gateway", "g1", dict)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(meters.run())
        loop.call_at(1.9, stand_still, 0.35)
        loop.call_at(5.0, running.cancel)
    assert lags_ms == [250, 0]


async def test_rates_are_differences_of_totals_over_the_window(store: Store) -> None:
    both = "actions:applied turns:started"
    await store.link.call("HINCRBY", "totals", both, 1_000)
    await store.link.call("HINCRBY", "totals", "actions:applied", 30)
    await meters_of(store, "a").report()
    (slot,) = cast("list[bytes]", await store.link.call("KEYS", "latencies:*"))
    await store.link.call("HINCRBY", "totals", "actions:applied", 33)
    await store.link.call("HINCRBY", "totals", both, 20)
    await store.link.call("HINCRBY", slot, "at", -10_000)
    await meters_of(store, "b").report()  # the slot has begun already
    found = await seen(store)
    assert found.window_s == pytest.approx(10, abs=2)
    assert found.actions_s == pytest.approx(53 / found.window_s, rel=0.01)
    assert found.turns_s == pytest.approx(20 / found.window_s, rel=0.01)


async def test_rates_are_those_since_the_oldest_slot_of_the_window_began(store: Store) -> None:
    at_ms = (await seen(store)).at_ms
    slot = at_ms // 10_000
    for number, before in ((slot - 3, 0), (slot - 2, 90)):
        began = ("at", number * 10_000, "actions", before, "turns", before)
        await store.link.call("HSET", f"latencies:{number}", *began)
    await store.link.call("HINCRBY", "totals", "actions:applied", 100)
    found = await seen(store)
    assert found.window_s == pytest.approx((found.at_ms - (slot - 3) * 10_000) / 1_000)
    assert found.actions_s == pytest.approx(100 / found.window_s, rel=0.01)


async def test_a_process_says_how_it_is(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    used_s, now_s = [1.0, 0.5], asyncio.get_running_loop().time
    monkeypatch.setattr("os.times", lambda: SimpleNamespace(user=used_s[0], system=used_s[1]))
    meters = meters_of(store, "a")
    meters.draining = True
    first, before_kb = now_s(), resident_kb()
    await meters.report()
    (process,) = (await seen(store)).processes
    assert (process.started_at_ms, process.at_ms, process.draining) == (NOW_MS, NOW_MS, True)
    assert (process.host, process.process_id) == (os.uname().nodename, os.getpid())
    assert before_kb * 1_024 <= process.memory_bytes <= resident_kb() * 1_024
    assert process.cpu == 0.0  # since when, nobody knows
    used_s[:] = [3.0, 1.5]
    second = now_s()
    await meters.report()
    (process,) = (await seen(store)).processes
    assert process.cpu >= round(3.0 / (now_s() - first), 4)
    used_s[:] = [3.0, 2.0]
    await meters.report()
    (process,) = (await seen(store)).processes
    assert process.cpu >= round(0.5 / (now_s() - second), 4)
    await meters.report()
    assert [process.cpu for process in (await seen(store)).processes] == [0.0]


async def test_two_reports_at_one_moment_tell_of_no_processor_time(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    meters = meters_of(store, "a")
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: 7.0)
    await meters.report()
    await meters.report()
    assert [process.cpu for process in (await seen(store)).processes] == [0.0]


async def test_what_a_newer_release_says_of_itself_beyond_what_is_known_is_left_out(
    store: Store,
) -> None:
    await meters_of(store, "a").report()
    (process,) = (await seen(store)).processes
    said = process.model_dump_json().removesuffix("}") + ',"unheard_of":1}'
    await store.link.call("SET", keys.process("a"), said)
    assert (await seen(store)).processes == [process]


def resident_kb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.mark.real_only
async def test_the_store_says_how_much_memory_it_uses_and_may_use(
    real_backend: Backend,
) -> None:
    async with real_backend.connect() as store:
        assert (await memory_of(store.link)).bytes_max is None
        await store.link.call("CONFIG", "SET", "maxmemory", 1_000_000_000)
        found = await memory_of(store.link)
        await store.link.call("CONFIG", "SET", "maxmemory", 0)
    assert (found.bytes_max, found.used_bytes > 100_000) == (1_000_000_000, True)


async def test_nothing_is_reported_before_a_process_says_who_it_is(store: Store) -> None:
    store.meters.count("errors:gone")
    await store.leave()
    assert (await seen(store)).totals == {}
