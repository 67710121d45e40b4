"""What the server answers. Fields that are not known here are ignored.

Words of a closed list (`status`, `role`, ...) are plain text: a newer server may know more of
them than this client does.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from pydantic import BaseModel, ConfigDict, JsonValue

AT_REST: Final = frozenset(
    {"idle", "awaiting_tool_approval", "awaiting_answer", "failed", "paused", "deleted"}
)
"""Statuses that last until somebody acts."""


class View(BaseModel):
    """Base of everything that is answered."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class ToolCall(View):
    """One call that the model asked for, as it stands in the assistant's message."""

    id: str
    name: str
    arguments: str
    """JSON text."""


class Usage(View):
    """Tokens, as the model server counts them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0


class MessageView(View):
    """One utterance; it never changes."""

    id: str
    role: str
    """`system`, `user`, `assistant` or `tool`."""
    content: str
    seq: int = 0
    parent_id: str | None = None
    parts: tuple[Mapping[str, JsonValue], ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    created_at: datetime | None = None
    status: str = "complete"
    """`complete`, `cancelled`, `interrupted` or `failed`."""
    finish_reason: str | None = None
    client_message_id: str | None = None
    model: str | None = None
    usage: Usage | None = None
    metadata: Mapping[str, JsonValue] = {}
    replaces: str | None = None
    """Id of the message that this one is another version of: an edit, or another reply."""
    copy_of: str | None = None
    """Id of the message that a merge has copied this one from."""


class DraftView(View):
    """The part of a reply that has arrived; `n` counts its characters."""

    message_id: str
    n: int
    text: str
    attempt: int = 1


class QueueEntryView(View):
    """A message that waits for the running turn to end, or for its time."""

    id: str
    content: str
    policy: str = "enqueue"
    client_message_id: str | None = None
    not_before: datetime | None = None
    """Until when it waits; None: for its turn."""


class PendingToolCallView(View):
    """A tool call of the running turn that is not done."""

    id: str
    name: str
    arguments: str
    """JSON text."""
    digest: str = ""
    expires_at: datetime | None = None
    approval_status: str = "pending"
    """`pending`, `outcome_unknown` or `approved`."""


class QuestionView(View):
    """What the model asks the person."""

    id: str
    name: str
    arguments: str
    """JSON text; of the built-in tool: `question` and `options`."""
    expires_at: datetime | None = None


class ErrorView(View):
    """Why the context is in `failed` or `transient_failure`."""

    code: str
    detail: str
    retryable: bool = False
    attempts: int = 1
    retry_at: datetime | None = None


class BranchView(View):
    """A named line through the message tree."""

    head: str | None = None
    system_prompt: str | None = None
    """None: the configured one."""


class OriginView(View):
    """A context that another was made from."""

    context_id: str
    version: int


class ContextView(View):
    """The complete state of a context."""

    id: str
    status: str
    """Its phase: `idle`, `streaming_llm_response`, `awaiting_tool_approval`, ..."""
    version: int
    cursor: str
    """Where a stream goes on; also what `if_cursor` takes."""
    owner: str = ""
    title: str = ""
    labels: Mapping[str, str] = {}
    pinned: bool = False
    expires_at: datetime | None = None
    """When it is deleted, unless it is pinned."""
    origins: tuple[OriginView, ...] = ()
    created_at: datetime | None = None
    updated_at: datetime | None = None
    config: Mapping[str, JsonValue] = {}
    active_branch: str = "main"
    branches: Mapping[str, BranchView] = {}
    alternatives: Mapping[str, tuple[str, ...]] = {}
    """Ids of all siblings, by that of each message shown that has others beside it."""
    messages: tuple[MessageView, ...] = ()
    message_count: int = 0
    """Messages of all branches."""
    draft: DraftView | None = None
    queue: tuple[QueueEntryView, ...] = ()
    pending_tool_calls: tuple[PendingToolCallView, ...] = ()
    pending_questions: tuple[QuestionView, ...] = ()
    turn_id: str | None = None
    turn_attempt: int | None = None
    """Number of the attempt at the present model call; 1 is the first."""
    error: ErrorView | None = None
    usage: Usage = Usage()

    @property
    def at_rest(self) -> bool:
        """Whether nothing happens until somebody acts."""
        return self.status in AT_REST


class ActionView(View):
    """The action that was answered."""

    id: str
    result: str | None
    """`applied`, or None while it waits."""
    version: int | None = None


class ActionResponse(View):
    """The state after an action, and the action itself."""

    context: ContextView
    action: ActionView | None = None
    """None in the answer to a read, and to a creation without a message."""

    @property
    def applied(self) -> bool:
        """Whether it is done, not only accepted."""
        return self.action is None or self.action.result == "applied"


class ActionProblem(View):
    """Why an action was refused."""

    type: str
    detail: str | None = None


class ActionStatus(View):
    """What became of an action."""

    id: str
    context_id: str
    result: str
    """`waiting`, `applied` or `refused`."""
    version: int | None = None
    problem: ActionProblem | None = None


class ContextSummary(View):
    """What a list shows of a context."""

    id: str
    title: str = ""
    status: str = ""
    pinned: bool = False
    version: int = 0
    created_at: datetime | None = None
    updated_at: datetime | None = None


class ContextList(View):
    """A page of contexts, newest first."""

    contexts: tuple[ContextSummary, ...]
    unreadable: tuple[str, ...] = ()
    """Ids of those whose contents the server cannot open."""


class ConflictView(View):
    """Something that both sides of a merge have in the same place."""

    kind: str
    """`alternatives`: two versions of a message; `system_prompt`."""
    ours: str
    theirs: str


class ProblemDocument(View):
    """An error (RFC 9457)."""

    type: str = "about:blank"
    title: str = ""
    status: int = 0
    detail: str = ""
    request_id: str | None = None
    trace_id: str | None = None
    phase: str | None = None
    allowed_actions: tuple[str, ...] = ()
    version: int | None = None
    retry_after_s: float | None = None
    conflicts: tuple[ConflictView, ...] = ()
    first_version: int | None = None
    code: str | None = None
    quota: str | None = None
    limit: int | None = None
    used: int | None = None
