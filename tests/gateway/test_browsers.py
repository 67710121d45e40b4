"""Browsers: whose pages may ask, and what every answer tells a browser to do with it."""

import re
from collections.abc import Mapping
from typing import Final

import aiohttp
import pytest
from pydantic import ValidationError

from gateway.config import GatewayConfig
from tests.gateway.bare import problem_in, raw, rest
from tests.support.routes import SERVED
from tests.support.service import Answer, Client, Options, serving

PAGE: Final = "https://chat.example"
KEYS: Final[Options] = {"auth": "keys"}
ADDRESS: Final[dict[str, str]] = {
    "id": "01890a5d-ac96-774b-bcce-b302099a8057",
    "action": "pause",
    "action_id": "01890a5d-ac96-774b-bcce-b302099a8057.1.1",
    "message_id": "x",
    "mode": "text",
    "session_id": "s",
    "note_id": "01890a5d-ac96-774b-bcce-b302099a8057",
    "restart_id": "r-0123456789abcdef",
    "letter_id": "01890a5d-ac96-774b-bcce-b302099a8057.1.1",
    "response_id": "resp_x",
    "conversation_id": "conv_x",
    "item_id": "msg_x",
    "completion_id": "chatcmpl-x",
    "model": "scripted",
    "name": "unauthorized",
}
"""Something for each part of an address that varies."""


def protected(headers: Mapping[str, str]) -> bool:
    """Whether an answer has what every answer has."""
    return (
        headers.get("Server", "contextd") == "contextd"
        and headers["X-Content-Type-Options"] == "nosniff"
        and headers["Referrer-Policy"] == "no-referrer"
        and headers["Cross-Origin-Resource-Policy"] == "same-origin"
    )


def personal(headers: Mapping[str, str]) -> bool:
    """Whether it is kept nowhere, and nothing that is in it runs or is shown in a frame."""
    policy = "default-src 'none'; frame-ancestors 'none'"
    return (
        headers["Cache-Control"] == "no-store" and headers["Content-Security-Policy"] == policy
    )


