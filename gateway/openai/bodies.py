"""What clients of these doors may send, in OpenAI's words.

A field that is not known is refused, as OpenAI does: it would ask for something that does
not happen. Fields that only concern OpenAI's own service are taken and mean nothing here.
"""

import asyncio
from typing import Annotated, Final, Literal, TypeVar

from aiohttp import web
from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    model_validator,
)

from gateway.app import GATEWAY
from gateway.bodies import Body, Flag, Id, Real, ShortText, Whole, read_flag
from gateway.problems import Problem
from gateway.reading import DETAIL_CHARS, first_wrong, parse_json, read_bytes

MESSAGES_MAX: Final = 4_000
TOOLS_MAX: Final = 128
VALUES_MAX: Final = 100_000
"""JSON values in a request, those within others included. What is wrong with each is told apart
before the first is told, at some 5 us each, in which the process does nothing else."""

Metadata = Annotated[
    dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]],
    Field(max_length=16),
]
ToolName = Annotated[str, Field(pattern="^[a-zA-Z0-9_-]{1,64}$")]


class Loose(Body):
    """A part of a request that clients send back as they got it, with fields of no use here."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class ImageUrl(Loose):
    """An image, by its address or as a data URL."""

    url: str
    detail: Literal["auto", "low", "high"] = "auto"


class ContentPart(Loose):
    """One part of a message."""

    type: Literal["text", "input_text", "output_text", "refusal", "image_url", "input_image"]
    text: str | None = None
    refusal: str | None = None
    image_url: str | ImageUrl | None = None
    detail: Literal["auto", "low", "high", "original"] | None = None


Content = str | Annotated[list[ContentPart], Field(max_length=256)]


class FunctionCall(Loose):
    """Which function the model wants called, and how."""

    name: str
    arguments: str


class ChatToolCall(Loose):
    """A tool call in a message of the assistant."""

    id: Id
    type: Literal["function"] = "function"
    function: FunctionCall


class ChatMessage(Loose):
    """One message of a chat."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Content | None = None
    tool_calls: Annotated[list[ChatToolCall], Field(max_length=TOOLS_MAX)] | None = None
    tool_call_id: Id | None = None


class Function(Body):
    """A function of the client."""

    name: ToolName
    description: str | None = None
    parameters: dict[str, JsonValue] | None = None
    strict: Flag | None = None


class Tool(Body):
    """What all tools have; it is checked first, and so told first."""

    type: Literal["function"]


class ChatTool(Tool):
    """A tool of the client, as chat completions have it."""

    function: Function


class ResponseTool(Function, Tool):
    """A tool of the client, as responses have it."""


class StreamOptions(Loose):
    """What a stream shows."""

    include_usage: Flag | None = None


class AnyRequest(Body):
    """What both chats and responses are asked with; null is as good as nothing."""

    model: Annotated[str, Field(min_length=1, max_length=200)]
    metadata: Metadata | None = None
    stream: Flag | None = None
    stream_options: StreamOptions | None = None
    tool_choice: str | dict[str, JsonValue] | None = None
    parallel_tool_calls: Flag | None = None
    temperature: Real | None = None
    top_p: Real | None = None
    user: str | None = None
    safety_identifier: str | None = None
    service_tier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: dict[str, JsonValue] | None = None
    prompt_cache_retention: str | None = None
    store: Flag | None = None
    top_logprobs: Annotated[Whole, Field(ge=0, le=0)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _leave_out_null(cls, value: JsonValue) -> JsonValue:
        """Clients send null for what they leave open, also of what is not known here."""
        if isinstance(value, dict):
            return {name: given for name, given in value.items() if given is not None}
        return value


class ChatRequest(AnyRequest):
    """Complete a chat: `messages` as they stand, or what is new in them to a context."""

    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=MESSAGES_MAX)]
    n: Annotated[Whole, Field(ge=1, le=1)] | None = None
    tools: Annotated[list[ChatTool], Field(max_length=TOOLS_MAX)] | None = None
    frequency_penalty: Real | None = None
    logit_bias: dict[str, Real] | None = None
    logprobs: Annotated[Literal[False], BeforeValidator(read_flag)] | None = None
    max_completion_tokens: Annotated[Whole, Field(ge=1)] | None = None
    max_tokens: Annotated[Whole, Field(ge=1)] | None = None
    modalities: list[Literal["text"]] | None = None
    presence_penalty: Real | None = None
    reasoning_effort: ShortText | None = None
    response_format: dict[str, JsonValue] | None = None
    seed: Whole | None = None
    stop: str | list[str] | None = None
    verbosity: ShortText | None = None


