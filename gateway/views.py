"""What the gateway answers: one model per answer, for OpenAPI and for the tests.

Answers are encoded from the state directly (`gateway/mirror.py`), not through these models:
a context is sent far more often than it changes. A test holds every real answer to them.
"""

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, JsonValue

from fsm import (
    AnyEvent,
    Config,
    Conflict,
    Graph,
    Origin,
    Phase,
    Reference,
    SendPolicy,
    ToolCall,
    Usage,
)
from storage import RestartScope, SupervisorReport


class View(BaseModel):
    """Base of all answers. Clients ignore fields that they do not know; the tests do not."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class MessageView(View):
    """One utterance; it never changes."""

    id: str
    seq: int
    parent_id: str | None
    role: Literal["system", "user", "assistant", "tool"]
    content: str
    parts: tuple[Mapping[str, JsonValue], ...]
    tool_calls: tuple[ToolCall, ...]
    tool_call_id: str | None
    created_at: str
    status: Literal["complete", "cancelled", "interrupted", "failed"]
    finish_reason: str | None
    client_message_id: str | None
    model: str | None
    usage: Usage | None
    metadata: Mapping[str, JsonValue]
    replaces: str | None
    """Id of the message that this one is another version of: an edit, or another reply."""
    copy_of: str | None
    """Id of the message that a merge has copied this one from."""


class DraftView(View):
    """The part of a reply that has arrived; `n` counts its characters."""

    message_id: str
    n: int
    text: str
    attempt: int


class QueueEntryView(View):
    """A message that waits for the running turn to end, or for its time."""

    id: str
    content: str
    policy: SendPolicy
    client_message_id: str | None
    not_before: str | None
    """Until when it waits; null: for its turn."""


class PendingToolCallView(View):
    """A tool call of the running turn that is not done."""

    id: str
    name: str
    arguments: str
    digest: str
    expires_at: str | None
    approval_status: Literal["pending", "outcome_unknown", "approved"]


class QuestionView(View):
    """What the model asks the person."""

    id: str
    name: str
    arguments: str
    """JSON text; of the built-in tool: `question` and `options`."""
    expires_at: str | None


class ErrorView(View):
    """Why the context is in `failed` or `transient_failure`."""

    code: str
    detail: str
    retryable: bool
    attempts: int
    retry_at: str | None


class BranchView(View):
    """A named line through the message tree."""

    head: str | None
    system_prompt: str | None
    """Null: the configured one."""


class ContextView(View):
    """The complete state of a context."""

    id: str
    owner: str
    title: str
    labels: Mapping[str, str]
    pinned: bool
    expires_at: str | None
    """When it is deleted, unless it is pinned."""
    origins: tuple[Origin, ...]
    """Where it was forked or imported from; the last is the nearest."""
    status: Phase
    version: int
    cursor: str
    created_at: str
    updated_at: str
    config: Config
    active_branch: str
    branches: Mapping[str, BranchView]
    alternatives: Mapping[str, tuple[str, ...]]
    """Ids of all siblings, by that of each message shown that has others beside it."""
    messages: tuple[MessageView, ...]
    message_count: int
    """Messages of all branches; the next one's `seq` is one more."""
    draft: DraftView | None
    queue: tuple[QueueEntryView, ...]
    pending_tool_calls: tuple[PendingToolCallView, ...]
    pending_questions: tuple[QuestionView, ...]
    turn_id: str | None
    turn_attempt: int | None
    """Number of the attempt at the present model call; 1 is the first."""
    error: ErrorView | None
    usage: Usage


class TicketView(View):
    """Opens one stream."""

    ticket: str
    expires_at: str


class Allowance(View):
    """How much there may be of something, and how much there is."""

    limit: int | None
    """Null: any number."""
    used: int


class RateView(View):
    """How fast requests of one kind may come."""

    per_minute: int
    burst: int
    """How many at once, after a pause."""
    left: int


class LimitsView(View):
    """What you may, and what you have used of it."""

    owner: str
    contexts: Allowance
    turns: Allowance
    """Contexts that are at work."""
    tokens_today: Allowance
    today_ends_at: str
    streams: Allowance
    """On the gateway that has answered."""
    messages_per_context: int | None
    """Null: any number."""
    bytes_per_context: int | None
    rates: Mapping[Literal["actions", "polls", "streams", "admin"], RateView]
    """Rates of the kinds of requests that are limited."""


class MessageList(View):
    """A page of messages of one branch; the header Link leads on."""

    branch: str
    messages: tuple[MessageView, ...]


