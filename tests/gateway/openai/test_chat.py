"""Chat completions by OpenAI's client: whole and streamed, with tools, bound and unbound."""

import asyncio
import contextlib
import threading
from collections.abc import Mapping
from datetime import datetime

import openai
import pytest
from openai.types.chat import (
    ChatCompletionMessage,
    ChatCompletionMessageFunctionToolCall,
    ChatCompletionMessageParam,
)
from pydantic import JsonValue

from gateway.openai.bodies import VALUES_MAX
from gateway.reading import parse_json
from tests.gateway.openai.sdk import CHAT_TOOL, MODEL, lose_answer, talking
from tests.support.service import Json, eventually

CALL = '/tool weather {"city": "Bern"}'


def said(*texts: str) -> list[ChatCompletionMessageParam]:
    """What the user says."""
    return [{"role": "user", "content": text} for text in texts]


def only_call(message: ChatCompletionMessage) -> ChatCompletionMessageFunctionToolCall:
    """The one call that the model wants made."""
    assert message.tool_calls is not None
    (call,) = message.tool_calls
    assert call.type == "function"
    return call


async def test_a_chat_is_answered_and_nothing_of_it_stays(store_url: str) -> None:
    async with talking(store_url) as talk:
        completion = await talk.client.chat.completions.create(
            model=MODEL, messages=said("/chunks 3 0")
        )
        (choice,) = completion.choices
        assert choice.message.content == "chunk 1 chunk 2 chunk 3 "
        assert (choice.message.role, choice.finish_reason) == ("assistant", "stop")
        assert choice.message.tool_calls is None
        assert completion.object == "chat.completion"
        assert completion.model == MODEL
        assert completion.usage is not None
        assert completion.usage.completion_tokens == 6
        await eventually(talk.keeps_nothing)


async def test_a_chat_whose_gateway_is_killed_expires(store_url: str) -> None:
    async with talking(store_url, gateway={"openai_wait_s_max": 30}) as talk:
        stream = await talk.client.chat.completions.create(
            model=MODEL, messages=said("/chunks 200 20"), stream=True
        )
        (listed,) = await talk.contexts()
        context = await talk.service.client.state(listed["id"])
        made, expires = (
            datetime.fromisoformat(context[name]) for name in ("created_at", "expires_at")
        )
        assert 30 < (expires - made).total_seconds() < 120
        await stream.close()


async def test_a_stream_of_chunks_comes_to_the_same(store_url: str) -> None:
    async with talking(store_url) as talk:
        stream = await talk.client.chat.completions.create(
            model=MODEL,
            messages=said("/chunks 20 50"),
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = [chunk async for chunk in stream]
        *shown, finish, usage = chunks
        assert shown[0].choices[0].delta.role == "assistant"
        texts = [chunk.choices[0].delta.content or "" for chunk in shown]
        assert "".join(texts) == "".join(f"chunk {n} " for n in range(1, 21))
        assert len(shown) > 2  # it was not kept until its end
        assert finish.choices[0].finish_reason == "stop"
        assert usage.choices == []
        assert usage.usage is not None
        assert usage.usage.total_tokens == 3 + 40
        assert len({chunk.id for chunk in chunks}) == 1
        await eventually(talk.keeps_nothing)


@pytest.mark.parametrize(("chars", "on_loop"), [(10, True), (70_000, False)])
async def test_a_large_body_is_read_beside_the_loop(
    store_url: str, monkeypatch: pytest.MonkeyPatch, *, chars: int, on_loop: bool
) -> None:
    read_in: list[int] = []

    def read(raw: bytes, *, depth_max: int, values_max: int) -> Mapping[str, JsonValue]:
        read_in.append(threading.get_ident())
        return parse_json(raw, depth_max=depth_max, values_max=values_max)

    monkeypatch.setattr("gateway.openai.bodies.parse_json", read)
    async with talking(store_url) as talk:
        await talk.client.chat.completions.create(model=MODEL, messages=said("x" * chars))
        with pytest.raises(openai.BadRequestError) as refused:
            await talk.client.chat.completions.create(
                model=MODEL, messages=said("x" * chars), extra_body={"n": 2}
            )
        assert refused.value.param == "n"
    assert [ident == threading.get_ident() for ident in read_in] == [on_loop] * 2


@pytest.mark.parametrize(
    "junk", [{"stop": [1] * VALUES_MAX}, {"tool_choice": {"junk": [1] * VALUES_MAX}}]
)
async def test_a_body_of_too_many_values_is_refused_before_each_is_judged(
    store_url: str, junk: dict[str, JsonValue]
) -> None:
    async with talking(store_url) as talk:
        with pytest.raises(openai.BadRequestError) as refused:
            await talk.client.chat.completions.create(
                model=MODEL, messages=said("Hello"), extra_body=junk
            )
    assert "The body holds more than 100000 values." in refused.value.message


async def test_the_history_that_is_sent_is_what_the_model_sees(store_url: str) -> None:
    async with talking(store_url) as talk:
        completion = await talk.client.chat.completions.create(
            model=MODEL,
            messages=[
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "x " * 50_000},
                {"role": "assistant", "content": "Yes?"},
                {"role": "user", "content": [{"type": "text", "text": "one two three"}]},
            ],
        )
        assert (completion.choices[0].message.content or "").startswith("You said, in 3 words")


