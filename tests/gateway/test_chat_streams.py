"""Answers as they arrive."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from tests.gateway.chatting import chat, contexts, scene, travel
from tests.support.model_server import Script
from tests.support.service import Client, Stream, eventually


@contextlib.asynccontextmanager
async def streamed(client: Client, **body: object) -> AsyncGenerator[Stream, None]:
    url = f"{client.url}/api/chat/deep/stream"
    async with client.session.post(url, json=body) as response:
        assert response.status == 200, await response.read()
        assert response.content_type == "text/event-stream"
        yield Stream(response)


async def test_a_stream_gives_the_answer_as_it_arrives_and_then_all_of_it(
    store_url: str,
) -> None:
    async with scene(store_url) as here:
        kept = await travel(here.client)
        here.model.default = Script(chunks=20, delay_ms=50)
        async with streamed(here.client, query="From which pier is the ferry?") as stream:
            *chunks, done = [frame async for frame in stream]
        assert {frame.event for frame in chunks} == {"chunk"}
        assert len(chunks) > 1
        assert done.event == "done"
        text = "".join(frame.data["text"] for frame in chunks)
        assert text == done.data["response"] == "".join(f"w{n} " for n in range(1, 21))
        assert len({frame.data["message_id"] for frame in chunks}) == 1
        assert done.data["query_type"] == "deep"
        assert {source["retriever"] for source in done.data["sources"]} == {
            *("search", "graph", "memory"),
        }
        assert await contexts(here.client) == [kept]


async def test_a_stream_shows_nothing_of_the_answer_before_its_own(store_url: str) -> None:
    async with scene(store_url) as here, asyncio.TaskGroup() as group:
        slow = Script(chunks=20, delay_ms=50).in_message()
        first = chat(here.client, "text", f"One {slow}", session_id="s")
        group.create_task(first, name="one")
        await here.model.received(1)
        async with streamed(here.client, query="Two", session_id="s") as stream:
            *chunks, done = [frame async for frame in stream]
        text = "".join(frame.data["text"] for frame in chunks)
        assert text == done.data["response"] == "At noon."


async def test_a_stream_whose_model_fails_ends_with_the_error(store_url: str) -> None:
    async with scene(store_url) as here:
        here.model.default = Script(status=401)
        async with streamed(here.client, query="Hello") as stream:
            (error,) = [frame async for frame in stream]
        assert error.event == "error"
        assert (error.data["type"], error.data["status"]) == (
            *("/problems/model-unavailable", 503),
        )
        assert "the configured model is 'mock-1'" in error.data["detail"]


async def test_a_silent_stream_shows_that_it_lives(store_url: str) -> None:
    async with scene(store_url, sse_heartbeat_s=0.05, chat_s_max=1.0) as here:
        here.model.default = Script(text="Late.", hang_after=0)
        async with streamed(here.client, query="Hello", session_id="s") as stream:
            named = stream.response.headers["Contextd-Context-Id"]
            (error,) = [frame async for frame in stream]
            assert len(stream.comments) > 2
            assert await contexts(here.client) == [named]
        assert error.data["type"] == "/problems/answer-late"


async def test_a_stream_that_is_cut_leaves_nothing_behind(store_url: str) -> None:
    async with scene(store_url) as here:
        here.model.default = Script(chunks=5_000, delay_ms=5)
        async with streamed(here.client, query="Hello") as stream:
            await stream.take("chunk")
            stream.response.close()
        await here.model.requests[0].abandoned.wait()

        async def nothing_left() -> bool:
            return await contexts(here.client) == []

        await eventually(nothing_left)
