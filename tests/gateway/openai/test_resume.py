"""A response's stream goes on where it was cut: by number, on any gateway, at any time."""

import asyncio
import contextlib
import sys
from typing import Final

import openai
import orjson
import pytest
from yarl import URL

from gateway.openai.watch import Watch
from storage import StoreUnavailable
from tests.gateway.openai.sdk import MODEL, Talk, talking
from tests.support.service import WITHIN_S, Json, serving

READER: Final = """
import sys
from openai import OpenAI

client = OpenAI(base_url=sys.argv[1], api_key="unused", max_retries=0)
stream = client.responses.create(model="scripted", input=sys.argv[2], stream=True)
for event in stream:
    print(event.model_dump_json(), flush=True)
"""


async def read_events(
    talk: Talk, response_id: str, after: int | None, gateway: int = 0
) -> Json:
    """The events of a response's stream behind a number, as they are on the wire."""
    client = talk.service.clients[gateway]
    query = "stream=true" + ("" if after is None else f"&starting_after={after}")
    url = URL(f"{client.url}/v1/responses/{response_id}?{query}", encoded=True)
    async with asyncio.timeout(WITHIN_S), client.session.get(url) as response:
        assert response.status == 200
        body = await response.text()
    events: list[Json] = []
    for block in body.split("\n\n"):
        lines = [line for line in block.split("\n") if line and not line.startswith(":")]
        if lines:
            name, data = lines
            events.append(orjson.loads(data.removeprefix("data: ")))
            assert name == f"event: {events[-1]['type']}"
    return events


def text_of(events: list[Json]) -> str:
    return "".join(
        event["delta"] for event in events if event["type"] == "response.output_text.delta"
    )


async def test_resumed_at_every_number_the_text_is_the_same(store_url: str) -> None:
    async with talking(store_url, gateways=2) as talk:
        stream = await talk.client.responses.create(
            model=MODEL, input="/chunks 6 20", stream=True
        )
        live: list[Json] = [event.to_dict() async for event in stream]
        response_id = live[0]["response"]["id"]
        whole = await read_events(talk, response_id, None)
        text = text_of(whole)
        assert text == text_of(live) == "".join(f"chunk {n} " for n in range(1, 7))
        structure = [event for event in whole if "delta" not in event]
        assert [event for event in live if "delta" not in event] == structure
        last = whole[-1]["sequence_number"]
        assert last == 4 + len(text) + 3
        for after in range(last + 1):
            rest = await read_events(talk, response_id, after, gateway=after % 2)
            assert [event["sequence_number"] > after for event in rest] == [True] * len(rest)
            seen = text[: max(0, after - 3)]
            assert seen + text_of(rest) == text
            others = [event for event in rest if "delta" not in event]
            assert others == [e for e in structure if e["sequence_number"] > after]


async def test_what_was_seen_live_and_what_is_resumed_make_the_whole(store_url: str) -> None:
    async with talking(store_url, gateways=2) as talk:
        begun = await talk.client.responses.create(
            model=MODEL, input="/chunks 40 10", background=True
        )
        seen: list[Json] = []
        after = -1
        for turn in range(100):
            client = talk.clients[turn % 2]
            stream = await client.responses.retrieve(
                begun.id, stream=True, starting_after=openai.omit if after < 0 else after
            )
            async for event in stream:
                assert event.sequence_number > after
                after = event.sequence_number
                seen.append(event.to_dict())
                if event.type == "response.output_text.delta":
                    break  # cut after each piece of text
            await stream.close()
            if seen[-1]["type"] == "response.completed":
                break
        whole = await read_events(talk, begun.id, None)
        assert seen[-1] == whole[-1]
        assert text_of(seen) == text_of(whole) == "".join(f"chunk {n} " for n in range(1, 41))


