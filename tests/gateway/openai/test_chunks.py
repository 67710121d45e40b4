"""Chunks show what is kept, once, or end with an error: they take no text back."""

import orjson
import pytest

from gateway.openai.chat import Chunks
from gateway.openai.transcript import Transcript
from gateway.problems import Problem
from tests.gateway.openai.test_transcript import REQUEST, frames, played
from tests.support.playbook import (
    DUE,
    STARTED,
    Playbook,
    cancel,
    failed,
    replied,
    reply_lost,
)

DONE = b"data: [DONE]"
BUSY = failed("Hel", retryable=True)
BUSY_EARLIER = failed("H", retryable=True)


class Reader:
    """A client that joins what it is shown of a turn."""

    def __init__(self, book: Playbook) -> None:
        self._frames = [*frames(book, chars=2)]
        self._transcript = Transcript(REQUEST, None)
        self._chunks = Chunks(
            "chatcmpl_0", "scripted", self._transcript, with_usage=False, repeatable=True
        )
        self.text = ""
        self.done = False

    def read(self, *, at_once: bool = False) -> None:
        """Read to the end, each frame as it comes or all of them at once.

        Raises:
            Problem: The stream ends with it.
        """
        taken = [self._transcript.take(frame) for frame in self._frames]
        if at_once:
            taken = [[happening for happenings in taken for happening in happenings]]
        for happenings in taken:
            for block in self._chunks.encode(happenings).split(b"\n\n")[:-1]:
                if block == DONE:
                    self.done = True
                    continue
                (choice,) = orjson.loads(block.removeprefix(b"data: "))["choices"]
                self.text += choice["delta"].get("content", "")


REPEATED = {
    "tried again": (BUSY, DUE, STARTED, replied("Hello.")),
    "tried again twice": (BUSY, DUE, STARTED, BUSY_EARLIER, DUE, STARTED, replied("Hello.")),
    "the same": (BUSY, DUE, STARTED, replied("Hel")),
    "taken over": (reply_lost("He"), STARTED, replied("Hello.")),
}


@pytest.mark.parametrize("name", REPEATED)
def test_what_comes_again_is_shown_once(name: str) -> None:
    book = played(STARTED, *REPEATED[name])
    reader = Reader(book)
    reader.read()
    assert reader.text == book.branch[-1].content
    assert reader.done


OTHERWISE = {
    "something else": (BUSY, DUE, STARTED, replied("Hey, you.")),
    "less": (BUSY, DUE, STARTED, replied("He")),
    "nothing": (BUSY, DUE, STARTED, replied("")),
    "cancelled": (BUSY, cancel()),
}


@pytest.mark.parametrize("name", OTHERWISE)
def test_where_what_was_shown_does_not_come_again_the_stream_is_an_error(name: str) -> None:
    reader = Reader(played(STARTED, *OTHERWISE[name]))
    with pytest.raises(Problem, match="no part of what it says now"):
        reader.read()
    assert reader.text == "Hel"
    assert not reader.done


@pytest.mark.parametrize("name", [*REPEATED, *OTHERWISE])
def test_a_repeat_from_the_log_shows_nothing_of_attempts_that_were_dropped(name: str) -> None:
    book = played(STARTED, *{**REPEATED, **OTHERWISE}[name])
    reader = Reader(book)
    reader.read(at_once=True)
    kept = book.branch[-1]
    assert reader.text == (kept.content if kept.role == "assistant" else "")
    assert reader.done