async def test_a_tool_of_the_client_is_called_by_the_client(store_url: str) -> None:
    async with talking(store_url) as talk:
        chat = talk.client.chat.completions
        first = await chat.create(model=MODEL, messages=said(CALL), tools=[CHAT_TOOL])
        (choice,) = first.choices
        assert choice.finish_reason == "tool_calls"
        assert choice.message.content is None
        call = only_call(choice.message)
        assert (call.function.name, call.function.arguments) == ("weather", '{"city": "Bern"}')
        messages = said(CALL)
        messages.append(
            {
                "role": "assistant",
                "tool_calls": [
                    {
                        "id": call.id,
                        "type": "function",
                        "function": {
                            "name": call.function.name,
                            "arguments": call.function.arguments,
                        },
                    }
                ],
            }
        )
        messages.append({"role": "tool", "tool_call_id": call.id, "content": "Sunny."})
        second = await chat.create(model=MODEL, messages=messages, tools=[CHAT_TOOL])
        assert second.choices[0].message.content == "The tools answered:\n- Sunny."
        assert second.choices[0].finish_reason == "stop"


async def test_calls_come_as_chunks_too(store_url: str) -> None:
    async with talking(store_url) as talk:
        stream = await talk.client.chat.completions.create(
            model=MODEL, messages=said(f"{CALL}\n{CALL}"), tools=[CHAT_TOOL], stream=True
        )
        chunks = [chunk.choices[0] async for chunk in stream]
        calls = [call for choice in chunks for call in choice.delta.tool_calls or ()]
        assert [call.index for call in calls] == [0, 1]
        assert {call.function and call.function.name for call in calls} == {"weather"}
        assert len({call.id for call in calls}) == 2
        assert chunks[-1].finish_reason == "tool_calls"


@pytest.mark.parametrize("by", ["header", "metadata"])
async def test_a_chat_bound_to_a_context_says_there_what_is_new(
    store_url: str, by: str
) -> None:
    async with talking(store_url) as talk:
        context_id = await talk.service.client.create(title="Bound")
        await talk.service.client.say(context_id, "Before.")
        completion = await talk.client.chat.completions.create(
            model=MODEL,
            messages=[
                {"role": "system", "content": "Not said here."},
                {"role": "user", "content": "Not said either."},
                {"role": "assistant", "content": "Nor this."},
                *said("one", "two words"),
            ],
            extra_headers={"Contextd-Context-Id": context_id} if by == "header" else {},
            metadata={"context_id": context_id} if by == "metadata" else {},
        )
        reply = completion.choices[0].message.content
        state = await talk.service.client.state(context_id)
        told = [(message["role"], message["content"]) for message in state["messages"]]
        assert told[0] == ("user", "Before.")
        assert told[2:] == [("user", "one"), ("user", "two words"), ("assistant", reply)]
        assert (state["status"], state["title"]) == ("idle", "Bound")
        assert state["config"]["model"] == MODEL
        assert state["config"]["system_prompt"] == ""


