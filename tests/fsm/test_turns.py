"""How turns begin, what they ask the model, and in what order messages are answered."""

import pytest

from fsm import Phase, PrepareRequest, Reference, ReplyEnded, Usage, derive_id
from tests.support.playbook import (
    BEGAN_MS,
    CONTEXT_ID,
    DRAFT,
    NOW,
    PAUSE,
    PENDING,
    RESUME,
    STARTED,
    Playbook,
    approve,
    cancel,
    prepared,
    rename,
    replied,
    returned,
    say,
    wants,
)


def test_a_message_while_idle_asks_the_model() -> None:
    book = Playbook().when(say("Hello"))
    book.then(Phase.AWAITING_LLM_RESPONSE, book.call_model())
    assert book.effects[0].effect_id == "2.0"
    assert book.said == [("user", "Hello", "complete")]


def test_a_message_keeps_what_the_client_said_about_it() -> None:
    said = say(client_message_id="mine").model_copy(
        update={"parts": ({"type": "image", "url": "x"},), "metadata": {"tab": 3}}
    )
    book = Playbook().given(say("first"), said, replied())
    message = book.branch[-1]
    assert message.client_message_id == "mine"
    assert message.parts == ({"type": "image", "url": "x"},)
    assert message.metadata == {"tab": 3}
    assert message.created_at_ms == BEGAN_MS + 2_000


def test_the_reply_has_the_id_that_its_caller_made_even_if_there_was_no_draft() -> None:
    named = replied("Hi.").model_copy(update={"message_id": "made-outside"})
    assert Playbook().given(say(), named).branch[-1].id == "made-outside"


def test_the_first_token_opens_a_draft_whose_id_the_reply_takes_over() -> None:
    book = Playbook().given(say()).when(STARTED).then(Phase.STREAMING_LLM_RESPONSE)
    assert book.state.turn is not None
    draft_id = book.state.turn.reply_id
    book.when(replied("Hi.")).then(Phase.IDLE)
    assert book.branch[-1].id == draft_id


def test_a_reply_ends_the_turn() -> None:
    book = Playbook().given(say()).when(replied("Hi.")).then(Phase.IDLE)
    assert book.said == [("user", "Hello", "complete"), ("assistant", "Hi.", "complete")]
    assert book.state.turn is None
    assert book.branch[-1].finish_reason == "stop"


def test_a_reply_says_who_wrote_it_and_what_it_cost() -> None:
    used = Usage(prompt_tokens=7, completion_tokens=2, total_tokens=9)
    reply = ReplyEnded(
        at_ms=NOW,
        effect_id=PENDING,
        message_id=DRAFT,
        text="Hi.",
        model="m-1",
        usage=used,
        metadata={"scripted": True},
    )
    book = Playbook().given(say(), reply, say(), reply)
    assert book.branch[-1].model == "m-1"
    assert book.branch[-1].usage == used
    assert book.branch[-1].metadata == {"scripted": True}
    assert book.state.usage == Usage(prompt_tokens=14, completion_tokens=4, total_tokens=18)


def test_messages_hang_one_on_the_other() -> None:
    book = Playbook().given(say(), replied(), say(), replied())
    assert [message.seq for message in book.branch] == [1, 2, 3, 4]
    assert book.state.branches["main"].head == book.branch[-1].id


# The queue


def test_messages_during_a_turn_wait_in_a_visible_queue() -> None:
    book = Playbook().given(say("one")).when(say("two")).then(Phase.AWAITING_LLM_RESPONSE)
    book.when(say("three", client_message_id="c3")).then(Phase.AWAITING_LLM_RESPONSE)
    assert [waiting.content for waiting in book.state.queue] == ["two", "three"]
    assert book.state.queue[1].client_message_id == "c3"
    assert [text for _, text, _ in book.said] == ["one"]


def test_waiting_messages_are_answered_one_turn_each_in_the_order_they_came() -> None:
    book = Playbook().given(say("one"), say("two"), say("three"))
    ids = [waiting.id for waiting in book.state.queue]
    book.when(replied("1"))
    book.then(Phase.AWAITING_LLM_RESPONSE, book.call_model())
    book.given(replied("2"), replied("3"))
    assert [text for _, text, _ in book.said] == ["one", "1", "two", "2", "three", "3"]
    assert [message.id for message in book.branch[2::2]] == ids
    assert book.state.phase is Phase.IDLE
    assert book.state.queue == ()


