"""The rules of the model's reply: how it begins, ends, fails and is asked for again."""

from collections.abc import Sequence
from itertools import count
from typing import Literal

from fsm.effects import AwaitRetry, CallModel
from fsm.events import (
    ReplyEnded,
    ReplyFailed,
    ReplyRestarted,
    ReplyStarted,
    RequestedCall,
    RetryDue,
)
from fsm.state import ContextState, Failure, Message, Phase, ToolCall, unchecked
from fsm.steps import Step, answered, issue, running, with_, with_turn
from fsm.tools import admit
from fsm.tree import append, derive_id, head
from fsm.turns import call_model, fail, next_turn

_new_message = unchecked(Message)

EXHAUSTED = "attempts_exhausted"
"""Failure code of a model call whose workers have all died."""


def start_reply(state: ContextState, event: ReplyStarted) -> Step:
    """The first token has arrived: from here on there is a draft."""
    assert event.effect_id in state.pending
    turn = running(state).model_copy(update={"reply_id": event.message_id})
    return Step(with_(state, phase=Phase.STREAMING_LLM_RESPONSE, turn=turn))


def append_reply(
    state: ContextState,
    text: str,
    *,
    status: Literal["complete", "cancelled", "interrupted", "failed"],
    finish_reason: str,
    calls: Sequence[RequestedCall] = (),
    reply: ReplyEnded | None = None,
) -> ContextState:
    """Append the assistant's message; its id is the one that the draft had."""
    message = _new_message(
        id=reply.message_id if reply else running(state).reply_id or derive_id(state),
        seq=len(state.messages) + 1,
        parent_id=head(state),
        role="assistant",
        content=text,
        tool_calls=tuple(
            ToolCall(id=call.id, name=call.name, arguments=call.arguments) for call in calls
        ),
        created_at_ms=state.updated_at_ms,
        status=status,
        finish_reason=finish_reason,
        model=reply.model if reply else state.config.model,
        usage=reply.usage if reply else None,
        metadata=reply.metadata if reply else {},
        replaces=running(state).replaces,
    )
    if message.replaces is not None:
        state = with_turn(state, replaces=None)
    return append(state, message)


def end_reply(state: ContextState, event: ReplyEnded) -> Step:
    """The reply is whole: append it; without tool calls the turn is over."""
    effect = state.pending[event.effect_id]
    offered = effect.kind == "call-model" and effect.with_tools
    calls = _distinct(state, event) if offered and event.tool_calls else ()
    state = append_reply(
        answered(state, event.effect_id),
        event.text,
        status="complete",
        finish_reason=event.finish_reason,
        calls=calls,
        reply=event,
    )
    if event.usage is not None:
        state = with_(state, usage=state.usage + event.usage)
    if not calls:
        return next_turn(state)
    return admit(with_turn(state, attempt=1, reply_id=None), calls)


def _distinct(state: ContextState, event: ReplyEnded) -> tuple[RequestedCall, ...]:
    """The calls, each with an id that no other call of the context has.

    Some servers send none, or one twice, or count from `call_0` in every reply: then a late
    approval of an old call would be one of the new.
    """
    seen = {call.id for message in state.messages for call in message.tool_calls}
    calls: list[RequestedCall] = []
    for index, call in enumerate(event.tool_calls):
        call_id = call.id
        if not call_id or call_id in seen:
            own = (f"{event.effect_id}.{number}" for number in count(index))
            call_id = next(number for number in own if number not in seen)
        seen.add(call_id)
        calls.append(call.model_copy(update={"id": call_id}))
    return tuple(calls)


def fail_reply(state: ContextState, event: ReplyFailed) -> Step:
    """Wait and try again where that may help, else fail the turn, keeping its partial text."""
    turn, limits = running(state), state.config.limits
    state = answered(state, event.effect_id)
    if not event.retryable or turn.attempt >= limits.attempts_max:
        if event.partial:
            state = append_reply(state, event.partial, status="failed", finish_reason="error")
        return fail(Step(state), event.code, event.detail, retryable=event.retryable)
    window_ms = min(limits.backoff_ms_max, limits.backoff_ms_base << (turn.attempt - 1))
    wait_ms = int(window_ms * (0.5 + event.jitter / 2))
    wait_ms = max(wait_ms, event.retry_after_ms or 0)
    at_ms = state.updated_at_ms + wait_ms
    failure = Failure(
        code=event.code,
        detail=event.detail,
        retryable=True,
        attempts=turn.attempt,
        due_ms=at_ms,
    )
    state = with_turn(state, attempt=turn.attempt + 1, reply_id=None)
    effect = AwaitRetry(effect_id=f"{state.version}.0", due_ms=at_ms, wait_ms=wait_ms)
    return issue(with_(state, phase=Phase.TRANSIENT_FAILURE, failure=failure), effect)


def end_backoff(state: ContextState, event: RetryDue) -> Step:
    """The back-off is over: make the next attempt."""
    return call_model(answered(state, event.effect_id))


def restart_reply(state: ContextState, event: ReplyRestarted) -> Step:
    """The worker that called the model is gone: ask again under the same effect id."""
    turn = running(state)
    effect = state.pending[event.effect_id]
    assert isinstance(effect, CallModel)
    if event.partial and state.config.on_takeover == "keep":
        state = append_reply(
            answered(state, event.effect_id),
            event.partial,
            status="interrupted",
            finish_reason="interrupted",
        )
        return next_turn(state)
    if turn.attempt >= state.config.limits.attempts_max:
        state = answered(state, event.effect_id)
        if event.partial:
            state = append_reply(
                state, event.partial, status="interrupted", finish_reason="interrupted"
            )
        detail = f"The model was asked {turn.attempt} times and nobody lived to hear it."
        return fail(Step(state), EXHAUSTED, detail)
    state = with_turn(state, attempt=turn.attempt + 1, reply_id=None)
    again = effect.model_copy(update={"attempt": turn.attempt + 1})
    return issue(with_(state, phase=Phase.AWAITING_LLM_RESPONSE), again)
