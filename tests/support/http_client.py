"""A client of the wire contract that knows none of the product's code.

It writes down what it was told: every frame of a stream with the moment it came, across as
many connections as it took. `tests/support/invariants.py` judges that.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, TypeAlias

import aiohttp
import orjson

Json: TypeAlias = Any
"""What the service has answered: it is asserted on, key by key, not modelled again."""

RECONNECT_PAUSE_S = 0.02
REST_S_MAX = 90.0


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP answer."""

    status: int
    headers: Mapping[str, str]
    raw: bytes

    @property
    def body(self) -> Json:
        return orjson.loads(self.raw)

    @property
    def context(self) -> Json:
        return self.body["context"]


@dataclass(frozen=True, slots=True)
class StreamFrame:
    """One server-sent event and when it came (`time.monotonic`)."""

    id: str
    event: str
    data: Json
    at_s: float


@dataclass(slots=True)
class Recording:
    """Everything that one stream has shown, over all of its connections."""

    frames: list[StreamFrame] = field(default_factory=list[StreamFrame])
    connections: int = 0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def cursor(self) -> str | None:
        """Where to resume: the last id seen."""
        return next((frame.id for frame in reversed(self.frames) if frame.id), None)

    def add(self, frame: StreamFrame) -> None:
        self.frames.append(frame)
        self._changed.set()

    def of(self, event: str) -> list[StreamFrame]:
        """The frames of one kind."""
        return [frame for frame in self.frames if frame.event == event]

    async def until(
        self, reached: Callable[["Recording"], object], *, within_s: float = REST_S_MAX
    ) -> None:
        """Wait until what was recorded is enough."""
        async with asyncio.timeout(within_s):
            while not reached(self):
                self._changed.clear()
                await self._changed.wait()


class HttpClient:
    """Talks to one or more gateways of a service."""

    def __init__(self, *urls: str) -> None:
        """Take the gateways' addresses; requests name one by its place."""
        self.urls = list(urls)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=90),
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.session.close()

    @property
    def session(self) -> aiohttp.ClientSession:
        assert self._session is not None, "use it as a context manager"
        return self._session

    async def request(
        self,
        method: str,
        path: str,
        body: Json = None,
        *,
        raw: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        gateway: int = 0,
    ) -> Reply:
        """One request; `raw` goes out as it stands, `body` as JSON."""
        sent = {"Content-Type": "application/json", **(headers or {})}
        data = raw if raw is not None else orjson.dumps(body) if body is not None else None
        url = f"{self.urls[gateway]}{path}"
        async with self.session.request(method, url, data=data, headers=sent) as response:
            return Reply(response.status, response.headers.copy(), await response.read())

    async def create(self, *, gateway: int = 0, **body: Json) -> str:
        """Make a context; its id."""
        reply = await self.request("POST", "/api/contexts", body, gateway=gateway)
        assert reply.status == 201, reply
        context_id: str = reply.context["id"]
        return context_id

    async def act(
        self,
        context_id: str,
        action: str,
        body: Json = None,
        *,
        key: str | None = None,
        prefer: str | None = None,
        gateway: int = 0,
    ) -> Reply:
        """Send an action."""
        headers: dict[str, str] = {}
        if key is not None:
            headers["Idempotency-Key"] = key
        if prefer is not None:
            headers["Prefer"] = prefer
        path = f"/api/contexts/{context_id}/actions/{action}"
        return await self.request("POST", path, body or {}, headers=headers, gateway=gateway)

    async def send(
        self,
        context_id: str,
        content: str,
        *,
        key: str | None = None,
        prefer: str | None = None,
        gateway: int = 0,
    ) -> Reply:
        """Send a message."""
        body = {"content": content}
        return await self.act(
            context_id, "send_message", body, key=key, prefer=prefer, gateway=gateway
        )

    async def state(self, context_id: str, *, gateway: int = 0) -> Json:
        """The context, whole."""
        reply = await self.request("GET", f"/api/contexts/{context_id}/state", gateway=gateway)
        assert reply.status == 200, reply
        return reply.context

    async def until_state(
        self,
        context_id: str,
        reached: Callable[[Json], object],
        *,
        within_s: float = REST_S_MAX,
        gateway: int = 0,
    ) -> Json:
        """Poll until the context is as wanted; survives refused and cut connections."""
        context: Json = None
        try:
            async with asyncio.timeout(within_s):
                while True:
                    try:
                        context = await self.state(context_id, gateway=gateway)
                    except (aiohttp.ClientError, AssertionError):
                        await asyncio.sleep(RECONNECT_PAUSE_S)
                        continue
                    if reached(context):
                        return context
                    await asyncio.sleep(RECONNECT_PAUSE_S)
        except TimeoutError:
            raise AssertionError(f"not reached in {within_s:g} s: {context}") from None

    async def rested(self, context_id: str, *, gateway: int = 0) -> Json:
        """Poll until nothing runs or waits in the context."""
        return await self.until_state(
            context_id,
            lambda context: context["status"] == "idle" and not context["queue"],
            gateway=gateway,
        )

    @asynccontextmanager
    async def watching(
        self, context_id: str, *, cursor: str | None = None, gateways: tuple[int, ...] = (0,)
    ) -> AsyncGenerator[Recording, None]:
        """Record a context's stream for a block, which begins once the stream has.

        When a connection ends, it resumes with the last id, at the next of `gateways`.
        """
        recording = Recording()
        async with asyncio.TaskGroup() as group:
            task = group.create_task(
                self._watch(context_id, recording, cursor, gateways), name="watching"
            )
            try:
                await recording.until(
                    lambda seen: seen.of("snapshot") or (cursor and seen.frames)
                )
                yield recording
            finally:
                task.cancel()

    async def _watch(
        self,
        context_id: str,
        recording: Recording,
        cursor: str | None,
        gateways: tuple[int, ...],
    ) -> None:
        while True:
            gateway = gateways[recording.connections % len(gateways)]
            recording.connections += 1
            at = recording.cursor or cursor
            with suppress(aiohttp.ClientError):
                await self._watch_once(context_id, recording, at, gateway)
            await asyncio.sleep(RECONNECT_PAUSE_S)

    async def _watch_once(
        self, context_id: str, recording: Recording, cursor: str | None, gateway: int
    ) -> None:
        """Read one connection to its end."""
        headers = {"Last-Event-ID": cursor} if cursor is not None else {}
        url = f"{self.urls[gateway]}/api/contexts/{context_id}/events"
        no_end = aiohttp.ClientTimeout(total=None, sock_connect=5)
        async with self.session.get(url, headers=headers, timeout=no_end) as response:
            if response.status != 200:
                return
            rest = b""
            async for piece in response.content.iter_any():
                *blocks, rest = (rest + piece).split(b"\n\n")
                for block in blocks:
                    frame = parse_block(block.decode(), at_s=time.monotonic())
                    if frame is not None:
                        recording.add(frame)


def parse_block(block: str, *, at_s: float) -> StreamFrame | None:
    """One server-sent event as our gateways write it; None for comments and `retry`."""
    fields: dict[str, str] = {}
    for line in block.split("\n"):
        name, _, value = line.partition(":")
        fields[name] = value.removeprefix(" ")
    if "data" not in fields:
        return None
    event = fields.get("event", "message")
    return StreamFrame(fields.get("id", ""), event, orjson.loads(fields["data"]), at_s)
