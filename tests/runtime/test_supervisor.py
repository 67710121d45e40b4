"""The supervisor over small stub processes that write down what happens to them."""

import asyncio
import errno
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from runtime.child import Child
from runtime.config import RuntimeConfig
from runtime.embedded import StoreFailed
from runtime.port import Place, listen
from runtime.supervisor import Replaced, Role, Slot, Supervisor
from tests.runtime.support import alive, run, until, until_now

WELL = """
import os, pathlib, signal, sys
folder = pathlib.Path(sys.argv[1])
def drain(*_):
    (folder / f"{os.getpid()}.drained").touch()
    sys.exit(0)
signal.signal(signal.SIGTERM, drain)
(folder / f"{os.getpid()}.up").write_text(os.environ["CONTEXTD_WORKER_ID"])
os.write(int(os.environ["CONTEXTD_READY_FD"]), b"ready\\n")
os.close(int(os.environ["CONTEXTD_READY_FD"]))
while True:
    signal.sigtimedwait([], 0.05)  # pause() would miss a signal that came just before it
"""
STUBBORN = WELL.replace("(signal.SIGTERM, drain)", "(signal.SIGTERM, signal.SIG_IGN)")
CRASHING = WELL.replace(WELL[WELL.index("while True") :], "sys.exit(3)")
NEVER_READY = WELL.replace(
    'os.write(int(os.environ["CONTEXTD_READY_FD"]), b"ready\\n")\n', ""
).replace('os.close(int(os.environ["CONTEXTD_READY_FD"]))\n', "")


@dataclass(slots=True)
class Rig:
    """A supervisor of stubs, and what it did."""

    folder: Path
    config: RuntimeConfig = field(default_factory=RuntimeConfig)
    buried: list[str] = field(default_factory=list[str])
    announced: int = 0
    bury_failures: int = 0
    announce_failures: int = 0
    prepared: int = 0
    prepare_failures: int = 0
    prepare_hangs: bool = False
    preparing: int = 0
    store: "StubStore | None" = None
    beside: Callable[[], Awaitable[None]] | None = None

    def supervisor(self, *programs: tuple[Role, str]) -> Supervisor:
        slots = [
            Slot(role, number, (sys.executable, "-I", "-S", "-c", program, str(self.folder)))
            for number, (role, program) in enumerate(programs)
        ]
        return Supervisor(
            self.config,
            slots,
            environment=lambda _: {},
            bury=self.bury,
            announce=self.announce,
            store=self.store,
            beside=self.beside,
            prepare=self.prepare,
        )

    async def prepare(self) -> None:
        if self.prepare_hangs:
            self.preparing += 1
            try:
                await asyncio.Event().wait()
            finally:
                self.preparing -= 1
        if self.prepare_failures > 0:
            self.prepare_failures -= 1
            raise StoreFailed("no key")
        self.prepared += 1

    async def bury(self, worker_id: str) -> None:
        if self.bury_failures > 0:
            self.bury_failures -= 1
            raise OSError("store away")
        self.buried.append(worker_id)

    async def announce(self) -> None:
        if self.announce_failures > 0:
            self.announce_failures -= 1
            raise OSError("store away")
        self.announced += 1

    def up(self) -> dict[int, str]:
        """Worker ids by process id, of all that ever came up."""
        return {
            int(path.stem): path.read_text()
            for path in self.folder.glob("*.up")
            if path.read_text()
        }

    def living(self) -> set[int]:
        return {process_id for process_id in self.up() if alive(process_id)}

    def drained(self) -> set[int]:
        return {int(path.stem) for path in self.folder.glob("*.drained")}


class StubStore:
    """A store whose life the test decides."""

    url = "unix:///nowhere"

    def __init__(self, *, failing: bool = False, hanging: bool = False) -> None:
        self.failing = failing
        self.hanging = hanging
        self.comes_up = asyncio.Event()
        self.dies = asyncio.Event()
        self.starts = 0
        self.did: list[str] = []

    async def start(self) -> None:
        self.starts += 1
        if self.hanging:
            try:
                await self.comes_up.wait()
            except asyncio.CancelledError:
                self.did.append("gave up starting")
                raise
        if self.failing:
            raise StoreFailed("no disk")
        self.dies = asyncio.Event()

    async def gone(self) -> None:
        await self.dies.wait()

    async def stop(self) -> None:
        self.did.append("stopped")


def supervised(supervisor: Supervisor, story: Callable[[], object]) -> None:
    """Run the supervisor beside an async story, then stop it."""

    async def both() -> None:
        async with asyncio.TaskGroup() as group:
            running = group.create_task(supervisor.run())
            told = story()
            assert asyncio.iscoroutine(told)
            await told
            supervisor.stop()
            await running

    run(both())


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


WAITING = """
import os, sys
if "CONTEXTD_GO_FD" in os.environ:
    open(f"{sys.argv[1]}/{os.getpid()}.waits", "w").close()
    if os.read(int(os.environ["CONTEXTD_GO_FD"]), 1) == b"":
        sys.exit(0)
"""


def a_supervisor_with_standby(rig: Rig) -> Supervisor:
    command = (sys.executable, "-I", "-S", "-c", WAITING + WELL, str(rig.folder))
    return Supervisor(
        rig.config,
        [Slot("worker", 1, command)],
        environment=lambda _: {},
        bury=rig.bury,
        announce=rig.announce,
        standby=command,
    )


