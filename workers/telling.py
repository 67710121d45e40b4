"""Which totals a step of the machine adds to, and what dashboards are told of it."""

from collections.abc import Iterator

from fsm import ApprovalGiven, CallStatus, ContextState, Event, Phase, TurnChange
from storage import (
    Announcer,
    AnyAnnouncement,
    ApprovalAnswered,
    ApprovalRequested,
    TurnEnded,
    TurnStarted,
)

_WAIT_FOR_A_PERSON = frozenset({CallStatus.PENDING, CallStatus.OUTCOME_UNKNOWN})


def tally(change: TurnChange) -> Iterator[str]:
    """Names of the totals that a step adds one to."""
    if change.ended is not None:
        yield f"turns:{change.ended}"
    if change.began:
        yield "turns:started"


def announced(
    announcer: Announcer,
    change: TurnChange,
    before: ContextState,
    event: Event,
    after: ContextState,
) -> Iterator[AnyAnnouncement]:
    """The announcements of a step, as far as the announcer has room."""
    if change.ended is not None and before.turn is not None and not announcer.leaves_out():
        yield TurnEnded(
            context_id=after.id,
            turn_id=before.turn.id,
            version=after.version,
            outcome=change.ended,
            duration_ms=max(0, after.updated_at_ms - before.turn.started_at_ms),
        )
    if change.began and after.turn is not None and not announcer.leaves_out():
        yield TurnStarted(context_id=after.id, turn_id=after.turn.id, version=after.version)
    if isinstance(event, ApprovalGiven):
        yield ApprovalAnswered(
            context_id=after.id,
            version=after.version,
            approved=len(event.tool_call_ids),
            denied=len(event.deny),
        )
    asks = after.phase is Phase.AWAITING_TOOL_APPROVAL
    if asks and before.phase is not after.phase and after.turn is not None:
        waiting = [c.name for c in after.turn.calls if c.status in _WAIT_FOR_A_PERSON]
        yield ApprovalRequested(
            context_id=after.id, version=after.version, tools=tuple(waiting)
        )
