"""Names by which webhooks select steps: the event's kind, and what became of the turn."""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from fsm.events import EVENT_TYPES, Event, ReplyEnded
from fsm.machine import rests
from fsm.state import ContextState, Phase

TURN_RESTED: Final = "turn-rested"

_REACHED: Final = {
    Phase.AWAITING_TOOL_APPROVAL: "approval-requested",
    Phase.AWAITING_ANSWER: "question-asked",
    Phase.FAILED: "turn-failed",
}
_KINDS: Final = {event: kind for kind, event in EVENT_TYPES.items()}

OCCASIONS: Final = frozenset({*EVENT_TYPES, *_REACHED.values(), TURN_RESTED})
"""Every name that `occasions` gives."""


def occasions(
    before: ContextState | None, event: Event, after: ContextState
) -> tuple[str, ...]:
    """The names of what a step was, the event's kind first.

    Args:
        before: The state that the event met; None: the event has opened the context.
        event: What has happened.
        after: The state since.
    """
    names = [_KINDS[type(event)]]
    if before is not None and before.phase is not after.phase and after.phase in _REACHED:
        names.append(_REACHED[after.phase])
    if before is not None and rests(after) and not rests(before):
        names.append(TURN_RESTED)
    return tuple(names)


TurnEnd: TypeAlias = Literal["completed", "cancelled", "failed"]


@dataclass(frozen=True, slots=True)
class TurnChange:
    """What a step did to the turn; one that is retried after it has failed begins again."""

    began: bool
    ended: TurnEnd | None


NO_CHANGE: Final = TurnChange(began=False, ended=None)


def turn_change(before: ContextState, event: Event, after: ContextState) -> TurnChange:
    """Whether a turn has ended in a step, and whether one has begun."""
    was, runs = _running(before), _running(after)
    if was == runs:
        return NO_CHANGE
    ended: TurnEnd | None = None
    if was is not None:
        if after.phase is Phase.FAILED:
            ended = "failed"
        else:
            ended = "completed" if isinstance(event, ReplyEnded) else "cancelled"
    return TurnChange(runs is not None, ended)


def _running(state: ContextState) -> str | None:
    """Id of the turn; None where none runs."""
    if state.turn is None or state.phase is Phase.FAILED:
        return None
    return state.turn.id
