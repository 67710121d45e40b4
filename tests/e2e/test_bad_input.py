"""Bad input against the running service: a clear 4xx, nothing changed, nobody hurt."""

import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from tests.support.http_client import HttpClient, Json
from tests.support.service_processes import Service

pytestmark = pytest.mark.timeout(240)

UNKNOWN_ID = "01932c5e-7a10-7c3b-9d2e-5f6071829304"
ANSWER_S_MAX = 5.0
SILENCE_S_MAX = 0.5


@dataclass(frozen=True, slots=True)
class Target:
    """A context at rest on a running service."""

    service: Service
    client: HttpClient
    context_id: str

    async def post(self, path: str, raw: bytes, **headers: str) -> tuple[int, Json]:
        """The status, and the problem that must come with it."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        reply = await self.client.request("POST", path, raw=raw, headers=named)
        return reply.status, reply.body

    @property
    def sending(self) -> str:
        return f"/api/contexts/{self.context_id}/actions/send_message"


@pytest.fixture
async def target(shared_service: Service) -> AsyncIterator[Target]:
    """Whatever is done to it, it is the same afterwards, and so are the workers."""
    async with HttpClient(shared_service.url) as client:
        context_id = await client.create(title="Before")
        before = await client.send(context_id, "Hello", prefer="wait=20")
        workers = shared_service.processes("worker")
        yield Target(shared_service, client, context_id)
        after = await client.state(context_id)
        assert after == before.context
        assert shared_service.processes("worker") == workers
        # Alive is who still answers.
        assert (await client.send(context_id, "Still there?", prefer="wait=20")).status == 200


def is_problem(body: Json, status: int) -> bool:
    """Whether it is an RFC 9457 problem that says what to do."""
    return (
        body["status"] == status
        and body["type"].startswith("/problems/")
        and bool(body["title"])
        and len(body["detail"]) >= 10
        and "Traceback" not in body["detail"]
    )


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        pytest.param(b"", 422, id="nothing"),
        pytest.param(b"{}", 422, id="empty object"),
        pytest.param(b'{"content": ""}', 422, id="empty content"),
        pytest.param(b'{"content": "  \\n "}', 422, id="blank content"),
        pytest.param(b'{"content": []}', 422, id="no parts"),
        pytest.param(b'{"content": null}', 422, id="null content"),
        pytest.param(b'{"content": 7}', 422, id="a number"),
        pytest.param(b'{"content": "x", "colour": "red"}', 422, id="an unknown field"),
        pytest.param(b'{"content": "x", "policy": "whenever"}', 422, id="an unknown policy"),
        pytest.param(b'{"content": "x", "metadata": [1]}', 422, id="metadata that is a list"),
        pytest.param(b"[]", 422, id="a list"),
        pytest.param(b'"content"', 422, id="a string"),
        pytest.param(b"null", 422, id="null"),
        pytest.param(b"hello", 400, id="not JSON"),
        pytest.param(b'{"content": "x"', 400, id="cut JSON"),
        pytest.param(b'{"content": "x"} {}', 400, id="two values"),
        pytest.param(b"{'content': 'x'}", 400, id="single quotes"),
        pytest.param(b'{"content": "x",}', 400, id="a trailing comma"),
        pytest.param(b'{"content": NaN}', 400, id="NaN"),
        pytest.param(b'{"content": "x", "metadata": {"a": NaN}}', 400, id="NaN inside"),
        pytest.param(b'{"content": "x", "metadata": {"a": -Infinity}}', 400, id="Infinity"),
        pytest.param(b'{"content": "x", "metadata": {"a": 1e999}}', 400, id="infinite 1e999"),
        pytest.param(b'{"content": "x", "content": "y"}', 400, id="a duplicate key"),
        pytest.param(
            b'{"content": "x", "metadata": {"a": 1, "a": 2}}', 400, id="a duplicate inside"
        ),
        pytest.param(b'{"content": "\xff\xfe"}', 400, id="not UTF-8"),
        pytest.param(b"\xef\xbb\xbf{}", 400, id="a byte order mark"),
        pytest.param(b'{"content": "\\ud800"}', 400, id="half a surrogate pair"),
        pytest.param(b"\x00" * 64, 400, id="zero bytes"),
        pytest.param(b"[" * 20_000, 400, id="nested deeply"),
        pytest.param(
            b'{"content": "x", "metadata": ' + b'{"a": ' * 200 + b"1" + b"}" * 201,
            400,
            id="nested objects",
        ),
        pytest.param(b'{"content": "' + b"x" * 70_000 + b'"}', 413, id="huge"),
        pytest.param(b'{"content": "' + b"x" * 60_001 + b'"}', 422, id="long content"),
        pytest.param(
            b'{"content": "x", "metadata": {"a": ' + b"9" * 5_000 + b"}}", 400, id="9"
        ),
    ],
)
async def test_a_bad_body_is_refused(target: Target, raw: bytes, status: int) -> None:
    got, body = await target.post(target.sending, raw)
    assert got == status, body
    assert is_problem(body, got)


@pytest.mark.parametrize(
    ("action", "raw", "status"),
    [
        pytest.param(
            "approve_tools", b'{"tool_call_ids": ["x"]}', 400, id="nothing to approve"
        ),
        pytest.param("retry", b"{}", 409, id="nothing failed"),
        pytest.param("reset", b"{}", 409, id="nothing to reset"),
        pytest.param("resume", b"{}", 409, id="not paused"),
        pytest.param("cancel", b"{}", 409, id="nothing runs"),
        pytest.param("cancel", b'{"turn_id": "x"}', 409, id="no such turn"),
        pytest.param("configure", b'{"limits": {"rounds_max": 0}}', 422, id="bad limits"),
        pytest.param("configure", b'{"colour": "red"}', 422, id="unknown setting"),
        pytest.param("rename", b'{"title": ""}', 422, id="no title"),
        pytest.param("explode", b"{}", 404, id="no such action"),
    ],
)
async def test_an_action_that_is_not_possible_now_is_refused(
    target: Target, action: str, raw: bytes, status: int
) -> None:
    got, body = await target.post(f"/api/contexts/{target.context_id}/actions/{action}", raw)
    assert got == status, body
    assert is_problem(body, got)
    if status == 409:
        assert body["phase"] == "idle"
        assert "send_message" in body["allowed_actions"]
    if action == "approve_tools":
        assert body["detail"] == "No pending tool approvals"


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("Idempotency-Key", "k" * 256, 400),
        ("Prefer", "wait=soon", 400),
        ("If-Match", "nonsense", 400),
        ("If-Match", '"1.999999.0"', 412),
        ("Content-Type", "text/plain", 415),
        ("Content-Encoding", "gzip", 415),
    ],
)
async def test_a_bad_header_is_refused(
    target: Target, name: str, value: str, status: int
) -> None:
    got, body = await target.post(target.sending, b'{"content": "x"}', **{name: value})
    assert got == status, body
    assert is_problem(body, got)


@pytest.mark.parametrize(
    "context_id",
    [
        UNKNOWN_ID,
        "x",
        "%00",
        "..%2F..%2Fetc%2Fpasswd",
        "%7Bx%7D",
        "*",
        "%F0%9F%90%88",
        "a" * 2_000,
    ],
)
@pytest.mark.parametrize("path", ["", "/state", "/events"])
async def test_a_context_that_is_not_there_is_not_found(
    target: Target, context_id: str, path: str
) -> None:
    status, body = raw_request(
        target.service.port, b"GET", f"/api/contexts/{context_id}{path}".encode()
    )
    assert status in {400, 404, 414}, body


@pytest.mark.parametrize(
    "path",
    [
        b"/api/contexts/../../etc/passwd",
        b"/api/contexts/%2e%2e/%2e%2e/etc/passwd/state",
        b"/api/contexts/..%5c..%5cwindows/state",
        b"//etc/passwd",
        b"/api/contexts//state",
        b"/api/contexts/x/../y/state",
        b"/api/contexts/%/state",
        b"/api/contexts/%zz/state",
        b"/api/contexts/%c0%ae%c0%ae/state",
        b"/api/contexts/ctx:{x}:meta/state",
        b"/api/contexts/\xff\xfe/state",
        b"/api/contexts/x\r\nHost: evil/state",
        b"/api/actions/x.y",
        b"/api/actions/..%2f..%2f1",
        b"/api/contexts/x/state?messages=-1",
        b"/api/contexts?limit=-1",
        b"/api/contexts?limit=1e9",
        b"/docs/../../pyproject.toml",
        b"/docs/%2e%2e/%2e%2e/pyproject.toml",
        b"/static/..%2f..%2fpyproject.toml",
    ],
)
async def test_a_path_with_tricks_is_a_4xx(target: Target, path: bytes) -> None:
    status, body = raw_request(target.service.port, b"GET", path)
    assert 400 <= status <= 499, body
    assert b"Traceback" not in body
    assert b"[project]" not in body


@pytest.mark.parametrize(
    "request_bytes",
    [
        pytest.param(b"GARBAGE\r\n\r\n", id="no HTTP"),
        pytest.param(b"GET / HTTP/9.9\r\n\r\n", id="a version to come"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01", id="TLS"),
        pytest.param(
            b"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", id="-1"
        ),
        pytest.param(
            b"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n{}",
            id="two lengths",
        ),
        pytest.param(
            b"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n{}\r\n0\r\n\r\n",
            id="a chunk without a size",
        ),
        pytest.param(
            b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
            id="long header",
        ),
    ],
)
async def test_bytes_that_are_no_request_are_refused(
    target: Target, request_bytes: bytes
) -> None:
    sent = request_bytes.replace(b"{path}", target.sending.encode())
    answer = raw_exchange(target.service.port, sent)
    # A server may also just hang up on what is no HTTP.
    assert answer == b"" or answer.split(b" ", 2)[1].startswith(b"4"), answer[:200]


async def test_bodies_that_end_early_or_never_begin_change_nothing(target: Target) -> None:
    head = f"POST {target.sending} HTTP/1.1\r\nHost: localhost\r\n"
    head += "Content-Type: application/json\r\n"
    for length, part in ((100, b'{"content": "half'), (2_000_000_000, b"")):
        sent = f"{head}Content-Length: {length}\r\n\r\n".encode() + part
        with socket.create_connection(("127.0.0.1", target.service.port)) as connection:
            connection.sendall(sent)


async def test_a_bad_creation_makes_nothing(target: Target) -> None:
    async def ids() -> list[str]:
        reply = await target.client.request("GET", "/api/contexts?limit=200")
        return [context["id"] for context in reply.body["contexts"]]

    before = await ids()
    for raw in (b"[]", b"{", b'{"title": 1}', b'{"config": {"limits": {"tools_max": -1}}}'):
        status, body = await target.post("/api/contexts", raw)
        assert status in {400, 422}, body
    status, body = await target.post("/api/contexts", b'{"message": {"content": ""}}')
    assert status == 422, body
    assert await ids() == before


async def test_another_body_under_the_same_key_is_refused(target: Target) -> None:
    first = await target.client.act(target.context_id, "rename", {"title": "Before"}, key="k")
    assert first.status == 200
    again = await target.client.act(target.context_id, "rename", {"title": "Other"}, key="k")
    assert again.status == 422
    assert is_problem(again.body, 422)


def raw_request(port: int, method: bytes, path: bytes) -> tuple[int, bytes]:
    """A request whose path nobody has normalised; status and the answer."""
    head = method + b" " + path + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    answer = raw_exchange(port, head)
    assert answer, "the gateway hung up"
    return int(answer.split(b" ", 2)[1]), answer


def raw_exchange(port: int, sent: bytes) -> bytes:
    """Send bytes and read what is answered, to the end of the connection or of its words."""
    with socket.create_connection(("127.0.0.1", port), timeout=ANSWER_S_MAX) as connection:
        parts: list[bytes] = []
        try:
            connection.sendall(sent)
            while part := connection.recv(65_536):
                parts.append(part)
                # What was no request may leave the connection open.
                connection.settimeout(SILENCE_S_MAX)
        except (ConnectionResetError, BrokenPipeError, TimeoutError):
            pass
    return b"".join(parts)
