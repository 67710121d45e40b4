"""Every (phase, event) pair is decided, and the table declares exactly what happens.

An exploration plays every event in every state that differs in what the machine decides
by: phase, calls, queue, attempts, rounds, configuration and whether time is over.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Final, get_args

import pytest

from fsm import (
    TRANSITIONS,
    Action,
    AnswerGiven,
    AnyEvent,
    ApprovalGiven,
    BranchMerged,
    BranchSwitched,
    CancelRequested,
    ContextCreated,
    Event,
    MessageEdited,
    MessagesRecorded,
    PauseRequested,
    Phase,
    Refusal,
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
    RunTool,
    TimePassed,
    TitleMade,
    ToolFailed,
    ToolRestarted,
    ToolReturned,
    Turn,
    TurnRequested,
    WorkAbandoned,
)
from tests.fsm.invariants import check
from tests.support.playbook import (
    ANSWERS,
    DELETE,
    DUE,
    PAUSE,
    PIN,
    RESET,
    RESUME,
    RETRY,
    STARTED,
    TIME,
    TITLE,
    UNPIN,
    Playbook,
    abandoned,
    answer,
    approve,
    ask,
    branch,
    cancel,
    configure,
    deny,
    edit,
    failed,
    merge,
    prepared,
    record,
    regenerate,
    rename,
    replied,
    reply_lost,
    returned,
    say,
    switch,
    titled,
    tool_failed,
    tool_lost,
    update_queue,
    wants,
)

pytestmark = pytest.mark.timeout(300)
"""One exploration serves all of these tests: the first of them waits for it."""

EVENTS: Final[tuple[type[Event], ...]] = get_args(get_args(AnyEvent)[0])

AT_REST_ONLY: Final[frozenset[type[Event]]] = frozenset(
    {BranchSwitched, BranchMerged, MessagesRecorded}
)
IDLE_OR_FAILED: Final[frozenset[type[Event]]] = frozenset(
    {MessageEdited, RegenerateRequested, TurnRequested}
)
DECISIONS: Final[frozenset[type[Event]]] = frozenset({ApprovalGiven, AnswerGiven})
GOING_ON: Final[frozenset[type[Event]]] = frozenset(
    {RetryRequested, ResetRequested, ResumeRequested}
)
DURING_A_TURN: Final[frozenset[type[Event]]] = AT_REST_ONLY | IDLE_OR_FAILED | GOING_ON

ILLEGAL: Final[Mapping[Phase, frozenset[type[Event]]]] = {
    Phase.IDLE: frozenset({CancelRequested, *DECISIONS, *GOING_ON}),
    Phase.PREPARING_REQUEST: DURING_A_TURN | DECISIONS,
    Phase.AWAITING_LLM_RESPONSE: DURING_A_TURN | DECISIONS,
    # A draft begins once.
    Phase.STREAMING_LLM_RESPONSE: DURING_A_TURN | DECISIONS | {ReplyStarted},
    Phase.AWAITING_TOOL_APPROVAL: DURING_A_TURN,
    # Whoever asked has the result of its tool, and asks on with it.
    Phase.AWAITING_ANSWER: DURING_A_TURN - {TurnRequested},
    Phase.EXECUTING_TOOLS: DURING_A_TURN,
    Phase.TRANSIENT_FAILURE: AT_REST_ONLY | IDLE_OR_FAILED | DECISIONS | {ResumeRequested},
    Phase.FAILED: AT_REST_ONLY | DECISIONS | {CancelRequested, PauseRequested, ResumeRequested},
    Phase.PAUSED: AT_REST_ONLY
    | IDLE_OR_FAILED
    | DECISIONS
    | {RetryRequested, ResetRequested, PauseRequested},
    Phase.DELETED: frozenset(
        {WorkAbandoned, TimePassed, *(event for event in EVENTS if issubclass(event, Action))}
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
    Phase.AWAITING_ANSWER: frozenset({RequestPrepared, RetryDue, *REPLY}),
    Phase.EXECUTING_TOOLS: frozenset({RequestPrepared, RetryDue, *REPLY}),
    Phase.TRANSIENT_FAILURE: frozenset({RequestPrepared, *REPLY, *TOOL}),
    Phase.FAILED: frozenset({RequestPrepared, RetryDue, *REPLY, *TOOL}),
    Phase.PAUSED: frozenset({RequestPrepared, RetryDue, *REPLY}),
    Phase.DELETED: frozenset({RequestPrepared, RetryDue, TitleMade, *REPLY, *TOOL}),
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
    yield from (abandoned(), abandoned("Hel"), TIME)
    if len(book.state.queue) < 1:
        yield say()
    if len(book.state.messages) < MESSAGES_MAX:
        yield from (say(policy="interrupt", partial="Hel"), say(policy="rollback"))
        yield from (regenerate(), record(("assistant", "Hi.")))
        said = [message for message in book.branch if message.role == "user"]
        yield from (edit(message.id) for message in said[:1])
    for call_id in calls:
        yield from (approve(call_id), deny(call_id), answer(call_id))
    kinds = {effect.kind for effect in book.state.pending.values()}
    for event in (
        prepared(),
        STARTED,
        replied(),
        replied("", wants("a", effect="once"), wants("b")),
        replied("", wants("a", problem="Bad.")),
        replied("", wants("q", question=True), wants("b")),
        replied("", wants("q", question=True), wants("o", effect="once")),
        replied("", wants("q", question=True), wants("p", question=True)),
        failed("Hel"),
        failed(retryable=True),
        reply_lost(),
        reply_lost("Hel"),
        returned(),
        tool_failed(),
        tool_lost(),
        DUE,
        titled(),
    ):
        if ANSWERS[type(event)] in kinds:
            yield event


def asides(book: Playbook) -> Iterator[tuple[Event, ...]]:
    """What changes nothing that other decisions hang on; not tried beyond.

    Nor does it hang on the policies: it is tried in one of the states that differ by them only.
    """
    yield (PIN, UNPIN)
    yield (TITLE, titled())
    yield (ask(("user", "More.")),)
    yield (branch("other"), record(("assistant", "Hi.")), switch("other"), merge("main"))
    at_ms = book.now_ms + WAIT_S * 1_000
    yield (say(not_before_ms=book.now_ms + 2_000), TIME)
    yield (say(not_before_ms=at_ms), TimePassed(at_ms=at_ms))
    for waiting in book.state.queue:
        yield (update_queue(edit={waiting.id: "Edited"}),)
    scheduled = Playbook.at(book)
    try:
        scheduled.when(say(not_before_ms=at_ms))
    except Refusal:
        return
    for waiting in scheduled.state.scheduled:
        yield (say(not_before_ms=at_ms), update_queue(remove=(waiting.id,)))


def worked_ms(now_ms: int, turn: Turn) -> int:
    """For how long the turn has worked, without its waiting for a person."""
    return (turn.waiting_since_ms or now_ms) - turn.started_at_ms - turn.waited_ms


def signature(book: Playbook) -> tuple[object, object]:
    """All that the machine decides by, and nothing that only grows: policies, and the rest."""
    state = book.state
    turn = state.turn
    return (state.config.tool_policy.mode, state.config.on_takeover), (
        state.phase,
        bool(state.queue),
        any(message.role == "user" for message in state.messages),
        bool(state.config.retrieval),
        state.failure is None,
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


STATES_MAX: Final = 12_000
MESSAGES_MAX: Final = 4
"""In the tree, before an event that is not needed to go on is left out."""
WAIT_S: Final = 200
"""A turn's whole time, and how long every second event lets pass."""


