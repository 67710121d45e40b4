"""P12: slow, greedy and broken clients cost a bounded time and a bounded place."""

import asyncio
import contextlib
import socket
import time
import zlib

import aiohttp
import orjson
import pytest
import structlog

from gateway.connection import Connection
from tests.gateway.bare import ENDED_S_MAX, problem_in, raw, rest
from tests.support.service import Client, eventually, serving

HONEST_S_MAX = 2.0
"""So long an honest request may take beside the others, on a busy machine."""
HALF_OPEN = 200
UPGRADE = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


async def assert_served(client: Client, context_id: str) -> None:
    """An honest client is served as if it were alone."""
    began_s = time.monotonic()
    answer = await client.act(context_id, "rename", {"title": "honest"})
    assert answer.status == 200
    assert time.monotonic() - began_s < HONEST_S_MAX


async def assert_given_up(writer: asyncio.StreamWriter) -> None:
    """The server ends a connection whose answer nobody takes."""

    async def given_up() -> bool:
        writer.write(b"X")
        return writer.transport.is_closing()

    await eventually(given_up)


HEADS = {
    "nothing": b"",
    "half a line": b"GET /heal",
    "half a head": b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n",
}


@pytest.mark.parametrize("head", HEADS)
async def test_p12_half_a_head_costs_a_connection_for_the_time_of_a_head(
    store_url: str, head: str
) -> None:
    async with serving(store_url, gateway={"head_s_max": 2}) as service:
        context_id = await service.client.create()
        async with contextlib.AsyncExitStack() as stack:
            readers: list[asyncio.StreamReader] = []
            for _ in range(HALF_OPEN):
                reader, writer = await stack.enter_async_context(raw(service))
                writer.write(HEADS[head])
                readers.append(reader)
            began_s = time.monotonic()
            await assert_served(service.client, context_id)
            answers = [await rest(reader) for reader in readers]
            assert time.monotonic() - began_s < ENDED_S_MAX
        if head == "nothing":
            assert set(answers) == {b""}
        else:
            assert {problem_in(answer) for answer in answers} == {(408, "request-timeout")}


async def test_p12_a_head_that_drips_in_is_not_waited_for(store_url: str) -> None:
    bounds = {"head_s_max": 0.5}
    async with serving(store_url, gateway=bounds) as service, raw(service) as (reader, writer):
        began_s = time.monotonic()
        writer.write(b"GET /healthz HTTP/1.1\r\n")

        async def drip() -> bool:
            writer.write(b"X: y\r\n")
            return reader.at_eof() or bool(await _peek(reader))

        with contextlib.suppress(ConnectionError):
            await eventually(drip)
        assert 0.4 < time.monotonic() - began_s < ENDED_S_MAX


async def _peek(reader: asyncio.StreamReader) -> bytes:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.05):
            return await reader.read(1)
    return b""


async def test_p12_the_next_request_of_a_connection_has_the_same_time(store_url: str) -> None:
    bounds = {"head_s_max": 0.5, "idle_s_max": 60}
    async with serving(store_url, gateway=bounds) as service, raw(service) as (reader, writer):
        whole = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
        for _ in range(2):
            writer.write(whole)
            assert b'{"status":"ok"}' in await reader.readuntil(b"}")
        # Between two requests it may rest for longer than a head may take.
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.2):
                await reader.read(1)
        writer.write(whole)
        assert b'{"status":"ok"}' in await reader.readuntil(b"}")
        writer.write(whole[:20])
        assert problem_in(await rest(reader)) == (408, "request-timeout")


async def test_p12_a_connection_without_a_request_ends(store_url: str) -> None:
    bounds = {"idle_s_max": 0.5}
    async with serving(store_url, gateway=bounds) as service, raw(service) as (reader, writer):
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await rest(reader)).endswith(b'{"status":"ok"}')


