"""The judges themselves: each wrong history must be refused, for its own fault."""

import pytest

from tests.support.http_client import Json, StreamFrame
from tests.support.invariants import (
    Sent,
    answer_faults,
    history_faults,
    poll_faults,
    stream_faults,
    streamed_texts,
)

SENT = [
    Sent("a", began_s=1.0, acked_s=2.0),
    Sent("b", began_s=3.0, acked_s=4.0),
    Sent("c", began_s=3.5, acked_s=4.5),
    Sent("d", began_s=5.0, acked_s=None),
]


@pytest.mark.parametrize(
    "kept",
    [
        pytest.param(["a", "b", "c"], id="what was never acked may be missing"),
        pytest.param(["a", "c", "b", "d"], id="b and c were under way together"),
    ],
)
def test_right_histories_have_no_faults(kept: list[str]) -> None:
    assert history_faults(SENT, kept) == []


@pytest.mark.parametrize(
    ("kept", "fault"),
    [
        (["a", "c", "d"], "lost: b"),
        (["a", "b", "c", "b"], "duplicated: b"),
        (["b", "a", "c", "d"], "reordered: b before a"),
        (["a", "b", "c", "x"], "phantom: x"),
    ],
)
def test_wrong_histories_are_refused(kept: list[str], fault: str) -> None:
    assert fault in history_faults(SENT, kept)


def frame(event: str, cursor: str, **data: Json) -> StreamFrame:
    return StreamFrame(cursor, event, data, 0.0)


GOOD = [
    frame("snapshot", "1.3.0", draft=None),
    frame("reply-started", "1.4.0"),
    frame("reply-delta", "1.4.2", message_id="m", n=2, text="He"),
    frame("reply-delta", "1.4.5", message_id="m", n=5, text="llo"),
    frame("reply-ended", "1.5.0", text="Hello"),
]


def test_a_stream_without_faults_is_taken_and_its_text_put_together() -> None:
    assert stream_faults(GOOD) == []
    assert streamed_texts(GOOD) == {"m": "Hello"}


@pytest.mark.parametrize("missing", [1, 2, 3])
def test_a_stream_with_a_hole_is_refused(missing: int) -> None:
    assert stream_faults(GOOD[:missing] + GOOD[missing + 1 :]) != []


@pytest.mark.parametrize("twice", [0, 1, 2, 3, 4])
def test_a_stream_that_shows_a_frame_twice_is_refused(twice: int) -> None:
    assert stream_faults([*GOOD[: twice + 1], *GOOD[twice:]]) != []


def test_a_stream_that_changes_its_epoch_silently_is_refused() -> None:
    other = [*GOOD[:3], frame("reply-delta", "2.4.5", message_id="m", n=5, text="llo")]
    assert stream_faults(other) != []


def test_a_restarted_reply_is_thrown_away() -> None:
    restarted = [*GOOD[:4], frame("reply-restarted", "1.5.0")]
    assert stream_faults(restarted) == []
    assert streamed_texts(restarted) == {}


def context(*ids: str, version: int = 0) -> Json:
    return {
        "messages": [{"id": i} for i in ids],
        "version": version,
        "cursor": f"1.{version}.0",
    }


def test_polls_that_go_back_or_change_history_are_refused() -> None:
    assert poll_faults([context("a"), context("a", "b", version=1)], context("a", "b")) != []
    assert poll_faults([context("a", "b")], context("b", "a", version=1)) != []
    assert poll_faults([context("a")], context("a", "b", version=1)) == []


def test_unanswered_doubly_answered_and_broken_turns_are_refused() -> None:
    said = {"role": "user", "content": "q"}
    answer = {"role": "assistant", "content": "r", "status": "complete"}
    assert answer_faults({"messages": [said, answer, said, answer]}) == []
    assert answer_faults({"messages": [said, said, answer]}) == ["unanswered: q"]
    assert answer_faults({"messages": [said, answer, answer]}) == ["answered twice: r"]
    broken = {**answer, "status": "interrupted"}
    assert answer_faults({"messages": [said, broken]}) == ["not whole: r"]