def tried(book: Playbook, events: Sequence[Event]) -> set[tuple[Phase, type[Event], Phase]]:
    """The steps that these events lead to, as far as they are taken."""
    steps: set[tuple[Phase, type[Event], Phase]] = set()
    after = Playbook.at(book)
    for event in events:
        before = after.state
        try:
            after.when(event)
        except Refusal:
            break
        if after.state is not before:
            steps.add((before.phase, type(event), after.state.phase))
    if steps:
        check(after.state)
    return steps


@cache
def seen() -> frozenset[tuple[Phase, type[Event], Phase]]:
    """Every step that the exploration has come by; each state is held to the invariants."""
    steps: set[tuple[Phase, type[Event], Phase]] = set()
    limits = {"attempts_max": 2, "tool_starts_max": 2, "rounds_max": 2}
    limits["turn_s_max"] = limits["approval_s_max"] = WAIT_S
    queue = deque(
        Playbook(on_takeover=takeover, tool_policy={"mode": mode}, limits={**limits})
        for takeover in ("restart", "keep")
        for mode in ("manual", "auto_loop")
    )
    known: set[object] = set()
    stands: set[object] = set()
    while queue:
        book = queue.popleft()
        _, stand = signature(book)
        if stand not in stands:
            stands.add(stand)
            for events in asides(book):
                steps |= tried(book, events)
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
