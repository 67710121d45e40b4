"""Model calls that fail, and workers that die in the middle of one."""

import pytest

from fsm import AwaitRetry, CallStatus, Event, Failure, Phase, ReplyFailed, allowed_actions
from tests.support.playbook import (
    DUE,
    PAUSE,
    RESET,
    RESUME,
    RETRY,
    STARTED,
    TITLE,
    Playbook,
    abandoned,
    approve,
    ask,
    cancel,
    failed,
    prepared,
    record,
    regenerate,
    replied,
    reply_lost,
    returned,
    say,
    stop,
    tool_failed,
    tool_lost,
    wants,
)

BUSY = failed(retryable=True)
BROKEN = failed(retryable=False, code="bad-request")


# Waiting and trying again


def test_a_transient_failure_waits_and_says_until_when() -> None:
    book = Playbook().given(say()).when(failed(retryable=True, jitter=1.0))
    due_ms = book.now_ms + 500
    book.then(Phase.TRANSIENT_FAILURE, AwaitRetry(effect_id="3.0", due_ms=due_ms, wait_ms=500))
    assert book.state.failure == Failure(
        code="overloaded",
        detail="The model server is busy.",
        retryable=True,
        attempts=1,
        due_ms=due_ms,
    )


def test_when_the_back_off_is_over_the_next_attempt_is_made() -> None:
    book = Playbook().given(say(), BUSY).when(DUE)
    book.then(Phase.AWAITING_LLM_RESPONSE, book.call_model(attempt=2))
    assert book.state.failure is None


@pytest.mark.parametrize(
    ("attempt", "jitter", "wait_ms"),
    [
        (1, 0.0, 250),
        (1, 0.5, 375),
        (1, 1.0, 500),
        (2, 1.0, 1_000),
        (3, 0.0, 1_000),
        (4, 1.0, 3_000),
    ],
)
def test_the_back_off_doubles_up_to_its_bound_and_jitter_takes_its_upper_half(
    attempt: int, jitter: float, wait_ms: int
) -> None:
    book = Playbook(
        limits={"attempts_max": 9, "backoff_ms_base": 500, "backoff_ms_max": 3_000}
    ).given(say())
    for _ in range(attempt - 1):
        book.given(BUSY, DUE)
    book.when(failed(retryable=True, jitter=jitter))
    waits = book.effects[0]
    assert isinstance(waits, AwaitRetry)
    assert waits.due_ms - book.now_ms == wait_ms


@pytest.mark.parametrize(("retry_after_ms", "wait_ms"), [(100, 500), (9_000, 9_000)])
def test_the_longer_of_back_off_and_retry_after_counts(
    retry_after_ms: int, wait_ms: int
) -> None:
    book = Playbook().given(say())
    book.when(failed(retryable=True, jitter=1.0, retry_after_ms=retry_after_ms))
    waits = book.effects[0]
    assert isinstance(waits, AwaitRetry)
    assert waits.due_ms - book.now_ms == wait_ms


def test_attempts_are_counted_and_the_last_failure_is_for_good() -> None:
    book = Playbook().given(say(), BUSY, DUE, BUSY, DUE, BUSY)
    assert book.state.failure is not None
    assert book.state.failure.attempts == 3
    book.when(DUE)
    book.then(Phase.AWAITING_LLM_RESPONSE, book.call_model(attempt=4))
    book.when(BUSY).then(Phase.FAILED)
    assert book.state.failure == Failure(
        code="overloaded", detail="The model server is busy.", retryable=True, attempts=4
    )


def test_each_round_of_a_turn_has_all_its_attempts() -> None:
    book = Playbook().given(say(), BUSY, DUE, replied("", wants("a")), approve("a"))
    book.when(returned())
    book.then(Phase.AWAITING_LLM_RESPONSE, book.call_model(attempt=1))


def test_text_that_arrived_before_a_transient_failure_is_dropped_with_its_draft() -> None:
    book = Playbook().given(say(), STARTED).when(failed("Hel", retryable=True))
    assert book.state.phase is Phase.TRANSIENT_FAILURE
    assert book.said == [("user", "Hello", "complete")]
    assert book.state.turn is not None
    assert book.state.turn.reply_id is None


def test_the_person_may_retry_before_the_back_off_is_over() -> None:
    book = Playbook().given(say(), BUSY).when(RETRY)
    book.then(Phase.AWAITING_LLM_RESPONSE, stop("3.0"), book.call_model(attempt=1))


# Failing for good


def test_a_failure_that_a_retry_cannot_help_fails_at_once() -> None:
    book = Playbook().given(say()).when(BROKEN).then(Phase.FAILED)
    assert book.state.failure is not None
    assert (book.state.failure.code, book.state.failure.retryable) == ("bad-request", False)
    assert book.said == [("user", "Hello", "complete")]


