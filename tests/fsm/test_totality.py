"""Every (phase, event) pair is decided, and the table declares exactly what happens.

An exploration plays every event in every state that differs in what the machine decides
by: phase, calls, queue, attempts, rounds, configuration and whether time is over.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Final, get_args

import pytest

from fsm import (
    TRANSITIONS,
    Action,
    AnyEvent,
    ApprovalGiven,
    CancelRequested,
    ContextCreated,
    Event,
    PauseRequested,
    Phase,
    Refusal,
    ReplyEnded,
    ReplyFailed,
    ReplyRestarted,
    ReplyStarted,
    RequestPrepared,
    ResetRequested,
    ResumeRequested,
    RetryDue,
    RetryRequested,
    RunTool,
    ToolFailed,
    ToolRestarted,
    ToolReturned,
    Turn,
    WorkAbandoned,
)
from tests.fsm.invariants import check
from tests.support.playbook import (
    ANSWERS,
    DELETE,
    DUE,
    PAUSE,
    RESET,
    RESUME,
    RETRY,
    STARTED,
    Playbook,
    abandoned,
    approve,
    cancel,
    configure,
    deny,
    failed,
    prepared,
    rename,
    replied,
    reply_lost,
    returned,
    say,
    tool_failed,
    tool_lost,
    wants,
)

EVENTS: Final[tuple[type[Event], ...]] = get_args(get_args(AnyEvent)[0])

ILLEGAL: Final[Mapping[Phase, frozenset[type[Event]]]] = {
    Phase.IDLE: frozenset(
        {ApprovalGiven, CancelRequested, RetryRequested, ResetRequested, ResumeRequested}
    ),
    Phase.PREPARING_REQUEST: frozenset(
        {ApprovalGiven, RetryRequested, ResetRequested, ResumeRequested}
    ),
    Phase.AWAITING_LLM_RESPONSE: frozenset(
        {ApprovalGiven, RetryRequested, ResetRequested, ResumeRequested}
    ),
    Phase.STREAMING_LLM_RESPONSE: frozenset(
        # A draft begins once.
        {ApprovalGiven, RetryRequested, ResetRequested, ResumeRequested, ReplyStarted}
    ),
    Phase.AWAITING_TOOL_APPROVAL: frozenset({RetryRequested, ResetRequested, ResumeRequested}),
    Phase.EXECUTING_TOOLS: frozenset({RetryRequested, ResetRequested, ResumeRequested}),
    Phase.TRANSIENT_FAILURE: frozenset({ApprovalGiven, ResumeRequested}),
    Phase.FAILED: frozenset({ApprovalGiven, CancelRequested, PauseRequested, ResumeRequested}),
    Phase.PAUSED: frozenset({ApprovalGiven, RetryRequested, ResetRequested, PauseRequested}),
    Phase.DELETED: frozenset(
        {WorkAbandoned, *(event for event in EVENTS if issubclass(event, Action))}
    ),
}
"""What the table refuses on purpose. A second creation is refused everywhere."""

REPLY: Final = (ReplyStarted, ReplyEnded, ReplyFailed, ReplyRestarted)
TOOL: Final = (ToolReturned, ToolFailed, ToolRestarted)
UNASKED: Final[Mapping[Phase, frozenset[type[Event]]]] = {
    Phase.IDLE: frozenset({RequestPrepared, RetryDue, *REPLY, *TOOL}),
    Phase.PREPARING_REQUEST: frozenset({RetryDue, *REPLY, *TOOL}),
    Phase.AWAITING_LLM_RESPONSE: frozenset({RequestPrepared, RetryDue, *TOOL}),
    Phase.STREAMING_LLM_RESPONSE: frozenset({RequestPrepared, RetryDue, *TOOL}),
    Phase.AWAITING_TOOL_APPROVAL: frozenset({RequestPrepared, RetryDue, *REPLY}),
    Phase.EXECUTING_TOOLS: frozenset({RequestPrepared, RetryDue, *REPLY}),
    Phase.TRANSIENT_FAILURE: frozenset({RequestPrepared, *REPLY, *TOOL}),
    Phase.FAILED: frozenset({RequestPrepared, RetryDue, *REPLY, *TOOL}),
    Phase.PAUSED: frozenset({RequestPrepared, RetryDue, *REPLY}),
    Phase.DELETED: frozenset({RequestPrepared, RetryDue, *REPLY, *TOOL}),
}
"""Answers to effects that cannot be pending there: stale, whatever they say."""


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("event", EVENTS)
def test_every_pair_is_decided_exactly_once(phase: Phase, event: type[Event]) -> None:
    refused = event in ILLEGAL[phase] or event is ContextCreated
    decided = (event in TRANSITIONS[phase], refused, event in UNASKED[phase])
    assert sorted(decided) == [False, False, True]


def test_every_event_of_the_log_is_in_the_table_or_creates_it() -> None:
    in_table = {event for rules in TRANSITIONS.values() for event in rules}
    assert in_table | {ContextCreated} == set(EVENTS)


# What the table declares


def plausible(book: Playbook) -> Iterator[Event]:
    """Every kind of event that might come next, in the variants that matter."""
    turn = book.state.turn
    calls = [call.id for call in turn.calls] if turn else []
    yield from (cancel(), cancel("Hel"), DELETE, PAUSE, RESET, RESUME, RETRY, rename("x"))
    yield from (configure(retrieval=["notes"]), configure(retrieval=[]))
    yield from (abandoned(), abandoned("Hel"))
    if len(book.state.queue) < 1:
        yield say()
    for call_id in calls:
        yield from (approve(call_id), deny(call_id))
    kinds = {effect.kind for effect in book.state.pending.values()}
    for event in (
        prepared(),
        STARTED,
        replied(),
        replied("", wants("a", effect="once"), wants("b")),
        replied("", wants("a", problem="Bad.")),
        failed("Hel"),
        failed(retryable=True),
        reply_lost(),
        reply_lost("Hel"),
        returned(),
        tool_failed(),
        tool_lost(),
        DUE,
    ):
        if ANSWERS[type(event)] in kinds:
            yield event


def worked_ms(now_ms: int, turn: Turn) -> int:
    """For how long the turn has worked, without its waiting for a person."""
    return (turn.waiting_since_ms or now_ms) - turn.started_at_ms - turn.waited_ms


def signature(book: Playbook) -> object:
    """All that the machine decides by, and nothing that only grows."""
    state = book.state
    turn = state.turn
    return (
        state.phase,
        bool(state.queue),
        bool(state.config.retrieval),
        state.config.tool_policy.mode,
        state.config.on_takeover,
        turn
        and (
            turn.attempt,
            min(turn.rounds, 2),
            turn.references is None,
            tuple((call.status, call.effect, call.effect_id is None) for call in turn.calls),
            worked_ms(state.updated_at_ms, turn) > WAIT_S * 500,
        ),
        tuple(
            sorted(
                (effect.kind, effect.attempt if isinstance(effect, RunTool) else 0)
                for effect in state.pending.values()
            )
        ),
    )


STATES_MAX: Final = 6_000
WAIT_S: Final = 200
"""A turn's whole time, and how long every second event lets pass."""


