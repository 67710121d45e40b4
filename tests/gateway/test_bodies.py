"""A body takes nothing that its description refuses."""

from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, Final

import pytest
from pydantic import ValidationError

from gateway.bodies import (
    AddNote,
    AnswerQuestion,
    ApproveTools,
    Ask,
    AskTitle,
    Attachment,
    Body,
    CreateBranch,
    CreateContext,
    EditMessage,
    Fork,
    MergeBranch,
    PatchMessage,
    PutContext,
    Recorded,
    RecordMessages,
    Regenerate,
    Rename,
    SendMessage,
    SocketAction,
    TextPart,
    UpdateQueue,
)
from gateway.openai.bodies import ChatRequest, ResponseRequest
from gateway.reading import INTEGER_MAX

VALUES: Final[tuple[object, ...]] = (
    *(True, False, None),
    *(0, 1, -1, 1.0, 1.5, 1e300, 2**70),
    *("", "1", "x", "true", "2026-01-31T12:00:00Z"),
    *([], ["x"], [1], [True]),
    *({}, {"x": 1}, {"x": True}, {"x": "1"}),
)


def bodies(base: type[Body] = Body) -> Iterator[type[Body]]:
    """Every body that some address takes."""
    for body in base.__subclasses__():
        yield body
        yield from bodies(body)


BODIES: Final = sorted({*bodies(), ChatRequest, ResponseRequest}, key=repr)


def takes(body: type[Body], name: str, value: object) -> bool:
    """Whether a field takes a value, whatever else is missing."""
    try:
        body.model_validate({name: value})
    except ValidationError as refused:
        return all(error["loc"][:1] != (name,) for error in refused.errors())
    return True


_validator: Callable[..., Any] = import_module("jsonschema").Draft202012Validator


@pytest.mark.parametrize("body", BODIES)
def test_a_body_takes_nothing_that_its_description_refuses(body: type[Body]) -> None:
    described = body.model_json_schema()
    shared = {"$defs": described.get("$defs", {})}
    for name, schema in described["properties"].items():
        description = _validator({**schema, **shared})
        for value in VALUES:
            assert not takes(body, name, value) or description.is_valid(value), (name, value)


def text(count: int) -> str:
    return "x" * count


def several(value: object) -> Callable[[int], object]:
    """So many times the same in a list."""
    return lambda count: [value] * count


def moved_to(place: int) -> object:
    """A message's new place in the queue."""
    return {"m": place}


def by_id(value: object) -> Callable[[int], object]:
    """The same under so many ids."""
    return lambda count: {f"id{number}": value for number in range(count)}


SAID: Final = {"role": "user", "content": "x"}
PART: Final = {"type": "text", "text": "x"}
FILE: Final = {"type": "file_reference", "name": "a"}
CALL: Final = {"id": "c", "name": "n", "arguments": "{}"}


@pytest.mark.parametrize(
    ("body", "field", "made", "fewest", "most", "others"),
    [
        (SendMessage, "content", text, 1, 60_000, {}),
        (SendMessage, "content", several(PART), 1, 64, {}),
        (SendMessage, "attachments", several(FILE), None, 64, {"content": "x"}),
        (SendMessage, "client_message_id", text, 1, 255, {"content": "x"}),
        (EditMessage, "content", several(PART), 1, 64, {"message_id": "m"}),
        (EditMessage, "content", text, 1, 60_000, {"message_id": "m"}),
        (EditMessage, "message_id", text, 1, 255, {"content": "x"}),
        (TextPart, "type", text, 1, 64, {}),
        (Attachment, "name", text, 1, 255, {"type": "file_reference"}),
        (Attachment, "text", text, None, 60_000, {"type": "text", "name": "a"}),
        (Attachment, "url", text, None, 2_000, FILE),
        (Recorded, "content", text, None, 60_000, {"role": "user"}),
        (Recorded, "tool_calls", several(CALL), None, 200, SAID),
        (Recorded, "model", text, None, 200, SAID),
        (Regenerate, "message_id", text, 1, 255, {}),
        (UpdateQueue, "remove", several("m"), None, 1_000, {}),
        (UpdateQueue, "edit", by_id("x"), None, 1_000, {}),
        (UpdateQueue, "move", by_id(0), None, 1_000, {}),
        (UpdateQueue, "move", moved_to, 0, 1_000, {}),
        (CreateBranch, "name", text, 1, 100, {}),
        (CreateBranch, "system_prompt", text, None, 60_000, {"name": "b"}),
        (MergeBranch, "message_ids", several("m"), None, 1_000, {"source": "b"}),
        (Fork, "at_version", int, 1, INTEGER_MAX, {}),
        (Fork, "title", text, None, 200, {}),
        (AnswerQuestion, "content", text, 1, 60_000, {"question_id": "q"}),
        (RecordMessages, "messages", several(SAID), 1, 1_000, {}),
        (SocketAction, "action", text, 1, 64, {}),
        (SocketAction, "idempotency_key", text, 1, 255, {"action": "pause"}),
        (SocketAction, "if_version", int, 0, None, {"action": "pause"}),
        (PutContext, "title", text, 1, 200, {}),
        (PutContext, "messages", several(SAID), None, 1_000, {}),
        (PatchMessage, "content", text, None, 60_000, {}),
        (CreateContext, "labels", by_id("x"), None, 32, {}),
        (Ask, "query", text, 1, 60_000, {}),
        (Ask, "history", several(SAID), None, 1_000, {"query": "x"}),
        (Ask, "context", text, 1, 60_000, {"query": "x"}),
        (Ask, "session_id", text, 1, 200, {"query": "x"}),
        (Ask, "model", text, 1, 200, {"query": "x"}),
        (AskTitle, "messages", several(SAID), 1, 1_000, {}),
        (AddNote, "text", text, 1, 16_000, {}),
        (ApproveTools, "tool_call_ids", several("c"), None, 200, {}),
        (ApproveTools, "deny", several({"id": "c"}), None, 200, {}),
        (ApproveTools, "edits", by_id({}), None, 200, {}),
        (Rename, "title", text, 1, 200, {}),
    ],
)
def test_of_everything_there_may_be_so_much_and_no_more(
    body: type[Body],
    field: str,
    made: Callable[[int], object],
    fewest: int | None,
    most: int | None,
    others: dict[str, object],
) -> None:
    def is_taken(count: int) -> bool:
        try:
            body.model_validate({**others, field: made(count)})
        except ValidationError:
            return False
        return True

    assert fewest is None or (is_taken(fewest), is_taken(fewest - 1)) == (True, False)
    assert most is None or (is_taken(most), is_taken(most + 1)) == (True, False)


@pytest.mark.parametrize(
    ("body", "document"),
    [
        (Attachment, {"type": "text", "name": "a"}),
        (Attachment, {"type": "text", "name": "a", "text": "x", "url": "https://a.example"}),
        (Attachment, {**FILE, "text": "x"}),
        (AskTitle, {}),
        (AskTitle, {"text": "x", "messages": [SAID]}),
        (AskTitle, {"messages": [SAID, {**SAID, "replaces": "m"}]}),
        (CreateBranch, {"name": "a "}),
        (CreateBranch, {"name": "a\nb"}),
    ],
)
def test_what_does_not_go_together_is_refused(body: type[Body], document: object) -> None:
    with pytest.raises(ValidationError):
        body.model_validate(document)
