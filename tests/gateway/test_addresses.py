"""Addresses: ids, queries and methods that are not what they should be."""

import asyncio
from urllib.parse import quote

import pytest

from gateway.routes import ROUTES
from storage import Link
from tests.support.service import serving

WELL_FORMED = "01890a5d-ac96-774b-bcce-b302099a8057"
TRICKS = [
    "%2e%2e",
    "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "..%5c..",
    "%00",
    f"{WELL_FORMED}%00",
    f"{WELL_FORMED}%0a",
    f"%20{WELL_FORMED}",
    "{}",
    "%7Bx%7D",
    f"%7B{WELL_FORMED}%7D:meta",
    WELL_FORMED.upper(),
    WELL_FORMED.replace("-", ""),
    WELL_FORMED.replace("0", "%D9%A0"),
    quote("контекст"),
    "%F0%9F%92%A9",
    "%ff%fe",
    "*",
    "[a-z]*",
    "meta",
    "a" * 4_000,
    "%",
    "%zz",
    "%25%32%65",
    "null",
    "-1",
    "0",
    "' OR 1=1 --",
]


@pytest.mark.parametrize("context_id", [*TRICKS, WELL_FORMED])
async def test_an_id_that_nobody_has_is_not_found_and_never_becomes_a_key(
    store_url: str, monkeypatch: pytest.MonkeyPatch, context_id: str
) -> None:
    async with serving(store_url, workers=0) as service:
        client = service.client
        asked: list[str] = []
        plain_call = Link.call

        def noted(link: Link, *command: bytes | str | float) -> asyncio.Future[object]:
            asked.extend(str(part) for part in command)
            return plain_call(link, *command)

        monkeypatch.setattr(Link, "call", noted)
        encoded = quote(context_id, safe="%")
        for base in ("/api/contexts", "/v1/contexts"):
            path = f"{base}/{encoded}"
            for answer in (
                await client.get(path),
                await client.get(f"{path}/state"),
                await client.get(f"{path}/state?after=1.1.0"),
                await client.get(f"{path}/events"),
                await client.send("DELETE", path),
                await client.send("POST", f"{path}/actions/pause", {}),
                await client.send("POST", f"{path}/actions/send_message", {"content": "x"}),
                await client.send(
                    "POST", f"{path}/actions/configure", {}, headers={"Prefer": "wait=1"}
                ),
            ):
                assert (answer.status, answer.problem) == (404, "not-found"), answer
        answer = await client.get(f"/api/actions/{encoded}.1.1")
        assert (answer.status, answer.problem) == (404, "not-found")
        if context_id != WELL_FORMED:
            assert not [key for key in asked if key.startswith("ctx:")]


@pytest.mark.parametrize(
    "path",
    [
        "/api",
        "/api/contexts/",
        f"/api/contexts/{WELL_FORMED}/",
        f"/api/contexts/{WELL_FORMED}/nothing",
        f"/api/contexts/{WELL_FORMED}/actions",
        f"/api/contexts/{WELL_FORMED}/actions/",
        f"/api//contexts/{WELL_FORMED}",
        "/v2/contexts",
        "/docs/LICENSE",
        "/docs/%2e%2e%2fapp.py",
        "/docs/..%2f..%2fpyproject.toml",
        "/static/app.js",
        "/problems/unheard-of",
        "/problems/%00",
        "/openapi.yaml",
        "/api/contexts%00",
    ],
)
async def test_other_addresses_are_not_found(store_url: str, path: str) -> None:
    async with serving(store_url, workers=0) as service:
        answer = await service.client.get(path)
        assert (answer.status, answer.problem) == (404, "not-found")


@pytest.mark.parametrize(
    "query",
    [
        *("limit=0", "limit=-1", "limit=x", "limit=", "limit=1.5", "limit=1e1", "limit=201"),
        *(
            "limit=99999999999999999999",
            "limit=000000001999",
            "limit=%D9%A3",
            "limit=1&limit=2",
        ),
        *("after=x", "after=", f"after={WELL_FORMED}%00", "after=*", "after=%2B", "after=-"),
        *("states=1", "states=", "states=TRUE", "states=true&states=true"),
        *("unheard-of=1", "limit=5&order=asc", "%00=1", "limit%00=1", "=1", "[]=1"),
    ],
)
async def test_a_list_with_a_query_that_is_wrong_is_refused(store_url: str, query: str) -> None:
    async with serving(store_url, workers=0) as service:
        answer = await service.client.get(f"/api/contexts?{query}")
        assert (answer.status, answer.problem) == (400, "invalid-parameter"), answer.body


