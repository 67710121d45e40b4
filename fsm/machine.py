"""The transition table and the one function that applies it.

Rule 1: everything that decides a transition lives in `fsm/`.
Rule 2: a (phase, event) pair that is not in the table is refused, never ignored.
Rule 3: an answer whose effect is no longer pending is stale, whatever the phase.
Rule 4: a transition that changes the state makes its version one higher; one that does
not change it (the same approval twice) leaves it the same object.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fsm.branches import (
    create_branch,
    edit_message,
    merge_branch,
    regenerate,
    switch_branch,
)
from fsm.context import (
    configure,
    delete,
    open_context,
    pin,
    record,
    rename,
    request_title,
    request_turn,
    take_title,
)
from fsm.effects import AwaitRetry, CallModel, Effect, MakeTitle, PrepareRequest, RunTool
from fsm.events import (
    Action,
    Answer,
    AnswerGiven,
    ApprovalGiven,
    BranchCreated,
    BranchMerged,
    BranchSwitched,
    CancelRequested,
    ContextConfigured,
    ContextCreated,
    ContextDeleted,
    ContextPinned,
    ContextRenamed,
    ContextUnpinned,
    Event,
    MessageEdited,
    MessageReceived,
    MessagesRecorded,
    PauseRequested,
    QueueUpdated,
    RegenerateRequested,
    ReplyEnded,
    ReplyFailed,
    ReplyRestarted,
    ReplyStarted,
    RequestPrepared,
    ResetRequested,
    ResumeRequested,
    RetryDue,
    RetryRequested,
    TimePassed,
    TitleMade,
    TitleRequested,
    ToolFailed,
    ToolRestarted,
    ToolReturned,
    TurnRequested,
    WorkAbandoned,
)
from fsm.queue import (
    CUTTING_IN,
    is_early,
    pass_time,
    receive_message,
    send_message,
    update_queue,
)
from fsm.refusals import Refusal, StaleAnswer
from fsm.replies import end_backoff, end_reply, fail_reply, restart_reply, start_reply
from fsm.state import CallStatus, ContextState, Phase
from fsm.steps import Inapplicable, Step, Unchanged, running
from fsm.stopping import abandon, cancel_turn, pause, reset, resume, retry
from fsm.tools import (
    DECIDABLE,
    answer,
    collect_failure,
    collect_result,
    decide,
    restart_tool,
)
from fsm.turns import finish_preparation


@dataclass(frozen=True, slots=True)
class Rule:
    """What to do for one (phase, event) pair, and every phase it may lead to."""

    apply: Callable[[ContextState, Any], Step]
    """Called with the state, its version already advanced, and the event."""
    to: frozenset[Phase]


def _rule(apply: Callable[[ContextState, Any], Step], *to: Phase) -> Rule:
    return Rule(apply, frozenset(to))


def transition(state: ContextState, event: Event) -> Step:
    """Apply one event.

    Args:
        state: The state before the event. Never modified.
        event: What happened.

    Returns:
        The state after the event, whose `version` is one higher, and the effects to
        perform, in order, once that state has been committed. The very same state object
        if the event asks for what is already so: then there is nothing to commit.

    Raises:
        Refusal: The table has no rule for this action in this phase, or it names
            something that is not there.
        StaleAnswer: No effect that the event can answer is pending under its id.
    """
    if isinstance(event, Answer):
        effect = state.pending.get(event.effect_id)
        if not isinstance(effect, ANSWERED[type(event)]):
            raise StaleAnswer(event.effect_id)
    rule = TRANSITIONS[state.phase].get(type(event))
    if rule is None:
        raise _illegal(state, event)
    before = state.model_copy(
        update={
            "version": state.version + 1,
            "updated_at_ms": max(state.updated_at_ms, event.at_ms),
        }
    )
    try:
        step = rule.apply(before, event)
    except Unchanged:
        return Step(state)
    except Inapplicable as error:
        raise Refusal(
            error.code,
            error.detail,
            phase=state.phase.value,
            allowed_actions=allowed_actions(state),
            conflicts=error.conflicts,
        ) from None
    assert step.state.phase in rule.to, (state.phase, type(event), step.state.phase)
    return step


def replay(events: Iterable[Event], state: ContextState | None = None) -> ContextState:
    """Fold committed events into a state, dropping their effects.

    Args:
        events: What the log holds after `state`; from the first event if it is None.
        state: A snapshot to start from.

    Raises:
        ValueError: There is no snapshot and the first event does not create a context.
    """
    for event in events:
        if state is not None:
            state = transition(state, event).state
        elif isinstance(event, ContextCreated):
            state = open_context(event)
        else:
            raise ValueError(f"a log begins with context-created, not {type(event).__name__}")
    if state is None:
        raise ValueError("an empty log has no state")
    return state


def allowed_actions(state: ContextState) -> tuple[str, ...]:
    """Names of the actions that the table accepts in this phase, as on the wire."""
    return tuple(
        event.action for event in TRANSITIONS[state.phase] if issubclass(event, Action)
    )


def rests(state: ContextState) -> bool:
    """Whether nothing happens until somebody acts: the turn is over or waits for a person."""
    waits = all(isinstance(effect, MakeTitle) for effect in state.pending.values())
    return state.phase in RESTING and waits


def awaits_client(state: ContextState) -> bool:
    """Whether nothing happens until the client answers calls of its own tools."""
    if state.phase is not Phase.AWAITING_ANSWER or not rests(state):
        return False
    own = {tool.name for tool in state.config.client_tools}
    asked = [call for call in running(state).calls if call.status is CallStatus.ASKED]
    return all(call.name in own for call in asked)


def drafting(state: ContextState) -> str | None:
    """Id of the reply that is being streamed, or None."""
    return state.turn.reply_id if state.turn else None


def ends_draft(event: type[Event]) -> bool:
    """Whether a draft, where there is one, is over with this event.

    A message's policy decides that: see `cuts_in`.
    """
    rule = TRANSITIONS[Phase.STREAMING_LLM_RESPONSE].get(event)
    return rule is not None and Phase.STREAMING_LLM_RESPONSE not in rule.to


def cuts_in(policy: str | None, *, at_ms: int, not_before_ms: int | None) -> bool:
    """Whether a message ends the running turn and its draft; a scheduled one does not."""
    return policy in CUTTING_IN and (not_before_ms is None or not_before_ms <= at_ms)


def witnessed(state: ContextState, event: Event, arrived: str) -> Event:
    """The event, completed with what only the worker that has the context knows.

    Args:
        state: As it is now.
        event: As a client has sent it, or as an effect was answered.
        arrived: Text of the reply that is being streamed, if one is.
    """
    # Text that has arrived before its draft has begun was shown to nobody.
    message_id = drafting(state)
    partial = arrived if message_id is not None else ""
    match event:
        case CancelRequested():
            update: dict[str, object] = {"partial": partial, "message_id": message_id}
        case MessageReceived():
            policy = event.policy or state.config.send_policy
            update = {"policy": policy, "partial": "", "message_id": None}
            if policy == "interrupt" and not is_early(event):
                update |= {"partial": partial, "message_id": message_id}
        case TitleMade():
            asked = state.pending.get(event.effect_id)
            if not isinstance(asked, MakeTitle) or asked.replaces == state.title:
                return event
            update = {"title": state.title}
        case _:
            return event
    return event.model_copy(update=update)


def ended(state: ContextState) -> bool:
    """Whether the context is deleted: no event can follow."""
    return state.phase is Phase.DELETED


def refusal(state: ContextState, code: str, detail: str) -> Refusal:
    """A refusal that says where the context is and what may be done there."""
    return Refusal(
        code, detail, phase=state.phase.value, allowed_actions=allowed_actions(state)
    )


def _illegal(state: ContextState, event: Event) -> Refusal:
    calls = state.turn.calls if state.turn else ()
    waits = any(call.status in DECIDABLE for call in calls)
    if isinstance(event, ApprovalGiven) and not waits:
        return refusal(state, "no-pending-approvals", "No pending tool approvals")
    name = event.action if isinstance(event, Action) else type(event).__name__
    return refusal(
        state, "illegal-in-phase", f"{name} is not possible while {state.phase.value}."
    )


_IDLE = Phase.IDLE
_PREPARING = Phase.PREPARING_REQUEST
_AWAITING = Phase.AWAITING_LLM_RESPONSE
_STREAMING = Phase.STREAMING_LLM_RESPONSE
_APPROVAL = Phase.AWAITING_TOOL_APPROVAL
_ANSWER = Phase.AWAITING_ANSWER
_TOOLS = Phase.EXECUTING_TOOLS
_TRANSIENT = Phase.TRANSIENT_FAILURE
_FAILED = Phase.FAILED
_PAUSED = Phase.PAUSED
_DELETED = Phase.DELETED

ANSWERED: Final[Mapping[type[Answer], type[Effect]]] = {
    RequestPrepared: PrepareRequest,
    ReplyStarted: CallModel,
    ReplyEnded: CallModel,
    ReplyFailed: CallModel,
    ReplyRestarted: CallModel,
    ToolReturned: RunTool,
    ToolFailed: RunTool,
    ToolRestarted: RunTool,
    RetryDue: AwaitRetry,
    TitleMade: MakeTitle,
}
"""What each answer is the answer to."""
RESTING: Final = frozenset({_IDLE, _APPROVAL, _ANSWER, _FAILED, _PAUSED, _DELETED})
"""Phases that last until somebody acts (or a tool that still runs comes back)."""

_BEGUN = (_PREPARING, _AWAITING)
"""Where the next turn begins."""
_OVER = (_IDLE, *_BEGUN)
"""Where a turn that ends leads: to rest, or into the turn of a waiting message."""
_COLLECTED = (_TOOLS, _AWAITING, _FAILED)
"""Where the result of a tool leads when nobody is waited for."""
_EXPIRED = (*_COLLECTED, _PREPARING)
"""Where it leads that nobody has come; a failed turn is given up for a message that is due."""
_ROUND = (_APPROVAL, _ANSWER, *_COLLECTED)
"""Where a round of tool calls leads."""


def _common(phase: Phase) -> dict[type[Event], Rule]:
    """What is possible in every phase but `deleted`."""
    return {
        WorkAbandoned: _rule(abandon, _FAILED),
        QueueUpdated: _rule(update_queue, phase),
        BranchCreated: _rule(create_branch, phase),
        ContextConfigured: _rule(configure, phase),
        ContextRenamed: _rule(rename, phase),
        TitleRequested: _rule(request_title, phase),
        TitleMade: _rule(take_title, phase),
        ContextPinned: _rule(pin, phase),
        ContextUnpinned: _rule(pin, phase),
        ContextDeleted: _rule(delete, _DELETED),
    }


def _busy(phase: Phase, *passes_to: Phase) -> dict[type[Event], Rule]:
    """What is possible while a turn runs; `passes_to`: where time that passes leads."""
    return {
        MessageReceived: _rule(receive_message, phase, *_BEGUN),
        CancelRequested: _rule(cancel_turn, *_OVER),
        PauseRequested: _rule(pause, _PAUSED),
        TimePassed: _rule(pass_time, phase, *passes_to),
        **_common(phase),
    }


TRANSITIONS: Final[Mapping[Phase, Mapping[type[Event], Rule]]] = {
    _IDLE: {
        MessageReceived: _rule(send_message, _IDLE, *_BEGUN),
        MessageEdited: _rule(edit_message, *_BEGUN),
        RegenerateRequested: _rule(regenerate, *_BEGUN),
        BranchSwitched: _rule(switch_branch, _IDLE),
        BranchMerged: _rule(merge_branch, _IDLE),
        MessagesRecorded: _rule(record, _IDLE),
        TurnRequested: _rule(request_turn, *_BEGUN),
        PauseRequested: _rule(pause, _PAUSED),
        TimePassed: _rule(pass_time, *_BEGUN),
        **_common(_IDLE),
    },
    _PREPARING: {
        RequestPrepared: _rule(finish_preparation, _AWAITING),
        **_busy(_PREPARING),
    },
    _AWAITING: {
        ReplyStarted: _rule(start_reply, _STREAMING),
        ReplyEnded: _rule(end_reply, *_OVER, *_ROUND),
        ReplyFailed: _rule(fail_reply, _TRANSIENT, _FAILED),
        ReplyRestarted: _rule(restart_reply, _AWAITING, _FAILED, *_OVER),
        **_busy(_AWAITING),
    },
    _STREAMING: {
        ReplyEnded: _rule(end_reply, *_OVER, *_ROUND),
        ReplyFailed: _rule(fail_reply, _TRANSIENT, _FAILED),
        ReplyRestarted: _rule(restart_reply, _AWAITING, _FAILED, *_OVER),
        **_busy(_STREAMING),
    },
    _APPROVAL: {
        ApprovalGiven: _rule(decide, *_ROUND),
        AnswerGiven: _rule(answer, _APPROVAL),
        ToolReturned: _rule(collect_result, _APPROVAL),
        ToolFailed: _rule(collect_failure, _APPROVAL),
        ToolRestarted: _rule(restart_tool, _APPROVAL, _FAILED),
        **_busy(_APPROVAL, *_EXPIRED),
    },
    _ANSWER: {
        ApprovalGiven: _rule(decide),  # nothing is open: the same again, or refused
        AnswerGiven: _rule(answer, _ANSWER, *_COLLECTED),
        ToolReturned: _rule(collect_result, _ANSWER),
        ToolFailed: _rule(collect_failure, _ANSWER),
        ToolRestarted: _rule(restart_tool, _ANSWER, _APPROVAL, _FAILED),
        TurnRequested: _rule(request_turn, *_BEGUN),
        **_busy(_ANSWER, *_EXPIRED),
    },
    _TOOLS: {
        ApprovalGiven: _rule(decide),
        AnswerGiven: _rule(answer),
        ToolReturned: _rule(collect_result, *_COLLECTED),
        ToolFailed: _rule(collect_failure, *_COLLECTED),
        ToolRestarted: _rule(restart_tool, _TOOLS, _APPROVAL, _FAILED),
        **_busy(_TOOLS),
    },
    _TRANSIENT: {
        RetryDue: _rule(end_backoff, _AWAITING),
        RetryRequested: _rule(retry, _AWAITING),
        ResetRequested: _rule(reset, *_OVER),
        **_busy(_TRANSIENT),
    },
    _FAILED: {
        MessageReceived: _rule(send_message, _FAILED, *_BEGUN),
        MessageEdited: _rule(edit_message, *_BEGUN),
        RegenerateRequested: _rule(regenerate, *_BEGUN),
        RetryRequested: _rule(retry, *_OVER, _APPROVAL, _ANSWER, _TOOLS),
        TurnRequested: _rule(request_turn, *_BEGUN),
        ResetRequested: _rule(reset, *_OVER),
        TimePassed: _rule(pass_time, *_BEGUN),
        **_common(_FAILED),
    },
    _PAUSED: {
        MessageReceived: _rule(receive_message, _PAUSED),
        ToolReturned: _rule(collect_result, _PAUSED),
        ToolFailed: _rule(collect_failure, _PAUSED),
        ToolRestarted: _rule(restart_tool, _PAUSED),
        ResumeRequested: _rule(resume, *_OVER, *_ROUND),
        CancelRequested: _rule(cancel_turn, _PAUSED),
        TimePassed: _rule(pass_time, _PAUSED),
        **_common(_PAUSED),
    },
    _DELETED: {},
}
"""Every accepted (phase, event) pair. Read by the tests and by the diagram."""
