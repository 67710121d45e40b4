"""All doors through a real nginx with the documented configuration, two addresses behind it."""

import asyncio
import io
from collections.abc import Iterator

import aiohttp
import orjson
import pytest

from tests.e2e.test_rolling_restart import restarted
from tests.support.http_client import HttpClient, Json
from tests.support.invariants import (
    Sent,
    answer_faults,
    everything_said,
    history_faults,
    stream_faults,
    text_faults,
)
from tests.support.nginx import PROGRAM, nginx
from tests.support.service_processes import Service, free_port, kill

pytestmark = [
    pytest.mark.skipif(PROGRAM is None, reason="no nginx here: apt install nginx-light"),
    pytest.mark.timeout(240),
]
CHUNKS = 60
CHUNK_MS = 60
"""A busy machine merges chunks; there are to be some before a cut, and after it."""
WHOLE = "".join(f"chunk {number} " for number in range(1, CHUNKS + 1))
ELSEWHERE = "127.0.0.2"
"""An address of this machine that is not the proxy's."""
FORGED = "203.0.113.7"


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """Two supervised gateways on one port and a joined one; `second_url` is nginx's."""
    with (
        Service(
            gateways=2, trusted_proxies="127.0.0.1", standby=False, applied_s_max=20
        ) as service,
        nginx(service.port, service.join_gateway()) as url,
    ):
        service.second_url = url
        yield service


async def test_a_reply_streams_as_it_comes_and_resumes_after_a_cut(service: Service) -> None:
    async with HttpClient(service.second_url) as client:
        context_id = await client.create()
        async with client.watching(context_id) as first:
            await client.send(context_id, f"/chunks {CHUNKS} {CHUNK_MS}")
            await first.until(lambda stream: len(stream.of("reply-delta")) >= 3)
        async with client.watching(context_id, cursor=first.cursor) as second:
            final = await client.rested(context_id)
            await second.until(lambda stream: stream.cursor == final["cursor"])
    frames = [*first.frames, *second.frames]
    assert [frame.data["resumed"] for frame in second.of("hello")] == [True]
    assert stream_faults(frames) == []
    assert text_faults(frames, final) == []
    assert final["messages"][-1]["content"] == WHOLE


async def test_what_comes_before_a_silence_is_not_held_back(service: Service) -> None:
    async with HttpClient(service.second_url) as client:
        context_id = await client.create()
        async with client.watching(context_id) as seen:
            await seen.until(lambda stream: stream.of("snapshot"))
            await client.send(context_id, "/chunks 2 600000", prefer="respond-async")
            await seen.until(lambda stream: stream.of("reply-delta"))
            await client.act(context_id, "cancel")
            await client.rested(context_id)


async def test_a_web_socket_takes_actions_and_shows_the_stream(service: Service) -> None:
    async with HttpClient(service.second_url) as client:
        context_id = await client.create()
        url = f"{service.second_url}/api/contexts/{context_id}/ws"
        async with client.session.ws_connect(url) as ws, asyncio.timeout(20):
            said = {"action": "send_message", "body": {"content": "Hello"}, "ref": "1"}
            await ws.send_str(orjson.dumps(said).decode())
            shown: list[Json] = []
            while not shown or shown[-1]["event"] != "reply-ended":
                shown.append(orjson.loads((await ws.receive()).data))
        final = await client.rested(context_id)
    assert [one["event"] for one in shown[:2]] == ["hello", "snapshot"]
    assert shown[-1]["data"]["text"] == final["messages"][-1]["content"]


async def test_a_long_poll_waits_for_what_comes(service: Service) -> None:
    async with HttpClient(service.second_url) as client:
        context_id = await client.create()
        etag = (await client.request("GET", f"/api/contexts/{context_id}/state")).headers[
            "ETag"
        ]
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(
                client.request(
                    "GET",
                    f"/api/contexts/{context_id}/state",
                    headers={"If-None-Match": etag, "Prefer": "wait=25"},
                )
            )
            await client.send(context_id, "Hello")
        assert waiting.result().status == 200
        assert waiting.result().headers["ETag"] != etag


async def keep_sending(
    client: HttpClient, context_id: str, sent: list[Sent], stop: asyncio.Event
) -> None:
    """Send one message after the other, each with a key and once: nginx alone may repeat it."""
    loop = asyncio.get_running_loop()
    while not stop.is_set():
        content, began_s = f"message {len(sent)}", loop.time()
        reply = await client.send(context_id, content, key=content, prefer="wait=20")
        assert reply.status in {200, 202}, reply.body
        sent.append(Sent(content, began_s, loop.time()))


