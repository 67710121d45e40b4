"""Server-sent events: the streams of viewers, and how they are kept open and ended.

A frame is encoded once per gateway and written straight to each viewer's transport. A
viewer that does not read is disconnected when too much waits for it; it resumes with its
last id and loses nothing.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, Protocol, TypeAlias

import orjson
from aiohttp import HttpVersion11, web
from aiohttp_sse import EventSourceResponse

from gateway.config import GatewayConfig
from gateway.connection import Connection
from gateway.feed import Feed
from gateway.problems import Problem
from gateway.resume import begin, parse_cursor
from gateway.stream import HEARTBEAT, Frame, Wanted
from storage import Store

FRAMES_HELD_MAX: Final = 4_096
"""Frames of several contexts that are kept while the last of them begins."""
_PING_NEVER_S = 1e9
"""aiohttp-sse pings with a task per response; one task pings for all (`Viewers`)."""


Transport: TypeAlias = Literal["sse", "websocket"]


class SseViewer:
    """One open stream."""

    transport: ClassVar[Transport] = "sse"
    __slots__ = (
        "_backlog_bytes",
        "_bytes_max",
        "_chunked",
        "_farewell",
        "_held",
        "_held_bytes",
        "_over",
        "_taken_bytes",
        "_transport",
        "_wanted",
        "_written_bytes",
        "stalled_since",
        "written_at",
    )

    def __init__(
        self,
        transport: asyncio.Transport,
        wanted: Wanted,
        *,
        chunked: bool,
        bytes_max: int,
        now: float,
    ) -> None:
        self._transport = transport
        self._wanted = wanted
        self._chunked = chunked
        self._bytes_max = bytes_max
        self._held: list[bytes] | None = []
        self._held_bytes = 0
        self._farewell = b""
        """What it is told behind its backlog, where its gateway stops before it has that."""
        self._backlog_bytes = 0
        """Size of the backlog that it began with: a client may be behind by so much more."""
        self._written_bytes = 0
        self._taken_bytes = 0
        self._over = asyncio.Event()
        self.written_at = now
        self.stalled_since: float | None = None

    def show(self, frames: Sequence[Frame]) -> None:
        """Take frames from the feed; they are held back until the backlog is written."""
        if self._over.is_set():
            return  # it has been told to go on elsewhere
        shown = self.encode(frames)
        if self._held is None:
            self.write(shown)
            return
        self._held.append(shown)
        self._held_bytes += len(shown)
        if self._held_bytes > self._bytes_max:
            self.abort()

    def encode(self, frames: Iterable[Frame]) -> bytes:
        """Those of the frames that are wanted, as they are written."""
        return b"".join([frame.sse() for frame in frames if self._wanted.takes(frame)])

    def go_live(self, backlog: bytes) -> None:
        """Write the backlog and what was held back meanwhile, and hold nothing more."""
        held, self._held = self._held or [], None
        self._backlog_bytes = len(backlog)
        self.write(backlog)
        self.write(b"".join([*held, self._farewell]))

    def write(self, data: bytes) -> None:
        """Write to the client, or give it up when too much waits already."""
        if not data:
            return  # an empty chunk would end the stream
        transport = self._transport
        unsent = transport.get_write_buffer_size()
        if unsent == 0 and self._written_bytes:
            self._backlog_bytes = 0  # it has been taken
        if transport.is_closing() or unsent > self._bytes_max + self._backlog_bytes:
            self.abort()
            return
        self.written_at = asyncio.get_running_loop().time()
        self._written_bytes += len(data)
        transport.write(b"%x\r\n%s\r\n" % (len(data), data) if self._chunked else data)

    @property
    def live(self) -> bool:
        """Whether the headers and the backlog are written."""
        return self._held is None

    def is_stalled(self, now: float, *, stalled_s_max: float) -> bool:
        """Whether it has taken nothing for so long, of what waits for it."""
        unsent = self._transport.get_write_buffer_size()
        taken = self._written_bytes - unsent
        if not unsent or taken > self._taken_bytes or self.stalled_since is None:
            self._taken_bytes = taken
            self.stalled_since = now if unsent else None
            return False
        return now - self.stalled_since >= stalled_s_max

    def abort(self) -> None:
        """Disconnect at once; the client resumes where it was."""
        self._transport.abort()
        self._over.set()

    def close(self) -> None:
        """End the stream properly."""
        self._over.set()

    def keep_alive(self, now: float, config: GatewayConfig) -> None:
        """Send a comment if it was silent for long; drop it if it takes nothing."""
        if not self.live:
            return
        if self.is_stalled(now, stalled_s_max=config.viewer_stalled_s_max):
            self.abort()
        elif now - self.written_at >= config.sse_heartbeat_s:
            self.write(HEARTBEAT)

    def say_bye(self, retry_ms: int, data: bytes) -> None:
        """Tell the client to go on elsewhere, and end the stream."""
        said = b"retry: %d\nevent: bye\ndata: %s\n\n" % (retry_ms, data)
        if self.live:
            self.write(said)
        else:
            self._farewell = said
        self.close()

    async def wait_over(self) -> None:
        """Wait until the stream is to end."""
        await self._over.wait()


class Together:
    """What several contexts share: one stream, whose ids hold the cursor of each."""

    def __init__(
        self, viewer: SseViewer, feeds: Sequence[tuple[Feed, str | None]], *, frames_max: int
    ) -> None:
        self._viewer = viewer
        self._frames_max = frames_max
        self._feeds = [feed for feed, _ in feeds]
        self._ids = [feed.context_id for feed in self._feeds]
        # What is no cursor is a client's own words; a reset takes its place at once.
        self._cursors = [
            resume if resume is not None and parse_cursor(resume) else "" for _, resume in feeds
        ]
        self._held: list[tuple[int, Sequence[Frame]]] | None = []
        self._held_frames = 0
        self.parts = [Part(self, index) for index in range(len(feeds))]
        self._ended: set[int] = set()

    def show(self, index: int, frames: Sequence[Frame]) -> None:
        """Take frames of one of the contexts; they are held back until all have begun."""
        if self._held is None:
            self._viewer.show(self._tagged(index, frames))
            return
        self._held.append((index, frames))
        self._held_frames += len(frames)
        if self._held_frames > self._frames_max:
            self._viewer.abort()

    def end(self, index: int) -> None:
        """One of the contexts has ended; the stream ends with the last.

        It also ends with one whose end was not shown: whoever connects again is told.
        """
        self._ended.add(index)
        if len(self._ended) == len(self._ids) or not self._feeds[index].deleted:
            self._viewer.close()

    def go_live(self, hello: bytes, backlogs: Sequence[Sequence[Frame]]) -> None:
        """Write what was before, then what came meanwhile: ids only ever go on."""
        shown = [hello]
        for index, frames in enumerate(backlogs):
            shown.append(self._viewer.encode(self._tagged(index, frames)))
        held, self._held = self._held or [], None
        shown += [self._viewer.encode(self._tagged(index, frames)) for index, frames in held]
        self._viewer.go_live(b"".join(shown))

    def _tagged(self, index: int, frames: Sequence[Frame]) -> list[Frame]:
        tagged: list[Frame] = []
        for frame in frames:
            self._cursors[index] = frame.id
            names = (self._ids[index].encode(), frame.id.encode())
            data = b'{"context_id":"%s","cursor":"%s","data":%s}' % (*names, frame.data)
            tagged.append(Frame(",".join(self._cursors), frame.event, data))
        return tagged


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One context's place in a stream of several; a feed's viewer."""

    together: Together
    index: int

    def show(self, frames: Sequence[Frame]) -> None:
        """Take frames of this context."""
        self.together.show(self.index, frames)

    def close(self) -> None:
        """This context has ended."""
        self.together.end(self.index)


