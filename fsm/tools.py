"""The rules of tool calls: what needs a person, what a person decides, what comes back.

A call runs only with a recorded approval of exactly its name and arguments: `digest` is
what it would run, `approved_digest` what was approved, by a person or by the policy.
"""

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fsm.effects import RunTool
from fsm.events import (
    AnswerGiven,
    ApprovalGiven,
    RequestedCall,
    ToolFailed,
    ToolRestarted,
    ToolReturned,
)
from fsm.history import branch_messages
from fsm.state import CallStatus, ContextState, Message, Phase, TurnCall
from fsm.steps import Inapplicable, Step, Unchanged, answered, issue, running, with_turn
from fsm.tree import append, derive_id, head
from fsm.turns import OPEN, POISON, advance, fail, halt, put_back

if TYPE_CHECKING:
    from pydantic import JsonValue

POLICY = "policy"
"""`approved_by` of a call that the policy has approved."""
DECIDABLE = OPEN - {CallStatus.ASKED}
"""Calls that wait for an approval."""


def call_digest(name: str, arguments: str) -> str:
    """SHA-256 (hex) of what a tool call would run. `arguments` is JSON text, taken as is."""
    return hashlib.sha256(f"{name}\n{arguments}".encode(errors="surrogatepass")).hexdigest()


def admit(state: ContextState, requested: Sequence[RequestedCall]) -> Step:
    """Take the model's calls into the turn, approving those that the policy lets run."""
    turn, limits = running(state), state.config.limits
    calls: list[TurnCall] = []
    for index, call in enumerate(requested):
        digest = call_digest(call.name, call.arguments)
        over = turn.tools + index >= limits.tools_max
        problem = f"Limit of {limits.tools_max} tool calls a turn." if over else call.problem
        free = problem is None and _runs_unasked(state, call)
        status = CallStatus.APPROVED if free else CallStatus.PENDING
        if problem is not None:
            status = CallStatus.DONE
        elif call.question:
            status = CallStatus.ASKED
        admitted = TurnCall(
            id=call.id,
            name=call.name,
            arguments=call.arguments,
            digest=digest,
            effect=call.effect,
            untrusted=call.untrusted,
            status=status,
            approved_digest=digest if free else None,
            approved_by=POLICY if free else None,
        )
        if problem is not None:
            state = _append_result(state, admitted, problem, index, code="refused")
        calls.append(admitted)
    state = with_turn(
        state, calls=tuple(calls), rounds=turn.rounds + 1, tools=turn.tools + len(calls)
    )
    return advance(state)


def _runs_unasked(state: ContextState, call: RequestedCall) -> bool:
    if call.dangerous or call.question:
        return False
    if call.effect != "none" and _is_tainted(state):
        return False
    policy = state.config.tool_policy
    match policy.mode:
        case "manual":
            return False
        case "allow_list":
            return call.name in policy.allowed
        case "auto":
            return running(state).rounds == 0
        case "auto_loop":
            return True


def _is_tainted(state: ContextState) -> bool:
    """Whether the results of untrusted tools may have told the model what to do."""
    return any(
        message.role == "tool" and message.metadata.get("untrusted") is True
        for message in branch_messages(state)
    )


def decide(state: ContextState, event: ApprovalGiven) -> Step:
    """Record a person's decisions; deciding the same twice changes nothing."""
    reasons = {denial.id: denial.reason for denial in event.deny}
    approved = set(event.tool_call_ids)
    calls = {call.id: call for call in running(state).calls}
    if unknown := sorted((approved | reasons.keys() | event.edits.keys()) - calls.keys()):
        raise Inapplicable("unknown-tool-call", f"No such tool call: {', '.join(unknown)}.")
    if both := sorted(approved & reasons.keys()):
        detail = f"Approve or deny, not both: {', '.join(both)}."
        raise Inapplicable("unknown-tool-call", detail)
    if edited := sorted(event.edits.keys() - approved):
        detail = (
            f"Edited, but not approved: {', '.join(edited)}. Name it in tool_call_ids, too."
        )
        raise Inapplicable("unknown-tool-call", detail)
    open_calls = {call.id for call in calls.values() if call.status in DECIDABLE}
    decided = approved | reasons.keys()
    otherwise = sorted(
        key for key in decided - open_calls if not _is_decided_so(calls[key], event)
    )
    if otherwise and decided & open_calls:
        detail = f"Decided otherwise already: {', '.join(otherwise)}. Nothing else was decided."
        raise Inapplicable("no-pending-approvals", detail)
    if otherwise:
        raise Inapplicable("no-pending-approvals", "No pending tool approvals")
    if not decided & open_calls:
        raise Unchanged
    for index, call_id in enumerate(key for key in calls if key in open_calls):
        call = calls[call_id]
        if call_id in approved:
            arguments = event.edits.get(call_id, call.arguments)
            digest = call_digest(call.name, arguments)
            calls[call_id] = call.model_copy(
                update={
                    "status": CallStatus.APPROVED,
                    "arguments": arguments,
                    "digest": digest,
                    "approved_digest": digest,
                    "approved_by": event.by,
                    "approved_at_ms": event.at_ms,
                    "expires_ms": None,
                    "effect_id": None,
                }
            )
        elif call_id in reasons:
            calls[call_id] = call.model_copy(
                update={"status": CallStatus.DENIED, "expires_ms": None}
            )
            text = f"The person denied this call. {reasons[call_id]}".rstrip()
            state = _append_result(state, call, text, index, code="denied")
    return advance(with_turn(state, calls=tuple(calls.values())))


