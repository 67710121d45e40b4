"""Judges what subscribers were shown: every event once, in order, and every letter of a reply.

Invariant 1: each subscriber is followed over all of its connections as one stream; a cut and a
resumption change nothing of what the stream holds.
Invariant 2: after a violation the walk goes on from where the frame says it is, so that one
fault is told once.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final as Constant

from verify.epochs import EpochSeen, check_epochs
from verify.findings import Findings
from verify.records import (
    NO_LOSSES,
    Connection,
    Cursor,
    Final,
    Json,
    Losses,
    StreamFrame,
    StreamRecording,
    Violation,
    epoch_number,
)

ENDS_DRAFT: Constant = frozenset(
    {
        "cancel-requested",
        "context-deleted",
        "pause-requested",
        "reply-ended",
        "reply-failed",
        "reply-restarted",
        "work-abandoned",
    }
)
"""Events after which there is no draft any more; `reply-started` begins one."""
CUTS_IN: Constant = frozenset({"interrupt", "rollback"})
"""Policies of messages that end the running turn, unless they count as sent only later."""


@dataclass(frozen=True, slots=True)
class Part:
    """What a subscriber saw of one draft, from a character on."""

    message_id: str | None
    """None: it was not told yet."""
    begins: int
    """Characters that were there before the first that it saw."""
    text: str

    @property
    def n(self) -> int:
        """Characters of the draft."""
        return self.begins + len(self.text)

    def fits(self, whole: str) -> bool:
        """Whether this is the end of a text, from where it begins on."""
        return len(whole) == self.n and whole.endswith(self.text)

    def begins_of(self, whole: str) -> bool:
        """Whether a text begins with what was seen and what was there before."""
        return whole[self.begins : self.n] == self.text


_NO_DRAFT: Constant = Part(None, 0, "")


def check_streams(
    recordings: Iterable[StreamRecording],
    finals: Iterable[Final] = (),
    *,
    losses: Losses = NO_LOSSES,
) -> tuple[Violation, ...]:
    """What is wrong with streams, each by itself, with one another and with the end.

    Args:
        recordings: Of all subscribers of all contexts.
        finals: Contexts once all faults are over and they rest. A subscriber whose last
            connection is open must have got there.
        losses: What the run did to the store; streams begin anew (`reset`) only after one.
    """
    found = Findings()
    final_of = {final.context_id: final for final in finals}
    known: dict[tuple[str, str, int], tuple[str, StreamFrame]] = {}
    epochs: list[EpochSeen] = []
    for recording in recordings:
        walk = _Walk(recording, losses, known, found)
        for frame in recording.frames:
            walk.take(frame)
        epochs += _epochs_of(recording)
        final = final_of.get(recording.context_id)
        if final is not None:
            walk.compare(final)
    return (*check_epochs(epochs, losses), *found.violations())


class _Walk:
    """Follows one subscriber, frame by frame."""

    def __init__(
        self,
        recording: StreamRecording,
        losses: Losses,
        known: dict[tuple[str, str, int], tuple[str, StreamFrame]],
        found: Findings,
    ) -> None:
        self._recording = recording
        self._losses = losses
        self._known = known
        self._found = found
        self._at: Cursor | None = None
        self._draft = _NO_DRAFT
        self._parts: list[Part] = []
        """Drafts that are over."""
        self._connection = -1
        self._greeted = self._first = self._over = self._deleted = False
        self._before: StreamFrame | None = None

    def _add(self, check: str, text: str, **evidence: object) -> None:
        subscriber = self._recording.subscriber
        self._found.add(
            check, self._recording.context_id, text, subscriber=subscriber, **evidence
        )

    def take(self, frame: StreamFrame) -> None:
        """One more frame."""
        if frame.connection != self._connection:
            self._connect(frame)
        if self._over:
            self._add("after-bye", "A frame came after the stream's end.", frame=frame)
        if frame.event == "bye":
            self._over = True
        elif frame.event == "hello":
            self._greet(frame)
        else:
            self._place(frame)
        self._before = frame

    # Connections

    def _connect(self, frame: StreamFrame) -> None:
        if not self._connection < frame.connection < len(self._recording.connections):
            self._add("bad-recording", "Frames and connections do not fit.", frame=frame)
        self._connection = frame.connection
        self._greeted, self._over = False, False
        if frame.event != "hello":
            self._add("no-hello", "A stream did not begin with hello.", frame=frame)
        sent = self._resumed_from
        if self._at is None:
            self._at = _parsed(sent)
            if self._at is not None:
                self._draft = Part(None, self._at.n, "")
        elif sent is not None and _parsed(sent) != self._at:
            text = "A stream was resumed from elsewhere than where it was."
            self._add("bad-recording", text, resumed_from=sent, was_at=self._at)

    @property
    def _resumed_from(self) -> str | None:
        connections = self._recording.connections
        if 0 <= self._connection < len(connections):
            return connections[self._connection].last_event_id
        return None

    def _greet(self, frame: StreamFrame) -> None:
        if self._greeted:
            self._add("no-hello", "A stream said hello twice.", frame=frame)
        self._greeted = self._first = True
        if frame.data["resumed"] and self._resumed_from is None:
            text = "A stream says that it was resumed, and was not."
            self._add("false-hello", text, frame=frame)

    # Frames with a place

    def _place(self, frame: StreamFrame) -> None:
        first, self._first = self._first, False
        try:
            here = Cursor.parse(frame.id)
        except ValueError:
            self._add("bad-cursor", "A frame has no cursor.", frame=frame)
            return
        if self._deleted:
            text = "A frame came after the deletion of its context."
            self._add("after-deletion", text, frame=frame)
        if first and frame.event != "reset":
            self._check_hello(frame)
        match frame.event:
            case "snapshot":
                if self._at is not None or not first:
                    text = "A snapshot came in the middle of a stream."
                    self._add("unasked-snapshot", text, before=self._before, frame=frame)
                self._begin(frame, here, frame.data)
            case "reset":
                self._reset(frame, here)
            case _ if self._at is None:
                text = "A stream began without a snapshot."
                self._add("no-snapshot", text, frame=frame)
                self._draft = Part(None, here.n, "")
            case _ if here.epoch != self._at.epoch:
                text = "The epoch changed without a reset."
                self._add("epoch-without-reset", text, before=self._before, frame=frame)
                self._draft = Part(None, here.n, "")
            case "reply-delta":
                self._grow(frame, here, self._at)
            case _:
                self._event(frame, here, self._at)
        self._at = here

    def _check_hello(self, frame: StreamFrame) -> None:
        before = self._before
        if before is None or before.event != "hello":
            return
        if before.data["resumed"] != (frame.event != "snapshot"):
            text = "Hello and what came after it disagree on whether this was a resumption."
            self._add("false-hello", text, hello=before, frame=frame)

    def _begin(self, frame: StreamFrame, here: Cursor, context: Json) -> None:
        draft = context["draft"]
        text = draft["text"] if draft else ""
        stated = Cursor.parse(context["cursor"])
        n = draft["n"] if draft else 0
        if stated != here or context["version"] != here.version or not n == len(text) == here.n:
            self._add("torn-snapshot", "A state and its cursor disagree.", frame=frame)
        self._draft = Part(draft["message_id"], 0, text) if draft else _NO_DRAFT

    def _reset(self, frame: StreamFrame, here: Cursor) -> None:
        before = self._at
        if before is not None:
            if here.epoch == before.epoch and self._losses.compacts:
                if here.version <= before.version:
                    text = "A stream began anew though nothing was compacted behind it."
                    self._add("reset-without-loss", text, before=before, frame=frame)
            elif epoch_number(here.epoch) <= epoch_number(before.epoch):
                text = "A stream began anew though the epoch is the same."
                self._add("reset-without-loss", text, before=before, frame=frame)
            elif not self._losses.data_lost and here.version < before.version:
                text = "Events are gone though nothing can be lost."
                self._add("went-back", text, before=before, frame=frame)
            if self._losses.data_lost:
                self._parts.clear()  # their replies may be lost, or have gone on otherwise
        elif self._resumed_from is None:
            text = "A stream that resumed nothing began with a reset."
            self._add("reset-without-loss", text, frame=frame)
        self._begin(frame, here, frame.data["context"])

    def _grow(self, frame: StreamFrame, here: Cursor, before: Cursor) -> None:
        text: str = frame.data["text"]
        n: int = frame.data["n"]
        message_id: str = frame.data["message_id"]
        if here.version != before.version:
            self._missing(frame, before, expected=before.version)
            self._draft = Part(message_id, n - len(text), "")
        elif n != before.n + len(text) or not text:
            check = "text-gap" if n > before.n + len(text) else "text-twice"
            shown = "Text of a reply is missing or came twice."
            self._add(check, shown, before=before, frame=frame)
            self._draft = Part(message_id, n - len(text), "")
        if n != here.n:
            self._add("bad-cursor", "The cursor and n disagree.", frame=frame)
        if self._draft.message_id not in {None, message_id}:
            shown = "A reply changed its id."
            self._add("text-differs", shown, draft=self._draft, frame=frame)
        self._draft = Part(message_id, self._draft.begins, self._draft.text + text)

    def _event(self, frame: StreamFrame, here: Cursor, before: Cursor) -> None:
        kind = frame.event
        if frame.data["kind"] != kind:
            self._add("torn-event", "A frame is named after another event.", frame=frame)
        in_sequence = here.version == before.version + 1
        ends = kind in ENDS_DRAFT or (kind == "message-received" and _cuts_in(frame.data))
        begins = kind == "reply-started"
        if not in_sequence:
            self._missing(frame, before, expected=before.version + 1)
        elif here.n != (0 if ends or begins else before.n):
            text = "The cursor does not fit what the event does to the draft."
            self._add("bad-cursor", text, before=before, frame=frame)
        if ends and in_sequence:
            self._end(frame)
        if ends or not in_sequence:
            self._draft = Part(None, here.n, "")
        if begins:
            if in_sequence and before.n:
                text = "A reply began while text of another was there."
                self._add("stray-text", text, draft=self._draft, frame=frame)
            self._draft = Part(frame.data["message_id"], 0, "")
        self._deleted = kind == "context-deleted"
        self._agree(frame, here)

    def _missing(self, frame: StreamFrame, before: Cursor, *, expected: int) -> None:
        gap = Cursor.parse(frame.id).version > expected
        check, text = (
            ("gap", "Events are missing.") if gap else ("event-twice", "An event came again.")
        )
        self._add(check, text, before=before, frame=frame)

    def _end(self, frame: StreamFrame) -> None:
        """A draft is over: what was seen of it must be what the event says there was."""
        draft = self._draft
        if frame.event == "reply-ended":
            same_id = draft.message_id in {None, frame.data["message_id"]}
            if not same_id or not draft.fits(frame.data["text"]):
                text = "The text of a reply and what was streamed of it differ."
                self._add("text-differs", text, draft=draft, frame=frame)
        elif frame.data.get("partial") and not draft.begins_of(frame.data["partial"]):
            text = "What is kept of a reply and what was streamed of it differ."
            self._add("text-differs", text, draft=draft, frame=frame)
        if draft.message_id is not None:
            self._parts.append(draft)

    def _agree(self, frame: StreamFrame, here: Cursor) -> None:
        """An event is the same for everybody."""
        place = (self._recording.context_id, here.epoch, here.version)
        subscriber, other = self._known.setdefault(place, (self._recording.subscriber, frame))
        if (other.event, other.data) != (frame.event, frame.data):
            text = f"Two subscribers were shown different events as version {here.version}."
            self._add("disagree", text, other_subscriber=subscriber, other=other, frame=frame)

    # The end

    def compare(self, final: Final) -> None:
        """What the stream has come to, against the context at rest."""
        kept = {message.id: message for message in final.messages}
        for part in self._parts if self._knows_losses_of(final) else ():
            message = kept.get(part.message_id or "")
            if message is not None and not part.fits(message.content):
                text = "A message and what was streamed of it differ."
                self._add("text-differs", text, draft=part, message=message)
        connections = self._recording.connections
        if not connections or connections[-1].closed_s is not None or not final.found:
            return
        n = len(final.draft or "")
        if self._at != Cursor(final.epoch, final.version, n):
            text = "Everything rests, and an open stream has not shown all of it."
            at_rest = {"epoch": final.epoch, "version": final.version, "n": n}
            self._add("behind", text, is_at=self._at, at_rest=at_rest)

    def _knows_losses_of(self, final: Final) -> bool:
        """Whether it was told of the last loss; before that, its replies may have gone on."""
        lost = self._losses.data_lost
        return not lost or (self._at is not None and self._at.epoch == final.epoch)


def _cuts_in(said: Json) -> bool:
    due_ms: int | None = said.get("not_before_ms")
    return said.get("policy") in CUTS_IN and (due_ms is None or due_ms <= said["at_ms"])


def _parsed(cursor: str | None) -> Cursor | None:
    try:
        return Cursor.parse(cursor) if cursor is not None else None
    except ValueError:
        return None


def _epochs_of(recording: StreamRecording) -> Iterator[EpochSeen]:
    """The epochs of a stream, as each of its connections came to know them."""
    seen: set[tuple[int, str]] = set()
    for frame in recording.frames:
        at = _parsed(frame.id)
        if at is None or (frame.connection, at.epoch) in seen:
            continue
        seen.add((frame.connection, at.epoch))
        opened_s = _opened_s(recording.connections, frame)
        yield EpochSeen(opened_s, frame.received_s, at.epoch, recording.context_id)


def _opened_s(connections: Iterable[Connection], frame: StreamFrame) -> float:
    opened = [one.opened_s for one in connections]
    known = 0 <= frame.connection < len(opened)
    return opened[frame.connection] if known else frame.received_s
