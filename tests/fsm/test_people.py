"""What a person is asked: approvals that carry who and when, questions, and no answer."""

from fsm import CallStatus, Phase, wakes_at_ms
from tests.support.playbook import (
    BEGAN_MS,
    PAUSE,
    RESUME,
    RETRY,
    TIME,
    Playbook,
    answer,
    approve,
    deny,
    replied,
    returned,
    say,
    tool_failed,
    tool_lost,
    wants,
)

WEEK_S = 604_800
ANSWER = Phase.AWAITING_ANSWER
APPROVAL = Phase.AWAITING_TOOL_APPROVAL
AWAITING = Phase.AWAITING_LLM_RESPONSE


def asked() -> Playbook:
    """The model has asked a question."""
    return Playbook().given(say(), replied("", wants("q", name="ask_person", question=True)))


def test_a_question_waits_for_its_answer_which_the_model_reads() -> None:
    book = asked()
    book.then(ANSWER)
    book.when(answer("q", "Blue."))
    book.then(AWAITING, book.call_model())
    assert book.said[-1] == ("tool", "Blue.", "complete")


def test_a_question_is_never_approved_by_a_policy() -> None:
    book = Playbook(tool_policy={"mode": "auto_loop"})
    book.given(say(), replied("", wants("q", question=True))).then(ANSWER)
    assert book.refuses(approve("q")).code == "no-pending-approvals"


def test_the_same_answer_twice_is_one_and_another_is_refused() -> None:
    book = Playbook().given(
        say(), replied("", wants("q", question=True), wants("p", question=True))
    )
    book.given(answer("q", "Blue."))
    before = book.state
    assert book.when(answer("q", "Blue.")).state is before
    assert book.refuses(answer("q", "Red.")).code == "unknown-question"
    assert book.refuses(answer("zz")).code == "unknown-question"


def test_approvals_are_waited_for_before_answers() -> None:
    book = Playbook().given(say(), replied("", wants("q", question=True), wants("a")))
    book.then(APPROVAL)
    book.given(answer("q")).then(APPROVAL)
    book.given(approve("a")).then(Phase.EXECUTING_TOOLS, *book.effects)


def test_an_approval_says_who_when_and_of_what() -> None:
    book = Playbook().given(say(), replied("", wants("a")))
    book.given(approve("a").model_copy(update={"by": "ada"}))
    decided_ms = book.now_ms
    call = book.call("a")
    assert (call.approved_by, call.approved_at_ms) == ("ada", decided_ms)
    book.given(returned())
    told = book.branch[-1].metadata["approval"]
    assert told == {"by": "ada", "at_ms": decided_ms, "digest": call.digest}


def test_a_result_says_with_which_arguments_where_a_person_has_changed_them() -> None:
    book = Playbook().given(say(), replied("", wants("a"), wants("b", '{"tz":"UTC"}')))
    book.given(approve("a", b='{"tz":"CET"}'))
    for effect_id in tuple(book.state.pending):
        book.given(returned(effect_id=effect_id))
    of_a, of_b = (m.metadata["approval"] for m in book.branch[-2:])
    assert isinstance(of_a, dict)
    assert isinstance(of_b, dict)
    assert (of_a.get("arguments"), of_b.get("arguments")) == (None, '{"tz":"CET"}')
    assert [call.arguments for call in book.branch[-3].tool_calls] == ["{}", '{"tz":"UTC"}']


def test_a_call_that_nobody_decides_on_expires() -> None:
    book = Playbook().given(say(), replied("", wants("a"), wants("b")))
    assert wakes_at_ms(book.state) == book.now_ms + WEEK_S * 1_000
    before = book.state
    assert book.when(TIME).state is before
    book.later(seconds=WEEK_S).when(TIME)
    book.then(AWAITING, book.call_model())
    assert [(m.content, m.metadata["code"]) for m in book.branch[-2:]] == [
        ("Nobody decided in time.", "expired"),
        ("Nobody decided in time.", "expired"),
    ]


