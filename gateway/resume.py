"""What a viewer has missed: from its cursor to where the context is now.

All transports begin here: server-sent events, WebSockets, and polls for events.
"""

from collections.abc import Sequence

from gateway.feed import COMPACTED, SET_BACK, Feed
from gateway.mirror import Mirror
from gateway.stream import Frame, Position, frames_between, reset_frame
from storage import LogCompacted, Store, View


def parse_cursor(text: str) -> tuple[str, int, int] | None:
    """Epoch, version and n of a cursor or ETag; None if it is none."""
    parts = text.strip().removeprefix("W/").strip('"').split(".")
    if len(parts) != 3 or not text.isascii():
        return None
    if not all(part.isdecimal() and len(part) < 16 for part in parts):
        return None
    return parts[0], int(parts[1]), int(parts[2])


async def begin(
    store: Store, feed: Feed, resume: str | None
) -> tuple[dict[str, object], Sequence[Frame]]:
    """What `hello` says, and the frames that bring a viewer to where the feed is now.

    The viewer must be among the feed's viewers already, and hold back what comes meanwhile.
    """
    mirror = feed.mirror
    epoch, here = mirror.epoch, mirror.cursor
    if resume is None:
        frames = [Frame(here, "snapshot", mirror.context_json())]
    else:
        frames = await backlog_frames(store, mirror, resume)
    resumed = resume is not None and not (frames and frames[0].event == "reset")
    return {"epoch": epoch, "cursor": here, "resumed": resumed}, frames


async def backlog_frames(store: Store, mirror: Mirror, resume: str) -> list[Frame]:
    """What has happened between a cursor and the mirror; one `reset` where that is unknown.

    Raises:
        ContextMissing: The context was deleted while we looked, and its log with it.
        StoreUnavailable: The epoch has ended.
    """
    view, epoch = mirror.view, mirror.epoch
    asked = parse_cursor(resume)
    reason = _why_not_resumable(asked, epoch, view)
    if asked is None or reason is not None:
        return [reset_frame(mirror, reason or "")]
    at = Position(asked[1], asked[2])
    state = view.state
    try:
        events = await store.read_log(
            state.id, state.owner, after=at.version, until=state.version, epoch=epoch
        )
    except LogCompacted:
        # Of the view that was: what the mirror has taken meanwhile is held for the viewer.
        return [reset_frame(Mirror(view, epoch), COMPACTED)]
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