@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_p12_half_a_body_costs_a_connection_for_the_time_of_a_body(
    store_url: str, method: str
) -> None:
    async with serving(store_url, gateway={"body_s_max": 0.5}) as service:
        client = service.client
        context_id = await client.create()
        before = await client.state(context_id)
        path = f"/api/contexts/{context_id}"
        path += "/actions/send_message" if method == "POST" else ""
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        )
        async with contextlib.AsyncExitStack() as stack:
            half_open = [
                await stack.enter_async_context(raw(service)) for _ in range(HALF_OPEN)
            ]
            for _, writer in half_open:
                writer.write(f'{head}Content-Length: 99\r\n\r\n{{"content": "'.encode())
            answers = [await rest(reader) for reader, _ in half_open]
        assert {problem_in(answer) for answer in answers} == {(408, "request-timeout")}
        assert all(b"Connection: close" in answer for answer in answers)
        assert await client.state(context_id) == before
        await assert_served(client, context_id)


async def test_p12_a_body_that_is_too_large_is_refused_before_it_is_sent(
    store_url: str,
) -> None:
    async with serving(store_url) as service:
        context_id = await service.client.create()
        path = f"/api/contexts/{context_id}/actions/send_message"
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2000000000\r\n\r\n"
        async with raw(service) as (reader, writer):
            writer.write(head.encode())
            assert problem_in(await rest(reader)) == (413, "body-too-large")


async def test_p12_a_body_without_a_length_is_read_no_further_than_the_bound(
    store_url: str,
) -> None:
    async with serving(store_url) as service:
        context_id = await service.client.create()
        path = f"/api/contexts/{context_id}/actions/send_message"
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        async with raw(service) as (reader, writer):
            writer.write(head.encode() + 2 * chunk)
            # The body has no end, and nobody waits for one.
            assert problem_in(await rest(reader)) == (413, "body-too-large")


@pytest.mark.parametrize(
    "encoding", ["gzip", "deflate", "br", "zstd", "GZip", "identity, gzip"]
)
async def test_p12_a_compressed_body_is_refused_and_never_unpacked(
    store_url: str, encoding: str
) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    bomb = packer.compress(b'{"content": "' + b"x" * 30_000_000) + packer.flush()
    assert len(bomb) < 65_536
    async with serving(store_url) as service:
        context_id = await service.client.create()
        path = f"/api/contexts/{context_id}/actions/send_message"
        head = (
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Encoding: {encoding}\r\nContent-Length: {len(bomb)}\r\n"
            "Connection: close\r\n\r\n"
        )
        async with raw(service) as (reader, writer):
            writer.write(head.encode() + bomb)
            assert problem_in(await rest(reader)) == (415, "unsupported-media-type")


async def test_p12_a_head_is_waited_for_up_to_its_bound(store_url: str) -> None:
    bounds = {"head_bytes_max": 4_096}
    async with serving(store_url, gateway=bounds) as service, raw(service) as (reader, writer):

        async def send(lines: int) -> None:
            for piece in (b"GET /healthz HTTP/1.1\r\n", *lines * [b"X: %s\r\n" % (b"y" * 995)]):
                writer.write(piece)
                await writer.drain()
                # By then the piece has been read: the next one comes by itself.
                await service.client.get("/healthz")

        for _ in range(2):
            await send(4)
            writer.write(b"Host: localhost\r\n\r\n")
            assert b'{"status":"ok"}' in await reader.readuntil(b"}")
        await send(5)
        assert problem_in(await rest(reader)) == (431, "head-too-large")


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (b"GARBAGE\r\n\r\n", (400, "malformed-request")),
        (b"GET / HTTP/9.9\r\n\r\n", (400, "malformed-request")),
        (b"GET / HTTP/1.1\r\nHo st: x\r\n\r\n", (400, "malformed-request")),
        (b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n", (431, "head-too-large")),
        (b"GET / HTTP/1.1\r\nX: " + b"y" * 20_000 + b"\r\n\r\n", (431, "head-too-large")),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 129 + b"\r\n", (431, "head-too-large")),
    ],
)
async def test_what_is_no_request_is_told_so_as_a_problem(
    store_url: str, sent: bytes, told: tuple[int, str]
) -> None:
    async with serving(store_url, workers=0) as service, raw(service) as (reader, writer):
        writer.write(sent)
        assert problem_in(await rest(reader)) == told


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /api/events?contexts=%s HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /api/v1/ws/dashboard HTTP/1.1\r\nHost: localhost\r\n" + UPGRADE,
        b"POST /%s HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n\r\n",
    ],
)
async def test_a_client_that_goes_while_its_answer_begins_is_no_fault_of_ours(
    store_url: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    sent: bytes,
) -> None:
    def gone(*_: object) -> None:
        raise aiohttp.ClientConnectionResetError("Cannot write to closing transport")

    async with serving(store_url, workers=0) as service:
        context_id = await service.client.create()
        with monkeypatch.context() as broken, structlog.testing.capture_logs() as lines:
            broken.setattr("aiohttp.http_writer.StreamWriter._write", gone)
            async with raw(service) as (reader, writer):
                writer.write(sent.replace(b"%s", context_id.encode()))
                assert await rest(reader) == b""
        assert [line for line in lines if line["log_level"] == "error"] == []
        assert caplog.records == []
        counted = (await service.client.get("/api/v1/metrics/activity")).json
        assert counted["error_types"] == {}


