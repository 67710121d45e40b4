"""Processes that this run has started, and nothing else, are looked at and signalled.

A signal goes to a process by a descriptor that was opened before it was checked to be ours,
so that a process id which was given away meanwhile is never hit. Linux only (/proc, pidfd).
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

SUPERVISOR_PID = "CONTEXTD_SUPERVISOR_PID"
"""A contextd process dies with the process that this names; the run sets its own id."""
END_S_MAX = 40.0
LOG_TAIL_BYTES = 6_000
ROOT = Path(__file__).resolve().parent.parent.parent
"""Where the rooms are, as a checkout or as installed."""


def contextd(*words: str) -> list[str]:
    """The command line of `contextd ...`, with this interpreter."""
    return [sys.executable, "-P", "-m", "runtime.cli", *words]


def python_environment(
    extra: Mapping[str, str], *, paths: Sequence[Path] = ()
) -> dict[str, str]:
    """Variables of a child: ours without settings of contextd, the rooms on its path."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("CONTEXTD_")}
    path = os.pathsep.join(str(one) for one in (ROOT, *paths))
    return {**inherited, **extra, "PYTHONPATH": path}


def children(process_id: int) -> list[int]:
    """Direct children of a process, the zombies too."""
    found: list[int] = []
    for task in Path(f"/proc/{process_id}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # the thread ended between listing and reading
            found += [int(word) for word in task.read_text().split()]
    return found


def descendants(process_id: int) -> list[int]:
    """Living children of a process, and theirs."""
    found: list[int] = []
    frontier = [process_id]
    while frontier:
        frontier = [child for parent in frontier for child in children(parent)]
        found += [child for child in frontier if alive(child)]
    return found


def alive(process_id: int) -> bool:
    """Whether the process runs; a zombie does not."""
    return state_letter(process_id) not in {"", "Z", "X"}


def state_letter(process_id: int) -> str:
    """What the kernel says a process does (`R`, `S`, `T` for stopped); empty: it is gone."""
    try:
        stat = Path(f"/proc/{process_id}/stat").read_text()
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[0]


def start_ticks(process_id: int) -> int:
    """When it started, in the kernel's ticks: tells it from a later one with the same id."""
    try:
        stat = Path(f"/proc/{process_id}/stat").read_text()
    except OSError:
        return 0
    return int(stat.rpartition(")")[2].split()[19])


def command_line(process_id: int) -> str:
    """Its arguments, joined by blanks; empty once it is gone."""
    try:
        raw = Path(f"/proc/{process_id}/cmdline").read_bytes()
    except OSError:
        return ""
    return raw.replace(b"\0", b" ").decode(errors="replace").strip()


def role_of(process_id: int) -> str:
    """`gateway`, `worker`, `store`, or empty for what is neither or not yet."""
    words = command_line(process_id).split()
    if "runtime.cli" in words:
        return words[-1] if words[-1] in {"gateway", "worker"} else ""
    return "store" if words and words[0].endswith("-server") else ""


class Running:
    """One process in a session of its own, its output kept in a file.

    Start it in the main thread: the kernel ends it with the thread that started it.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], log: Path
    ) -> None:
        self.log = log
        with log.open("ab") as out:
            self._process = subprocess.Popen(  # noqa: S603 - our own commands
                command,
                env={**environment, SUPERVISOR_PID: str(os.getpid())},
                cwd=log.parent,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self._seen: set[tuple[int, int]] = set()

    @property
    def process_id(self) -> int:
        """Of the process itself."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative for a signal."""
        return self._process.poll()

    def family(self) -> list[int]:
        """It and all that it has started, as far as they live."""
        own = [] if self.exit_code is not None else [self.process_id]
        found = own + descendants(self.process_id)
        self._seen.update((process_id, start_ticks(process_id)) for process_id in found)
        return found

    def of_role(self, role: str) -> list[int]:
        """Living descendants in one role."""
        return [process_id for process_id in self.family() if role_of(process_id) == role]

    def signal(self, process_id: int, number: signal.Signals) -> bool:
        """Signal it or one of its family; False, and nothing is signalled, if it is neither.

        Who was seen in the family belongs to it still when its parent has died: a process that
        was frozen before it had tied itself to that one would stay so for ever.
        """
        try:
            descriptor = os.pidfd_open(process_id)
        except OSError:
            return False
        try:
            # Checked after it was opened: what the descriptor names is what was looked at.
            if process_id not in {*self.family(), *self.left_behind()}:
                return False
            signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(descriptor)
        return True

    def kill(self) -> None:
        """End it and all its descendants, as good as at the same instant."""
        for process_id in reversed([*self.left_behind(), *self.family()]):
            self.signal(process_id, signal.SIGKILL)
        self._process.kill()
        self._process.wait(END_S_MAX)

    def terminate(self) -> None:
        """Ask it to drain and end."""
        self.family()
        self._process.terminate()

    def wait(self, *, within_s: float) -> int | None:
        """Its exit code; None if it still runs after that time. Blocks."""
        try:
            return self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            return None

    def left_behind(self) -> list[int]:
        """Those of its family, as far as `family` has seen them, that live on."""
        return [
            process_id
            for process_id, ticks in self._seen
            if alive(process_id) and start_ticks(process_id) == ticks
        ]

    def tail(self) -> str:
        """The end of what it has written."""
        return self.log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace")
