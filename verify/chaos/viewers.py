"""Subscribers: they follow one context each, are cut off, and resume with their last id."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field, replace

import aiohttp
import orjson

from verify.records import Connection, Json, StreamFrame, StreamRecording

SILENCE_S_MAX = 3.5
"""Of a stream that should send a comment each second; after that its gateway is frozen."""
SOCKET_PING_S = 2.0
"""A WebSocket whose gateway has not answered half of this after a ping is given up."""
POLL_S = 2
"""How long a poll for events waits for the first of them, in whole seconds."""
HANG_UP_S_MIN, HANG_UP_S_MAX = 0.5, 12.0
"""After so long a viewer hangs up by itself and resumes."""
PAUSE_S_MAX = 0.2


@dataclass(slots=True)
class Viewer:
    """One subscriber of one context, over as many connections as it takes."""

    url: str
    subscriber: str
    context_id: str
    draw: random.Random
    frames: list[StreamFrame] = field(default_factory=list[StreamFrame])
    connections: list[Connection] = field(default_factory=list[Connection])
    statuses: list[int] = field(default_factory=list[int])
    """Of answers other than 200."""
    hangs_up: bool = True
    """False once everything is to come to rest."""
    socket_rate: float = 0.0
    """Share of its connections that are WebSockets."""
    poll_rate: float = 0.0
    """Share of them that are no streams, but long polls for the events since the last one."""

    @property
    def cursor(self) -> str | None:
        """The last id seen."""
        return next((frame.id for frame in reversed(self.frames) if frame.id), None)

    def recording(self) -> StreamRecording:
        """What it was shown."""
        return StreamRecording(
            subscriber=self.subscriber,
            context_id=self.context_id,
            frames=tuple(self.frames),
            connections=tuple(self.connections),
        )

    async def run(self) -> None:
        """Follow the context until cancelled."""
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=SILENCE_S_MAX, sock_read=SILENCE_S_MAX
        )
        while True:
            try:
                # A session for each connection: a fresh one may find another gateway.
                async with aiohttp.ClientSession(timeout=timeout) as session:
                    await self._follow(session)
            except aiohttp.ClientResponseError as error:
                self.statuses.append(error.status)
            except (aiohttp.ClientError, TimeoutError, OSError):
                pass
            await asyncio.sleep(self.draw.random() * PAUSE_S_MAX)

    async def _follow(self, session: aiohttp.ClientSession) -> None:
        cursor, number = self.cursor, len(self.connections)
        opened_s = time.monotonic()
        hang_up_s = self.draw.uniform(HANG_UP_S_MIN, HANG_UP_S_MAX)
        follow, way = _events, self.draw.random()
        if way < self.socket_rate:
            follow = _socket
        elif way < self.socket_rate + self.poll_rate:
            follow = _polls
        url = f"{self.url}/api/contexts/{self.context_id}"
        async with contextlib.aclosing(follow(session, url, cursor, number)) as pieces:
            try:
                async for frames in pieces:
                    if len(self.connections) == number:
                        self.connections.append(
                            Connection(opened_s=opened_s, last_event_id=cursor)
                        )
                    self.frames += frames
                    if self.hangs_up and time.monotonic() - opened_s > hang_up_s:
                        return
            finally:
                if len(self.connections) > number:
                    closed = replace(self.connections[number], closed_s=time.monotonic())
                    self.connections[number] = closed


async def _events(
    session: aiohttp.ClientSession, url: str, cursor: str | None, connection: int
) -> AsyncGenerator[list[StreamFrame], None]:
    """Frames of one connection for server-sent events, as they arrive; none at first."""
    headers = {"Last-Event-ID": cursor} if cursor is not None else {}
    async with session.get(f"{url}/events", headers=headers) as response:
        response.raise_for_status()
        yield []
        rest = b""
        async for piece in response.content.iter_any():
            *blocks, rest = (rest + piece).split(b"\n\n")
            received_s = time.monotonic()
            parsed = (
                parse_block(block, received_s=received_s, connection=connection)
                for block in blocks
            )
            yield [frame for frame in parsed if frame is not None]


async def _socket(
    session: aiohttp.ClientSession, url: str, cursor: str | None, connection: int
) -> AsyncGenerator[list[StreamFrame], None]:
    """Frames of one WebSocket, as they arrive; none at first, and each second without any."""
    params = {"after": cursor} if cursor is not None else {}
    async with session.ws_connect(
        f"{url}/ws", params=params, heartbeat=SOCKET_PING_S
    ) as socket:
        yield []
        while True:
            try:
                message = await socket.receive(timeout=1.0)
            except TimeoutError:
                yield []
                continue
            if message.type is not aiohttp.WSMsgType.TEXT:
                return
            said: Json = orjson.loads(message.data)
            frame = StreamFrame(
                said.get("id", ""), said["event"], said["data"], time.monotonic(), connection
            )
            yield [frame]


async def _polls(
    session: aiohttp.ClientSession, url: str, cursor: str | None, connection: int
) -> AsyncGenerator[list[StreamFrame], None]:
    """What long polls show, one after another, told as a stream tells it."""

    def told(event: str, data: Json, cursor: str = "") -> StreamFrame:
        return StreamFrame(cursor, event, data, time.monotonic(), connection)

    yield []
    begins = [told("hello", {"resumed": cursor is not None})]
    while True:
        asked = {} if cursor is None else {"after": cursor}
        headers = {"Prefer": f"wait={POLL_S}"}
        async with session.get(f"{url}/state", params=asked, headers=headers) as response:
            response.raise_for_status()
            answer: Json = await response.json(loads=orjson.loads)
        if cursor is None:
            context = answer["context"]
            yield [*begins, told("snapshot", context, context["cursor"])]
            cursor = context["cursor"]
        else:
            cursor = answer["cursor"]
            frames = answer["events"]
            yield [*begins, *(told(one["event"], one["data"], one["id"]) for one in frames)]
        begins = []


def parse_block(block: bytes, *, received_s: float, connection: int) -> StreamFrame | None:
    """One server-sent event; None for comments and `retry`."""
    fields: dict[str, str] = {}
    for line in block.decode().split("\n"):
        name, _, value = line.partition(":")
        fields[name] = value.removeprefix(" ")
    if "data" not in fields:
        return None
    data: Json = orjson.loads(fields["data"])
    event = fields.get("event", "message")
    return StreamFrame(fields.get("id", ""), event, data, received_s, connection)
