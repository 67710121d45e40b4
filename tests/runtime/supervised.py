"""Supervisors of small stub processes that write down what happens to them."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from runtime.config import RuntimeConfig
from runtime.embedded import StoreFailed
from runtime.slot import Role, Slot
from runtime.store_address import DataFolderLost
from runtime.supervisor import Supervisor
from tests.runtime.support import alive, run

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
        self.lost = ""
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
        if self.lost:
            raise DataFolderLost(self.lost)
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