class OpenStream(Protocol):
    """A stream of any kind, as the gateway looks after it (SseViewer, SocketViewer)."""

    transport: ClassVar[Transport]

    def keep_alive(self, now: float, config: GatewayConfig) -> None:
        """Do what has to be done now and then."""
        ...

    def say_bye(self, retry_ms: int, data: bytes) -> None:
        """Tell the client to go on elsewhere, and end the stream."""
        ...


class Viewers:
    """All open streams of this gateway."""

    def __init__(self, config: GatewayConfig, store: Store) -> None:
        self._config = config
        self._store = store
        self._open: set[OpenStream] = set()

    def __len__(self) -> int:
        return len(self._open)

    def by_transport(self) -> Mapping[str, int]:
        """How many streams are open, `viewers_<transport>`."""
        counted: dict[str, int] = {"viewers_sse": 0, "viewers_websocket": 0}
        for viewer in self._open:
            counted[f"viewers_{viewer.transport}"] += 1
        return counted

    async def keep_alive(self) -> None:
        """Send comments to silent streams and drop those that take nothing, until cancelled."""
        config = self._config
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(min(config.sse_heartbeat_s, config.viewer_stalled_s_max) / 4)
            now = loop.time()
            for viewer in tuple(self._open):
                viewer.keep_alive(now, config)

    def say_bye(self) -> int:
        """Tell every client to reconnect elsewhere, at different times, and end its stream.

        Returns:
            How many there were.
        """
        leaving = tuple(self._open)
        for viewer in leaving:
            retry_ms = self._retry_ms()
            data = orjson.dumps({"reason": "this gateway is stopping", "retry_ms": retry_ms})
            viewer.say_bye(retry_ms, data)
        return len(leaving)

    def _retry_ms(self) -> int:
        base_ms = self._config.sse_retry_ms
        return base_ms + random.randrange(base_ms + 1)  # noqa: S311 - spreads reconnections

    @contextlib.contextmanager
    def room_for(self, viewer: OpenStream) -> Generator[None, None, None]:
        """Look after a stream for the length of a block."""
        self._open.add(viewer)
        try:
            yield
        finally:
            self._open.discard(viewer)

    def check_room(self) -> None:
        """Refuse one stream more than there may be.

        Raises:
            Problem: too-many-viewers.
        """
        if len(self._open) >= self._config.viewers_max:
            raise Problem("too-many-viewers", "This gateway has no room.", {"retry_after_s": 2})

    async def serve(
        self, request: web.Request, feed: Feed, resume: str | None, wanted: Wanted
    ) -> web.StreamResponse:
        """Stream a context from a cursor on, or from a snapshot, until either side ends it."""
        viewer = self._viewer(request, wanted)
        feed.viewers.add(viewer)
        try:
            with self.room_for(viewer):
                # Before the headers leave: what fails here can still be answered as a problem.
                hello, frames = await begin(self._store, feed, resume)
                begun = _hello(hello) + viewer.encode(frames)
                if feed.deleted:
                    viewer.close()
                return await self._run(request, viewer, lambda: viewer.go_live(begun))
        finally:
            feed.viewers.discard(viewer)

    async def serve_all(
        self,
        request: web.Request,
        feeds: Sequence[tuple[Feed, str | None]],
        wanted: Wanted,
    ) -> web.StreamResponse:
        """Stream several contexts, each from its cursor on, until all or the client end."""
        viewer = self._viewer(request, wanted)
        together = Together(viewer, feeds, frames_max=FRAMES_HELD_MAX)
        hellos: dict[str, object] = {}
        backlogs: list[Sequence[Frame]] = []
        try:
            with self.room_for(viewer):
                for part, (feed, resume) in zip(together.parts, feeds, strict=True):
                    feed.viewers.add(part)
                    hellos[feed.context_id], frames = await begin(self._store, feed, resume)
                    backlogs.append(frames)
                    if feed.deleted:
                        part.close()
                hello = _hello({"contexts": hellos})
                return await self._run(
                    request, viewer, lambda: together.go_live(hello, backlogs)
                )
        finally:
            for part, (feed, _) in zip(together.parts, feeds, strict=True):
                feed.viewers.discard(part)

    def _viewer(self, request: web.Request, wanted: Wanted) -> SseViewer:
        self.check_room()
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client has gone")
        return SseViewer(
            transport,
            wanted,
            chunked=request.version >= HttpVersion11,
            bytes_max=self._config.viewer_bytes_max,
            now=asyncio.get_running_loop().time(),
        )

    async def _run(
        self, request: web.Request, viewer: SseViewer, go_live: Callable[[], None]
    ) -> web.StreamResponse:
        response = EventSourceResponse(sep="\n", ping_interval=_PING_NEVER_S, send_timeout=None)
        response.headers["Cache-Control"] = "no-store"  # its own would let it be kept
        await response.prepare(request)
        async with response:
            await response.write(b"retry: %d\n\n" % self._retry_ms())
            with _watched_by_stream(request):
                go_live()
                await viewer.wait_over()
        return response


def _watched_by_stream(request: web.Request) -> contextlib.AbstractContextManager[None]:
    connection = request.protocol
    if isinstance(connection, Connection):
        return connection.left_to_stream()
    return contextlib.nullcontext()


def _hello(said: Mapping[str, object]) -> bytes:
    return b"event: hello\ndata: %s\n\n" % orjson.dumps(said)
