"""What a step is told the world as."""

from fsm import EVENT_TYPES, OCCASIONS, Event, occasions, replay
from tests.support.playbook import (
    DELETE,
    STARTED,
    Playbook,
    approve,
    rename,
    replied,
    say,
    wants,
)


def named(*events: Event) -> list[tuple[str, ...]]:
    """The occasions of each event of a conversation."""
    book = Playbook().given(*events)
    log = book.log
    states = [replay(log[: number + 1]) for number in range(len(log))]
    befores = [None, *states[:-1]]
    return [occasions(*step) for step in zip(befores, log, states, strict=True)]


def test_every_event_is_an_occasion_of_its_kind() -> None:
    assert named(rename("Tea")) == [("context-created",), ("context-renamed",)]
    assert set(EVENT_TYPES) < OCCASIONS


def test_a_turn_that_comes_to_rest_is_told_once() -> None:
    assert named(say(), STARTED, replied(), rename("Tea"))[1:] == [
        ("message-received",),
        ("reply-started",),
        ("reply-ended", "turn-rested"),
        ("context-renamed",),
    ]


def test_a_request_for_an_approval_rests_the_turn_and_is_told_as_what_it_is() -> None:
    steps = named(say(), STARTED, replied("", wants("a")), approve("a"))
    assert steps[3] == ("reply-ended", "approval-requested", "turn-rested")
    assert steps[4] == ("approval-given",)


def test_a_deletion_is_no_rest_unless_it_ends_a_turn() -> None:
    assert named(DELETE)[-1] == ("context-deleted",)
    assert named(say(), DELETE)[-1] == ("context-deleted", "turn-rested")
