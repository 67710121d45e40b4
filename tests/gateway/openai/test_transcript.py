"""A turn's happenings and their numbers follow from the log, whatever pieces text comes in."""

from collections.abc import Iterator

import orjson
import pytest
from pydantic import JsonValue

from fsm import Event, RecordedMessage, TurnRequested, drafting
from gateway.openai.response import Asked, ResponseEvents
from gateway.openai.transcript import Transcript, message_mark
from gateway.stream import Frame, Position, event_frames
from tests.support.playbook import (
    DUE,
    NOW,
    PAUSE,
    RESUME,
    RETRY,
    STARTED,
    Playbook,
    answer,
    ask,
    cancel,
    failed,
    replied,
    reply_lost,
    say,
    wants,
)
from tests.support.service import Json

REQUEST = "0" * 32
TOOL: JsonValue = {"name": "weather"}


def request(content: str = "Rain?") -> TurnRequested:
    """The turn that is watched."""
    said = RecordedMessage(
        role="user", content=content, client_message_id=message_mark(REQUEST, 0)
    )
    return TurnRequested(at_ms=NOW, messages=(said,), patch={"client_tools": [TOOL]})


def played(*events: Event) -> Playbook:
    """A context in which the turn is asked for, after something else, and goes on so."""
    book = Playbook(limits={"attempts_max": 3}).given(say("Before."), STARTED, replied())
    for event in (request(), *events):
        partial = getattr(event, "partial", "")
        message_id = drafting(book.state) if partial else None
        book.given(event.model_copy(update={"message_id": message_id}) if partial else event)
    return book


def frames(book: Playbook, *, chars: int) -> Iterator[Frame]:
    """What viewers are shown, with text in pieces of so many characters."""
    log = [event.model_dump_json().encode() for event in book.log]
    for frame, _ in event_frames("1", Position(0, 0), log):
        if frame.event != "reply-delta":
            yield frame
            continue
        delta: Json = orjson.loads(frame.data)
        text: str = delta["text"]
        for start in range(0, len(text), chars):
            piece = delta | {"text": text[start : start + chars]}
            yield Frame(frame.id, frame.event, orjson.dumps(piece))


def events(book: Playbook, *, chars: int, after: int = -1) -> list[Json]:
    """The events of the response behind a number."""
    transcript = Transcript(REQUEST, None)
    encoder = ResponseEvents(book.state.id, Asked(REQUEST, 0, {}), transcript, after=after)
    shown = b"".join(
        encoder.encode(transcript.take(frame)) for frame in frames(book, chars=chars)
    )
    blocks = shown.decode().split("\n\n")[:-1]
    return [orjson.loads(block.partition("\ndata: ")[2]) for block in blocks]


def text_of(shown: list[Json]) -> str:
    return "".join(e["delta"] for e in shown if e["type"] == "response.output_text.delta")


CALLS = replied("Let me see. ", wants("q", name="weather", question=True))
BUSY = failed("Hel", retryable=True)

HISTORIES = {
    "completed": (played(STARTED, replied("Hello, you.")), "completed", "Hello, you."),
    "called": (played(STARTED, CALLS, answer("q"), replied("x")), "completed", "Let me see. "),
    "asked on": (
        played(CALLS, ask(("tool", "Sun.")), replied("x")),
        "completed",
        "Let me see. ",
    ),
    "tried again": (
        played(STARTED, BUSY, DUE, STARTED, replied("Hello.")),
        *("completed", "HelHello."),
    ),
    "taken over": (
        played(STARTED, reply_lost("He"), STARTED, replied("Hello.")),
        *("completed", "HeHello."),
    ),
    "failed": (played(STARTED, failed("Hel"), RETRY, replied("Hello.")), "failed", "Hel"),
    "cancelled": (played(STARTED, cancel("Hel"), say(), replied("x")), "incomplete", "Hel"),
    "interrupted": (
        played(STARTED, say(policy="interrupt", partial="Hel"), replied("x")),
        *("incomplete", "Hel"),
    ),
    "paused": (played(PAUSE, RESUME, replied("Hello.")), "completed", "Hello."),
    "followed": (played(say("next"), replied("One."), replied("Two.")), "completed", "One."),
}


@pytest.mark.parametrize("name", HISTORIES)
def test_numbers_do_not_hang_on_the_pieces_of_the_text(name: str) -> None:
    book, outcome, text = HISTORIES[name]
    whole = events(book, chars=1_000)
    assert whole[-1]["type"] == f"response.{outcome}"
    assert text_of(whole) == text
    structure = [event for event in whole if "delta" not in event]
    for chars in (1, 2, 3):
        cut = events(book, chars=chars)
        numbers = [event["sequence_number"] for event in cut]
        assert numbers == sorted(set(numbers))
        assert text_of(cut) == text
        assert [event for event in cut if "delta" not in event] == structure


@pytest.mark.parametrize("name", HISTORIES)
def test_behind_every_number_comes_exactly_what_is_missing(name: str) -> None:
    book, _, text = HISTORIES[name]
    every = events(book, chars=1)
    assert [event["sequence_number"] for event in every] == [*range(len(every))]
    for after in range(-1, len(every)):
        for chars in (1, 2, 1_000):
            rest = events(book, chars=chars, after=after)
            assert text_of(every[: after + 1]) + text_of(rest) == text
            assert [e for e in rest if "delta" not in e] == [
                event for event in every[after + 1 :] if "delta" not in event
            ]


def test_what_has_ended_stays_what_it_is() -> None:
    book, _, _ = HISTORIES["failed"]
    assert book.branch[-1].content == "Hello."
    last = events(book, chars=5)[-1]
    assert last["response"]["status"] == "failed"
    assert last["response"]["error"]["message"] == "The model server is busy."


def test_a_dropped_attempt_is_an_item_that_is_not_complete() -> None:
    book, _, _ = HISTORIES["taken over"]
    shown = events(book, chars=5)
    items = [event["item"] for event in shown if event["type"] == "response.output_item.done"]
    assert [item["status"] for item in items] == ["incomplete", "completed"]
    assert shown[-1]["response"]["output"] == [items[1]]


def test_each_item_of_a_response_has_an_index_of_its_own() -> None:
    calls = [wants(name, name="weather", question=True) for name in ("q", "r")]
    shown = events(
        played(STARTED, reply_lost("He"), STARTED, replied("Hello.", *calls)), chars=5
    )
    placed = [(e["type"], e["output_index"]) for e in shown if "output_index" in e]
    assert [index for _, index in placed] == sorted(index for _, index in placed)
    for kind in ("added", "done"):
        of_items = [index for type_, index in placed if type_ == f"response.output_item.{kind}"]
        assert of_items == [0, 1, 2, 3]
