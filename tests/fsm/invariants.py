"""What is true of every state that any history leads to."""

from collections import Counter
from collections.abc import Mapping
from typing import Final

from fsm import (
    TRANSITIONS,
    CallStatus,
    ContextState,
    Phase,
    RunTool,
    Turn,
    allowed_actions,
    call_digest,
    message_tokens,
    rests,
)

MODEL: Final = Counter({"call-model": 1})
PENDING_KINDS: Final[Mapping[Phase, Counter[str] | None]] = {
    Phase.IDLE: Counter(),
    Phase.PREPARING_REQUEST: Counter({"prepare-request": 1}),
    Phase.AWAITING_LLM_RESPONSE: MODEL,
    Phase.STREAMING_LLM_RESPONSE: MODEL,
    Phase.AWAITING_TOOL_APPROVAL: None,
    Phase.AWAITING_ANSWER: None,
    Phase.EXECUTING_TOOLS: None,
    Phase.TRANSIENT_FAILURE: Counter({"await-retry": 1}),
    Phase.FAILED: Counter(),
    Phase.PAUSED: None,
    Phase.DELETED: Counter(),
}
"""What is pending in each phase, besides a title; None: only tools, as many as run."""

WAITING: Final = frozenset({CallStatus.PENDING, CallStatus.OUTCOME_UNKNOWN, CallStatus.ASKED})


def check(state: ContextState) -> None:
    """Hold one state to all invariants."""
    check_tree(state)
    check_pending(state)
    check_calls(state)
    check_phase(state)
    written = state.model_dump_json()
    again = ContextState.model_validate_json(written)
    assert again == state
    assert again.model_dump_json() == written


def check_tree(state: ContextState) -> None:
    """The tree grows at its branches' heads, and ids are never used twice."""
    assert [message.seq for message in state.messages] == [*range(1, len(state.messages) + 1)]
    older: set[str] = set()
    for message in state.messages:
        assert message.id not in older
        assert message.parent_id is None or message.parent_id in older
        older.add(message.id)
    assert state.tokens == sum(message_tokens(message) for message in state.messages)
    waiting = {said.id for said in (*state.queue, *state.scheduled)}
    assert older.isdisjoint(waiting)
    assert len(state.queue) + len(state.scheduled) <= state.config.limits.queue_max + 1
    for branch in state.branches.values():
        assert branch.head is None or branch.head in older
    assert state.active_branch in state.branches
    assert {m.replaces for m in state.messages} <= {None, *older}
    assert {m.copy_of for m in state.messages} <= {None, *older}
    own = [message for message in state.messages if message.copy_of is None]
    asked = [call.id for message in own for call in message.tool_calls]
    assert len(set(asked)) == len(asked)
    told = [message.tool_call_id for message in own if message.role == "tool"]
    assert len(set(told)) == len(told)
    assert set(told) <= set(asked)


def check_pending(state: ContextState) -> None:
    """What is pending is what the phase is about."""
    kinds = Counter(effect.kind for effect in state.pending.values())
    assert kinds.pop("make-title", 0) <= (state.phase is not Phase.DELETED)
    expected = PENDING_KINDS[state.phase]
    if expected is None:
        assert set(kinds) <= {"run-tool"}
        assert kinds or state.phase is not Phase.EXECUTING_TOOLS
    else:
        assert kinds == expected
    for effect_id, effect in state.pending.items():
        assert effect.effect_id == effect_id
        assert int(effect_id.split(".")[0]) <= state.version
    if rests(state):
        assert not kinds


def check_calls(state: ContextState) -> None:
    """A tool runs only if exactly that call was approved; nothing approved is forgotten."""
    calls = state.turn.calls if state.turn else ()
    assert len({call.id for call in calls}) == len(calls)
    for call in calls:
        assert call.digest == call_digest(call.name, call.arguments)
        assert call.approved_digest in {None, call.digest}
    runs = [effect for effect in state.pending.values() if isinstance(effect, RunTool)]
    running = {call.effect_id: call for call in calls if call.status is CallStatus.APPROVED}
    if state.phase is not Phase.FAILED:
        assert set(running) == {effect.effect_id for effect in runs}
    for effect in runs:
        call = running[effect.effect_id]
        assert call.approved_digest == call.digest == effect.digest
        assert effect.digest == call_digest(effect.name, effect.arguments)
        assert (effect.call_id, effect.name, effect.arguments, effect.effect) == (
            call.id,
            call.name,
            call.arguments,
            call.effect,
        )


def check_phase(state: ContextState) -> None:
    """The parts of the state agree on the phase, and something leads on from it."""
    phase, turn = state.phase, state.turn
    if phase in {Phase.IDLE, Phase.DELETED}:
        assert turn is None
        assert state.queue == ()
    elif phase not in {Phase.PAUSED, Phase.FAILED}:
        assert turn is not None
    streaming = phase is Phase.STREAMING_LLM_RESPONSE
    assert streaming == bool(turn and turn.reply_id)
    failing = {Phase.TRANSIENT_FAILURE, Phase.FAILED}
    assert (state.failure is not None) == (phase in failing)
    if turn is not None:
        check_turn(state, turn)
    leads_on = any(rule.to - {phase} for rule in TRANSITIONS[phase].values())
    assert leads_on == (phase is not Phase.DELETED)
    assert phase is Phase.DELETED or allowed_actions(state)


def check_turn(state: ContextState, turn: Turn) -> None:
    """A turn belongs to a message of the user, and waits exactly where it says so.

    One of `request_turn` may belong to another's; the histories that come here ask as users do.
    """
    begun = next(message for message in state.messages if message.id == turn.id)
    assert begun.role == "user"
    limits = state.config.limits
    assert 1 <= turn.attempt <= limits.attempts_max
    assert turn.rounds <= limits.rounds_max
    waiting = {call.status for call in turn.calls} & WAITING
    approval, answer = Phase.AWAITING_TOOL_APPROVAL, Phase.AWAITING_ANSWER
    if state.phase not in {Phase.PAUSED, Phase.FAILED}:
        assert (waiting == {CallStatus.ASKED}) == (state.phase is answer)
        assert bool(waiting - {CallStatus.ASKED}) == (state.phase is approval)
    if state.phase in {approval, answer}:
        assert all(call.expires_ms for call in turn.calls if call.status in WAITING)
    assert not any(call.expires_ms for call in turn.calls if call.status not in WAITING)
    waited_for = {Phase.PAUSED, approval, answer}
    assert (turn.waiting_since_ms is not None) == (state.phase in waited_for)
