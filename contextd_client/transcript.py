"""The text of replies, folded from what a stream shows.

Pure: no clock, no socket. The same text may be shown any number of times, in snapshots, in
answers and by events; only what is new is told.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

from contextd_client.events import (
    CancelRequested,
    ContextDeleted,
    Event,
    MessageReceived,
    PauseRequested,
    ReplyDelta,
    ReplyEnded,
    ReplyFailed,
    ReplyRestarted,
    ReplyStarted,
    Reset,
    Snapshot,
    WorkAbandoned,
)
from contextd_client.views import ContextView, DraftView, MessageView

_CUTTING_IN = frozenset({"interrupt", "rollback"})
"""Policies of messages that end the running turn."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply, as far as it is known."""

    message_id: str
    text: str = ""
    n: int = 0
    """Where the text ends; more than its length where a stream began in mid-reply."""
    status: Literal["streaming", "complete", "broken_off"] = "streaming"
    """`broken_off`: cancelled, failed, ...; the state says whether its text is kept."""


@dataclass(slots=True)
class Transcript:
    """The replies of one context, in the order in which they began."""

    _replies: dict[str, Reply] = field(default_factory=dict[str, Reply])
    _streaming: str | None = None

    @property
    def replies(self) -> tuple[Reply, ...]:
        """All of them."""
        return tuple(self._replies.values())

    @property
    def text(self) -> str:
        """Of the reply that has begun last."""
        return next((reply.text for reply in reversed(self._replies.values())), "")

    def take(self, event: Event) -> str:
        """Take one event of a stream; the text that is new by it, to be printed."""
        match event:
            case Snapshot() | Reset():
                return self.take_context(event.context)
            case ReplyStarted():
                self._begin(event.message_id)
            case ReplyDelta():
                return self._append(event.message_id, event.text, end=event.n)
            case ReplyEnded():
                return self._end(event.message_id, event.text, "complete")
            case CancelRequested() | ReplyFailed() | WorkAbandoned():
                return self._break_off(event.message_id, event.partial)
            case MessageReceived() if event.policy in _CUTTING_IN:
                return self._break_off(event.message_id, event.partial)
            case PauseRequested() | ContextDeleted():
                return self._break_off(None, "")
            case ReplyRestarted() if event.message_id is not None:
                self._drop(event.message_id)
            case _:
                pass
        return ""

    def take_context(self, context: ContextView) -> str:
        """Take a whole state; the text that is new by it."""
        draft = context.draft
        if self._streaming is not None and (
            draft is None or draft.message_id != self._streaming
        ):
            self._break_off(None, "")
        new = "".join([self.take_message(message) for message in context.messages])
        return new if draft is None else new + self.take_draft(draft)

    def take_message(self, message: MessageView) -> str:
        """Take a message of a state; the text that is new by it, if it is a reply."""
        if message.role != "assistant":
            return ""
        complete = message.status == "complete"
        return self._end(message.id, message.content, "complete" if complete else "broken_off")

    def take_draft(self, draft: DraftView) -> str:
        """Take the draft of a state; the text that is new by it."""
        return self._append(draft.message_id, draft.text, end=draft.n)

    def _begin(self, message_id: str) -> None:
        if message_id not in self._replies:
            self._replies[message_id] = Reply(message_id)
            self._streaming = message_id

    def _drop(self, message_id: str) -> None:
        self._replies.pop(message_id, None)
        if self._streaming == message_id:
            self._streaming = None

    def _append(self, message_id: str, text: str, *, end: int) -> str:
        """Take text that reaches to character `end` of a reply; what of it is new."""
        self._begin(message_id)
        reply = self._replies[message_id]
        start = end - len(text)
        new = text[max(0, reply.n - start) :]
        self._replies[message_id] = replace(reply, text=reply.text + new, n=max(reply.n, end))
        return new

    def _end(
        self, message_id: str, text: str, status: Literal["complete", "broken_off"]
    ) -> str:
        new = self._append(message_id, text, end=len(text))
        reply = self._replies[message_id]
        # A reply that was joined in its middle is whole now.
        whole = text if len(text) >= reply.n else reply.text
        self._replies[message_id] = replace(reply, text=whole, status=status)
        if self._streaming == message_id:
            self._streaming = None
        return new

    def _break_off(self, message_id: str | None, partial: str) -> str:
        """The reply that is being streamed has ended before its end."""
        message_id = message_id or self._streaming
        return "" if message_id is None else self._end(message_id, partial, "broken_off")
