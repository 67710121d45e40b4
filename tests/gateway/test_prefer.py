"""Prefer: how long an answer may take and how much of it is wanted."""

import asyncio

import pytest

from tests.gateway.arrivals import asked_after
from tests.support.service import serving


async def test_wait_answers_when_the_turn_rests(store_url: str) -> None:
    async with serving(store_url) as service:
        context_id = await service.client.create()
        answer = await service.client.say(context_id, "/chunks 5 5", Prefer="wait=30")
        assert (answer.status, answer.json["status"]) == (200, "idle")
        assert answer.headers["Preference-Applied"] == "wait=30"
        assert answer.context["messages"][-1]["status"] == "complete"


async def test_a_wait_that_is_too_short_is_accepted_with_the_state_so_far(
    store_url: str,
) -> None:
    async with serving(store_url) as service:
        context_id = await service.client.create()
        answer = await service.client.say(context_id, "/hang", Prefer="wait=1")
        assert answer.status == 202
        assert answer.headers["Preference-Applied"] == "wait=1"
        name = service.action_id(context_id, 1)
        assert answer.headers["Location"] == f"/api/actions/{name}"
        assert answer.json["status"] == "streaming_llm_response"
        assert answer.json["action"]["result"] == "applied"
        assert answer.context["draft"]["text"]


async def test_without_a_worker_an_action_is_accepted_after_the_usual_wait(
    store_url: str,
) -> None:
    async with serving(store_url, workers=0, gateway={"applied_s_max": 0.2}) as service:
        context_id = await service.client.create()
        answer = await service.client.act(context_id, "pause")
        assert answer.status == 202
        name = service.action_id(context_id, 1)
        assert answer.headers["Location"] == f"/api/actions/{name}"
        assert answer.json["action"] == {
            "id": name,
            "result": None,
            "version": None,
        }
        assert answer.json["status"] == "idle"


async def test_a_wait_is_bounded_by_the_configuration(store_url: str) -> None:
    async with serving(store_url, gateway={"wait_s_max": 1}) as service:
        context_id = await service.client.create()
        answer = await service.client.say(context_id, "/hang", Prefer="wait=600")
        assert answer.status == 202
        assert answer.headers["Preference-Applied"] == "wait=1"


@pytest.mark.parametrize(
    "prefer",
    [
        "handling=strict, wait=30",
        "wait = 30",
        'wait="30"',
        "WAIT=30, wait=0",
        "foo; bar=1, wait=30; baz",
        ",,wait=30,",
    ],
)
async def test_wait_is_understood_however_it_is_written(store_url: str, prefer: str) -> None:
    async with serving(store_url) as service:
        context_id = await service.client.create()
        answer = await service.client.say(context_id, "/chunks 3 5", Prefer=prefer)
        assert (answer.status, answer.json["status"]) == (200, "idle")
        assert answer.headers["Preference-Applied"] == "wait=30"


async def test_preferences_may_come_in_several_headers(store_url: str) -> None:
    async with serving(store_url) as service:
        context_id = await service.client.create()
        answer = await service.client.send(
            "POST",
            f"/api/contexts/{context_id}/actions/send_message",
            {"content": "/chunks 3 5"},
            headers=[("Prefer", "return=minimal"), ("Prefer", "wait=30")],
        )
        assert (answer.status, answer.json["status"]) == (200, "idle")
        assert answer.context is None
        assert answer.json["action"]["result"] == "applied"


@pytest.mark.parametrize("prefer", ["wait=", "wait=-1", "wait=1.5", "wait=soon", "wait=٣"])
async def test_a_wait_that_is_no_number_is_refused(store_url: str, prefer: str) -> None:
    async with serving(store_url, workers=0) as service:
        context_id = await service.client.create()
        for answer in (
            await service.client.act(context_id, "pause", Prefer=prefer),
            await service.client.get(f"/api/contexts/{context_id}/state", Prefer=prefer),
        ):
            assert (answer.status, answer.problem) == (400, "invalid-header")
        name = service.action_id(context_id, 1)
        assert (await service.client.get(f"/api/actions/{name}")).status == 404


async def test_unknown_preferences_are_ignored(store_url: str) -> None:
    async with serving(store_url) as service:
        context_id = await service.client.create()
        answer = await service.client.act(context_id, "pause", Prefer="tea=green, waiting=x")
        assert answer.status == 200
        assert "Preference-Applied" not in answer.headers


async def test_respond_async_is_answered_at_once_with_a_receipt(store_url: str) -> None:
    async with serving(store_url) as service:
        context_id = await service.client.create()
        answer = await service.client.say(context_id, "hi", Prefer="Respond-Async")
        assert answer.status == 202
        assert answer.headers["Preference-Applied"] == "respond-async"
        name = service.action_id(context_id, 1)
        assert answer.headers["Location"] == f"/api/actions/{name}"
        assert answer.json == {
            "context": None,
            "status": None,
            "version": None,
            "action": {"id": name, "result": None, "version": None},
        }
        await service.client.until(context_id, "idle")


async def test_waits_end_with_what_there_is_when_the_gateway_stops(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(store_url, gateways=2) as service:
        leaving, staying = service.clients
        context_id = await leaving.create()
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(leaving.say(context_id, "/hang", Prefer="wait=60"))
            state = await staying.until(context_id, "streaming_llm_response")
            etag = f'"{state["cursor"]}"'
            arrived = asked_after(monkeypatch)
            poll = group.create_task(
                leaving.get(
                    f"/api/contexts/{context_id}/state", If_None_Match=etag, Prefer="wait=60"
                )
            )
            await arrived.wait()
            service.stop("gateway 0")
        assert waiting.result().status == 202
        assert poll.result().status == 304
        assert (await staying.state(context_id))["status"] == "streaming_llm_response"
