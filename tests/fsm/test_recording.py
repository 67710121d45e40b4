"""Messages from elsewhere that stand in the place of others."""

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
