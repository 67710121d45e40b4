"""The rules of a turn: how it begins, what it needs next, how it fails, what follows it.

Every rule gets the state with its version already advanced, and the event. `advance` is
the one place that decides what a running turn needs next.
"""

import itertools
from collections.abc import Sequence

from fsm.configuring import patched
from fsm.effects import AnyEffect, CallModel, PrepareRequest, RunTool
from fsm.events import RequestPrepared
from fsm.history import back_from, summarise_through
from fsm.state import (
    CallStatus,
    ContextState,
    Failure,
    Message,
    Phase,
    QueuedMessage,
    Turn,
    TurnCall,
    unchecked,
)
from fsm.steps import Step, answered, issue, running, stop_all, with_, with_turn
from fsm.tree import append, head

_new_message, _new_turn = unchecked(Message), unchecked(Turn)

POISON = "poison_action"
"""Failure code of an action or a tool that ends the workers that begin it."""
TITLE_CHARS_MAX = 50
"""Length of the title that is taken from the first message."""
SUMMARIES_MAX = 20
"""Summaries kept; each covers what the one before it on its line does, and more."""
OPEN = frozenset({CallStatus.PENDING, CallStatus.OUTCOME_UNKNOWN, CallStatus.ASKED})
"""Calls that wait for a person."""


# Beginning


def begin_turn(
    state: ContextState,
    said: Sequence[QueuedMessage],
    *,
    queue: tuple[QueuedMessage, ...],
    rollback_to: str | None,
    replaces: str | None = None,
) -> Step:
    """Append what the user has said and ask for the first reply.

    Args:
        state: Its active branch ends where the turn begins.
        said: One message, or several that share the turn.
        queue: The messages that go on waiting.
        rollback_to: Head that a rollback restores; None: the branch was empty.
        replaces: Id of the message that `said`, then one alone, stands for.
    """
    for message in said:
        if message.patch:
            state = with_(state, config=patched(state.config, message.patch))
        state = _append_said(state, message, replaces=replaces)
    state = with_(
        state,
        title=state.title or title_of(said[0].content),
        turn=_new_turn(
            id=said[0].id, started_at_ms=state.updated_at_ms, rollback_to=rollback_to
        ),
        queue=queue,
        failure=None,
    )
    return prepare(state)


def title_of(content: str) -> str:
    """The title that a conversation has until it gets another: how it begins."""
    return " ".join(content.split())[:TITLE_CHARS_MAX]


def _append_said(
    state: ContextState, said: QueuedMessage, *, replaces: str | None = None
) -> ContextState:
    message = _new_message(
        id=said.id,
        seq=len(state.messages) + 1,
        parent_id=head(state),
        role="user",
        content=said.content,
        parts=said.parts,
        created_at_ms=said.received_at_ms,
        client_message_id=said.client_message_id,
        metadata=said.metadata,
        replaces=replaces,
    )
    return append(state, message)


def prepare(state: ContextState) -> Step:
    """Ask the retrievers, and for a summary where the history is too long, or go on."""
    through = summarise_through(state)
    if not state.config.retrieval and through is None:
        return call_model(state, running(state).model_copy(update={"references": ()}))
    effect = PrepareRequest(
        effect_id=f"{state.version}.0",
        retrievers=state.config.retrieval,
        query=_asked(state),
        summarise_through=through,
    )
    return issue(with_(state, phase=Phase.PREPARING_REQUEST), effect)


def _asked(state: ContextState) -> str:
    """All that the user has said in the running turn."""
    said: list[str] = []
    for message in back_from(state, head(state)):
        if message.role == "user":
            said.append(message.content)
        if message.id == running(state).id:
            break
    return "\n".join(reversed(said))


def finish_preparation(state: ContextState, event: RequestPrepared) -> Step:
    """The retrievers have answered: ask the model."""
    state = with_turn(answered(state, event.effect_id), references=event.references)
    if event.summary is not None:
        summaries = (*state.summaries, event.summary)[-SUMMARIES_MAX:]
        state = with_(state, summaries=summaries)
    return call_model(state)


# Deciding


def advance(state: ContextState) -> Step:
    """What the running turn needs next: a person, its tools, the model, or to end."""
    if state.turn is None:
        return next_turn(state)
    state = _date_waiting(state, state.turn)
    turn = running(state)
    waiting = {call.status for call in turn.calls} & OPEN
    waits = bool(waiting)
    if waits and turn.waiting_since_ms is None:
        state = with_turn(state, waiting_since_ms=state.updated_at_ms)
    elif not waits and turn.waiting_since_ms is not None:
        waited_ms = turn.waited_ms + max(0, state.updated_at_ms - turn.waiting_since_ms)
        state = with_turn(state, waiting_since_ms=None, waited_ms=waited_ms)
    if not waits and state.updated_at_ms >= due_ms(state):
        return fail(halt(state), "turn_timeout", "The turn took longer than it may.")
    step = _start_approved(state)
    if waits:
        asks_only = waiting == {CallStatus.ASKED}
        phase = Phase.AWAITING_ANSWER if asks_only else Phase.AWAITING_TOOL_APPROVAL
        return Step(with_(step.state, phase=phase), step.effects)
    if any(call.status is CallStatus.APPROVED for call in turn.calls):
        return Step(with_(step.state, phase=Phase.EXECUTING_TOOLS), step.effects)
    if turn.references is None:
        return prepare(state)
    return call_model(_steered(state))


