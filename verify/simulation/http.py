"""HTTP between clients and the gateways of a run: the real server, and no sockets.

Invariant: a connection delivers bytes in order, late by what the plan says, until either side
closes it or the gateway's process dies.
"""

import asyncio
import contextvars
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import orjson
from aiohttp.web_server import Server
from typing_extensions import override

from verify.records import Json
from verify.simulation.clock import PROCESS, Process, VirtualTimeLoop

HOP_S: Final = 0.000_3
"""What a packet takes between a client and a gateway."""
ORDER_S: Final = 1e-8
"""Between connections of a gateway: what it writes to all at once arrives in their order."""


class Cut(Exception):
    """The connection was refused, or has ended before its answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a gateway has answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Json:
        """The body, parsed."""
        return orjson.loads(self.body)


@dataclass(slots=True, eq=False)
class Door:
    """Where a gateway's process takes connections."""

    process: Process
    loop: VirtualTimeLoop
    server: Server | None = None
    """None: it is not open yet, or no more."""
    wires: dict["Wire", None] = field(default_factory=dict["Wire", None])
    accepted: int = 0
    """Connections so far."""

    def shut(self) -> None:
        """The process is dead: its connections are reset."""
        self.server = None
        for wire in list(self.wires):
            wire.reset()


class Wire(asyncio.Transport):
    """One connection, as the gateway's transport and as the client's socket."""

    def __init__(self, door: Door) -> None:
        super().__init__({"peername": ("127.0.0.1", 1)})
        if door.server is None or not door.process.alive:
            raise Cut("refused")
        self._door = door
        self._loop = door.loop
        self._context = contextvars.Context()
        self._inside = contextvars.Context()
        self._inside.run(PROCESS.set, door.process)
        self._closing = False
        self._over = False
        self._received = bytearray()
        self._arrived: asyncio.Future[None] | None = None
        door.wires[self] = None
        door.accepted += 1
        self._hop_s = HOP_S + door.accepted * ORDER_S
        self._protocol = self._inside.run(door.server)
        self._as_gateway(lambda: self._protocol.connection_made(self))

    # The client's side

    def send(self, data: bytes) -> None:
        """Send bytes to the gateway."""
        self._as_gateway(lambda: self._protocol.data_received(data))

    async def receive(self) -> bytes:
        """What has arrived; b"" at the end.

        Raises:
            Cut: The gateway has died.
        """
        while not self._received:
            if self._over:
                return b""
            self._arrived = self._loop.create_future()
            await self._arrived
        data = bytes(self._received)
        self._received.clear()
        return data

    def hang_up(self) -> None:
        """The client closes the connection."""
        self._over = True
        if self._door.wires.pop(self, self) is None:
            self._as_gateway(lambda: self._protocol.connection_lost(None))

    def reset(self) -> None:
        """The gateway's process has died."""
        self._door.wires.pop(self, None)
        self._loop.call_later(self._hop_s, self._end, context=self._context)

    def _as_gateway(self, do: Callable[[], None]) -> None:
        self._loop.call_soon(do, context=self._inside)

    def _end(self) -> None:
        self._over = True
        self._wake()

    def _take(self, data: bytes) -> None:
        self._received += data
        self._wake()

    def _wake(self) -> None:
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)

    # The gateway's side

    @override
    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._closing and self._door.process.alive:
            raw = bytes(data)
            self._loop.call_later(self._hop_s, self._take, raw, context=self._context)

    @override
    def is_closing(self) -> bool:
        return self._closing

    @override
    def get_write_buffer_size(self) -> int:
        return 0

    @override
    def close(self) -> None:
        if not self._closing and self._door.process.alive:
            self._closing = True
            self._loop.call_later(self._hop_s, self._end, context=self._context)
            if self._door.wires.pop(self, self) is None:
                self._as_gateway(lambda: self._protocol.connection_lost(None))

    @override
    def abort(self) -> None:
        self.close()

    @override
    def pause_reading(self) -> None:
        pass

    @override
    def resume_reading(self) -> None:
        pass


def encode(method: str, path: str, headers: Mapping[str, str], body: object) -> bytes:
    """A request as it travels."""
    raw = b"" if body is None else orjson.dumps(body)
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(raw)}"]
    return "\r\n".join((*lines, "", "")).encode() + raw


async def ask(
    door: Door,
    method: str,
    path: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: object = None,
    within_s: float,
) -> Answer:
    """Ask a gateway on a connection of its own.

    Raises:
        Cut: It was refused, or cut before the answer was whole.
        TimeoutError: There was no answer in time.
    """
    wire = Wire(door)
    try:
        async with asyncio.timeout(within_s):
            wire.send(encode(method, path, headers or {}, body))
            head, raw = await _head(wire)
            length = int(head.headers.get("content-length", "0"))
            while len(raw) < length:
                more = await wire.receive()
                if not more:
                    raise Cut("cut")
                raw += more
            return Answer(head.status, head.headers, raw)
    finally:
        wire.hang_up()


async def _head(wire: Wire) -> tuple[Answer, bytes]:
    raw = b""
    while b"\r\n\r\n" not in raw:
        more = await wire.receive()
        if not more:
            raise Cut("cut")
        raw += more
    head, _, rest = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    pairs = (line.partition(": ") for line in lines)
    return Answer(int(first.split()[1]), {n.lower(): v for n, _, v in pairs}, b""), rest


@dataclass(frozen=True, slots=True)
class Said:
    """One server-sent event, as its fields say."""

    id: str
    event: str
    data: Json


async def listen(
    door: Door, path: str, *, last_event_id: str | None, answered: Callable[[int], None]
) -> AsyncGenerator[Said, None]:
    """Follow a stream until the gateway ends it.

    Args:
        door: Whose.
        path: Of the stream.
        last_event_id: Where to go on.
        answered: Told the status.

    Raises:
        Cut: The connection was refused, or there was no whole answer.
    """
    wire = Wire(door)
    headers = {"Accept": "text/event-stream"}
    if last_event_id is not None:
        headers["Last-Event-ID"] = last_event_id
    try:
        wire.send(encode("GET", path, headers, None))
        head, raw = await _head(wire)
        answered(head.status)
        if head.status != 200:
            return
        text: bytes = b""
        while True:
            chunk, raw = _chunk(raw)
            if chunk is None:
                more = await wire.receive()
                if not more:
                    return
                raw += more
                continue
            if not chunk:
                return
            text += chunk
            while b"\n\n" in text:
                end = text.index(b"\n\n")
                said = _said(text[:end].decode())
                text = text[end + 2 :]
                if said is not None:
                    yield said
    finally:
        wire.hang_up()


def _chunk(raw: bytes) -> tuple[bytes | None, bytes]:
    """The first whole chunk and what follows it; None if it is not whole yet."""
    length, found, rest = raw.partition(b"\r\n")
    if not found:
        return None, raw
    count = int(length, 16)
    if len(rest) < count + 2:
        return None, raw
    return rest[:count], rest[count + 2 :]


def _said(block: str) -> Said | None:
    fields = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
    if "data" not in fields:
        return None
    return Said(fields.get("id", ""), fields["event"], orjson.loads(fields["data"]))
