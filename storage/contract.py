"""What goes into the store and comes out of it: one frozen type per thing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter

from fsm import AnyAction, Conflict, ContextState, Refusal, Value

Place: TypeAlias = tuple[int, str]
"""Where a page of a list has ended: what the list is ordered by, then the id."""


class Mail(Value):
    """An action on its way to a context."""

    event: AnyAction
    if_version: int | None = None
    """The action applies only to this version of the context."""
    traceparent: str | None = Field(default=None, exclude_if=lambda value: value is None)
    """The span that has delivered it (W3C Trace Context), if there is one.

    None is left out of the JSON, so that versions without traces can read it.
    """

    def within(self, traceparent: str | None) -> "Mail":
        """The same mail, delivered in a span."""
        return (
            self
            if traceparent is None
            else self.model_copy(update={"traceparent": traceparent})
        )


MAIL: TypeAdapter[Mail] = TypeAdapter(Mail)


class Result(Value):
    """What became of an action."""

    outcome: Literal["applied", "refused"]
    version: int
    """Version of the context after the action."""
    code: str | None = None
    """Why it was refused: a code of fsm.Refusal."""
    detail: str | None = None
    phase: str | None = None
    allowed_actions: tuple[str, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    """Why a merge was refused."""

    @classmethod
    def of(cls, refusal: Refusal, version: int) -> "Result":
        """The result of an action that was refused while the context was at `version`."""
        return cls(
            outcome="refused",
            version=version,
            code=refusal.code,
            detail=refusal.detail,
            phase=refusal.phase,
            allowed_actions=refusal.allowed_actions,
            conflicts=refusal.conflicts,
        )


RESULT: TypeAdapter[Result] = TypeAdapter(Result)


class Summary(Value):
    """What a list of contexts shows of each."""

    title: str
    status: str
    version: int
    created_at_ms: int
    updated_at_ms: int
    pinned: bool = False


class Notice(Value):
    """A committed event that a webhook is to tell of."""

    version: int
    """Version of the event."""
    at_ms: int
    owner: str
    status: str
    """Phase after the event."""
    occasions: tuple[str, ...]
    """What the event was: see fsm.occasions."""
    event: Mapping[str, JsonValue]


NOTICE: TypeAdapter[Notice] = TypeAdapter(Notice)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a delivery."""

    seq: int
    """The action's number in its context's mailbox: 1 for the first."""
    repeated: bool
    """The idempotency key was seen before; nothing was added."""
    active: bool
    """A living worker has the context and was told; if not, enqueue its activation."""
    result: Result | None
    """Result of a repeated action that has been applied or refused."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """One action waiting in a mailbox."""

    seq: int
    mail: Mail


@dataclass(frozen=True, slots=True)
class Owned:
    """A context that this worker may change, as it was when it became the owner."""

    context_id: str
    token: str
    """Fencing token, `<epoch>.<number>`: the number grows with every activation of the same
    context."""
    state: ContextState
    mail: Sequence[Delivered]
    draft: str
    """Text of a reply that somebody before us was streaming."""
    messages_saved: int
    """Messages that the snapshot in the store holds."""
    snapshot_version: int
    attempts: int = 0
    """Activations in a row, before this one, that began and committed nothing."""
    before: str = ""
    """The worker that had it: one that died, or this one; empty if it was given back."""
    log_first: int = 1
    """The first version that the log has."""
    trace: str = ""
    """What the last commit stored of the running turn's trace."""


@dataclass(frozen=True, slots=True)
class Remains:
    """A context that this worker may delete and not change, for nobody can open it."""

    context_id: str
    owner: str
    token: str
    """As that of `Owned`."""
    version: int
    mail: Sequence[Delivered]
    """What can be opened of it."""


class DeadLetter(BaseModel):
    """What was given up: it ended each worker that began it, or the webhook did not take it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    """`<context id>.<version>`: of the event that says so; `...webhook`, if it is a notice."""
    context_id: str
    owner: str
    at_ms: int
    cause: str
    mail: Mail | None = None
    """The action; None where it was the running turn, or a notice."""
    notice: Notice | None = None
    """What the webhook did not take."""


LETTER: TypeAdapter[DeadLetter] = TypeAdapter(DeadLetter)


@dataclass(frozen=True, slots=True)
class Draft:
    """What a commit does to the draft."""

    op: Literal["keep", "clear", "start"]
    n: int = 0
    """Characters of the draft after the commit."""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Commit:
    """Accepted events, made durable and visible in one step."""

    context_id: str
    token: str
    base: int
    """Version before the first event."""
    events: Sequence[bytes]
    """JSON, one per version."""
    state: ContextState
    """After the last event."""
    rests: bool
    acknowledged: int = 0
    """All mail up to this seq is done with; 0 for none."""
    results: Mapping[int, Result] = field(default_factory=dict[int, Result])
    draft: Draft = Draft("keep")
    snapshot: bool = False
    """Save a snapshot of `state` with it."""
    messages_saved: int = 0
    """Messages that the snapshot holds already."""
    letter: DeadLetter | None = None
    wake_ms: int | None = -1
    """When the context is to be activated by itself; None: never; -1: as before."""
    progress: bool = True
    """Whether the work that the activation found is behind it; it has not killed the worker."""
    notices: Sequence[Notice] = ()
    """Notices of the events, for the webhook."""
    tokens: int = 0
    """Tokens that the replies among the events have used."""
    trace: str | None = None
    """To which trace the running turn belongs; None: as before."""
    tally: Sequence[str] = ()
    """Names of totals to add one to, besides those of the results."""


@dataclass(frozen=True, slots=True)
class View:
    """A context as a reader sees it."""

    state: ContextState
    n: int
    """Characters of the draft."""
    draft: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What one look at a context has shown."""

    version: int
    n: int
    mail_seq: int
    """Number of the last action that was delivered."""
    result: Result | None
    """Result of the action that was asked about."""
    view: View | None
    """None when nothing has changed."""
    events: Sequence[bytes] = ()
    """Those since the reader's version, if it had one that the log still goes on from."""
