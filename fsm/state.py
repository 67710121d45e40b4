"""Everything the machine remembers about one chat context.

Values are frozen. Times are Unix milliseconds that came in with an event; ids came in
with an event or are made of the version. Nothing in here was read from a clock.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Annotated, Literal, Self, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from typing_extensions import ParamSpec, override

from fsm.effects import AnyEffect, Reference, ToolEffect
from fsm.times import Moment, Reckoned, Wait


class Phase(StrEnum):
    """Where the conversation is in its turn. The wire calls it `status`."""

    IDLE = "idle"
    PREPARING_REQUEST = "preparing_request"
    AWAITING_LLM_RESPONSE = "awaiting_llm_response"
    STREAMING_LLM_RESPONSE = "streaming_llm_response"
    AWAITING_TOOL_APPROVAL = "awaiting_tool_approval"
    AWAITING_ANSWER = "awaiting_answer"
    EXECUTING_TOOLS = "executing_tools"
    TRANSIENT_FAILURE = "transient_failure"
    FAILED = "failed"
    PAUSED = "paused"
    DELETED = "deleted"


def _setter(slot: str) -> Callable[[BaseModel, object], None]:
    """What puts a value into one of the slots that pydantic's models consist of."""
    return cast("Callable[[BaseModel, object], None]", vars(BaseModel)[slot].__set__)


_set_fields, _set_names = _setter("__dict__"), _setter("__pydantic_fields_set__")
_set_extra, _set_private = _setter("__pydantic_extra__"), _setter("__pydantic_private__")


class Value(BaseModel):
    """Base of events and of all in the state: frozen, and closed against unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @override
    def model_copy(
        self, *, update: Mapping[str, object] | None = None, deep: bool = False
    ) -> Self:
        """A copy with some fields replaced, unchecked; as pydantic's, in a third of its time.

        A turn makes twenty. What is frozen can be shared, so only the fields are copied.
        """
        assert not deep
        fields = {**self.__dict__, **(update or {})}
        return _made(type(self), fields, self.__pydantic_fields_set__)

    def to_json(
        self, *, exclude: set[str] | None = None, exclude_defaults: bool = False
    ) -> bytes:
        """As JSON, without the text that `model_dump_json` makes of it in between."""
        return self.__pydantic_serializer__.to_json(
            self, exclude=exclude, exclude_defaults=exclude_defaults
        )


V = TypeVar("V", bound=Value)
P = ParamSpec("P")


def _made(model: type[V], fields: dict[str, object], names: set[str]) -> V:
    value = object.__new__(model)
    _set_fields(value, fields)
    _set_names(value, names)
    _set_extra(value, None)
    _set_private(value, None)
    return value


def unchecked(model: Callable[P, V]) -> Callable[P, V]:
    """What makes values of a model as its class does, without checking them.

    For what is made of fields that were checked when they came in. It takes half of the time,
    and each turn makes four, in the worker and in every gateway that shows it.
    """
    made = cast("type[V]", model)
    fields = {name: field.default for name, field in made.model_fields.items()}
    names = set(fields)

    def make(*_: P.args, **given: P.kwargs) -> V:
        return _made(made, {**fields, **given}, names)

    return make


class ToolPolicy(Value):
    """Which tool calls wait for a person. Tools marked dangerous always do."""

    mode: Literal["manual", "auto", "allow_list", "auto_loop"] = "manual"
    """`manual`: every call waits. `allow_list`: those not in `allowed` wait. `auto`: the
    calls of a turn's first round run at once, later rounds wait. `auto_loop`: all run."""
    allowed: tuple[str, ...] = ()
    """Tool names that run unasked in mode `allow_list`."""


SendPolicy = Literal["enqueue", "reject", "interrupt", "rollback", "steer", "merge", "latest"]
"""What becomes of a message that arrives during a turn.

`enqueue`: it waits for the turn's end. `reject`: it is refused. `interrupt`: the turn is
stopped, its partial reply kept as `cancelled`, and the message is next. `rollback`: the turn
is dropped as if it had not been asked for. `steer`: it joins the running turn before the
next model call, or waits. `merge`: it waits, and shares one turn with those that wait
beside it. `latest`: it waits, and those that waited before it are dropped.
"""


