"""Restarts and drains by the supervisor, over small stub processes."""

import asyncio
import errno
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from runtime.config import RuntimeConfig
from runtime.port import Place, listen
from runtime.slot import Replaced, Role, Slot
from runtime.supervisor import Supervisor
from tests.runtime.supervised import (
    CRASHING,
    STUBBORN,
    WELL,
    Rig,
    a_supervisor_with_standby,
    supervised,
    waiting,
)
from tests.runtime.support import alive, until

WORKERS: Sequence[Role] = ("worker",)
GATEWAYS: Sequence[Role] = ("gateway",)
ALL: Sequence[Role] = ("gateway", "worker")

MOVED = WELL.replace('os.close(int(os.environ["CONTEXTD_READY_FD"]))\n', "").replace(
    "    sys.exit(0)",
    '    os.write(int(os.environ["CONTEXTD_READY_FD"]), b"7\\n")\n    sys.exit(0)',
)


def test_p13_each_new_process_serves_before_the_old_one_drains(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    supervisor = rig.supervisor(("gateway", MOVED), ("worker", MOVED))
    told: list[Replaced] = []
    living_then: list[int] = []

    async def tell(replaced: Replaced) -> None:
        told.append(replaced)
        living_then.append(len(rig.living()))

    async def story() -> None:
        await until(lambda: rig.announced)
        before = rig.living()
        assert await supervisor.restart(ALL, force=False, told=tell)
        assert [(one.slot.role, one.outcome, one.moved) for one in told] == [
            ("gateway", "drained", 7),
            ("worker", "drained", 7),
        ]
        assert {one.process_id for one in told} == before == rig.drained()
        await until(lambda: rig.living() == {one.replaced_by for one in told})

    supervised(supervisor, story)
    assert living_then == [2, 2]
    assert rig.living() == set()


def test_p13_only_the_roles_that_were_named_are_replaced(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    supervisor = rig.supervisor(("gateway", WELL), ("worker", WELL))
    told: list[Replaced] = []

    async def tell(replaced: Replaced) -> None:
        told.append(replaced)

    async def story() -> None:
        await until(lambda: rig.announced)
        assert await supervisor.restart(WORKERS, force=True, told=tell)
        ((role, outcome),) = [(one.slot.role, one.outcome) for one in told]
        assert (role, outcome) == ("worker", "killed")

    supervised(supervisor, story)


def test_p13_the_standby_is_replaced_with_the_workers_and_not_with_gateways(
    tmp_path: Path,
) -> None:
    rig = Rig(tmp_path)
    supervisor = a_supervisor_with_standby(rig)

    async def tell(_: Replaced) -> None:
        pass

    async def story() -> None:
        await until(lambda: waiting(rig))
        (standby,) = waiting(rig)
        assert await supervisor.restart(GATEWAYS, force=False, told=tell)
        assert waiting(rig) == {standby}
        assert await supervisor.restart(WORKERS, force=False, told=tell)
        await until(lambda: waiting(rig) - {standby})
        assert not alive(standby)

    supervised(supervisor, story)


def test_p13_a_new_process_that_does_not_come_up_leaves_the_old_one(tmp_path: Path) -> None:
    config = RuntimeConfig(ready_s_max=5)
    rig = Rig(tmp_path, config)
    broken = tmp_path / "broken"
    program = f"import os\nif os.path.exists({str(broken)!r}): os._exit(1)\n{WELL}"
    supervisor = rig.supervisor(("gateway", program), ("worker", WELL))
    told: list[Replaced] = []

    async def tell(replaced: Replaced) -> None:
        told.append(replaced)

    async def story() -> None:
        await until(lambda: rig.announced)
        before = rig.living()
        broken.touch()
        assert not await supervisor.restart(ALL, force=False, told=tell)
        ((role, outcome),) = [(one.slot.role, one.outcome) for one in told]
        assert (role, outcome) == ("gateway", "not replaced")
        assert rig.living() == before
        broken.unlink()

    supervised(supervisor, story)


def test_p13_a_stop_in_the_middle_of_a_restart_leaves_nothing_behind(tmp_path: Path) -> None:
    rig = Rig(tmp_path, RuntimeConfig(drain_s_max=1))
    supervisor = rig.supervisor(("worker", STUBBORN), ("worker", WELL))

    async def tell(_replaced: Replaced) -> None:
        pass

    async def story() -> None:
        await until(lambda: rig.announced)
        async with asyncio.TaskGroup() as group:
            restart = group.create_task(supervisor.restart(WORKERS, force=False, told=tell))
            await until(lambda: len(rig.living()) == 3)
            supervisor.stop()
            await asyncio.sleep(0)
            restart.cancel()

    supervised(supervisor, story)
    assert rig.living() == set()


# Drains


def test_the_second_interrupt_kills_what_a_restart_has_begun_too(tmp_path: Path) -> None:
    rig = Rig(tmp_path, RuntimeConfig(drain_s_max=25))
    supervisor = rig.supervisor(("worker", WELL.replace("    sys.exit(0)", "")))

    async def tell(_replaced: Replaced) -> None:
        pass

    async def story() -> None:
        await until(lambda: rig.announced)
        async with asyncio.TaskGroup() as group:
            group.create_task(supervisor.restart(WORKERS, force=False, told=tell))
            await until(rig.drained)  # told to, it stays; its heir serves
            assert len(rig.living()) == 2
            supervisor.kill()
            await until(lambda: not rig.living(), within_s=5)

    supervised(supervisor, story)


async def drained(
    supervisor: Supervisor, roles: Sequence[Role] = WORKERS, *, process: str | None = None
) -> list[Replaced]:
    """Drain, and tell what became of each process."""
    told: list[Replaced] = []

    async def tell(replaced: Replaced) -> None:
        told.append(replaced)

    assert await supervisor.drain(roles, process=process, force=False, told=tell)
    return told


async def restarted(supervisor: Supervisor, roles: Sequence[Role] = ALL) -> list[Replaced]:
    told: list[Replaced] = []

    async def tell(replaced: Replaced) -> None:
        told.append(replaced)

    assert await supervisor.restart(roles, force=False, told=tell)
    return told


def test_what_is_drained_stays_away_until_the_next_restart(tmp_path: Path) -> None:
    rig = Rig(tmp_path, RuntimeConfig(restart_backoff_s_base=0.01))
    supervisor = rig.supervisor(("gateway", WELL), ("worker", MOVED), ("worker", WELL))

    async def story() -> None:
        await until(lambda: rig.announced)
        before = rig.living()
        told = await drained(supervisor)
        ended = {one.process_id for one in told}
        assert [(one.outcome, one.replaced_by, one.moved) for one in told] == [
            ("drained", None, 7),
            ("drained", None, None),
        ]
        assert rig.drained() == ended
        assert rig.living() == before - ended
        assert await drained(supervisor) == []
        assert [one.slot.role for one in await restarted(supervisor, ["gateway"])] == [
            "gateway"
        ]
        assert len(rig.living()) == 1  # the workers' turn has not come
        back = await restarted(supervisor, WORKERS)
        assert [one.process_id for one in back] == [None, None]
        assert {one.replaced_by for one in back} < rig.living()
        assert len(rig.living()) == 3
        # From now on they are kept as ever.
        known = set(rig.up())
        os.kill(back[0].replaced_by or 0, signal.SIGKILL)
        await until(lambda: set(rig.up()) - known)

    supervised(supervisor, story)
    assert rig.living() == set()


@pytest.mark.parametrize("by", ["worker id", "address"])
def test_one_process_is_drained_by_its_name_and_no_other(tmp_path: Path, by: str) -> None:
    rig = Rig(tmp_path)
    supervisor = rig.supervisor(("worker", WELL), ("worker", WELL))

    async def story() -> None:
        await until(lambda: rig.announced)
        before = rig.up()
        wanted = min(before)
        name = before[wanted] if by == "worker id" else f"{socket.gethostname()}:{wanted}"
        assert await drained(supervisor, process="worker-9-9-abc") == []
        assert await drained(supervisor, ["gateway"], process=name) == []
        assert [one.process_id for one in await drained(supervisor, process=name)] == [wanted]
        assert rig.living() == set(before) - {wanted}

    supervised(supervisor, story)


def test_what_dies_while_it_is_away_or_being_tried_again_is_drained_too(
    tmp_path: Path,
) -> None:
    rig = Rig(tmp_path, RuntimeConfig(restart_backoff_s_base=0.2, restart_backoff_s_max=0.2))
    supervisor = rig.supervisor(("worker", CRASHING))

    async def story() -> None:
        # Its keeper waits for the next start by now.
        await until(lambda: len(rig.up()) >= 3 and not rig.living())
        await drained(supervisor)
        count = len(rig.up())
        await asyncio.sleep(0.5)  # longer than the wait between two starts
        assert len(rig.up()) <= count + 1
        assert rig.living() == set()

    supervised(supervisor, story)


def test_a_stop_while_slots_are_empty_ends_and_nothing_is_started(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    supervisor = rig.supervisor(("gateway", WELL), ("worker", WELL))

    async def story() -> None:
        await until(lambda: rig.announced)
        await drained(supervisor, ALL)
        assert rig.living() == set()

    supervised(supervisor, story)
    assert len(rig.up()) == 2


def test_what_does_not_come_back_leaves_its_place_empty(tmp_path: Path) -> None:
    rig = Rig(tmp_path, RuntimeConfig(ready_s_max=5))
    broken = tmp_path / "broken"
    program = f"import os\nif os.path.exists({str(broken)!r}): os._exit(1)\n{WELL}"
    supervisor = rig.supervisor(("worker", program))
    told: list[Replaced] = []

    async def tell(replaced: Replaced) -> None:
        told.append(replaced)

    async def story() -> None:
        await until(lambda: rig.announced)
        await drained(supervisor)
        broken.touch()
        assert not await supervisor.restart(WORKERS, force=False, told=tell)
        assert [one.outcome for one in told] == ["not replaced"]
        broken.unlink()
        assert len(await restarted(supervisor)) == 1
        assert len(rig.living()) == 1

    supervised(supervisor, story)


def test_a_place_whose_new_process_fails_behind_its_listen_gets_no_connections(
    tmp_path: Path,
) -> None:
    rig = Rig(tmp_path)
    (listener,) = listen("127.0.0.1", 0, places=1, backlog=8)
    broken = tmp_path / "broken"
    program = f"""
import os, socket
if os.path.exists({str(broken)!r}):
    socket.socket(fileno=int(os.environ["CONTEXTD_LISTEN_FD"])).listen()
    os._exit(1)
{WELL}"""
    command = (sys.executable, "-I", "-S", "-c", program, str(tmp_path))
    supervisor = Supervisor(
        rig.config,
        [Slot("gateway", 1, command, Place(listener))],
        environment=lambda _: {},
        bury=rig.bury,
        announce=rig.announce,
    )

    async def tell(_: Replaced) -> None:
        pass

    async def story() -> None:
        await until(lambda: rig.announced)
        assert await supervisor.drain(GATEWAYS, process=None, force=False, told=tell)
        broken.touch()
        assert not await supervisor.restart(GATEWAYS, force=False, told=tell)
        with socket.socket() as client:
            assert client.connect_ex(listener.getsockname()) == errno.ECONNREFUSED

    with listener:
        supervised(supervisor, story)


def test_those_that_do_not_drain_are_killed(tmp_path: Path) -> None:
    rig = Rig(tmp_path, RuntimeConfig(drain_s_max=0.3))
    supervisor = rig.supervisor(("worker", STUBBORN), ("worker", STUBBORN))

    async def story() -> None:
        await until(lambda: rig.announced)
        told = await drained(supervisor)
        assert [one.outcome for one in told] == ["killed"] * 2
        assert rig.living() == set()

    supervised(supervisor, story)


def test_those_that_are_drained_by_force_are_told_as_killed(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    supervisor = rig.supervisor(("worker", WELL))
    told: list[Replaced] = []

    async def tell(replaced: Replaced) -> None:
        told.append(replaced)

    async def story() -> None:
        await until(lambda: rig.announced)
        assert await supervisor.drain(WORKERS, process=None, force=True, told=tell)
        assert [one.outcome for one in told] == ["killed"]

    supervised(supervisor, story)
    assert rig.drained() == set()
