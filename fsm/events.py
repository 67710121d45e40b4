"""What can happen to a chat context.

Events are facts, named noun first and verb last, and are the machine's only input. Every
event says when it happened (`at_ms`), because the machine has no clock. The log holds them
as JSON; what an event means is never changed without an upcaster (`fsm/upcast.py`) and a
golden history.
"""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, TypeAlias, get_args

from pydantic import Field, JsonValue, TypeAdapter

from fsm.effects import Reference, ToolEffect
from fsm.state import Config, ContextId, Origin, SendPolicy, Summary, ToolCall, Usage, Value
from fsm.times import Moment, Wait


class Event(Value):
    """Base of all events."""

    at_ms: Moment
    """When it happened, Unix time in milliseconds, as seen by whoever reported it."""


class Action(Event):
    """An event that a client asked for; the table may refuse it."""

    action: ClassVar[str]
    """Its name on the wire."""


class Answer(Event):
    """An event that answers the effect `effect_id`; stale once that is no longer pending."""

    effect_id: str


class ContextCreated(Event):
    """The first event of every log."""

    kind: Literal["context-created"] = "context-created"
    context_id: ContextId
    owner: str
    title: str = ""
    labels: Mapping[str, str] = {}
    config: Config = Config()
    origins: tuple[Origin, ...] = ()
    """Where the log was copied from, if it was."""
    expires_ms: Moment | None = None
    """The context is deleted then, unless it is pinned."""


class MessageReceived(Action):
    """The user has said something."""

    action = "send_message"
    kind: Literal["message-received"] = "message-received"
    content: str
    parts: tuple[Mapping[str, JsonValue], ...] = ()
    policy: SendPolicy | None = None
    """What to do during a turn; None: as configured. The activation fills it in."""
    client_message_id: str | None = None
    metadata: Mapping[str, JsonValue] = {}
    not_before_ms: Moment | None = None
    """It counts as sent then; until then it waits where everybody can see it."""
    partial: str = ""
    """Text of the reply that the message interrupts, filled in by the activation."""
    message_id: str | None = None
    """Id of the draft whose text `partial` is."""
    patch: Mapping[str, JsonValue] = {}
    """Merge patch (RFC 7396) of the configuration, in force from the turn on that the message
    begins; one that steers a running turn begins none."""


class MessageEdited(Action):
    """The user wants to have said something else: a sibling, and a turn that answers it."""

    action = "edit_message"
    kind: Literal["message-edited"] = "message-edited"
    message_id: str
    """Id of the user's message that this is another version of."""
    content: str
    parts: tuple[Mapping[str, JsonValue], ...] = ()
    client_message_id: str | None = None
    metadata: Mapping[str, JsonValue] = {}


class RegenerateRequested(Action):
    """The user wants another alternative of a reply."""

    action = "regenerate"
    kind: Literal["regenerate-requested"] = "regenerate-requested"
    message_id: str | None = None
    """The reply, or the user's message that is to be answered anew; None: the last reply."""


class QueueUpdated(Action):
    """Messages that wait have been edited, removed and moved, in this order."""

    action = "update_queue"
    kind: Literal["queue-updated"] = "queue-updated"
    remove: tuple[str, ...] = ()
    edit: Mapping[str, str] = {}
    """New text by message id."""
    move: Mapping[str, int] = {}
    """New place in the queue by message id; 0 is next."""


class BranchCreated(Action):
    """Another line through the tree has got a name."""

    action = "create_branch"
    kind: Literal["branch-created"] = "branch-created"
    name: str
    from_message_id: str | None = None
    """Its last message; None: that of the active branch."""
    system_prompt: str | None = None


class BranchSwitched(Action):
    """The conversation goes on elsewhere in the tree."""

    action = "switch_branch"
    kind: Literal["branch-switched"] = "branch-switched"
    name: str | None = None
    """The branch that is active now; None: the same one."""
    message_id: str | None = None
    """The branch leads through this message now, to the newest that followed it."""


class BranchMerged(Action):
    """What another branch has of its own is on the active one, too."""

    action = "merge_branch"
    kind: Literal["branch-merged"] = "branch-merged"
    source: str
    strategy: Literal["append", "cherry_pick", "rebase"] = "append"
    """`append`: copies of its messages follow ours. `cherry_pick`: those of `message_ids`.
    `rebase`: its messages first, copies of ours follow."""
    message_ids: tuple[str, ...] = ()
    accept_conflicts: bool = False
    """Keep what both sides have; else a merge with conflicts is refused, and they are told."""


