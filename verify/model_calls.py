"""Judges what the model was asked, as its server has it, against the logs of the contexts.

A call names its context and its effect (Idempotency-Key `<context id>:<effect id>`), and the
effect names the version that asks for it. So a call stands for one place in one log, and
nothing has to be searched for.

Invariant: which messages there are is read from the fold of the log; how a request is made of
them is written down here once more, without the product's encoder and what it remembers.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import orjson
from pydantic import ValidationError

from fsm import (
    AnyEffect,
    CallModel,
    ContextCreated,
    ContextState,
    MakeTitle,
    PrepareRequest,
    Refusal,
    StaleAnswer,
    branch_messages,
    decode_event,
    replay,
    summary_of,
    transition,
)
from verify.findings import Findings
from verify.records import Json, Log, ModelCall, Violation
from workers.models.wire import NO_RESULT

Line: TypeAlias = tuple[Sequence[str], Sequence[tuple[Json, ...]]]
"""The system prompt and what else the system message holds; and each message after it: role,
text, tool calls."""

ASIDE: Final = (PrepareRequest, MakeTitle)
"""Effects whose call of the model is no reply: made again by each owner, with words of ours."""


def check_model_calls(calls: Iterable[ModelCall], logs: Iterable[Log]) -> tuple[Violation, ...]:
    """What is wrong with calls of the model.

    Each was asked for by its log, no oftener than that, and shown the messages of the active
    branch at a version at which it was still wanted: none is missing, doubled or of a line that
    was left.

    Args:
        calls: Of all contexts, in any order; those of contexts without a log are left out.
        logs: From the first event on, of runs in which the store loses nothing.
    """
    found = Findings()
    made: dict[str, list[ModelCall]] = defaultdict(list)
    for call in calls:
        made[call.context_id].append(call)
    for log in logs:
        asked = _asked(log, found)
        times: Counter[str] = Counter()
        for call in made[log.context_id]:
            times[call.effect_id] += 1
            wanted = asked.get(call.effect_id)
            if wanted is None:
                text = f"The model was called for {call.effect_id}, which the log never asks."
                found.add("model-call-unasked", log.context_id, text, call=call)
            elif not isinstance(wanted.effect, ASIDE):
                _check(call, wanted, times[call.effect_id], found)
    return found.violations()


@dataclass(slots=True)
class _Asked:
    """An effect, as the log has it."""

    effect: AnyEffect
    times: int = 0
    """How often it was issued: a new owner asks again under the same id."""
    states: list[ContextState] = field(default_factory=list[ContextState])
    """Of all versions at which it was pending."""


def _asked(log: Log, found: Findings) -> dict[str, _Asked]:
    """What a log asks of the model, by effect id."""
    asked: dict[str, _Asked] = {}
    state: ContextState | None = None
    for version, raw in enumerate(log.events, start=1):
        effects: Sequence[AnyEffect] = ()
        try:
            event = decode_event(orjson.dumps(raw))
            if state is None or isinstance(event, ContextCreated):
                state = replay([event])
            else:
                state, effects = transition(state, event)
        except (Refusal, StaleAnswer, ValidationError, ValueError) as error:
            text = f"Version {version} cannot follow: {error!r}"
            found.add("log-does-not-replay", log.context_id, text, event=raw)
            break
        for effect in effects:
            if isinstance(effect, (CallModel, *ASIDE)):
                asked.setdefault(effect.effect_id, _Asked(effect)).times += 1
        for effect_id in state.pending:
            if effect_id in asked:
                asked[effect_id].states.append(state)
    return asked


def _check(call: ModelCall, wanted: _Asked, times: int, found: Findings) -> None:
    if times > wanted.times:
        text = f"{call.effect_id} was asked for {wanted.times} times; this is call {times}."
        found.add("model-called-too-often", call.context_id, text, call=call)
    if not any(_is_line(call.messages, _line(state)) for state in wanted.states):
        text = f"{call.effect_id} was shown other messages than were said by then."
        said = _line(wanted.states[0])[1] if wanted.states else ()
        found.add("model-shown-otherwise", call.context_id, text, call=call, said=said)


def _line(state: ContextState) -> Line:
    """What a call of the model is to be shown in a state."""
    summary = summary_of(state)
    own_prompt = state.branches[state.active_branch].system_prompt
    system = [state.config.system_prompt if own_prompt is None else own_prompt]
    system += [one.text for one in (state.turn.references if state.turn else None) or ()]
    messages = list(branch_messages(state))
    if summary is not None:
        system.append(summary.text)
        covered = [message.id for message in messages].index(summary.through_id)
        messages = messages[covered + 1 :]
    told: list[tuple[Json, ...]] = []
    unanswered: list[str] = []
    for message in messages:
        if message.role == "tool":
            if message.tool_call_id in unanswered:
                unanswered.remove(message.tool_call_id)
                told.append(("tool", message.content, message.tool_call_id))
            continue
        told += [("tool", NO_RESULT, call_id) for call_id in unanswered]
        calls = tuple((call.id, call.name, call.arguments) for call in message.tool_calls)
        unanswered = [call.id for call in message.tool_calls]
        if message.role != "assistant" or message.content or calls:
            told.append((message.role, message.content or None, calls or None))
    told += [("tool", NO_RESULT, call_id) for call_id in unanswered]
    return system, told


def _is_line(messages: Sequence[Json], line: Line) -> bool:
    """Whether a request's messages are those of a line."""
    (prompt, *found), told = line
    rest = list(messages)
    if prompt or found:
        if not rest or rest[0]["role"] != "system":
            return False
        shown: str = rest.pop(0)["content"]
        if not shown.startswith(prompt) or any(text not in shown for text in found):
            return False
        if not found and shown != prompt:
            return False
    return [_told(message) for message in rest] == list(told)


def _told(message: Json) -> tuple[Json, ...]:
    """A message of a request: role, text, tool calls or the call that it answers."""
    if message["role"] == "tool":
        return ("tool", message["content"], message["tool_call_id"])
    calls = tuple(
        (call["id"], call["function"]["name"], call["function"]["arguments"])
        for call in message.get("tool_calls", ())
    )
    return (message["role"], message["content"] or None, calls or None)
