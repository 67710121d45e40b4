"""What a stream shows: events of the log by kind, text as it arrives, and the stream's own.

The fields of the log's events are those that the server keeps, without the ids of its
effects. An event of a kind that is not known here is an `UnknownEvent`, with all its data.
"""

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias, get_args

from pydantic import JsonValue, TypeAdapter, ValidationError

from contextd_client.problems import NotUnderstood
from contextd_client.sse import Frame
from contextd_client.views import ContextView, ToolCall, Usage, View

_DATA: Final = TypeAdapter(dict[str, JsonValue])


class Event(View):
    """Base of everything that a stream shows."""

    id: str = ""
    """Cursor after this event: a stream opened with it goes on from here. Empty: unchanged."""


class Hello(Event):
    """A connection is open; the first event, and the first after each reconnection."""

    epoch: str
    cursor: str
    """How far the context is by now; the events up to there come next."""
    resumed: bool


class Snapshot(Event):
    """The whole state; where a stream without a cursor begins."""

    context: ContextView


class ReplyDelta(Event):
    """Some more text of a reply, which has `n` characters with it."""

    message_id: str
    n: int
    text: str


class Reset(Event):
    """The stream cannot go on from where it was: the whole state instead."""

    reason: str
    context: ContextView


class Bye(Event):
    """The gateway stops; the stream goes on elsewhere after `retry_ms`."""

    reason: str = ""
    retry_ms: int = 0


class UnknownEvent(Event):
    """An event of a kind that came after this client."""

    kind: str
    data: Mapping[str, JsonValue]


class Committed(Event):
    """Base of the events of the log."""

    at_ms: int
    """When it happened, Unix time in milliseconds."""


class OriginData(View):
    """A context that another was made from."""

    context_id: str
    version: int


class ContextCreated(Committed):
    """The first event of every log."""

    kind: Literal["context-created"] = "context-created"
    context_id: str
    owner: str
    title: str = ""
    labels: Mapping[str, str] = {}
    config: Mapping[str, JsonValue] = {}
    origins: tuple[OriginData, ...] = ()
    expires_ms: int | None = None


class MessageReceived(Committed):
    """The user has said something."""

    kind: Literal["message-received"] = "message-received"
    content: str
    parts: tuple[Mapping[str, JsonValue], ...] = ()
    policy: str | None = None
    client_message_id: str | None = None
    metadata: Mapping[str, JsonValue] = {}
    not_before_ms: int | None = None
    partial: str = ""
    """Text of the reply that the message interrupts."""
    message_id: str | None = None
    """Id of that reply."""
    patch: Mapping[str, JsonValue] = {}


class MessageEdited(Committed):
    """The user wants to have said something else."""

    kind: Literal["message-edited"] = "message-edited"
    message_id: str
    content: str
    parts: tuple[Mapping[str, JsonValue], ...] = ()
    client_message_id: str | None = None
    metadata: Mapping[str, JsonValue] = {}


class RegenerateRequested(Committed):
    """The user wants another alternative of a reply."""

    kind: Literal["regenerate-requested"] = "regenerate-requested"
    message_id: str | None = None


class QueueUpdated(Committed):
    """Messages that wait have been edited, removed and moved."""

    kind: Literal["queue-updated"] = "queue-updated"
    remove: tuple[str, ...] = ()
    edit: Mapping[str, str] = {}
    move: Mapping[str, int] = {}


class BranchCreated(Committed):
    """Another line through the tree has got a name."""

    kind: Literal["branch-created"] = "branch-created"
    name: str
    from_message_id: str | None = None
    system_prompt: str | None = None


class BranchSwitched(Committed):
    """The conversation goes on elsewhere in the tree."""

    kind: Literal["branch-switched"] = "branch-switched"
    name: str | None = None
    message_id: str | None = None


class BranchMerged(Committed):
    """What another branch has of its own is on the active one, too."""

    kind: Literal["branch-merged"] = "branch-merged"
    source: str
    strategy: str = "append"
    message_ids: tuple[str, ...] = ()
    accept_conflicts: bool = False