def test_failing_for_good_keeps_the_partial_text() -> None:
    book = Playbook().given(say(), STARTED)
    assert book.state.turn is not None
    draft_id = book.state.turn.reply_id
    book.when(failed("Hel"))
    assert book.said[-1] == ("assistant", "Hel", "failed")
    assert (book.branch[-1].id, book.branch[-1].finish_reason) == (draft_id, "error")
    assert book.state.pending == {}


def test_retry_leaves_the_failed_partial_behind_and_asks_anew() -> None:
    book = Playbook().given(say(), STARTED, failed("Hel")).when(RETRY)
    book.then(Phase.AWAITING_LLM_RESPONSE, book.call_model())
    assert book.said == [("user", "Hello", "complete")]
    assert [message.content for message in book.state.messages] == ["Hello", "Hel"]
    book.given(replied("Hi."))
    assert book.said[-1] == ("assistant", "Hi.", "complete")
    assert book.branch[-1].seq == 3


def test_retry_keeps_an_unfinished_reply_of_before_the_turn() -> None:
    book = Playbook().given(say(), STARTED, cancel("Hel"), record(("assistant", "More.")))
    book.given(regenerate(), failed(), RETRY)
    assert book.said == [("user", "Hello", "complete"), ("assistant", "Hel", "cancelled")]
    book.given(STARTED, failed("Mo"), RETRY)
    assert book.said[-1] == ("assistant", "Hel", "cancelled")


def test_retry_gives_the_turn_all_its_attempts_and_time_again() -> None:
    book = Playbook().given(say(), BUSY, DUE, BUSY, DUE, BUSY, DUE, BUSY).later(seconds=1_000)
    book.when(RETRY)
    book.then(Phase.AWAITING_LLM_RESPONSE, book.call_model(attempt=1))
    assert book.state.turn is not None
    assert book.state.turn.started_at_ms == book.now_ms
    book.when(BUSY).then(
        Phase.TRANSIENT_FAILURE,
        AwaitRetry(effect_id="11.0", due_ms=book.now_ms + 250, wait_ms=250),
    )


@pytest.mark.parametrize("failure", [BROKEN, BUSY])
def test_retry_keeps_what_a_failing_tool_has_told(failure: ReplyFailed) -> None:
    book = Playbook().given(say(), replied("", wants("a")), approve("a"), tool_failed())
    book.given(failure).when(RETRY)
    assert book.said[-1][0] == "tool"
    assert book.branch[-1].tool_call_id == "a"


def test_retry_after_a_turn_ran_out_of_time_before_it_was_prepared_prepares_it() -> None:
    book = Playbook(retrieval=["notes"], limits={"turn_s_max": 10}).given(say())
    book.later(seconds=20).given(PAUSE).when(RESUME).then(Phase.FAILED)
    book.when(RETRY)
    assert [effect.kind for effect in book.effects] == ["prepare-request"]
    book.given(prepared(), replied("", wants("a")), approve("a")).when(returned())
    book.then(Phase.AWAITING_LLM_RESPONSE, book.call_model())


def test_a_failure_is_told_until_it_is_retried_whatever_comes_next() -> None:
    book = Playbook(retrieval=["notes"], limits={"turn_s_max": 10}).given(say())
    book.later(seconds=20).given(PAUSE, RESUME, RETRY).then(
        Phase.PREPARING_REQUEST, *book.effects
    )
    assert book.state.failure is None
    book = Playbook().given(say(), replied("", wants("a")), approve("a"), abandoned(), RETRY)
    assert book.state.phase is Phase.EXECUTING_TOOLS
    assert book.state.failure is None


def test_reset_gives_the_failed_turn_up() -> None:
    book = Playbook().given(say(), failed("Hel")).when(RESET).then(Phase.IDLE)
    assert book.state.turn is None
    assert book.state.failure is None
    assert book.said[-1] == ("assistant", "Hel", "failed")


def test_reset_of_a_waiting_retry_stops_the_wait() -> None:
    Playbook().given(say(), BUSY).when(RESET).then(Phase.IDLE, stop("3.0"))


@pytest.mark.parametrize("failure", [BROKEN, BUSY])
def test_reset_goes_on_with_the_queue(failure: ReplyFailed) -> None:
    book = Playbook().given(say("one"), say("two"), failure).when(RESET)
    assert book.state.phase is Phase.AWAITING_LLM_RESPONSE
    assert book.effects[-1] == book.call_model()
    assert [text for _, text, _ in book.said] == ["one", "two"]


