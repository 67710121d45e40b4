"""What clients wrote down while they used the service: the only evidence the checkers read.

Invariant 1: nothing here comes from the service's own logs or from its store, only from what
was sent and what was answered, with the moments at which both happened.
Invariant 2: all moments of one run are of one clock (`time.monotonic` of one process, or the
simulation's virtual time), in seconds.
Invariant 3: all tries of one logical action (same Idempotency-Key, same body) are one
`Operation`, from the first call to the answer that settled it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple, Self, TypeAlias

Json: TypeAlias = Any
"""What the service has answered, parsed: read key by key, not modelled again."""


class Outcome(StrEnum):
    """What a client knows of an operation."""

    APPLIED = "applied"
    """2xx with result `applied`: it is in the history, at `version`."""
    ACCEPTED = "accepted"
    """202: it is in the mailbox; whether it was applied or refused was not seen."""
    REFUSED = "refused"
    """4xx: it has changed nothing, and never will. Where an earlier try under the same key is
    without an answer, a refusal at the door (429) says nothing of that one: `UNKNOWN`."""
    UNKNOWN = "unknown"
    """Time-out, reset, 5xx, or the run ended first: it may take effect at any time, or never.
    """

    @property
    def is_acked(self) -> bool:
        """Whether the service has said that it has the action."""
        return self in {Outcome.APPLIED, Outcome.ACCEPTED}


class Cursor(NamedTuple):
    """Where a reader is: `<epoch>.<version>.<n>`."""

    epoch: str
    version: int
    n: int
    """Characters (code points) of the draft."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """A cursor, an `id:` or an ETag (quoted or weak).

        Raises:
            ValueError: It is none.
        """
        epoch, version, n = text.removeprefix("W/").strip('"').split(".")
        return cls(epoch, int(version), int(n))


def number_of(action_id: str) -> str:
    """Context and number out of `action.id`, without the epoch between them.

    A repeat is told the id in the epoch of its answer; the number stays.
    """
    context_id, _, number = action_id.split(".")
    return f"{context_id}.{number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One logical action of one client on one context, over all of its tries."""

    client: str
    """Who: operations of one client follow each other unless their times overlap."""
    context_id: str
    kind: str
    """The action's name on the wire: `send_message`, `approve_tools`, `cancel`, ..."""
    called_s: float
    """When the first try left."""
    returned_s: float | None = None
    """When the answer that settled it came; None: it never did (`UNKNOWN`)."""
    outcome: Outcome = Outcome.UNKNOWN
    key: str | None = None
    """Idempotency-Key of all tries."""
    content: str | None = None
    """Text that it says (`send_message`, `edit_message`, `record_messages`) or puts in the
    place of other text (`update_queue`); unique in the run."""
    takes: tuple[str, ...] = ()
    """Texts that an `update_queue` takes from the queue, where they wait there."""
    policy: str | None = None
    """Of a `send_message`: what it does during a turn, whoever has decided that."""
    later: bool = False
    """Whether a `send_message` counts as sent only at a time of its own."""
    if_version: int | None = None
    """The version that it was to be done at, and at no other; None: at any."""
    tool_call_ids: tuple[str, ...] = ()
    """What an `approve_tools` approves."""
    denied_ids: tuple[str, ...] = ()
    """What an `approve_tools` denies."""
    code: str | None = None
    """Last part of the problem type (`queue-full`), where it was refused; of an unknown one,
    what the client saw last (`TimeoutError`, `503`)."""
    action_id: str | None = None
    """`number_of` the answer's `action.id`: the same for every try that was answered."""
    version: int | None = None
    """`action.version`: of the context once this action was applied."""
    seen_version: int | None = None
    """`version` of the state that the answer holds; never less than `version`."""
    epoch: str | None = None
    """Of the answer's ETag or `context.cursor`."""
    tries: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """One successful poll of a context: 200 with the whole state, or 404/410."""

    client: str
    context_id: str
    called_s: float
    returned_s: float
    found: bool = True
    """False: 404 or 410; nothing below means anything then."""
    stale: bool = False
    """The answer said that it may be (`Contextd-Stale`): it shows some state that was, and does
    not promise which."""
    epoch: str = ""
    version: int = 0
    n: int = 0
    """Characters of the draft, as the cursor says."""
    messages: tuple[str, ...] = ()
    """Contents of the user messages, in order."""
    queued: tuple[str, ...] = ()
    """Contents of the messages that wait in the queue, in order: applied, too."""
    status: str = ""
    draft: str | None = None
    """Text of the reply that runs."""

    @property
    def said(self) -> tuple[str, ...]:
        """Every applied message, in the order of application."""
        return self.messages + self.queued

    @classmethod
    def of(
        cls,
        context: Json,
        *,
        client: str,
        called_s: float,
        returned_s: float,
        stale: bool = False,
    ) -> Self:
        """What a state view (`context` of an answer) says."""
        at = Cursor.parse(context["cursor"])
        return cls(
            client=client,
            context_id=context["id"],
            called_s=called_s,
            returned_s=returned_s,
            stale=stale,
            epoch=at.epoch,
            version=context["version"],
            n=at.n,
            messages=tuple(m["content"] for m in context["messages"] if m["role"] == "user"),
            queued=tuple(waiting["content"] for waiting in context["queue"]),
            status=context["status"],
            draft=context["draft"] and context["draft"]["text"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message of a context as it was at the end."""

    id: str
    role: str
    content: str
    status: str = "complete"


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """All committed events of a context, as the service shows them at the end."""

    context_id: str
    events: tuple[Json, ...]
    """By version."""
    after: int = 0
    """Version of the state that the log begins with; those before it are not in `events`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCall:
    """One request as the model's server has received it."""

    context_id: str
    effect_id: str
    """Both as the Idempotency-Key has them."""
    messages: Sequence[Json]
    """Chat messages, as they came."""
    at_s: float
    """When it came."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Final:
    """A context once all faults are over and it rests, read through the API."""

    context_id: str
    found: bool = True
    """False: it was deleted (404 or 410)."""
    epoch: str = ""
    version: int = 0
    status: str = ""
    messages: tuple[Message, ...] = ()
    """Of the active branch, all roles, in order."""
    queued: tuple[str, ...] = ()
    draft: str | None = None

    @property
    def said(self) -> tuple[str, ...]:
        """What users have said, in the order of application."""
        return tuple(m.content for m in self.messages if m.role == "user") + self.queued

    @classmethod
    def of(cls, context: Json) -> Self:
        """What a state view says."""
        return cls(
            context_id=context["id"],
            epoch=Cursor.parse(context["cursor"]).epoch,
            version=context["version"],
            status=context["status"],
            messages=tuple(
                Message(id=m["id"], role=m["role"], content=m["content"], status=m["status"])
                for m in context["messages"]
            ),
            queued=tuple(waiting["content"] for waiting in context["queue"]),
            draft=context["draft"] and context["draft"]["text"],
        )


@dataclass(frozen=True, slots=True)
class StreamFrame:
    """One server-sent event."""

    id: str
    """The cursor; empty where there was no `id:` field (`hello`, `bye`)."""
    event: str
    """`hello`, `snapshot`, `reset`, `reply-delta`, `bye`, or the kind of a committed event."""
    data: Json
    received_s: float
    connection: int
    """Which of the recording's connections, from 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """One connection of a stream that was answered with 200."""

    opened_s: float
    """When its request left."""
    last_event_id: str | None = None
    """What was sent to resume from; None: nothing."""
    closed_s: float | None = None
    """When it ended, whoever ended it; None: it was open at the end of the run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamRecording:
    """Everything that one subscriber of one context was shown, over all of its connections."""

    subscriber: str
    context_id: str
    frames: Sequence[StreamFrame]
    """In the order of arrival, comments and `retry` left out."""
    connections: Sequence[Connection]


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """Where the run itself took data from the store, or took away the certainty of having it.

    Only there may what was acknowledged be gone or a stream begin anew, and then only under
    an epoch that was not seen before.
    """

    at_s: tuple[float, ...] = ()
    """When the store was killed, cut off from its disk, truncated or emptied."""
    data_lost: bool = False
    """Whether acknowledged data may be gone: durability `standard` and a dead store. With
    `strict` a new epoch may come, and nothing is gone."""
    compacts: bool = False
    """Whether logs are compacted: a stream that is resumed from before begins anew."""
    window_s: float | None = None
    """What was acknowledged longer than this before a loss is there nevertheless; None: no
    bound is known."""

    def excuse(self, acked_s: float) -> bool:
        """Whether something acknowledged at this moment may be gone under a new epoch."""
        return self.data_lost and any(
            acked_s <= at_s and (self.window_s is None or at_s - acked_s <= self.window_s)
            for at_s in self.at_s
        )

    def unexplained(self, first_seen_s: Mapping[str, float]) -> tuple[str, ...]:
        """Epochs that no loss explains.

        Args:
            first_seen_s: All epochs of the run, with the moment each was first seen. The
                oldest needs no explanation; the k-th after it needs k losses before it.
        """
        epochs = sorted(first_seen_s, key=epoch_number)
        return tuple(
            epoch
            for k, epoch in enumerate(epochs)
            if sum(at_s <= first_seen_s[epoch] for at_s in self.at_s) < k
        )


NO_LOSSES = Losses()


def epoch_number(epoch: str) -> int:
    """Epochs are decimal numbers that only grow."""
    return int(epoch)


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was broken, as far as clients can tell."""

    check: str
    """Constant name of the check: `lost`, `stale-read`, `not-linearizable`, `gap`, ..."""
    context_id: str
    text: str
    """One sentence for a person."""
    evidence: Mapping[str, Json]
    """The records that show it, small, JSON-ready."""
