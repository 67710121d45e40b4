"""Responses by OpenAI's client: made, streamed, in the background, cancelled, gone on from."""

import openai
import pytest
from openai.types.responses import Response, ResponseStreamEvent

from gateway.openai.ids import pair_id
from tests.gateway.openai.sdk import MODEL, TOOL, Talk, lose_answer, talking

CALL = '/tool weather {"city": "Bern"}'


def text_of(events: list[ResponseStreamEvent]) -> str:
    """The text that a stream has shown."""
    return "".join(e.delta for e in events if e.type == "response.output_text.delta")


async def ended(talk: Talk, response_id: str) -> Response:
    """The response once it is over, watched by its stream."""
    stream = await talk.client.responses.retrieve(response_id, stream=True)
    async for _ in stream:
        pass
    return await talk.client.responses.retrieve(response_id)


async def test_a_response_is_made_and_can_be_read_again(store_url: str) -> None:
    async with talking(store_url) as talk:
        made = await talk.client.responses.create(
            model=MODEL,
            input="/chunks 2 0",
            instructions="Be brief.",
            metadata={"ticket": "7"},
            temperature=0.5,
        )
        assert (made.status, made.output_text) == ("completed", "chunk 1 chunk 2 ")
        assert (made.instructions, made.metadata) == ("Be brief.", {"ticket": "7"})
        assert (made.model, made.temperature, made.error) == (MODEL, 0.5, None)
        assert made.usage is not None
        assert made.usage.output_tokens == 4
        read = await talk.client.responses.retrieve(made.id)
        assert read.to_dict() == made.to_dict() | {"created_at": read.created_at}
        items = await talk.client.responses.input_items.list(made.id)
        (item,) = [item.to_dict() for item in items.data]
        assert item["content"] == [{"type": "input_text", "text": "/chunks 2 0"}]
        (context,) = await talk.contexts()
        state = await talk.service.client.state(context["id"])
        assert state["config"]["system_prompt"] == "Be brief."
        assert state["config"]["tools"] == []
        assert state["config"]["parameters"] == {"temperature": 0.5}
        assert made.id.startswith(f"resp_{context['id'].replace('-', '')}")


async def test_a_stream_shows_each_event_in_its_place(store_url: str) -> None:
    async with talking(store_url) as talk:
        stream = await talk.client.responses.create(
            model=MODEL, input="/chunks 20 50", stream=True
        )
        events = [event async for event in stream]
        kinds = [event.type for event in events]
        assert kinds[:4] == [
            *("response.created", "response.in_progress"),
            *("response.output_item.added", "response.content_part.added"),
        ]
        assert set(kinds[4:-4]) == {"response.output_text.delta"}
        assert len(kinds) > 9  # more than one delta: it was not kept until its end
        assert kinds[-4:] == [
            *("response.output_text.done", "response.content_part.done"),
            *("response.output_item.done", "response.completed"),
        ]
        numbers = [event.sequence_number for event in events]
        assert numbers == sorted(set(numbers))
        assert numbers[0] == 0
        done, last = events[-4], events[-1]
        assert done.type == "response.output_text.done"
        assert last.type == "response.completed"
        assert text_of(events) == done.text == last.response.output_text
        assert last.response.status == "completed"


async def test_a_response_goes_on_from_another(store_url: str) -> None:
    async with talking(store_url) as talk:
        responses = talk.client.responses
        first = await responses.create(model=MODEL, input="One.")
        second = await responses.create(
            model=MODEL, input="Two.", previous_response_id=first.id
        )
        assert second.previous_response_id == first.id
        (context,) = await talk.contexts()
        state = await talk.service.client.state(context["id"])
        said = [m["content"] for m in state["messages"] if m["role"] == "user"]
        assert said == ["One.", "Two."]
        other = await responses.create(
            model=MODEL, input="Rather.", previous_response_id=first.id
        )
        state = await talk.service.client.state(context["id"])
        said = [m["content"] for m in state["messages"] if m["role"] == "user"]
        assert said == ["One.", "Rather."]
        assert (await responses.retrieve(second.id)).output_text == second.output_text
        assert (await responses.retrieve(other.id)).output_text == other.output_text
        unknown = f"{first.id[:-4]}0000"
        with pytest.raises(openai.NotFoundError):
            await responses.create(model=MODEL, input="x", previous_response_id=unknown)


async def test_instructions_that_are_empty_are_none_and_those_not_sent_stay(
    store_url: str,
) -> None:
    async with talking(store_url) as talk:
        responses = talk.client.responses
        made = await responses.create(model=MODEL, input="One.", instructions="Be brief.")
        (context,) = await talk.contexts()

        async def prompt() -> object:
            state = await talk.service.client.state(context["id"])
            return state["config"]["system_prompt"]

        made = await responses.create(model=MODEL, input="Two.", previous_response_id=made.id)
        assert await prompt() == "Be brief."
        await responses.create(
            model=MODEL, input="Three.", previous_response_id=made.id, instructions=""
        )
        assert await prompt() == ""