async def test_a_killed_client_goes_on_where_it_was(store_url: str) -> None:
    async with talking(store_url, gateways=2) as talk:
        reader = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", READER, f"{talk.service.client.url}/v1"),
            "/chunks 60 50",
            stdout=asyncio.subprocess.PIPE,
        )
        assert reader.stdout is not None
        seen: list[Json] = []
        async with asyncio.timeout(WITHIN_S):
            while len(text_of(seen)) < 30:
                seen.append(orjson.loads(await reader.stdout.readline()))
        reader.kill()
        await reader.wait()
        response_id = seen[0]["response"]["id"]
        after = seen[-1]["sequence_number"]
        stream = await talk.clients[1].responses.retrieve(
            response_id, stream=True, starting_after=after
        )
        rest: list[Json] = [event.to_dict() async for event in stream]
        expected = "".join(f"chunk {n} " for n in range(1, 61))
        assert text_of(seen) + text_of(rest) == expected
        assert rest[-1]["type"] == "response.completed"


async def test_a_reply_that_begins_anew_is_shown_as_another_item(store_url: str) -> None:
    async with talking(store_url) as talk:
        stream = await talk.client.responses.create(
            model=MODEL, input="/chunks 4 0\n/fail stream_cut 1", stream=True
        )
        live: list[Json] = [event.to_dict() async for event in stream]
        whole = await read_events(talk, live[0]["response"]["id"], None)
        ended = [
            event["item"] for event in whole if event["type"] == "response.output_item.done"
        ]
        assert [item["status"] for item in ended] == ["incomplete", "completed"]
        assert text_of(whole) == "chunk 1 chunk 2 chunk 1 chunk 2 chunk 3 chunk 4 "
        assert text_of(live) == text_of(whole)
        assert [item["id"] for item in whole[-1]["response"]["output"]] == [ended[1]["id"]]


async def test_a_reply_that_another_worker_takes_over_reads_the_same_live_and_later(
    store_url: str,
) -> None:
    async with talking(store_url) as talk, contextlib.AsyncExitStack() as stack:
        stream = await talk.client.responses.create(
            model=MODEL, input="/chunks 80 20", stream=True
        )
        live: list[Json] = []
        async for event in stream:
            live.append(event.to_dict())
            if len(live) == 6:
                talk.service.stop("worker 0")
                await stack.enter_async_context(serving(store_url, gateways=0))
        whole = await read_events(talk, live[0]["response"]["id"], None)
        ended = [
            event["item"] for event in whole if event["type"] == "response.output_item.done"
        ]
        assert [item["status"] for item in ended] == ["incomplete", "completed"]
        assert whole[-1]["response"]["output"] == [ended[1]]
        assert text_of(live) == text_of(whole)
        structure = [event for event in whole if "delta" not in event]
        assert [event for event in live if "delta" not in event] == structure


async def test_a_stream_ends_without_its_last_event_where_the_gateway_stops(
    store_url: str,
) -> None:
    async with talking(store_url, gateways=2) as talk:
        stream = await talk.client.responses.create(
            model=MODEL, input="/chunks 40 20", stream=True
        )
        seen: list[Json] = []
        async for event in stream:
            seen.append(event.to_dict())
            if len(seen) == 6:
                talk.service.stop("gateway 0")
        assert seen[-1]["type"] == "response.output_text.delta"
        after = seen[-1]["sequence_number"]
        rest = await read_events(talk, seen[0]["response"]["id"], after, gateway=1)
        assert text_of(seen) + text_of(rest) == "".join(f"chunk {n} " for n in range(1, 41))


async def test_a_stream_ends_without_its_last_event_where_the_store_is_lost(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lost(*_: object) -> None:
        raise StoreUnavailable("the feed has ended")

    async with talking(store_url) as talk:
        stream = await talk.client.responses.create(
            model=MODEL, input="/chunks 10000 20", stream=True
        )
        shown = [(await anext(aiter(stream))).type]
        monkeypatch.setattr(Watch, "next", lost)
        shown += [event.type async for event in stream]
        assert shown[0] == "response.created"
        assert not {"response.completed", "response.failed"} & set(shown)
