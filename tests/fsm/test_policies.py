"""What becomes of a message that arrives during a turn, and of those that wait."""

from collections.abc import Sequence
from typing import Final

import pytest

from fsm import (
    ContextState,
    Event,
    MessageReceived,
    Phase,
    SendPolicy,
    TitleMade,
    cuts_in,
    drafting,
    first_due,
    wakes_at_ms,
    witnessed,
)
from tests.support.playbook import (
    BEGAN_MS,
    PAUSE,
    RESUME,
    STARTED,
    TIME,
    TITLE,
    Playbook,
    approve,
    branch,
    cancel,
    configure,
    edit,
    failed,
    prepared,
    rename,
    replied,
    returned,
    say,
    stop,
    switch,
    titled,
    update_queue,
    wants,
)

STREAMING: Final = Phase.STREAMING_LLM_RESPONSE
AWAITING: Final = Phase.AWAITING_LLM_RESPONSE


def waiting(book: Playbook) -> list[str]:
    """What waits, in order."""
    return [said.content for said in book.state.queue]


def test_reject_leaves_the_running_turn_alone() -> None:
    book = Playbook().given(say("one"), STARTED)
    assert book.refuses(say("two", policy="reject")).code == "turn-running"
    assert waiting(book.given(replied())) == []


@pytest.mark.parametrize(
    "policy", ["reject", "interrupt", "rollback", "steer", "merge", "latest"]
)
def test_every_policy_begins_a_turn_at_rest(policy: SendPolicy) -> None:
    book = Playbook().when(say("one", policy=policy))
    book.then(AWAITING, book.call_model())


def test_what_a_message_changes_of_the_configuration_holds_from_its_turn_on() -> None:
    book = Playbook().given(say("one"))
    book.given(say("two", patch={"model": "m-2"}), say("three", patch={"mode": "deep"}))
    assert (book.state.config.model, book.state.config.mode) == (None, "text")
    book.given(STARTED, replied())
    assert (book.state.config.model, book.state.config.mode) == ("m-2", "text")
    book.given(STARTED, replied())
    assert (book.state.config.model, book.state.config.mode) == ("m-2", "deep")


def test_messages_that_share_a_turn_change_the_configuration_one_after_another() -> None:
    book = Playbook().given(say("one"))
    book.given(say("two", policy="merge", patch={"model": "m-2", "mode": "deep"}))
    book.given(say("three", policy="merge", patch={"model": "m-3"}))
    book.given(STARTED, replied())
    assert (book.state.config.model, book.state.config.mode) == ("m-3", "deep")


def test_a_scheduled_message_changes_the_configuration_when_its_time_has_come() -> None:
    book = Playbook().given(say("later", not_before_ms=BEGAN_MS + 60_000, patch={"mode": "m"}))
    assert book.state.config.mode == "text"
    book.later(seconds=60).given(TIME)
    assert book.state.config.mode == "m"


@pytest.mark.parametrize("running", [(), (say("one"),)])
def test_a_message_whose_configuration_would_be_invalid_is_refused(
    running: Sequence[Event],
) -> None:
    book = Playbook().given(*running)
    assert book.refuses(say("two", patch={"mode": 1})).code == "invalid-config"


def test_interrupt_keeps_the_partial_reply_and_goes_before_what_waits() -> None:
    book = Playbook().given(say("one"), say("two"), STARTED)
    book.when(say("three", policy="interrupt", partial="Hel"))
    book.then(AWAITING, stop("2.0"), book.call_model())
    assert book.said == [
        ("user", "one", "complete"),
        ("assistant", "Hel", "cancelled"),
        ("user", "three", "complete"),
    ]
    assert waiting(book) == ["two"]


def test_rollback_drops_the_running_turn_from_the_branch_but_not_from_the_tree() -> None:
    book = Playbook().given(say("zero"), replied("0"), say("one"), replied("", wants("a")))
    book.given(approve("a"), returned(), STARTED)
    book.when(say("two", policy="rollback"))
    assert book.state.phase is AWAITING
    assert [text for _, text, _ in book.said] == ["zero", "0", "two"]
    assert "one" in [message.content for message in book.state.messages]


def test_rollback_of_a_first_turn_begins_at_the_root() -> None:
    book = Playbook().given(say("one"), STARTED).when(say("two", policy="rollback"))
    assert book.said == [("user", "two", "complete")]