def test_a_message_that_waited_begins_its_turn_when_the_one_before_it_ends() -> None:
    book = Playbook().given(say("one"), say("two")).later(seconds=100).given(replied())
    assert book.state.turn is not None
    assert book.state.turn.id == book.branch[-1].id
    assert book.state.turn.started_at_ms == book.now_ms


def test_a_message_to_a_paused_context_waits_and_begins_when_it_goes_on() -> None:
    book = Playbook().given(PAUSE).when(say("one")).then(Phase.PAUSED)
    book.when(RESUME)
    book.then(Phase.AWAITING_LLM_RESPONSE, book.call_model())
    assert book.said == [("user", "one", "complete")]


# Titles


def test_the_first_message_gives_the_title_and_later_ones_do_not() -> None:
    book = Playbook().given(say("What  is\n the time?"), replied(), say("And the date?"))
    assert book.state.title == "What is the time?"


def test_a_long_first_message_gives_its_first_fifty_characters() -> None:
    book = Playbook().given(say("x" * 51))
    assert book.state.title == "x" * 50


def test_a_title_that_was_given_stays() -> None:
    assert Playbook(title="Mine").given(say()).state.title == "Mine"
    assert Playbook().given(rename("Ours"), say()).state.title == "Ours"


# Retrieval

NOTE = Reference(source="notes", title="Time", text="It is always noon.")


def test_with_retrievers_the_request_is_prepared_before_the_model_is_asked() -> None:
    book = Playbook(retrieval=["notes"]).when(say("What time?"))
    asked = PrepareRequest(effect_id="2.0", retrievers=("notes",), query="What time?")
    book.then(Phase.PREPARING_REQUEST, asked)
    book.when(prepared(NOTE))
    book.then(Phase.AWAITING_LLM_RESPONSE, book.call_model())
    assert book.state.turn is not None
    assert book.state.turn.references == (NOTE,)


def test_what_was_found_is_kept_for_all_rounds_and_not_asked_for_again() -> None:
    book = Playbook(retrieval=["notes"]).given(
        say(), prepared(NOTE), replied("", wants("a")), approve("a")
    )
    book.when(returned())
    book.then(Phase.AWAITING_LLM_RESPONSE, book.call_model())
    assert book.state.turn is not None
    assert book.state.turn.references == (NOTE,)


def test_finding_nothing_is_an_answer_too() -> None:
    book = Playbook(retrieval=["notes"]).given(say(), prepared())
    assert book.state.turn is not None
    assert book.state.turn.references == ()


def test_a_waiting_message_is_prepared_when_its_turn_begins() -> None:
    book = Playbook(retrieval=["notes"]).given(say("one"), prepared(NOTE), say("two"))
    book.when(replied())
    book.then(
        Phase.PREPARING_REQUEST,
        PrepareRequest(effect_id="5.0", retrievers=("notes",), query="two"),
    )


def test_a_pause_before_the_retrievers_answered_asks_them_again() -> None:
    book = Playbook(retrieval=["notes"]).given(say("What time?"), PAUSE).when(RESUME)
    asked = PrepareRequest(effect_id="4.0", retrievers=("notes",), query="What time?")
    book.then(Phase.PREPARING_REQUEST, asked)


# Ids


def test_derived_ids_are_version_7_uuids_of_the_events_time() -> None:
    state = Playbook().given(say()).state
    made = derive_id(state, 5)
    assert (len(made), made[14], made[15:18], made[19]) == (36, "7", "005", CONTEXT_ID[19])
    assert int(made.replace("-", "")[:12], 16) == state.updated_at_ms
    assert int(made[-12:], 16) ^ int(CONTEXT_ID[-12:], 16) == state.version


@pytest.mark.parametrize("ahead_s", [0, 60, -60])
def test_ids_differ_however_the_clock_jumps(ahead_s: int) -> None:
    book = Playbook().given(say("one"))
    book.later(seconds=ahead_s).given(say("two"), cancel("par"), replied())
    ids = [message.id for message in book.state.messages]
    assert len(set(ids)) == len(ids) == 4


def test_time_never_runs_backwards_in_the_state() -> None:
    book = Playbook().given(say())
    before_ms = book.state.updated_at_ms
    book.later(seconds=-500).given(replied())
    assert book.state.updated_at_ms == before_ms


def test_a_full_queue_refuses_further_messages() -> None:
    book = Playbook(limits={"queue_max": 2}).given(say("one"), say("two"), say("three"))
    assert book.refuses(say("four")).code == "queue-full"