PASSED_ON: Final = frozenset(
    {
        *("frequency_penalty", "logit_bias", "max_completion_tokens", "max_tokens"),
        *("parallel_tool_calls", "presence_penalty", "reasoning_effort", "response_format"),
        *("seed", "stop", "temperature", "tool_choice", "top_p", "verbosity"),
    }
)
"""Fields of a ChatRequest that go to the model server as they stand."""


class InputItem(Loose):
    """Something that a response is made from: a message, a tool call, or its result."""

    type: Literal["message", "function_call", "function_call_output", "reasoning"] = "message"
    role: Literal["system", "developer", "user", "assistant"] | None = None
    content: Content | None = None
    call_id: Id | None = None
    name: str | None = None
    arguments: str | None = None
    output: Content | None = None


class ConversationRef(Loose):
    """A conversation, by its id."""

    id: Annotated[str, Field(max_length=100)]


class Reasoning(Loose):
    """How much the model is to think."""

    effort: ShortText | None = None


class TextOptions(Loose):
    """What the text is to look like."""

    format: dict[str, JsonValue] | None = None
    verbosity: ShortText | None = None


class ResponseRequest(AnyRequest):
    """Make a response: in a context of its own, or where another, or a conversation, ends."""

    input: str | Annotated[list[InputItem], Field(min_length=1, max_length=MESSAGES_MAX)]
    instructions: str | None = None
    previous_response_id: Annotated[str, Field(max_length=100)] | None = None
    conversation: Annotated[str, Field(max_length=100)] | ConversationRef | None = None
    background: Flag | None = None
    include: list[str] | None = None
    max_output_tokens: Annotated[Whole, Field(ge=1)] | None = None
    max_tool_calls: Annotated[Whole, Field(ge=1)] | None = None
    reasoning: Reasoning | None = None
    text: TextOptions | None = None
    tools: Annotated[list[ResponseTool], Field(max_length=TOOLS_MAX)] | None = None
    truncation: Literal["auto", "disabled"] | None = None


class ConversationRequest(Body):
    """Make a conversation, perhaps of what was said elsewhere."""

    items: Annotated[list[InputItem], Field(max_length=20)] | None = None
    metadata: Metadata | None = None


B = TypeVar("B", bound=Body)


async def read_request(request: web.Request, model: type[B]) -> tuple[B, bytes]:
    """A request's body as `model`, and as it came.

    Raises:
        Problem: malformed-json, invalid-body, unsupported-media-type, request-timeout.
        HTTPRequestEntityTooLarge: More than `openai_body_bytes_max`.
    """
    config = request.app[GATEWAY].config
    raw = await read_bytes(request.clone(client_max_size=config.openai_body_bytes_max))

    def read() -> B:
        depth_max = config.json_depth_max
        value = parse_json(raw, depth_max=depth_max, values_max=VALUES_MAX)
        try:
            return model.model_validate(value)
        except ValidationError as error:
            param, wrong = first_wrong(error, value)
            detail = f"{param}: {wrong}"[:DETAIL_CHARS]
            raise Problem("invalid-body", detail, {"param": param[:DETAIL_CHARS]}) from None

    if len(raw) <= config.body_bytes_max:
        return read(), raw
    # Seconds of work for a large one: the others go on meanwhile.
    return await asyncio.to_thread(read), raw
