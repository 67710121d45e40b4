"""What is told of a body that is not what it should be."""

import pytest
from pydantic import JsonValue

from gateway.bodies import AskTitle, Body, SendMessage, UpdateQueue
from gateway.openai.bodies import ChatRequest, ResponseRequest
from gateway.problems import Problem
from gateway.reading import parse_json, validate


def said(content: JsonValue) -> dict[str, JsonValue]:
    """A chat with one message."""
    return {"model": "m", "messages": [{"role": "user", "content": content}]}


@pytest.mark.parametrize(
    ("body", "document", "detail"),
    [
        (SendMessage, {}, "content: Field required"),
        (SendMessage, {"content": 5}, "content: Input should be a valid string"),
        (
            SendMessage,
            {"content": 5, "attachments": [{"type": "text"}]},
            "content: Input should be a valid string",
        ),
        (SendMessage, {"content": ""}, "content: String should have at least 1 character"),
        (SendMessage, {"content": [{"text": "x"}]}, "content.0.type: Field required"),
        (
            SendMessage,
            {"content": []},
            "content: List should have at least 1 item after validation, not 0",
        ),
        (
            SendMessage,
            {"metadata": 5, "content": [{"text": "x"}]},
            "content.0.type: Field required",
        ),
        (SendMessage, {"content": "x", "policy": 5, "more": 1}, "policy: "),
        (UpdateQueue, {"edit": {"": "x"}}, "edit.: String should have at least 1 character"),
        (AskTitle, {}, "send messages, or a text"),
        (ChatRequest, said([{"type": "audio"}]), "messages.0.content.0.type: "),
        (
            ChatRequest,
            said([{"type": "image_url", "image_url": {"detail": "low"}}]),
            "messages.0.content.0.image_url.url: Field required",
        ),
        (
            ResponseRequest,
            {"model": "m", "input": [{"type": "message"}, {"type": "item_reference"}]},
            "input.1.type: ",
        ),
        (
            ResponseRequest,
            {"model": "m", "input": "x", "conversation": {"id": 5}},
            "conversation.id: Input should be a valid string",
        ),
        (
            ResponseRequest,
            {"model": "m", "input": "x", "tools": [{"type": "web_search"}]},
            "tools.0.type: Input should be 'function'",
        ),
    ],
)
def test_what_is_told_is_the_field_that_is_wrong_and_how(
    body: type[Body], document: dict[str, JsonValue], detail: str
) -> None:
    with pytest.raises(Problem) as refused:
        validate(body, document)
    assert refused.value.type == "invalid-body"
    assert refused.value.detail.startswith(detail)
    if not detail.endswith(": "):
        assert refused.value.detail == detail


def test_a_problem_repeats_no_more_than_a_sentence_of_what_was_sent() -> None:
    with pytest.raises(Problem) as refused:
        validate(SendMessage, {"content": "x", "x" * 9_000: "not here"})
    assert refused.value.detail == "x" * 500


@pytest.mark.parametrize(
    ("bound", "most"), [("depth_max", 4), ("values_max", 5)], ids=["deep", "many"]
)
def test_a_body_is_so_deep_and_holds_so_many_values_and_no_more(bound: str, most: int) -> None:
    raw, bounds = b'{"a":[1,{"b":2}]}', {"depth_max": 64}
    assert parse_json(raw, **{**bounds, bound: most}) == {"a": [1, {"b": 2}]}
    with pytest.raises(Problem):
        parse_json(raw, **{**bounds, bound: most - 1})