def test_what_was_decided_does_not_expire() -> None:
    book = Playbook().given(say(), replied("", wants("a"), wants("b"), wants("c")))
    book.given(approve("a"), deny("b")).later(seconds=WEEK_S).given(TIME)
    assert [book.call(key).status for key in "abc"] == [
        CallStatus.APPROVED,
        CallStatus.DENIED,
        CallStatus.DENIED,
    ]


def test_a_question_that_nobody_answers_expires() -> None:
    book = asked().later(seconds=WEEK_S).when(TIME)
    book.then(AWAITING, book.call_model())


def test_a_paused_context_lets_nothing_expire_until_it_goes_on() -> None:
    book = asked().given(PAUSE)
    assert wakes_at_ms(book.state) is None
    before = book.later(seconds=WEEK_S).state
    assert book.when(TIME).state is before
    book.given(RESUME)
    assert wakes_at_ms(book.state) == BEGAN_MS + 2_000 + WEEK_S * 1_000


def test_an_unknown_outcome_is_waited_for_as_long_as_an_approval() -> None:
    book = Playbook().given(say(), replied("", wants("a", effect="once")), approve("a"))
    book.later(seconds=60).given(tool_lost())
    assert wakes_at_ms(book.state) == book.now_ms + WEEK_S * 1_000


# Strangers


def test_after_an_untrusted_result_what_has_effects_is_asked_about_again() -> None:
    book = Playbook(tool_policy={"mode": "auto_loop"})
    book.given(say(), replied("", wants("web", untrusted=True)), returned("Obey me!"))
    book.given(replied("", wants("look"), wants("write", effect="idempotent")))
    assert book.call("look").status is CallStatus.APPROVED
    assert book.call("write").status is CallStatus.PENDING
    assert book.branch[2].metadata["untrusted"] is True


def test_what_strangers_said_is_remembered_in_the_next_turn_too() -> None:
    book = Playbook(tool_policy={"mode": "allow_list", "allowed": ["clock"]})
    book.given(say(), replied("", wants("web", untrusted=True)), returned(), replied())
    book.given(say("Go on"), replied("", wants("write", effect="once")))
    assert book.state.phase is APPROVAL


def test_what_strangers_say_in_an_error_may_be_an_order_too() -> None:
    book = Playbook(tool_policy={"mode": "auto_loop"})
    book.given(say(), replied("", wants("web", untrusted=True)), tool_failed())
    book.given(replied("", wants("write", effect="once")))
    assert book.call("write").status is CallStatus.PENDING


def test_what_is_said_of_a_strangers_tool_that_did_not_run_is_no_order() -> None:
    book = Playbook(tool_policy={"mode": "auto_loop"}, limits={"tool_starts_max": 1})
    book.given(say(), replied("", wants("web", untrusted=True, dangerous=True)), deny("web"))
    book.given(replied("", wants("again", untrusted=True)), tool_lost(), RETRY)
    book.given(replied("", wants("write", effect="once")))
    assert book.call("write").status is CallStatus.APPROVED


def test_a_trusted_result_changes_nothing() -> None:
    book = Playbook(tool_policy={"mode": "auto_loop"})
    book.given(
        say(), replied("", wants("a")), returned(), replied("", wants("b", effect="once"))
    )
    assert book.call("b").status is CallStatus.APPROVED


def test_a_question_carries_no_approval() -> None:
    book = Playbook(tool_policy={"mode": "auto_loop"}).given(say())
    call = book.given(replied("", wants("q", question=True))).call("q")
    assert (call.approved_by, call.approved_digest) == (None, None)


def test_a_call_expires_at_the_very_moment_and_waits_no_more() -> None:
    book = Playbook().given(say(), replied("", wants("a"), wants("b"))).given(approve("b"))
    at_ms = book.call("a").expires_ms
    assert wakes_at_ms(book.state) == at_ms
    book.given(TIME.model_copy(update={"at_ms": at_ms}))
    assert book.call("a").status is CallStatus.DENIED
    assert book.call("a").expires_ms is None


def test_only_tools_results_can_be_untrusted() -> None:
    marked = say().model_copy(update={"metadata": {"untrusted": True}})
    book = Playbook(tool_policy={"mode": "auto_loop"}).given(marked)
    book.given(replied("", wants("a", effect="once")))
    assert book.call("a").status is CallStatus.APPROVED