async def test_a_body_that_comes_at_once_with_its_head_is_no_part_of_the_head(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Connection.data_received

    def in_two(self: Connection, data: bytes) -> None:
        # libuv reads on before the request that has come is begun.
        head, end, body = data.partition(b"\r\n\r\n")
        whole(self, head + end)
        if body:
            whole(self, body)

    async with serving(store_url, workers=0) as service:
        context_id = await service.client.create()
        monkeypatch.setattr(Connection, "data_received", in_two)
        said = orjson.dumps({"content": "x" * 50_000})
        asked = f"POST /api/contexts/{context_id}/actions/send_message HTTP/1.1\r\n"
        lines = (
            f"Host: localhost\r\nPrefer: respond-async\r\nContent-Length: {len(said)}\r\n\r\n"
        )
        async with raw(service) as (reader, writer):
            for _ in range(2):
                writer.write((asked + lines).encode() + said)
                answer = await reader.readuntil(b"}}")
                assert answer.startswith(b"HTTP/1.1 202 "), answer


async def test_p12_connections_beyond_the_bound_are_told_to_come_again(store_url: str) -> None:
    async with serving(store_url, gateway={"connections_max": 5}) as service:
        whole = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(5):
                reader, writer = await stack.enter_async_context(raw(service))
                writer.write(whole)
                assert b'{"status":"ok"}' in await reader.readuntil(b"}")
            async with raw(service) as (reader, writer):
                writer.write(whole)
                answer = await rest(reader)
                assert problem_in(answer) == (503, "too-many-connections")
                assert b"\r\nRetry-After: 2\r\n" in answer
            # Those that were told wait for nothing, however many they are.
            silent = [await stack.enter_async_context(raw(service)) for _ in range(100)]
            for reader, _ in silent:
                assert await rest(reader) == b""

        async def served() -> bool:
            answer = await service.client.get("/healthz")
            return answer.status == 200

        await eventually(served)


async def test_p12_connections_that_come_at_once_are_no_more_than_there_may_be(
    store_url: str,
) -> None:
    async with serving(store_url, workers=0, gateway={"connections_max": 3}) as service:
        port = int(service.client.url.rpartition(":")[2])
        # All of them before the gateway, which runs on this loop, looks at the first.
        opened = [socket.create_connection(("127.0.0.1", port)) for _ in range(12)]
        statuses: list[int] = []
        with contextlib.ExitStack() as stack:
            for one in opened:
                reader, writer = await asyncio.open_connection(sock=one)
                stack.callback(writer.close)
                writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
                statuses.append(int((await reader.readuntil(b"\r\n\r\n")).split(b" ")[1]))
        assert statuses == [200] * 3 + [503] * 9


async def test_p12_an_address_has_so_many_connections_and_gets_room_back(
    store_url: str,
) -> None:
    async with serving(store_url, gateway={"connections_per_address_max": 3}) as service:
        whole = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(3):
                reader, writer = await stack.enter_async_context(raw(service))
                writer.write(whole)
                assert b'{"status":"ok"}' in await reader.readuntil(b"}")
            for _ in range(3):
                async with raw(service) as (reader, writer):
                    writer.write(whole)
                    assert problem_in(await rest(reader)) == (503, "too-many-connections")

        async def served() -> bool:
            return (await service.client.get("/healthz")).status == 200

        await eventually(served)


async def test_p12_an_answer_that_nobody_takes_is_given_up(store_url: str) -> None:
    async with serving(store_url, gateway={"answer_stalled_s_max": 0.3}) as service:
        client = service.client
        context_id = await client.create()
        # More than what fits into the buffers of the system.
        await client.say(context_id, "/chunks 500000 0", Prefer="wait=60")
        path = f"/api/contexts/{context_id}".encode()
        async with raw(service, buffer_bytes=4_096) as (reader, writer):
            for _ in range(20):
                writer.write(b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % path)
            await reader.readuntil(b"\r\n\r\n")
            await assert_served(client, context_id)
            await assert_given_up(writer)


async def test_p12_an_answer_behind_a_stream_that_has_ended_is_given_up_as_well(
    store_url: str,
) -> None:
    async with serving(store_url, gateway={"answer_stalled_s_max": 0.3}) as service:
        client = service.client
        context_id, streamed = await client.create(), await client.create()
        # More than what fits into the buffers of the system.
        await client.say(context_id, "/chunks 500000 0", Prefer="wait=60")
        async with raw(service, buffer_bytes=4_096) as (reader, writer):
            path = f"/api/contexts/{streamed}/events".encode()
            writer.write(b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % path)
            await reader.readuntil(b"event: snapshot")
            await client.send("DELETE", f"/api/contexts/{streamed}")
            await reader.readuntil(b"\r\n0\r\n\r\n")

            path = f"/api/contexts/{context_id}".encode()
            for _ in range(20):
                writer.write(b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % path)
            await reader.readuntil(b"\r\n\r\n")
            await assert_given_up(writer)


async def test_p12_what_a_stream_leaves_behind_at_its_end_is_given_up(store_url: str) -> None:
    bounds = {"answer_stalled_s_max": 0.3, "body_bytes_max": 1_000_000}
    async with serving(store_url, gateway=bounds) as service:
        client = service.client
        context_id = await client.create()
        # More than what fits into the buffers of the system.
        said = [{"role": "user", "content": "x" * 50_000}] * 18
        for _ in range(10):
            recorded = await client.act(context_id, "record_messages", {"messages": said})
            assert recorded.status == 200
        async with raw(service, buffer_bytes=4_096) as (reader, writer):
            path = f"/api/contexts/{context_id}/events".encode()
            writer.write(b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % path)
            await reader.readuntil(b"event: snapshot")
            await client.send("DELETE", f"/api/contexts/{context_id}")
            await assert_given_up(writer)


async def test_a_viewer_that_reads_slowly_gets_a_snapshot_larger_than_its_bound(
    store_url: str,
) -> None:
    bounds = {"viewer_bytes_max": 4_096, "viewer_stalled_s_max": 0.5, "sse_heartbeat_s": 0.2}
    async with serving(store_url, gateway=bounds) as service:
        client = service.client
        context_id = await client.create()
        await client.say(context_id, "/chunks 500000 0", Prefer="wait=60")
        whole = await client.state(context_id)
        path = f"/api/contexts/{context_id}/events".encode()
        async with raw(service, buffer_bytes=65_536) as (reader, writer):
            writer.write(b"GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n" % path)
            seen = bytearray()
            async with asyncio.timeout(30):
                while b"\n\n: still here" not in seen:
                    piece = await reader.read(131_072)
                    assert piece, "it was dropped"
                    seen += piece
                    await asyncio.sleep(0.02)
        snapshot = bytes(seen).split(b"event: snapshot\ndata: ")[1].split(b"\n\n")[0]
        assert orjson.loads(snapshot) == whole