async def test_p13_a_restart_under_load_is_not_noticed(service: Service) -> None:
    async with HttpClient(service.second_url) as client:
        streaming = await client.create()
        busy = [await client.create() for _ in range(3)]
        sent: dict[str, list[Sent]] = {context_id: [] for context_id in busy}
        stop = asyncio.Event()
        async with client.watching(streaming) as seen, asyncio.TaskGroup() as group:
            for context_id in busy:
                group.create_task(keep_sending(client, context_id, sent[context_id], stop))
            await client.send(streaming, "/chunks 200 40")
            await seen.until(lambda stream: len(stream.of("reply-delta")) >= 3)
            report = await restarted(client)
            stop.set()
            final = await client.rested(streaming)
            await seen.until(lambda stream: stream.cursor == final["cursor"])
        assert report["status"] == "complete"
        assert answer_faults(final) == []
        assert text_faults(seen.frames, final) == []
        assert seen.of("reset") == []
        for context_id in busy:
            state = await client.rested(context_id)
            assert len(sent[context_id]) > 5
            assert history_faults(sent[context_id], everything_said(state)) == []


@pytest.mark.parametrize("body_bytes", [70_000, 18_000_000])
async def test_what_is_too_large_is_told_as_everywhere(
    service: Service, body_bytes: int
) -> None:
    async with HttpClient(service.second_url) as client:
        context_id = await client.create()
        url = f"{service.second_url}/api/contexts/{context_id}/actions/send_message"
        body = io.BytesIO(b'{"content": "' + b"x" * body_bytes + b'"}')
        async with client.session.post(url, data=body) as response:
            problem = await response.json(content_type="application/problem+json")
    assert response.status == problem["status"] == 413
    assert problem["type"] == "/problems/body-too-large"


async def test_an_export_of_some_megabytes_reaches_the_gateway(service: Service) -> None:
    async with HttpClient(service.second_url) as client:
        url = f"{service.second_url}/api/contexts/import"
        async with client.session.post(url, data=io.BytesIO(b" " * 5_000_000)) as response:
            problem = await response.json(content_type="application/problem+json")
    assert problem["type"] != "/problems/body-too-large", problem


async def test_what_broke_off_is_repeated_elsewhere_if_it_has_a_key(service: Service) -> None:
    async def break_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        broken.append(1)
        writer.close()

    broken: list[int] = []
    async with await asyncio.start_server(break_off, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with nginx(port, service.port) as url:
            async with HttpClient(url) as client:
                plain = [await client.request("POST", "/api/contexts", {}) for _ in range(2)]
                keyed = [
                    await client.request(
                        "POST", "/api/contexts", {}, headers={"Idempotency-Key": f"nginx-{n}"}
                    )
                    for n in range(2)
                ]
    assert sorted(reply.status for reply in plain) == [201, 503]
    assert [reply.status for reply in keyed] == [201, 201]
    assert len(broken) == 2


async def test_the_audit_log_has_the_address_of_the_client_and_no_other(
    service: Service,
) -> None:
    connector = aiohttp.TCPConnector(local_addr=(ELSEWHERE, 0))
    async with HttpClient(service.second_url) as client:
        context_id = await client.create()
        url = f"{service.second_url}/api/contexts/{context_id}"
        headers = {"X-Forwarded-For": FORGED, "Forwarded": f"for={FORGED}"}
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.delete(url, headers=headers) as response,
        ):
            assert response.status == 200
        audited = (await client.request("GET", "/admin/audit?limit=200")).body["records"]
        addresses = {one["address"] for one in audited if one["target"] == context_id}
    assert addresses == {ELSEWHERE}


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "k"}])
async def test_nobody_behind_it_is_a_problem_that_says_when_to_ask_again(
    headers: dict[str, str],
) -> None:
    with nginx(free_port(), free_port()) as url:
        async with HttpClient(url) as client:
            reply = await client.request("POST", "/api/contexts", {}, headers=headers)
    assert reply.status == 503
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert reply.headers["Retry-After"] == "1"
    assert reply.body["status"] == 503


async def test_p7_killed_gateways_cost_a_reconnect_and_no_event(service: Service) -> None:
    async with HttpClient(service.second_url) as client:
        context_id = await client.create()
        async with client.watching(context_id) as seen:
            await client.send(context_id, f"/chunks {CHUNKS} {CHUNK_MS}", key="before")
            await seen.until(lambda stream: len(stream.of("reply-delta")) >= 3)
            for process_id in [*service.processes("gateway"), service.joined[0].process_id]:
                kill(process_id)
            final = await client.rested(context_id)
            await seen.until(lambda stream: stream.cursor == final["cursor"])
        # The joined one is gone for good: what is sent now goes to the others.
        for number in range(4):
            reply = await client.send(context_id, f"after {number}", key=f"after-{number}")
            assert reply.status == 200
    assert seen.connections >= 2
    assert stream_faults(seen.frames) == []
    assert text_faults(seen.frames, final) == []
    assert final["messages"][-1]["content"] == WHOLE