def _is_decided_so(call: TurnCall, event: ApprovalGiven) -> bool:
    """Whether the decision on a call is the one that was made before."""
    if call.id not in event.tool_call_ids:
        return call.status is CallStatus.DENIED
    digest = call_digest(call.name, event.edits.get(call.id, call.arguments))
    return call.status in {CallStatus.APPROVED, CallStatus.DONE} and call.digest == digest


def answer(state: ContextState, event: AnswerGiven) -> Step:
    """The model gets its answer; the same answer again changes nothing."""
    calls = {call.id: call for call in running(state).calls}
    call = calls.get(event.question_id)
    if call is not None and call.status is CallStatus.DONE:
        told = next((m for m in state.messages if m.tool_call_id == call.id), None)
        if told is not None and told.content == event.content:
            raise Unchanged
    if call is None or call.status is not CallStatus.ASKED:
        detail = f"No open question has the id {event.question_id}."
        raise Inapplicable("unknown-question", detail)
    calls[call.id] = call.model_copy(update={"status": CallStatus.DONE, "expires_ms": None})
    state = _append_result(state, call, event.content, 0, code=None)
    return advance(with_turn(state, calls=tuple(calls.values())))


def expire_calls(state: ContextState, at_ms: int) -> Step:
    """Deny the calls whose time to wait for a person is over; the model is told so."""
    calls: list[TurnCall] = []
    for index, call in enumerate(running(state).calls):
        if call.expires_ms is None or call.expires_ms > at_ms:
            calls.append(call)
            continue
        calls.append(call.model_copy(update={"status": CallStatus.DENIED, "expires_ms": None}))
        state = _append_result(state, call, "Nobody decided in time.", index, code="expired")
    if tuple(calls) == running(state).calls:
        return Step(state)
    return advance(with_turn(state, calls=tuple(calls)))


def collect_result(state: ContextState, event: ToolReturned) -> Step:
    """A tool has answered; when it was the last one, the model goes on."""
    return _collect(state, event.effect_id, event.content, code=None)


def collect_failure(state: ContextState, event: ToolFailed) -> Step:
    """A failing tool is the model's business: it is told, and the turn goes on."""
    return _collect(state, event.effect_id, f"Error ({event.code}): {event.detail}", event.code)


def _collect(state: ContextState, effect_id: str, content: str, code: str | None) -> Step:
    state = _record(state, effect_id, content, code, by_tool=True)
    return Step(state) if state.phase is Phase.PAUSED else advance(state)


def _record(
    state: ContextState, effect_id: str, content: str, code: str | None, *, by_tool: bool
) -> ContextState:
    """The call is done, and the model will read what came of it."""
    calls = list(running(state).calls)
    index = next(i for i, call in enumerate(calls) if call.effect_id == effect_id)
    calls[index] = calls[index].model_copy(update={"status": CallStatus.DONE})
    state = with_turn(answered(state, effect_id), calls=tuple(calls))
    return _append_result(state, calls[index], content, 0, code=code, by_tool=by_tool)


def restart_tool(state: ContextState, event: ToolRestarted) -> Step:
    """The worker that ran the tool is gone: run it again if that is safe, else ask."""
    effect = state.pending[event.effect_id]
    assert isinstance(effect, RunTool)
    if effect.effect != "once":
        if effect.attempt >= state.config.limits.tool_starts_max:
            return _give_up(state, effect)
        again = effect.model_copy(update={"attempt": effect.attempt + 1})
        return issue(state, again)
    calls = tuple(
        put_back(call) if call.effect_id == event.effect_id else call
        for call in running(state).calls
    )
    state = with_turn(answered(state, event.effect_id), calls=calls)
    return Step(state) if state.phase is Phase.PAUSED else advance(state)


def _give_up(state: ContextState, effect: RunTool) -> Step:
    """A tool ends each worker that runs it: the model is told, and the turn fails."""
    text = f"{effect.name} was started {effect.attempt} times, and each time its worker died."
    state = _record(state, effect.effect_id, f"Error (lost): {text}", "lost", by_tool=False)
    return Step(state) if state.phase is Phase.PAUSED else fail(halt(state), POISON, text)


def _is_edited(state: ContextState, call: TurnCall) -> bool:
    """Whether a person has changed the arguments that the model has written."""
    asked = (one for said in reversed(state.messages) for one in said.tool_calls)
    written = next((one.arguments for one in asked if one.id == call.id), call.arguments)
    return written != call.arguments


def _append_result(
    state: ContextState,
    call: TurnCall,
    content: str,
    index: int,
    *,
    code: str | None,
    by_tool: bool = False,
) -> ContextState:
    """The model reads what came of a call.

    Args:
        state: The call's turn runs.
        call: As it was when it ended.
        content: What came of it.
        index: Tells results of one event apart.
        code: Why it failed; None: it did not.
        by_tool: Whether the tool itself may have said so, in an error, too.
    """
    metadata: dict[str, JsonValue] = {"tool": call.name}
    if code is not None:
        metadata["code"] = code
    if call.untrusted and by_tool:
        metadata["untrusted"] = True
    if call.approved_by not in {None, POLICY}:
        approval: dict[str, JsonValue] = {
            "by": call.approved_by,
            "at_ms": call.approved_at_ms,
            "digest": call.approved_digest,
        }
        if _is_edited(state, call):
            approval["arguments"] = call.arguments
        metadata["approval"] = approval
    message = Message(
        id=derive_id(state, index + 1),
        seq=len(state.messages) + 1,
        parent_id=head(state),
        role="tool",
        content=content,
        tool_call_id=call.id,
        created_at_ms=state.updated_at_ms,
        status="failed" if code else "complete",
        metadata=metadata,
    )
    return append(state, message)
