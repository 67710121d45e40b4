"""Cancel, pause, resume, delete, and answers that come too late, in every phase."""

from collections.abc import Callable, Mapping
from typing import Final

import pytest

from fsm import (
    Answer,
    AnyEffect,
    Phase,
    StaleAnswer,
    ToolFailed,
    ToolReturned,
    rests,
    transition,
)
from tests.support.playbook import (
    ANSWERS,
    DELETE,
    DUE,
    PAUSE,
    RESUME,
    RETRY,
    STARTED,
    Playbook,
    approve,
    cancel,
    failed,
    prepared,
    replied,
    reply_lost,
    returned,
    say,
    stop,
    titled,
    tool_failed,
    tool_lost,
    wants,
)

STANDING: Final[Mapping[Phase, Callable[[], Playbook]]] = {
    Phase.IDLE: Playbook,
    Phase.PREPARING_REQUEST: lambda: Playbook(retrieval=["notes"]).given(say()),
    Phase.AWAITING_LLM_RESPONSE: lambda: Playbook().given(say()),
    Phase.STREAMING_LLM_RESPONSE: lambda: Playbook().given(say(), STARTED),
    Phase.AWAITING_TOOL_APPROVAL: lambda: Playbook().given(
        say(), replied("", wants("a"), wants("b")), approve("a")
    ),
    Phase.AWAITING_ANSWER: lambda: Playbook().given(
        say(), replied("", wants("a"), wants("q", question=True)), approve("a")
    ),
    Phase.EXECUTING_TOOLS: lambda: Playbook().given(
        say(), replied("", wants("a"), wants("b")), approve("a", "b")
    ),
    Phase.TRANSIENT_FAILURE: lambda: Playbook().given(say(), failed(retryable=True)),
    Phase.FAILED: lambda: Playbook().given(say(), failed()),
    Phase.PAUSED: lambda: Playbook().given(say(), PAUSE),
    Phase.DELETED: lambda: Playbook().given(DELETE),
}
"""One way into every phase."""

WORKING: Final = (
    Phase.PREPARING_REQUEST,
    Phase.AWAITING_LLM_RESPONSE,
    Phase.STREAMING_LLM_RESPONSE,
    Phase.AWAITING_TOOL_APPROVAL,
    Phase.AWAITING_ANSWER,
    Phase.EXECUTING_TOOLS,
    Phase.TRANSIENT_FAILURE,
)
"""Phases in which a turn runs and can be stopped."""


def standing(phase: Phase) -> Playbook:
    """A playbook in this phase."""
    book = STANDING[phase]()
    assert book.state.phase is phase
    return book


def all_stopped(book: Playbook) -> tuple[AnyEffect, ...]:
    """What stopping everything that is pending looks like."""
    return tuple(stop(effect_id) for effect_id in book.state.pending)


# Cancel


@pytest.mark.parametrize("phase", WORKING)
def test_cancel_stops_everything_and_rests(phase: Phase) -> None:
    book = standing(phase)
    stops, said = all_stopped(book), book.said
    assert stops
    book.when(cancel()).then(Phase.IDLE, *stops)
    assert book.said == said
    assert book.state.turn is None
    assert book.state.pending == {}
    assert book.state.failure is None


@pytest.mark.parametrize("phase", WORKING)
def test_cancel_goes_on_with_the_queue(phase: Phase) -> None:
    book = standing(phase).given(say("next"))
    stops = all_stopped(book)
    book.when(cancel())
    assert book.effects[:-1] == stops
    assert book.effects[-1].kind in {"call-model", "prepare-request"}
    assert book.state.queue == ()
    assert book.said[-1] == ("user", "next", "complete")


@pytest.mark.parametrize(
    "phase", [Phase.AWAITING_LLM_RESPONSE, Phase.STREAMING_LLM_RESPONSE, Phase.PAUSED]
)
def test_cancel_keeps_the_partial_reply(phase: Phase) -> None:
    book = standing(phase)
    assert book.state.turn is not None
    draft_id = book.state.turn.reply_id
    book.when(cancel("Hel"))
    assert book.said[-1] == ("assistant", "Hel", "cancelled")
    assert book.branch[-1].finish_reason == "cancelled"
    if draft_id is not None:
        assert book.branch[-1].id == draft_id


