"""The chaos's model server answers as a server of models does, and writes down the calls."""

from collections.abc import AsyncIterator
from dataclasses import replace

import orjson
import pytest

from verify.chaos import model, witness
from verify.chaos.model import ModelServer, open_model
from workers.models.config import ModelConfig
from workers.models.openai import OpenAIModel
from workers.models.protocol import (
    ModelError,
    ModelRequest,
    ReplyFinished,
    TextDelta,
    WireObject,
)

REQUEST = ModelRequest(
    model=None,
    messages_json=b'[{"role":"user","content":"Hello"}]',
    tools=(),
    parameters={},
    idempotency_key="c1:2.0",
    timeout_s=10,
)
STAMP: WireObject = {"type": "function", "function": {"name": witness.NAME, "parameters": {}}}


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ModelServer]:
    monkeypatch.setattr(model, "REFUSES_RATE", 0.0)
    monkeypatch.setattr(model, "CUTS_RATE", 0.0)
    async with open_model(1) as opened:
        yield opened


async def answer(server: ModelServer, request: ModelRequest) -> tuple[str, ReplyFinished]:
    """What a worker makes of the reply: its pieces joined, and its end."""
    asking = OpenAIModel(ModelConfig(model_base_url=server.url, model="any"))
    text, finished = "", None
    try:
        async for item in asking.stream(request):
            match item:
                case TextDelta():
                    text += item.text
                case ReplyFinished():
                    finished = item
    finally:
        await asking.close()
    assert finished is not None
    return text, finished


async def test_it_replies_as_the_scripted_model_and_writes_down_the_call(
    server: ModelServer,
) -> None:
    text, finished = await answer(server, REQUEST)
    assert text == finished.text
    assert text.startswith('You said, in 1 word: "Hello".')
    (call,) = server.taken()
    assert (call.context_id, call.effect_id) == ("c1", "2.0")
    assert call.messages == [{"role": "user", "content": "Hello"}]
    assert server.taken() == []


async def test_it_asks_for_tools(server: ModelServer) -> None:
    said = orjson.dumps([{"role": "user", "content": witness.asking_for("t1")}])
    asked = replace(REQUEST, messages_json=said, tools=(STAMP,))
    text, finished = await answer(server, asked)
    assert text == ""
    (call,) = finished.tool_calls
    assert (call.name, witness.text_of(call.arguments)) == (witness.NAME, "t1")
    assert finished.finish_reason == "tool_calls"


async def test_it_refuses_calls_now_and_then(
    server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "REFUSES_RATE", 1.0)
    with pytest.raises(ModelError) as failed:
        await answer(server, REQUEST)
    assert (failed.value.code, failed.value.retryable) == ("overloaded", True)
    assert len(server.taken()) == 1


async def test_it_hangs_up_in_the_middle_of_replies_now_and_then(
    server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "CUTS_RATE", 1.0)
    with pytest.raises(ModelError) as failed:
        await answer(server, REQUEST)
    assert failed.value.retryable
    assert len(server.taken()) == 1
