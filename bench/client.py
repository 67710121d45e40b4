"""A neutral HTTP/1.1 client: keep-alive, prepared request bytes, as little else as possible.

A connection has one request under way. Streams are not decoded while they run: arrivals
are kept with their times and read afterwards, so that the client does not measure itself.
"""

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from time import perf_counter
from typing import cast

import orjson
from typing_extensions import override

from bench.spec import Target

_LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:\s*chunked", re.IGNORECASE)
_ETAG = re.compile(rb"\r\netag:\s*([^\r]+)", re.IGNORECASE)


def request(
    target: Target, method: str, path: str, *, body: object = None, headers: str = ""
) -> bytes:
    """Return a whole request. `headers` are finished lines, each ending in CRLF."""
    payload = b"" if body is None else orjson.dumps(body)
    head = f"{method} {path} HTTP/1.1\r\nHost: {target.host}:{target.port}\r\n{headers}"
    if target.token is not None:
        head += f"Authorization: Bearer {target.token}\r\n"
    if body is not None:
        head += f"Content-Type: application/json\r\nContent-Length: {len(payload)}\r\n"
    return head.encode() + b"\r\n" + payload


class ConnectionCut(Exception):
    """The server closed a connection on which an answer was owed."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer."""

    status: int
    head: bytes
    body: bytes

    @property
    def etag(self) -> str:
        """The entity tag, as it stands with its quotes; empty if there is none."""
        found = _ETAG.search(self.head)
        return found[1].decode() if found is not None else ""


class Unchunker:
    """Takes the chunked coding off, fed with bytes as they come."""

    def __init__(self) -> None:
        self._unread = b""
        self.ended = False

    def feed(self, data: bytes) -> bytes:
        """Return the payload that is complete by now; an unfinished chunk waits."""
        data = self._unread + data
        payload: list[bytes] = []
        at = 0
        while (line_end := data.find(b"\r\n", at)) >= 0:
            length = int(data[at:line_end].split(b";")[0], 16)
            end = line_end + 2 + length
            if len(data) < end + 2:
                break
            if length == 0:
                self.ended = True
            payload.append(data[line_end + 2 : end])
            at = end + 2
        self._unread = data[at:]
        return b"".join(payload)


@dataclass(frozen=True, slots=True)
class Frame:
    """One server-sent event, and when its last byte arrived."""

    at: float
    id: str
    event: str
    data: bytes


@dataclass(slots=True)
class Recording:
    """A stream as it came in: raw reads with their times."""

    chunked: bool = True
    reads: list[tuple[float, bytes]] = field(default_factory=list[tuple[float, bytes]])

    def frames(self) -> Iterator[Frame]:
        """Decode, after the fact. Comments (heartbeats) are left out."""
        unchunker = Unchunker()
        unread = b""
        for at, raw in self.reads:
            unread += unchunker.feed(raw) if self.chunked else raw
            *whole, unread = unread.split(b"\n\n")
            for block in whole:
                lines = [line.partition(b":") for line in block.split(b"\n")]
                fields = {name: value.removeprefix(b" ") for name, _, value in lines if name}
                if b"data" in fields:
                    data = b"\n".join(v.removeprefix(b" ") for n, _, v in lines if n == b"data")
                    event = fields.get(b"event", b"message").decode()
                    yield Frame(at, fields.get(b"id", b"").decode(), event, data)


class Connection(asyncio.Protocol):
    """One connection. `request` for whole answers, `stream` for those that go on."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._unread = b""
        self._reply: asyncio.Future[Reply] | None = None
        self._recording: Recording | None = None
        self._marks: dict[bytes, asyncio.Future[float]] = {}
        self._tail = b""
        self.cut = False

    @classmethod
    async def open(cls, target: Target) -> "Connection":
        """Connect."""
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(cls, target.host, target.port)
        return connection

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self.cut = True
        for waiter in (self._reply, *self._marks.values()):
            if waiter is not None and not waiter.done():
                waiter.set_exception(ConnectionCut("closed by the server"))

    def close(self) -> None:
        """Close at once; what was under way is abandoned."""
        for waiter in self._marks.values():
            waiter.cancel()
        self._marks.clear()
        if self._transport is not None:
            self._transport.abort()

    async def request(self, prepared: bytes) -> Reply:
        """Send and wait for the whole answer.

        Raises:
            ConnectionCut: It was closed before the answer was whole.
        """
        if self.cut or self._transport is None:
            raise ConnectionCut("closed before the request")
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._reply = reply
        self._transport.write(prepared)
        return await reply

    async def stream(self, prepared: bytes) -> Recording:
        """Send, wait for a head with status 200, and record from then on.

        Raises:
            ConnectionCut: It was closed, or answered with another status.
        """
        recording = Recording()
        self._recording = recording
        head = await self.request(prepared)
        if head.status != 200:
            raise ConnectionCut(f"status {head.status}")
        return recording

    def mark(self, text: bytes) -> asyncio.Future[float]:
        """Return a future for the arrival time of the next read that brings `text`."""
        waiter: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._marks[text] = waiter
        return waiter

    @override
    def data_received(self, data: bytes) -> None:
        if self._reply is None and self._recording is not None:
            self._record(data)
            return
        if self._unread:
            data = self._unread + data
        head_end = data.find(b"\r\n\r\n")
        if head_end < 0:
            self._unread = data
            return
        head = data[: head_end + 2]
        status = int(head[9:12])
        body_at = head_end + 4
        if self._recording is not None and status == 200:
            self._unread = b""
            self._recording.chunked = _CHUNKED.search(head) is not None
            self._settle(Reply(status, head, b""))
            if len(data) > body_at:
                self._record(data[body_at:])
            return
        length = _LENGTH.search(head)
        if length is not None:
            if len(data) < body_at + int(length[1]):
                self._unread = data
                return
            body = data[body_at:]
        elif _CHUNKED.search(head) is not None:
            unchunker = Unchunker()
            body = unchunker.feed(data[body_at:])
            if not unchunker.ended:
                self._unread = data
                return
        else:
            body = b""
        self._unread = b""
        self._settle(Reply(status, head, body))

    def _settle(self, reply: Reply) -> None:
        waiter, self._reply = self._reply, None
        if waiter is not None and not waiter.done():
            waiter.set_result(reply)

    def _record(self, data: bytes) -> None:
        at = perf_counter()
        if self._recording is not None:
            self._recording.reads.append((at, data))
        if not self._marks:
            return
        seen = self._tail + data
        self._tail = data[-16:]
        for text in [text for text in self._marks if text in seen]:
            waiter = self._marks.pop(text)
            self._tail = b""  # or the same bytes would answer the next mark
            if not waiter.done():
                waiter.set_result(at)