class Limits(Value):
    """Bounds of a context, and of one turn of it."""

    rounds_max: Annotated[int, Field(ge=1, le=50)] = 5
    """Model calls of a turn that may ask for tools; one more, without tools, may follow."""
    tools_max: Annotated[int, Field(ge=0, le=200)] = 20
    turn_s_max: Annotated[int, Field(ge=1, le=3600)] = 300
    """Seconds a turn may work; the time it waits for a person does not count."""
    queue_max: Annotated[int, Field(ge=0, le=1_000)] = 100
    """Messages that may wait for the running turn to end."""
    attempts_max: Annotated[int, Field(ge=1, le=20)] = 4
    """How often one model call is made before the turn fails: once, and three retries."""
    tool_starts_max: Annotated[int, Field(ge=1, le=20)] = 3
    """How often a tool is started whose worker dies each time; then the turn fails. Fewer
    than `attempts_max`, so that such a tool ends before the turns beside it do."""
    backoff_ms_base: Annotated[int, Field(ge=1, le=60_000)] = 500
    """Wait before the second attempt; doubled for each further one."""
    backoff_ms_max: Annotated[int, Field(ge=1, le=600_000)] = 30_000
    approval_s_max: Annotated[int, Field(ge=1, le=31_536_000)] = 604_800
    """How long a tool call waits for a person, or a question for its answer; a week."""
    history_tokens_max: Annotated[int, Field(ge=500, le=10_000_000)] = 100_000
    """Estimated tokens of history sent to the model; what is older is summarised."""
    branches_max: Annotated[int, Field(ge=1, le=1_000)] = 100


class ClientTool(Value):
    """A tool that whoever asks runs: its calls wait for an answer, like questions."""

    name: Annotated[str, Field(pattern="^[a-zA-Z0-9_-]{1,64}$")]
    description: str = ""
    parameters: Mapping[str, JsonValue] = {}
    """JSON Schema of its arguments; what it asks for is the client's to check."""
    strict: bool | None = None
    """Whether the model server is to hold the model to the schema; None: as it likes."""


class Config(Value):
    """What the owner may configure, merged by RFC 7396 patches."""

    model: str | None = None
    """None: the server's default model."""
    mode: str = "text"
    role: str | None = None
    system_prompt: str = ""
    parameters: Mapping[str, JsonValue] = {}
    """Passed to the model server as they stand (temperature, max_tokens, ...)."""
    tools: tuple[str, ...] | None = None
    """Names of the tools offered to the model; None offers all that are registered."""
    client_tools: Annotated[tuple[ClientTool, ...], Field(max_length=128)] = ()
    """Offered beside them; each goes before a registered one of its name."""
    tool_policy: ToolPolicy = ToolPolicy()
    send_policy: SendPolicy = "enqueue"
    """Policy of messages that name none."""
    retrieval: tuple[str, ...] = ()
    """Names of the retrievers asked before each model call of a turn's first round."""
    on_takeover: Literal["restart", "keep"] = "restart"
    """What becomes of a half-streamed reply whose worker died: asked again, or kept as
    `interrupted`."""
    limits: Limits = Limits()


class Usage(Value):
    """Tokens, as the model server counts them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return self.model_copy(
            update={
                "prompt_tokens": self.prompt_tokens + other.prompt_tokens,
                "completion_tokens": self.completion_tokens + other.completion_tokens,
                "total_tokens": self.total_tokens + other.total_tokens,
            }
        )


class ToolCall(Value):
    """One call that the model asked for, as it stands in the assistant's message."""

    id: str
    name: str
    arguments: str
    """JSON text, exactly as the model wrote it. What a person has made of it is in the result's
    `metadata`."""


