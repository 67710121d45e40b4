"""What a new owner does about effects that the one before it left pending."""

import pytest

from fsm import (
    EVENT,
    Answer,
    Event,
    Phase,
    ReplyRestarted,
    ToolRestarted,
    drafting,
    ended,
    ends_draft,
    take_over,
)
from tests.support.playbook import (
    ANSWERS,
    DELETE,
    DUE,
    PAUSE,
    STARTED,
    TITLE,
    Playbook,
    approve,
    cancel,
    failed,
    rename,
    replied,
    reply_lost,
    returned,
    say,
    wants,
)


def taken_over(book: Playbook, partial: str = "") -> list[Event]:
    """The events of a takeover, played."""
    taken = take_over(book.state, at_ms=book.now_ms, partial=partial)
    assert all(EVENT.validate_json(event.model_dump_json()) == event for event in taken.events)
    book.given(*taken.events)
    return list(taken.events)


def test_a_lost_model_call_becomes_an_event_with_what_had_arrived() -> None:
    book = Playbook().given(say(), STARTED)
    taken = take_over(book.state, at_ms=7, partial="Hel")
    assert taken.events == (
        ReplyRestarted(
            at_ms=7, effect_id="2.0", partial="Hel", message_id=drafting(book.state)
        ),
    )
    assert taken.effects == ()


def test_each_lost_tool_becomes_an_event_of_its_own() -> None:
    book = Playbook().given(say(), replied("", wants("a"), wants("b", effect="once")))
    book.given(approve("a", "b"))
    assert taken_over(book) == [
        ToolRestarted(at_ms=book.now_ms - 2_000, effect_id="4.0"),
        ToolRestarted(at_ms=book.now_ms - 2_000, effect_id="4.1"),
    ]
    assert book.state.phase is Phase.AWAITING_TOOL_APPROVAL


@pytest.mark.parametrize(
    "book",
    [
        Playbook(retrieval=["notes"]).given(say()),
        Playbook().given(say(), failed(retryable=True)),
        Playbook(retrieval=["notes"]).given(say(), TITLE),
    ],
    ids=["retrieval", "back-off", "retrieval and a title"],
)
def test_what_costs_nothing_is_performed_again_as_it_is(book: Playbook) -> None:
    taken = take_over(book.state, at_ms=7, partial="")
    assert taken.events == ()
    assert taken.effects == tuple(book.state.pending.values())


def test_a_context_that_rests_leaves_nothing_to_take_over() -> None:
    for book in (Playbook(), Playbook().given(say(), failed()), Playbook().given(DELETE)):
        assert take_over(book.state, at_ms=7, partial="") == ((), ())


def test_takeovers_one_after_the_other_come_to_an_end() -> None:
    book = Playbook().given(say(), STARTED)
    takeovers = 0
    while book.state.pending:
        taken_over(book, "Hel")
        takeovers += 1
    assert (takeovers, book.state.phase) == (4, Phase.FAILED)


def test_a_draft_is_open_only_while_its_reply_streams() -> None:
    book = Playbook().given(say())
    assert drafting(book.state) is None
    book.given(STARTED)
    assert drafting(book.state) is not None
    for event in (
        replied(),
        failed(),
        failed(retryable=True),
        reply_lost(),
        cancel(),
        PAUSE,
        DELETE,
    ):
        after = Playbook.at(book).given(event)
        assert ends_draft(type(event))
        assert drafting(after.state) is None


def test_what_does_not_end_a_draft_leaves_it_open() -> None:
    book = Playbook().given(say(), STARTED)
    draft_id = drafting(book.state)
    for event in (say(), rename("x")):
        assert not ends_draft(type(event))
        assert drafting(Playbook.at(book).given(event).state) == draft_id
    for illegal in (type(DUE), type(returned())):
        assert issubclass(illegal, Answer)
        assert illegal in ANSWERS
        assert not ends_draft(illegal)


def test_only_a_deleted_context_has_ended() -> None:
    assert ended(Playbook().given(DELETE).state)
    assert not ended(Playbook().given(PAUSE).state)
