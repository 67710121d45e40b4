"""The rules by which a person, or a worker's death, stops a turn, and has it go on."""

from fsm.effects import StopEffect
from fsm.events import Action, CancelRequested, PauseRequested, WorkAbandoned
from fsm.replies import append_reply
from fsm.state import CallStatus, ContextState, Phase
from fsm.steps import Inapplicable, Step, running, stop_all, with_, with_turn
from fsm.tree import head, move_head
from fsm.turns import OPEN, POISON, advance, call_model, fail, halt, next_turn, prepare


def cancel_turn(state: ContextState, event: CancelRequested) -> Step:
    """Stop everything, keep the partial reply as `cancelled`, go on with the queue."""
    turn = state.turn
    if turn is None or (event.turn_id is not None and event.turn_id != turn.id):
        running_id = turn.id if turn else "none"
        raise Inapplicable("unknown-turn", f"The running turn is {running_id}.")
    if event.partial:
        state = append_reply(
            state, event.partial, status="cancelled", finish_reason="cancelled"
        )
    stopped = stop_all(state)
    paused = state.phase is Phase.PAUSED
    step = Step(with_(stopped.state, turn=None)) if paused else next_turn(stopped.state)
    return Step(step.state, stopped.effects + step.effects)


def reset(state: ContextState, _event: Action) -> Step:
    """Give the turn up and go on with the queue."""
    stopped = stop_all(state)
    step = next_turn(stopped.state)
    return Step(step.state, stopped.effects + step.effects)


def pause(state: ContextState, _event: PauseRequested) -> Step:
    """Stop the model; running tools are left to end, since what they did cannot be undone."""
    stopped = stop_all(state, keep_tools=True)
    state = stopped.state
    if state.turn is not None:
        since_ms = state.turn.waiting_since_ms
        if since_ms is None:
            since_ms = state.updated_at_ms
        state = with_turn(state, reply_id=None, waiting_since_ms=since_ms)
    return Step(with_(state, phase=Phase.PAUSED, failure=None), stopped.effects)


def resume(state: ContextState, _event: Action) -> Step:
    """Go on with the turn, or with the queue."""
    return advance(state)


def retry(state: ContextState, _event: Action) -> Step:
    """Make the failed model call again, now, with all its attempts and time.

    Where no turn was running when the context failed, there is none to try again.
    """
    if state.turn is None:
        return next_turn(state)
    began_ms = state.turn.started_at_ms
    stopped = stop_all(with_(state, failure=None))
    state = with_turn(stopped.state, attempt=1, started_at_ms=state.updated_at_ms, waited_ms=0)
    last = next((m for m in reversed(state.messages) if m.id == head(state)), None)
    # What was there before the turn stays, what it was asked with, and results of tools, which
    # can be `failed` too: the model has to see those.
    if (
        last is not None
        and last.id != running(state).id
        and last.created_at_ms >= began_ms
        and last.role == "assistant"
        and last.status != "complete"
    ):
        state = move_head(state, last.parent_id)
    if any(call.status in _TO_DO for call in running(state).calls):
        return advance(state)
    # A turn whose time was over before the retrievers answered has no references yet.
    step = prepare(state) if running(state).references is None else call_model(state)
    return Step(step.state, stopped.effects + step.effects)


_TO_DO = OPEN | {CallStatus.APPROVED}
"""Calls that wait for a person, or to be run; none runs when a turn has failed."""


def abandon(state: ContextState, event: WorkAbandoned) -> Step:
    """Whatever was under way ends workers: stop all of it, keep what had arrived."""
    if event.partial and state.turn is not None and state.turn.reply_id is not None:
        state = append_reply(
            state, event.partial, status="interrupted", finish_reason="interrupted"
        )
    what = event.action or "what the context was doing"
    detail = f"Given up: {what} has ended {event.deaths} workers in a row. {event.cause}"
    halted = halt(state)
    # What concerns no turn may be what ends them.
    rest = tuple(StopEffect(effect_id=key) for key in halted.state.pending)
    stopped = Step(with_(halted.state, pending={}), halted.effects + rest)
    return fail(stopped, POISON, detail)
