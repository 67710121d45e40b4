"""Owners never learn of each other, whatever they ask and wherever."""

import aiohttp
import pytest

from gateway.kinds import KINDS
from tests.gateway.guarding import BODIES, GUARDED, UNKNOWN, address, guarded
from tests.support.service import Client, Json


async def told(client: Client, method: str, path: str, body: object = None) -> tuple[int, Json]:
    """An answer without what is of the request alone."""
    async with client.session.request(
        method, client.url + path, headers=client.credential, json=body or {}
    ) as response:
        shown: Json = await response.json() if response.status != 204 else {}
    shown.pop("request_id", None)
    return response.status, shown


async def secret(ada: Client) -> Json:
    """A context in which something was said; the answer to it."""
    made = await ada.send(
        "POST",
        "/api/contexts",
        {"message": {"content": "Secret"}},
        headers={"Prefer": "wait=20"},
    )
    assert made.status == 201
    return made.json


async def test_p14_nobody_reads_or_writes_or_learns_of_anothers_context(store_url: str) -> None:
    async with guarded(store_url, workers=1) as scene:
        ada, eve = await scene.of("ada"), await scene.of("eve")
        made = await secret(ada)
        context_id = made["context"]["id"]
        message_id = made["context"]["messages"][0]["id"]
        ids = {"id": context_id, "action_id": made["action"]["id"], "message_id": message_id}
        before = await ada.state(context_id)
        looked = 0
        for route in GUARDED:
            if "{id}" not in route.path and "{action_id}" not in route.path:
                continue
            if route.needs in {"dashboard", "admin"}:
                continue  # operators see of all contexts how they are, never what is in them
            for action in KINDS if route.name == "act" else [""]:
                body = BODIES.get(action or route.name, {})
                theirs = await told(
                    eve, route.method, address(route, **ids, action=action), body
                )
                nobodys = await told(eve, route.method, address(route, action=action), body)
                assert theirs == nobodys, (route.name, action)
                status = 426 if route.name == "open_socket" else 404
                assert theirs[0] == status, (route.name, action, theirs)
                looked += 1
        assert looked > len(KINDS) + 10
        assert await ada.state(context_id) == before
        assert (await eve.get("/api/contexts")).json["contexts"] == []


async def test_p14_nobody_subscribes_to_anothers_context(store_url: str) -> None:
    async with guarded(store_url, workers=1) as scene:
        ada, eve = await scene.of("ada"), await scene.of("eve")
        context_id = (await secret(ada))["context"]["id"]
        for named in (context_id, UNKNOWN):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                async with eve.session.ws_connect(
                    f"{eve.url}/api/contexts/{named}/ws", headers=eve.credential
                ):
                    pass
            assert refused.value.status == 404
            answer = await eve.get(f"/api/events?contexts={named}")
            assert (answer.status, answer.problem) == (404, "not-found")


async def test_p14_a_stranger_silences_nobodys_stream(store_url: str) -> None:
    # Given a gateway that asks for what it has missed only once an hour
    async with guarded(store_url, workers=1, feed_check_s=3_600) as scene:
        ada, eve = await scene.of("ada"), await scene.of("eve")
        context_id = (await secret(ada))["context"]["id"]
        async with ada.stream(context_id) as stream:
            await stream.take("snapshot")
            # When somebody else asks for the same context
            foreign = await eve.act(context_id, "rename", {"title": "x"})
            assert (foreign.status, foreign.problem) == (404, "not-found")
            # Then its owner is shown what happens as before
            await ada.act(context_id, "rename", {"title": "one"}, Prefer="respond-async")
            await stream.take("context-renamed")


