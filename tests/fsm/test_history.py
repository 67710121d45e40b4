"""History from elsewhere, summaries, titles, pins, and logs that were copied."""

from typing import Literal

import pytest

from fsm import (
    Event,
    MakeTitle,
    Origin,
    Phase,
    Summary,
    replay,
    rests,
    summary_of,
)
from fsm.turns import SUMMARIES_MAX
from tests.support.playbook import (
    CONTEXT_ID,
    DELETE,
    PAUSE,
    PIN,
    STARTED,
    TITLE,
    UNPIN,
    Playbook,
    abandoned,
    cancel,
    edit,
    prepared,
    record,
    replied,
    say,
    stop,
    titled,
)

PREPARING = Phase.PREPARING_REQUEST
AWAITING = Phase.AWAITING_LLM_RESPONSE


def long_talk(**config: int) -> Playbook:
    """Messages of some 300 tokens each, against a budget of 1,000."""
    book = Playbook(limits={"history_tokens_max": 1_000, **config})
    return book.given(say("a" * 1_200), replied("b" * 1_200), say("c" * 1_200))


def through(book: Playbook) -> str | None:
    """Up to where a summary was asked for."""
    (effect,) = book.pending("prepare-request")
    assert effect.kind == "prepare-request"
    return effect.summarise_through


def test_a_history_within_its_budget_goes_to_the_model_as_it_is() -> None:
    book = long_talk()
    assert book.state.phase is AWAITING


def test_a_history_over_its_budget_is_summarised_up_to_a_message_of_the_user() -> None:
    book = long_talk().given(replied("d" * 1_200)).when(say("And?"))
    assert book.state.phase is PREPARING
    assert through(book) == book.branch[3].id
    book.when(prepared(summary=Summary(through_id=book.branch[1].id, text="In short.")))
    book.then(AWAITING, book.call_model())
    summary = summary_of(book.state)
    assert summary is not None
    assert summary.text == "In short."
    assert len(book.state.messages) == 5


def test_attached_texts_count() -> None:
    attached = {"type": "text_attachment", "name": "log.txt", "text": "x" * 4 * 400}
    book = Playbook(limits={"history_tokens_max": 500})
    book.given(say("one").model_copy(update={"parts": (attached,)}), replied("1"))
    assert book.state.tokens > 400
    book.when(say("two").model_copy(update={"parts": (attached,)}))
    assert through(book) == book.state.messages[1].id


def test_all_that_was_said_before_a_question_of_half_the_budget_is_summarised() -> None:
    book = Playbook(limits={"history_tokens_max": 1_000})
    book.given(say("a" * 1_200), replied("b" * 1_200)).when(say("c" * 2_400))
    assert book.state.phase is PREPARING
    assert through(book) == book.branch[1].id


def test_a_summary_counts_instead_of_what_it_covers() -> None:
    book = long_talk().given(replied("d" * 1_200), say("And?"))
    book.given(prepared(summary=Summary(through_id=book.branch[1].id, text="In short.")))
    book.given(replied("No.")).when(say("Well then."))
    assert book.state.phase is AWAITING


@pytest.mark.parametrize(("chars", "phase"), [(1_492, AWAITING), (1_496, PREPARING)])
def test_a_summary_counts_with_all_that_it_takes(chars: int, phase: Phase) -> None:
    book = long_talk().given(replied("d" * 1_200), say("And?"))
    summary = Summary(through_id=book.branch[1].id, text="x" * chars)
    book.given(prepared(summary=summary), replied("No.")).when(say("Well then."))
    assert book.state.phase is phase


def test_what_stays_may_take_just_half_of_the_budget() -> None:
    book = Playbook(limits={"history_tokens_max": 1_000})
    book.given(say("a" * 1_200), replied("b" * 1_200), say("c" * 768), replied("d" * 784))
    assert through(book.when(say("e" * 400))) == book.branch[1].id


def test_of_all_summaries_the_newest_are_kept() -> None:
    book = Playbook(limits={"history_tokens_max": 500}).given(say("q" * 1_200), replied())
    for number in range(SUMMARIES_MAX + 1):
        book.given(say("q" * 2_000))
        summary = Summary(through_id=through(book) or "", text=f"{number}")
        book.given(prepared(summary=summary), replied())
    kept = [int(summary.text) for summary in book.state.summaries]
    assert kept == [*range(1, SUMMARIES_MAX + 1)]


