"""Who comes in, and to what: keys and their scopes."""

from dataclasses import replace
from typing import Final

import pytest
import structlog
from aiohttp.test_utils import make_mocked_request

from gateway import GatewayConfig, guard
from gateway.problems import Problem
from gateway.refusals import LINES_MINUTE_MAX
from gateway.route import Route
from storage import SCOPES, Access, ApiKey, Scope, StorageConfig, StoreUnavailable, connect
from tests.gateway.arrivals import tell_store
from tests.gateway.bare import problem_in, raw, rest
from tests.gateway.guarding import GUARDED, NOW_MS, PUBLIC, UNKNOWN, address, guarded
from tests.support.routes import SERVED
from tests.support.service import Client, Json, eventually
from tests.support.store_server import StoreServer

NO_KEYS: Final = (
    "Bearer",
    "Bearer ",
    "Bearer x",
    "Basic bG9jYWw6eA==",
    "Bearer ctxd_aaaaaaaaaaaaaaaa_" + "A" * 43,
    "Bearer ctxd_" + "\u00e9" * 8,
    "Bearer " + "A" * 4_000,
)


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
