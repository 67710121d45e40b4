"""The supervisor over small stub processes that write down what happens to them."""

import asyncio
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

import pytest

from runtime.child import Child
from runtime.config import RuntimeConfig
from runtime.slot import Slot
from runtime.supervisor import Supervisor
from tests.runtime.supervised import (
    CRASHING,
    NEVER_READY,
    STUBBORN,
    WELL,
    Rig,
    a_supervisor_with_standby,
    supervised,
    waiting,
)
from tests.runtime.support import alive, run, until, until_now


def test_everything_is_started_announced_once_and_drained(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    supervisor = rig.supervisor(("gateway", WELL), ("worker", WELL), ("worker", WELL))

    async def story() -> None:
        await until(lambda: rig.announced)
        assert len(rig.living()) == 3

    supervised(supervisor, story)
    assert rig.living() == set()
    assert rig.drained() == set(rig.up())
    assert (rig.announced, rig.buried) == (1, [])


def test_what_cannot_be_announced_yet_goes_on_and_is_announced_later(tmp_path: Path) -> None:
    rig = Rig(tmp_path, announce_failures=2)

    async def story() -> None:
        await until(lambda: rig.announced)
        assert len(rig.up()) == len(rig.living()) == 1

    supervised(rig.supervisor(("worker", WELL)), story)
    assert (rig.announced, rig.buried) == (1, [])


def test_what_runs_beside_and_breaks_is_begun_again(tmp_path: Path) -> None:
    begun: list[None] = []

    async def beside() -> None:
        begun.append(None)
        if len(begun) < 3:
            raise ValueError("the report of a newer supervisor")
        await asyncio.Event().wait()

    rig = Rig(tmp_path, beside=beside)

    async def story() -> None:
        await until(lambda: len(begun) == 3)
        assert len(rig.up()) == len(rig.living()) == 1

    supervised(rig.supervisor(("worker", WELL)), story)


def test_a_killed_worker_is_buried_and_replaced_under_another_id(tmp_path: Path) -> None:
    rig = Rig(tmp_path)

    async def story() -> None:
        await until(rig.living)
        ((first, worker_id),) = rig.up().items()
        os.kill(first, signal.SIGKILL)
        await until(lambda: rig.buried and rig.living() - {first})
        assert rig.buried == [worker_id]
        assert len(set(rig.up().values())) == 2

    supervised(rig.supervisor(("worker", WELL)), story)


def test_a_killed_gateway_is_replaced_and_nobody_is_buried(tmp_path: Path) -> None:
    rig = Rig(tmp_path)

    async def story() -> None:
        await until(rig.living)
        (first,) = rig.living()
        os.kill(first, signal.SIGKILL)
        await until(lambda: rig.living() - {first})

    supervised(rig.supervisor(("gateway", WELL)), story)
    assert rig.buried == []


def test_burying_is_repeated_while_the_store_is_away(tmp_path: Path) -> None:
    rig = Rig(tmp_path, bury_failures=2)

    async def story() -> None:
        await until(rig.living)
        os.kill(min(rig.living()), signal.SIGKILL)
        await until(lambda: rig.buried)

    supervised(rig.supervisor(("worker", WELL)), story)


def test_burying_is_given_up_in_time(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(tmp_path, RuntimeConfig(bury_s_max=0.1), bury_failures=1_000)

    async def story() -> None:
        await until(rig.living)
        os.kill(min(rig.living()), signal.SIGKILL)
        given_up = "could not bury a dead worker, its session has to run out"
        await until(lambda: given_up in caplog.messages)

    supervised(rig.supervisor(("worker", WELL)), story)


def test_a_crash_loop_slows_down_and_the_others_live_on(tmp_path: Path) -> None:
    config = RuntimeConfig(restart_backoff_s_base=0.1, restart_backoff_s_max=0.2)
    rig = Rig(tmp_path, config)
    healthy = Rig(tmp_path / "healthy")
    healthy.folder.mkdir()
    supervisor = rig.supervisor(("gateway", CRASHING))
    other = healthy.supervisor(("worker", WELL))

    async def story() -> None:
        loop = asyncio.get_running_loop()
        since_s = loop.time()
        await until(lambda: len(rig.up()) >= 5)
        # Starts at 0, 0, 0.1, 0.3, 0.5: four deaths, waits of 0 + 0.1 + 0.2 + 0.2.
        assert loop.time() - since_s >= 0.5
        await until(lambda: len(healthy.living()) == 1)

    async def both() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(supervisor.run())
            group.create_task(other.run())
            await story()
            supervisor.stop()
            other.stop()

    run(both())


def test_a_command_that_cannot_be_run_yet_is_tried_again(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    program = tmp_path / "late"
    supervisor = Supervisor(
        RuntimeConfig(restart_backoff_s_base=0.01),
        [Slot("worker", 1, (str(program), str(tmp_path)))],
        environment=lambda _: {},
        bury=rig.bury,
        announce=rig.announce,
    )

    async def story() -> None:
        await asyncio.sleep(0)
        ready = tmp_path / "later"
        ready.write_text(f"#!{sys.executable}\n{WELL}")
        ready.chmod(0o755)
        ready.replace(program)
        await until(rig.living)

    supervised(supervisor, story)


def test_a_process_that_stays_stopped_is_killed_and_replaced(tmp_path: Path) -> None:
    rig = Rig(tmp_path, RuntimeConfig(loop_stall_s_max=0.5))

    async def story() -> None:
        await until(rig.living)
        (first,) = rig.living()
        os.kill(first, signal.SIGSTOP)
        await asyncio.sleep(0.1)  # far below the bound: nothing happens
        os.kill(first, signal.SIGCONT)
        await asyncio.sleep(0.6)
        assert rig.living() == {first}
        os.kill(first, signal.SIGSTOP)
        await until(lambda: rig.living() - {first} and rig.buried == [rig.up()[first]])
        assert not alive(first)

    supervised(rig.supervisor(("worker", WELL)), story)


def test_a_standby_takes_the_place_of_a_dead_worker_and_is_replaced(tmp_path: Path) -> None:
    rig = Rig(tmp_path)

    async def story() -> None:
        await until(lambda: waiting(rig))
        (first,), (standby,) = rig.living(), waiting(rig)
        os.kill(first, signal.SIGKILL)
        await until(lambda: rig.living() == {standby})
        await until(lambda: waiting(rig))
        os.kill(standby, signal.SIGKILL)
        await until(lambda: len(rig.buried) == 2 and rig.living() - {first, standby})
        assert rig.buried == [rig.up()[first], rig.up()[standby]]

    supervised(a_supervisor_with_standby(rig), story)
    assert rig.living() == waiting(rig) == set()


def test_a_dead_standby_is_replaced_and_a_worker_comes_up_without_one(tmp_path: Path) -> None:
    rig = Rig(tmp_path)

    async def story() -> None:
        await until(lambda: waiting(rig))
        (first,), (standby,) = rig.living(), waiting(rig)
        os.kill(standby, signal.SIGKILL)
        os.kill(first, signal.SIGKILL)
        await until(lambda: rig.living() - {first} and waiting(rig) - {standby})
        # The standby may be let go before its death is noticed; then it is buried as well.
        await until(lambda: rig.up()[first] in rig.buried)

    supervised(a_supervisor_with_standby(rig), story)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what is open")
def test_a_standby_for_which_too_few_files_may_be_open_leaves_none_open() -> None:
    def opened() -> set[Path]:
        return {*Path("/proc/self/fd").iterdir()}

    async def story() -> None:
        before, bounds = opened(), resource.getrlimit(resource.RLIMIT_NOFILE)
        with socket.socket() as lowest_free:
            few = lowest_free.fileno() + 3  # one pipe and a half
        resource.setrlimit(resource.RLIMIT_NOFILE, (few, bounds[1]))
        try:
            with pytest.raises(OSError, match="Too many open files"):
                await Child.start((sys.executable, "-c", ""), {}, waits=True)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, bounds)
        assert opened() == before

    run(story())


def test_a_child_that_ignores_the_drain_is_killed_after_the_grace(tmp_path: Path) -> None:
    rig = Rig(tmp_path, RuntimeConfig(drain_s_max=1.5))

    async def story() -> None:
        await until(lambda: rig.announced)

    supervised(rig.supervisor(("worker", STUBBORN), ("worker", WELL)), story)
    assert rig.living() == set()
    assert len(rig.drained()) == 1
    (stubborn,) = set(rig.up()) - rig.drained()
    assert rig.buried == [rig.up()[stubborn]]


def test_the_second_interrupt_does_not_wait_for_the_drain(tmp_path: Path) -> None:
    rig = Rig(tmp_path, RuntimeConfig(drain_s_max=25))
    supervisor = rig.supervisor(("worker", STUBBORN))

    async def story() -> None:
        await until(lambda: rig.announced)
        supervisor.stop()
        supervisor.kill()
        await until(lambda: not rig.living(), within_s=2)

    supervised(supervisor, story)


def test_a_child_that_never_gets_ready_is_killed_and_started_again(tmp_path: Path) -> None:
    rig = Rig(tmp_path, RuntimeConfig(ready_s_max=1.5, restart_backoff_s_base=0.01))

    async def story() -> None:
        await until(lambda: len(rig.up()) >= 2)

    supervised(rig.supervisor(("gateway", NEVER_READY)), story)
    assert rig.announced == 0


def test_stopping_while_starting_leaves_nothing_behind(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    supervisor = rig.supervisor(("gateway", WELL), ("worker", WELL))

    async def story() -> None:
        await asyncio.sleep(0)

    supervised(supervisor, story)
    assert rig.living() == set()


def test_a_supervisor_that_is_cancelled_leaves_no_process_behind(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    supervisor = a_supervisor_with_standby(rig)

    async def story() -> None:
        async with asyncio.TaskGroup() as group:
            running = group.create_task(supervisor.run())
            await until(lambda: rig.living() and waiting(rig))
            running.cancel()

    run(story())
    assert rig.living() == waiting(rig) == set()


SUPERVISING = """
import asyncio, sys, uvloop
from pathlib import Path
from runtime.child import Child
from runtime.config import RuntimeConfig
from runtime.embedded import EmbeddedStore
from runtime.slot import Slot
from runtime.supervisor import Supervisor

async def nothing(*_):
    pass

async def main():
    tied = "from runtime.tether import tie_to_supervisor; tie_to_supervisor()\\n"
    command = (sys.executable, "-c", tied + sys.argv[2], sys.argv[1])
    supervisor = Supervisor(
        RuntimeConfig(), [Slot("worker", 1, command)],
        environment=lambda _: {"PYTHONPATH": sys.argv[3]}, bury=nothing, announce=nothing,
    )
    await supervisor.run()

with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    runner.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of a parent's death")
def test_children_die_with_a_killed_supervisor(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    root = str(Path.cwd())
    supervisor = subprocess.Popen(
        [sys.executable, "-c", SUPERVISING, tmp_path, STUBBORN, root],
        env={**os.environ, "PYTHONPATH": root},
    )
    try:
        until_now(rig.living)
    finally:
        supervisor.kill()
        supervisor.wait()
    until_now(lambda: not rig.living(), within_s=5)


def test_p10_former_workers_are_buried_and_our_own_are_not(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    spared: list[set[str]] = []

    async def bury_others(ours: Collection[str]) -> None:
        spared.append({*ours})

    slots = [Slot("worker", 1, (sys.executable, "-I", "-S", "-c", WELL, str(tmp_path)))]
    supervisor = Supervisor(
        rig.config,
        slots,
        environment=lambda _: {},
        bury=rig.bury,
        announce=rig.announce,
        bury_others=bury_others,
    )

    async def story() -> None:
        await until(lambda: rig.announced and spared)

    supervised(supervisor, story)
    assert len(spared) == 1
    assert spared[0] <= set(rig.up().values())