async def test_a_key_that_may_only_read_changes_nothing_through_a_socket(
    store_url: str,
) -> None:
    async with guarded(store_url, workers=1) as scene:
        ada = await scene.of("ada")
        reader = await scene.of("ada", scopes=["contexts:read"])
        context_id = (await secret(ada))["context"]["id"]
        before = await ada.state(context_id)
        async with reader.session.ws_connect(
            f"{reader.url}/api/contexts/{context_id}/ws", headers=reader.credential
        ) as socket:
            for action in ("rename", "delete", "send_message"):
                await socket.send_json({"action": action, "body": {"title": "x"}, "ref": "r"})
            results: list[Json] = []
            while len(results) < 3:
                message = await socket.receive_json(timeout=10)
                if message["event"] == "action-result":
                    results.append(message["data"])
        assert [(r["status"], r["ref"]) for r in results] == [(403, "r")] * 3
        assert {r["problem"]["type"] for r in results} == {"/problems/forbidden"}
        assert await ada.state(context_id) == before


async def test_p14_the_openai_doors_know_owners_too(store_url: str) -> None:
    async with guarded(store_url, workers=1) as scene:
        ada, eve = await scene.of("ada"), await scene.of("eve")
        asked = {"model": "scripted", "input": "Secret"}
        _, response = await told(ada, "POST", "/v1/responses", asked)
        _, conversation = await told(ada, "POST", "/v1/conversations", {})
        context_id = (await secret(ada))["context"]["id"]
        for method, path, body in (
            ("GET", f"/v1/responses/{response['id']}", None),
            ("GET", f"/v1/responses/{response['id']}/input_items", None),
            ("POST", f"/v1/responses/{response['id']}/cancel", {}),
            ("DELETE", f"/v1/responses/{response['id']}", None),
            ("POST", "/v1/responses", {**asked, "previous_response_id": response["id"]}),
            ("POST", "/v1/responses", {**asked, "conversation": conversation["id"]}),
            ("GET", f"/v1/conversations/{conversation['id']}", None),
            ("GET", f"/v1/conversations/{conversation['id']}/items", None),
            ("DELETE", f"/v1/conversations/{conversation['id']}", None),
            (
                "POST",
                "/v1/chat/completions",
                {
                    "model": "scripted",
                    "messages": [{"role": "user", "content": "x"}],
                    "metadata": {"context_id": context_id},
                },
            ),
        ):
            status, shown = await told(eve, method, path, body)
            assert status == 404, (path, shown)
            assert "Secret" not in str(shown)
        assert (await told(ada, "GET", f"/v1/responses/{response['id']}"))[0] == 200
        assert (await told(ada, "GET", f"/v1/conversations/{conversation['id']}"))[0] == 200


async def test_p14_notes_sessions_and_searches_are_of_one_owner(store_url: str) -> None:
    async with guarded(store_url, workers=1) as scene:
        ada, eve = await scene.of("ada"), await scene.of("eve")
        said = "The ferry to the island leaves at noon."
        await told(ada, "POST", "/api/notes", {"text": said})
        _, notes = await told(ada, "GET", "/api/notes")
        (note,) = notes["notes"]
        assert (await told(eve, "GET", "/api/notes"))[1]["notes"] == []
        assert (await told(eve, "DELETE", f"/api/notes/{note['id']}"))[0] == 404
        question = {"query": "When does the ferry leave?", "session_id": "s"}
        status, found = await told(ada, "POST", "/api/chat/semantic", question)
        assert (status, len(found["sources"])) == (200, 1)
        status, found = await told(
            eve, "POST", "/api/chat/semantic", {**question, "session_id": "t"}
        )
        assert (status, found["sources"]) == (200, [])
        assert (await told(eve, "DELETE", "/api/chat/session/s"))[0] == 404
        assert (await told(ada, "DELETE", "/api/chat/session/s"))[0] == 204


async def test_a_key_of_idempotency_is_of_one_owner(store_url: str) -> None:
    async with guarded(store_url) as scene:
        made = [
            (
                await somebody.send(
                    "POST", "/api/contexts", {}, headers={"Idempotency-Key": "k"}
                )
            ).context
            for somebody in (await scene.of("ada"), await scene.of("eve"))
        ]
        assert [context["owner"] for context in made] == ["ada", "eve"]
