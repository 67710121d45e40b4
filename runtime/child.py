"""A process that the supervisor started: its end, its readiness, its stop.

Readiness is one line on a pipe whose write end only the child holds, so a child that dies
before it is ready is seen as the end of the pipe; a second line says what it has moved
elsewhere while it drained. A child that is to wait loads what it needs, then waits for a
line on a second pipe before it serves; the end of that pipe ends it.
"""

import asyncio
import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from runtime.tether import SUPERVISOR_PID

GO_FD = "CONTEXTD_GO_FD"
LISTEN_FD = "CONTEXTD_LISTEN_FD"
READY_FD = "CONTEXTD_READY_FD"
WORKER_ID = "CONTEXTD_WORKER_ID"
READY = b"ready\n"
_LOOKS = 10
"""At a process that a signal has stopped, until it has been so for too long."""


class Child:
    """One running process, in a session of its own: Ctrl-C reaches only the supervisor."""

    def __init__(
        self, process: asyncio.subprocess.Process, ready_fd: int, go_fd: int | None
    ) -> None:
        self._process = process
        self._ready_fd = ready_fd
        self._go_fd = go_fd
        self._is_ready = False

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        waits: bool = False,
        listen_fd: int | None = None,
    ) -> "Child":
        """Start `command` with `environment` and the variables that tie it to us.

        Args:
            command: Program and arguments.
            environment: All of its variables but ours.
            waits: It shall load what it needs, then wait for `go`.
            listen_fd: A listening socket of ours that it shall accept connections of.
        """
        ours, theirs = os.pipe()
        inherited = {READY_FD: theirs}
        go_fd: int | None = None
        try:
            if waits:
                inherited[GO_FD], go_fd = os.pipe()
            passed = inherited if listen_fd is None else {**inherited, LISTEN_FD: listen_fd}
            process = await asyncio.create_subprocess_exec(
                *command,
                env={
                    **environment,
                    **{name: str(descriptor) for name, descriptor in passed.items()},
                    SUPERVISOR_PID: str(os.getpid()),
                },
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=tuple(passed.values()),
                start_new_session=True,
            )
        except BaseException:
            os.close(ours)
            if go_fd is not None:
                os.close(go_fd)
            raise
        finally:
            for descriptor in inherited.values():
                os.close(descriptor)
        return cls(process, ours, go_fd)

    def go(self) -> bool:
        """Let a child that waits serve; False if it is dead already."""
        if self._go_fd is None:
            return self._process.returncode is None
        go_fd, self._go_fd = self._go_fd, None
        try:
            os.write(go_fd, b"go\n")
        except BrokenPipeError:
            return False
        finally:
            os.close(go_fd)
        return self._process.returncode is None

    async def discard(self) -> None:
        """End a child that never served; it holds nothing that needs a drain."""
        if self._go_fd is not None:
            os.close(self._go_fd)
            self._go_fd = None
        self.kill()
        await self.wait()
        self.close()

    @property
    def process_id(self) -> int:
        """Id of the process, also after its end."""
        return self._process.pid

    async def ready(self) -> bool:
        """Wait until the child says that it is ready; False if it ended before."""
        if self._is_ready:
            return True
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        loop.add_reader(self._ready_fd, readable.set)
        try:
            await readable.wait()
            self._is_ready = os.read(self._ready_fd, len(READY)) == READY
            return self._is_ready
        finally:
            loop.remove_reader(self._ready_fd)

    def moved(self) -> int | None:
        """Once it has ended: how many streams or contexts it has moved; None: not told."""
        told = os.read(self._ready_fd, 32)
        return int(told) if told.strip().isdigit() else None

    def close(self) -> None:
        """Close the pipes to it, once it has ended. Call once, at the last."""
        os.close(self._ready_fd)

    async def wait(self) -> int:
        """Wait for the end; the exit code, negative for a signal."""
        return await self._process.wait()

    def terminate(self) -> None:
        """Ask it to drain and end."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()

    def kill(self) -> None:
        """End it now."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()


async def stopped_for(process_id: int, stall_s: float) -> None:
    """Wait until a signal (SIGSTOP) has kept a process stopped for so many seconds.

    Looks are counted, not time: while all of the machine sleeps there are none. For ever where
    the system does not say.
    """
    seen = 0
    while seen < _LOOKS:
        await asyncio.sleep(stall_s / _LOOKS)
        seen = seen + 1 if _is_stopped(process_id) else 0


def _is_stopped(process_id: int) -> bool:
    try:
        state = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2]
    except OSError:
        return False
    return state.split()[0] == "T"