@pytest.mark.parametrize("running", [(), (configure(mode="deep"),)])
def test_rollback_drops_neither_configuration_nor_title(running: Sequence[Event]) -> None:
    book = Playbook().given(say("one", patch={"model": "m-2"}), STARTED, *running)
    before = book.state
    book.when(say("two", policy="rollback"))
    assert (book.state.config, book.state.title) == (before.config, "one")
    assert book.state.config.model == "m-2"


def test_rollback_of_an_edit_on_an_empty_branch_leaves_it_empty() -> None:
    book = Playbook().given(branch("empty"), say("one"), replied("1"), say("two"), replied("2"))
    book.given(edit(book.branch[2].id), replied("3"), switch("empty"))
    book.given(edit(book.state.messages[2].id)).when(say("hello", policy="rollback"))
    assert book.said == [("user", "hello", "complete")]


def test_a_failed_turn_can_be_rolled_back() -> None:
    book = Playbook().given(say("one"), failed("Hel")).when(say("two", policy="rollback"))
    assert book.said == [("user", "two", "complete")]


def test_steer_joins_the_running_turn_before_the_next_model_call() -> None:
    book = Playbook().given(say("one"), replied("", wants("a")), approve("a"))
    book.given(say("later"), say("briefly", policy="steer"))
    assert waiting(book) == ["later", "briefly"]
    book.when(returned("1"))
    book.then(AWAITING, book.call_model())
    assert [role for role, _, _ in book.said] == ["user", "assistant", "tool", "user"]
    assert book.said[-1][1] == "briefly"
    assert waiting(book) == ["later"]


def test_steer_waits_for_the_next_turn_where_the_running_one_calls_no_model_again() -> None:
    book = Playbook().given(say("one"), say("two", policy="steer"), replied("1"))
    assert [text for _, text, _ in book.said] == ["one", "1", "two"]


def test_merge_folds_what_waits_into_one_turn() -> None:
    book = Playbook(send_policy="merge").given(say("one"), say("two"), say("three"))
    book.given(say("alone", policy="enqueue")).when(replied("1"))
    book.then(AWAITING, book.call_model())
    assert [text for _, text, _ in book.said] == ["one", "1", "two", "three"]
    assert waiting(book) == ["alone"]
    turn = book.state.turn
    assert turn is not None
    assert turn.id == book.branch[2].id


def test_latest_drops_what_waited_before() -> None:
    book = Playbook().given(say("one"), say("two"), say("three", policy="latest"))
    assert waiting(book) == ["three"]
    assert waiting(book.given(say("four"))) == ["three", "four"]


def test_a_message_without_a_policy_takes_that_of_the_context() -> None:
    book = Playbook(send_policy="latest").given(say("one"), say("two"), say("three"))
    assert [(said.content, said.policy) for said in book.state.queue] == [("three", "latest")]


def test_a_paused_context_stays_paused_whatever_interrupts_it() -> None:
    book = Playbook().given(say("one"), PAUSE, say("two"))
    book.when(say("three", policy="interrupt")).then(Phase.PAUSED)
    assert waiting(book) == ["three", "two"]
    assert book.state.turn is None
    assert book.given(RESUME).said[-1][1] == "three"


def test_a_full_queue_refuses_but_never_an_interruption() -> None:
    book = Playbook(limits={"queue_max": 1}).given(say("one"), say("two"))
    assert book.refuses(say("three")).code == "queue-full"
    assert book.refuses(say("x", not_before_ms=BEGAN_MS * 2)).code == "queue-full"
    assert book.given(say("now", policy="interrupt")).said[-1][1] == "now"


def test_the_latest_message_waits_only_where_one_may() -> None:
    none = Playbook(limits={"queue_max": 0}).given(say("one"))
    assert none.refuses(say("two", policy="latest")).code == "queue-full"
    one = Playbook(limits={"queue_max": 1}).given(say("one"), say("two"))
    assert waiting(one.given(say("three", policy="latest"))) == ["three"]
    timed = Playbook(limits={"queue_max": 1}).given(say("later", not_before_ms=BEGAN_MS * 2))
    assert timed.given(say("one")).refuses(say("two", policy="latest")).code == "queue-full"


