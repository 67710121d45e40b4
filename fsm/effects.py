"""What the machine asks of the world.

Effects are data. They may be performed more than once (a worker can die between
performing one and committing its answer), so each carries an `effect_id` that is the
same on every attempt; performers pass it on as the idempotency key.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from fsm.times import Reckoned, Wait

ToolEffect = Literal["none", "idempotent", "once"]
"""What running a tool twice would do: nothing, nothing under the same key, or harm."""


class Reference(BaseModel):
    """Something a retriever found, shown to the model with the request."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    title: str
    text: str
    retriever: str | None = None
    """Name of the one that found it."""
    context_id: str | None = None
    """Where it was said, if it was said in a context."""
    message_id: str | None = None
    score: float | None = None
    """How well it fits the query; higher is better. Comparable only within one retriever."""


class Effect(BaseModel):
    """Base of all effects."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    effect_id: str
    """`<version>.<index>`: unique in the context, stable across replays and attempts."""


class PrepareRequest(Effect):
    """Ask the retrievers. Answered by RequestPrepared, always."""

    kind: Literal["prepare-request"] = "prepare-request"
    retrievers: tuple[str, ...]
    query: str
    summarise_through: str | None = None
    """Id of the last message that is to be covered by a summary; None: none is needed."""


class CallModel(Effect):
    """Ask the language model for the next reply. Answered by ReplyEnded or ReplyFailed."""

    kind: Literal["call-model"] = "call-model"
    attempt: int
    with_tools: bool
    due_ms: Reckoned
    """When the turn's time is over (Unix milliseconds)."""


class RunTool(Effect):
    """Run one tool. Answered by ToolReturned or ToolFailed."""

    kind: Literal["run-tool"] = "run-tool"
    attempt: int
    call_id: str
    name: str
    arguments: str
    digest: str
    """What was approved; the performer refuses arguments that do not match it."""
    effect: ToolEffect
    due_ms: Reckoned


class AwaitRetry(Effect):
    """Wait until `due_ms`. Answered by RetryDue."""

    kind: Literal["await-retry"] = "await-retry"
    due_ms: Reckoned
    wait_ms: Wait
    """Never longer than this, whatever a clock says that has jumped."""


class MakeTitle(Effect):
    """Ask the model for a title. Answered by TitleMade, always; concerns no turn."""

    kind: Literal["make-title"] = "make-title"
    replaces: str
    """The title that the context has; if somebody gives it another meanwhile, that stays."""


class StopEffect(Effect):
    """Stop performing the effect named `effect_id`. Never answered."""

    kind: Literal["stop-effect"] = "stop-effect"


AnyEffect = Annotated[
    PrepareRequest | CallModel | RunTool | AwaitRetry | MakeTitle | StopEffect,
    Field(discriminator="kind"),
]
