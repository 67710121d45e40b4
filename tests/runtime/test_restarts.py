"""What is asked of a supervisor is done, whatever other supervisors report."""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Collection, Iterator
from typing import Literal

import pytest
from typing_extensions import override

from runtime.config import RuntimeConfig
from runtime.restarts import obey_restarts
from runtime.slot import Replaced, Role, Slot
from runtime.supervisor import Supervisor
from storage import (
    RestartRequest,
    Restarts,
    StorageConfig,
    Store,
    SupervisorReport,
    connect,
    keys,
)
from storage.restarts import GONE
from tests.runtime.support import until
from tests.support.store_server import StoreServer

pytestmark = pytest.mark.real_only
REPLACED = Replaced(Slot("worker", 0, ()), 1, 2, "drained", 0, 0.1)


@pytest.fixture
def server() -> Iterator[StoreServer]:
    """A store of the test's own."""
    with StoreServer() as server:
        yield server


async def nothing(*_: object) -> None:
    pass


class Obedient(Supervisor):
    """Replaces nothing, and says that it has."""

    def __init__(self) -> None:
        super().__init__(
            RuntimeConfig(),
            (),
            environment=lambda _: os.environ,
            bury=nothing,
            announce=nothing,
        )
        self.restarts = 0

    @override
    async def restart(
        self,
        roles: Collection[Role],
        *,
        force: bool,
        told: Callable[[Replaced], Awaitable[None]],
    ) -> bool:
        await told(REPLACED)
        self.restarts += 1
        return True