class RecordedData(View):
    """A message that came about somewhere else."""

    role: str
    content: str
    parts: tuple[Mapping[str, JsonValue], ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    created_at_ms: int | None = None
    status: str = "complete"
    finish_reason: str | None = None
    client_message_id: str | None = None
    model: str | None = None
    usage: Usage | None = None
    metadata: Mapping[str, JsonValue] = {}
    replaces: str | None = None
    """Id of the message in whose place it stands."""


class MessagesRecorded(Committed):
    """Messages that came about elsewhere stand at the end of the active branch."""

    kind: Literal["messages-recorded"] = "messages-recorded"
    messages: tuple[RecordedData, ...]


class TurnRequested(Committed):
    """Messages that came about elsewhere are to be answered."""

    kind: Literal["turn-requested"] = "turn-requested"
    messages: tuple[RecordedData, ...]
    follows: str | None = None
    patch: Mapping[str, JsonValue] = {}


class DenialData(View):
    """One tool call that a person does not want made."""

    id: str
    reason: str = ""


class ApprovalGiven(Committed):
    """A person has decided on tool calls."""

    kind: Literal["approval-given"] = "approval-given"
    tool_call_ids: tuple[str, ...] = ()
    deny: tuple[DenialData, ...] = ()
    edits: Mapping[str, str] = {}
    """New arguments (JSON text) by call id."""
    by: str = ""


class AnswerGiven(Committed):
    """A person has answered what the model asked."""

    kind: Literal["answer-given"] = "answer-given"
    question_id: str
    content: str
    by: str = ""


class CancelRequested(Committed):
    """The user wants the running turn stopped."""

    kind: Literal["cancel-requested"] = "cancel-requested"
    turn_id: str | None = None
    partial: str = ""
    """The text of the reply that had arrived."""
    message_id: str | None = None
    """Id of that reply."""


class RetryRequested(Committed):
    """The failed model call is made again, now."""

    kind: Literal["retry-requested"] = "retry-requested"


class ResetRequested(Committed):
    """The failed turn is given up."""

    kind: Literal["reset-requested"] = "reset-requested"


class PauseRequested(Committed):
    """Nothing more starts until resumed."""

    kind: Literal["pause-requested"] = "pause-requested"


class ResumeRequested(Committed):
    """The context goes on where it was paused."""

    kind: Literal["resume-requested"] = "resume-requested"


class ContextConfigured(Committed):
    """The configuration has been patched (RFC 7396)."""

    kind: Literal["context-configured"] = "context-configured"
    patch: Mapping[str, JsonValue]


class ContextRenamed(Committed):
    """The context has got another title."""

    kind: Literal["context-renamed"] = "context-renamed"
    title: str


class TitleRequested(Committed):
    """The model is to make a title of what was said."""

    kind: Literal["title-requested"] = "title-requested"


class ContextPinned(Committed):
    """Retention passes the context over."""

    kind: Literal["context-pinned"] = "context-pinned"


class ContextUnpinned(Committed):
    """Retention takes the context as any other."""

    kind: Literal["context-unpinned"] = "context-unpinned"


class ContextDeleted(Committed):
    """The last event of a log; a stream ends with it."""

    kind: Literal["context-deleted"] = "context-deleted"


class ReferenceData(View):
    """Something a retriever found."""

    source: str
    title: str
    text: str
    retriever: str | None = None
    """Name of the one that found it."""
    context_id: str | None = None
    """Where it was said, if it was said in a context."""
    message_id: str | None = None
    score: float | None = None
    """How well it fits; comparable only within one retriever."""


class SummaryData(View):
    """What stands for the beginning of a line when the model is asked."""

    through_id: str
    text: str


class RequestPrepared(Committed):
    """The retrievers have answered."""

    kind: Literal["request-prepared"] = "request-prepared"
    references: tuple[ReferenceData, ...] = ()
    summary: SummaryData | None = None


class ReplyStarted(Committed):
    """The first token of a reply has arrived."""

    kind: Literal["reply-started"] = "reply-started"
    message_id: str


class RequestedCall(View):
    """A tool call in a reply."""

    id: str
    name: str
    arguments: str
    effect: str = "none"
    dangerous: bool = False
    untrusted: bool = False
    question: bool = False
    problem: str | None = None


class ReplyEnded(Committed):
    """The model has finished its reply, perhaps asking for tools. `text` is all of it."""

    kind: Literal["reply-ended"] = "reply-ended"
    message_id: str
    text: str
    tool_calls: tuple[RequestedCall, ...] = ()
    finish_reason: str = "stop"
    model: str | None = None
    usage: Usage | None = None
    metadata: Mapping[str, JsonValue] = {}


class ReplyFailed(Committed):
    """The model call has failed."""

    kind: Literal["reply-failed"] = "reply-failed"
    code: str
    detail: str
    retryable: bool
    retry_after_ms: int | None = None
    partial: str = ""
    message_id: str | None = None
    """Id of the reply whose text `partial` is."""
    jitter: float = 0.0


class ReplyRestarted(Committed):
    """The process that wrote the reply is gone: its text is dropped, it is asked for again."""

    kind: Literal["reply-restarted"] = "reply-restarted"
    partial: str = ""
    message_id: str | None = None
    """Id of the reply whose text `partial` is."""


class ToolReturned(Committed):
    """A tool has answered."""

    kind: Literal["tool-returned"] = "tool-returned"
    content: str


class ToolFailed(Committed):
    """A tool has raised, timed out or refused; the model is told."""

    kind: Literal["tool-failed"] = "tool-failed"
    code: str
    detail: str


class ToolRestarted(Committed):
    """The process that ran the tool is gone."""

    kind: Literal["tool-restarted"] = "tool-restarted"


class WorkAbandoned(Committed):
    """What the context was to do has ended each worker that began it; it is given up."""

    kind: Literal["work-abandoned"] = "work-abandoned"
    deaths: int
    cause: str
    action: str | None = None
    partial: str = ""
    message_id: str | None = None
    """Id of the reply whose text `partial` is."""


class RetryDue(Committed):
    """The back-off is over."""

    kind: Literal["retry-due"] = "retry-due"


class TitleMade(Committed):
    """There is a title for the context."""

    kind: Literal["title-made"] = "title-made"
    title: str


class TimePassed(Committed):
    """Something that was to happen at a time was due."""

    kind: Literal["time-passed"] = "time-passed"


AnyCommitted: TypeAlias = (
    ContextCreated
    | MessageReceived
    | MessageEdited
    | RegenerateRequested
    | QueueUpdated
    | BranchCreated
    | BranchSwitched
    | BranchMerged
    | MessagesRecorded
    | TurnRequested
    | ApprovalGiven
    | AnswerGiven
    | CancelRequested
    | RetryRequested
    | ResetRequested
    | PauseRequested
    | ResumeRequested
    | ContextConfigured
    | ContextRenamed
    | TitleRequested
    | ContextPinned
    | ContextUnpinned
    | ContextDeleted
    | RequestPrepared
    | ReplyStarted
    | ReplyEnded
    | ReplyFailed
    | ReplyRestarted
    | ToolReturned
    | ToolFailed
    | ToolRestarted
    | WorkAbandoned
    | RetryDue
    | TitleMade
    | TimePassed
)

COMMITTED: Final[Mapping[str, type[Committed]]] = {
    event.model_fields["kind"].default: event for event in get_args(AnyCommitted)
}
"""Every event of the log that is known here, by its `kind`."""

_MODELS: Final[Mapping[str, type[Event]]] = {
    **COMMITTED,
    "hello": Hello,
    "snapshot": Snapshot,
    "reply-delta": ReplyDelta,
    "reset": Reset,
    "bye": Bye,
}


def decode(frame: Frame) -> Event:
    """The event that a frame holds.

    Raises:
        NotUnderstood: It is no JSON object, or lacks what its kind has.
    """
    try:
        data = _DATA.validate_json(frame.data)
        model = _MODELS.get(frame.event)
        if model is None:
            return UnknownEvent(id=frame.id, kind=frame.event, data=data)
        if model is Snapshot:
            data = {"context": data}
        return model.model_validate({**data, "id": frame.id})
    except ValidationError:
        raise NotUnderstood(f"An event {frame.event!r} is not as it should be.") from None
