"""Who comes in, and to what: keys, scopes, tickets; owners never learn of each other."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace
from typing import Final
from unittest.mock import Mock

import aiohttp
import pytest
import structlog
from aiohttp.test_utils import make_mocked_request

from gateway import GatewayConfig, guard
from gateway.kinds import KINDS
from gateway.problems import Problem
from gateway.refusals import LINES_MINUTE_MAX
from gateway.route import Route
from storage import (
    SCOPES,
    Access,
    ApiKey,
    Grant,
    Scope,
    StorageConfig,
    StoreUnavailable,
    connect,
)
from tests.gateway.arrivals import tell_store
from tests.gateway.bare import problem_in, raw, rest
from tests.support.routes import SERVED
from tests.support.service import Client, Json, Options, Service, eventually, serving
from tests.support.store_server import StoreServer

PUBLIC: Final = frozenset(
    {
        *("health", "healthz", "readyz", "get_problem_type", "openapi", "docs", "docs_asset"),
        *("get_websocket_config", "asyncapi", "chat_page", "dashboard_page", "page_asset"),
    }
)
NOW_MS: Final = 1_800_000_000_000
UNKNOWN: Final = "01890a5d-ac96-774b-bcce-b302099a8057"
NO_KEYS: Final = (
    "Bearer",
    "Bearer ",
    "Bearer x",
    "Basic bG9jYWw6eA==",
    "Bearer ctxd_aaaaaaaaaaaaaaaa_" + "A" * 43,
    "Bearer ctxd_" + "\u00e9" * 8,
    "Bearer " + "A" * 4_000,
)


@dataclass(frozen=True, slots=True)
class Scene:
    """A service that asks for keys, and the keys of one store."""

    service: Service
    access: Access

    @property
    def stranger(self) -> Client:
        """Somebody without a key."""
        return self.service.client

    async def of(
        self, owner: str, *, scopes: Sequence[Scope] = SCOPES, expires_at_ms: int | None = None
    ) -> Client:
        """Somebody with a key."""
        _, text = await self.access.create(
            *("k",), owner=owner, scopes=scopes, now_ms=NOW_MS, expires_at_ms=expires_at_ms
        )
        return replace(self.service.client, key=text)


@contextlib.asynccontextmanager
async def guarded(
    store_url: str, *, gateways: int = 1, workers: int = 0, **gateway: object
) -> AsyncGenerator[Scene, None]:
    """Run a service that asks for keys."""
    options: Options = {"auth": "keys", **gateway}
    async with serving(
        store_url, gateways=gateways, workers=workers, gateway=options
    ) as service:
        yield Scene(service, Access(service.stores[0].link))


def address(route: Route, **ids: str) -> str:
    """Where a route is, with ids in its path."""
    given = {
        "id": UNKNOWN,
        "action": "rename",
        "action_id": f"{UNKNOWN}.1.1",
        "message_id": UNKNOWN,
        "mode": "text",
        "session_id": "s",
        "note_id": UNKNOWN,
        "restart_id": UNKNOWN,
        "letter_id": UNKNOWN,
        "response_id": "resp_x",
        "conversation_id": "conv_x",
        **ids,
    }
    return route.paths[0].format_map(given)


BODIES: Final[dict[str, object]] = {
    "send_message": {"content": "x"},
    "edit_message": {"message_id": UNKNOWN, "content": "x"},
    "update_queue": {"remove": [UNKNOWN]},
    "create_branch": {"name": "b"},
    "switch_branch": {"name": "main"},
    "merge_branch": {"source": "b"},
    "record_messages": {"messages": [{"role": "user", "content": "x"}]},
    "request_turn": {"messages": [{"role": "user", "content": "x"}]},
    "answer": {"question_id": "q", "content": "x"},
    "approve_tools": {"tool_call_ids": ["c"]},
    "rename": {"title": "x"},
    "post_message": {"role": "user", "content": "x"},
    "patch_message": {"content": "x"},
}
"""Bodies that are valid, where an empty one is not."""
GUARDED: Final = [route for route in SERVED if route.name not in PUBLIC]


def test_what_anybody_may_ask_is_written_down_here() -> None:
    assert {route.name for route in SERVED if route.is_public} == PUBLIC
    assert [route.name for route in GUARDED if route.scope is None] == ["issue_ticket"]


async def raw_status(client: Client, route: Route, path: str) -> tuple[int, str]:
    """The status and the name of the problem, at any door."""
    async with client.session.request(
        route.method, client.url + path, headers=client.credential, json={}
    ) as response:
        told: Json = await response.json()
    kind = told["error"]["code"] if "error" in told else told["type"].rpartition("/")[2]
    return response.status, kind


async def test_without_a_key_every_address_is_closed(store_url: str) -> None:
    async with guarded(store_url) as scene:
        for route in GUARDED:
            path = address(route)
            assert await raw_status(scene.stranger, route, path) == (401, "unauthorized"), path
        for path in ("/healthz", "/readyz", "/openapi.json", "/asyncapi.json"):
            assert (await scene.stranger.get(path)).status == 200


async def test_a_key_opens_what_its_scopes_say_and_nothing_else(store_url: str) -> None:
    async with guarded(store_url) as scene:
        for scope in SCOPES:
            somebody = await scene.of("ada", scopes=[scope])
            for route in GUARDED:
                opened = (None, scope, *(("dashboard",) if scope == "admin" else ()))
                if route.scope in opened:
                    continue
                status = await raw_status(somebody, route, address(route))
                assert status == (403, "forbidden"), (scope, route.name)


def test_what_the_scope_dashboard_opens_is_written_down_here() -> None:
    opened = {route.name for route in SERVED if route.scope == "dashboard"}
    assert opened == {
        *("open_dashboard", "open_dashboard_alias", "get_stats", "get_metrics"),
        *("get_activity", "list_activity_events", "list_recent_activity", "list_endpoints"),
        *("list_workers", "list_processes", "list_at_work", "inspect_context", "get_restart"),
    }
    assert {route.method for route in SERVED if route.scope == "dashboard"} == {"GET"}


@pytest.mark.parametrize("scope", ["dashboard", "admin"])
async def test_a_key_for_the_dashboard_shows_how_the_service_is(
    store_url: str, scope: Scope
) -> None:
    async with guarded(store_url) as scene:
        wall = await scene.of("wall", scopes=[scope])
        for path in ("/admin/workers", "/admin/processes", "/admin/contexts"):
            assert (await wall.get(path)).status == 200, path


async def test_a_key_with_the_scope_comes_in(store_url: str) -> None:
    async with guarded(store_url, workers=1) as scene:
        ada = await scene.of("ada", scopes=["contexts:read", "contexts:write"])
        made = await ada.send("POST", "/api/contexts", {"message": {"content": "Hello"}})
        assert (made.status, made.context["owner"]) == (201, "ada")
        assert (await ada.state(made.context["id"]))["owner"] == "ada"
        refused = await ada.send("POST", "/admin/restart", {})
        assert (refused.status, refused.problem) == (403, "forbidden")


@pytest.mark.parametrize("credential", NO_KEYS)
async def test_what_is_no_key_is_refused_and_says_how(store_url: str, credential: str) -> None:
    async with guarded(store_url) as scene:
        headers = {"Authorization": credential}
        answer = await scene.stranger.send("GET", "/api/contexts", headers=headers)
        assert (answer.status, answer.problem) == (401, "unauthorized")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


async def test_what_is_no_text_is_no_key(store_url: str) -> None:
    async with guarded(store_url) as scene, raw(scene.service) as (reader, writer):
        ask = b"GET /api/contexts HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
        writer.write(ask + b"Authorization: Bearer ctxd_\xff_\xff\r\n\r\n")
        assert problem_in(await rest(reader)) == (401, "unauthorized")


async def test_a_secret_that_is_almost_right_is_wrong(store_url: str) -> None:
    async with guarded(store_url) as scene:
        ada = await scene.of("ada")
        assert ada.key is not None
        assert (await ada.get("/api/contexts")).status == 200
        other = "A" if ada.key[-1] != "A" else "B"
        for text in (ada.key[:-1] + other, ada.key + "A", ada.key[:-1], ada.key.upper()):
            answer = await replace(ada, key=text).get("/api/contexts")
            assert (answer.status, answer.problem) == (401, "unauthorized")


async def test_two_credentials_are_one_too_many(store_url: str) -> None:
    async with guarded(store_url) as scene:
        ada = await scene.of("ada")
        twice = [("Authorization", f"Bearer {ada.key}")] * 2
        answer = await scene.stranger.send("GET", "/api/contexts", headers=twice)
        assert (answer.status, answer.problem) == (401, "unauthorized")
        ticket = (await ada.send("POST", "/api/tickets", {})).json["ticket"]
        both = await ada.get(f"/api/contexts/{UNKNOWN}/events?ticket={ticket}")
        assert (both.status, both.problem) == (401, "unauthorized")


async def test_who_is_not_let_in_is_logged_but_not_without_end(store_url: str) -> None:
    async with guarded(store_url) as scene:
        watcher = await scene.of("ada", scopes=["dashboard"])
        with structlog.testing.capture_logs() as lines:
            await watcher.get("/api/contexts")
            for _ in range(LINES_MINUTE_MAX + 5):
                await scene.stranger.get("/api/contexts?states=true")
        refused = [line for line in lines if line["event"] == "refused"]
        assert len(refused) in {LINES_MINUTE_MAX, LINES_MINUTE_MAX + 6}  # a minute may end
        assert [line["problem"] for line in refused[:2]] == ["forbidden", "unauthorized"]
        assert refused[0]["address"] == "127.0.0.1"
        assert (refused[0]["method"], refused[0]["path"]) == ("GET", "/api/contexts")
        assert watcher.key is not None
        assert watcher.key not in str(lines)


async def test_a_key_that_has_expired_opens_nothing(store_url: str) -> None:
    async with guarded(store_url) as scene:
        ada = await scene.of("ada", expires_at_ms=1)
        assert (await ada.get("/api/contexts")).status == 401


async def test_a_revoked_key_opens_nothing_once_it_is_looked_at_again(store_url: str) -> None:
    async with guarded(store_url, access_check_s=0.2) as scene:
        ada = await scene.of("ada")
        assert (await ada.get("/api/contexts")).status == 200
        assert ada.key is not None
        revoked = await scene.access.revoke(ada.key.split("_")[1], now_ms=NOW_MS)
        assert revoked is not None

        async def closed() -> bool:
            return (await ada.get("/api/contexts")).status == 401

        await eventually(closed)


async def test_a_known_key_reads_on_while_the_store_does_not_answer(
    store_url: str, shared_store: StoreServer
) -> None:
    async with guarded(store_url, access_check_s=0, stale_after_s=0.3) as scene:
        ada, bob = await scene.of("ada"), await scene.of("bob")
        context_id = await ada.create()
        tell_store(shared_store, "CLIENT", "PAUSE", "2500", "ALL")
        answer = await ada.get(f"/api/contexts/{context_id}/state")
        assert (answer.status, answer.headers["Contextd-Stale"]) == (200, "true")
        # Of another key nobody knows whether it is one.
        refused = await bob.get("/api/contexts")
        assert (refused.status, refused.problem) == (503, "store-unavailable")


async def test_a_gateway_remembers_so_many_keys_and_no_more(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "_KNOWN_MAX", 2)
    async with connect(store_url, StorageConfig()) as store:
        access = Access(store.link)
        door = guard.Guard(GatewayConfig(), store, lambda: NOW_MS)
        for name in ("one", "two", "three", "one", "four"):
            _, text = await access.create(name, owner="ada", scopes=SCOPES, now_ms=NOW_MS)
            request = make_mocked_request("GET", "/", {"Authorization": f"Bearer {text}"})
            for _ in range(2):
                await door.admit(request, "admin", takes_ticket=False)
        known: dict[bytes, tuple[ApiKey, float]] = vars(door)["_known"]
        assert [key.name for key, _ in known.values()] == ["one", "four"]


async def test_a_key_that_is_gone_is_not_known_any_more_when_the_store_goes_too(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connect(store_url, StorageConfig()) as store:
        access = Access(store.link)
        key, text = await access.create("k", owner="ada", scopes=SCOPES, now_ms=NOW_MS)
        answers = iter([key, None])

        async def find(_: Access, _text: str) -> ApiKey | None:
            for answer in answers:
                return answer
            raise StoreUnavailable("it does not answer")

        monkeypatch.setattr(Access, "find", find)
        door = guard.Guard(GatewayConfig(access_check_s=0), store, lambda: NOW_MS)
        request = make_mocked_request("GET", "/", {"Authorization": f"Bearer {text}"})
        await door.admit(request, "admin", takes_ticket=False)
        with pytest.raises(Problem, match="no key of ours"):
            await door.admit(request, "admin", takes_ticket=False)
        with pytest.raises(StoreUnavailable):
            await door.admit(request, "admin", takes_ticket=False)


# Owners


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


# Tickets


async def test_a_ticket_opens_one_stream(store_url: str) -> None:
    async with guarded(store_url, workers=1) as scene:
        ada = await scene.of("ada")
        context_id = await ada.create()
        issued = await ada.send("POST", "/api/tickets", {})
        assert issued.status == 201
        query = f"?ticket={issued.json['ticket']}"
        async with scene.stranger.stream(context_id, query=query) as stream:
            assert (await stream.take("snapshot"))[-1].data["id"] == context_id
        again = await scene.stranger.get(f"/api/contexts/{context_id}/events{query}")
        assert (again.status, again.problem) == (401, "unauthorized")


async def test_a_ticket_opens_nothing_but_streams(store_url: str) -> None:
    async with guarded(store_url) as scene:
        ada = await scene.of("ada")
        context_id = await ada.create()
        ticket = (await ada.send("POST", "/api/tickets", {})).json["ticket"]
        answer = await scene.stranger.get(f"/api/contexts/{context_id}/state?ticket={ticket}")
        assert (answer.status, answer.problem) == (401, "unauthorized")
        async with scene.stranger.stream(context_id, query=f"?ticket={ticket}") as stream:
            await stream.take("snapshot")  # it was not used up


async def test_any_key_is_given_tickets_and_they_allow_what_it_allows(store_url: str) -> None:
    async with guarded(store_url) as scene:
        context_id = await (await scene.of("ada")).create()
        for scope in SCOPES:
            somebody = await scene.of("ada", scopes=[scope])
            issued = await somebody.send("POST", "/api/tickets", {})
            assert issued.status == 201
            path = f"/api/contexts/{context_id}/events?ticket={issued.json['ticket']}"
            async with scene.stranger.stream_at(path) as stream:
                allowed = 200 if scope == "contexts:read" else 403
                assert stream.response.status == allowed, scope


async def test_a_ticket_is_worth_no_more_than_its_key(store_url: str) -> None:
    async with guarded(store_url) as scene:
        ada = await scene.of("ada")
        eve = await scene.of("eve")
        context_id = await ada.create()
        ticket = (await eve.send("POST", "/api/tickets", {})).json["ticket"]
        foreign = await scene.stranger.get(f"/api/contexts/{context_id}/events?ticket={ticket}")
        assert (foreign.status, foreign.problem) == (404, "not-found")
        ticket = (await ada.send("POST", "/api/tickets", {})).json["ticket"]
        assert ada.key is not None
        await scene.access.revoke(ada.key.split("_")[1], now_ms=NOW_MS)
        late = await scene.stranger.get(f"/api/contexts/{context_id}/events?ticket={ticket}")
        assert (late.status, late.problem) == (401, "unauthorized")


async def test_an_open_stream_ends_when_its_key_is_revoked(store_url: str) -> None:
    async with guarded(store_url, stream_check_s=0.2) as scene:
        ada, other = await scene.of("ada"), await scene.of("ada")
        context_id = await ada.create()
        async with ada.stream(context_id) as cut, other.stream(context_id) as kept:
            await cut.take("snapshot")
            await kept.take("snapshot")
            assert ada.key is not None
            await scene.access.revoke(ada.key.split("_")[1], now_ms=NOW_MS)
            with pytest.raises(aiohttp.ClientPayloadError):
                await cut.next()
            with pytest.raises(TimeoutError):
                await kept.next(within_s=1)


async def test_an_open_stream_goes_on_while_nobody_knows_whether_its_key_is_valid(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: asyncio.Queue[str] = asyncio.Queue()

    async def get(_: Access, key_id: str) -> None:
        looks.put_nowait(key_id)
        raise StoreUnavailable("it does not answer")

    monkeypatch.setattr(Access, "get", get)
    transport = Mock()
    request = make_mocked_request("GET", "/", transport=transport)
    principal = guard.Principal(Grant("ada", frozenset(SCOPES), None), "k")
    async with connect(store_url, StorageConfig()) as store:
        door = guard.Guard(GatewayConfig(stream_check_s=0.01), store, lambda: NOW_MS)
        with door.opened(request, principal):
            async with asyncio.TaskGroup() as group:
                checking = group.create_task(door.check_streams())
                for _ in range(2):  # it is asked again
                    assert await looks.get() == "k"
                checking.cancel()
    transport.close.assert_not_called()


async def test_the_stream_of_a_client_that_has_gone_is_not_begun(store_url: str) -> None:
    principal = guard.Principal(Grant("ada", frozenset(SCOPES), None), "k")
    gone = make_mocked_request("GET", "/", transport=Mock())
    gone.protocol.transport = None
    async with connect(store_url, StorageConfig()) as store:
        door = guard.Guard(GatewayConfig(), store, lambda: NOW_MS)
        with pytest.raises(ConnectionResetError), door.opened(gone, principal):
            pass


async def test_a_connection_outlives_the_key_of_a_stream_that_has_ended_on_it(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def get(_: Access, _key_id: str) -> None:
        """There is no key any more."""

    monkeypatch.setattr(Access, "get", get)
    closed = asyncio.Event()
    ended, running = Mock(), Mock(close=closed.set)
    principal = guard.Principal(Grant("ada", frozenset(SCOPES), None), "k")
    async with connect(store_url, StorageConfig()) as store:
        door = guard.Guard(GatewayConfig(stream_check_s=0.01), store, lambda: NOW_MS)
        with door.opened(make_mocked_request("GET", "/", transport=ended), principal):
            pass
        with door.opened(make_mocked_request("GET", "/", transport=running), principal):
            async with asyncio.TaskGroup() as group:
                checking = group.create_task(door.check_streams())
                await closed.wait()
                checking.cancel()
    ended.close.assert_not_called()
