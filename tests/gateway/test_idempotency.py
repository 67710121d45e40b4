"""Idempotency-Key: an action is done once, however often and wherever it is sent."""

import asyncio

import pytest

from tests.support.service import Answer, Client, serving


async def test_a_repeat_is_answered_with_the_same_action_and_the_state_of_now(
    store_url: str,
) -> None:
    async with serving(store_url, gateways=2) as service:
        here, there = service.clients
        context_id = await here.create()
        first = await here.say(context_id, "one", Idempotency_Key="k1")
        await here.act(context_id, "rename", {"title": "later"})
        again = await there.say(context_id, "one", Idempotency_Key="k1")
        assert (first.status, again.status) == (200, 200)
        assert "Idempotent-Replayed" not in first.headers
        assert again.headers["Idempotent-Replayed"] == "true"
        assert again.json["action"] == first.json["action"]
        assert again.context["title"] == "later"
        assert again.context["messages"] == first.context["messages"]


async def test_a_key_that_comes_with_another_request_is_refused(store_url: str) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        await client.say(context_id, "one", Idempotency_Key="k1")
        before = await client.state(context_id)
        for answer in (
            await client.say(context_id, "two", Idempotency_Key="k1"),
            await client.act(context_id, "pause", Idempotency_Key="k1"),
            await client.act(context_id, "pause", Idempotency_Key="k1", Prefer="respond-async"),
            await client.send(
                "DELETE", f"/api/contexts/{context_id}", headers={"Idempotency-Key": "k1"}
            ),
        ):
            assert (answer.status, answer.problem) == (422, "key-reused")
        assert (await client.state(context_id)) == before


async def test_a_key_that_comes_with_another_action_of_the_same_body_is_refused(
    store_url: str,
) -> None:
    async with serving(store_url) as service:
        context_id = await service.client.create()
        await service.client.act(context_id, "pause", {}, Idempotency_Key="k")
        answer = await service.client.act(context_id, "resume", {}, Idempotency_Key="k")
        assert (answer.status, answer.problem) == (422, "key-reused")
        assert (await service.client.state(context_id))["status"] == "paused"


async def test_a_refused_action_is_refused_again_on_a_repeat(store_url: str) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        first = await client.act(context_id, "resume", Idempotency_Key="k")
        await client.act(context_id, "pause")
        again = await client.act(context_id, "resume", Idempotency_Key="k")
        assert (first.status, again.status) == (409, 409)
        assert "Idempotent-Replayed" not in first.headers
        assert again.headers["Idempotent-Replayed"] == "true"
        assert again.json["phase"] == "idle"
        assert (await client.state(context_id))["status"] == "paused"


async def test_twenty_sends_at_once_with_one_key_make_one_message(store_url: str) -> None:
    async with serving(store_url, gateways=2, workers=2) as service:
        context_id = await service.client.create()
        async with asyncio.TaskGroup() as group:
            sends = [
                group.create_task(
                    service.clients[n % 2].say(context_id, "once", Idempotency_Key="same")
                )
                for n in range(20)
            ]
        answers = [send.result() for send in sends]
        assert {answer.status for answer in answers} == {200}
        assert {answer.json["action"]["id"] for answer in answers} == {
            service.action_id(context_id, 1)
        }
        assert sum("Idempotent-Replayed" in answer.headers for answer in answers) == 19
        messages = (await service.client.state(context_id))["messages"]
        assert [message["role"] for message in messages] == ["user", "assistant"]


async def test_a_repeat_that_gives_up_early_leaves_the_others_waiting(
    store_url: str,
) -> None:
    async with serving(store_url, workers=0, gateway={"applied_s_max": 1.0}) as service:
        client = service.client
        context_id = await client.create()
        async with asyncio.TaskGroup() as group:
            patient = group.create_task(client.act(context_id, "pause", Idempotency_Key="k"))
            hasty = group.create_task(
                client.act(context_id, "pause", Idempotency_Key="k", Prefer="wait=0")
            )
        assert (patient.result().status, hasty.result().status) == (202, 202)


