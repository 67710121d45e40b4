"""What a new owner does about effects that the one before it left pending.

It is unknown how far they had come. What costs nothing is performed again as it is; a
model call and a tool run become events, because they count as attempts, readers have to
hear that a reply begins anew, and a person has to decide about a tool declared `once`.
"""

from typing import NamedTuple

from fsm.effects import (
    AnyEffect,
    AwaitRetry,
    CallModel,
    MakeTitle,
    PrepareRequest,
    RunTool,
    StopEffect,
)
from fsm.events import Answer, ReplyRestarted, ToolRestarted
from fsm.state import ContextState


class Takeover(NamedTuple):
    """What to do first in a new activation."""

    events: tuple[Answer, ...]
    effects: tuple[AnyEffect, ...]


def take_over(state: ContextState, *, at_ms: int, partial: str) -> Takeover:
    """Decide about every pending effect.

    Args:
        state: As the log has it.
        at_ms: Now.
        partial: Text of the reply that was being streamed.
    """
    events: list[Answer] = []
    effects: list[AnyEffect] = []
    for effect_id, effect in state.pending.items():
        match effect:
            case CallModel():
                lost = ReplyRestarted(
                    at_ms=at_ms,
                    effect_id=effect_id,
                    partial=partial,
                    message_id=state.turn.reply_id if state.turn else None,
                )
                events.append(lost)
            case RunTool():
                events.append(ToolRestarted(at_ms=at_ms, effect_id=effect_id))
            case PrepareRequest() | AwaitRetry() | MakeTitle():
                effects.append(effect)
            case StopEffect():
                raise AssertionError("stop-effect is never pending")
    return Takeover(tuple(events), tuple(effects))