async def test_a_bound_context_waits_for_the_client_and_goes_on_with_its_result(
    store_url: str,
) -> None:
    async with talking(store_url) as talk:
        context_id = await talk.service.client.create(config={"tools": []})
        chat, bound = talk.client.chat.completions, {"Contextd-Context-Id": context_id}
        first = await chat.create(
            model=MODEL, messages=said(CALL), tools=[CHAT_TOOL], extra_headers=bound
        )
        call = only_call(first.choices[0].message)
        state = await talk.service.client.state(context_id)
        assert state["status"] == "awaiting_answer"
        assert [question["id"] for question in state["pending_questions"]] == [call.id]
        second = await chat.create(
            model=MODEL,
            messages=[{"role": "tool", "tool_call_id": call.id, "content": "Sunny."}],
            tools=[CHAT_TOOL],
            extra_headers=bound,
        )
        assert second.choices[0].message.content == "The tools answered:\n- Sunny."
        state = await talk.service.client.state(context_id)
        roles = [message["role"] for message in state["messages"]]
        assert roles == ["user", "assistant", "tool", "assistant"]


async def test_which_tool_is_to_be_called_is_chosen_anew_by_each_request(
    store_url: str,
) -> None:
    async with talking(store_url) as talk:
        context_id = await talk.service.client.create(config={"tools": []})
        chat, bound = talk.client.chat.completions, {"Contextd-Context-Id": context_id}

        async def parameters() -> Json:
            config = (await talk.service.client.state(context_id))["config"]
            found: Json = config["parameters"]
            return found

        await chat.create(
            model=MODEL,
            messages=said("Hi."),
            tools=[CHAT_TOOL],
            tool_choice="none",
            temperature=0.5,
            extra_headers=bound,
        )
        assert await parameters() == {"tool_choice": "none", "temperature": 0.5}
        await chat.create(model=MODEL, messages=said("And?"), extra_headers=bound)
        assert await parameters() == {"temperature": 0.5}


async def test_a_repeat_with_its_key_is_said_once(store_url: str) -> None:
    async with talking(store_url) as talk:
        context_id = await talk.service.client.create()
        headers = {"Contextd-Context-Id": context_id, "Idempotency-Key": "once"}
        chat = talk.client.chat.completions
        one = await chat.create(model=MODEL, messages=said("Hi."), extra_headers=headers)
        two = await chat.create(model=MODEL, messages=said("Hi."), extra_headers=headers)
        assert one == two
        state = await talk.service.client.state(context_id)
        assert len(state["messages"]) == 2


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("key", "answered"), [("", False), ("once", True)])
async def test_what_may_have_been_taken_is_not_said_again_by_the_client_itself(
    store_url: str, monkeypatch: pytest.MonkeyPatch, *, stream: bool, key: str, answered: bool
) -> None:
    async with talking(store_url) as talk:
        context_id = await talk.service.client.create()
        headers = {
            "Contextd-Context-Id": context_id,
            **({"Idempotency-Key": key} if key else {}),
        }
        chat = talk.client.with_options(max_retries=2).chat.completions
        lose_answer(monkeypatch, "deliver")
        expected = (
            contextlib.nullcontext() if answered else pytest.raises(openai.APIStatusError)
        )
        with expected as refused:
            await chat.create(
                model=MODEL, messages=said("Hi."), extra_headers=headers, stream=stream
            )
        assert refused is None or refused.value.status_code == 503

        async def said_once() -> bool:
            state = await talk.service.client.state(context_id)
            roles = [message["role"] for message in state["messages"]]
            return state["status"] == "idle" and roles == ["user", "assistant"]

        await eventually(said_once)


async def test_a_client_that_leaves_leaves_nothing_behind(store_url: str) -> None:
    async with talking(store_url) as talk:
        stream = await talk.client.chat.completions.create(
            model=MODEL, messages=said("/chunks 100000 20"), stream=True
        )
        await anext(aiter(stream))
        assert len(await talk.contexts()) == 1
        await stream.close()
        await eventually(talk.keeps_nothing)


# Errors