async def test_a_repeat_with_respond_async_tells_the_result(store_url: str) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        first = await client.act(context_id, "pause", Idempotency_Key="k")
        again = await client.act(
            context_id, "pause", Idempotency_Key="k", Prefer="respond-async"
        )
        assert (again.status, again.headers["Idempotent-Replayed"]) == (202, "true")
        assert again.json["action"] == first.json["action"]


async def test_a_repeated_creation_tells_what_became_of_its_message_while_that_is_known(
    store_url: str,
) -> None:
    few = {"mailbox_max": 2, "results_max": 2}
    made = {"message": {"content": "Hello"}}

    async def create(client: Client, *prefer: str) -> Answer:
        headers = {"Idempotency-Key": "k", **({"Prefer": prefer[0]} if prefer else {})}
        return await client.send("POST", "/api/contexts", made, headers=headers)

    async with serving(store_url, gateways=2, storage=few) as service:
        here, there = service.clients
        first = await create(here)
        context_id = first.context["id"]
        known = await create(there, "respond-async")
        assert (known.status, known.json["action"]) == (202, first.json["action"])
        for title in ("a", "b"):
            await here.act(context_id, "rename", {"title": title})
        for prefer in ((), ("respond-async",), ("wait=1",)):
            again = await create(there, *prefer)
            assert (again.status, again.json["action"]) == (201, None), prefer
            assert again.headers["Location"] == f"/api/contexts/{context_id}"
            assert again.headers["Idempotent-Replayed"] == "true"
            assert again.context["title"] == "b"


async def test_a_repeated_creation_whose_message_waits_for_a_worker_is_not_called_done(
    store_url: str,
) -> None:
    made = {"message": {"content": "Hello"}}
    async with serving(store_url, workers=0, gateway={"applied_s_max": 0.2}) as service:
        answers = [
            await service.client.send(
                "POST", "/api/contexts", made, headers={"Idempotency-Key": "k"}
            )
            for _ in range(2)
        ]
    assert [answer.status for answer in answers] == [202, 202]
    assert answers[0].json["action"]["id"] == answers[1].json["action"]["id"]
    assert answers[1].headers["Idempotent-Replayed"] == "true"


@pytest.mark.parametrize("key", ["x" * 255, "a b", "~!{}%$:", '"quoted"'])
async def test_keys_of_printable_text_are_taken(store_url: str, key: str) -> None:
    async with serving(store_url) as service:
        context_id = await service.client.create()
        for replayed in (None, "true"):
            answer = await service.client.act(context_id, "pause", Idempotency_Key=key)
            assert answer.status == 200
            assert answer.headers.get("Idempotent-Replayed") == replayed


@pytest.mark.parametrize("key", ["x" * 256, "", "   ", "ключ", "tab\there"])
async def test_other_keys_are_refused(store_url: str, key: str) -> None:
    async with serving(store_url, workers=0) as service:
        client = service.client
        context_id = await client.create()
        for answer in (
            await client.act(context_id, "pause", Idempotency_Key=key),
            await client.send("POST", "/api/contexts", {}, headers={"Idempotency-Key": key}),
        ):
            assert (answer.status, answer.problem) == (400, "invalid-header")
        assert (
            await client.get(f"/api/actions/{service.action_id(context_id, 1)}")
        ).status == 404


@pytest.mark.parametrize("name", ["Idempotency-Key", "If-Match"])
async def test_a_header_that_comes_twice_is_refused(store_url: str, name: str) -> None:
    async with serving(store_url, workers=0) as service:
        client = service.client
        context_id = await client.create()
        answer = await client.send(
            "POST",
            f"/api/contexts/{context_id}/actions/pause",
            {},
            headers=[(name, '"1.1.0"'), (name, '"1.2.0"')],
        )
        assert (answer.status, answer.problem) == (400, "invalid-header")


async def test_the_same_key_means_something_else_in_another_context(store_url: str) -> None:
    async with serving(store_url) as service:
        for _ in range(2):
            context_id = await service.client.create()
            answer = await service.client.act(context_id, "pause", Idempotency_Key="k")
            assert answer.status == 200
            assert "Idempotent-Replayed" not in answer.headers
