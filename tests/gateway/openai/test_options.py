"""What OpenAI's client may be told besides the question: defaults, and what cannot be had."""

from collections.abc import Mapping

import openai
import pytest
from pydantic import BaseModel, JsonValue

from tests.gateway.openai.sdk import MODEL, talking
from tests.support.model_server import ModelServer, Script


class Weather(BaseModel):
    """What a reply is parsed into."""

    city: str
    rains: bool


async def test_a_default_that_is_sent_is_as_good_as_left_out(store_url: str) -> None:
    async with talking(store_url) as talk:
        completion = await talk.client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": "/chunks 2 0"}],
            logprobs=False,
            top_logprobs=0,
            n=1,
            modalities=["text"],
            parallel_tool_calls=True,
            reasoning_effort="medium",
            response_format={"type": "text"},
            service_tier="auto",
            store=False,
            stream=False,
            tool_choice="auto",
            tools=[],
            user="ada",
            extra_body={"prompt_cache_options": {}},
        )
        response = await talk.client.responses.create(
            model=MODEL,
            input="/chunks 2 0",
            background=False,
            include=[],
            max_tool_calls=1,
            parallel_tool_calls=True,
            reasoning={"effort": "medium", "summary": "auto"},
            service_tier="auto",
            store=True,
            stream=False,
            stream_options={"include_obfuscation": False},
            text={"format": {"type": "text"}, "verbosity": "medium"},
            tool_choice="auto",
            tools=[],
            top_logprobs=0,
            truncation="auto",
            user="ada",
        )
        assert completion.choices[0].message.content == "chunk 1 chunk 2 "
        assert response.output_text == "chunk 1 chunk 2 "


@pytest.mark.parametrize(
    "asked", [{"logprobs": True}, {"top_logprobs": 1}, {"n": 2}, {"modalities": ["audio"]}]
)
async def test_what_no_model_here_tells_is_refused(
    store_url: str, asked: Mapping[str, JsonValue]
) -> None:
    async with talking(store_url) as talk:
        with pytest.raises(openai.BadRequestError) as refused:
            await talk.client.chat.completions.create(
                model=MODEL,
                messages=[{"role": "user", "content": "Hi."}],
                extra_body=asked,
            )
        (name,) = asked
        assert str(refused.value.param).startswith(name)


async def test_what_is_read_may_be_asked_to_include_more_and_is_the_same(
    store_url: str,
) -> None:
    async with talking(store_url) as talk:
        responses, conversations = talk.client.responses, talk.client.conversations
        made = await responses.create(model=MODEL, input="/chunks 2 0")
        read = await responses.retrieve(
            made.id,
            include=["message.output_text.logprobs", "reasoning.encrypted_content"],
            include_obfuscation=False,
        )
        assert read.output_text == made.output_text
        stream = await responses.retrieve(
            made.id, include=["reasoning.encrypted_content"], stream=True
        )
        *_, last = [event async for event in stream]
        assert last.type == "response.completed"
        given = await responses.input_items.list(
            made.id, include=["message.input_image.image_url"]
        )
        items = await conversations.items.list(
            f"conv_{made.id[5:37]}", include=["message.output_text.logprobs"]
        )
        assert (len(given.data), len(items.data)) == (1, 2)
        with pytest.raises(openai.BadRequestError):
            await responses.retrieve(made.id, extra_query={"stream": ["false", "false"]})


async def test_a_reply_is_parsed_as_the_client_s_own_type(store_url: str) -> None:
    model = ModelServer(Script(text='{"city": "Bern", "rains": true}', chunks=5))
    expected = Weather(city="Bern", rains=True)
    async with (
        model.running() as url,
        talking(store_url, worker={"model_base_url": url, "model": MODEL}) as talk,
    ):
        completion = await talk.client.chat.completions.parse(
            model=MODEL,
            messages=[{"role": "user", "content": "Rain?"}],
            response_format=Weather,
        )
        assert completion.choices[0].message.parsed == expected
        async with talk.client.chat.completions.stream(
            model=MODEL,
            messages=[{"role": "user", "content": "Rain?"}],
            response_format=Weather,
        ) as chunks:
            shown = await chunks.get_final_completion()
        assert shown.choices[0].message.parsed == expected
        response = await talk.client.responses.parse(
            model=MODEL, input="Rain?", text_format=Weather
        )
        assert response.output_parsed == expected
        async with talk.client.responses.stream(
            model=MODEL, input="Rain?", text_format=Weather
        ) as events:
            final = await events.get_final_response()
        assert final.output_parsed == expected
    asked = [received.body["response_format"] for received in model.requests]
    schemas: list[object] = []
    for wanted in asked:
        assert isinstance(wanted, dict)
        assert wanted["type"] == "json_schema"
        schemas.append(wanted["json_schema"])
    assert len(schemas) == 4
    assert all(schema == schemas[0] for schema in schemas)