class TurnView(View):
    """What was asked, and what came of it."""

    seq: int
    """The `seq` of its first message."""
    id: str
    user_text: str
    assistant_text: str
    """All that the assistant has said in it."""
    tool_calls: int
    status: Literal["complete", "cancelled", "interrupted", "failed"] | None
    """Status of the last reply; null: there is none yet."""
    created_at: str


class TurnList(View):
    """A page of turns of the active branch; the header Link leads on."""

    turns: tuple[TurnView, ...]


class LogEntry(View):
    """A committed event, and the version that it led to."""

    version: int
    event: AnyEvent


class LogPage(View):
    """A part of a log; the header Link leads on."""

    version: int
    """Present version of the context."""
    events: tuple[LogEntry, ...]


class ContextExport(View):
    """A whole log; what `import` takes."""

    format: Literal["contextd-export/1"]
    context_id: str
    version: int
    base: dict[str, JsonValue] | None = None
    """The state that the events go on from, where the log was compacted."""
    events: tuple[AnyEvent, ...]


class ActionView(View):
    """The action that was answered; `result` is null while it waits."""

    id: str
    result: Literal["applied"] | None
    version: int | None


class ActionResponse(View):
    """The state, and the action if there was one; all null with `respond-async`."""

    context: ContextView | None
    status: Phase | None
    version: int | None
    action: ActionView | None


class ActionProblem(View):
    """Why an action was refused."""

    type: str
    detail: str | None


class ActionStatus(View):
    """What became of an action."""

    id: str
    context_id: str
    result: Literal["waiting", "applied", "refused"]
    version: int | None
    problem: ActionProblem | None


class ContextSummary(View):
    """What a list shows of a context."""

    id: str
    title: str
    status: Phase
    pinned: bool
    version: int
    created_at: str
    updated_at: str
    cursor: str | None = None
    """With `states=true`."""


class ContextList(View):
    """A page of contexts, newest first; the header Link leads to the next."""

    contexts: tuple[ContextSummary, ...]


class EventFrame(View):
    """One event as the streams show it."""

    id: str
    event: str
    data: Mapping[str, JsonValue]


class EventsPage(View):
    """The events since a cursor."""

    events: tuple[EventFrame, ...]
    cursor: str
    status: Phase
    version: int


class HelloData(View):
    """First event of a stream; it has no id."""

    epoch: str
    cursor: str
    resumed: bool


class ReplyDeltaData(View):
    """Some more text of a reply, which has `n` characters with it."""

    message_id: str
    n: int
    text: str


class ResetData(View):
    """The stream could not go on from the cursor: the whole state instead."""

    reason: str
    context: ContextView


class HellosData(View):
    """First event of a stream of several contexts."""

    contexts: Mapping[str, HelloData]
    """By id."""


class ByeData(View):
    """Last event of a stream that the gateway ends; connect again after `retry_ms`."""

    reason: str
    retry_ms: int


class ChatAnswer(View):
    """The answer to a question, and what was found for it."""

    response: str
    sources: tuple[Reference, ...]
    """What the model was given to read, in that order."""
    query_type: Literal["text", "semantic", "graph", "deep"]
    latency_ms: int
    graph_data: Graph | None
    """What the sources hang together with; null in the modes `text` and `semantic`."""
    model: str | None
    """What the model server says has answered."""


class ChatChunk(View):
    """Some more text of an answer that is arriving; another id begins the text anew."""

    message_id: str
    text: str


class TitleView(View):
    """A title, of at most 50 characters."""

    title: str


class NoteView(View):
    """A note."""

    id: str
    text: str
    created_at: str


class NoteList(View):
    """A page of notes, newest first; the header Link leads to the next."""

    notes: tuple[NoteView, ...]


class ProblemDocument(View):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    trace_id: str | None = None
    """Id of the trace that shows it, where traces are collected."""
    phase: Phase | None = None
    allowed_actions: tuple[str, ...] = ()
    version: int | None = None
    retry_after_s: int | None = None
    conflicts: tuple[Conflict, ...] = ()
    """Why a merge was refused."""
    first_version: int | None = None
    """What is left of a compacted log begins with it."""
    code: str | None = None
    """How the model server has failed."""
    quota: Literal["contexts", "messages", "bytes", "turns", "tokens"] | None = None
    """What there is too much of."""
    limit: int | None = None
    """How much of it may be."""
    used: int | None = None


class SocketResult(View):
    """What became of an action that has come on a WebSocket."""

    ref: str | None
    idempotency_key: str | None
    status: int
    """The status that an HTTP answer would have; 202: it is not applied yet."""
    action: ActionView | None = None
    repeated: bool | None = None
    """Whether the key was seen before."""
    problem: ProblemDocument | None = None
    """Why it was refused."""


