"""What the harness asks of a load process, and what it gets back, as JSON over pipes.

All times are `perf_counter` readings: on Linux one monotonic clock for every process of
the machine, so a stamp of the mock can be subtracted from an arrival at the client.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class Value(BaseModel):
    """Base of everything that crosses a pipe."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Target(Value):
    """The server under load: contextd, or the floor that speaks the same paths."""

    port: int
    host: str = "127.0.0.1"
    token: str | None = None
    """Sent as bearer token where the server made a first-run key."""


class Load(Value):
    """Base of all loads."""

    target: Target
    watched: Mapping[str, tuple[int, ...]] = {}
    """Process ids by role, whose CPU seconds are read around the measured part."""
    run_s_max: float = 120.0
    """A load that takes longer is cut off, and that is an error."""


class Endpoint(Load):
    """GET one path as fast as `connections` allow."""

    kind: Literal["endpoint"] = "endpoint"
    path: str
    connections: int = 64
    run_s: float


class Direct(Load):
    """Model calls made straight at the mock (`target` is the mock)."""

    kind: Literal["direct"] = "direct"
    model: str = "zero"
    connections: int
    run_s: float


class DirectStreams(Load):
    """Many streamed model calls at once, straight at the mock (`target` is the mock)."""

    kind: Literal["direct-streams"] = "direct-streams"
    model: str
    streams: int
    ideal_s: float


class Turns(Load):
    """Send, wait for the reply, send again; `lanes` contexts at a time."""

    kind: Literal["turns"] = "turns"
    lanes: int
    turns: int
    """Turns in all, after the warm-up."""
    turns_per_context: int = 50
    warmup_turns: int = 200
    run_s: float
    """The measured part ends here even where fewer turns were done."""
    model: str = "zero"


class Sends(Load):
    """Send and take the time until the action is applied; streams tell when a turn rests."""

    kind: Literal["sends"] = "sends"
    contexts: int
    run_s: float
    sends_per_s: float | None
    """Over all contexts, evenly spread; None: each context as soon as its turn rests."""


class FirstToken(Load):
    """One turn through the server and one call straight at the mock, in turn."""

    kind: Literal["first-token"] = "first-token"
    mock: Target
    pairs: int
    model: str = "prompt-3-5"
    turns_per_context: int = 25


class Streams(Load):
    """Many contexts streaming at once, one viewer each."""

    kind: Literal["streams"] = "streams"
    contexts: int
    chunks: int
    gap_ms: int
    start_s: float
    """The sends are spread over this time; 0 is one burst."""


class Polls(Load):
    """GET the state of contexts with history."""

    kind: Literal["polls"] = "polls"
    contexts: int = 20
    messages: int = 50
    connections: int = 64
    conditional: bool
    run_s: float


class Viewers(Load):
    """Many viewers of one streamed reply."""

    kind: Literal["viewers"] = "viewers"
    viewers: int
    chunks: int
    gap_ms: int


class Dashboards(Load):
    """Many dashboards, while turns are begun at a steady rate."""

    kind: Literal["dashboards"] = "dashboards"
    dashboards: int
    contexts: int = 8
    sends_per_s: float
    run_s: float


class Idle(Load):
    """Make contexts of two messages and leave them alone."""

    kind: Literal["idle"] = "idle"
    contexts: int
    lanes: int = 32


AnyLoad = Annotated[
    Endpoint
    | Direct
    | DirectStreams
    | Turns
    | Sends
    | FirstToken
    | Streams
    | Polls
    | Viewers
    | Dashboards
    | Idle,
    Field(discriminator="kind"),
]


class MockCounts(Value):
    """What the mock did since it was last asked."""

    calls: int
    chunks: int
    late_ms_max: float


class Spread(Value):
    """Exact percentiles (nearest rank) of a sorted list, in milliseconds."""

    count: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float

    @classmethod
    def of(cls, samples_s: Sequence[float]) -> "Spread":
        """Percentiles of samples in seconds, exact: all samples are sorted."""
        ordered = sorted(samples_s)
        if not ordered:
            return cls(count=0, p50_ms=0.0, p95_ms=0.0, p99_ms=0.0, max_ms=0.0)

        def rank(share: float) -> float:
            index = max(0, -int(-share * len(ordered) // 1) - 1)
            return round(ordered[index] * 1000, 3)

        return cls(
            count=len(ordered),
            p50_ms=rank(0.50),
            p95_ms=rank(0.95),
            p99_ms=rank(0.99),
            max_ms=round(ordered[-1] * 1000, 3),
        )


class Outcome(Value):
    """What a load process measured."""

    done: int
    """Requests, turns or streams that ended as they should."""
    expected: int | None = None
    """How many should have ended, where that is a number known before."""
    errors: Mapping[str, int] = {}
    seconds: float
    """Length of the measured part."""
    spreads: Mapping[str, Spread] = {}
    numbers: Mapping[str, float] = {}
    cpu_s: Mapping[str, float] = {}
    """CPU seconds of the measured part by role; `client` is the load process itself,
    `others` whatever else the machine did meanwhile."""

    @property
    def per_s(self) -> float:
        """Done per second."""
        return self.done / self.seconds if self.seconds > 0 else 0.0