async def test_a_tool_of_the_client_comes_back_with_its_output(store_url: str) -> None:
    async with talking(store_url) as talk:
        responses = talk.client.responses
        first = await responses.create(model=MODEL, input=CALL, tools=[TOOL])
        assert first.status == "completed"
        (call,) = first.output
        assert call.type == "function_call"
        assert (call.name, call.arguments) == ("weather", '{"city": "Bern"}')
        second = await responses.create(
            model=MODEL,
            previous_response_id=first.id,
            input=[
                {"type": "function_call_output", "call_id": call.call_id, "output": "Sunny."}
            ],
            tools=[TOOL],
        )
        assert second.output_text == "The tools answered:\n- Sunny."
        again = await responses.retrieve(first.id)
        assert (again.status, again.output) == ("completed", first.output)
        whole = await responses.create(
            model=MODEL,
            input=[
                {"role": "user", "content": CALL},
                {
                    "type": "function_call",
                    "call_id": call.call_id,
                    "name": call.name,
                    "arguments": call.arguments,
                },
                {"type": "function_call_output", "call_id": call.call_id, "output": "Rain."},
            ],
            tools=[TOOL],
        )
        assert whole.output_text == "The tools answered:\n- Rain."


async def test_a_call_streams_as_an_item(store_url: str) -> None:
    async with talking(store_url) as talk:
        stream = await talk.client.responses.create(
            model=MODEL, input=CALL, tools=[TOOL], stream=True
        )
        events = [event async for event in stream]
        assert [event.type for event in events] == [
            *("response.created", "response.in_progress", "response.output_item.added"),
            *(
                "response.function_call_arguments.delta",
                "response.function_call_arguments.done",
            ),
            *("response.output_item.done", "response.completed"),
        ]
        assert [event.sequence_number for event in events] == [*range(7)]
        done = events[4]
        assert done.type == "response.function_call_arguments.done"
        assert done.arguments == '{"city": "Bern"}'


async def test_a_background_response_is_polled_to_its_end(store_url: str) -> None:
    async with talking(store_url, gateways=2) as talk:
        begun = await talk.client.responses.create(
            model=MODEL, input="/chunks 10 20", background=True
        )
        assert begun.status == "in_progress"
        assert begun.background is True
        assert begun.output == []
        polled = await talk.clients[1].responses.retrieve(begun.id)
        assert polled.status in {"in_progress", "completed"}
        over = await ended(talk, begun.id)
        assert over.status == "completed"
        assert over.output_text == "".join(f"chunk {n} " for n in range(1, 11))


async def test_a_response_that_no_worker_has_taken_is_queued(store_url: str) -> None:
    async with talking(store_url, workers=0, gateway={"applied_s_max": 0.1}) as talk:
        made = await talk.client.responses.create(model=MODEL, input="Hi.", background=True)
        assert made.status == "queued"
        assert (await talk.client.responses.retrieve(made.id)).status == "queued"
        with pytest.raises(openai.InternalServerError):
            await talk.client.responses.cancel(made.id)
    async with talking(store_url) as talk:
        assert (await ended(talk, made.id)).status == "completed"


@pytest.mark.parametrize("by_conversation", [False, True])
async def test_a_response_that_goes_on_and_that_no_worker_has_taken_is_queued(
    store_url: str, *, by_conversation: bool
) -> None:
    async with talking(store_url) as talk:
        first = await talk.client.responses.create(model=MODEL, input="One.")
    async with talking(store_url, workers=0, gateway={"applied_s_max": 0.1}) as talk:
        made = await talk.client.responses.create(
            model=MODEL,
            input="Two.",
            background=True,
            conversation=f"conv_{first.id[5:37]}" if by_conversation else None,
            previous_response_id=None if by_conversation else first.id,
        )
        assert made.status == "queued"
        assert (await talk.client.responses.retrieve(made.id)).status == "queued"
    async with talking(store_url) as talk:
        over = await ended(talk, made.id)
        assert over.status == "completed"
        assert "Two." in over.output_text


async def test_a_response_that_goes_on_and_was_not_delivered_in_time_is_late_and_not_unknown(
    store_url: str,
) -> None:
    async with talking(store_url) as talk:
        first = await talk.client.responses.create(model=MODEL, input="One.")
    async with talking(store_url, workers=0, gateway={"applied_s_max": 1e-9}) as talk:
        with pytest.raises(openai.InternalServerError) as late:
            await talk.client.responses.create(
                model=MODEL, input="Two.", background=True, previous_response_id=first.id
            )
        assert late.value.status_code == 504


async def test_a_response_is_cancelled_and_keeps_what_it_had(store_url: str) -> None:
    async with talking(store_url) as talk:
        stream = await talk.client.responses.create(
            model=MODEL, input="/chunks 100000 10", background=True, stream=True
        )
        events: list[ResponseStreamEvent] = []
        response_id = ""
        async for event in stream:
            events.append(event)
            if event.type == "response.created":
                response_id = event.response.id
            if event.type == "response.output_text.delta" and len(text_of(events)) > 20:
                break
        cancelled = await talk.client.responses.cancel(response_id)
        assert cancelled.status == "cancelled"
        events += [event async for event in stream]
        assert cancelled.output_text == text_of(events)
        assert events[-1].type == "response.incomplete"
        assert events[-1].response.status == "cancelled"
        again = await talk.client.responses.cancel(response_id)
        assert again.to_dict() == cancelled.to_dict()