async def asked(client: Client, method: str, path: str, **headers: str) -> Answer:
    """An answer at any door, held to no view."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with client.session.request(
        method, client.url + path, headers={**named, **client.credential}
    ) as response:
        body = b"" if response.content_type == "text/event-stream" else await response.read()
        return Answer(response.status, response.headers, body)


# What every answer tells


async def test_every_address_says_what_browsers_may_do_with_its_answer(store_url: str) -> None:
    open_to_all = {
        *("openapi", "asyncapi", "docs", "docs_asset"),
        *("chat_page", "dashboard_page"),
    }
    async with serving(store_url, workers=0, gateway=KEYS) as service:
        for route in SERVED:
            for method in (route.method, "OPTIONS", "TRACE"):
                path = route.paths[0].format_map(ADDRESS)
                answer = await asked(service.client, method, path)
                assert protected(answer.headers), (method, path, answer)
                if route.name not in open_to_all or method != "GET":
                    assert personal(answer.headers), (method, path, answer)


async def test_what_is_answered_with_success_or_streamed_is_kept_nowhere(
    store_url: str,
) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        base = f"/api/contexts/{context_id}"
        state = await asked(client, "GET", f"{base}/state")
        same = await asked(client, "GET", f"{base}/state", If_None_Match=state.headers["ETag"])
        events = await asked(client, "GET", f"{base}/events")
        streamed = await client.send(
            "POST",
            "/v1/chat/completions",
            {
                "model": "scripted",
                "stream": True,
                "messages": [{"role": "user", "content": "x"}],
            },
        )
        for answer in (state, same, events, streamed):
            assert answer.status in {200, 304}
            assert protected(answer.headers), answer
            assert personal(answer.headers), answer
        page = await asked(client, "GET", "/docs")
        assert page.headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert "script-src 'self';" in page.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GARBAGE\r\n\r\n", 400),
        (b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n", 431),
        (b"GET /heal", 408),
    ],
)
async def test_what_is_no_request_is_answered_with_the_same_care(
    store_url: str, sent: bytes, status: int
) -> None:
    bounds = {"head_s_max": 0.3}
    async with (
        serving(store_url, workers=0, gateway=bounds) as service,
        raw(service) as (reader, writer),
    ):
        writer.write(sent)
        head, _, _ = (await rest(reader)).partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        assert f" {status} " in first
        assert protected(dict(line.split(": ", 1) for line in lines))
        assert "aiohttp" not in head.decode()


# Pages of other origins


async def test_a_page_that_may_ask_is_told_so_at_every_address(store_url: str) -> None:
    options: Options = {**KEYS, "cors_origins": f"http://localhost:3000, {PAGE}"}
    async with serving(store_url, workers=0, gateway=options) as service:
        for route in SERVED:
            for shape in route.paths:
                path = shape.format_map(ADDRESS)
                preflight = await asked(
                    *(service.client, "OPTIONS", path),
                    Origin=PAGE,
                    Access_Control_Request_Method=route.method,
                    Access_Control_Request_Headers="authorization,idempotency-key",
                )
                assert preflight.status == 204, path
                told = preflight.headers
                assert told["Access-Control-Allow-Origin"] == PAGE
                assert route.method in told["Access-Control-Allow-Methods"].split(", ")
                assert told["Access-Control-Allow-Headers"] == "Authorization, *"
                assert told["Access-Control-Max-Age"] == "7200"
                answer = await asked(service.client, route.method, path, Origin=PAGE)
                assert answer.headers["Access-Control-Allow-Origin"] == PAGE, path
                assert answer.headers["Access-Control-Expose-Headers"] == "*"
                assert "Origin" in answer.headers["Vary"]
                assert "Access-Control-Allow-Credentials" not in answer.headers


async def test_a_page_that_may_ask_reads_problems_and_streams_too(store_url: str) -> None:
    async with serving(store_url, gateway={"cors_origins": PAGE}) as service:
        client = service.client
        context_id = await client.create()
        for path in (f"/api/contexts/{context_id}/events", "/api/contexts/x", "/nowhere"):
            answer = await asked(client, "GET", path, Origin=PAGE)
            assert answer.headers["Access-Control-Allow-Origin"] == PAGE
        unasked = await asked(client, "GET", "/healthz")
        assert "Access-Control-Allow-Origin" not in unasked.headers
        assert unasked.headers["Vary"] == "Origin"


OTHERS: Final = (
    "https://evil.example",
    "http://chat.example",
    "https://chat.example:8443",
    "https://chat.example.evil.example",
    "https://evil-chat.example",
    "https://chat.example/",
    "https://chat.example, https://evil.example",
    "null",
    "",
    "file://",
    "*",
    "http://127.0.0.1",
    "http://localhost:1",
)


@pytest.mark.parametrize("listed", ["", PAGE])
async def test_a_page_of_another_origin_is_refused_whatever_it_asks(
    store_url: str, listed: str
) -> None:
    async with serving(store_url, workers=0, gateway={"cors_origins": listed}) as service:
        client = service.client
        for origin in OTHERS:
            for method, path in (
                ("POST", "/api/contexts"),
                ("GET", "/api/contexts"),
                ("OPTIONS", "/api/contexts"),
                ("POST", "/admin/restart"),
                ("POST", "/v1/conversations"),
                ("GET", "/nowhere"),
            ):
                for site in ({}, {"Sec_Fetch_Site": "cross-site"}):
                    headers = {"Origin": origin, "Content_Type": "text/plain", **site}
                    answer = await asked(client, method, path, **headers)
                    assert answer.status == 403, (origin, method, path)
                    assert b"origin-not-allowed" in answer.body
                    assert "Access-Control-Allow-Origin" not in answer.headers
        assert (await client.get("/api/contexts")).json["contexts"] == []


@pytest.mark.parametrize(
    "sent", [b"\xff\xfe", "https://\u0441hat.example".encode(), b"x" * 8_000]
)
async def test_an_origin_that_is_no_text_is_refused_like_any_other(
    store_url: str, sent: bytes
) -> None:
    async with serving(store_url, workers=0) as service, raw(service) as (reader, writer):
        head = b"POST /api/contexts HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        writer.write(head + b"Origin: " + sent + b"\r\n\r\n")
        assert problem_in(await rest(reader)) == (403, "origin-not-allowed")


async def test_the_gateways_own_pages_may_ask(store_url: str) -> None:
    async with serving(store_url, workers=0) as service:
        client = service.client
        own = client.url.replace("127.0.0.1", "localhost")
        port = own.rpartition(":")[2]
        for headers in (
            {"Origin": client.url},
            {"Origin": own, "Host": f"localhost:{port}"},
            {"Origin": PAGE, "Sec_Fetch_Site": "same-origin"},
            {"Sec_Fetch_Site": "none"},
            {},
        ):
            assert (await asked(client, "GET", "/api/contexts", **headers)).status == 200
        # Another port is another origin.
        foreign = await asked(client, "GET", "/api/contexts", Origin=own)
        assert foreign.status == 403


async def test_behind_a_proxy_the_public_name_is_the_gateways_own(store_url: str) -> None:
    options: Options = {**KEYS, "public_hosts": "chat.example"}
    async with serving(store_url, workers=0, gateway=options) as service:
        for host in ("chat.example", "CHAT.example:443", "127.0.0.1:8000", "[::1]"):
            answer = await asked(service.client, "GET", "/healthz", Host=host, Origin=PAGE)
            assert answer.status == 200, host


async def test_every_page_may_ask_where_the_operator_says_so_and_keys_are_asked_for(
    store_url: str,
) -> None:
    options: Options = {**KEYS, "cors_origins": "*"}
    async with serving(store_url, workers=0, gateway=options) as service:
        answer = await asked(service.client, "GET", "/api/contexts", Origin="null")
        assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (401, "*")
        assert "Access-Control-Allow-Credentials" not in answer.headers
        assert "Vary" not in answer.headers
    with pytest.raises(ValidationError, match="with auth off every page could do everything"):
        GatewayConfig(auth="off", cors_origins="*")


@pytest.mark.parametrize(
    "origin",
    [
        *("chat.example", "https://chat.example/", "https://chat.example/path", "null"),
        *("https://CHAT.example", "https://chat.example:443", "http://chat.example:80"),
        *("https://*.chat.example", "https://me@chat.example", "https://"),
    ],
)
def test_an_origin_that_no_browser_sends_is_refused_at_the_start(origin: str) -> None:
    with pytest.raises(ValidationError, match="cors_origins: "):
        GatewayConfig(cors_origins=origin)
    listed = "http://localhost:3000,https://[::1]:8443,capacitor://localhost"
    assert GatewayConfig(cors_origins=listed).cors_origins == listed


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:1"])
async def test_a_socket_is_opened_to_no_page_of_another_origin(
    store_url: str, origin: str
) -> None:
    async with serving(store_url, gateway={"cors_origins": PAGE}) as service:
        client = service.client
        context_id = await client.create()
        url = f"{client.url}/api/contexts/{context_id}/ws"
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with client.session.ws_connect(url, origin=origin):
                pass
        assert refused.value.status == 403
        for headers in ({}, {"Origin": PAGE}, {"Origin": client.url}):
            async with client.session.ws_connect(url, headers=headers) as socket:
                assert (await socket.receive_json())["event"] == "hello"


# Names that the gateway is asked under


@pytest.mark.parametrize(
    "host",
    [
        *(
            "evil.example",
            "evil.example:80",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
        ),
        *("evil@localhost", "localhost, evil.example", "2130706433", "[evil]", "x:y:z"),
    ],
)
async def test_a_name_that_is_made_to_mean_this_machine_opens_nothing_without_keys(
    store_url: str, host: str
) -> None:
    async with serving(store_url, workers=0) as service:
        page = f"http://{host}"
        for headers in (
            {"Host": host},
            # To the browser that page and we are of one origin.
            {"Host": host, "Origin": page, "Sec_Fetch_Site": "same-origin"},
        ):
            answer = await asked(service.client, "POST", "/api/contexts", **headers)
            assert answer.status == 421
            assert b"/problems/misdirected" in answer.body
        assert (await service.client.get("/api/contexts")).json["contexts"] == []


async def test_this_machine_is_asked_by_address_or_as_localhost(store_url: str) -> None:
    async with serving(store_url, workers=0) as service:
        for host in ("localhost", "LOCALHOST:8000", "127.0.0.1", "[::1]:8000", "192.0.2.7"):
            answer = await asked(service.client, "GET", "/api/contexts", Host=host)
            assert answer.status == 200, host
        async with raw(service) as (reader, writer):
            writer.write(b"GET /healthz HTTP/1.0\r\n\r\n")  # as checks of proxies ask
            assert b" 200 OK\r\n" in await rest(reader)


async def test_with_keys_any_name_will_do_until_the_operator_names_them(store_url: str) -> None:
    async with serving(store_url, workers=0, gateway=KEYS) as service:
        assert (
            await asked(service.client, "GET", "/healthz", Host="any.example")
        ).status == 200
    options: Options = {**KEYS, "public_hosts": "chat.example, api.example"}
    async with serving(store_url, workers=0, gateway=options) as service:
        for host, status in (("api.example", 200), ("any.example", 421), ("127.0.0.1", 200)):
            answer = await asked(service.client, "GET", "/healthz", Host=host)
            assert answer.status == status, host


@pytest.mark.parametrize("host", ["chat.example:443", "https://chat.example", "*", "a/b"])
def test_names_that_are_none_are_refused_at_the_start(host: str) -> None:
    with pytest.raises(ValidationError, match="public_hosts: "):
        GatewayConfig(public_hosts=host)


# Forms


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"],
)
async def test_a_form_changes_nothing_wherever_it_stands(store_url: str, kind: str) -> None:
    async with serving(store_url, workers=0) as service:
        client = service.client
        for origin, status in (("https://evil.example", 403), (client.url, 415)):
            headers = {"Origin": origin, "Content-Type": kind}
            sent = b'{"title": "forged", "x": "="}'
            answer = await client.send("POST", "/api/contexts", raw=sent, headers=headers)
            assert answer.status == status
        assert (await client.get("/api/contexts")).json["contexts"] == []


# Headers that clients would like to add


async def test_nothing_that_a_client_sends_becomes_a_header(store_url: str) -> None:
    sent = "x%0d%0aInjected:%20yes"
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        for path in (
            f"/api/contexts/{sent}/state",
            f"/api/contexts/{context_id}/messages?branch={sent}&limit=1",
            f"/api/contexts/{context_id}/messages/{sent}",
            f"/api/contexts?limit=1&after={sent}",
            f"/api/actions/{sent}",
            f"/api/notes?after={sent}",
            f"/problems/{sent}",
            f"/v1/responses/{sent}",
            f"/admin/restarts/{sent}",
            f"/{sent}",
        ):
            for method in ("GET", "OPTIONS", "DELETE"):
                async with raw(service) as (reader, writer):
                    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n"
                    writer.write(f"{head}Connection: close\r\n\r\n".encode())
                    answer = await rest(reader)
                status = int(answer.split(b" ")[1])
                assert 200 <= status < 500, (method, path, answer)
                assert (
                    re.search(rb"^injected:", answer, re.MULTILINE | re.IGNORECASE) is None
                ), (method, path)
        named = await client.act(context_id, "create_branch", {"name": "a\x0b\u2028b; é"})
        assert named.status == 200
        await client.act(context_id, "rename", {"title": "x\r\nInjected: yes"})
        for key in ("k\tk", "é"):
            refused = await client.act(context_id, "pin", {}, Idempotency_Key=key)
            assert (refused.status, refused.problem) == (400, "invalid-header")
        page = await asked(
            client,
            "GET",
            f"/api/contexts/{context_id}/messages?branch=a%0b%e2%80%a8b;%20%c3%a9",
        )
        assert page.status == 200


async def test_a_session_that_is_named_in_a_header_is_named_safely(store_url: str) -> None:
    async with serving(store_url) as service:
        body = {"query": "Hello", "session_id": "x\r\nInjected: yes"}
        answer = await service.client.send("POST", "/api/chat/text", body)
        assert (answer.status, answer.problem) == (422, "invalid-body")
        headers = {"Contextd-Context-Id": "x"}
        asking = {"model": "scripted", "messages": [{"role": "user", "content": "x"}]}
        async with service.client.session.post(
            f"{service.client.url}/v1/chat/completions", json=asking, headers=headers
        ) as response:
            assert response.status == 404


async def test_headers_that_are_no_text_are_answered_without_a_fault_of_ours(
    store_url: str,
) -> None:
    names = (
        *("Prefer", "Idempotency-Key", "If-Match", "If-None-Match", "Last-Event-ID", "Accept"),
        *("Content-Type", "Content-Encoding", "Authorization", "Contextd-Context-Id", "X"),
        *("X-Forwarded-For", "Cache-Control", "Cookie", "Upgrade", "Range"),
    )
    for options in ({}, {**KEYS, "trusted_proxies": "127.0.0.1"}):
        async with serving(store_url, workers=0, gateway=options) as service:
            for line in (
                *("GET /api/contexts", "GET /docs", "GET /problems/not-found"),
                *("POST /api/contexts/x/actions/pause", "POST /v1/chat/completions"),
            ):
                for name in names:
                    async with raw(service) as (reader, writer):
                        head = f"{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                        writer.write(f"{head}{name}: ".encode() + b"\xffwait=\xff\r\n\r\n")
                        answer = await rest(reader)
                    assert 200 <= int(answer.split(b" ")[1]) < 500, (line, name, answer)
