"""The official SDK as referee: of what we send, and of the mock server that we test with."""

from collections.abc import AsyncIterator
from typing import Any, TypeVar

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
from openai.types.chat.completion_create_params import CompletionCreateParamsStreaming
from pydantic import TypeAdapter

from fsm import Branch, CallModel, Config, ContextState, Message, Reference, ToolCall, Turn
from tests.support.model_server import ModelServer, Script, ScriptedCall
from tests.support.playbook import CONTEXT_ID
from tests.workers.models.calling import call
from workers.models import ModelConfig, OpenAIModel, RequestBuilder
from workers.tools import Registry, ToolConfig
from workers.tools.builtin import calculator, clock

PARAMETERS: TypeAdapter[CompletionCreateParamsStreaming] = TypeAdapter(
    CompletionCreateParamsStreaming
)
MESSAGE: TypeAdapter[ChatCompletionMessageParam] = TypeAdapter(ChatCompletionMessageParam)
TOOL: TypeAdapter[ChatCompletionToolParam] = TypeAdapter(ChatCompletionToolParam)


def conversation() -> ContextState:
    parts = (
        {"type": "text", "text": "and this?"},
        {"type": "image", "url": "https://i.invalid/a"},
    )
    asked = (ToolCall(id="x", name="clock", arguments="{}"),)
    said: list[dict[str, object]] = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "", "tool_calls": asked},
        {"role": "tool", "content": "12:00", "tool_call_id": "x"},
        {"role": "assistant", "content": "Noon.", "status": "cancelled"},
        {"role": "user", "content": "and this?", "parts": parts},
        {"role": "assistant", "content": "One moment", "tool_calls": asked},
        {"role": "user", "content": "never mind"},
    ]
    messages = tuple(
        Message.model_validate(
            {
                "id": f"m{number}",
                "seq": number,
                "parent_id": f"m{number - 1}" if number > 1 else None,
                "created_at_ms": 0,
                **fields,
            }
        )
        for number, fields in enumerate(said, start=1)
    )
    return ContextState(
        id=CONTEXT_ID,
        owner="o",
        created_at_ms=0,
        updated_at_ms=0,
        config=Config(system_prompt="Be brief.", parameters={"temperature": 0.2}),
        messages=messages,
        branches={"main": Branch(head="m7")},
        turn=Turn(
            id="m7",
            started_at_ms=0,
            references=(Reference(source="note 1", title="Cats", text="They purr."),),
        ),
    )


Wire = TypeVar("Wire")


def exact(adapter: TypeAdapter[Wire], value: Any) -> None:
    """The SDK's type takes the value, and knows everything that is in it."""
    parsed: Any = adapter.validate_python(value)  # one of many TypedDicts
    # The types say Iterable, which pydantic checks only as it is gone through.
    for name, field in parsed.items():
        assert value[name] == ([*field] if hasattr(field, "__next__") else field)
    assert parsed.keys() == value.keys()


async def test_the_sdks_types_parse_what_is_sent_to_the_model() -> None:
    server = ModelServer()
    tools = Registry((clock, calculator), ToolConfig()).offered(None)
    effect = CallModel(effect_id="3.0", attempt=1, with_tools=True, due_ms=60_000)
    async with server.running() as base_url:
        model = OpenAIModel(ModelConfig(model_base_url=base_url, model="mock"))
        builder = RequestBuilder(cache_bytes_max=0)
        called = await call(model, builder.build(conversation(), effect, tools, now_ms=0))
        await model.close()
    assert called.reply.text == "w1 "
    body = server.requests[0].body
    PARAMETERS.validate_python(body, strict=True)
    known = CompletionCreateParamsStreaming
    assert set(body) <= known.__required_keys__ | known.__optional_keys__
    messages, sent_tools = body["messages"], body["tools"]
    assert isinstance(messages, list)
    assert isinstance(sent_tools, list)
    assert len(messages) == 9  # seven, the system message and a stub
    for message in messages:
        exact(MESSAGE, message)
    assert len(sent_tools) == 2
    for offered in sent_tools:
        exact(TOOL, offered)


@pytest.fixture
async def client() -> AsyncIterator[openai.AsyncOpenAI]:
    async with (
        ModelServer(api_key="k").running() as base_url,
        openai.AsyncOpenAI(base_url=base_url, api_key="k", max_retries=0) as sdk,
    ):
        yield sdk


def said(script: Script) -> list[ChatCompletionMessageParam]:
    return [{"role": "user", "content": script.in_message()}]


async def test_the_mock_streams_to_the_sdk(client: openai.AsyncOpenAI) -> None:
    for delay_ms in (0, 2):
        stream = await client.chat.completions.create(
            model="mock",
            messages=said(Script(chunks=3, delay_ms=delay_ms)),
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = [chunk async for chunk in stream]
        texts = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
        assert "".join(texts) == "w1 w2 w3 "
        assert chunks[-2].choices[0].finish_reason == "stop"
        assert chunks[-1].usage is not None
        assert chunks[-1].usage.total_tokens == 10


async def test_the_mock_calls_tools_and_answers_at_once_for_the_sdk(
    client: openai.AsyncOpenAI,
) -> None:
    script = Script(tool_calls=(ScriptedCall(name="clock", arguments='{"zone": "UTC"}'),))
    whole = await client.chat.completions.create(model="mock", messages=said(script))
    assert whole.choices[0].finish_reason == "tool_calls"
    calls = whole.choices[0].message.tool_calls
    assert calls is not None
    assert calls[0].type == "function"
    assert calls[0].function.arguments == '{"zone": "UTC"}'
    stream = await client.chat.completions.create(
        model="mock", messages=said(script), stream=True
    )
    arguments = ""
    async for chunk in stream:
        for piece in chunk.choices[0].delta.tool_calls or ():
            assert piece.function is not None
            arguments += piece.function.arguments or ""
    assert arguments == '{"zone": "UTC"}'


async def test_the_mock_fails_for_the_sdk_as_told(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.RateLimitError) as caught:
        await client.chat.completions.create(
            model="mock", messages=said(Script(status=429, retry_after="7"))
        )
    assert caught.value.response.headers["Retry-After"] == "7"
    with pytest.raises(openai.BadRequestError):
        await client.chat.completions.create(model="mock", messages=said(Script(status=400)))
    with pytest.raises(openai.AuthenticationError):
        await client.with_options(api_key="wrong").models.list()


async def test_the_mock_fails_only_so_many_times_under_one_key(
    client: openai.AsyncOpenAI,
) -> None:
    messages = said(Script(status=503, fail_times=2))
    key = {"Idempotency-Key": "same"}
    for _ in range(2):
        with pytest.raises(openai.InternalServerError):
            await client.chat.completions.create(
                model="mock", messages=messages, extra_headers=key
            )
    answered = await client.chat.completions.create(
        model="mock", messages=messages, extra_headers=key
    )
    assert answered.choices[0].message.content == "w1 "


async def test_the_mock_lists_its_models_and_takes_scripts_by_header(
    client: openai.AsyncOpenAI,
) -> None:
    assert [model.id async for model in client.models.list()] == ["mock"]
    answered = await client.chat.completions.create(
        model="mock",
        messages=[{"role": "user", "content": "hi"}],
        extra_headers={"Mock-Script": '{"text": "by header"}'},
    )
    assert answered.choices[0].message.content == "by header"