async def test_errors_are_the_clients_own_exceptions(store_url: str) -> None:
    limits = {"attempts_max": 1}
    async with talking(store_url, gateway={"openai_body_bytes_max": 100_000}) as talk:
        chat = talk.client.chat.completions
        with pytest.raises(openai.NotFoundError) as unknown:
            await chat.create(model="gpt-9", messages=said("Hi."))
        assert (unknown.value.code, unknown.value.param) == ("model_not_found", "model")
        assert "scripted" in unknown.value.message
        with pytest.raises(openai.BadRequestError) as several:
            await chat.create(model=MODEL, messages=said("Hi."), n=2)
        assert (several.value.param, several.value.type) == ("n", "invalid_request_error")
        with pytest.raises(openai.BadRequestError, match="nonsense"):
            await chat.create(model=MODEL, messages=said("Hi."), extra_body={"nonsense": 1})
        with pytest.raises(openai.BadRequestError) as voiced:
            await chat.create(
                model=MODEL,
                messages=[
                    {
                        "role": "user",
                        "content": [
                            {
                                "type": "input_audio",
                                "input_audio": {"data": "", "format": "wav"},
                            }
                        ],
                    }
                ],
            )
        assert voiced.value.param == "messages.0.content.0.type"
        left_open = await chat.create(
            model=MODEL, messages=said("Hi."), audio=None, logprobs=None, prediction=None
        )
        assert left_open.choices[0].message.content
        with pytest.raises(openai.BadRequestError, match="content"):
            await chat.create(model=MODEL, messages=[{"role": "assistant"}])
        nobody = {"context_id": "01932c5e-7a10-7c3b-9d2e-5f6071829304"}
        with pytest.raises(openai.NotFoundError):
            await chat.create(model=MODEL, messages=said("Hi."), metadata=nobody)
        with pytest.raises(openai.APIStatusError) as large:
            await chat.create(model=MODEL, messages=said("x" * 100_001))
        assert large.value.status_code == 413
        context_id = await talk.service.client.create(config={"limits": limits})
        bound = {"Contextd-Context-Id": context_id}
        with pytest.raises(openai.RateLimitError) as busy:
            await chat.create(
                model=MODEL, messages=said("/fail rate_limited"), extra_headers=bound
            )
        assert busy.value.response.headers["Retry-After"] == "1"
        assert busy.value.code == "rate_limit_exceeded"
        assert busy.value.request_id is not None
        with pytest.raises(openai.BadRequestError) as long:
            await chat.create(
                model=MODEL, messages=said("/fail content_too_long"), extra_headers=bound
            )
        assert long.value.code == "context_length_exceeded"
        with pytest.raises(openai.NotFoundError) as unserved:
            await chat.create(
                model=MODEL, messages=said("/fail not_found"), extra_headers=bound
            )
        assert unserved.value.code == "model_not_found"
        with pytest.raises(openai.InternalServerError) as failed:
            await chat.create(
                model=MODEL, messages=said("/fail unauthorized"), extra_headers=bound
            )
        assert failed.value.status_code == 503


async def test_a_turn_that_runs_is_a_conflict(store_url: str) -> None:
    async with talking(store_url) as talk:
        context_id = await talk.service.client.create()
        await talk.service.client.act(
            context_id, "send_message", {"content": "/chunks 100000 20"}
        )
        with pytest.raises(openai.ConflictError) as running:
            await talk.client.chat.completions.create(
                model=MODEL,
                messages=said("Hi."),
                extra_headers={"Contextd-Context-Id": context_id},
            )
        assert running.value.code == "illegal-in-phase"


async def test_a_stream_fails_before_it_begins_or_says_so(store_url: str) -> None:
    async with talking(store_url) as talk:
        context_id = await talk.service.client.create(config={"limits": {"attempts_max": 1}})
        bound = {"Contextd-Context-Id": context_id}
        chat = talk.client.chat.completions
        with pytest.raises(openai.RateLimitError):
            await chat.create(
                model=MODEL,
                messages=said("/fail rate_limited"),
                stream=True,
                extra_headers=bound,
            )
        stream = await chat.create(
            model=MODEL,
            messages=said("/chunks 4 0\n/fail stream_cut"),
            stream=True,
            extra_headers=bound,
        )
        shown = ""
        while len(shown) < len("chunk 1 chunk 2 "):
            shown += (await anext(stream)).choices[0].delta.content or ""
        assert shown == "chunk 1 chunk 2 "
        with pytest.raises(openai.APIError, match="asked for this failure"):
            await anext(stream)


async def test_a_stream_shows_the_text_of_an_attempt_that_broke_off_once(
    store_url: str,
) -> None:
    async with talking(store_url) as talk:
        context_id = await talk.service.client.create()
        stream = await talk.client.chat.completions.create(
            model=MODEL,
            messages=said("/chunks 6 20\n/fail stream_cut 1"),
            stream=True,
            extra_headers={"Contextd-Context-Id": context_id},
        )
        chunks = [chunk.choices[0] async for chunk in stream]
        shown = "".join(choice.delta.content or "" for choice in chunks)
        state = await talk.service.client.state(context_id)
        assert shown == state["messages"][-1]["content"]
        assert shown == "".join(f"chunk {n} " for n in range(1, 7))
        assert chunks[-1].finish_reason == "stop"


