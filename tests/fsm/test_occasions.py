"""What a step is told the world as."""

from collections import Counter

from fsm import EVENT_TYPES, OCCASIONS, Event, occasions, replay, turn_change
from tests.support.playbook import (
    DELETE,
    RETRY,
    STARTED,
    Playbook,
    approve,
    cancel,
    failed,
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


def test_what_a_turn_has_come_to_is_not_told_again_while_it_stays_so() -> None:
    steps = named(say(), STARTED, replied("", wants("a")), rename("Tea"))
    assert steps[-1] == ("context-renamed",)


def test_a_deletion_is_no_rest_unless_it_ends_a_turn() -> None:
    assert named(DELETE)[-1] == ("context-deleted",)
    assert named(say(), DELETE)[-1] == ("context-deleted", "turn-rested")


def turn_counts(*events: Event) -> dict[str, int]:
    """How many turns have begun and ended, and how, in a conversation."""
    book = Playbook().given(*events)
    states = [replay(book.log[: number + 1]) for number in range(len(book.log))]
    found: Counter[str] = Counter()
    for before, event, after in zip(states, book.log[1:], states[1:], strict=False):
        change = turn_change(before, event, after)
        found["began"] += change.began
        if change.ended is not None:
            found[change.ended] += 1
    return {name: number for name, number in found.items() if number}


def test_a_turn_begins_once_and_ends_once() -> None:
    assert turn_counts(say()) == {"began": 1}
    assert turn_counts(say(), STARTED, replied()) == {"began": 1, "completed": 1}
    tools = (say(), STARTED, replied("", wants("a")), approve("a"))
    assert turn_counts(*tools) == {"began": 1}
    assert turn_counts(say(), STARTED, cancel()) == {"began": 1, "cancelled": 1}
    assert turn_counts(say(), DELETE) == {"began": 1, "cancelled": 1}


def test_a_message_that_waited_begins_its_turn_when_the_one_before_ends() -> None:
    assert turn_counts(say("a"), say("b")) == {"began": 1}
    both = (say("a"), say("b"), STARTED, replied())
    assert turn_counts(*both) == {"began": 2, "completed": 1}


def test_a_turn_that_has_failed_has_ended_and_its_retry_begins_again() -> None:
    lost = (say(), failed(retryable=False))
    assert turn_counts(*lost) == {"began": 1, "failed": 1}
    assert turn_counts(*lost, RETRY) == {"began": 2, "failed": 1}


def test_a_call_that_is_tried_again_at_once_belongs_to_the_turn_that_runs() -> None:
    assert turn_counts(say(), failed(retryable=True), RETRY) == {"began": 1}
