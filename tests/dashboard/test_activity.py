"""What is asked of gateways is counted and recorded."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import cast

import openapi_spec_validator
import pytest

from dashboard.activity import event_type_of
from gateway.routes import ROUTES
from runtime.extensions import extensions
from runtime.settings import Settings
from storage import SCOPES, Access, ActivityLog, Scope, keys
from tests.dashboard.activities import active, activity, recent, stored, watched
from tests.gateway.arrivals import tell_store
from tests.support.routes import SERVED
from tests.support.service import Client, Json, eventually, serving
from tests.support.store_server import StoreServer

NOW_MS = 1_800_000_000_000
NOBODY = "01890a5d-ac96-774b-bcce-b302099a8057"
API = Path(__file__).parents[2] / "docs" / "api.md"
SEND = "POST /api/contexts/{id}/actions/{action}"
POLL = "GET /api/contexts/{id}/state"


def of(view: Json, endpoint: str) -> Json:
    """What was counted of an endpoint."""
    return next(each for each in view["top_endpoints"] if each["endpoint"] == endpoint)


async def test_every_request_is_counted_under_the_template_of_its_address(
    store_url: str,
) -> None:
    async with watched(store_url) as service:
        client = service.client
        for context_id in [await client.create(), await client.create()]:
            assert (await client.say(context_id, "Mind the kestrel.")).status == 200
            etag = (await client.get(f"/api/contexts/{context_id}/state")).headers["ETag"]
            again = await client.get(f"/api/contexts/{context_id}/state", If_None_Match=etag)
            assert again.status == 304
        assert (await client.get("/no/such/address")).status == 404
        nothing = await client.send(
            "POST", f"/api/contexts/{NOBODY}/actions/no_such_action", {}
        )
        assert nothing.status == 404
        view = await activity(client)
        assert of(view, "POST /api/contexts")["requests"] == 2
        assert (of(view, SEND)["requests"], of(view, SEND)["failed"]) == (3, 1)
        assert (of(view, POLL)["requests"], of(view, POLL)["failed"]) == (4, 0)
        assert of(view, "(no such address)")["failed"] == 1
        assert view["total_requests"] == 10
        assert (view["successful_requests"], view["failed_requests"]) == (8, 2)
        assert view["success_rate"] == 0.8
        assert view["error_types"] == {"not-found": 2}
        assert view["by_type"] == {"action": 4, "poll": 4, "error": 2}
        assert (view["gateways"], view["complete"]) == (1, True)
        assert view["avg_latency_ms"] > 0


async def test_a_304_and_what_the_gateway_had_in_memory_are_hits(store_url: str) -> None:
    async with serving(store_url, gateways=2, extensions=active()) as service:
        writing, reading = service.clients
        context_id = await writing.create()
        first = await reading.get(f"/api/contexts/{context_id}/state")  # it is loaded
        await reading.get(f"/api/contexts/{context_id}/state")  # it is there
        await reading.get(
            f"/api/contexts/{context_id}/state", If_None_Match=first.headers["ETag"]
        )
        own = [each for each in await recent(reading) if each["endpoint"] == POLL]
        assert [each["status"] for each in own] == [304, 200, 200]
        view = await activity(reading)
        assert (view["cache_hits"], view["cache_misses"]) == (2, 1)


async def test_a_record_says_when_what_how_long_and_how_it_ended(store_url: str) -> None:
    async with watched(store_url) as service:
        client = service.client
        context_id = await client.create()
        await client.act(context_id, "rename", {"title": "T"})
        missing = await client.act(context_id, "no_such_action")
        failed, renamed, _ = await recent(client)
        assert renamed["timestamp"].endswith("Z")
        assert renamed["latency_ms"] > 0
        assert (renamed["event_type"], renamed["endpoint"]) == ("action", SEND)
        assert (renamed["status"], renamed["metadata"]["action"]) == (200, "rename")
        assert (failed["event_type"], failed["status"]) == ("error", 404)
        told = failed["metadata"]
        assert (told["kind"], told["problem"]) == ("action", "not-found")
        assert told["request_id"] == missing.json["request_id"]
        assert told["action"] is None, "a client may call an action whatever it likes"


async def test_a_record_has_the_request_s_id_that_the_answer_has_told(store_url: str) -> None:
    async with watched(store_url) as service:
        client = service.client
        ids: list[str] = []
        for path in ("/v1/models", "/v1/conversations/other"):
            async with client.session.get(f"{client.url}{path}") as answer:
                ids.append(answer.headers["x-request-id"])
        await client.create()
        created, failed, listed = await recent(client)
        assert [each["metadata"]["request_id"] for each in (listed, failed)] == ids
        assert failed["status"] == 404
        assert created["metadata"]["request_id"] is None


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("POST", "/api/chat/{mode}", "query"),
        ("POST", "/v1/chat/completions", "query"),
        ("POST", "/v1/responses", "query"),
        ("POST", "/api/contexts/{id}/actions/{action}", "action"),
        ("DELETE", "/api/contexts/{id}", "action"),
        ("GET", "/api/contexts/{id}/state", "poll"),
        ("GET", "/api/contexts/{id}/events", "stream"),
        ("GET", "/api/contexts/{id}/ws", "stream"),
        ("GET", "/api/events", "stream"),
        ("GET", "/api/v1/metrics/events", "admin"),
        ("GET", "/api/v1/ws/dashboard", "stream"),
        ("POST", "/admin/restart", "admin"),
        ("GET", "/readyz", "health_check"),
    ],
)
def test_a_request_is_what_its_address_says(method: str, path: str, expected: str) -> None:
    assert event_type_of(method, path) == expected


def test_what_streams_and_what_operators_ask_is_so_everywhere() -> None:
    for route in ROUTES:
        kinds = {event_type_of(route.method, path) for path in route.paths}
        if route.name == "get_response":  # a poll, or a stream where it is asked for
            assert kinds == {"poll"}
        elif route.is_stream and route.method == "GET":
            assert kinds == {"stream"}, route.name
        elif route.needs in {"dashboard", "admin"}:
            assert kinds == {"admin"}, route.name
        else:
            assert not kinds & {"stream", "admin"}, route.name


async def test_no_record_has_contents_keys_tickets_or_ids(
    store_url: str, shared_store: StoreServer
) -> None:
    options = {"auth": "keys"}
    async with serving(store_url, gateway=options, extensions=active()) as service:
        _, key = await Access(service.stores[0].link).create(
            "k", owner="ada-lovelace", scopes=SCOPES, now_ms=NOW_MS
        )
        client = replace(service.client, key=key)
        context_id = await client.create(title="kestrel")
        await client.say(context_id, "Mind the kestrel.")
        ticket = (await client.send("POST", "/api/tickets", {})).json["ticket"]
        path = f"/api/contexts/{context_id}/events?ticket={ticket}"
        async with service.client.stream_at(path) as stream:
            await stream.take("snapshot")
        await client.get(f"/api/contexts/{context_id}/messages?branch=kestrel")
        await service.client.send(
            *("GET", f"/kestrel/{context_id}?key={key}"), headers={"X-Kestrel": key}
        )

        async def is_told() -> bool:
            return any(each["event_type"] == "stream" for each in await stored(client))

        await eventually(is_told)
        (told,) = cast("list[str]", tell_store(shared_store, "KEYS", "activity:gateway:*"))
        kept = str(tell_store(shared_store, "XRANGE", keys.ACTIVITY, "-", "+"))
        kept += str(tell_store(shared_store, "GET", told))
        kept += str(await activity(client)) + str(await recent(client))
    assert kept.count("stream") > 1
    for secret in (key, ticket, context_id, "kestrel", "Kestrel", "ada-lovelace"):
        assert secret not in kept


async def test_all_gateways_see_the_records_and_counts_of_all(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboard.activity.TALLY_S", 0.1)
    async with serving(store_url, gateways=2, extensions=active()) as service:
        one, two = service.clients
        for _ in range(3):
            await one.create()
        for _ in range(4):
            await two.create()
        for client in (one, two):

            async def sees_all(client: Client = client) -> bool:
                view = await activity(client)
                assert view["gateways"] == 2
                return bool(of(view, "POST /api/contexts")["requests"] == 7)

            await eventually(sees_all)

            async def has_all(client: Client = client) -> bool:
                found = [each["endpoint"] for each in await stored(client)]
                return found.count("POST /api/contexts") == 7

            await eventually(has_all)
        gateways = {each["metadata"]["gateway"] for each in await stored(one)}
        assert len(gateways) == 2


async def test_a_stream_is_counted_when_it_ends_and_not_timed(store_url: str) -> None:
    async with watched(store_url) as service:
        client = service.client
        context_id = await client.create()
        async with client.stream(context_id) as stream:
            await stream.take("snapshot")

        async def has_ended() -> bool:
            return any(each["event_type"] == "stream" for each in await recent(client))

        await eventually(has_ended)
        shown = of(await activity(client), "GET /api/contexts/{id}/events")
        assert (shown["requests"], shown["failed"], shown["avg_latency_ms"]) == (1, 0, None)


async def test_a_request_that_has_waited_for_somebody_is_counted_and_not_timed(
    store_url: str,
) -> None:
    async with watched(store_url) as service:
        client = service.client
        context_id = await client.create()
        path = f"/api/contexts/{context_id}/state"
        etag = (await client.get(path)).headers["ETag"]
        before = of(await activity(client), POLL)
        waited = await client.get(path, If_None_Match=etag, Prefer="wait=1")
        assert waited.status == 304
        after = of(await activity(client), POLL)
        assert (before["requests"], after["requests"]) == (1, 2)
        assert after["max_latency_ms"] == before["max_latency_ms"]


async def test_the_tally_of_a_gateway_of_another_version_is_left_out_and_that_is_said(
    store_url: str,
) -> None:
    async with watched(store_url) as service:
        assert (await activity(service.client))["complete"] is True
        others = ActivityLog(service.stores[0].link, 1)
        await others.put_tally("other", b'{"gateways": "many"}', since_ms=NOW_MS)
        view = await activity(service.client)
        assert (view["complete"], view["gateways"]) == (False, 1)


async def test_a_client_that_leaves_before_its_answer_is_no_failure(store_url: str) -> None:
    async with watched(store_url) as service:
        client = service.client
        context_id = await client.create()
        etag = (await client.get(f"/api/contexts/{context_id}/state")).headers["ETag"]
        left: list[int] = []

        async def is_noticed() -> bool:
            left.append(1)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):  # it may be too short to be asked at all
                    await client.get(
                        f"/api/contexts/{context_id}/state",
                        If_None_Match=etag,
                        Prefer="wait=30",
                    )
            view = await activity(client)
            assert view["failed_requests"] == 0
            assert view["abandoned_requests"] <= len(left)
            return bool(view["abandoned_requests"])

        await eventually(is_noticed)


async def test_records_are_bounded_by_the_second_and_failures_have_room_of_their_own(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboard.activity.perf_counter", lambda: 7.0)  # one long second
    async with watched(store_url, activity_records_s_max=3) as service:
        client = service.client
        for _ in range(5):
            await client.get("/healthz")
        for _ in range(4):
            await client.get("/no/such/address")
        found = await recent(client)
        assert [each["event_type"] for each in found] == ["error"] * 3 + ["health_check"] * 3
        view = await activity(client)
        assert (view["total_requests"], view["records"]["kept"]) == (10, 6)
        assert view["records"]["over_rate"] == 4  # two, one, and the look at what is recent


async def test_the_store_keeps_so_many_records_and_memory_so_many(store_url: str) -> None:
    bounds = {"activity_stored_max": 1, "activity_recent_max": 3}
    async with watched(store_url, activity_records_s_max=1_000, **bounds) as service:
        client = service.client
        for _ in range(300):
            await client.get("/healthz")
        assert len(await recent(client)) == 3

        async def is_trimmed() -> bool:  # by whole nodes of the stream, of a hundred
            return 0 < len(await stored(client)) < 200

        await eventually(is_trimmed)


async def test_who_may_not_see_the_dashboard_sees_nothing_of_it(store_url: str) -> None:
    async with serving(store_url, gateway={"auth": "keys"}, extensions=active()) as service:
        scopes: list[Scope] = ["contexts:read", "contexts:write"]
        _, key = await Access(service.stores[0].link).create(
            "k", owner="ada", scopes=scopes, now_ms=NOW_MS
        )
        client = replace(service.client, key=key)
        for path in (
            *("/api/v1/metrics/activity", "/api/v1/metrics/events"),
            *("/api/v1/activity/recent", "/api/v1/endpoints"),
        ):
            answer = await client.get(path)
            assert (answer.status, answer.problem) == (403, "forbidden")
            assert (await service.client.get(path)).status == 401


async def test_every_address_is_listed_with_what_was_asked_of_it(store_url: str) -> None:
    async with watched(store_url) as service:
        client = service.client
        await client.create()
        listed = (await client.get("/api/v1/endpoints")).json["endpoints"]
        by_name = {each["endpoint"]: each for each in listed}
        assert {f"{route.method} {route.paths[0]}" for route in ROUTES} <= by_name.keys()
        assert by_name["POST /api/contexts"]["requests"] == 1
        assert by_name[POLL]["requests"] == 0
        assert by_name["GET /api/v1/endpoints"]["event_type"] == "admin"


async def test_what_other_rooms_bring_is_listed_before_anybody_asks_for_it(
    store_url: str,
) -> None:
    settings = Settings.model_validate({})
    async with serving(
        store_url, workers=0, extensions=lambda store: extensions(settings, store)
    ) as service:
        listed = (await service.client.get("/api/v1/endpoints")).json["endpoints"]
    addresses = {f"{route.method} {route.paths[0]}" for route in SERVED}
    assert addresses <= {each["endpoint"] for each in listed}


async def test_what_is_answered_is_described_with_its_scope(store_url: str) -> None:
    async with watched(store_url) as service:
        document = (await service.client.get("/openapi.json")).json
        openapi_spec_validator.validate(document)
        for path, model in (
            ("/api/v1/metrics/activity", "ActivityView"),
            ("/api/v1/metrics/events", "ActivityRecords"),
            ("/api/v1/activity/recent", "ActivityRecords"),
            ("/api/v1/endpoints", "EndpointList"),
        ):
            described = document["paths"][path]["get"]
            assert described["security"] == [{"key": ["dashboard"]}]
            content = described["responses"]["200"]["content"]["application/json"]
            assert content["schema"]["$ref"].endswith(f"/{model}")
            assert path in API.read_text()