class RecordedMessage(Value):
    """A message that came about somewhere else."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    parts: tuple[Mapping[str, JsonValue], ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    created_at_ms: Moment | None = None
    """None: now."""
    status: Literal["complete", "cancelled", "interrupted", "failed"] = "complete"
    finish_reason: str | None = None
    client_message_id: str | None = None
    model: str | None = None
    usage: Usage | None = None
    metadata: Mapping[str, JsonValue] = {}
    replaces: str | None = None
    """Id of the message on the active branch in whose place it stands."""


class MessagesRecorded(Action):
    """Messages that came about elsewhere stand at the end of the active branch."""

    action = "record_messages"
    kind: Literal["messages-recorded"] = "messages-recorded"
    messages: tuple[RecordedMessage, ...]


class TurnRequested(Action):
    """Messages that came about elsewhere are to be answered: one step, with how to ask.

    A turn that waits for nothing but answers ends with it, as one that has failed does.
    """

    action = "request_turn"
    kind: Literal["turn-requested"] = "turn-requested"
    messages: tuple[RecordedMessage, ...]
    follows: str | None = None
    """Id of the message that they follow; None: the last of the active branch."""
    patch: Mapping[str, JsonValue] = {}
    """Merge patch (RFC 7396) of the configuration, in force from this turn on."""


class Denial(Value):
    """One tool call that a person does not want made."""

    id: str
    reason: str = ""


class ApprovalGiven(Action):
    """A person has decided on tool calls; calls that are not named stay pending."""

    action = "approve_tools"
    kind: Literal["approval-given"] = "approval-given"
    tool_call_ids: tuple[str, ...] = ()
    deny: tuple[Denial, ...] = ()
    edits: Mapping[str, str] = {}
    """New arguments (JSON text) by call id; only for ids in `tool_call_ids`."""
    by: str = ""
    """Who has decided."""


class AnswerGiven(Action):
    """A person has answered what the model asked."""

    action = "answer"
    kind: Literal["answer-given"] = "answer-given"
    question_id: str
    """Id of the tool call that is the question."""
    content: str
    by: str = ""


class CancelRequested(Action):
    """The user wants the running turn stopped."""

    action = "cancel"
    kind: Literal["cancel-requested"] = "cancel-requested"
    turn_id: str | None = None
    partial: str = ""
    """The text of the reply that had arrived, filled in by the activation."""
    message_id: str | None = None
    """Id of the draft whose text `partial` is."""


class RetryRequested(Action):
    """Try the failed model call again, now."""

    action = "retry"
    kind: Literal["retry-requested"] = "retry-requested"


class ResetRequested(Action):
    """Give the failed turn up."""

    action = "reset"
    kind: Literal["reset-requested"] = "reset-requested"


class PauseRequested(Action):
    """Start nothing more until resumed."""

    action = "pause"
    kind: Literal["pause-requested"] = "pause-requested"


class ResumeRequested(Action):
    """Go on where the context was paused."""

    action = "resume"
    kind: Literal["resume-requested"] = "resume-requested"


class ContextConfigured(Action):
    """The configuration has been patched (RFC 7396); in force from the next model call."""

    action = "configure"
    kind: Literal["context-configured"] = "context-configured"
    patch: Mapping[str, JsonValue]


class ContextRenamed(Action):
    """The context has got another title."""

    action = "rename"
    kind: Literal["context-renamed"] = "context-renamed"
    title: str


class TitleRequested(Action):
    """The model is to make a title of what was said."""

    action = "generate_title"
    kind: Literal["title-requested"] = "title-requested"


class ContextPinned(Action):
    """Retention passes the context over."""

    action = "pin"
    kind: Literal["context-pinned"] = "context-pinned"


class ContextUnpinned(Action):
    """Retention takes the context as any other."""

    action = "unpin"
    kind: Literal["context-unpinned"] = "context-unpinned"


class ContextDeleted(Action):
    """The last event of a log; the log is deleted with it."""

    action = "delete"
    kind: Literal["context-deleted"] = "context-deleted"


class RequestPrepared(Answer):
    """The retrievers have answered, and the summary, where one was needed, is made."""

    kind: Literal["request-prepared"] = "request-prepared"
    references: tuple[Reference, ...] = ()
    summary: Summary | None = None


class ReplyStarted(Answer):
    """The first token of a reply has arrived."""

    kind: Literal["reply-started"] = "reply-started"
    message_id: str
    """UUIDv7 that the reply will have, made by whoever calls the model."""


class RequestedCall(Value):
    """A tool call in a reply, with what the registry knows of the tool."""

    id: str
    name: str
    arguments: str
    effect: ToolEffect = "none"
    dangerous: bool = False
    untrusted: bool = False
    """What it returns comes from strangers, who may try to give the model orders."""
    question: bool = False
    """It is no call but a question to the person."""
    problem: str | None = None
    """Why it cannot be run (unknown tool, arguments against its schema)."""


class ReplyEnded(Answer):
    """The model has finished its reply, perhaps asking for tools. `text` is all of it."""

    kind: Literal["reply-ended"] = "reply-ended"
    message_id: str
    """Id of the reply; the same as in reply-started, if there was a draft."""
    text: str
    tool_calls: tuple[RequestedCall, ...] = ()
    finish_reason: str = "stop"
    model: str | None = None
    usage: Usage | None = None
    metadata: Mapping[str, JsonValue] = {}


class ReplyFailed(Answer):
    """The model call has failed."""

    kind: Literal["reply-failed"] = "reply-failed"
    code: str
    detail: str
    retryable: bool
    retry_after_ms: Wait | None = None
    """What the provider asked us to wait."""
    partial: str = ""
    message_id: str | None = None
    """Id of the draft whose text `partial` is."""
    jitter: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Drawn outside, in [0, 1]: where in the back-off's window the next attempt falls."""


