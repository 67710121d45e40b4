"""A proxy between a client and a gateway that cuts connections in the middle of answers."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass, field

PIECE_BYTES = 65_536


@dataclass(slots=True)
class CuttingProxy:
    """Forwards to a gateway. Made by `open_proxy`."""

    port: int
    upstream: int
    requests: list[bytes] = field(default_factory=list[bytes])
    """All that clients have sent, in pieces as it came."""
    cuts: deque[int] = field(default_factory=deque[int])
    """Bytes of answers that pass before a connection is cut; one entry for each cut."""
    made: int = 0
    """Cuts so far."""
    _passed: int = 0
    _open: set[asyncio.StreamWriter] = field(default_factory=set[asyncio.StreamWriter])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._open)

    def cut_after(self, answer_bytes: Iterable[int]) -> None:
        """Cut so often, each after so many bytes of answers, counted from now on."""
        self.cuts, self._passed = deque(answer_bytes), 0

    def cut_now(self) -> None:
        """Cut every connection."""
        for writer in tuple(self._open):
            self.made += 1
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        """One connection, until either side ends it, or it is cut."""
        from_gateway, gateway = await asyncio.open_connection("127.0.0.1", self.upstream)
        self._open.add(client)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._requests(reader, gateway), name="requests")
                group.create_task(self._answers(from_gateway, client), name="answers")
        except* ConnectionError:
            pass
        finally:
            self._open.discard(client)
            client.transport.abort()
            gateway.transport.abort()

    async def _requests(
        self, reader: asyncio.StreamReader, gateway: asyncio.StreamWriter
    ) -> None:
        while piece := await reader.read(PIECE_BYTES):
            self.requests.append(piece)
            gateway.write(piece)
            await gateway.drain()
        raise ConnectionResetError

    async def _answers(
        self, reader: asyncio.StreamReader, client: asyncio.StreamWriter
    ) -> None:
        while piece := await reader.read(PIECE_BYTES):
            if self.cuts and self._passed + len(piece) > self.cuts[0]:
                client.write(piece[: self.cuts.popleft() - self._passed])
                self._passed = 0
                self.made += 1
                break
            self._passed += len(piece)
            client.write(piece)
            await client.drain()
        raise ConnectionResetError


@contextlib.asynccontextmanager
async def open_proxy(url: str) -> AsyncGenerator[CuttingProxy, None]:
    """A proxy to the gateway at `url`, for the length of a block."""
    async with asyncio.TaskGroup() as group:

        def accept(reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
            group.create_task(proxy.serve(reader, client), name="connection")

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        port: int = server.sockets[0].getsockname()[1]
        proxy = CuttingProxy(port, int(url.rpartition(":")[2]))
        try:
            yield proxy
        finally:
            server.close()
            proxy.cut_now()
