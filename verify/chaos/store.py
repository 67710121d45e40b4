"""A store server of the run's own: AOF with `appendfsync always`, on a unix socket."""

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

from verify.chaos.processes import Running, python_environment

START_S_MAX = 20.0
POLL_S = 0.01
COMMAND_S_MAX = 2.0


class OwnStore:
    """A server on a folder, killed and started again on the same data."""

    def __init__(self, server_path: Path, folder: Path) -> None:
        """Nothing is started yet; the folder exists."""
        self._server_path = server_path
        self.folder = folder
        self.socket = folder / "store.sock"
        self._running: Running | None = None

    @property
    def process_id(self) -> int | None:
        """None while it is not running."""
        running = self._running
        return running.process_id if running and running.exit_code is None else None

    async def start(self) -> None:
        """Start it on the data there is; returns once it has loaded them.

        Raises:
            RuntimeError: It did not come up.
        """
        self.kill()
        self.socket.unlink(missing_ok=True)
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "dir": str(self.folder),
            "appendonly": "yes",
            "appendfsync": "always",
            "save": "",
            "maxmemory-policy": "noeviction",
        }
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        tied = [sys.executable, "-P", "-m", "runtime.tether", str(os.getpid())]
        self._running = Running(
            [*tied, str(self._server_path), *words],
            python_environment({}),
            self.folder / "store.log",
        )
        try:
            async with asyncio.timeout(START_S_MAX):
                while not await self.answers():
                    if self._running.exit_code is not None:
                        raise RuntimeError(f"the store ended: {self._running.tail()}")
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            raise RuntimeError(f"the store does not answer: {self._running.tail()}") from None

    async def answers(self) -> bool:
        """Whether it takes commands."""
        return await command(self.socket, "PING") == b"+PONG\r\n"

    def signal(self, number: signal.Signals) -> bool:
        """Signal the server; False if it does not run."""
        running = self._running
        return running is not None and running.signal(running.process_id, number)

    def kill(self) -> None:
        """End it in the middle of whatever it does; harmless when it is gone."""
        running, self._running = self._running, None
        if running is not None:
            running.kill()


async def command(socket: Path, line: str) -> bytes:
    """Say one inline command to a server; the first line of its answer, empty for none."""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(COMMAND_S_MAX):
            reader, writer = await asyncio.open_unix_connection(socket)
            try:
                writer.write(line.encode() + b"\r\n")
                return await reader.readline()
            finally:
                writer.close()
    return b""
