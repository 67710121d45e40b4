"""What a step may be told the world as: its event's kind, and what became of the turn."""

from typing import Final

from fsm.events import EVENT_TYPES, Event
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
