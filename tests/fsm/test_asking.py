"""A turn that is asked for with all that it takes: messages, where they stand, how to ask."""

from pydantic import JsonValue

from fsm import CallStatus, Phase, RecordedMessage, TurnRequested, awaits_client
from tests.support.playbook import (
    NOW,
    PAUSE,
    RESUME,
    RETRY,
    STARTED,
    TITLE,
    Playbook,
    answer,
    approve,
    ask,
    failed,
    replied,
    returned,
    say,
    wants,
)

AWAITING = Phase.AWAITING_LLM_RESPONSE
ANSWER = Phase.AWAITING_ANSWER
WEATHER: JsonValue = {"name": "weather"}


def called() -> Playbook:
    """The model has called a tool of the client."""
    book = Playbook().given(ask(("user", "Rain?"), client_tools=[WEATHER]))
    return book.given(replied("Let me see.", wants("q", name="weather", question=True)))


def test_what_was_said_elsewhere_is_answered_in_one_step() -> None:
    book = Playbook().when(ask(("user", "Hi."), ("assistant", "Yes?"), ("user", "Why?")))
    book.then(AWAITING, book.call_model())
    assert [role for role, _, _ in book.said] == ["user", "assistant", "user"]
    assert book.state.turn is not None
    assert book.state.turn.id == book.branch[-1].id
    assert book.state.title == "Hi."
    book.given(replied("So.")).then(Phase.IDLE)
    assert book.said[-1] == ("assistant", "So.", "complete")


def test_retry_keeps_the_unfinished_reply_that_the_turn_was_asked_with() -> None:
    asked = RecordedMessage(role="user", content="A poem!")
    begun = RecordedMessage(role="assistant", content="Roses are", status="interrupted")
    book = Playbook().given(TurnRequested(at_ms=NOW, messages=(asked, begun)))
    said = book.said
    book.given(failed(), RETRY)
    assert book.said == said
    book.given(STARTED, failed("red"), RETRY)
    assert book.said == said


def test_the_patch_is_in_force_for_the_turn_that_came_with_it() -> None:
    book = Playbook(retrieval=["notes"]).when(ask(("user", "Hi."), retrieval=[], model="m"))
    book.then(AWAITING, book.call_model())
    assert book.state.config.model == "m"


def test_a_patch_that_is_not_valid_leaves_all_as_it_was() -> None:
    assert Playbook().refuses(ask(("user", "Hi."), limits={"tools_max": -1})).code == (
        "invalid-config"
    )


def test_there_must_be_something_to_answer() -> None:
    assert Playbook().refuses(ask()).code == "unknown-message"


def test_what_follows_an_earlier_message_leaves_the_old_line_in_the_tree() -> None:
    book = Playbook().given(say("One."), replied("1"), say("Two."), replied("2"))
    first = book.branch[1].id
    book.given(ask(("user", "Rather three."), follows=first), replied("3"))
    assert [text for _, text, _ in book.said] == ["One.", "1", "Rather three.", "3"]
    assert len(book.state.messages) == 6
    assert book.refuses(ask(("user", "x"), follows="none")).code == "unknown-message"


def test_a_failed_turn_is_given_up_for_it() -> None:
    book = Playbook().given(say(), failed()).then(Phase.FAILED)
    book.when(ask(("user", "Again.")))
    book.then(AWAITING, book.call_model())
    assert book.state.failure is None


def test_a_turn_is_asked_for_while_a_title_is_made() -> None:
    book = Playbook().given(TITLE).when(ask(("user", "Hi.")))
    book.then(AWAITING, book.call_model())


def test_nothing_is_asked_while_a_turn_runs_or_the_context_is_paused() -> None:
    assert Playbook().given(say()).refuses(ask(("user", "x"))).code == "illegal-in-phase"
    assert Playbook().given(PAUSE).refuses(ask(("user", "x"))).code == "illegal-in-phase"


def test_a_call_of_the_clients_tool_waits_for_the_client() -> None:
    book = called().then(ANSWER)
    assert awaits_client(book.state)
    assert book.call("q").status is CallStatus.ASKED
    book.when(answer("q", "Sun."))
    book.then(AWAITING, book.call_model())
    assert not awaits_client(book.state)


def test_a_question_to_a_person_is_not_the_clients() -> None:
    book = Playbook(client_tools=[WEATHER]).given(
        say(), replied("", wants("q", name="weather", question=True), wants("p", question=True))
    )
    assert not awaits_client(book.state)
    assert awaits_client(book.given(answer("p")).state)


def test_who_brings_results_and_asks_on_begins_a_new_turn() -> None:
    book = called()
    book.when(ask(("tool", "Sun."), ("user", "So?")))
    book.then(AWAITING, book.call_model())
    assert book.said[-2:] == [("tool", "Sun.", "complete"), ("user", "So?", "complete")]
    book.given(STARTED, replied("No.")).then(Phase.IDLE)


def test_who_says_something_else_leaves_the_call_unanswered() -> None:
    book = called()
    book.when(ask(("user", "Never mind.")))
    book.then(AWAITING, book.call_model())
    assert all(message.role != "tool" for message in book.branch)


def test_the_client_waits_for_tools_of_ours_that_still_run() -> None:
    book = Playbook(client_tools=[WEATHER]).given(
        say(), replied("", wants("q", name="weather", question=True), wants("a"))
    )
    book.given(approve("a")).then(ANSWER, *book.effects)
    assert not awaits_client(book.state)
    assert book.refuses(ask(("tool", "Sun."))).code == "turn-running"
    assert awaits_client(book.given(returned()).state)


def test_a_pause_while_the_client_is_waited_for_is_no_rest_of_the_client() -> None:
    book = called().given(PAUSE)
    assert not awaits_client(book.state)
    assert awaits_client(book.given(RESUME).state)