class ReplyRestarted(Answer):
    """Whoever made the model call is gone; its draft is dropped, or kept by config."""

    kind: Literal["reply-restarted"] = "reply-restarted"
    partial: str = ""
    message_id: str | None = None
    """Id of the draft whose text `partial` is."""


class ToolReturned(Answer):
    """A tool has answered."""

    kind: Literal["tool-returned"] = "tool-returned"
    content: str


class ToolFailed(Answer):
    """A tool has raised, timed out or refused; the model is told."""

    kind: Literal["tool-failed"] = "tool-failed"
    code: str
    detail: str


class ToolRestarted(Answer):
    """Whoever ran the tool is gone, and with it the knowledge whether it ran."""

    kind: Literal["tool-restarted"] = "tool-restarted"


class WorkAbandoned(Event):
    """What the context was to do has ended each worker that began it; it is given up.

    Nobody asked for it and nothing is answered by it: a new owner finds that too many
    before it have come to nothing.
    """

    kind: Literal["work-abandoned"] = "work-abandoned"
    deaths: int
    """Activations in a row that have ended before they committed anything."""
    cause: str
    """What is known about why the last of them ended."""
    action: str | None = None
    """Wire name of the action that goes to the dead letters; None: there was none."""
    partial: str = ""
    """Text of the reply that was being streamed."""
    message_id: str | None = None
    """Id of the draft whose text `partial` is."""


class RetryDue(Answer):
    """The back-off is over."""

    kind: Literal["retry-due"] = "retry-due"


class TitleMade(Answer):
    """There is a title for the context."""

    kind: Literal["title-made"] = "title-made"
    title: str


class TimePassed(Event):
    """Something that was to happen at a time is due: see `wakes_at_ms`."""

    kind: Literal["time-passed"] = "time-passed"


_Actions: TypeAlias = (
    MessageReceived
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
)
_Others: TypeAlias = (
    RequestPrepared
    | ReplyStarted
    | ReplyEnded
    | ReplyFailed
    | ReplyRestarted
    | ToolReturned
    | ToolFailed
    | ToolRestarted
    | WorkAbandoned
    | TitleMade
    | TimePassed
    | RetryDue
)

AnyAction = Annotated[_Actions, Field(discriminator="kind")]
"""Any action, decodable from JSON by its `kind`."""
AnyEvent = Annotated[ContextCreated | _Actions | _Others, Field(discriminator="kind")]
"""Any event, decodable from JSON by its `kind`."""

EVENT_TYPES: Mapping[str, type[Event]] = {
    event.model_fields["kind"].default: event for event in get_args(get_args(AnyEvent)[0])
}
"""Every event class by its `kind`."""

EVENT: TypeAdapter[AnyEvent] = TypeAdapter(AnyEvent)
ACTION: TypeAdapter[AnyAction] = TypeAdapter(AnyAction)
