"""A process that the supervisor started: its end, its readiness, its stop.

Readiness is one line on a pipe whose write end only the child holds, so a child that dies
before it is ready is seen as the end of the pipe.
"""

import asyncio
import contextlib
import os
from collections.abc import Mapping, Sequence

from runtime.tether import SUPERVISOR_PID

READY_FD = "CONTEXTD_READY_FD"
WORKER_ID = "CONTEXTD_WORKER_ID"


class Child:
    """One running process, in a session of its own: Ctrl-C reaches only the supervisor."""

    def __init__(self, process: asyncio.subprocess.Process, ready_fd: int) -> None:
        self._process = process
        self._ready_fd = ready_fd

    @classmethod
    async def start(cls, command: Sequence[str], environment: Mapping[str, str]) -> "Child":
        """Start `command` with `environment` and the two variables that tie it to us."""
        ours, theirs = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                env={
                    **environment,
                    READY_FD: str(theirs),
                    SUPERVISOR_PID: str(os.getpid()),
                },
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs,),
                start_new_session=True,
            )
        except BaseException:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        return cls(process, ours)

    @property
    def process_id(self) -> int:
        """Of the process, also after its end."""
        return self._process.pid

    async def ready(self) -> bool:
        """Wait until the child says that it is ready; False if it ended before. Call once."""
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        loop.add_reader(self._ready_fd, readable.set)
        try:
            await readable.wait()
            return os.read(self._ready_fd, 1) != b""
        finally:
            loop.remove_reader(self._ready_fd)
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
