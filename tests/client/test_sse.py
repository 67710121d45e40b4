import itertools

import pytest
from hypothesis import given, strategies as st

from contextd_client.problems import FrameTooLarge
from contextd_client.sse import Frame, FrameParser

STREAM = (
    ': hello\n\nretry: 250\nid: e.1.0\nevent: reply-delta\ndata: {"text":\n'
    'data:  "näh"}\r\n\r\n:\r\nid: e.2.0\rdata: x\r\r\ndata\n\nevent: nothing\n\n'
).encode()
FRAMES = [
    Frame("reply-delta", '{"text":\n "näh"}', "e.1.0"),
    Frame("message", "x", "e.2.0"),
    Frame("message", "", "e.2.0"),
]


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_however_the_bytes_are_cut_the_frames_are_the_same(cuts: list[int]) -> None:
    parser = FrameParser(frame_bytes_max=1000)
    edges = [0, *sorted(cuts), len(STREAM)]
    pieces = [STREAM[a:b] for a, b in itertools.pairwise(edges)]
    assert [frame for piece in pieces for frame in parser.feed(piece)] == FRAMES
    assert parser.retry_ms == 250


def test_a_carriage_return_is_half_a_line_end_until_more_is_known() -> None:
    parser = FrameParser(frame_bytes_max=1000)
    assert parser.feed(b"data: x\r\r") == []
    assert parser.feed(b"d") == [Frame("message", "x", "")]


def test_a_frame_that_never_ends_is_refused() -> None:
    parser = FrameParser(frame_bytes_max=100)
    with pytest.raises(FrameTooLarge):
        parser.feed(b"data: 0123456789\n" * 10)


def test_a_line_that_never_ends_is_refused() -> None:
    parser = FrameParser(frame_bytes_max=100)
    with pytest.raises(FrameTooLarge):
        parser.feed(b"0123456789" * 11)


def test_the_bound_is_that_of_each_frame_and_not_of_all() -> None:
    parser = FrameParser(frame_bytes_max=20)
    frames = [frame for _ in range(10) for frame in parser.feed(b"data: 12345678\n\n")]
    assert [frame.data for frame in frames] == ["12345678"] * 10


def test_a_line_and_a_frame_may_be_as_large_as_the_bound() -> None:
    parser = FrameParser(frame_bytes_max=20)
    assert parser.feed(b"data: 1234567890abcd") == []
    assert parser.feed(b"\n\n") == [Frame("message", "1234567890abcd", "")]
    assert parser.feed(b"data: 1234\ndata: 5678\n\n") == [Frame("message", "1234\n5678", "")]


def test_what_is_no_text_is_shown_as_that() -> None:
    parser = FrameParser(frame_bytes_max=100)
    assert parser.feed(b"data: a\xffb\n\n") == [Frame("message", "a\ufffdb", "")]


def test_an_id_with_a_zero_in_it_is_none() -> None:
    parser = FrameParser(frame_bytes_max=100)
    (frame,) = parser.feed(b"id: 1.2.3\nid: 1\0\ndata: x\n\n")
    assert frame.id == "1.2.3"


@pytest.mark.parametrize("said", ["", "25x", "-1", "2.5", "\u0662\u0665"])
def test_a_wait_that_is_no_number_of_milliseconds_is_passed_over(said: str) -> None:
    parser = FrameParser(frame_bytes_max=100)
    parser.feed(f"retry: 250\nretry: {said}\n".encode())
    assert parser.retry_ms == 250
