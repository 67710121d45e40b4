"""Logs that go on elsewhere: what a copy begins with, and what brings it to rest.

The ids that a machine makes hang on the id of its context. A copied log keeps those that it
had, because its first event names where it came from, up to which version.
"""

from collections.abc import Sequence

from fsm.effects import MakeTitle
from fsm.events import (
    CancelRequested,
    ContextCreated,
    ContextDeleted,
    ContextRenamed,
    Event,
    QueueUpdated,
    TitleMade,
)
from fsm.machine import replay, transition
from fsm.refusals import Refusal, StaleAnswer
from fsm.state import ContextState, Origin


class BrokenLog(ValueError):
    """Some events are no log: the machine does not take them in this order."""


def copy_log(
    events: Sequence[Event],
    *,
    context_id: str,
    owner: str,
    at_ms: int,
    title: str | None = None,
    keeps_waiting: bool = True,
) -> tuple[Sequence[Event], ContextState]:
    """The log of a context that goes on where another one is, and the state it leads to.

    What the other was doing is not done twice: nothing is pending in the copy.

    Args:
        events: All of the other's log, up to where the copy is made.
        context_id: Of the copy.
        owner: Of the copy.
        at_ms: Now.
        title: Of the copy; None: the other's.
        keeps_waiting: Whether messages that wait come along; they do not where the copy
            would begin their turn.

    Raises:
        BrokenLog: The events are no log, or end with the deletion of the context.
    """
    if not events or not isinstance(first := events[0], ContextCreated):
        raise BrokenLog("event 1: a log begins with context-created")
    origin = Origin(context_id=first.context_id, version=len(events))
    begun = first.model_copy(
        update={
            "context_id": context_id,
            "owner": owner,
            "origins": (*first.origins, origin),
        }
    )
    copied: list[Event] = [begun, *events[1:]]
    state = replay([begun])
    for number, event in enumerate(events[1:], start=2):
        try:
            state = transition(state, event).state
        except (Refusal, StaleAnswer) as error:
            raise BrokenLog(f"event {number}: {error}") from None
        if state.version != number:
            raise BrokenLog(f"event {number}: it changes nothing")
        if isinstance(event, ContextDeleted):
            raise BrokenLog(f"event {number}: the context was deleted")
    settling = _settling(state, at_ms=at_ms, keeps_waiting=keeps_waiting)
    state = replay(settling, state)
    if title is not None and title != state.title:
        renamed = ContextRenamed(at_ms=at_ms, title=title)
        settling.append(renamed)
        state = transition(state, renamed).state
    return [*copied, *settling], state


def _settling(state: ContextState, *, at_ms: int, keeps_waiting: bool) -> list[Event]:
    """What brings a context to rest, as its owner could have done it."""
    events: list[Event] = []
    waiting = () if keeps_waiting else (*state.queue, *state.scheduled)
    if any(not isinstance(effect, MakeTitle) for effect in state.pending.values()):
        waiting = waiting or state.queue
        if waiting:
            events.append(QueueUpdated(at_ms=at_ms, remove=tuple(said.id for said in waiting)))
        events.append(CancelRequested(at_ms=at_ms))
    elif waiting:
        events.append(QueueUpdated(at_ms=at_ms, remove=tuple(said.id for said in waiting)))
    events += [
        TitleMade(at_ms=at_ms, effect_id=effect_id, title=state.title)
        for effect_id, effect in state.pending.items()
        if isinstance(effect, MakeTitle)
    ]
    return events
