"""How long a stopping gateway stays: as long as somebody may still ask it, and no longer."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest
from aiohttp import WSCloseCode

from gateway import sockets, sse
from gateway.feed import Feed
from gateway.resume import begin
from gateway.serve import LOOK_S
from gateway.stream import Frame
from storage import Store
from tests.support.service import Service, serving
from tests.support.store_server import StoreServer

LONG_S = 3_600.0


async def test_nobody_waits_where_nobody_is_connected(store_url: str) -> None:
    async with asyncio.timeout(30), serving(store_url, gateway={"farewell_s": LONG_S}):
        pass


async def test_whoever_is_connected_is_answered_and_told_that_it_ends(store_url: str) -> None:
    async with (
        asyncio.timeout(30),
        serving(store_url, gateway={"farewell_s": LONG_S}) as service,
    ):
        (client,) = service.clients
        assert (await client.get("/healthz")).status == 200  # the connection is kept
        service.stop("gateway 0")
        await asyncio.sleep(3 * LOOK_S)
        last = await client.get("/healthz")
        assert (last.status, last.headers["Connection"]) == (200, "close")


UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec_WebSocket_Version": "13",
    "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/api/contexts/{}/events", {}),
        ("/api/events?contexts={}", {}),
        ("/api/contexts/{}/ws", UPGRADE),
    ],
)
async def test_p13_a_stream_that_begins_behind_the_farewell_is_sent_elsewhere(
    path: str, headers: dict[str, str]
) -> None:
    with StoreServer() as store:
        async with serving(store.url, workers=0, gateway={"gateway_drain_s": 20.0}) as service:
            context_id = await service.client.create()
            store.pause()
            async with asyncio.TaskGroup() as group, asyncio.timeout(10):
                asked = group.create_task(
                    service.client.get(path.format(context_id), **headers)
                )
                await asyncio.sleep(LOOK_S)
                service.stop("gateway 0")
                await asyncio.sleep(LOOK_S)
                store.resume()
            answer = asked.result()
            assert (answer.status, answer.problem) == (503, "draining")


@pytest.mark.parametrize("path", ["/api/contexts/{}/events", "/api/events?contexts={}"])
async def test_p13_a_stream_that_begins_at_the_farewell_ends_with_it(
    store_url: str, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    async with serving(store_url, workers=0) as service, asyncio.timeout(30):
        client = service.client
        context_id = await client.create()
        monkeypatch.setattr(sse, "begin", stopping_behind(service))
        shown = (await client.get(path.format(context_id))).body
        assert [line for line in shown.split(b"\n") if line.startswith(b"event:")] == [
            *(b"event: hello", b"event: snapshot", b"event: bye")
        ]


async def test_p13_a_socket_that_begins_at_the_farewell_is_opened_and_ends_with_it(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(store_url, workers=0) as service, asyncio.timeout(30):
        client = service.client
        context_id = await client.create()
        monkeypatch.setattr(sockets, "begin", stopping_behind(service))
        async with client.session.ws_connect(
            f"{client.url}/api/contexts/{context_id}/ws"
        ) as socket:
            assert (await socket.receive_json())["event"] == "bye"
            assert (await socket.receive()).data == WSCloseCode.SERVICE_RESTART


Begin = Callable[..., Awaitable[tuple[dict[str, object], Sequence[Frame]]]]


def stopping_behind(service: Service) -> Begin:
    """A beginning of streams, behind which the gateway stops."""

    async def begin_and_stop(
        store: Store, feed: Feed, resume: str | None
    ) -> tuple[dict[str, object], Sequence[Frame]]:
        begun = await begin(store, feed, resume)
        service.stop("gateway 0")
        await asyncio.sleep(3 * LOOK_S)
        return begun

    return begin_and_stop
