"""Questions and answers: what is found reaches the model, and nothing stays that should not."""

import asyncio

import orjson
import pytest

from tests.gateway.chatting import NOWHERE, answered, chat, contexts, scene, travel
from tests.support.model_server import Script
from tests.support.service import Json, Options, serving

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