async def test_a_response_fails_as_its_model_did(store_url: str) -> None:
    async with talking(store_url) as talk:
        failed = await talk.client.responses.create(model=MODEL, input="/fail unauthorized")
        assert failed.status == "failed"
        assert failed.error is not None
        assert failed.error.code == "server_error"
        assert "asked for this failure" in failed.error.message
        after = await talk.client.responses.create(
            model=MODEL, input="Hi.", previous_response_id=failed.id
        )
        assert after.status == "completed"
        assert (await talk.client.responses.retrieve(failed.id)).status == "failed"


async def test_a_response_that_is_not_stored_leaves_nothing(store_url: str) -> None:
    async with talking(store_url) as talk:
        made = await talk.client.responses.create(model=MODEL, input="Hi.", store=False)
        assert made.status == "completed"
        with pytest.raises(openai.NotFoundError):
            await ended(talk, made.id)
        with pytest.raises(openai.BadRequestError):
            await talk.client.responses.create(
                model=MODEL, input="Hi.", store=False, background=True
            )


async def test_a_repeat_with_its_key_is_the_same_response(store_url: str) -> None:
    async with talking(store_url, gateways=2) as talk:
        key = {"Idempotency-Key": "once"}
        here, there = (client.responses for client in talk.clients)
        one = await here.create(model=MODEL, input="Hi.", extra_headers=key)
        two = await there.create(model=MODEL, input="Hi.", extra_headers=key)
        assert (one.id, one.output_text) == (two.id, two.output_text)
        assert len(await talk.contexts()) == 1
        with pytest.raises(openai.BadRequestError) as reused:
            await here.create(model=MODEL, input="Other.", extra_headers=key)
        assert reused.value.code == "key-reused"


@pytest.mark.parametrize("background", [False, True])
async def test_what_may_have_been_taken_is_not_asked_again_by_the_client_itself(
    store_url: str, monkeypatch: pytest.MonkeyPatch, *, background: bool
) -> None:
    async with talking(store_url) as talk:
        responses = talk.client.with_options(max_retries=2).responses
        lose_answer(monkeypatch, "create")
        with pytest.raises(openai.APIStatusError) as refused:
            await responses.create(model=MODEL, input="Hi.", background=background)
        assert refused.value.status_code == 503
        assert len(await talk.contexts()) == 1
        first = await responses.create(model=MODEL, input="One.", store=True)
        lose_answer(monkeypatch, "deliver")
        with pytest.raises(openai.APIStatusError):
            await responses.create(
                model=MODEL, input="Two.", previous_response_id=first.id, background=background
            )


async def test_a_response_is_deleted_where_nothing_goes_on_from_it(store_url: str) -> None:
    async with talking(store_url) as talk:
        responses = talk.client.responses
        first = await responses.create(model=MODEL, input="One.")
        await responses.create(model=MODEL, input="Two.", previous_response_id=first.id)
        with pytest.raises(openai.ConflictError) as used:
            await responses.delete(first.id)
        assert used.value.code == "in-use"
        alone = await responses.create(model=MODEL, input="Three.")
        await responses.delete(alone.id)
        for gone in (alone.id, "resp_nonsense", f"{first.id}0"):
            with pytest.raises(openai.NotFoundError):
                await responses.retrieve(gone)


async def test_what_cannot_be_done_is_said(store_url: str) -> None:
    async with talking(store_url) as talk:
        responses = talk.client.responses
        wrong = {"input": [{"type": "function_call"}]}
        with pytest.raises(openai.BadRequestError) as empty:
            await responses.create(model=MODEL, extra_body=wrong)
        assert empty.value.param == "input.0"
        with pytest.raises(openai.NotFoundError):
            await responses.create(model=MODEL, input="x", conversation="conv_0")
        with pytest.raises(openai.BadRequestError):
            await responses.create(
                model=MODEL, input="x", conversation="c", previous_response_id="r"
            )
        with pytest.raises(openai.NotFoundError):
            await responses.cancel("resp_0")


@pytest.mark.parametrize("metadata", [{}, {"openai": 5}, {"openai": {}}])
async def test_a_message_that_only_looks_like_a_response_s_is_none(
    store_url: str, metadata: dict[str, object]
) -> None:
    request = "a" * 32
    async with talking(store_url) as talk:
        client = talk.service.client
        context_id = await client.create()
        said = {
            "content": "Hello.",
            "client_message_id": f"{request}.0",
            "metadata": metadata,
        }
        answer = await client.act(context_id, "send_message", said, Prefer="wait=30")
        assert answer.context["status"] == "idle"
        with pytest.raises(openai.NotFoundError):
            await talk.client.responses.retrieve(pair_id("resp", context_id, request))
