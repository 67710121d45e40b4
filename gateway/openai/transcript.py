"""One turn as whoever asked for it sees it: what a context's frames say about it.

A transcript lets the machine itself judge the log: it holds the state and applies each
event, so the same log gives the same happenings in the same order, live or years later,
whatever the gateway. Once the turn is over it takes nothing more, and stays what it is.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

import orjson

from fsm import (
    AnyEvent,
    CallStatus,
    Config,
    ContextState,
    Failure,
    Message,
    ReplyEnded,
    ToolCall,
    TurnRequested,
    Usage,
    awaits_client,
    decode_event,
    replay,
    rests,
)
from gateway.stream import Frame

Outcome = Literal["completed", "failed", "cancelled", "incomplete"]

_CUT_SHORT: Final = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""Finish reasons of replies that are not all that the model had to say."""


@dataclass(frozen=True, slots=True)
class Begun:
    """The turn has begun."""

    at_ms: int


@dataclass(frozen=True, slots=True)
class TextArrived:
    """Some more text of a reply."""

    message_id: str
    text: str


@dataclass(frozen=True, slots=True)
class TextOver:
    """A reply's text is all there, or will not go on."""

    message_id: str
    text: str
    kept: bool
    """Whether the reply is a message now; else it is dropped, and asked for again."""


@dataclass(frozen=True, slots=True)
class Called:
    """The model wants the client to run a tool."""

    call: ToolCall


@dataclass(frozen=True, slots=True)
class Over:
    """The turn is over, for whoever asked."""

    outcome: Outcome
    at_ms: int


Happening = Begun | TextArrived | TextOver | Called | Over


@dataclass(slots=True)
class Transcript:
    """Follows the turn of one request."""

    request: str
    state: ContextState | None
    """As of the last event taken; None before the first."""
    config: Config = field(default_factory=Config)
    """As the model was asked."""
    asked: tuple[Message, ...] = ()
    """What the request has brought."""
    created_at_ms: int = 0
    texts: list[TextOver] = field(default_factory=list[TextOver])
    """Replies that were kept and say something."""
    calls: list[ToolCall] = field(default_factory=list[ToolCall])
    over: Over | None = None
    failure: Failure | None = None
    finish_reason: str = "stop"
    usage: Usage | None = None
    _turn_id: str | None = None
    _draft_id: str | None = None
    _draft: str = ""

    @property
    def begun(self) -> bool:
        """Whether the request was applied."""
        return self._turn_id is not None

    @property
    def text(self) -> str:
        """All that the replies say."""
        return "".join(reply.text for reply in self.texts)

    @property
    def cut_short(self) -> str | None:
        """Why the last reply is not whole, in OpenAI's word; None if it is."""
        return _CUT_SHORT.get(self.finish_reason)

    def take(self, frame: Frame) -> list[Happening]:
        """What a frame means for the turn; frames come in order, from the state on."""
        if self.over is not None:
            return []
        if frame.event == "reply-delta":
            return self._take_delta(frame.data) if self.begun else []
        return list(self._take_event(decode_event(frame.data)))

    def _take_delta(self, data: bytes) -> list[Happening]:
        delta: dict[str, str] = orjson.loads(data)
        self._draft_id = delta["message_id"]
        self._draft += delta["text"]
        return [TextArrived(self._draft_id, delta["text"])]

    def _take_event(self, event: AnyEvent) -> Iterator[Happening]:
        before = self.state
        after = replay([event], before)
        self.state = after
        if not self.begun:
            if isinstance(event, TurnRequested) and _request_of(event) == self.request:
                yield self._begin(event, after)
            return
        if isinstance(event, ReplyEnded):
            yield from self._end_reply(event, after)
        elif self._draft_id is not None and (
            after.turn is None or after.turn.reply_id != self._draft_id
        ):
            yield self._end_text(after)
        if (outcome := self._outcome(event, after)) is not None:
            self.over = Over(outcome, event.at_ms)
            yield self.over

    def _begin(self, event: TurnRequested, after: ContextState) -> Begun:
        self.asked = after.messages[-len(event.messages) :]
        self._turn_id = self.asked[-1].id
        self.config = after.config
        self.created_at_ms = event.at_ms
        return Begun(event.at_ms)

    def _end_reply(self, event: ReplyEnded, after: ContextState) -> Iterator[Happening]:
        if self._draft_id is not None:
            yield self._end_text(after)
        self.finish_reason = event.finish_reason
        if event.usage is not None:
            self.usage = _sum(self.usage or Usage(), event.usage)
        own = {tool.name for tool in self.config.client_tools}
        waiting = after.turn.calls if after.turn and after.turn.id == self._turn_id else ()
        for asked in waiting:
            if asked.status is CallStatus.ASKED and asked.name in own:
                call = ToolCall(id=asked.id, name=asked.name, arguments=asked.arguments)
                self.calls.append(call)
                yield Called(call)

    def _end_text(self, after: ContextState) -> TextOver:
        assert self._draft_id is not None
        kept = any(message.id == self._draft_id for message in after.messages)
        ended = TextOver(self._draft_id, self._draft, kept)
        if kept:
            self.texts.append(ended)
        self._draft_id, self._draft = None, ""
        return ended

    def _outcome(self, event: AnyEvent, after: ContextState) -> Outcome | None:
        """How the turn has ended with this event; None while it goes on."""
        if after.turn is not None and after.turn.id == self._turn_id:
            if after.failure is not None and rests(after):
                self.failure = after.failure
                return "failed"
            return "completed" if awaits_client(after) else None
        if not isinstance(event, ReplyEnded):
            return "cancelled"
        return "incomplete" if self.cut_short else "completed"


def _request_of(event: TurnRequested) -> str | None:
    """Number of the request that a turn was asked for with."""
    return request_of(event.messages[-1].client_message_id)


def request_of(client_message_id: str | None) -> str | None:
    """Number of the request that a message came with, if it was one of these doors."""
    return None if client_message_id is None else client_message_id.partition(".")[0]


def message_mark(request: str, index: int) -> str:
    """The `client_message_id` of a request's message."""
    return f"{request}.{index}"


def _sum(left: Usage, right: Usage) -> Usage:
    return Usage(
        prompt_tokens=left.prompt_tokens + right.prompt_tokens,
        completion_tokens=left.completion_tokens + right.completion_tokens,
        total_tokens=left.total_tokens + right.total_tokens,
    )