async def test_a_stream_whose_text_was_taken_back_ends_with_an_error(store_url: str) -> None:
    async with talking(store_url) as talk:
        context_id = await talk.service.client.create()
        stream = await talk.client.chat.completions.create(
            model=MODEL,
            messages=said("/chunks 100000 20"),
            stream=True,
            extra_headers={"Contextd-Context-Id": context_id},
        )
        shown = ""
        while not shown:
            shown = (await anext(stream)).choices[0].delta.content or ""
        other = {"content": "Rather.", "policy": "rollback"}
        await talk.service.client.act(context_id, "send_message", other)
        with pytest.raises(openai.APIError, match="no part of what it says") as taken_back:
            async for _ in stream:
                pass
        assert taken_back.value.code == "stream_cut"


async def test_a_reply_that_takes_too_long_is_not_waited_for(store_url: str) -> None:
    async with talking(store_url, gateway={"openai_wait_s_max": 0.2}) as talk:
        context_id = await talk.service.client.create()
        with pytest.raises(openai.InternalServerError) as late:
            await talk.client.chat.completions.create(
                model=MODEL,
                messages=said("/chunks 20 50"),
                extra_headers={"Contextd-Context-Id": context_id},
            )
        assert (late.value.status_code, late.value.code) == (504, "answer-late")
        assert late.value.response.headers["x-should-retry"] == "false"
        state = await talk.service.client.until(context_id, "idle")
        assert state["messages"][-1]["status"] == "complete"


@pytest.mark.parametrize(
    ("keys", "again"), [({}, "false"), ({"Idempotency-Key": "once"}, None)]
)
async def test_a_gateway_that_stops_says_when_to_ask_another_and_whether_to(
    store_url: str, keys: Mapping[str, str], again: str | None
) -> None:
    async with talking(store_url) as talk, asyncio.TaskGroup() as group:
        context_id = await talk.service.client.create()

        async def ask() -> None:
            with pytest.raises(openai.InternalServerError) as stopping:
                await talk.client.chat.completions.create(
                    model=MODEL,
                    messages=said("/chunks 1000 20"),
                    extra_headers={"Contextd-Context-Id": context_id, **keys},
                )
            headers = stopping.value.response.headers
            assert (stopping.value.status_code, stopping.value.code) == (503, "draining")
            assert (headers["Retry-After"], headers.get("x-should-retry")) == ("1", again)

        group.create_task(ask())
        await talk.service.client.until(context_id, "streaming_llm_response")
        talk.service.stop("gateway 0")


async def test_a_conversation_that_nobody_deletes_in_time_is_late(store_url: str) -> None:
    async with talking(store_url, workers=0, gateway={"applied_s_max": 0.1}) as talk:
        made = await talk.client.conversations.create()
        with pytest.raises(openai.InternalServerError) as late:
            await talk.client.conversations.delete(made.id)
        assert late.value.code == "answer-late"


async def test_a_full_mailbox_is_a_rate_limit(store_url: str) -> None:
    options = {"openai_wait_s_max": 0.1}
    async with talking(
        store_url, workers=0, gateway=options, storage={"mailbox_max": 2}
    ) as talk:
        context_id = await talk.service.client.create()
        chat, bound = talk.client.chat.completions, {"Contextd-Context-Id": context_id}
        for _ in range(2):
            with pytest.raises(openai.InternalServerError):
                await chat.create(model=MODEL, messages=said("Hi."), extra_headers=bound)
        with pytest.raises(openai.RateLimitError) as full:
            await chat.create(model=MODEL, messages=said("Hi."), extra_headers=bound)
        assert full.value.response.headers["Retry-After"] == "1"


async def test_the_models_are_those_that_are_configured(store_url: str) -> None:
    async with talking(store_url, gateway={"openai_models": "one, two"}) as talk:
        listed = await talk.client.models.list()
        assert [model.id for model in listed.data] == ["one", "two"]
        assert await talk.client.models.retrieve("two") == listed.data[1]
        with pytest.raises(openai.NotFoundError) as unknown:
            await talk.client.models.retrieve("three")
        assert (unknown.value.code, unknown.value.param) == ("model_not_found", "model")
    async with talking(store_url, gateway={"openai_models": ""}) as talk:
        assert (await talk.client.models.list()).data == []
        assert (await talk.client.models.retrieve("x/y")).id == "x/y"
        whatever = await talk.client.chat.completions.create(model="x", messages=said("Hi."))
        assert whatever.choices[0].message.content
