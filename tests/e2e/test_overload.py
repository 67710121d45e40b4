"""P12: crowds of idle viewers and of half-open connections, against real processes."""

import asyncio
import contextlib
import resource
import statistics
import time
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from tests.support.http_client import HttpClient
from tests.support.service_processes import Service, until

pytestmark = pytest.mark.timeout(240)

VIEWERS = 500
HALF_OPEN = 500
VIEWER_BYTES_MAX = 40_000
"""Memory that one idle viewer may cost the gateway; some 12 KB were measured."""
CROWD_BYTES_MAX = 40_000_000
"""Memory that all the half-open connections together may cost it."""
HONEST_S_MAX = 1.0
"""Median time of an honest action beside them, on a busy machine."""
HONEST_P99_S_MAX = 0.25
"""The slowest but one in a hundred of them, on a machine that has nothing else to do."""

Wire = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def resident_bytes(process_id: int) -> int:
    """Memory of a process that is in use."""
    pages = int(Path(f"/proc/{process_id}/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def open_files(process_id: int) -> int:
    return len(list(Path(f"/proc/{process_id}/fd").iterdir()))


@contextlib.asynccontextmanager
async def crowd(port: int, count: int, sent: bytes) -> AsyncGenerator[list[Wire]]:
    """So many connections, each of which has sent the same."""
    wires: list[Wire] = []
    try:
        for _ in range(count):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=4_096)
            writer.write(sent)
            wires.append((reader, writer))
        yield wires
    finally:
        for _, writer in wires:
            writer.close()


async def honest_s(client: HttpClient, context_id: str) -> float:
    """Median time of ten honest actions, all of them served."""
    return statistics.median(await each_s(client, context_id, 10))


async def each_s(client: HttpClient, context_id: str, count: int) -> list[float]:
    """How long honest actions take, one after the other, all of them served."""
    took_s: list[float] = []
    for number in range(count):
        began_s = time.monotonic()
        reply = await client.act(context_id, "rename", {"title": f"honest {number}"})
        assert reply.status == 200
        took_s.append(time.monotonic() - began_s)
    return took_s


@pytest.mark.slow  # a whole service
async def test_p12_idle_viewers_cost_little_and_each_of_them_hears_what_comes() -> None:
    with Service(scripted_chunk_ms=0, applied_s_max=20, sse_heartbeat_s=2) as service:
        (gateway,) = service.processes("gateway")
        async with HttpClient(service.url) as client:
            context_id = await client.create()
            alone_s = await honest_s(client, context_id)
            before = resident_bytes(gateway)
            asked = f"GET /api/contexts/{context_id}/events HTTP/1.1\r\nHost: localhost\r\n\r\n"
            async with crowd(service.port, VIEWERS, asked.encode()) as wires:
                async with asyncio.timeout(60):
                    for reader, _ in wires:
                        await reader.readuntil(b"event: snapshot")
                each_bytes = (resident_bytes(gateway) - before) / VIEWERS
                beside_s = await honest_s(client, context_id)
                async with asyncio.timeout(60):
                    for reader, _ in wires:
                        await reader.readuntil(b'"honest 9"')
            print(  # noqa: T201 - numbers to report
                f"{VIEWERS} viewers, {each_bytes / 1000:.1f} KB each; "
                f"an action takes {beside_s * 1000:.1f} ms, alone {alone_s * 1000:.1f} ms"
            )
            assert each_bytes < VIEWER_BYTES_MAX
            assert beside_s < HONEST_S_MAX


POST = b"POST /api/contexts HTTP/1.1\r\nHost: localhost\r\n"
ATTACKS = {
    "half a head": POST,
    "half a body": POST + b"Content-Length: 9999\r\n\r\n{",
    "endless body": POST + b"Transfer-Encoding: chunked\r\n\r\n4000\r\n" + b"x" * 0x4002,
}


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.slow  # a whole service
async def test_p12_half_open_requests_are_ended_and_honest_clients_served_meanwhile(
    attack: str,
) -> None:
    with Service(scripted_chunk_ms=0, applied_s_max=20, head_s_max=2, body_s_max=2) as service:
        (gateway,) = service.processes("gateway")
        async with HttpClient(service.url) as client:
            context_id = await client.create()
            await honest_s(client, context_id)
            files, before = open_files(gateway), resident_bytes(gateway)
            async with crowd(service.port, HALF_OPEN, ATTACKS[attack]) as wires:
                beside_s = await honest_s(client, context_id)
                peak_bytes = resident_bytes(gateway) - before
                async with asyncio.timeout(30):
                    for reader, _ in wires:
                        with contextlib.suppress(ConnectionError):
                            while await reader.read(65_536):
                                pass
                # They were ended from the other side: these are still open here.
                until(lambda: open_files(gateway) <= files, "their connections are closed")
            print(  # noqa: T201 - numbers to report
                f"{attack}: {HALF_OPEN} at once cost {peak_bytes / 1e6:.1f} MB; "
                f"an action takes {beside_s * 1000:.1f} ms"
            )
            assert peak_bytes < CROWD_BYTES_MAX
            assert beside_s < HONEST_S_MAX
            listed = await client.request("GET", "/api/contexts")
            assert [one["id"] for one in listed.body["contexts"]] == [context_id]


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.slow  # a whole service
async def test_p12_an_honest_client_waits_no_quarter_of_a_second_beside_slow_ones(
    attack: str, pytestconfig: pytest.Config
) -> None:
    if not pytestconfig.getoption("--long"):
        pytest.skip("a time, so it needs the machine for itself: --long")
    with Service(scripted_chunk_ms=0, applied_s_max=20, head_s_max=2, body_s_max=2) as service:
        async with HttpClient(service.url) as client:
            context_id = await client.create()
            await honest_s(client, context_id)
            # Those that are ended come again, at once.
            took_s: list[float] = []
            while len(took_s) < 600:
                async with crowd(service.port, HALF_OPEN, ATTACKS[attack]):
                    took_s += await each_s(client, context_id, 200)
            p99_s = statistics.quantiles(took_s, n=100)[98]
            print(  # noqa: T201 - numbers to report
                f"{attack}: p99 of an action is {p99_s * 1000:.1f} ms"
            )
            assert p99_s < HONEST_P99_S_MAX


@pytest.mark.slow  # a whole service
async def test_p12_a_full_gateway_says_so_and_goes_on_serving_those_it_has() -> None:
    with Service(scripted_chunk_ms=0, applied_s_max=20, connections_max=50) as service:
        async with HttpClient(service.url) as client:
            context_id = await client.create()
            asked = f"GET /api/contexts/{context_id}/events HTTP/1.1\r\nHost: localhost\r\n\r\n"
            async with crowd(service.port, 60, asked.encode()) as wires:
                answers: list[bytes] = []
                async with asyncio.timeout(30):
                    for reader, _ in wires:
                        with contextlib.suppress(ConnectionError):
                            answers.append(await reader.readline())
                assert answers.count(b"HTTP/1.1 200 OK\r\n") <= 50
                assert answers.count(b"HTTP/1.1 503 Service Unavailable\r\n") >= 10
                assert await honest_s(client, context_id) < HONEST_S_MAX
