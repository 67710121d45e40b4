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
    unreadable: tuple[str, ...]
    """Ids of those whose contents cannot be opened: they were changed, or their key is gone."""


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


class Readiness(View):
    """Whether requests would succeed, and what is missing if not."""

    status: Literal["ready", "not ready"]
    store: StoreReadiness
    workers: WorkersReadiness
    draining: bool
