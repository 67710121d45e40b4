"""A real store server for simulations: no disk, no TCP port, spoken to by blocking calls.

Invariant: one call is one command that has been executed when the call returns, together with
everything it has published. Nothing else talks to the server.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from hiredis import (
    PushNotification,
    Reader,
    ReplyError,
    pack_command,  # pyright: ignore[reportUnknownVariableType] - its stub is partial
)

from storage.link import Argument, Reply

START_S_MAX = 10.0
POLL_S = 0.01
ANSWER_S_MAX = 30.0
"""A server that takes longer than that for one command is not going to answer."""
READ_BYTES = 65_536


class ServerLost(Exception):
    """The server has gone, or could not be started; the run says nothing."""


_pack = cast("Callable[[tuple[Argument, ...]], bytes]", pack_command)
"""hiredis' stub says that a command has one part."""


def pack(command: Sequence[Argument]) -> bytes:
    """A command as it travels."""
    return _pack(tuple(command))


def unpack(packed: bytes) -> list[list[bytes]]:
    """The commands in what somebody has sent."""
    reader = Reader()
    reader.feed(packed)
    commands: list[list[bytes]] = []
    while (command := reader.gets()) is not False:
        commands.append(cast("list[bytes]", command))
    return commands


@dataclass(slots=True, eq=False)
class Server:
    """One connection to a server of our own. Made by `open_server`."""

    socket: socket.socket
    published: list[tuple[bytes, bytes]] = field(default_factory=list[tuple[bytes, bytes]])
    """Channel and message of everything that was published and not yet taken."""
    calls: int = 0
    _reader: Reader = field(default_factory=Reader)

    def listen(self) -> None:
        """Have whatever is published told on this very connection."""
        self.call("HELLO", "3")
        self._send(pack(("PSUBSCRIBE", "*")) + _PING)  # the first is answered by a push
        self._answer()

    def call(self, *command: Argument) -> Reply:
        """Execute a command; an error of the server is returned, not raised.

        Raises:
            ServerLost: It does not answer.
        """
        self._send(pack(command))
        return self._answer()

    def call_published(self, *command: Argument) -> Reply:
        """Execute a command that may publish, and wait for what it has published."""
        self._send(pack(command) + _PING)
        reply = self._answer()
        self._answer()
        return reply

    def call_all(self, commands: Sequence[Sequence[Argument]]) -> list[Reply]:
        """Execute several commands one after another."""
        self._send(b"".join(map(pack, commands)))
        return [self._answer() for _ in commands]

    def take_published(self) -> list[tuple[bytes, bytes]]:
        """What was published since the last time."""
        published, self.published = self.published, []
        return published

    def _send(self, packed: bytes) -> None:
        self.calls += 1
        try:
            self.socket.sendall(packed)
        except OSError as error:
            raise ServerLost(f"the store server does not take commands: {error}") from error

    def _answer(self) -> Reply:
        while True:
            reply = self._reader.gets()
            if reply is False:
                try:
                    data = self.socket.recv(READ_BYTES)
                except OSError as error:
                    raise ServerLost(f"the store server does not answer: {error}") from error
                if not data:
                    raise ServerLost("the store server has gone")
                self._reader.feed(data)
            elif isinstance(reply, PushNotification):
                match cast("list[object]", reply):
                    case [b"pmessage", _, bytes() as channel, bytes() as message]:
                        self.published.append((channel, message))
                    case _:
                        pass
            else:
                return cast("Reply", reply)


_PING = pack(("PING",))


@contextlib.contextmanager
def open_server(program: Path) -> Generator[Server, None, None]:
    """A server for the length of a block.

    Args:
        program: A Redis or Valkey server, 7.0 or newer.

    Raises:
        ServerLost: It could not be started.
    """
    folder = Path(tempfile.mkdtemp(prefix="contextd-simulation-"))
    where = folder / "store.sock"
    options = {
        "port": "0",
        "unixsocket": str(where),
        "dir": str(folder),
        "save": "",
        "appendonly": "no",
        "maxmemory-policy": "noeviction",
        "logfile": str(folder / "store.log"),
    }
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    process = subprocess.Popen(  # noqa: S603 - the program that the caller has found
        [program, *words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    try:
        with _connect(process, where) as connection:
            server = Server(connection)
            server.listen()
            yield server
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _connect(process: subprocess.Popen[bytes], where: Path) -> socket.socket:
    deadline_s = time.monotonic() + START_S_MAX
    while True:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(ANSWER_S_MAX)
        try:
            connection.connect(os.fspath(where))
        except OSError:
            connection.close()
        else:
            return connection
        if process.poll() is not None or time.monotonic() > deadline_s:
            raise ServerLost("the store server does not start")
        time.sleep(POLL_S)


def is_error(reply: Reply) -> bool:
    """Whether a reply is an error of the server."""
    return isinstance(reply, ReplyError)