class Older(Obedient):
    """Does it once a newer supervisor has reported."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self.store = store

    @override
    async def restart(
        self,
        roles: Collection[Role],
        *,
        force: bool,
        told: Callable[[Replaced], Awaitable[None]],
    ) -> bool:
        running = await self.store.link.call("GET", keys.RESTARTING)
        assert isinstance(running, bytes)
        await report_of_a_newer_one(self.store, running.decode())
        return await super().restart(roles, force=force, told=told)


async def report_of_a_newer_one(store: Store, restart_id: str) -> None:
    """A report that nobody here can read."""
    await store.link.call("HSET", keys.restart(restart_id), "supervisor:s-newer", "{}")


async def ask_for_one(store: Store, supervisor: Obedient) -> None:
    """Ask for a restart, and wait until it is done."""
    before = supervisor.restarts
    await store.link.call("DEL", keys.RESTARTING)
    await Restarts(store).ask("workers", force=False, now_ms=1)
    await until(lambda: supervisor.restarts > before)


async def test_a_report_that_cannot_be_read_keeps_nobody_from_restarting(
    server: StoreServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    config = StorageConfig()
    async with connect(server.url, config) as store, asyncio.TaskGroup() as group:
        request = RestartRequest(
            restart_id="r-1", scope="workers", force=False, requested_at_ms=0
        )
        await store.link.call("HSET", keys.restart("r-1"), "request", request.model_dump_json())
        await report_of_a_newer_one(store, "r-1")
        await store.link.call("SET", keys.RESTARTING, "r-1")
        supervisor = Older(store)
        obeying = group.create_task(
            obey_restarts(lambda: server.url, config, supervisor, began_ms=0)
        )
        await until(lambda: "restarts cannot be heard" in caplog.messages)
        await ask_for_one(store, supervisor)
        await ask_for_one(store, supervisor)
        obeying.cancel()


async def test_a_clock_that_was_ahead_at_the_start_keeps_nobody_from_restarting(
    server: StoreServer,
) -> None:
    config = StorageConfig()
    async with connect(server.url, config) as store, asyncio.TaskGroup() as group:
        supervisor = Older(store)
        obeying = group.create_task(
            obey_restarts(lambda: server.url, config, supervisor, began_ms=10)
        )
        while await store.link.call("PUBLISH", keys.SUPERVISORS, "") == 0:
            pass
        await ask_for_one(store, supervisor)
        obeying.cancel()


class Unfinished(Obedient):
    """Begins to replace, and does not come to an end."""

    has_begun = False

    @override
    async def restart(
        self,
        roles: Collection[Role],
        *,
        force: bool,
        told: Callable[[Replaced], Awaitable[None]],
    ) -> bool:
        await told(REPLACED)
        self.has_begun = True
        await asyncio.Event().wait()
        return True


async def test_a_restart_that_a_stop_breaks_off_has_failed_and_another_one_can_begin(
    server: StoreServer,
) -> None:
    config = StorageConfig()
    async with connect(server.url, config) as store, asyncio.TaskGroup() as group:
        supervisor = Unfinished()
        obeying = group.create_task(
            obey_restarts(lambda: server.url, config, supervisor, began_ms=0)
        )
        restarts = Restarts(store)
        broken_off = await restarts.ask("workers", force=False, now_ms=1)
        await until(lambda: supervisor.has_begun)
        obeying.cancel()
        await asyncio.wait({obeying})
        report = await restarts.read(broken_off)
        assert report is not None
        assert report.status == "failed"
        assert len(report.supervisors[0].processes) == 1
        assert await restarts.running() is None


async def asked_of_a_supervisor_that_was_killed(
    store: Store, kind: Literal["restart", "drain"] = "restart"
) -> str:
    """What nobody has begun."""
    request = RestartRequest(
        restart_id="r-1", scope="workers", force=False, requested_at_ms=5, kind=kind
    )
    await store.link.call("HSET", keys.restart("r-1"), "request", request.model_dump_json())
    await store.link.call("SET", keys.RESTARTING, "r-1")
    return "r-1"


async def kept_from_a_supervisor_that_was_killed(store: Store) -> str:
    """A restart that somebody has begun who is not there any more."""
    await asked_of_a_supervisor_that_was_killed(store)
    await Restarts(store).report("r-1", SupervisorReport(supervisor="s-0", status="running"))
    return "r-1"


@pytest.mark.parametrize("began_ms", [10, 0])
async def test_p13_a_supervisor_that_was_killed_in_a_restart_keeps_nobody_from_the_next_one(
    server: StoreServer, began_ms: int
) -> None:
    config = StorageConfig()
    async with connect(server.url, config) as store, asyncio.TaskGroup() as group:
        restarts = Restarts(store)
        broken_off = await kept_from_a_supervisor_that_was_killed(store)
        supervisor = Obedient()
        obeying = group.create_task(
            obey_restarts(lambda: server.url, config, supervisor, began_ms=began_ms)
        )
        async with asyncio.timeout(20):
            while await restarts.running() is not None:
                pass
        report = await restarts.read(broken_off)
        assert report is not None
        lost = [one for one in report.supervisors if one.status == "failed"]
        assert [(one.supervisor, one.reason) for one in lost] == [("s-0", GONE)]
        assert report.status == "failed"
        before = supervisor.restarts
        assert await restarts.ask("workers", force=False, now_ms=20) != broken_off
        await until(lambda: supervisor.restarts > before)
        obeying.cancel()


@pytest.mark.parametrize("kind", ["restart", "drain"])
async def test_what_was_asked_of_a_supervisor_that_was_killed_before_it_began_has_failed(
    server: StoreServer, kind: Literal["restart", "drain"]
) -> None:
    config = StorageConfig()
    async with connect(server.url, config) as store, asyncio.TaskGroup() as group:
        restarts = Restarts(store)
        asked = await asked_of_a_supervisor_that_was_killed(store, kind)
        obeying = group.create_task(
            obey_restarts(lambda: server.url, config, Obedient(), began_ms=10)
        )
        async with asyncio.timeout(20):
            while await restarts.running() is not None:
                pass
        report = await restarts.read(asked)
        assert report is not None
        assert report.status == "failed"
        obeying.cancel()


async def test_p13_a_restart_that_another_supervisor_carries_out_is_left_to_it(
    server: StoreServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked, fail_lost = asyncio.Event(), Restarts.fail_lost

    async def look(self: Restarts, restart_id: str, *, listens: bool) -> None:
        await fail_lost(self, restart_id, listens=listens)
        looked.set()

    monkeypatch.setattr(Restarts, "fail_lost", look)
    config = StorageConfig()
    async with connect(server.url, config) as store, asyncio.TaskGroup() as group:
        other = Unfinished()
        obeying = [
            group.create_task(obey_restarts(lambda: server.url, config, other, began_ms=0))
        ]
        restarts = Restarts(store)
        running = await restarts.ask("workers", force=False, now_ms=5)
        await until(lambda: other.has_begun)
        obeying.append(
            group.create_task(
                obey_restarts(lambda: server.url, config, Obedient(), began_ms=10)
            )
        )

        await looked.wait()
        report = await restarts.read(running)
        assert report is not None
        assert sorted(one.status for one in report.supervisors) == ["complete", "running"]
        assert await restarts.running() == running
        for each in obeying:
            each.cancel()


async def test_a_supervisor_says_that_it_is_there_for_as_long_as_it_restarts(
    server: StoreServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.restarts.CARRIER_S", 0.01)
    config = StorageConfig()
    async with connect(server.url, config) as store, asyncio.TaskGroup() as group:
        supervisor, restarts = Unfinished(), Restarts(store)
        obeying = group.create_task(
            obey_restarts(lambda: server.url, config, supervisor, began_ms=0)
        )
        running = await restarts.ask("workers", force=False, now_ms=5)
        await until(lambda: supervisor.has_begun)
        report = await restarts.read(running)
        assert report is not None
        (sign,) = (keys.carrier(running, one.supervisor) for one in report.supervisors)
        for _ in range(3):
            await store.link.call("DEL", sign)
            async with asyncio.timeout(20):
                while await store.link.call("EXISTS", sign) == 0:
                    pass
        obeying.cancel()
