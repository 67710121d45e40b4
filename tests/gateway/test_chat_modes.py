"""Questions and answers: what is found reaches the model, and nothing stays that should not."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import orjson
import pytest

from fsm import ContextCreated
from tests.gateway.arrivals import tell_store
from tests.support.model_server import ModelServer, Script
from tests.support.playbook import BEGAN_MS, CONTEXT_ID
from tests.support.service import (
    Answer,
    Client,
    Json,
    Options,
    Service,
    Stream,
    eventually,
    serving,
)
from tests.support.store_server import StoreServer

NOWHERE = "http://127.0.0.1:9/v1"
"""Nobody listens on the port for discarding."""


@dataclass
class Scene:
    """A service whose model server has seen every request."""

    service: Service
    model: ModelServer

    @property
    def client(self) -> Client:
        return self.service.client

    def last_request(self) -> list[Json]:
        """Messages of the last model call."""
        messages = self.model.requests[-1].body["messages"]
        assert isinstance(messages, list)
        return messages

    async def waits(self, context_id: str, count: int) -> bool:
        """Whether so many messages wait in a context."""
        shown = await self.client.state(context_id)
        return len(shown["queue"]) == count

    def last_system(self) -> str:
        """What the model was told before the conversation."""
        first = self.last_request()[0]
        assert first["role"] == "system"
        content: str = first["content"]
        return content


@contextlib.asynccontextmanager
async def scene(store_url: str, **gateway: object) -> AsyncGenerator[Scene, None]:
    model = ModelServer(Script(text="At noon."))
    async with model.running() as url:
        worker: Options = {"model_base_url": url, "model": "mock-1"}
        async with serving(store_url, worker=worker, gateway=gateway) as service:
            yield Scene(service, model)


async def chat(client: Client, mode: str, query: str, **more: object) -> Answer:
    return await client.send("POST", f"/api/chat/{mode}", {"query": query, **more})


async def answered(client: Client, mode: str, query: str, **more: object) -> Json:
    answer = await chat(client, mode, query, **more)
    assert answer.status == 200, answer
    return answer.json


async def contexts(client: Client) -> list[str]:
    """Ids of all contexts that there are."""
    answer = await client.get("/api/contexts")
    return [entry["id"] for entry in answer.json["contexts"]]


async def travel(client: Client) -> str:
    """A context in which something was said that is worth finding; its id."""
    context_id = await client.create(title="Travel")
    said = [
        {"role": "user", "content": "When does the ferry to the island leave?"},
        {"role": "assistant", "content": "The ferry leaves at twelve from pier nine."},
    ]
    answer = await client.act(context_id, "record_messages", {"messages": said})
    assert answer.status == 200
    return context_id


# One question


async def test_a_question_is_answered_and_leaves_nothing_behind(store_url: str) -> None:
    async with serving(store_url) as service:
        told = await answered(service.client, "text", "Hello there")
        assert told["response"].startswith('You said, in 2 words: "Hello there".')
        assert (told["query_type"], told["model"]) == ("text", "scripted")
        assert (told["sources"], told["graph_data"]) == ([], None)
        assert 0 <= told["latency_ms"] < 10_000
        assert await contexts(service.client) == []


async def test_history_and_context_reach_the_model(store_url: str) -> None:
    async with scene(store_url) as here:
        told = await answered(
            here.client,
            "text",
            "And then?",
            history=[
                {"role": "user", "content": "Tell me a story."},
                {"role": "assistant", "content": "Once upon a time."},
            ],
            context="The hero is a snail.",
        )
        system, *said = here.last_request()
        assert said == [
            {"role": "user", "content": "Tell me a story."},
            {"role": "assistant", "content": "Once upon a time."},
            {"role": "user", "content": "And then?"},
        ]
        assert "The hero is a snail." in system["content"]
        assert told["response"] == "At noon."
        (source,) = told["sources"]
        assert (source["retriever"], source["text"]) == ("given", "The hero is a snail.")
        assert await contexts(here.client) == []


async def test_no_tools_are_offered_because_nobody_could_approve(store_url: str) -> None:
    async with scene(store_url) as here:
        await answered(here.client, "text", "Hello")
        assert "tools" not in here.model.requests[-1].body


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"query": ""},
        {"query": " \n"},
        {"query": "Hi", "session_id": "no spaces"},
        {"query": "Hi", "sesion_id": "s"},
        {"query": "Hi", "history": [{"role": "bard", "content": "x"}]},
        {"query": "Hi", "history": [{"role": "user", "content": "x", "replaces": "no-one"}]},
    ],
)
async def test_what_is_no_question_is_refused(store_url: str, body: Json) -> None:
    async with serving(store_url, workers=0) as service:
        for path in ("/api/chat/text", "/api/chat/deep/stream"):
            answer = await service.client.send("POST", path, body)
            assert (answer.status, answer.problem) == (422, "invalid-body")
        assert await contexts(service.client) == []


async def test_a_mode_that_there_is_not_is_not_found(store_url: str) -> None:
    async with serving(store_url, workers=0) as service:
        answer = await chat(service.client, "psychic", "Hello")
        assert (answer.status, answer.problem) == (404, "not-found")
        assert "text, semantic, graph, deep" in answer.json["detail"]


# Retrieval


async def test_semantic_gives_the_model_what_was_said_elsewhere_and_names_it(
    store_url: str,
) -> None:
    async with scene(store_url) as here:
        context_id = await travel(here.client)
        await here.client.create(title="Garden", message={"content": "Tomatoes want sun."})
        told = await answered(here.client, "semantic", "From which pier is the ferry?")
        assert "The ferry leaves at twelve from pier nine." in here.last_system()
        assert "Tomatoes" not in here.last_system()
        best = told["sources"][0]
        state = await here.client.state(context_id)
        assert best["text"] == "The ferry leaves at twelve from pier nine."
        assert best["message_id"] == state["messages"][1]["id"]
        assert (best["context_id"], best["title"]) == (context_id, "Travel")
        assert (best["retriever"], told["graph_data"]) == ("search", None)
        assert best["score"] >= told["sources"][1]["score"] > 0


async def test_semantic_finds_notes_until_they_are_deleted(store_url: str) -> None:
    async with scene(store_url) as here:
        note = await here.client.send("POST", "/api/notes", {"text": "Ferry: pier nine."})
        told = await answered(here.client, "semantic", "Which pier has the ferry?")
        assert [source["source"] for source in told["sources"]] == [f"note {note.json['id']}"]
        assert "Ferry: pier nine." in here.last_system()
        gone = await here.client.send("DELETE", f"/api/notes/{note.json['id']}")
        assert gone.status == 204
        told = await answered(here.client, "semantic", "Which pier has the ferry?")
        assert told["sources"] == []


async def test_questions_that_were_asked_once_are_not_found_by_others(store_url: str) -> None:
    async with scene(store_url) as here:
        async with asyncio.TaskGroup() as group:
            asked = [
                group.create_task(
                    answered(here.client, "semantic", "Which pier has the ferry?"), name=str(n)
                )
                for n in range(5)
            ]
        assert [task.result()["sources"] for task in asked] == [[]] * 5


async def test_a_deleted_context_is_no_source(store_url: str) -> None:
    async with scene(store_url) as here:
        context_id = await travel(here.client)
        assert (await answered(here.client, "semantic", "ferry"))["sources"]
        await here.client.send("DELETE", f"/api/contexts/{context_id}")
        for mode in ("semantic", "graph", "deep"):
            told = await answered(here.client, mode, "ferry")
            assert told["sources"] == []
            assert "pier nine" not in orjson.dumps(here.last_request()).decode()


async def test_graph_shows_what_hangs_together_to_the_model_and_to_the_caller(
    store_url: str,
) -> None:
    async with scene(store_url) as here:
        context_id = await travel(here.client)
        told = await answered(here.client, "graph", "twelve")
        assert "#1 user: When does the ferry to the island leave?" in here.last_system()
        asked, replied = (await here.client.state(context_id))["messages"]
        graph = told["graph_data"]
        assert [(node["kind"], node["name"]) for node in graph["nodes"]] == [
            ("context", "Travel"),
            ("message", asked["content"]),
            ("message", replied["content"]),
            ("branch", "main"),
        ]
        first, second = f"{context_id}/{asked['id']}", f"{context_id}/{replied['id']}"
        assert {"source": second, "target": first, "kind": "follows"} in graph["edges"]
        assert [source["message_id"] for source in told["sources"]] == [replied["id"]]


async def test_graph_of_nothing_is_empty(store_url: str) -> None:
    async with scene(store_url) as here:
        told = await answered(here.client, "graph", "ferry")
        assert told["graph_data"] == {"nodes": [], "edges": []}


async def test_deep_adds_memory_of_earlier_sessions_unless_it_is_to_be_skipped(
    store_url: str,
) -> None:
    async with scene(store_url) as here:
        await travel(here.client)
        garden = await here.client.create(title="Garden")
        said = [{"role": "user", "content": "Tomatoes want sun."}]
        await here.client.act(garden, "record_messages", {"messages": said})
        told = await answered(here.client, "deep", "From which pier is the ferry?")
        by_retriever = {source["retriever"] for source in told["sources"]}
        assert by_retriever == {"search", "graph", "memory"}
        assert "Tomatoes want sun." in here.last_system()
        assert told["graph_data"]["nodes"]
        told = await answered(
            here.client, "deep", "From which pier is the ferry?", skip_memory=True
        )
        assert {source["retriever"] for source in told["sources"]} == {"search", "graph"}
        assert "Tomatoes" not in here.last_system()


# Sessions


async def test_a_session_is_one_context_that_goes_on(store_url: str) -> None:
    async with scene(store_url) as here:
        first = await chat(here.client, "text", "One", session_id="s-1")
        second = await chat(
            here.client,
            "text",
            "Two",
            session_id="s-1",
            history=[{"role": "user", "content": "x"}],
        )
        context_id = first.headers["Contextd-Context-Id"]
        assert second.headers["Contextd-Context-Id"] == context_id
        assert await contexts(here.client) == [context_id]
        assert [message["content"] for message in here.last_request()] == [
            *("One", "At noon.", "Two"),
        ]
        shown = await here.client.state(context_id)
        assert shown["expires_at"] is None
        assert [message["content"] for message in shown["messages"]] == [
            *("One", "At noon.", "Two", "At noon."),
        ]


async def test_a_session_may_be_asked_in_another_mode(store_url: str) -> None:
    async with scene(store_url) as here:
        await travel(here.client)
        await answered(here.client, "text", "Which pier has the ferry?", session_id="s")
        told = await answered(
            here.client, "semantic", "Which pier has the ferry?", session_id="s"
        )
        assert "from pier nine" in here.last_system()
        assert {source["title"] for source in told["sources"]} == {"Travel"}
        told = await answered(here.client, "text", "Thanks!", session_id="s")
        assert told["sources"] == []
        assert here.last_request()[0]["role"] == "user"


async def test_questions_that_come_together_get_each_its_own_answer_in_one_session(
    store_url: str,
) -> None:
    async with serving(store_url, gateways=2, workers=2) as service:
        async with asyncio.TaskGroup() as group:
            asked = {
                f"number {n}": group.create_task(
                    answered(service.clients[n % 2], "text", f"number {n}", session_id="s"),
                    name=str(n),
                )
                for n in range(6)
            }
        for query, task in asked.items():
            assert f'"{query}"' in task.result()["response"]
        (context_id,) = await contexts(service.client)
        shown = await service.client.state(context_id)
        assert len(shown["messages"]) == 12


async def test_questions_of_different_modes_that_wait_in_one_session_keep_their_modes(
    store_url: str,
) -> None:
    async with scene(store_url) as here:
        found_in = await travel(here.client)
        slow = Script(text="Wait.", first_delay_ms=1_000).in_message()
        asked: dict[str, asyncio.Task[Json]] = {}
        async with asyncio.TaskGroup() as group:
            first = chat(here.client, "text", f"ferry {slow}", session_id="s")
            group.create_task(first, name="running")
            await here.model.received(1)
            for mode, model in (("semantic", "m-1"), ("graph", "m-2"), ("text", "m-3")):
                question = answered(
                    here.client, mode, "Which ferry?", session_id="s", model=model
                )
                asked[mode] = group.create_task(question, name=mode)
                (session_id,) = {*await contexts(here.client)} - {found_in}
                await eventually(partial(here.waits, session_id, len(asked)))
        found = {
            mode: {source["retriever"] for source in task.result()["sources"]}
            for mode, task in asked.items()
        }
        assert found == {"semantic": {"search"}, "graph": {"graph"}, "text": set()}
        assert [request.body["model"] for request in here.model.requests] == [
            *("mock-1", "m-1", "m-2", "m-3"),
        ]


async def test_an_answer_does_not_wait_for_the_questions_behind_it(store_url: str) -> None:
    async with scene(store_url, chat_s_max=3.0) as here:
        await travel(here.client)
        slow = Script(text="Found it.", first_delay_ms=500).in_message()
        stuck = Script(hang_after=0).in_message()
        async with asyncio.TaskGroup() as group:
            first = group.create_task(
                chat(here.client, "semantic", f"ferry pier {slow}", session_id="s"), name="1"
            )
            await here.model.received(1)
            second = group.create_task(
                chat(here.client, "semantic", f"garden {stuck}", session_id="s"), name="2"
            )
            await here.model.received(2)
            answer = await first
            assert not second.done()
        assert answer.json["response"] == "Found it."
        assert {source["title"] for source in answer.json["sources"]} == {"Travel"}
        assert second.result().problem == "answer-late"


async def test_a_deleted_session_is_forgotten_and_its_name_is_free(store_url: str) -> None:
    async with scene(store_url) as here:
        first = await chat(here.client, "text", "One", session_id="s")
        gone = await here.client.send("DELETE", "/api/chat/session/s")
        assert gone.status == 204
        assert await contexts(here.client) == []
        again = await here.client.send("DELETE", "/api/chat/session/s")
        assert (again.status, again.problem) == (404, "not-found")
        second = await chat(here.client, "text", "Two", session_id="s")
        first_id = first.headers["Contextd-Context-Id"]
        assert second.headers["Contextd-Context-Id"] != first_id
        assert [message["content"] for message in here.last_request()] == ["Two"]


@pytest.mark.parametrize("tombstones", [False, True])
async def test_a_question_whose_session_is_deleted_meanwhile_is_told_so(
    store_url: str, tombstones: bool
) -> None:
    async with serving(store_url, storage={"tombstones": tombstones}) as service:
        client = service.client

        async def is_asked() -> bool:
            return len(await contexts(client)) == 1

        async with asyncio.TaskGroup() as group:
            asking = group.create_task(
                chat(client, "text", "/hang", session_id="s"), name="ask"
            )
            await eventually(is_asked)
            (session_id,) = await contexts(client)
            assert (await client.act(session_id, "delete")).status == 200
        told = (410, "gone") if tombstones else (404, "not-found")
        assert (asking.result().status, asking.result().problem) == told


async def test_p14_the_session_of_another_owner_is_not_found_and_not_joined(
    store_url: str,
) -> None:
    async with scene(store_url) as here:
        (store,) = here.service.stores
        foreign = ContextCreated(at_ms=BEGAN_MS, context_id=CONTEXT_ID, owner="bob")
        await store.admissions.create(foreign, first=None, key="", digest="", name="s")
        gone = await here.client.send("DELETE", "/api/chat/session/s")
        assert (gone.status, gone.problem) == (404, "not-found")
        own = await chat(here.client, "text", "Mine", session_id="s")
        assert own.headers["Contextd-Context-Id"] != CONTEXT_ID
        reading = await store.read(CONTEXT_ID, "bob")
        assert reading.version == 1


async def test_a_paused_session_says_what_it_waits_for(store_url: str) -> None:
    async with scene(store_url) as here:
        first = await chat(here.client, "text", "One", session_id="s")
        await here.client.act(first.headers["Contextd-Context-Id"], "pause")
        answer = await chat(here.client, "text", "Two", session_id="s")
        assert (answer.status, answer.problem) == (409, "illegal-in-phase")
        assert answer.json["phase"] == "paused"
        assert "resume" in answer.json["allowed_actions"]


# Failures


async def test_a_provider_that_is_down_is_named_in_a_503(store_url: str) -> None:
    worker: Options = {"model_base_url": NOWHERE, "model": "mock-1"}
    async with serving(store_url, worker=worker) as service:
        answer = await chat(service.client, "text", "Hello")
        assert (answer.status, answer.problem) == (503, "model-unavailable")
        assert "127.0.0.1:9" in answer.json["detail"]
        assert answer.headers["Retry-After"] == "5"
        assert await contexts(service.client) == []


@pytest.mark.parametrize(
    ("status", "error_code", "expected"),
    [
        (404, "model_not_found", (422, "unknown-model")),
        (400, "context_length_exceeded", (422, "model-refused")),
        (401, None, (503, "model-unavailable")),
    ],
)
async def test_what_the_model_server_refuses_names_the_configured_model(
    store_url: str, status: int, error_code: str | None, expected: tuple[int, str]
) -> None:
    async with scene(store_url) as here:
        here.model.default = Script(status=status, error_code=error_code)
        answer = await chat(here.client, "text", "Hello", model="gpt-none")
        assert (answer.status, answer.problem) == expected
        assert "the configured model is 'mock-1'" in answer.json["detail"]
        assert here.model.requests[-1].body["model"] == "gpt-none"


async def test_a_session_goes_on_after_a_failure(store_url: str) -> None:
    async with scene(store_url) as here:
        here.model.default = Script(status=401)
        assert (await chat(here.client, "text", "One", session_id="s")).status == 503
        here.model.default = Script(text="Better now.")
        told = await answered(here.client, "text", "Two", session_id="s")
        assert told["response"] == "Better now."


async def test_an_answer_that_takes_too_long_is_given_up_but_not_that_of_a_session(
    store_url: str,
) -> None:
    async with scene(store_url, chat_s_max=0.5) as here:
        here.model.default = Script(text="Late.", hang_after=0)
        answer = await chat(here.client, "text", "Hello")
        assert (answer.status, answer.problem) == (504, "answer-late")
        assert await contexts(here.client) == []
        await here.model.requests[0].abandoned.wait()
        answer = await chat(here.client, "text", "Hello", session_id="s")
        assert (answer.status, answer.problem) == (504, "answer-late")
        assert len(await contexts(here.client)) == 1


async def test_a_question_whose_asker_goes_away_is_deleted(store_url: str) -> None:
    async with scene(store_url) as here:
        here.model.default = Script(text="Late.", hang_after=0)
        async with asyncio.TaskGroup() as group:
            asker = group.create_task(chat(here.client, "text", "Hello"), name="asker")
            await here.model.received(1)
            asker.cancel()
        await here.model.requests[0].abandoned.wait()

        async def nothing_left() -> bool:
            return await contexts(here.client) == []

        await eventually(nothing_left)


async def test_a_question_whose_gateway_is_killed_expires(store_url: str) -> None:
    async with scene(store_url, chat_s_max=30) as here:
        here.model.default = Script(text="Late.", hang_after=0)
        async with asyncio.TaskGroup() as group:
            asker = group.create_task(chat(here.client, "text", "Hello"), name="asker")
            await here.model.received(1)
            (context_id,) = await contexts(here.client)
            context = await here.client.state(context_id)
            asker.cancel()
        made, expires = (
            datetime.fromisoformat(context[name]) for name in ("created_at", "expires_at")
        )
        assert 30 < (expires - made).total_seconds() < 120


async def test_without_a_store_a_question_is_a_503(
    store_url: str, shared_store: StoreServer
) -> None:
    async with serving(store_url, workers=0, storage={"store_call_s_max": 0.5}) as service:
        tell_store(shared_store, "CLIENT", "PAUSE", "1500", "ALL")
        answer = await chat(service.client, "text", "Hello")
        assert (answer.status, answer.problem) == (503, "store-unavailable")


# Streams


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


# Titles


async def test_a_title_is_made_by_the_model(store_url: str) -> None:
    async with scene(store_url) as here:
        here.model.default = Script(text='"Ferries and piers"')
        messages = [{"role": "user", "content": "From which pier is the ferry?"}]
        answer = await here.client.send("POST", "/api/chat/title", {"messages": messages})
        assert answer.json == {"title": "Ferries and piers"}
        asked = here.last_request()[-1]["content"]
        assert "From which pier is the ferry?" in asked
        assert await contexts(here.client) == []


@pytest.mark.parametrize("workers", [0, 1])
async def test_without_a_model_a_title_is_how_it_begins(store_url: str, workers: int) -> None:
    text = "  This text \n is rather longer than the fifty characters of a title "
    worker: Options = {"model_base_url": NOWHERE, "model": "mock-1"}
    options: Options = {"title_s_max": 5.0 if workers else 0.2, "applied_s_max": 0.2}
    async with serving(store_url, workers=workers, worker=worker, gateway=options) as service:
        answer = await service.client.send("POST", "/api/chat/title", {"text": text})
        assert answer.json == {"title": "This text is rather longer than the fifty characte"}


@pytest.mark.parametrize(
    "body", [{}, {"messages": []}, {"text": ""}, {"text": "a", "messages": [{"role": "user"}]}]
)
async def test_a_title_of_nothing_is_refused(store_url: str, body: Json) -> None:
    async with serving(store_url, workers=0) as service:
        answer = await service.client.send("POST", "/api/chat/title", body)
        assert (answer.status, answer.problem) == (422, "invalid-body")