def test_a_summary_is_not_used_on_a_line_that_it_does_not_lie_on() -> None:
    book = long_talk().given(replied("d" * 1_200), say("And?"))
    book.given(prepared(summary=Summary(through_id=book.branch[1].id, text="In short.")))
    book.given(replied()).given(edit(book.branch[0].id, "Short."))
    assert summary_of(book.state) is None


def test_a_turn_goes_on_without_a_summary_that_could_not_be_made() -> None:
    book = long_talk().given(replied("d" * 1_200), say("And?")).when(prepared())
    book.then(AWAITING, book.call_model())


def test_one_message_alone_is_never_summarised() -> None:
    book = Playbook(limits={"history_tokens_max": 500}).when(say("x" * 9_000))
    assert book.state.phase is AWAITING


# From elsewhere


def test_recorded_messages_stand_in_the_tree_and_begin_no_turn() -> None:
    book = Playbook().when(record(("user", "Before?"), ("assistant", "Before.")))
    book.then(Phase.IDLE)
    assert book.said == [
        ("user", "Before?", "complete"),
        ("assistant", "Before.", "complete"),
    ]
    assert book.state.title == "Before?"
    assert [m.seq for m in book.given(say("Now?")).branch] == [1, 2, 3]


def test_nothing_is_recorded_in_the_middle_of_a_turn() -> None:
    book = Playbook().given(say())
    assert book.refuses(record(("user", "x"))).code == "illegal-in-phase"


def test_more_messages_than_one_event_may_bring_are_refused() -> None:
    said: tuple[Literal["user"], str] = ("user", "x")
    assert Playbook().refuses(record(*[said] * 4_001)).code == "too-many-messages"
    book = Playbook().given(record(*[said] * 4_000))
    assert len({message.id for message in book.state.messages}) == 4_000


def test_a_copied_log_keeps_its_ids_up_to_where_it_was_copied() -> None:
    origin = Origin(context_id="01932c5e-7a10-7c3b-9d2e-000000000001", version=3)
    source, copy = Playbook(), Playbook()
    first = source.log[0].model_copy(update={"context_id": origin.context_id})
    source.log[0], source.state = first, replay([first])
    source.given(say(), replied())
    copied = first.model_copy(update={"context_id": CONTEXT_ID, "origins": (origin,)})
    copy.state = replay([copied, *source.log[1:]])
    copy.now_ms = source.now_ms
    assert copy.state.messages == source.state.messages
    mine, theirs = copy.given(say()).branch[-1].id, source.given(say()).branch[-1].id
    assert mine != theirs


# Titles and pins


def test_a_title_is_made_beside_the_turn() -> None:
    book = Playbook().given(say(), STARTED)
    asked = MakeTitle(effect_id="4.0", replaces=book.state.title)
    book.when(TITLE).then(Phase.STREAMING_LLM_RESPONSE, asked)
    before = book.state
    assert book.when(TITLE).state is before
    book.given(cancel("Hel"))
    assert book.pending("make-title")
    assert book.given(titled("On greetings")).state.title == "On greetings"


def test_what_ends_workers_beside_the_turn_is_given_up_too() -> None:
    book = Playbook().given(say(), replied(), TITLE).when(abandoned())
    book.then(Phase.FAILED, stop("4.0"))


@pytest.mark.parametrize("event", [prepared(), cancel(), PAUSE])
def test_a_title_goes_on_being_made_whatever_becomes_of_the_turn(event: Event) -> None:
    book = Playbook(retrieval=["notes"]).given(say(), TITLE, event)
    assert book.pending("make-title")


def test_a_context_rests_while_its_title_is_made() -> None:
    assert rests(Playbook().given(TITLE).state)


def test_a_title_is_not_made_for_what_is_deleted() -> None:
    Playbook().given(TITLE).when(DELETE).then(Phase.DELETED, stop("2.0"))


def test_pins_are_set_and_taken_out() -> None:
    book = Playbook().given(PIN)
    assert book.state.pinned
    before = book.state
    assert book.when(PIN).state is before
    assert not book.given(UNPIN).state.pinned