def _date_waiting(state: ContextState, turn: Turn) -> ContextState:
    """Give each call that waits for a person the time at which it expires."""
    if all(call.expires_ms or call.status not in OPEN for call in turn.calls):
        return state
    expires_ms = state.updated_at_ms + state.config.limits.approval_s_max * 1_000
    calls = tuple(
        call.model_copy(update={"expires_ms": expires_ms})
        if call.status in OPEN and call.expires_ms is None
        else call
        for call in turn.calls
    )
    return with_turn(state, calls=calls)


def _steered(state: ContextState) -> ContextState:
    """The running turn takes in what was said to steer it."""
    steering = [waiting for waiting in state.queue if waiting.policy == "steer"]
    if not steering:
        return state
    rest = tuple(waiting for waiting in state.queue if waiting.policy != "steer")
    state = with_(state, queue=rest)
    for said in steering:
        state = _append_said(state, said)
    return state


def _start_approved(state: ContextState) -> Step:
    turn = running(state)
    calls = list(turn.calls)
    effects: list[AnyEffect] = []
    for index, call in enumerate(turn.calls):
        if call.status is not CallStatus.APPROVED or call.effect_id is not None:
            continue
        effect = RunTool(
            effect_id=f"{state.version}.{index}",
            attempt=1,
            call_id=call.id,
            name=call.name,
            arguments=call.arguments,
            digest=call.digest,
            effect=call.effect,
            due_ms=due_ms(state),
        )
        effects.append(effect)
        calls[index] = call.model_copy(update={"effect_id": effect.effect_id})
    if not effects:
        return Step(state)
    return issue(with_turn(state, calls=tuple(calls)), *effects)


def due_ms(state: ContextState) -> int:
    """When the running turn's time is over, if nobody is waited for from now on."""
    turn = running(state)
    waited_ms = turn.waited_ms
    if turn.waiting_since_ms is not None:
        waited_ms += max(0, state.updated_at_ms - turn.waiting_since_ms)
    return turn.started_at_ms + state.config.limits.turn_s_max * 1_000 + waited_ms


def call_model(state: ContextState, turn: Turn | None = None) -> Step:
    """Ask the model for a reply to the active branch as it stands, `turn` being the turn."""
    turn = turn or running(state)
    effect = CallModel(
        effect_id=f"{state.version}.0",
        attempt=turn.attempt,
        with_tools=turn.rounds < state.config.limits.rounds_max,
        due_ms=due_ms(state),
    )
    if turn.calls:
        turn = turn.model_copy(update={"calls": ()})
    state = with_(
        state,
        phase=Phase.AWAITING_LLM_RESPONSE,
        turn=turn,
        failure=None,
        pending={**state.pending, effect.effect_id: effect},
    )
    return Step(state, (effect,))


def next_turn(state: ContextState) -> Step:
    """Begin the turn of the oldest waiting message, or of those that share one, or rest."""
    if state.queue:
        count = 1
        if state.queue[0].policy == "merge":
            together = itertools.takewhile(lambda said: said.policy == "merge", state.queue)
            count = len(tuple(together))
        said, rest = state.queue[:count], state.queue[count:]
        return begin_turn(state, said, queue=rest, rollback_to=head(state))
    return Step(with_(state, phase=Phase.IDLE, turn=None, failure=None))


# Failing


def fail(step: Step, code: str, detail: str, *, retryable: bool = True) -> Step:
    """The turn, if there is one, has failed; it stays, so that retry can go on with it."""
    state, attempts = step.state, 1
    if state.turn is not None:
        attempts = state.turn.attempt
        state = with_turn(state, reply_id=None, waiting_since_ms=None)
    failure = Failure(code=code, detail=detail, retryable=retryable, attempts=attempts)
    return Step(with_(state, phase=Phase.FAILED, failure=failure), step.effects)


def halt(state: ContextState) -> Step:
    """Stop everything, in such a way that `retry` can go on.

    Tool calls that were running are put back: to be run again, or, if declared `once`, to be
    decided by a person.
    """
    stopped = stop_all(state)
    if state.turn is None:
        return stopped
    calls = tuple(
        call if call.effect_id not in state.pending else put_back(call)
        for call in state.turn.calls
    )
    return Step(with_turn(stopped.state, calls=calls), stopped.effects)


def put_back(call: TurnCall) -> TurnCall:
    """A call whose run has come to nothing."""
    if call.effect != "once":
        return call.model_copy(update={"effect_id": None})
    return call.model_copy(
        update={
            "status": CallStatus.OUTCOME_UNKNOWN,
            "approved_digest": None,
            "approved_by": None,
            "approved_at_ms": None,
        }
    )