def test_a_message_in_failed_gives_the_failed_turn_up_and_begins_a_new_one() -> None:
    book = Playbook().given(say("one"), BROKEN).when(say("two"))
    book.then(Phase.AWAITING_LLM_RESPONSE, book.call_model())
    assert [text for _, text, _ in book.said] == ["one", "two"]
    assert book.state.failure is None


def test_a_message_in_failed_does_not_overtake_those_that_wait() -> None:
    book = Playbook().given(say("one"), say("two"), BROKEN, say("three"))
    assert [text for _, text, _ in book.said] == ["one", "two"]
    assert [waiting.content for waiting in book.state.queue] == ["three"]


# Workers that die


def test_a_reply_whose_worker_died_is_asked_for_again_under_the_same_effect_id() -> None:
    book = Playbook().given(say(), STARTED)
    first = book.pending("call-model")[0]
    book.when(reply_lost("Hel"))
    again = first.model_copy(update={"attempt": 2})
    book.then(Phase.AWAITING_LLM_RESPONSE, again)
    assert book.state.pending == {first.effect_id: again}
    assert book.said == [("user", "Hello", "complete")]


def test_a_restarted_reply_has_another_id_than_the_draft_that_was_dropped() -> None:
    book = Playbook().given(say(), STARTED)
    assert book.state.turn is not None
    dropped = book.state.turn.reply_id
    book.given(reply_lost("Hel"), STARTED, replied("Hi."))
    assert book.branch[-1].id != dropped
    assert book.said[-1] == ("assistant", "Hi.", "complete")


def test_a_lost_reply_may_be_kept_as_interrupted_by_config() -> None:
    book = Playbook(on_takeover="keep").given(say(), STARTED).when(reply_lost("Hel"))
    book.then(Phase.IDLE)
    assert book.said[-1] == ("assistant", "Hel", "interrupted")
    assert book.state.pending == {}


def test_a_kept_reply_lets_the_queue_go_on() -> None:
    book = Playbook(on_takeover="keep").given(say("one"), say("two")).when(reply_lost("Hel"))
    book.then(Phase.AWAITING_LLM_RESPONSE, book.call_model())
    assert [text for _, text, _ in book.said] == ["one", "Hel", "two"]


def test_of_a_reply_that_had_not_begun_nothing_can_be_kept() -> None:
    book = Playbook(on_takeover="keep").given(say()).when(reply_lost())
    assert book.state.phase is Phase.AWAITING_LLM_RESPONSE
    assert [effect.effect_id for effect in book.effects] == ["2.0"]


def test_a_model_call_that_kills_its_worker_too_often_fails_and_keeps_the_text() -> None:
    book = Playbook(limits={"attempts_max": 3}).given(say(), reply_lost(), reply_lost())
    book.when(reply_lost("Hel"))
    book.then(Phase.FAILED)
    assert book.state.failure is not None
    assert book.state.failure.code == "attempts_exhausted"
    assert book.state.failure.attempts == 3
    assert book.said[-1] == ("assistant", "Hel", "interrupted")
    assert book.state.pending == {}


def test_lost_replies_and_failed_ones_share_their_attempts() -> None:
    book = Playbook(limits={"attempts_max": 3}).given(say(), reply_lost(), BUSY, DUE)
    book.when(BUSY).then(Phase.FAILED)
    assert book.state.failure is not None
    assert book.state.failure.attempts == 3


def test_retry_after_exhausted_attempts_drops_the_interrupted_text() -> None:
    book = Playbook(limits={"attempts_max": 1}).given(say(), reply_lost("Hel")).when(RETRY)
    book.then(Phase.AWAITING_LLM_RESPONSE, book.call_model())
    assert book.said == [("user", "Hello", "complete")]


@pytest.mark.parametrize(
    "book",
    [
        Playbook(),
        Playbook(retrieval=["notes"]).given(say()),
        Playbook().given(say(), STARTED),
        Playbook().given(say(), replied("", wants("a"), wants("b")), approve("a")),
        Playbook().given(say(), BUSY),
        Playbook().given(say(), failed()),
        Playbook().given(say(), say("later"), PAUSE),
    ],
    ids=["idle", "preparing", "streaming", "tools", "back-off", "failed", "paused"],
)
def test_p11_abandoned_work_stops_and_the_context_has_failed_with_its_cause(
    book: Playbook,
) -> None:
    book = Playbook.at(book)
    performed = tuple(book.state.pending)
    book.when(abandoned())
    book.then(Phase.FAILED, *(stop(effect_id) for effect_id in performed))
    assert book.state.pending == {}
    assert book.state.failure is not None
    assert book.state.failure.code == "poison_action"
    assert book.state.failure.detail == (
        "Given up: send_message has ended 3 workers in a row. Worker w-3 died."
    )
    assert {"retry", "reset", "send_message"} <= {*allowed_actions(book.state)}


