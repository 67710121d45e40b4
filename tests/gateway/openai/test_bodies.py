"""Requests of OpenAI's clients are bounded, and what they bring with them is taken."""

from collections.abc import Callable
from typing import Final

import pytest
from pydantic import ValidationError

from gateway.bodies import Body
from gateway.openai.bodies import (
    MESSAGES_MAX,
    PASSED_ON,
    TOOLS_MAX,
    ChatMessage,
    ChatRequest,
    ConversationRequest,
    Function,
    ResponseRequest,
)

SAID: Final = {"role": "user", "content": "x"}
CALL: Final = {"id": "c", "type": "function", "function": {"name": "n", "arguments": "{}"}}
PART: Final = {"type": "text", "text": "x"}
CHAT: Final = {"model": "m", "messages": [SAID]}
RESPONSE: Final = {"model": "m", "input": "x"}


def text(chars: int) -> str:
    return "x" * chars


def several(one: object) -> Callable[[int], object]:
    return lambda count: [one] * count


def metadata(count: int) -> object:
    return {str(n): "x" for n in range(count)}


def value_of(chars: int) -> object:
    return {"a": "x" * chars}


def name_of(chars: int) -> object:
    return {"x" * chars: "a"}


@pytest.mark.parametrize(
    ("body", "field", "made", "fewest", "most", "others"),
    [
        (ChatRequest, "model", text, 1, 200, CHAT),
        (ChatRequest, "messages", several(SAID), 1, MESSAGES_MAX, CHAT),
        (
            *(ChatRequest, "tools", several({"type": "function", "function": {"name": "n"}})),
            *(None, TOOLS_MAX, CHAT),
        ),
        (ChatRequest, "n", int, 1, 1, CHAT),
        (ChatRequest, "max_tokens", int, 1, None, CHAT),
        (ChatRequest, "max_completion_tokens", int, 1, None, CHAT),
        (ChatRequest, "metadata", metadata, None, 16, CHAT),
        (ChatRequest, "metadata", value_of, None, 512, CHAT),
        (ChatRequest, "metadata", name_of, None, 64, CHAT),
        (ChatMessage, "content", several(PART), None, 256, SAID),
        (ChatMessage, "tool_calls", several(CALL), None, TOOLS_MAX, {"role": "assistant"}),
        (Function, "name", text, 1, 64, {}),
        (ResponseRequest, "input", several(SAID), 1, MESSAGES_MAX, RESPONSE),
        (
            *(ResponseRequest, "tools", several({"type": "function", "name": "n"})),
            *(None, TOOLS_MAX, RESPONSE),
        ),
        (ResponseRequest, "max_output_tokens", int, 1, None, RESPONSE),
        (ConversationRequest, "items", several(SAID), None, 20, {}),
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


def test_a_message_may_have_what_replies_have_and_is_of_no_use_here() -> None:
    brought: dict[str, object] = {
        **SAID,
        "name": "ada",
        "refusal": None,
        "annotations": [],
        "audio": None,
    }
    assert ChatMessage.model_validate(brought) == ChatMessage.model_validate(SAID)


def test_what_is_null_is_as_good_as_not_sent_whether_it_is_known_or_not() -> None:
    assert ChatRequest.model_validate(
        {**CHAT, "audio": None, "stop": None}
    ) == ChatRequest.model_validate(CHAT)
    with pytest.raises(ValidationError):
        ChatRequest.model_validate({**CHAT, "audio": {}})
    with pytest.raises(ValidationError):
        ChatRequest.model_validate({**CHAT, "messages": None})


def test_what_shapes_a_reply_goes_to_the_model_server() -> None:
    assert set(ChatRequest.model_fields) - PASSED_ON == {
        *("model", "messages", "metadata", "modalities", "n", "store", "stream"),
        *("stream_options", "tools", "user", "safety_identifier", "service_tier"),
        *("prompt_cache_key", "prompt_cache_options", "prompt_cache_retention"),
        *("logprobs", "top_logprobs"),
    }
    assert set(ChatRequest.model_fields) > PASSED_ON
