"""Messages of OpenAI's clients as ours, and ours as items."""

import pytest
from aiohttp.test_utils import make_mocked_request
from pydantic import JsonValue, TypeAdapter

from fsm import Message, RecordedMessage, ToolCall
from gateway.openai.bodies import (
    ChatMessage,
    ChatTool,
    InputItem,
    ResponseTool,
)
from gateway.openai.items import ItemsQuery, page_of, read_items_query
from gateway.openai.messages import (
    items_of,
    marked,
    read_chat,
    read_items,
    read_news,
    read_tools,
)
from gateway.problems import Problem

CHAT: TypeAdapter[list[ChatMessage]] = TypeAdapter(list[ChatMessage])
INPUT: TypeAdapter[list[InputItem]] = TypeAdapter(list[InputItem])
CALL: dict[str, JsonValue] = {
    "id": "c",
    "type": "function",
    "function": {"name": "n", "arguments": "{}"},
}
CALLED = (ToolCall(id="c", name="n", arguments="{}"),)
URL = "https://a.example/x.png"


def chat(*messages: dict[str, JsonValue]) -> list[ChatMessage]:
    return CHAT.validate_python(messages)


def given(*items: dict[str, JsonValue]) -> list[InputItem]:
    return INPUT.validate_python(items)


def test_what_a_chat_begins_with_is_its_system_prompt() -> None:
    prompt, messages = read_chat(
        chat(
            {"role": "system", "content": "A."},
            {"role": "developer", "content": "B."},
            {"role": "user", "content": "C."},
            {"role": "developer", "content": "D."},
        )
    )
    assert prompt == "A.\n\nB."
    assert messages == [
        RecordedMessage(role="user", content="C."),
        RecordedMessage(role="system", content="D."),
    ]


def test_calls_are_the_assistants_and_results_the_tools() -> None:
    _, messages = read_chat(
        chat(
            {"role": "user", "content": "x", "tool_calls": [CALL], "tool_call_id": "c"},
            {"role": "assistant", "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "c", "content": "y"},
        )
    )
    assert messages == [
        RecordedMessage(role="user", content="x"),
        RecordedMessage(role="assistant", content="", tool_calls=CALLED),
        RecordedMessage(role="tool", content="y", tool_call_id="c"),
    ]


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"role": "tool", "content": "y"}, "messages.0.tool_call_id"),
        ({"role": "assistant"}, "messages.0.content"),
        ({"role": "user", "tool_calls": [CALL]}, "messages.0.content"),
    ],
)
def test_a_message_that_says_too_little_is_refused(
    message: dict[str, JsonValue], param: str
) -> None:
    with pytest.raises(Problem) as refused:
        read_chat(chat(message))
    assert refused.value.extra == {"param": param}


def test_news_are_what_users_and_tools_say_behind_the_last_reply() -> None:
    said: list[dict[str, JsonValue]] = [
        {"role": "system", "content": "S."},
        {"role": "user", "content": "Old."},
        {"role": "assistant", "content": "R."},
    ]
    later: list[dict[str, JsonValue]] = [
        {"role": "developer", "content": "D."},
        {"role": "tool", "tool_call_id": "c", "content": "y"},
        {"role": "user", "content": "New."},
    ]
    assert [one.content for one in read_news(chat(*said, *later))] == ["y", "New."]
    with pytest.raises(Problem):
        read_news(chat(*said))