@cache
def seen() -> frozenset[tuple[Phase, type[Event], Phase]]:
    """Every step that the exploration has come by; each state is held to the invariants."""
    steps: set[tuple[Phase, type[Event], Phase]] = set()
    limits = {"attempts_max": 2, "tool_starts_max": 2, "rounds_max": 2}
    limits["turn_s_max"] = WAIT_S
    queue = deque(
        Playbook(on_takeover=takeover, tool_policy={"mode": mode}, limits={**limits})
        for takeover in ("restart", "keep")
        for mode in ("manual", "auto_loop")
    )
    known: set[object] = set()
    while queue:
        book = queue.popleft()
        for event in plausible(book):
            for wait_s in (0, WAIT_S):
                after = Playbook.at(book).later(seconds=wait_s)
                before = after.state
                try:
                    after.when(event)
                except Refusal:
                    continue
                if after.state is before:
                    continue
                steps.add((before.phase, type(event), after.state.phase))
                if (mark := signature(after)) not in known:
                    known.add(mark)
                    check(after.state)
                    queue.append(after)
        assert len(known) < STATES_MAX, "the exploration does not close"
    return frozenset(steps)


DECLARED: Final = [(phase, event) for phase, rules in TRANSITIONS.items() for event in rules]


@pytest.mark.parametrize(("phase", "event"), DECLARED)
def test_a_rule_declares_exactly_the_phases_that_it_leads_to(
    phase: Phase, event: type[Event]
) -> None:
    reached = {to for at, kind, to in seen() if (at, kind) == (phase, event)}
    assert reached == set(TRANSITIONS[phase][event].to)


@pytest.mark.parametrize("phase", Phase)
def test_every_phase_is_entered_and_all_but_the_last_are_left(phase: Phase) -> None:
    entered = {to for at, _, to in seen() if to is phase and at is not phase}
    left = {to for at, _, to in seen() if at is phase and to is not phase}
    assert entered
    assert bool(left) == (phase is not Phase.DELETED)