class WebhookData(View):
    """What has happened to a context."""

    context_id: str
    owner: str
    version: int
    status: Phase
    """After the event."""
    occasions: tuple[str, ...]
    """What filters select by: the event's kind, then what became of the turn."""
    event: Mapping[str, JsonValue]
    """The event, as the log has it, but for what the operator has blanked out."""


class WebhookEvent(View):
    """A CloudEvent 1.0, as the webhook gets it."""

    specversion: Literal["1.0"]
    id: str
    """`<context id>.<version>`; the same in every repetition."""
    source: str
    """Address of the context."""
    type: str
    """`contextd.` and the event's kind."""
    time: str
    datacontenttype: Literal["application/json"]
    data: WebhookData


class ProblemTypeView(View):
    """What a type of problem means and what to do about it."""

    type: str
    title: str
    status: int
    advice: str


class Liveness(View):
    """The process answers."""

    status: Literal["ok"]


class StoreReadiness(View):
    """Whether the store answers, and what it keeps."""

    ok: bool
    durability: Literal["strict", "standard"]
    replicas_min: int
    """How many replicas have what is answered."""
    epoch: str
    writes: bool | None = None
    """Whether it takes writes; None: not known, because it does not answer."""
    hint: str | None = None


class WorkersReadiness(View):
    """How many workers there are."""

    ok: bool
    count: int | None = None
    hint: str | None = None


class RestartAccepted(View):
    """A restart or drain begins, or runs already."""

    status: Literal["restarting", "draining"]
    restart_id: str
    report_url: str


class RestartReport(View):
    """How far a restart or drain has come."""

    restart_id: str
    status: Literal["requested", "running", "complete", "failed"]
    kind: Literal["restart", "drain"]
    scope: RestartScope
    process: str | None
    """The one process that a drain is about, if it is about one."""
    force: bool
    requested_at_ms: int
    supervisors: tuple[SupervisorReport, ...]


class AgedContext(View):
    """A context that retention would delete: nobody has changed it since `touched_at`."""

    id: str
    owner: str
    status: Phase
    version: int
    touched_at: str


class RetentionPlan(View):
    """What retention would delete now."""

    days: int
    """0: nothing is ever deleted."""
    before: str | None
    """What was last changed before this goes."""
    count: int
    complete: bool
    """All that are old enough were counted; else there are more."""
    kept: dict[Literal["pinned", "at-work", "waiting"], int]
    """How many are old enough and stay, and why; those that a run has just passed over are
    not counted for a day."""
    contexts: tuple[AgedContext, ...]


class DecisionView(View):
    """What a person has decided about a tool call."""

    call_id: str
    verdict: Literal["approved", "denied", "answered"]
    tool: str | None
    digest: str | None
    """Digest of the tool's name and the approved arguments."""


class AuditRecordView(View):
    """Something that was asked for, or what came of it."""

    number: int
    at: str
    outcome: Literal["asked", "done", "failed"]
    """`asked`: before it was done."""
    of: int | None
    """Number of the record of what was asked."""
    by: str
    """`key:<id>`, `token`, `anybody` where nobody is asked, or `command:<user>`."""
    owner: str
    address: str
    name: str
    target: str
    decisions: tuple[DecisionView, ...]
    before: str
    """Digest of the record before."""
    digest: str


class AuditPage(View):
    """Records, the oldest first."""

    records: tuple[AuditRecordView, ...]
    unreadable: tuple[int, ...]
    """Numbers of those between them that cannot be read: somebody has changed them."""


class DeadLetterView(View):
    """What was given up: it ended each worker that began it, or the webhook did not take it."""

    id: str
    context_id: str
    at_ms: int
    cause: str
    action: str | None
    """None: not an action, but the running turn, or a webhook."""
    event: dict[str, JsonValue] | None
    """The action, as it was sent; or what the webhook was to be told of."""
    webhook: str | None = None
    """Its `webhook-id`, where the webhook has not taken it."""


class DeadLetterList(View):
    """A page of dead letters, newest first; the header Link leads on."""

    count: int
    """How many letters there are in all."""
    dead_letters: tuple[DeadLetterView, ...]


class LetterRetried(View):
    """The letter's action is delivered again; `action_id` is null for a webhook."""

    id: str
    action_id: str | None


class Readiness(View):
    """Whether requests would succeed, and what is missing if not."""

    status: Literal["ready", "not ready"]
    store: StoreReadiness
    workers: WorkersReadiness
    draining: bool