def waiting(rig: Rig) -> set[int]:
    ids = {int(path.stem) for path in rig.folder.glob("*.waits")}
    return {process_id for process_id in ids if alive(process_id)} - set(rig.up())


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


def test_a_dead_store_is_started_again_and_goes_last(tmp_path: Path) -> None:
    store = StubStore()
    rig = Rig(tmp_path, store=store)

    async def story() -> None:
        await until(lambda: rig.announced)
        store.dies.set()
        await until(lambda: store.starts == 2)
        store.failing = True
        store.dies.set()
        await until(lambda: store.starts == 4)
        store.failing = False
        await until(lambda: not store.dies.is_set())

    supervised(rig.supervisor(("worker", WELL)), story)
    assert store.did == ["stopped"]
    assert len(rig.drained()) == 1


def test_what_a_store_needs_is_looked_for_each_time_it_has_come_up(tmp_path: Path) -> None:
    store = StubStore()
    rig = Rig(tmp_path, store=store)

    async def story() -> None:
        await until(lambda: rig.announced)
        assert rig.prepared == 1
        rig.prepare_failures = 2
        store.dies.set()
        await until(lambda: rig.prepared == 2)
        assert store.starts == 2

    supervised(rig.supervisor(("worker", WELL)), story)


def test_what_a_store_needs_is_looked_for_no_more_once_it_is_gone(tmp_path: Path) -> None:
    store = StubStore()
    rig = Rig(tmp_path, store=store)

    async def story() -> None:
        await until(lambda: rig.announced)
        rig.prepare_hangs = True
        store.dies.set()
        await until(lambda: rig.preparing == 1)
        store.failing = True
        store.dies.set()
        await until(lambda: store.starts == 4)
        assert rig.preparing == 0

    supervised(rig.supervisor(("worker", WELL)), story)


def test_a_store_is_tried_again_as_often_as_its_own_bound_says(tmp_path: Path) -> None:
    config = RuntimeConfig(restart_backoff_s_base=0.1, store_backoff_s_max=0.1)
    store = StubStore()
    rig = Rig(tmp_path, config, store=store)

    async def story() -> None:
        await until(lambda: rig.announced)
        store.failing = True
        store.dies.set()
        # After 1 s; with waits that double up to those of other processes after 26 s.
        await until(lambda: store.starts == 11, within_s=20)

    supervised(rig.supervisor(("worker", WELL)), story)


def test_a_store_that_cannot_start_fails_the_start_by_name(tmp_path: Path) -> None:
    rig = Rig(tmp_path, store=StubStore(failing=True))
    with pytest.raises(StoreFailed, match="no disk"):
        run(rig.supervisor(("worker", WELL)).run())
    assert rig.up() == {}


def test_a_stop_does_not_wait_for_a_store_that_does_not_come_up(tmp_path: Path) -> None:
    store = StubStore(hanging=True)
    rig = Rig(tmp_path, store=store)

    async def story() -> None:
        await until(lambda: store.starts)

    supervised(rig.supervisor(("worker", WELL)), story)
    assert store.did == ["gave up starting", "stopped"]
    assert rig.up() == {}


def test_processes_load_while_the_store_comes_up_and_serve_once_it_has(tmp_path: Path) -> None:
    store = StubStore(hanging=True)
    rig = Rig(tmp_path, store=store)

    async def story() -> None:
        await until(lambda: len(waiting(rig)) == 2)
        loaded = waiting(rig)
        await asyncio.sleep(0.1)
        assert rig.up() == {}
        store.comes_up.set()
        await until(lambda: rig.announced)
        assert rig.living() == loaded

    supervised(rig.supervisor(("gateway", WAITING + WELL), ("worker", WAITING + WELL)), story)


def test_one_that_ended_while_the_store_came_up_is_started_again(tmp_path: Path) -> None:
    store = StubStore(hanging=True)
    rig = Rig(tmp_path, store=store)

    async def story() -> None:
        await until(lambda: waiting(rig))
        (loaded,) = waiting(rig)
        os.kill(loaded, signal.SIGKILL)
        await until(lambda: not alive(loaded))
        store.comes_up.set()
        await until(lambda: rig.announced)
        assert len(rig.living() - {loaded}) == 1

    supervised(rig.supervisor(("worker", WAITING + WELL)), story)


@pytest.mark.parametrize("fails", [True, False], ids=["it failed", "it was stopped"])
def test_what_has_loaded_for_a_store_that_does_not_come_up_is_ended(
    tmp_path: Path, *, fails: bool
) -> None:
    store = StubStore(failing=True, hanging=True)
    rig = Rig(tmp_path, store=store)
    supervisor = rig.supervisor(("gateway", WAITING + WELL), ("worker", WAITING + WELL))

    async def story() -> None:
        await until(lambda: len(waiting(rig)) == 2)
        loaded.update(waiting(rig))
        if fails:
            store.comes_up.set()
        else:
            supervisor.stop()

    loaded: set[int] = set()
    if fails:
        with pytest.raises(ExceptionGroup) as failed:
            supervised(supervisor, story)
        assert failed.group_contains(StoreFailed, match="no disk")
    else:
        supervised(supervisor, story)
    assert not any(alive(process_id) for process_id in loaded)
    assert rig.up() == {}


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
from runtime.supervisor import Slot, Supervisor

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


# Restarts

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