@pytest.mark.parametrize(
    "query",
    [
        *("messages=x", "messages=-1", "messages=", "messages=1&messages=2", "messages=%D9%A3"),
        "messages=1000000000",
        *("after=x", "after=1.2", "after=1.2.x", "after=", "after=1.1.0&after=1.1.0"),
        *("after=9.9.99999999999999999999", "kinds=all", "wait=10"),
    ],
)
async def test_a_poll_with_a_query_that_is_wrong_is_refused(store_url: str, query: str) -> None:
    async with serving(store_url, workers=0) as service:
        context_id = await service.client.create()
        path = f"/api/contexts/{context_id}/state?{query}"
        seen = (await service.client.state(context_id))["cursor"]
        for headers in ({}, {"If_None_Match": f'"{seen}"'}):
            answer = await service.client.get(path, **headers)
            assert (answer.status, answer.problem) == (400, "invalid-parameter"), answer.body


async def test_other_addresses_refuse_queries_too(store_url: str) -> None:
    async with serving(store_url, workers=0) as service:
        client = service.client
        context_id = await client.create()
        for method, path in (
            ("GET", f"/api/contexts/{context_id}?x=1"),
            ("GET", f"/api/contexts/{context_id}/events?deltas=maybe"),
            ("POST", f"/api/contexts/{context_id}/actions/pause?messages=x"),
            ("POST", f"/api/contexts/{context_id}/actions/pause?x=1"),
            ("POST", "/api/contexts?x=1"),
            ("DELETE", f"/api/contexts/{context_id}?x=1"),
            ("GET", f"/api/actions/{context_id}.1.1?x=1"),
            ("GET", "/healthz?x=1"),
        ):
            answer = await client.send(method, path, {} if method == "POST" else None)
            assert (answer.status, answer.problem) == (400, "invalid-parameter"), path
        assert (await client.state(context_id))["version"] == 1
        assert len((await client.get("/api/contexts")).json["contexts"]) == 1


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/api/contexts", "GET, HEAD, OPTIONS, POST"),
        ("/v1/contexts", "GET, HEAD, OPTIONS, POST"),
        (f"/api/contexts/{WELL_FORMED}", "DELETE, GET, HEAD, OPTIONS, PUT"),
        (f"/api/contexts/{WELL_FORMED}/state", "GET, HEAD, OPTIONS"),
        (f"/api/contexts/{WELL_FORMED}/events", "GET, OPTIONS"),
        (f"/api/contexts/{WELL_FORMED}/actions/pause", "OPTIONS, POST"),
        (f"/api/actions/{WELL_FORMED}.1.1", "GET, HEAD, OPTIONS"),
        ("/healthz", "GET, HEAD, OPTIONS"),
        ("/openapi.json", "GET, HEAD, OPTIONS"),
    ],
)
async def test_methods_are_told_and_others_refused(
    store_url: str, path: str, allowed: str
) -> None:
    async with serving(store_url, workers=0) as service:
        options = await service.client.send("OPTIONS", path)
        assert (options.status, options.headers["Allow"]) == (204, allowed)
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "PROPFIND"} - set(
            allowed.split(", ")
        ):
            answer = await service.client.send(method, path)
            assert (answer.status, answer.problem) == (405, "method-not-allowed")
            assert answer.headers["Allow"] == allowed


async def test_head_tells_what_get_would_without_the_body(store_url: str) -> None:
    async with serving(store_url, workers=0) as service:
        client = service.client
        context_id = await client.create()
        for path in (
            "/api/contexts",
            f"/api/contexts/{context_id}",
            f"/api/contexts/{context_id}/state",
            "/healthz",
            "/openapi.json",
        ):
            got, head = await client.get(path), await client.send("HEAD", path)
            assert (head.status, head.body) == (200, b"")
            for name in ("Content-Type", "Content-Length", "ETag"):
                assert head.headers.get(name) == got.headers.get(name)
        assert (await client.send("HEAD", f"/api/contexts/{WELL_FORMED}")).status == 404


def test_every_get_answers_head_but_streams_and_responses() -> None:
    gets = {route.name: route for route in ROUTES if route.method == "GET"}
    without = {name for name, route in gets.items() if not route.has_head}
    assert without == {name for name, route in gets.items() if route.is_stream}
    assert without == {"stream_events", "open_socket", "stream_many", "get_response"}


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize(
    "path",
    [
        *("/api/contexts/import", "/v1/contexts/import"),
        *("/admin/dead_letters/retry", "/admin/dead_letters/drop"),
    ],
)
async def test_an_address_of_its_own_is_that_of_no_context_or_dead_letter(
    store_url: str, path: str, method: str
) -> None:
    async with serving(store_url, workers=0) as service:
        answer = await service.client.send(method, path)
        assert (answer.status, answer.problem) == (405, "method-not-allowed")
        assert answer.headers["Allow"] == "OPTIONS, POST"


@pytest.mark.parametrize(
    "path", ["/api/contexts/imported", "/api/chat/titles", "/admin/dead_letters/retry-1"]
)
async def test_an_id_may_begin_as_an_address_of_its_own(store_url: str, path: str) -> None:
    async with serving(store_url, workers=0) as service:
        assert (await service.client.send("OPTIONS", path)).status == 204
