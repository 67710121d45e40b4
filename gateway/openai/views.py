"""What these doors answer, for OpenAPI; the shapes are OpenAI's."""

from collections.abc import Mapping
from typing import Literal

from pydantic import JsonValue

from gateway.views import View

Object = Mapping[str, JsonValue]
"""An object whose shape OpenAI's own reference describes."""


class OpenAIErrorBody(View):
    """What has gone wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIError(View):
    """An error in OpenAI's shape."""

    error: OpenAIErrorBody


class ModelView(View):
    """A model that requests may name."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(View):
    """The models that requests may name; none: whatever the model server knows."""

    object: Literal["list"]
    data: tuple[ModelView, ...]


class ChatReply(View):
    """What the model has said."""

    role: Literal["assistant"]
    content: str | None
    refusal: None
    tool_calls: tuple[Object, ...] = ()


class ChatChoice(View):
    """The one choice there is."""

    index: Literal[0]
    message: ChatReply
    logprobs: None
    finish_reason: str


class ChatCompletion(View):
    """A reply to a chat."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: tuple[ChatChoice, ...]
    usage: Mapping[str, int] | None


class ResponseView(View):
    """A response: a turn of a context."""

    id: str
    object: Literal["response"]
    created_at: int
    completed_at: int | None
    status: Literal["queued", "in_progress", "completed", "failed", "cancelled", "incomplete"]
    background: bool
    conversation: Object | None
    error: Object | None
    incomplete_details: Object | None
    instructions: str | None
    max_output_tokens: int | None
    metadata: Mapping[str, str]
    model: str
    output: tuple[Object, ...]
    parallel_tool_calls: bool
    previous_response_id: str | None
    reasoning: Object
    store: bool
    temperature: float | None
    text: Object
    tool_choice: JsonValue
    tools: tuple[Object, ...]
    top_p: float | None
    truncation: Literal["disabled"]
    usage: Object | None


class Deleted(View):
    """What is gone."""

    id: str
    object: Literal["response", "conversation.deleted"]
    deleted: Literal[True]


class ItemList(View):
    """A page of items."""

    object: Literal["list"]
    data: tuple[Object, ...]
    first_id: str | None
    last_id: str | None
    has_more: bool


class ConversationView(View):
    """A context as a conversation."""

    id: str
    object: Literal["conversation"]
    created_at: int
    metadata: Mapping[str, str]


OPENAI_VIEWS = (
    *(ChatCompletion, ConversationView, Deleted, ItemList, ModelList, ModelView, OpenAIError),
    ResponseView,
)
