"""The text of replies, out of whatever is shown of them."""

import pytest

from contextd_client import (
    ContextDeleted,
    ContextView,
    DraftView,
    Event,
    MessageReceived,
    MessageView,
    Reply,
    ReplyDelta,
    ReplyEnded,
    ReplyFailed,
    ReplyRestarted,
    ReplyStarted,
    Reset,
    Snapshot,
    Transcript,
)
from contextd_client.events import CancelRequested, PauseRequested, WorkAbandoned

STARTED = ReplyStarted(at_ms=1, message_id="m")
ENDED = ReplyEnded(at_ms=1, message_id="m", text="Hello, you")


def delta(text: str, n: int, message_id: str = "m") -> ReplyDelta:
    return ReplyDelta(message_id=message_id, n=n, text=text)


def view(*messages: MessageView, draft: str | None = None) -> ContextView:
    return ContextView(
        id="c",
        status="idle",
        version=1,
        cursor="1.1.0",
        messages=messages,
        draft=None if draft is None else DraftView(message_id="m", n=len(draft), text=draft),
    )


def said(content: str, *, role: str = "assistant", status: str = "complete") -> MessageView:
    return MessageView(id="m", role=role, content=content, status=status)


def told(*events: Event) -> tuple[str, tuple[Reply, ...]]:
    """What was printed, and the replies as they stand then."""
    transcript = Transcript()
    return "|".join([transcript.take(event) for event in events]), transcript.replies


def test_a_reply_is_told_piece_by_piece_and_its_end_adds_nothing() -> None:
    printed, (reply,) = told(STARTED, delta("Hello", 5), delta(", you", 10), ENDED)
    assert printed == "|Hello|, you|"
    assert reply == Reply("m", "Hello, you", 10, "complete")


def test_a_reply_that_comes_as_a_whole_is_told_by_its_end() -> None:
    assert told(ENDED) == ("Hello, you", (Reply("m", "Hello, you", 10, "complete"),))


def test_text_that_was_told_is_not_told_again() -> None:
    again = (delta("Hello", 5), delta("lo, y", 8), Snapshot(context=view(draft="Hello, ")))
    printed, (reply,) = told(delta("Hel", 3), *again, STARTED, ENDED, ENDED)
    assert printed == "Hel|lo|, y|||ou|"
    assert reply.text == "Hello, you"


def test_a_stream_that_begins_in_mid_reply_is_whole_in_the_end() -> None:
    transcript = Transcript()
    assert transcript.take(delta("llo, ", 7)) == "llo, "
    assert transcript.text == "llo, "
    assert transcript.take(ENDED) == "you"
    assert transcript.text == "Hello, you"


def test_characters_are_counted_not_bytes() -> None:
    text = "Grüße 👋"
    assert told(delta(text[:4], 4), delta(text[2:], len(text)))[0] == "Grüß|e 👋"


@pytest.mark.parametrize(
    "event",
    [
        CancelRequested(at_ms=1, partial="Hello", message_id="m"),
        ReplyFailed(
            at_ms=1, code="c", detail="d", retryable=False, partial="Hello", message_id="m"
        ),
        WorkAbandoned(at_ms=1, deaths=3, cause="c", partial="Hello", message_id="m"),
        MessageReceived(
            at_ms=1, content="x", policy="interrupt", partial="Hello", message_id="m"
        ),
    ],
)
def test_a_reply_that_breaks_off_is_told_as_far_as_it_came(event: Event) -> None:
    printed, (reply,) = told(STARTED, delta("Hel", 3), event)
    assert printed == "|Hel|lo"
    assert reply == Reply("m", "Hello", 5, "broken_off")


@pytest.mark.parametrize(
    "event",
    [
        PauseRequested(at_ms=1),
        ContextDeleted(at_ms=1),
        MessageReceived(at_ms=1, content="x", policy="rollback"),
        Snapshot(context=view()),
        Reset(reason="r", context=view()),
    ],
)
def test_a_reply_that_is_dropped_has_broken_off(event: Event) -> None:
    assert told(STARTED, delta("Hel", 3), event)[1] == (Reply("m", "Hel", 3, "broken_off"),)


def test_a_message_that_waits_breaks_nothing_off() -> None:
    waits = MessageReceived(at_ms=1, content="x", policy="enqueue")
    assert told(STARTED, delta("Hel", 3), waits)[1] == (Reply("m", "Hel", 3, "streaming"),)


def test_a_reply_that_is_asked_for_again_begins_anew() -> None:
    restarted = ReplyRestarted(at_ms=1, partial="Hel", message_id="m")
    printed, (reply,) = told(STARTED, delta("Hel", 3), restarted, delta("Hi", 2, "m2"))
    assert printed == "|Hel||Hi"
    assert reply == Reply("m2", "Hi", 2, "streaming")


def test_a_state_tells_its_replies_and_its_draft() -> None:
    cancelled = MessageView(id="a", role="assistant", content="Hal", status="cancelled")
    user = MessageView(id="u", role="user", content="not a reply")
    snapshot = Snapshot(context=view(cancelled, user, draft="Hello"))
    printed, replies = told(snapshot, delta("!", 6))
    assert printed == "HalHello|!"
    assert replies == (Reply("a", "Hal", 3, "broken_off"), Reply("m", "Hello!", 6, "streaming"))
    assert told(Snapshot(context=view(said("Hi", role="user")))) == ("", ())


def test_the_text_is_that_of_the_newest_reply() -> None:
    transcript = Transcript()
    assert transcript.text == ""
    transcript.take(delta("one", 3, "a"))
    transcript.take(delta("two", 3, "b"))
    assert transcript.text == "two"


def test_a_reply_has_broken_off_where_a_state_shows_the_draft_of_another() -> None:
    another = DraftView(message_id="other", n=3, text="New")
    state = view().model_copy(update={"draft": another})
    printed, replies = told(STARTED, delta("Hello", 5), Snapshot(context=state))
    assert printed == "|Hello|New"
    assert replies == (
        Reply("m", "Hello", 5, "broken_off"),
        Reply("other", "New", 3, "streaming"),
    )
