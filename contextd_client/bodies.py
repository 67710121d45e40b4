"""What a client sends. A body is encoded once: each repeat has the very same bytes."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal, NotRequired, TypeAlias, TypedDict, cast

import orjson
from pydantic import JsonValue

from contextd_client.problems import NotJson

SendPolicy = Literal["enqueue", "reject", "interrupt", "rollback", "steer", "merge", "latest"]
"""What becomes of a message that arrives during a turn; see docs/api.md."""
MergeStrategy = Literal["append", "cherry_pick", "rebase"]

Content: TypeAlias = str | Sequence[Mapping[str, JsonValue]]
"""Text, or typed parts such as `{"type": "text", "text": "Look:"}`."""


class CreateOptions(TypedDict, total=False):
    """How a request is made."""

    wait_s: int
    """Wait so long (60 at most) until the turn rests; else only until it is applied."""
    idempotency_key: str
    """Your own key, so that you can repeat the request after a restart of yours; else one is
    made."""


class ActionOptions(CreateOptions, total=False):
    """How an action is made."""

    if_cursor: str
    """Only if the context is still at the version of this cursor."""


class TextAttachment(TypedDict):
    """A text that comes with a message."""

    type: Literal["text"]
    name: str
    text: str


class FileReference(TypedDict):
    """A file that comes with a message."""

    type: Literal["file_reference"]
    name: str
    url: NotRequired[str]


Attachment: TypeAlias = TextAttachment | FileReference


class NewMessage(TypedDict):
    """The first message of a new context."""

    content: Content
    attachments: NotRequired[Sequence[Attachment]]
    client_message_id: NotRequired[str]
    not_before: NotRequired[datetime]
    metadata: NotRequired[Mapping[str, JsonValue]]


class RecordedCall(TypedDict):
    """A tool call of a message that came about elsewhere."""

    id: str
    name: str
    arguments: str


class RecordedMessage(TypedDict):
    """A message that came about elsewhere."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    tool_calls: NotRequired[Sequence[RecordedCall]]
    tool_call_id: NotRequired[str]
    created_at: NotRequired[datetime]
    status: NotRequired[Literal["complete", "cancelled", "interrupted", "failed"]]
    finish_reason: NotRequired[str]
    client_message_id: NotRequired[str]
    model: NotRequired[str]
    metadata: NotRequired[Mapping[str, JsonValue]]


class Denial(TypedDict):
    """A tool call that is not to be made."""

    id: str
    reason: NotRequired[str]


def encode(fields: Mapping[str, object]) -> bytes:
    """A body of the fields that are given: those that are None are left out.

    Raises:
        NotJson: Something in it is no JSON.
    """
    return to_json({name: value for name, value in fields.items() if value is not None})


def to_json(value: object) -> bytes:
    """A whole body as JSON.

    Raises:
        NotJson: Something in it is no JSON.
    """
    try:
        body = orjson.dumps(value, option=orjson.OPT_UTC_Z)
    except orjson.JSONEncodeError as error:
        raise NotJson(f"This cannot be sent: {error}.") from None
    _refuse_infinite(value)
    return body


def _refuse_infinite(value: object) -> None:
    """Refuse what orjson writes as null, because null says something: it restores a default.

    Raises:
        NotJson: There is such a number, at any depth.
    """
    match value:
        case float() if not math.isfinite(value):
            raise NotJson(f"This cannot be sent: {value} is no number of JSON.")
        case dict():
            for each in cast("dict[object, object]", value).values():
                _refuse_infinite(each)
        case list() | tuple():
            for each in cast("Sequence[object]", value):
                _refuse_infinite(each)
        case _:
            pass
