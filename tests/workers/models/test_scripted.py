import asyncio
import contextlib
from dataclasses import replace

import pytest
from pydantic import JsonValue

from tests.workers.models.calling import TOOL, Called, call, request
from workers.models import ModelConfig, ModelToolCall, ScriptedModel, TextDelta, WireObject


async def reply(
    said: str,
    *,
    chunk_ms: int = 0,
    tools: tuple[WireObject, ...] = (),
    attempt: int = 1,
    timeout_s: float = 30.0,
) -> Called:
    model = ScriptedModel(ModelConfig(scripted_chunk_ms=chunk_ms))
    return await call(model, request(said, tools=tools, attempt=attempt, timeout_s=timeout_s))


def answered(*calls: tuple[str, str]) -> list[dict[str, JsonValue]]:
    wire: list[JsonValue] = [{"id": name, "type": "function"} for name, _ in calls]
    asked: dict[str, JsonValue] = {"role": "assistant", "content": None, "tool_calls": wire}
    results: list[dict[str, JsonValue]] = [
        {"role": "tool", "tool_call_id": name, "content": told} for name, told in calls
    ]
    return [asked, *results]


async def test_a_reply_says_what_was_said_word_by_word_and_that_it_is_scripted() -> None:
    called = await reply("hello there")
    assert called.text.startswith('You said, in 2 words: "hello there".')
    assert called.text == called.reply.text
    assert called.deltas[:2] == ["You ", "said, "]
    assert called.reply.model == "scripted"
    assert called.reply.metadata["scripted"] is True
    assert called.reply.finish_reason == "stop"
    assert called.reply.usage is not None
    assert called.reply.usage.prompt_tokens == 2


async def test_the_same_request_gives_the_same_reply() -> None:
    assert (await reply("/chunks 3 0")).reply == (await reply("/chunks 3 0")).reply


async def test_chunks_come_as_many_and_as_slowly_as_asked() -> None:
    started_s = asyncio.get_running_loop().time()
    called = await reply("please\n/chunks 5 20", chunk_ms=5_000)
    assert called.deltas == [f"chunk {number} " for number in range(1, 6)]
    assert 0.08 <= asyncio.get_running_loop().time() - started_s < 2


async def test_tool_lines_ask_for_those_calls() -> None:
    called = await reply('/tool clock {"zone": "UTC"}\n/tool calculator', tools=(TOOL,))
    assert called.deltas == []
    assert called.reply.finish_reason == "tool_calls"
    assert called.reply.tool_calls == (
        ModelToolCall("call_c1_3_0_0", "clock", '{"zone": "UTC"}'),
        ModelToolCall("call_c1_3_0_1", "calculator", "{}"),
    )


async def test_results_are_told() -> None:
    model = ScriptedModel(ModelConfig(scripted_chunk_ms=0))
    after = answered(("a", "12:00"), ("b", "42"))
    called = await call(model, request("/tool clock {}", tools=(TOOL,), after=after))
    assert called.text == "The tools answered:\n- 12:00\n- 42"


async def test_rounds_ask_again() -> None:
    model = ScriptedModel(ModelConfig(scripted_chunk_ms=0))
    said = "/rounds 2\n/tool clock {}"
    again = await call(
        model, request(said, tools=(TOOL,), after=answered(("a", "1")), key="c1:5.0")
    )
    assert [asked.id for asked in again.reply.tool_calls] == ["call_c1_5_0_0"]
    after = [*answered(("a", "1")), *answered(("b", "2"))]
    assert (await call(model, request(said, tools=(TOOL,), after=after))).text.endswith(
        "- 1\n- 2"
    )


async def test_no_tools_are_asked_for_where_none_are_offered() -> None:
    assert (await reply("/tool clock {}")).text.startswith("I was offered no tools")


@pytest.mark.parametrize(
    ("code", "retryable"),
    [("rate_limited", True), ("overloaded", True), ("unauthorized", False)],
)
async def test_a_failure_that_was_asked_for_comes(code: str, retryable: bool) -> None:
    called = await reply(f"/fail {code}", attempt=7)
    assert (called.failure.code, called.failure.retryable) == (code, retryable)
    assert called.text == ""


async def test_a_failure_may_pass_after_some_attempts() -> None:
    assert (await reply("/fail overloaded 2", attempt=2)).failure.code == "overloaded"
    assert (await reply("/fail overloaded 2", attempt=3)).reply.finish_reason == "stop"


async def test_a_cut_reply_shows_half_of_itself_first() -> None:
    called = await reply("/chunks 4 0\n/fail stream_cut")
    assert called.deltas == ["chunk 1 ", "chunk 2 "]
    assert called.failure.code == "stream_cut"


async def test_unknown_failures_are_only_words() -> None:
    assert "/fail everything" in (await reply("/fail everything")).text


async def test_hanging_ends_with_the_turns_time() -> None:
    called = await reply("/hang", timeout_s=0.05)
    assert len(called.deltas) == 1
    assert (called.failure.code, called.failure.retryable) == ("timeout", False)


async def test_a_hanging_reply_can_be_closed() -> None:
    async with asyncio.timeout(5):
        items = ScriptedModel(ModelConfig(scripted_chunk_ms=0)).stream(request("/hang"))
        async with contextlib.aclosing(items):
            assert await anext(items) == TextDelta("You ")


async def test_typed_parts_and_silence_are_understood() -> None:
    assert (await reply("")).text.startswith("I am the scripted model")
    model = ScriptedModel(ModelConfig(scripted_chunk_ms=0))
    parts = b'[{"role":"user","content":[{"type":"image_url"},{"type":"text","text":"a b c"}]}]'
    typed = replace(request(), messages_json=parts)
    assert "in 3 words" in (await call(model, typed)).text
    nothing = replace(request(), messages_json=b"[]")
    assert (await call(model, nothing)).text.startswith("I am the scripted model")