def test_a_full_queue_refuses_what_would_interrupt_a_paused_context() -> None:
    book = Playbook(limits={"queue_max": 1}).given(say("one"), PAUSE, say("two"))
    assert book.refuses(say("now", policy="interrupt")).code == "queue-full"


def test_messages_for_later_have_places_in_the_queue_too() -> None:
    later = say("later", not_before_ms=BEGAN_MS * 2)
    book = Playbook(limits={"queue_max": 1}).given(later, say("one"))
    assert book.refuses(say("two")).code == "queue-full"


# Changing the queue


def test_what_waits_can_be_edited_removed_and_moved() -> None:
    book = Playbook().given(say("one"), say("a"), say("b"), say("c"), say("d"))
    a, b, c, d = (said.id for said in book.state.queue)
    book.when(update_queue(edit={a: "A"}, remove=(b,), move={d: 0, c: 9}))
    assert waiting(book) == ["d", "A", "c"]


def test_a_message_that_is_edited_while_it_waits_is_nothing_but_its_text() -> None:
    parts = ({"type": "text", "text": "a"},)
    book = Playbook().given(say("one"), say("a").model_copy(update={"parts": parts}))
    (a,) = book.state.queue
    assert a.parts == parts
    (edited,) = book.when(update_queue(edit={a.id: "A"})).state.queue
    assert (edited.content, edited.parts) == ("A", ())


def test_a_message_whose_turn_has_begun_is_out_of_reach() -> None:
    book = Playbook().given(say("one"), say("two"))
    (two,) = (said.id for said in book.state.queue)
    book.given(cancel())
    assert book.refuses(update_queue(remove=(two,))).code == "not-waiting"
    assert waiting(book) == []


def test_a_change_that_changes_nothing_is_none() -> None:
    book = Playbook().given(say("one"), say("two"))
    (two,) = (said.id for said in book.state.queue)
    before = book.state
    assert book.when(update_queue(edit={two: "two"}, move={two: 0})).state is before


# Later


def test_a_message_for_later_waits_for_its_time() -> None:
    book = Playbook()
    due_ms = BEGAN_MS + 60_000
    book.when(say("later", not_before_ms=due_ms)).then(Phase.IDLE)
    assert wakes_at_ms(book.state) == due_ms
    before = book.state
    assert book.when(TIME).state is before
    book.later(seconds=60).when(TIME)
    book.then(AWAITING, book.call_model())
    assert book.said == [("user", "later", "complete")]
    assert wakes_at_ms(book.state) is None


def test_of_messages_for_later_only_those_are_due_whose_time_has_come() -> None:
    book = Playbook().given(say("nine", not_before_ms=BEGAN_MS + 60_000))
    book.given(say("ten", not_before_ms=BEGAN_MS + 90_000))
    nine, ten = book.state.scheduled
    assert first_due(book.state, BEGAN_MS + 59_999) is None
    assert first_due(book.state, BEGAN_MS + 60_000) is nine
    book.later(seconds=60).when(TIME)
    assert book.said == [("user", "nine", "complete")]
    assert book.state.scheduled == (ten,)


def test_a_message_for_later_that_is_due_in_a_turn_waits_for_its_end() -> None:
    book = Playbook().given(say("later", not_before_ms=BEGAN_MS + 5_000), say("now"), STARTED)
    book.later(seconds=60).when(TIME).then(STREAMING)
    assert waiting(book) == ["later"]


def test_a_message_for_later_begins_its_turn_where_the_running_one_has_no_time_left() -> None:
    book = Playbook(retrieval=["notes"], limits={"turn_s_max": 10, "approval_s_max": 60})
    book.given(say("one"), prepared()).later(seconds=20).given(replied("", wants("a")))
    book.given(say("later", not_before_ms=book.now_ms + 30_000))
    book.later(seconds=60).when(TIME).then(Phase.PREPARING_REQUEST, *book.effects)
    assert book.said[-1] == ("user", "later", "complete")


def test_messages_for_later_that_are_found_due_at_once_keep_the_order_of_their_times() -> None:
    book = Playbook().given(say("noon", not_before_ms=BEGAN_MS + 50_000))
    book.given(say("nine", not_before_ms=BEGAN_MS + 40_000))
    book.given(say("ten", not_before_ms=BEGAN_MS + 45_000, policy="latest"))
    book.later(seconds=60).when(TIME)
    assert book.said == [("user", "ten", "complete")]
    assert waiting(book) == ["noon"]


