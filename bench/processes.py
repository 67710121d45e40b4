"""Child processes of the harness, and what the kernel says about any process.

Only processes that the harness started are ever signalled, each by its own id. CPU and
memory come from /proc: no sampling profiler, nothing inside the measured processes.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import orjson

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PR_SET_PDEATHSIG = 1

ROOT = Path(__file__).resolve().parent.parent
"""Working directory of all children: the project, so that `-m` finds the rooms."""


def die_with_parent() -> None:
    """Ask the kernel for SIGTERM when the harness dies, however it dies."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def cpu_s(pid: int) -> float:
    """Return user plus system seconds of a process so far.

    Raises:
        ProcessLookupError: It is gone.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError as error:
        raise ProcessLookupError(pid) from error
    fields = stat[stat.rindex(b")") + 2 :].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def pss_bytes(pid: int) -> int:
    """Return the proportional set size: shared pages are split among their users."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError as error:
        raise ProcessLookupError(pid) from error
    for line in rollup.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise ProcessLookupError(pid)


def command_line(pid: int) -> str:
    """Return the arguments of a process, joined by blanks; empty once it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    except OSError:
        return ""


def descendants(pid: int) -> tuple[int, ...]:
    """Return all children of a process, and theirs."""
    children: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children += [int(child) for child in task.read_text().split()]
        except OSError:  # the thread ended between listing and reading
            continue
    return tuple(children) + tuple(deep for child in children for deep in descendants(child))


def machine_busy_s() -> float:
    """Return the seconds that all cores together have worked since boot."""
    first = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    user, nice, system, _idle, _iowait, interrupt, soft, _steal = (int(part) for part in first)
    return (user + nice + system + interrupt + soft) / _TICKS_PER_S


class Meter:
    """CPU seconds by role between `start` and `stop`, read where the load begins and ends."""

    def __init__(self, watched: Mapping[str, Sequence[int]]) -> None:
        self._watched = watched
        self._before: dict[str, float] = {}
        self._busy_s = 0.0
        self._own_s = 0.0

    def _read(self) -> dict[str, float]:
        return {role: sum(map(cpu_s, pids)) for role, pids in self._watched.items()}

    def start(self) -> None:
        """Take the first reading."""
        self._before = self._read()
        self._busy_s = machine_busy_s()
        self._own_s = time.process_time()

    def stop(self) -> dict[str, float]:
        """Return the seconds since `start`, with `client` (this process) and `others`."""
        own_s = time.process_time() - self._own_s
        spent = {role: at - self._before[role] for role, at in self._read().items()}
        spent["client"] = own_s
        busy_s = machine_busy_s() - self._busy_s
        spent["others"] = max(0.0, busy_s - sum(spent.values()))
        return {role: round(seconds, 3) for role, seconds in spent.items()}


class Child:
    """A process that lives as long as the `with` block, its stderr kept in a file.

    With `announces` its stdout is a pipe for the line that tells its port; else that goes
    to the file as well. `environment` replaces the harness's own, as a whole.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        log: Path,
        environment: Mapping[str, str] | None = None,
        stop_s_max: float = 5.0,
        announces: bool = True,
    ) -> None:
        self._arguments = list(arguments)
        self._announces = announces
        self._environment = environment
        self._log = log
        self._stop_s_max = stop_s_max
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - commands of the harness itself
                self._arguments,
                cwd=ROOT,
                env=os.environ if self._environment is None else self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if self._announces else log,
                stderr=log,
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        family = {pid: command_line(pid) for pid in (self.pid, *descendants(self.pid))}
        self.process.terminate()
        try:
            self.process.wait(self._stop_s_max)
        except subprocess.TimeoutExpired:
            self._say(f"did not end within {self._stop_s_max:g} s")
        for pid, command in family.items():
            # An id may have been given to somebody else by now.
            if command and command_line(pid) == command:
                self._say(f"killed {pid}: {command}")
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def _say(self, text: str) -> None:
        sys.stderr.write(f"  {' '.join(self._arguments[1:4])}: {text}\n")

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The running process."""
        if self._process is None:
            raise RuntimeError("not started")
        return self._process

    @property
    def pid(self) -> int:
        """Its id."""
        return self.process.pid

    def announced_port(self) -> int:
        """Return the port that the child printed as `{"port": n}` once it listens.

        Raises:
            RuntimeError: It died first; the message ends with its last words.
        """
        stdout = self.process.stdout
        line = stdout.readline() if stdout is not None else b""
        if not line:
            raise RuntimeError(f"{self._arguments} did not start\n{self.last_words()}")
        return int(orjson.loads(line)["port"])

    def last_words(self) -> str:
        """Return the end of its stderr."""
        return self._log.read_text(errors="replace")[-2_000:]