def test_p11_what_had_arrived_of_an_abandoned_reply_is_kept() -> None:
    book = (
        Playbook().given(say(), STARTED).when(abandoned("Hel")).then(Phase.FAILED, stop("2.0"))
    )
    assert book.said[-1] == ("assistant", "Hel", "interrupted")


def test_p11_an_abandoned_reply_of_which_nothing_had_arrived_leaves_no_message() -> None:
    book = Playbook().given(say(), STARTED, abandoned())
    assert book.said == [("user", "Hello", "complete")]


def test_retry_does_not_ask_again_for_references_that_were_found() -> None:
    book = Playbook(retrieval=["notes"]).given(say(), prepared(), failed()).when(RETRY)
    book.then(Phase.AWAITING_LLM_RESPONSE, book.call_model())


def test_p11_retry_after_abandoned_work_goes_on_with_the_turn() -> None:
    book = Playbook().given(say(), STARTED, abandoned("Hel")).when(RETRY)
    book.then(Phase.AWAITING_LLM_RESPONSE, book.call_model())
    assert book.said == [("user", "Hello", "complete")]


@pytest.mark.parametrize("event", [RETRY, RESET])
def test_p11_a_context_that_failed_without_a_turn_goes_on_with_its_queue(event: Event) -> None:
    book = Playbook().given(abandoned()).when(event).then(Phase.IDLE)
    waiting = Playbook().given(PAUSE, say("later"), abandoned()).when(event)
    waiting.then(Phase.AWAITING_LLM_RESPONSE, waiting.call_model())
    assert book.state.failure is waiting.state.failure is None


def test_retry_begins_with_no_time_waited() -> None:
    book = Playbook().given(say(), replied("", wants("a"))).later(seconds=1_000)
    book.given(approve("a"), returned(), failed(), RETRY)
    assert book.state.turn is not None
    assert book.state.turn.waited_ms == 0


def test_retry_leaves_a_partial_reply_of_the_turns_first_moment_behind() -> None:
    begun = Playbook().given(say())
    at_once = failed("Half").model_copy(update={"at_ms": begun.state.updated_at_ms})
    assert begun.given(at_once, RETRY).said == [("user", "Hello", "complete")]


def test_retry_keeps_an_unfinished_reply_of_another_line() -> None:
    book = Playbook().given(say("one"), replied(), say("two"), STARTED, cancel("Half"))
    again = regenerate(book.branch[1].id)
    book.given(again.model_copy(update={"at_ms": book.state.updated_at_ms}), BROKEN, RETRY)
    assert book.said == [("user", "one", "complete")]


def test_no_failure_is_told_while_the_next_turn_is_prepared() -> None:
    broken = Playbook(retrieval=["notes"]).given(say(), prepared(), replied())
    broken.given(say("again"), prepared(), failed())
    for event in (say("next"), regenerate(), ask(("user", "next"))):
        book = Playbook.at(broken).given(event)
        assert book.state.phase is Phase.PREPARING_REQUEST
        assert book.state.failure is None


def test_reset_of_a_waiting_retry_leaves_nothing_pending() -> None:
    assert Playbook().given(say(), BUSY, RESET).state.pending == {}


def test_p11_abandoned_work_puts_back_only_what_ran() -> None:
    calls = (wants("a", effect="once"), wants("b", effect="idempotent"))
    book = Playbook(tool_policy={"mode": "auto_loop"}).given(
        say(), replied("", *calls), returned()
    )
    book.given(abandoned())
    assert book.call("a").status is CallStatus.DONE
    assert book.call("b").status is CallStatus.APPROVED
    book.when(RETRY)
    assert [effect.kind for effect in book.effects] == ["run-tool"]


def test_p11_a_tool_that_fails_the_turn_ends_the_wait_for_a_person() -> None:
    book = Playbook(limits={"tool_starts_max": 1}).given(say())
    book.given(replied("", wants("a"), wants("b")), approve("a"), tool_lost())
    assert book.state.phase is Phase.FAILED
    assert book.state.turn is not None
    assert book.state.turn.waiting_since_ms is None


def test_p11_abandoned_work_leaves_no_title_pending() -> None:
    assert Playbook().given(TITLE, abandoned()).state.pending == {}


def test_p11_text_that_arrived_before_its_draft_is_not_kept() -> None:
    assert Playbook().given(say("one"), abandoned("Half")).said == [("user", "one", "complete")]