class Message(Value):
    """One utterance. Immutable once committed; the tree only grows."""

    id: str
    seq: int
    """1 for the first message of the context; grows by one, over all branches."""
    parent_id: str | None
    role: Literal["system", "user", "assistant", "tool"]
    content: str
    parts: tuple[Mapping[str, JsonValue], ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    """Of a tool message: id of the call that it answers."""
    created_at_ms: Moment
    status: Literal["complete", "cancelled", "interrupted", "failed"] = "complete"
    finish_reason: str | None = None
    client_message_id: str | None = None
    model: str | None = None
    usage: Usage | None = None
    metadata: Mapping[str, JsonValue] = {}
    replaces: str | None = None
    """Id of the message that this one is another version of: an edit, or another reply."""
    copy_of: str | None = None
    """Id of the message that a merge has copied this one from."""


class QueuedMessage(Value):
    """A user message that waits: for the running turn to end, or for its time."""

    id: str
    content: str
    parts: tuple[Mapping[str, JsonValue], ...] = ()
    policy: SendPolicy = "enqueue"
    client_message_id: str | None = None
    metadata: Mapping[str, JsonValue] = {}
    received_at_ms: Moment
    not_before_ms: Moment | None = None
    patch: Mapping[str, JsonValue] = {}
    """Merge patch of the configuration, in force from its turn on."""


class CallStatus(StrEnum):
    """How far one tool call of the running turn has come."""

    PENDING = "pending"
    """Waits for a person."""
    ASKED = "asked"
    """A question to the person, who has not answered yet."""
    OUTCOME_UNKNOWN = "outcome_unknown"
    """A tool declared `once` was running when its worker died; a person decides."""
    APPROVED = "approved"
    """May run, or runs."""
    DENIED = "denied"
    DONE = "done"


class TurnCall(Value):
    """A tool call of the running turn."""

    id: str
    name: str
    arguments: str
    digest: str
    """SHA-256 (hex) of name and arguments: what exactly an approval is about."""
    effect: ToolEffect
    untrusted: bool = False
    """What it returns may try to give the model orders."""
    status: CallStatus
    expires_ms: Reckoned | None = None
    """When the wait for a person ends; None: a person has decided, or it never ends."""
    approved_digest: str | None = None
    """Digest of what was approved, by a person or by the policy."""
    approved_by: str | None = None
    """Who has approved it; `policy`, if nobody was asked."""
    approved_at_ms: Moment | None = None
    effect_id: str | None = None


class Turn(Value):
    """The work that one message has set off."""

    id: str
    """The id of that message: a user's; of `request_turn` the last, whoever has said it."""
    started_at_ms: Moment
    waiting_since_ms: Moment | None = None
    """Since when a person is waited for."""
    waited_ms: Wait = 0
    rounds: int = 0
    """Model replies of this turn that asked for tools."""
    tools: int = 0
    """Tool calls of this turn so far."""
    attempt: int = 1
    """Number of the attempt at the present model call, counted from 1."""
    calls: tuple[TurnCall, ...] = ()
    references: tuple[Reference, ...] | None = None
    """What the retrievers found; None until they were asked."""
    reply_id: str | None = None
    """Id of the message being streamed; None until its first token."""
    replaces: str | None = None
    """Id of the reply that this turn's first one is an alternative of."""
    rollback_to: str | None = None
    """Head of the branch before the turn."""


class Failure(Value):
    """Why the context is in `failed` or `transient_failure`."""

    code: str
    detail: str
    retryable: bool
    attempts: int = 1
    due_ms: Reckoned | None = None
    """When the next attempt is made."""


class Branch(Value):
    """A named line through the message tree."""

    head: str | None = None
    """Id of its last message."""
    system_prompt: str | None = None
    """None: that of the configuration."""


class Conflict(Value):
    """Something that both sides of a merge have in the same place."""

    kind: Literal["alternatives", "system_prompt"]
    """`alternatives`: both have another version of one message."""
    ours: str
    """Id of the message on the active branch, or its system prompt."""
    theirs: str


class Summary(Value):
    """What stands for the beginning of a line when the model is asked."""

    through_id: str
    """Id of the last message that it covers."""
    text: str


ContextId = Annotated[str, Field(pattern="^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
"""A UUID; those of messages are made of it."""


class Origin(Value):
    """A context that another was made from, by fork or import."""

    context_id: ContextId
    version: int
    """The last version that both logs share; ids made up to it contain the origin's id."""


UNSEARCHED = "unsearched"
"""Label of contexts that searches from other contexts leave out."""


class ContextState(Value):
    """The state of one context after `version` committed events."""

    id: ContextId
    owner: str
    origins: tuple[Origin, ...] = ()
    """Where the first versions come from, if the log was copied; oldest first."""
    title: str = ""
    labels: Mapping[str, str] = {}
    pinned: bool = False
    """Retention passes it over, and it does not expire."""
    expires_ms: Moment | None = None
    """When it is deleted, unless it is pinned."""
    version: int = 0
    phase: Phase = Phase.IDLE
    created_at_ms: Moment
    updated_at_ms: Moment
    config: Config = Config()
    active_branch: str = "main"
    branches: Mapping[str, Branch] = {"main": Branch()}
    messages: tuple[Message, ...] = ()
    """The tree, in the order of `seq`."""
    tokens: int = 0
    """Estimate for all messages; no line through the tree has more."""
    summaries: tuple[Summary, ...] = ()
    """Made for model requests, oldest first; the messages themselves stay."""
    queue: tuple[QueuedMessage, ...] = ()
    scheduled: tuple[QueuedMessage, ...] = ()
    """Messages that wait for their time, in the order of arrival."""
    turn: Turn | None = None
    pending: Mapping[str, AnyEffect] = {}
    """Effects issued and not yet answered, by effect_id."""
    failure: Failure | None = None
    usage: Usage = Usage()
