"""What these doors find again once the beginning of a log has become a state."""

import openai
import pytest
from openai.types.responses import Response

from fsm import decode_event, replay
from gateway.openai.transcript import Transcript
from gateway.openai.watch import begun, replayed
from storage import StoreUnavailable, View
from tests.gateway.openai.sdk import CHAT_TOOL, MODEL, TOOL, Talk, talking
from tests.gateway.openai.test_chat import said
from tests.gateway.openai.test_resume import read_events, text_of
from tests.support.service import eventually

WORKER = {"linger_s": 0.0}
CALL = '/tool weather {"city": "Bern"}'


async def compact(talk: Talk) -> None:
    """Compact the log of the one context there is, up to where it is now."""
    (context,) = await talk.contexts()
    client, path = talk.service.client, f"/admin/contexts/{context['id']}"
    version: int = (await client.state(context["id"]))["version"]
    await client.send("POST", f"{path}/compact", {"keep_events": 1})

    async def is_compacted() -> bool:
        base: int | None = (await client.get(path)).json["log"]["base_version"]
        return base == version

    await eventually(is_compacted)


async def ended(talk: Talk, response_id: str) -> Response:
    """The response once it is over, as it is read."""
    await read_events(talk, response_id, None)
    return await talk.client.responses.retrieve(response_id)


async def test_a_response_is_found_in_a_compacted_context_and_gone_on_from(
    store_url: str,
) -> None:
    async with talking(store_url, worker=WORKER) as talk:
        responses = talk.client.responses
        made = await responses.create(
            model=MODEL, input="/chunks 3 0", instructions="Be brief.", background=True
        )
        before = await ended(talk, made.id)
        events = await read_events(talk, made.id, None)
        asked = await responses.input_items.list(made.id)
        await compact(talk)
        assert await responses.retrieve(made.id) == before
        assert await responses.cancel(made.id) == before
        assert (await responses.input_items.list(made.id)).data == asked.data
        again = await read_events(talk, made.id, None)
        assert text_of(again) == text_of(events) == before.output_text
        assert again[-1] == events[-1]
        with pytest.raises(openai.APIStatusError, match="numbers") as resumed:
            await responses.retrieve(made.id, stream=True, starting_after=3)
        assert (resumed.value.status_code, resumed.value.code) == (410, "compacted")
        after = await responses.create(
            model=MODEL, input="/chunks 2 0", previous_response_id=made.id
        )
        assert await responses.retrieve(after.id) == after
        events = await read_events(talk, after.id, None)
        assert text_of(events) == "chunk 1 chunk 2 "
        for number in range(events[-1]["sequence_number"]):
            rest = await read_events(talk, after.id, number)
            assert rest[-1] == events[-1]


@pytest.mark.parametrize("text", ["/chunks 3 0\n/fail stream_cut 1", CALL])
async def test_a_chat_is_repeated_in_a_compacted_context(store_url: str, text: str) -> None:
    async with talking(store_url, worker=WORKER) as talk:
        context_id = await talk.service.client.create(config={"tools": []})
        chat = talk.client.chat.completions
        bound = {"Contextd-Context-Id": context_id}
        once, streamed = (bound | {"Idempotency-Key": key} for key in ("once", "streamed"))
        made = await chat.create(
            model=MODEL, messages=said(text), tools=[CHAT_TOOL], extra_headers=once
        )
        await compact(talk)
        assert made == await chat.create(
            model=MODEL, messages=said(text), tools=[CHAT_TOOL], extra_headers=once
        )
        shown: list[str] = []
        for _ in range(2):
            stream = await chat.create(
                model=MODEL, messages=said("Hello."), stream=True, extra_headers=streamed
            )
            chunks = [chunk.choices[0] async for chunk in stream]
            shown.append("".join(choice.delta.content or "" for choice in chunks))
            assert chunks[-1].finish_reason == "stop"
            await compact(talk)
        assert shown[0] == shown[1] != ""


async def test_a_turn_that_has_not_ended_goes_on_behind_the_base(store_url: str) -> None:
    async with talking(store_url, worker=WORKER) as talk:
        client = talk.service.client
        context_id = await client.create()
        made = await talk.client.responses.create(
            model=MODEL,
            input="/tool clock {}",
            conversation=f"conv_{context_id.replace('-', '')}",
            background=True,
        )
        state = await client.until(context_id, "awaiting_tool_approval")
        ids = [call["id"] for call in state["pending_tool_calls"]]
        await compact(talk)
        assert (await talk.client.responses.retrieve(made.id)).status == "in_progress"
        await client.act(context_id, "approve_tools", {"tool_call_ids": ids})
        read = await ended(talk, made.id)
        assert read.status == "completed"
        assert read.output_text.startswith("The tools answered")


async def test_a_response_that_failed_or_wants_a_tool_is_found_until_it_is_gone_on_from(
    store_url: str,
) -> None:
    async with talking(store_url, worker=WORKER) as talk:
        responses = talk.client.responses
        called = await responses.create(model=MODEL, input=CALL, tools=[TOOL])
        await compact(talk)
        assert await responses.retrieve(called.id) == called
        (call,) = called.output
        assert call.type == "function_call"
        failed = await responses.create(
            model=MODEL,
            previous_response_id=called.id,
            input=[
                {"type": "function_call_output", "call_id": call.call_id, "output": "Sunny."},
                {"type": "message", "role": "user", "content": "/fail unauthorized"},
            ],
            tools=[TOOL],
        )
        assert failed.status == "failed"
        await compact(talk)
        assert await responses.retrieve(failed.id) == failed
        first, *_, last = await read_events(talk, failed.id, None)
        assert (first["type"], first["response"]["error"]) == ("response.created", None)
        assert last["response"]["error"] is not None
        await responses.create(model=MODEL, previous_response_id=failed.id, input="Hello.")
        await compact(talk)
        for lost in (called, failed):
            for asking in (responses.retrieve, responses.cancel):
                with pytest.raises(openai.APIStatusError, match="conv_") as compacted:
                    await asking(lost.id)
                error = compacted.value
                assert (error.status_code, error.code) == (410, "compacted")
            with pytest.raises(openai.APIStatusError, match="conv_"):
                await responses.retrieve(lost.id, stream=True)


async def test_a_log_that_is_compacted_while_it_is_read_is_to_be_read_again(
    store_url: str,
) -> None:
    async with talking(store_url, worker=WORKER) as talk:
        client, (store,) = talk.service.client, talk.service.stores
        context_id = await client.create()
        await client.say(context_id, "Before.")
        version: int = (await client.state(context_id))["version"]
        log = await store.logs.events(context_id, after=0, until=version)
        view = View(replay(map(decode_event, log)), 0, "")
        await client.say(context_id, "After.")
        await compact(talk)
        with pytest.raises(StoreUnavailable, match="compacted"):
            await begun(store, "request", view, store.epoch)
        with pytest.raises(StoreUnavailable, match="compacted"):
            await anext(replayed(store, Transcript("request", None), view, store.epoch))
