import itertools

import pytest
from hypothesis import given, strategies as st

from workers.models.sse import EventTooLong, SseParser

LINES = st.lists(
    st.sampled_from(
        [
            b"",
            b"",
            b"data: a",
            b"data:b",
            b"data",
            b"data:  two",
            b": note",
            b"event: x",
            b"datax: y",
            b"id",
        ]
    ),
    max_size=30,
)


def events_of(pieces: list[bytes]) -> list[bytes]:
    parser = SseParser(event_bytes_max=10_000)
    return [event for piece in pieces for event in parser.feed(piece)]


def expected(lines: list[bytes]) -> list[bytes]:
    """The specification, line by line and without any cleverness."""
    events: list[bytes] = []
    data: list[bytes] = []
    for line in lines:
        if not line:
            if data:
                events.append(b"\n".join(data))
            data = []
            continue
        name, _, value = line.partition(b":")
        if name == b"data":
            data.append(value.removeprefix(b" "))
    return events


@given(lines=LINES, ends=st.data(), cuts=st.lists(st.integers(0, 300), max_size=12))
def test_any_split_of_any_line_ends_gives_the_same_events(
    lines: list[bytes], ends: st.DataObject, cuts: list[int]
) -> None:
    stream = b""
    for line in lines:
        stream += line
        # A CR followed by an empty line's LF would be one line end.
        choices = (
            [b"\n", b"\r\n"] if not line and stream.endswith(b"\r") else [b"\n", b"\r\n", b"\r"]
        )
        end = ends.draw(st.sampled_from(choices))
        if stream.endswith(b"\r") and end == b"\n":
            end = b"\r\n"
        stream += end
    marks = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    pieces = [stream[a:b] for a, b in itertools.pairwise(marks)]
    assert events_of(pieces) == expected(lines)
    assert events_of([stream[at : at + 1] for at in range(len(stream))]) == expected(lines)


def test_several_events_of_one_read_come_out_together() -> None:
    assert events_of([b"data: 1\n\ndata: 2\n\ndata: 3\n"]) == [b"1", b"2"]


def test_an_event_without_its_blank_line_is_no_event() -> None:
    assert events_of([b"data: whole\n\ndata: cut"]) == [b"whole"]


def test_a_byte_order_mark_before_the_first_line_is_passed_over() -> None:
    assert events_of([b"\xef", b"\xbb", b"\xbfdata: x\n\n"]) == [b"x"]


def test_a_cr_as_last_byte_ends_its_line_at_once() -> None:
    parser = SseParser(event_bytes_max=100)
    assert parser.feed(b"data: x\r\r") == [b"x"]
    assert parser.feed(b"\ndata: y\r") == []
    assert parser.feed(b"\n\r\n") == [b"y"]


@pytest.mark.parametrize(
    "piece", [b"x" * 40, b"data: " + b"x" * 40 + b"\n", b"data: 12345678\n", b"data\n"]
)
def test_an_endless_event_is_refused(piece: bytes) -> None:
    with pytest.raises(EventTooLong):
        events_of([piece] * 20_000)


def test_comments_without_end_are_taken_for_ever() -> None:
    parser = SseParser(event_bytes_max=100)
    for _ in range(1_000):
        assert parser.feed(b": still here\n\n") == []
