"""Messages from elsewhere that stand in the place of others."""

from typing import Literal

from fsm import MessagesRecorded, RecordedMessage, ToolCall, Usage
from tests.support.playbook import NOW, Playbook, record


def put_in_place(message_id: str, content: str) -> MessagesRecorded:
    """Something else was said by the assistant there."""
    said = RecordedMessage(role="assistant", content=content, replaces=message_id)
    return MessagesRecorded(at_ms=NOW, messages=(said,))


def test_a_recorded_message_in_anothers_place_keeps_what_followed() -> None:
    book = Playbook().given(
        record(("user", "a"), ("assistant", "1"), ("user", "b"), ("assistant", "2"))
    )
    replaced = book.branch[1]
    book.given(put_in_place(replaced.id, "one"))
    assert [m.content for m in book.branch] == ["a", "one", "b", "2"]
    assert book.branch[1].replaces == replaced.id
    assert [m.copy_of is not None for m in book.branch] == [False, False, True, True]
    assert [m.content for m in book.state.messages] == ["a", "1", "b", "2", "one", "b", "2"]


def test_a_recorded_message_keeps_all_that_it_came_with() -> None:
    said = RecordedMessage(
        role="assistant",
        content="1",
        parts=({"type": "text", "text": "1"},),
        tool_calls=(ToolCall(id="c", name="clock", arguments="{}"),),
        tool_call_id="b",
        created_at_ms=1,
        status="cancelled",
        finish_reason="cancelled",
        client_message_id="mine",
        model="large",
        usage=Usage(total_tokens=3),
        metadata={"from": "elsewhere"},
    )
    book = Playbook().given(MessagesRecorded(at_ms=NOW, messages=(said,)))
    (message,) = book.branch
    assert message.model_dump(include={*RecordedMessage.model_fields}) == said.model_dump()


def test_only_a_message_of_the_same_role_on_the_branch_has_a_place() -> None:
    book = Playbook().given(record(("user", "a"), ("assistant", "1")))
    assert book.refuses(put_in_place(book.branch[0].id, "x")).code == "unknown-message"
    assert book.refuses(put_in_place("nowhere", "x")).code == "unknown-message"


def test_what_follows_a_message_in_anothers_place_is_no_more_than_one_event_may_bring() -> None:
    said: tuple[Literal["assistant"], str] = ("assistant", "x")
    book = Playbook().given(record(said), record(*[said] * 4_000))
    book.given(put_in_place(book.branch[0].id, "y"))
    assert len({message.id for message in book.state.messages}) == 8_002
    book.given(record(said))
    refused = book.refuses(put_in_place(book.branch[0].id, "z"))
    assert refused.code == "too-many-messages"
    assert refused.detail == "At most 4000 messages at once, not 4001."


def test_a_message_of_the_moment_zero_keeps_it() -> None:
    said = RecordedMessage(role="user", content="a", created_at_ms=0)
    book = Playbook().given(MessagesRecorded(at_ms=NOW, messages=(said,)))
    assert book.branch[0].created_at_ms == 0


def test_only_what_the_user_has_said_is_a_title_and_only_where_there_is_none() -> None:
    said = record(("system", "Be brief."), ("assistant", "Hi."), ("user", "Tea?"))
    assert Playbook().given(said).state.title == "Tea?"
    assert Playbook(title="Coffee").given(said).state.title == "Coffee"
