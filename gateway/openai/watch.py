"""A feed's frames for one request, which takes them at its own pace."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from typing import Final

from gateway.app import Gateway
from gateway.feed import Feed
from gateway.openai.ids import conversation_id
from gateway.openai.transcript import Happening, Transcript
from gateway.problems import Problem
from gateway.stream import Frame, Position, event_frames, frames_between
from storage import LogCompacted, Store, StoreUnavailable, View

_PAGE_EVENTS: Final = 500
"""Log entries that are read and judged at once; the loop has other things to do, too."""


class Watch:
    """A viewer that keeps what it is shown until it is asked for."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._largest_bytes = 0
        """Of what was shown at once."""
        self._frames: list[Frame] = []
        self._news = asyncio.Event()
        self._over = False

    def show(self, frames: Sequence[Frame]) -> None:
        """Take frames from the feed; a request that lets too many wait is given up."""
        # One commit is not counted: it holds all that the request has brought.
        beside_bytes = self._bytes - self._largest_bytes
        self._over = self._over or beside_bytes > self._bytes_max
        self._frames += frames
        shown_bytes = sum(len(frame.data) for frame in frames)
        self._bytes += shown_bytes
        self._largest_bytes = max(self._largest_bytes, shown_bytes)
        self._news.set()

    def close(self) -> None:
        """There will be no more frames."""
        self._over = True
        self._news.set()

    async def next(self, wait_s: float) -> list[Frame] | None:
        """Frames that have not been taken, waiting a while for some; None: no more come."""
        try:
            async with asyncio.timeout(wait_s):
                await self._news.wait()
        except TimeoutError:
            return []
        frames, self._frames = self._frames, []
        self._bytes = self._largest_bytes = 0
        if not self._over:
            self._news.clear()
            return frames
        return frames or None


class TurnWatch:
    """A turn's happenings: those of the log, then those that come."""

    def __init__(self, gateway: Gateway, feed: Feed, request: str) -> None:
        """Begin to listen; nothing that happens from now on is missed.

        Args:
            gateway: Where the request came in.
            feed: Of the context.
            request: Its number.
        """
        self._view, self._epoch = feed.mirror.view, feed.mirror.epoch
        self.transcript = Transcript(request, self._view.state)
        self._store, self._config = gateway.store, gateway.config
        self.feed = feed
        self._from_log = False
        self._watch = Watch(gateway.config.viewer_bytes_max)
        feed.viewers.add(self._watch)

    async def begin_with_log(self) -> None:
        """Tell what the log has, too: the request may have been applied before.

        Raises:
            Problem: compacted, if the log does not say any more what became of it.
            StoreUnavailable: The log was compacted, or lost, while we looked.
        """
        request, view = self.transcript.request, self._view
        self.transcript = await begun(self._store, request, view, self._epoch)
        self._from_log = True

    def close(self) -> None:
        """Listen no more."""
        self.feed.viewers.discard(self._watch)

    async def happenings(self) -> AsyncGenerator[list[Happening], None]:
        """What happens, as it happens, up to the turn's end; nothing, after a long silence.

        To be read under `contextlib.aclosing`.

        Raises:
            ContextMissing: The context was deleted.
            StoreUnavailable: The feed has ended, or was set back; or the log was compacted
                before it was read.
        """
        transcript = self.transcript
        if self._from_log:
            async with contextlib.aclosing(
                replayed(self._store, transcript, self._view, self._epoch)
            ) as pages:
                async for happenings in pages:
                    yield happenings
        while transcript.over is None:
            frames = await self._watch.next(self._config.sse_heartbeat_s)
            if frames is None:
                self.feed.check()
                raise StoreUnavailable("the feed of the context has ended")
            happenings = happenings_of(transcript, frames)
            if happenings or not frames:
                yield happenings


async def begun(store: Store, request: str, view: View, epoch: str) -> Transcript:
    """A transcript that begins as the log does: with nothing, or with its base.

    Raises:
        Problem: compacted, if the base does not say what became of the request.
        StoreUnavailable: The log was compacted, or lost, while we looked.
    """
    base = await store.logs.base(view.state.id)
    if store.epoch != epoch:
        raise StoreUnavailable("the store was restarted while we read")
    transcript = Transcript(request, None)
    if base is None:
        return transcript
    if base.version > view.state.version:
        raise StoreUnavailable("the log was compacted while we read")
    if not transcript.begin_with(base):
        detail = (
            "The log of the context was compacted and does not say any more how this was "
            "answered. The messages are there: list the items of the conversation "
            f"{conversation_id(base.id)}."
        )
        raise Problem("compacted", detail)
    return transcript


async def replayed(
    store: Store, transcript: Transcript, view: View, epoch: str
) -> AsyncGenerator[list[Happening], None]:
    """What the log up to a view says of a turn that is `begun`, and the draft there is.

    Raises:
        ContextMissing: The log was deleted meanwhile.
        StoreUnavailable: The epoch has ended, or the log was compacted meanwhile.
    """
    if transcript.told:
        yield transcript.told
    first = 0 if transcript.state is None else transcript.state.version
    at, end = Position(first, 0), view.state.version
    while at.version < end and transcript.over is None:
        until = min(at.version + _PAGE_EVENTS, end)
        try:
            events = await store.read_log(
                view.state.id, view.state.owner, after=at.version, until=until, epoch=epoch
            )
        except LogCompacted:
            raise StoreUnavailable("the log was compacted while we read") from None
        if until == end:
            yield happenings_of(transcript, frames_between(epoch, at, events, view))
            return
        frames: list[Frame] = []
        for frame, after in event_frames(epoch, at, events):
            frames.append(frame)
            at = after
        yield happenings_of(transcript, frames)


def happenings_of(transcript: Transcript, frames: Sequence[Frame]) -> list[Happening]:
    """What frames mean for a turn.

    Raises:
        StoreUnavailable: The feed begins again: what was seen may have been lost.
    """
    happenings: list[Happening] = []
    for frame in frames:
        if frame.event == "reset":
            raise StoreUnavailable("the store was restored; what was shown may be lost")
        happenings += transcript.take(frame)
    return happenings
