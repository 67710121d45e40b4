"""A proxy between contextd's processes and the store that injects network faults.

It forwards bytes in order and without loss as long as no fault is on. It makes up no commands:
a repeated or late one was sent by a client, whose connection is cut, so that it sees no second
answer.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path

CHUNK_BYTES = 65_536
LATE_S_MAX = 2.0
UPSTREAM_S_MAX = 5.0


@dataclass(slots=True, eq=False)
class _Connection:
    client: asyncio.StreamWriter
    store: asyncio.StreamWriter
    half_closed: bool = False
    """Answers are dropped."""
    held: bytearray | None = None
    """Requests go in here instead of to the store."""


@dataclass(slots=True)
class Proxy:
    """A unix socket that leads to another one. Made by `open_proxy`."""

    path: Path
    upstream: Path
    group: asyncio.TaskGroup
    random: random.Random
    delay_s: float = 0.0
    """Added to every piece while it is above 0."""
    black_hole: bool = False
    """Nothing is forwarded; connections stay, and new ones are taken."""
    duplicate_rate: float = 0.0
    """Share of writes whose commands the store executes twice."""
    counts: dict[str, int] = field(default_factory=dict[str, int])
    """What was really done, by kind."""
    _connections: set[_Connection] = field(default_factory=set[_Connection])
    _flows: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        """One connection, until either side ends it."""
        try:
            store_reader, store = await asyncio.open_unix_connection(self.upstream)
        except OSError:
            client.transport.abort()
            return
        connection = _Connection(client, store)
        self._connections.add(connection)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._requests(reader, connection), name="requests")
                group.create_task(self._answers(store_reader, connection), name="answers")
        except* OSError:
            pass
        finally:
            self._connections.discard(connection)
            client.transport.abort()
            store.transport.abort()

    async def _requests(self, reader: asyncio.StreamReader, connection: _Connection) -> None:
        while chunk := await reader.read(CHUNK_BYTES):
            await self._wait()
            if self.duplicate_rate > self.random.random() and is_scripts(chunk):
                self.group.create_task(self._execute(chunk, 0.0), name="duplicate")
                self._count("duplicated")
            if connection.held is not None:
                connection.held += chunk
                continue
            await _forward(connection.store, chunk)
        raise ConnectionResetError

    async def _answers(self, reader: asyncio.StreamReader, connection: _Connection) -> None:
        while chunk := await reader.read(CHUNK_BYTES):
            await self._wait()
            if not connection.half_closed:
                await _forward(connection.client, chunk)
        raise ConnectionResetError

    async def _wait(self) -> None:
        while self.black_hole:
            self._flows.clear()
            await self._flows.wait()
        if self.delay_s > 0:
            await asyncio.sleep(self.delay_s * self.random.random())

    async def _execute(self, commands: bytes, after_s: float) -> None:
        """Have the store execute what a client has sent, on a connection of its own."""
        await asyncio.sleep(after_s)
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(UPSTREAM_S_MAX):
                reader, writer = await asyncio.open_unix_connection(self.upstream)
                try:
                    writer.write(commands)
                    await writer.drain()
                    await reader.read(1)
                finally:
                    writer.close()

    def _count(self, kind: str) -> None:
        self.counts[kind] = self.counts.get(kind, 0) + 1

    # Faults

    def flow(self) -> None:
        """End every fault that lasts."""
        self.delay_s, self.duplicate_rate, self.black_hole = 0.0, 0.0, False
        self._flows.set()

    def reset(self) -> None:
        """Cut every connection, in the middle of whatever is on it."""
        for connection in tuple(self._connections):
            self._count("reset")
            connection.client.transport.abort()
            connection.store.transport.abort()

    def half_close(self) -> None:
        """Requests still arrive, answers do not, and then the connection ends."""
        for connection in tuple(self._connections):
            self._count("half-closed")
            connection.half_closed = True
            self.group.create_task(self._abort_later(connection), name="half close")

    async def _abort_later(self, connection: _Connection) -> None:
        await asyncio.sleep(self.random.random())
        connection.client.transport.abort()

    async def late(self, for_s: float) -> None:
        """Hold what clients write, cut them, and let the store execute it afterwards.

        As where a server stood still: the client gives its connection up, goes on over a new
        one, and what lay in the old one's buffer is executed after that.
        """
        victims = tuple(self._connections)
        for connection in victims:
            connection.held = bytearray()
        await asyncio.sleep(for_s)
        for connection in victims:
            connection.client.transport.abort()
            commands = bytes(connection.held or b"")
            if is_scripts(commands):
                self._count("late")
                after_s = self.random.random() * LATE_S_MAX
                self.group.create_task(self._execute(commands, after_s), name="late")


async def _forward(writer: asyncio.StreamWriter, chunk: bytes) -> None:
    if writer.transport.is_closing():  # a fault has cut it while the chunk waited
        raise ConnectionResetError
    writer.write(chunk)
    await writer.drain()


def is_scripts(chunk: bytes) -> bool:
    """Whether the bytes are whole commands, each an EVALSHA: our protocol steps."""
    at = 0
    while at < len(chunk):
        after = _command_end(chunk, at)
        if after is None or chunk.find(b"EVALSHA", at, at + 24) < 0:
            return False
        at = after
    return at > 0


def _command_end(chunk: bytes, at: int) -> int | None:
    """Where the command that begins at `at` ends; None where it is cut or none begins."""
    head = chunk.find(b"\r\n", at)
    if head < 0 or chunk[at : at + 1] != b"*" or not chunk[at + 1 : head].isdigit():
        return None
    parts, at = int(chunk[at + 1 : head]), head + 2
    for _ in range(parts):
        head = chunk.find(b"\r\n", at)
        if head < 0 or chunk[at : at + 1] != b"$" or not chunk[at + 1 : head].isdigit():
            return None
        at = head + 2 + int(chunk[at + 1 : head]) + 2
        if at > len(chunk):
            return None
    return at


@contextlib.asynccontextmanager
async def open_proxy(path: Path, upstream: Path, *, seed: int) -> AsyncGenerator[Proxy, None]:
    """A proxy for the length of a block."""
    async with asyncio.TaskGroup() as group:
        proxy = Proxy(path, upstream, group, random.Random(seed))

        def accept(reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
            group.create_task(proxy.serve(reader, client), name="connection")

        server = await asyncio.start_unix_server(accept, path)
        try:
            yield proxy
        finally:
            server.close()
            proxy.flow()
            proxy.reset()
