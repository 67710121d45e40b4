"""One turn as its client sees it: what a context's frames say about it.

A transcript lets the machine itself judge the log: it holds the state and applies each
event, so the same log gives the same happenings in the same order, live or years later,
whatever the gateway. Once the turn is over it takes nothing more, and stays what it is.
Of what came before the base of a compacted log, the base's messages tell.
"""

import itertools
from collections.abc import Iterator, Sequence
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
    branch_messages,
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
    """The state after the last event taken; None before the first."""
    config: Config = field(default_factory=Config)
    """The configuration that the model was asked with."""
    asked: tuple[Message, ...] = ()
    """What the request has brought."""
    told: list[Happening] = field(default_factory=list[Happening])
    """Happenings that the base of a compacted log tells of; dropped attempts are not among
    them."""
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

    def begin_with(self, base: ContextState) -> bool:
        """Begin with the state that a compacted log begins with, and what it tells.

        Returns whether it tells all of the turn up to there: a turn that is not over, or
        one that was a single whole reply. Of others, messages do not tell how they ended.
        """
        self.state = base
        asked = asked_by(base, self.request)
        if not asked:
            return True
        turn_id = asked[-1].id
        if base.turn is not None and base.turn.id == turn_id:
            line = branch_messages(base)
            behind = itertools.dropwhile(lambda message: message.id != turn_id, line)
            replies = [message for message in behind if message.role == "assistant"]
        else:
            replies = [message for message in base.messages if message.parent_id == turn_id][:1]
            if not replies or not _is_all(replies[0]):
                return False
        self.told += self._recall(base, asked, replies)
        return True

    def _recall(
        self, base: ContextState, asked: tuple[Message, ...], replies: Sequence[Message]
    ) -> Iterator[Happening]:
        at_ms = asked[-1].created_at_ms
        yield self._begin(asked, base.config, at_ms)
        for reply in replies:
            at_ms = reply.created_at_ms
            if reply.content:
                ended = TextOver(reply.id, reply.content, kept=True)
                self.texts.append(ended)
                yield TextArrived(reply.id, reply.content)
                yield ended
            if reply.status == "complete":
                self._count(reply)
        yield from self._called(base)
        over = self._at_rest(base) if self._runs(base) else self._ended()
        if over is not None:
            self.over = Over(over, at_ms)
            yield self.over

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
                asked = after.messages[-len(event.messages) :]
                yield self._begin(asked, after.config, event.at_ms)
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

    def _begin(self, asked: tuple[Message, ...], config: Config, at_ms: int) -> Begun:
        self.asked, self.config, self.created_at_ms = asked, config, at_ms
        self._turn_id = asked[-1].id
        return Begun(at_ms)

    def _end_reply(self, event: ReplyEnded, after: ContextState) -> Iterator[Happening]:
        if self._draft_id is not None:
            yield self._end_text(after)
        self._count(event)
        yield from self._called(after)

    def _count(self, reply: ReplyEnded | Message) -> None:
        self.finish_reason = reply.finish_reason or "stop"
        if reply.usage is not None:
            self.usage = (self.usage or Usage()) + reply.usage

    def _called(self, after: ContextState) -> Iterator[Happening]:
        own = {tool.name for tool in self.config.client_tools}
        waiting = after.turn.calls if after.turn and self._runs(after) else ()
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
        if self._runs(after):
            return self._at_rest(after)
        return self._ended() if isinstance(event, ReplyEnded) else "cancelled"

    def _runs(self, state: ContextState) -> bool:
        return state.turn is not None and state.turn.id == self._turn_id

    def _at_rest(self, state: ContextState) -> Outcome | None:
        if state.failure is not None and rests(state):
            self.failure = state.failure
            return "failed"
        return "completed" if awaits_client(state) else None

    def _ended(self) -> Outcome:
        return "incomplete" if self.cut_short else "completed"


def asked_by(state: ContextState, request: str) -> tuple[Message, ...]:
    """The messages that a request has brought; none: it was not applied."""
    return tuple(
        message
        for message in state.messages
        if request_of(message.client_message_id) == request and message.copy_of is None
    )


def _is_all(reply: Message) -> bool:
    """Whether a turn that is over has ended with this, its first reply."""
    return reply.role == "assistant" and reply.status == "complete" and not reply.tool_calls


def _request_of(event: TurnRequested) -> str | None:
    """Number of the request that a turn was asked for with."""
    return request_of(event.messages[-1].client_message_id)


def request_of(client_message_id: str | None) -> str | None:
    """Number of the request that a message came with, if it was one of these doors."""
    return None if client_message_id is None else client_message_id.partition(".")[0]


def message_mark(request: str, index: int) -> str:
    """The `client_message_id` of a request's message."""
    return f"{request}.{index}"
