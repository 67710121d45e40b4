"""What operators may send."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from gateway.bodies import Body, Flag, Whole
from gateway.parameters import ID_PATTERN, WHOLE_MAX
from storage import LetterKind

KEEP_EVENTS = 100
"""Events that a compacted log keeps by default, for streams that resume."""

Process = Annotated[str, Field(min_length=1, max_length=255)]


class DrainOrder(Body):
    """End processes, and have nothing take their place until the next restart."""

    scope: Literal["gateways", "workers"]
    process: Process | None = None
    """Only this one: the id of a worker, or `<host>:<process id>`."""
    force: Flag = False
    """Also where no worker is left, and kill instead of draining."""

    @model_validator(mode="after")
    def _one_gateway_at_a_time(self) -> Self:
        if self.scope == "gateways" and self.process is None:
            raise ValueError("name the process: gateways are drained one at a time")
        return self


class CompactOrder(Body):
    """Have the state take the place of most of a log."""

    keep_events: Annotated[Whole, Field(ge=1, le=WHOLE_MAX)] = KEEP_EVENTS
    """The newest ones, which streams can still resume from."""


class LettersOrder(Body):
    """Which dead letters, the oldest first; all of them only if that is said."""

    context_id: Annotated[str, Field(pattern=f"^{ID_PATTERN}$")] | None = None
    kind: LetterKind | None = None
    cause: Annotated[str, Field(min_length=1, max_length=1_000)] | None = None
    """A part of what the cause says."""
    everything: Flag = False
    limit: Annotated[Whole, Field(ge=1, le=WHOLE_MAX)] | None = None
    """How many at most, up to the server's `list_max`."""

    @model_validator(mode="after")
    def _says_which(self) -> Self:
        says_which = any((self.context_id, self.kind, self.cause))
        if says_which == self.everything:
            raise ValueError("say which by context_id, kind or cause, or send everything: true")
        return self
