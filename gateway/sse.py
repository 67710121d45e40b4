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
from gateway.feed import SET_BACK, Feed
from gateway.mirror import Mirror, cursor
from gateway.problems import Problem
from gateway.stream import Frame, Position, frames_between, reset_frame
from storage import ContextMissing, Store, View

_PING_NEVER_S = 1e9
"""aiohttp-sse pings with a task per response; one task pings for all (`Viewers`)."""


class SseViewer:
    """One open stream."""

    __slots__ = (
        "_bytes_max",
        "_chunked",
        "_held",
        "_over",
        "_transport",
        "stalled_since",
        "written_at",
    )

    def __init__(
        self, transport: asyncio.Transport, *, chunked: bool, bytes_max: int, now: float
    ) -> None:
        self._transport = transport
        self._chunked = chunked
        self._bytes_max = bytes_max
        self._held: list[Frame] | None = []
        self._over = asyncio.Event()
        self.written_at = now
        self.stalled_since: float | None = None

    def show(self, frames: Sequence[Frame]) -> None:
        """Take frames from the feed; they are held back until the backlog is written."""
        if self._held is not None:
            self._held.extend(frames)
        else:
            self.write(b"".join([frame.sse() for frame in frames]))

    def go_live(self) -> None:
        """The backlog is written: write what was held back, and hold nothing more."""
        held, self._held = self._held or [], None
        if held:
            self.write(b"".join([frame.sse() for frame in held]))

    def write(self, data: bytes) -> None:
        """Write to the client, or give it up when too much waits already."""
        if not data:
            return  # an empty chunk would end the stream
        transport = self._transport
        if transport.is_closing() or transport.get_write_buffer_size() > self._bytes_max:
            self.abort()
            return
        self.written_at = asyncio.get_running_loop().time()
        transport.write(b"%x\r\n%s\r\n" % (len(data), data) if self._chunked else data)

    @property
    def live(self) -> bool:
        """Whether the headers and the backlog are written."""
        return self._held is None

    @property
    def unsent_bytes(self) -> int:
        """What the client has not taken."""
        return self._transport.get_write_buffer_size()

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
                if not viewer.unsent_bytes:
                    viewer.stalled_since = None
                elif viewer.stalled_since is None:
                    viewer.stalled_since = now
                elif now - viewer.stalled_since >= config.viewer_stalled_s_max:
                    viewer.abort()
                    continue
                if now - viewer.written_at >= config.sse_heartbeat_s:
                    viewer.write(b": still here\n\n")

    def say_bye(self) -> None:
        """Tell every client to reconnect elsewhere, at different times, and end its stream."""
        for viewer in tuple(self._open):
            if not viewer.live:
                viewer.close()
                continue
            retry_ms = self._retry_ms()
            data = orjson.dumps({"reason": "this gateway is stopping", "retry_ms": retry_ms})
            viewer.write(b"retry: %d\nevent: bye\ndata: %s\n\n" % (retry_ms, data))
            viewer.close()

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
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client has gone")
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
                viewer.write(backlog)
                viewer.go_live()
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
    mirror, epoch = feed.mirror, store.epoch
    here = cursor(epoch, mirror.version, mirror.view.n)
    if resume is None:
        frames = [Frame(here, "snapshot", mirror.context_json(epoch))]
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
    view, epoch = mirror.view, store.epoch
    asked = parse_cursor(resume)
    reason = _why_not_resumable(asked, epoch, view)
    if asked is None or reason is not None:
        return [reset_frame(epoch, mirror, reason or "")]
    at = Position(asked[1], asked[2])
    events = await store.events(context_id, after=at.version, until=view.state.version)
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
