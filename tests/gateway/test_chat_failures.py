"""Questions without an answer say why, and leave nothing that should not stay."""

import asyncio
from datetime import datetime

import pytest

from tests.gateway.arrivals import tell_store
from tests.gateway.chatting import NOWHERE, answered, chat, contexts, scene
from tests.support.model_server import Script
from tests.support.service import Options, eventually, serving
from tests.support.store_server import StoreServer


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