def test_items_are_messages_and_calls_join_the_reply_before_them() -> None:
    call: dict[str, JsonValue] = {"type": "function_call", "call_id": "c", "name": "n"}
    assert read_items(
        given(
            {"role": "developer", "content": "D."},
            {"type": "message", "role": "assistant", "content": "R."},
            {"type": "reasoning"},
            call,
            {**call, "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "y"},
            call,
        ),
        "input",
    ) == [
        RecordedMessage(role="system", content="D."),
        RecordedMessage(role="assistant", content="R.", tool_calls=CALLED * 2),
        RecordedMessage(role="tool", content="y", tool_call_id="c"),
        RecordedMessage(role="assistant", content="", tool_calls=CALLED),
    ]


@pytest.mark.parametrize(
    ("item", "param"),
    [
        ({"role": "user"}, "input.0"),
        ({"content": "x"}, "input.0"),
        ({"type": "function_call", "call_id": "c"}, "input.0"),
        ({"type": "function_call", "name": "n"}, "input.0"),
        ({"type": "function_call_output", "call_id": "c"}, "input.0"),
        ({"type": "function_call_output", "output": "y"}, "input.0"),
        ({"type": "reasoning"}, "input"),
    ],
)
def test_an_item_that_says_too_little_is_refused(
    item: dict[str, JsonValue], param: str
) -> None:
    with pytest.raises(Problem) as refused:
        read_items(given(item), "input")
    assert refused.value.extra == {"param": param}


def test_parts_are_kept_where_there_is_more_than_text() -> None:
    said: list[JsonValue] = [
        {"type": "text", "text": "A."},
        {"type": "refusal", "refusal": "B.", "text": "C."},
    ]
    images: list[JsonValue] = [
        {"type": "image_url", "image_url": {"url": URL, "detail": "low"}},
        {"type": "input_image", "image_url": URL, "detail": "high"},
        {"type": "input_image", "image_url": URL},
    ]
    _, (text, seen) = read_chat(
        chat(
            {"role": "user", "content": said},
            {"role": "user", "content": [{"type": "text", "text": "A."}, *images]},
        )
    )
    assert (text.content, text.parts) == ("A.\nB.", ())
    assert seen.content == "A."
    assert seen.parts == (
        {"type": "text", "text": "A."},
        *(
            {"type": "image_url", "image_url": {"url": URL, "detail": detail}}
            for detail in ("low", "high", "auto")
        ),
    )


def test_messages_have_the_number_of_their_request_and_the_last_what_else_was_asked() -> None:
    first, last = marked([RecordedMessage(role="user", content=text) for text in "ab"], "r", 1)
    assert (first.client_message_id, first.metadata) == ("r.0", {})
    assert (last.client_message_id, last.metadata) == ("r.1", {"openai": 1})


def test_of_two_tools_with_one_name_the_last_counts() -> None:
    chats = [
        ChatTool.model_validate({"type": "function", "function": function})
        for function in ({"name": "n"}, {"name": "n", "description": "D.", "strict": True})
    ]
    (tool,) = read_tools(chats)
    assert (tool.name, tool.description, tool.strict) == ("n", "D.", True)
    assert tool.parameters == {"type": "object", "properties": {}}
    named = ResponseTool.model_validate(
        {"type": "function", "name": "m", "parameters": {"type": "object"}}
    )
    (tool,) = read_tools([named])
    assert (tool.name, tool.description, tool.strict) == ("m", "", None)
    assert tool.parameters == {"type": "object"}
    assert read_tools(None) == ()


def message(number: int, role: str, content: str, *calls: str) -> Message:
    return Message.model_validate(
        {
            "id": f"0-{number}",
            "role": role,
            "content": content,
            "seq": number,
            "parent_id": None,
            "created_at_ms": 1,
            "tool_calls": [{"id": id_, "name": "n", "arguments": "{}"} for id_ in calls],
            "tool_call_id": "c" if role == "tool" else None,
        }
    )


def test_a_reply_and_each_of_its_calls_are_items_and_no_two_have_one_id() -> None:
    items = items_of(
        [
            message(1, "user", "x"),
            message(2, "assistant", "", "c", "d"),
            message(3, "tool", "y"),
            message(4, "assistant", "z", "e", "c"),
        ]
    )
    assert [item["id"] for item in items] == [
        *("msg_01", "fc_c", "fc_d", "fco_03", "msg_04", "fc_e", "fc_04_1"),
    ]
    assert items[0]["content"] == [{"type": "input_text", "text": "x"}]
    assert (items[3]["call_id"], items[3]["output"]) == ("c", "y")
    assert items[6]["call_id"] == "c"


@pytest.mark.parametrize(
    ("limit", "newest_first", "after", "shown", "has_more"),
    [
        (2, False, None, "ab", True),
        (3, False, None, "abc", False),
        (2, True, None, "cb", True),
        (2, False, "a", "bc", False),
        (1, True, "c", "b", True),
        (1, False, "c", "", False),
    ],
)
def test_a_page_begins_behind_an_item_and_says_whether_there_is_more(
    limit: int, newest_first: bool, after: str | None, shown: str, has_more: bool
) -> None:
    page = page_of([{"id": id_} for id_ in "abc"], ItemsQuery(limit, newest_first, after))
    assert page == {
        "object": "list",
        "data": [{"id": id_} for id_ in shown],
        "first_id": shown[:1] or None,
        "last_id": shown[-1:] or None,
        "has_more": has_more,
    }


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ItemsQuery(20, True, None)),
        ("?limit=1&order=asc&after=a", ItemsQuery(1, False, "a")),
        ("?limit=100&order=desc", ItemsQuery(100, True, None)),
    ],
)
def test_a_page_has_1_to_100_items_newest_first_or_last(
    query: str, expected: ItemsQuery
) -> None:
    assert read_items_query(make_mocked_request("GET", f"/items{query}")) == expected


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "order=up"])
def test_another_page_is_refused(query: str) -> None:
    with pytest.raises(Problem) as refused:
        read_items_query(make_mocked_request("GET", f"/items?{query}"))
    assert refused.value.extra == {"param": query.partition("=")[0]}


def test_a_page_behind_nothing_is_refused() -> None:
    with pytest.raises(Problem) as refused:
        page_of([{"id": "a"}], ItemsQuery(1, True, "x" * 500))
    assert refused.value.type == "invalid-parameter"
    assert refused.value.extra == {"param": "after"}
    assert len(refused.value.detail) < 120