@pytest.mark.parametrize("phase", [*WORKING, Phase.PAUSED])
def test_cancel_of_another_turn_is_refused_and_names_the_running_one(phase: Phase) -> None:
    book = standing(phase)
    assert book.state.turn is not None
    refused = book.refuses(cancel(turn_id="another"))
    assert refused.code == "unknown-turn"
    assert book.state.turn.id in refused.detail
    book.given(cancel(turn_id=book.state.turn.id))


@pytest.mark.parametrize("phase", [Phase.IDLE, Phase.FAILED, Phase.DELETED])
def test_cancel_where_no_turn_runs_is_refused(phase: Phase) -> None:
    refused = standing(phase).refuses(cancel())
    assert refused.code == "illegal-in-phase"
    assert phase.value in refused.detail
    assert "cancel" not in refused.allowed_actions


def test_cancel_while_paused_drops_the_turn_stops_its_tools_and_stays_paused() -> None:
    book = standing(Phase.EXECUTING_TOOLS).given(say("next"), PAUSE)
    stops = all_stopped(book)
    book.when(cancel()).then(Phase.PAUSED, *stops)
    assert book.state.turn is None
    assert book.refuses(cancel()).detail == "The running turn is none."
    book.when(RESUME)
    book.then(Phase.AWAITING_LLM_RESPONSE, book.call_model())
    assert book.said[-1][1] == "next"


# Pause and resume


@pytest.mark.parametrize("phase", WORKING)
def test_pause_stops_all_but_the_tools(phase: Phase) -> None:
    book = standing(phase)
    kept = {k: effect for k, effect in book.state.pending.items() if effect.kind == "run-tool"}
    stops = tuple(stop(key) for key in book.state.pending if key not in kept)
    book.when(PAUSE).then(Phase.PAUSED, *stops)
    assert book.state.pending == kept
    assert book.state.turn is not None
    assert book.state.turn.reply_id is None
    assert book.state.failure is None


def test_an_idle_context_can_be_paused_and_resumed() -> None:
    Playbook().when(PAUSE).then(Phase.PAUSED).when(RESUME).then(Phase.IDLE)


@pytest.mark.parametrize("phase", [Phase.FAILED, Phase.PAUSED, Phase.DELETED])
def test_pause_where_nothing_would_be_started_is_refused(phase: Phase) -> None:
    assert standing(phase).refuses(PAUSE).code == "illegal-in-phase"


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.PAUSED])
def test_resume_is_refused_unless_paused(phase: Phase) -> None:
    assert standing(phase).refuses(RESUME).code == "illegal-in-phase"


@pytest.mark.parametrize("phase", [Phase.AWAITING_LLM_RESPONSE, Phase.STREAMING_LLM_RESPONSE])
def test_resume_asks_the_model_again_in_the_same_attempt(phase: Phase) -> None:
    book = standing(phase).given(PAUSE).when(RESUME)
    book.then(Phase.AWAITING_LLM_RESPONSE, book.call_model(attempt=1))


def test_resume_after_a_pause_in_the_back_off_makes_the_next_attempt_at_once() -> None:
    book = standing(Phase.TRANSIENT_FAILURE).given(PAUSE).when(RESUME)
    book.then(Phase.AWAITING_LLM_RESPONSE, book.call_model(attempt=2))


def test_resume_waits_for_the_person_again_and_starts_nothing_twice() -> None:
    standing(Phase.AWAITING_TOOL_APPROVAL).given(PAUSE).when(RESUME).then(
        Phase.AWAITING_TOOL_APPROVAL
    )
    standing(Phase.EXECUTING_TOOLS).given(PAUSE).when(RESUME).then(Phase.EXECUTING_TOOLS)