def test_a_message_for_later_can_be_changed_and_removed() -> None:
    book = Playbook().given(say("later", not_before_ms=BEGAN_MS + 60_000))
    (later,) = (said.id for said in book.state.scheduled)
    book.given(update_queue(edit={later: "much later"}))
    assert [said.content for said in book.state.scheduled] == ["much later"]
    refused = book.refuses(update_queue(move={later: 0}))
    assert refused.code == "not-waiting"
    assert refused.detail == f"It waits for its time and has no place in line: {later}."
    book.given(update_queue(remove=(later,)))
    assert wakes_at_ms(book.state) is None


def test_a_latest_message_that_is_due_in_a_turn_drops_what_waited_before() -> None:
    later = say("later", policy="latest", not_before_ms=BEGAN_MS + 5_000)
    book = Playbook().given(later, say("now"), say("waits"))
    book.later(seconds=60).when(TIME)
    assert waiting(book) == ["later"]


def test_messages_for_later_are_due_at_the_very_moment() -> None:
    book = Playbook().given(say("later", not_before_ms=BEGAN_MS + 5_000))
    book.when(TIME.model_copy(update={"at_ms": BEGAN_MS + 5_000}))
    assert book.said == [("user", "later", "complete")]


def test_what_is_due_with_an_expiry_does_not_keep_the_model_from_being_asked() -> None:
    book = Playbook().given(say(), replied("", wants("a")))
    book.given(say("later", not_before_ms=BEGAN_MS + 60_000)).later(seconds=604_800)
    book.when(TIME)
    book.then(AWAITING, book.call_model())
    assert waiting(book) == ["later"]


def test_only_neighbours_share_a_turn() -> None:
    book = Playbook().given(PAUSE, say("one", policy="merge"), say("two"))
    book.given(say("three", policy="merge"), RESUME)
    assert [text for _, text, _ in book.said] == ["one"]
    assert waiting(book) == ["two", "three"]


def test_messages_that_share_the_first_turn_are_titled_and_looked_up_in_their_order() -> None:
    book = Playbook(retrieval=["notes"]).given(PAUSE)
    book.given(say("one", policy="merge"), say("two", policy="merge")).when(RESUME)
    assert book.state.title == "one"
    (effect,) = book.pending("prepare-request")
    assert effect.kind == "prepare-request"
    assert effect.query == "one\ntwo"


def test_rollback_keeps_nothing_of_the_reply() -> None:
    book = Playbook().given(say("one"), STARTED)
    book.given(say("two", policy="rollback", partial="Half"))
    assert [message.content for message in book.state.messages] == ["one", "two"]


def test_what_is_not_there_cannot_be_moved() -> None:
    book = Playbook().given(say("one"), say("two"))
    assert book.refuses(update_queue(move={"gone": 0})).code == "not-waiting"


# What only the worker knows


def test_a_message_cuts_in_from_the_very_moment_of_its_time_on() -> None:
    assert cuts_in("interrupt", at_ms=5, not_before_ms=5)
    assert not cuts_in("interrupt", at_ms=4, not_before_ms=5)
    assert not cuts_in("steer", at_ms=5, not_before_ms=None)


def test_only_an_interruption_of_a_shown_draft_brings_what_had_arrived() -> None:
    begun = Playbook().given(say())
    shown = Playbook.at(begun).given(STARTED).state
    cut = say(policy="interrupt").model_copy(update={"at_ms": BEGAN_MS, "message_id": "x"})

    def arrived(state: ContextState, **changes: object) -> tuple[str, str | None]:
        event = witnessed(state, cut.model_copy(update=changes), "Half")
        assert isinstance(event, MessageReceived)
        return event.partial, event.message_id

    assert arrived(shown) == ("Half", drafting(shown))
    assert arrived(begun.state) == ("", None)
    assert arrived(shown, policy="rollback") == ("", None)
    assert arrived(shown, not_before_ms=BEGAN_MS + 1) == ("", None)


def test_a_title_that_was_given_meanwhile_stays() -> None:
    book = Playbook(title="Old").given(TITLE)
    made = book.filled_in(titled("Made"))
    assert witnessed(book.state, made, "") is made
    kept = witnessed(book.given(rename("Mine")).state, made, "")
    assert isinstance(kept, TitleMade)
    assert kept.title == "Mine"
