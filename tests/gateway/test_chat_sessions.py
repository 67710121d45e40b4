"""Questions of one session: one context that goes on, and an answer for each."""

import asyncio
from functools import partial

import pytest

from fsm import ContextCreated
from tests.gateway.chatting import answered, chat, contexts, scene, travel
from tests.support.model_server import Script
from tests.support.playbook import BEGAN_MS, CONTEXT_ID
from tests.support.service import Json, eventually, serving


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