@pytest.mark.parametrize("answer", [returned("noon"), tool_failed()])
def test_a_tool_that_comes_back_while_paused_is_kept_and_the_model_waits(
    answer: ToolReturned | ToolFailed,
) -> None:
    book = standing(Phase.EXECUTING_TOOLS).given(PAUSE)
    book.when(answer).then(Phase.PAUSED).when(answer).then(Phase.PAUSED)
    assert [role for role, _, _ in book.said] == ["user", "assistant", "tool", "tool"]
    assert rests(book.state)
    book.when(RESUME)
    book.then(Phase.AWAITING_LLM_RESPONSE, book.call_model())


def test_a_context_rests_only_when_no_tool_runs_any_more() -> None:
    assert not rests(standing(Phase.EXECUTING_TOOLS).given(PAUSE).state)
    assert not rests(standing(Phase.AWAITING_TOOL_APPROVAL).state)
    assert rests(standing(Phase.AWAITING_TOOL_APPROVAL).given(returned()).state)
    for phase in (Phase.IDLE, Phase.FAILED, Phase.PAUSED, Phase.DELETED):
        assert rests(standing(phase).state)
    for phase in (
        Phase.PREPARING_REQUEST,
        Phase.STREAMING_LLM_RESPONSE,
        Phase.TRANSIENT_FAILURE,
    ):
        assert not rests(standing(phase).state)


# Delete


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.DELETED])
def test_delete_stops_everything_from_every_phase(phase: Phase) -> None:
    book = standing(phase)
    if phase not in {Phase.IDLE, Phase.FAILED}:
        book.given(say("never answered"))
    stops = all_stopped(book)
    book.when(DELETE).then(Phase.DELETED, *stops)
    assert book.state.pending == {}
    assert book.state.turn is None
    assert book.state.queue == ()
    assert book.state.failure is None


def test_a_deleted_context_takes_nothing_any_more() -> None:
    book = standing(Phase.DELETED)
    for event in (say(), DELETE, cancel(), RETRY, PAUSE, RESUME):
        refused = book.refuses(event)
        assert refused.code == "illegal-in-phase"
        assert refused.allowed_actions == ()


# Too late


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("kind", ANSWERS)
def test_an_answer_to_what_is_not_pending_is_stale_and_changes_nothing(
    phase: Phase, kind: type[Answer]
) -> None:
    state = standing(phase).state
    before = state.model_dump_json()
    for late in LATE:
        if isinstance(late, kind):
            with pytest.raises(StaleAnswer):
                transition(state, late.model_copy(update={"effect_id": "77.0", "at_ms": 1}))
    assert state.model_dump_json() == before


LATE: Final = (
    prepared(),
    STARTED,
    replied(),
    failed(),
    reply_lost(),
    returned(),
    tool_failed(),
    tool_lost(),
    DUE,
)


@pytest.mark.parametrize("phase", WORKING)
def test_what_was_stopped_answers_too_late(phase: Phase) -> None:
    book = standing(phase)
    answers = [
        late.model_copy(update={"effect_id": effect.effect_id, "at_ms": book.now_ms})
        for effect in book.state.pending.values()
        for late in LATE
        if ANSWERS[type(late)] == effect.kind
    ]
    assert answers
    after = book.given(cancel("Hel")).state
    for late in answers:
        with pytest.raises(StaleAnswer):
            transition(after, late)


def test_the_second_answer_to_one_effect_is_stale() -> None:
    book = Playbook().given(say())
    reply = book.filled_in(replied("Hi."))
    book.given(reply)
    with pytest.raises(StaleAnswer):
        transition(book.state, reply)


def test_an_answer_of_the_wrong_kind_is_refused() -> None:
    book = Playbook().given(say())
    for answer in (DUE, titled(), returned()):
        with pytest.raises(StaleAnswer):
            transition(book.state, answer.model_copy(update={"effect_id": "2.0"}))


def test_the_draft_cannot_begin_twice() -> None:
    assert standing(Phase.STREAMING_LLM_RESPONSE).refuses(STARTED).code == "illegal-in-phase"
