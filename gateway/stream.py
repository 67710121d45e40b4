"""From the log to what a viewer sees: server-sent events with a cursor each.

A viewer that joins or resumes anywhere gets the same text as one that was never cut: what
it has not seen of a reply that has ended meanwhile comes as one `reply-delta` before the
`reply-ended` that holds all of it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from fsm import EVENT_TYPES, cuts_in, drafting, ends_draft
from gateway.mirror import Mirror, cursor
from storage import View

HEARTBEAT: Final = b": still here\n\n"
"""A comment of server-sent events: keeps a silent stream open, and shows nothing."""
_ENDS_DRAFT: Final = frozenset(kind for kind, event in EVENT_TYPES.items() if ends_draft(event))


@dataclass(frozen=True, slots=True)
class Position:
    """Where a viewer is."""

    version: int
    n: int


@dataclass(frozen=True, slots=True)
class Frame:
    """One event for viewers, encoded once."""

    id: str
    event: str
    data: bytes

    def sse(self) -> bytes:
        """As server-sent event."""
        return b"id: %s\nevent: %s\ndata: %s\n\n" % (
            self.id.encode(),
            self.event.encode(),
            self.data,
        )

    def json(self) -> bytes:
        """As one JSON object: pages of events, WebSocket messages."""
        return b'{"id":"%s","event":"%s","data":%s}' % (
            self.id.encode(),
            self.event.encode(),
            self.data,
        )


ALWAYS_SHOWN: Final = frozenset({"snapshot", "reset"})
"""What no viewer can go on without."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a viewer has asked to be shown; the cursors go on all the same."""

    kinds: frozenset[str] | None = None
    """None: every kind."""
    deltas: bool = True

    def takes(self, frame: Frame) -> bool:
        """Whether a frame is to be shown."""
        if frame.event in ALWAYS_SHOWN:
            return True
        if frame.event == "reply-delta" and not self.deltas:
            return False
        return self.kinds is None or frame.event in self.kinds


def delta_frame(epoch: str, version: int, n: int, *, message_id: str, text: str) -> Frame:
    """Some more text of the reply `message_id`, which is `n` characters long with it."""
    data = orjson.dumps({"message_id": message_id, "n": n, "text": text})
    return Frame(cursor(epoch, version, n), "reply-delta", data)


def reset_frame(mirror: Mirror, reason: str) -> Frame:
    """The whole state, where what a viewer has seen cannot be continued."""
    data = b'{"reason":%s,"context":%s}' % (orjson.dumps(reason), mirror.context_json())
    return Frame(mirror.cursor, "reset", data)


def event_frames(
    epoch: str, at: Position, events: Sequence[bytes]
) -> Iterator[tuple[Frame, Position]]:
    """Frames for the events behind a position, each with the position after it.

    Args:
        epoch: Of the store.
        at: How far the viewer is; `n` belongs to the draft there was at that version.
        events: As the log has them, from version `at.version + 1` on.
    """
    version, n = at.version, at.n
    for raw in events:
        event = orjson.loads(raw)
        kind: str = event["kind"]
        seen = n
        ends = kind in _ENDS_DRAFT or (
            kind == "message-received"
            and cuts_in(
                event.get("policy"),
                at_ms=event["at_ms"],
                not_before_ms=event.get("not_before_ms"),
            )
        )
        if kind == "reply-started":
            n = 0
        elif ends:
            text: str = event.get("text") or event.get("partial", "")
            message_id: str | None = event.get("message_id")
            if message_id is not None and len(text) > n:
                n = len(text)
                frame = delta_frame(epoch, version, n, message_id=message_id, text=text[seen:])
                yield frame, Position(version, n)
        version += 1
        if ends:
            n = 0
        yield Frame(cursor(epoch, version, n), kind, raw), Position(version, n)


def frames_between(
    epoch: str, at: Position, events: Sequence[bytes], view: View
) -> list[Frame]:
    """Everything between a position and a view, `events` being all those in between."""
    frames: list[Frame] = []
    for frame, after in event_frames(epoch, at, events):
        frames.append(frame)
        at = after
    message_id = drafting(view.state)
    if message_id is not None and view.n > at.n:
        text = view.draft[at.n :]
        frames.append(delta_frame(epoch, at.version, view.n, message_id=message_id, text=text))
    return frames
