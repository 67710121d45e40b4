"""Server-sent events: one viewer's stream, from any cursor on.

A frame is encoded once per gateway and written straight to each viewer's transport. A
viewer that does not read is disconnected when too much waits for it; it resumes with its
last id and loses nothing.
"""

import asyncio
import random
from collections.abc import Sequence

import orjson
from aiohttp import HttpVersion11, web
from aiohttp_sse import EventSourceResponse

from gateway.config import GatewayConfig
from gateway.connection import Connection
from gateway.feed import SET_BACK, Feed
from gateway.mirror import Mirror
from gateway.problems import Problem
from gateway.stream import Frame, Position, frames_between, reset_frame
from storage import ContextMissing, Store, StoreUnavailable, View

_PING_NEVER_S = 1e9
"""aiohttp-sse pings with a task per response; one task pings for all (`Viewers`)."""


class SseViewer:
    """One open stream."""

    __slots__ = (
        "_backlog_bytes",
        "_bytes_max",
        "_chunked",
        "_held",
        "_held_bytes",
        "_over",
        "_taken_bytes",
        "_transport",
        "_written_bytes",
        "stalled_since",
        "written_at",
    )

    def __init__(
        self, transport: asyncio.Transport, *, chunked: bool, bytes_max: int, now: float
    ) -> None:
        self._transport = transport
        self._chunked = chunked
        self._bytes_max = bytes_max
        self._held: list[bytes] | None = []
        self._held_bytes = 0
        self._backlog_bytes = 0
        """Of what it began with: that a client is behind by as much is no fault of its own."""
        self._written_bytes = 0
        self._taken_bytes = 0
        self._over = asyncio.Event()
        self.written_at = now
        self.stalled_since: float | None = None

    def show(self, frames: Sequence[Frame]) -> None:
        """Take frames from the feed; they are held back until the backlog is written."""
        if self._over.is_set():
            return  # it has been told to go on elsewhere
        shown = b"".join([frame.sse() for frame in frames])
        if self._held is None:
            self.write(shown)
            return
        self._held.append(shown)
        self._held_bytes += len(shown)
        if self._held_bytes > self._bytes_max:
            self.abort()

    def go_live(self, backlog: bytes) -> None:
        """Write the backlog and what was held back meanwhile, and hold nothing more."""
        held, self._held = self._held or [], None
        self._backlog_bytes = len(backlog)
        self.write(backlog)
        self.write(b"".join(held))

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

    async def wait_over(self) -> None:
        """Wait until the stream is to end."""
        await self._over.wait()


class Viewers:
    """All open streams of this gateway."""

    def __init__(self, config: GatewayConfig, store: Store) -> None:
        self._config = config
        self._store = store
        self._open: set[SseViewer] = set()

    def __len__(self) -> int:
        return len(self._open)

    async def keep_alive(self) -> None:
        """Send comments to silent streams and drop those that take nothing, until cancelled."""
        config = self._config
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(min(config.sse_heartbeat_s, config.viewer_stalled_s_max) / 4)
            now = loop.time()
            for viewer in tuple(self._open):
                if not viewer.live:
                    continue
                if viewer.is_stalled(now, stalled_s_max=config.viewer_stalled_s_max):
                    viewer.abort()
                    continue
                if now - viewer.written_at >= config.sse_heartbeat_s:
                    viewer.write(b": still here\n\n")

    def say_bye(self) -> int:
        """Tell every client to reconnect elsewhere, at different times, and end its stream.

        Returns:
            How many there were.
        """
        leaving = tuple(self._open)
        for viewer in leaving:
            if not viewer.live:
                viewer.close()
                continue
            retry_ms = self._retry_ms()
            data = orjson.dumps({"reason": "this gateway is stopping", "retry_ms": retry_ms})
            viewer.write(b"retry: %d\nevent: bye\ndata: %s\n\n" % (retry_ms, data))
            viewer.close()
        return len(leaving)

    def _retry_ms(self) -> int:
        base_ms = self._config.sse_retry_ms
        return base_ms + random.randrange(base_ms + 1)  # noqa: S311 - spreads reconnections

    async def serve(
        self, request: web.Request, feed: Feed, resume: str | None
    ) -> web.StreamResponse:
        """Stream a context from a cursor on, or from a snapshot, until either side ends it."""
        if len(self._open) >= self._config.viewers_max:
            raise Problem("too-many-viewers", "This gateway has no room.", {"retry_after_s": 2})
        response = EventSourceResponse(sep="\n", ping_interval=_PING_NEVER_S, send_timeout=None)
        transport, connection = request.transport, request.protocol
        if transport is None:
            raise ConnectionResetError("the client has gone")
        if isinstance(connection, Connection):
            connection.leave_to_stream()
        viewer = SseViewer(
            transport,
            chunked=request.version >= HttpVersion11,
            bytes_max=self._config.viewer_bytes_max,
            now=asyncio.get_running_loop().time(),
        )
        self._open.add(viewer)
        feed.viewers.add(viewer)
        try:
            # Before the headers leave: what fails here can still be answered as a problem.
            backlog = await _backlog(self._store, feed, resume)
            await response.prepare(request)
            async with response:
                await response.write(b"retry: %d\n\n" % self._retry_ms())
                viewer.go_live(backlog)
                if feed.deleted:
                    viewer.close()
                await viewer.wait_over()
        finally:
            self._open.discard(viewer)
            feed.viewers.discard(viewer)
        return response


def parse_cursor(text: str) -> tuple[str, int, int] | None:
    """Epoch, version and n of a cursor or ETag; None if it is none."""
    parts = text.strip().removeprefix("W/").strip('"').split(".")
    if len(parts) != 3 or not text.isascii():
        return None
    if not all(part.isdecimal() and len(part) < 16 for part in parts):
        return None
    return parts[0], int(parts[1]), int(parts[2])


async def _backlog(store: Store, feed: Feed, resume: str | None) -> bytes:
    """Everything up to where the feed is now; what comes later the viewer holds back."""
    mirror = feed.mirror
    epoch, here = mirror.epoch, mirror.cursor
    if resume is None:
        frames = [Frame(here, "snapshot", mirror.context_json())]
    else:
        frames = await backlog_frames(store, feed.context_id, mirror, resume)
    resumed = resume is not None and not (frames and frames[0].event == "reset")
    hello = orjson.dumps({"epoch": epoch, "cursor": here, "resumed": resumed})
    shown = b"".join([frame.sse() for frame in frames])
    return b"event: hello\ndata: %s\n\n%s" % (hello, shown)


async def backlog_frames(
    store: Store, context_id: str, mirror: Mirror, resume: str
) -> list[Frame]:
    """What has happened between a cursor and the mirror; one `reset` where that is unknown."""
    view, epoch = mirror.view, mirror.epoch
    asked = parse_cursor(resume)
    reason = _why_not_resumable(asked, epoch, view)
    if asked is None or reason is not None:
        return [reset_frame(mirror, reason or "")]
    at = Position(asked[1], asked[2])
    events = await store.events(context_id, after=at.version, until=view.state.version)
    if store.epoch != epoch:
        raise StoreUnavailable("the store was restarted while we read")
    if len(events) != view.state.version - at.version:
        raise ContextMissing(context_id)  # deleted while we looked, and its log with it
    return frames_between(epoch, at, events, view)


def _why_not_resumable(
    asked: tuple[str, int, int] | None, epoch: str, view: View
) -> str | None:
    if asked is None:
        return "the cursor cannot be understood"
    if asked[0] != epoch:
        return SET_BACK
    if asked[1:] > (view.state.version, view.n):
        return "the cursor is ahead of the log"
    return None
