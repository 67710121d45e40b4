"""The rules of messages: when each is taken up, and what may be done while it waits."""

from collections.abc import Sequence

from fsm.configuring import check_patch
from fsm.events import ContextDeleted, MessageReceived, QueueUpdated, TimePassed
from fsm.replies import append_reply
from fsm.state import ContextState, Phase, QueuedMessage, unchecked
from fsm.steps import Inapplicable, Step, Unchanged, stop_all, with_
from fsm.tools import expire_calls
from fsm.tree import derive_id, move_head
from fsm.turns import next_turn

_new_queued = unchecked(QueuedMessage)


def send_message(state: ContextState, event: MessageReceived) -> Step:
    """Take a message while no turn runs, and begin the turn of the one that waited longest.

    A turn that has failed is given up by that.
    """
    said = _queued(state, event)
    if is_early(event):
        return _schedule(state, said)
    queue = state.queue
    if said.policy == "rollback" and state.turn is not None:
        state = move_head(state, state.turn.rollback_to)
    if said.policy in CUTTING_IN:
        queue = (said, *queue)
    elif said.policy == "latest":
        queue = (said,)
    else:
        queue = (*queue, said)
    return next_turn(with_(state, queue=queue))


CUTTING_IN = frozenset({"interrupt", "rollback"})
"""Policies that end the running turn."""


def receive_message(state: ContextState, event: MessageReceived) -> Step:
    """During a turn a message does as its policy says; most wait in the visible queue."""
    said = _queued(state, event)
    if is_early(event):
        return _schedule(state, said)
    if said.policy == "reject":
        raise Inapplicable("turn-running", f"A turn is {state.phase.value}; nothing was said.")
    if said.policy in CUTTING_IN:
        return _cut_in(state, said, event)
    if said.policy == "latest":
        state = with_(state, queue=())
    _check_room(state)
    return Step(with_(state, queue=(*state.queue, said)))


def _queued(state: ContextState, event: MessageReceived) -> QueuedMessage:
    policy = event.policy or state.config.send_policy
    if event.patch:
        check_patch(state.config, event.patch)
    return _new_queued(
        # The reply that it interrupts may be appended by the same event.
        id=derive_id(state, 1 if policy in CUTTING_IN else 0),
        content=event.content,
        parts=event.parts,
        policy=policy,
        client_message_id=event.client_message_id,
        metadata=event.metadata,
        received_at_ms=event.at_ms,
        not_before_ms=event.not_before_ms,
        patch=event.patch,
    )


def is_early(event: MessageReceived) -> bool:
    """Whether the message counts as sent only later."""
    return event.not_before_ms is not None and event.not_before_ms > event.at_ms


def _schedule(state: ContextState, said: QueuedMessage) -> Step:
    _check_room(state)
    return Step(with_(state, scheduled=(*state.scheduled, said)))


def _check_room(state: ContextState) -> None:
    most = state.config.limits.queue_max
    if len(state.queue) + len(state.scheduled) >= most:
        raise Inapplicable("queue-full", f"{most} messages wait already.")


def _cut_in(state: ContextState, said: QueuedMessage, event: MessageReceived) -> Step:
    """End the running turn; the message is next. A paused context stays paused."""
    paused = state.phase is Phase.PAUSED
    if paused:
        _check_room(state)
    if state.turn is not None:
        if said.policy == "rollback":
            state = move_head(state, state.turn.rollback_to)
        elif event.partial:
            state = append_reply(
                state, event.partial, status="cancelled", finish_reason="cancelled"
            )
    stopped = stop_all(state)
    state = with_(stopped.state, turn=None, queue=(said, *state.queue))
    step = Step(state) if paused else next_turn(state)
    return Step(step.state, stopped.effects + step.effects)


def update_queue(state: ContextState, event: QueueUpdated) -> Step:
    """Edit, remove and move what waits; messages whose turn has begun are out of reach."""
    named = {*event.remove, *event.edit, *event.move}
    later = {said.id for said in state.scheduled}
    if gone := sorted(named - later - {said.id for said in state.queue}):
        raise Inapplicable("not-waiting", f"Not in the queue: {', '.join(gone)}.")
    if timed := sorted(event.move.keys() & later):
        detail = f"It waits for its time and has no place in line: {', '.join(timed)}."
        raise Inapplicable("not-waiting", detail)
    queue = [_edited(said, event) for said in state.queue if said.id not in event.remove]
    for message_id, place in event.move.items():
        if (said := next((s for s in queue if s.id == message_id), None)) is not None:
            queue.remove(said)
            queue.insert(place, said)
    scheduled = tuple(
        _edited(said, event) for said in state.scheduled if said.id not in event.remove
    )
    if tuple(queue) == state.queue and scheduled == state.scheduled:
        raise Unchanged
    return Step(with_(state, queue=tuple(queue), scheduled=scheduled))


def _edited(said: QueuedMessage, event: QueueUpdated) -> QueuedMessage:
    if said.id not in event.edit:
        return said
    return said.model_copy(update={"content": event.edit[said.id], "parts": ()})


# Time


def wakes_at_ms(state: ContextState) -> int | None:
    """When something is due (`event_due`); None: nothing waits for a time."""
    waits = state.turn is not None and state.phase in _EXPIRING
    if not (waits or state.scheduled or state.expires_ms is not None):
        return None  # as most of the time, and it is asked at every step
    times = [said.not_before_ms for said in state.scheduled]
    if not state.pinned:
        times.append(state.expires_ms)
    if state.turn is not None and waits:
        times += [call.expires_ms for call in state.turn.calls]
    return min((time for time in times if time is not None), default=None)


def event_due(state: ContextState, at_ms: int) -> TimePassed | ContextDeleted:
    """The event to apply at the time that `wakes_at_ms` gave."""
    expires_ms = None if state.pinned else state.expires_ms
    if expires_ms is not None and expires_ms <= at_ms:
        return ContextDeleted(at_ms=at_ms)
    return TimePassed(at_ms=at_ms)


def first_due(state: ContextState, at_ms: int) -> QueuedMessage | None:
    """The message for later whose time has come first; None: no message's has."""
    due = (said for said in state.scheduled if (said.not_before_ms or 0) <= at_ms)
    return min(due, key=lambda said: said.not_before_ms or 0, default=None)


_EXPIRING = frozenset({Phase.AWAITING_TOOL_APPROVAL, Phase.AWAITING_ANSWER})
_AT_REST = frozenset({Phase.IDLE, Phase.FAILED})


def pass_time(state: ContextState, event: TimePassed) -> Step:
    """Expire tool calls that waited too long for a person, and take up scheduled messages."""
    step = Step(state)
    if state.phase in _EXPIRING:
        step = expire_calls(state, event.at_ms)
    due = [said for said in state.scheduled if (said.not_before_ms or 0) <= event.at_ms]
    if due:
        begun = _take_up(step.state, due)
        step = Step(begun.state, step.effects + begun.effects)
    if step.state is state:
        raise Unchanged
    return step


def _take_up(state: ContextState, due: Sequence[QueuedMessage]) -> Step:
    """Messages that are due wait for the turn's end, like any other, in the order of times."""
    queue = state.queue
    for said in sorted(due, key=lambda said: said.not_before_ms or 0):
        queue = (said,) if said.policy == "latest" else (*queue, said)
    later = tuple(said for said in state.scheduled if said not in due)
    state = with_(state, scheduled=later, queue=queue)
    return next_turn(state) if state.phase in _AT_REST else Step(state)
