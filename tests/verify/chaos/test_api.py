"""What a client of the chaos writes down is what it was answered."""

import asyncio
import random
from collections.abc import Iterator

import pytest
from aiohttp import web

from gateway import states
from tests.gateway.arrivals import tell_store
from tests.support.service import Service, serving
from tests.support.store_server import StoreServer
from verify.chaos.api import Api, Records
from verify.history import check_history
from verify.records import Final

PAUSE_MS = "1500"


@pytest.fixture
def store() -> Iterator[StoreServer]:
    with StoreServer() as server:
        yield server


def client_of(service: Service, records: Records) -> Api:
    return Api(
        *(service.client.url, "c", records),
        draw=random.Random(1),
        request_s_max=5,
        operation_s_max=5,
    )


async def test_a_read_that_may_be_behind_is_written_down_as_such(
    store: StoreServer,
) -> None:
    options = {"stale_after_s": 0.2}
    async with serving(store.url, workers=0, gateway=options) as service:
        records = Records()
        api = client_of(service, records)
        context_id = await service.client.create()
        async with asyncio.timeout(10):
            assert await api.read(context_id) is not None
            tell_store(store, "CLIENT", "PAUSE", PAUSE_MS, "ALL")
            assert await api.read(context_id) is not None
        await api.close()
    assert [read.stale for read in records.reads] == [False, True]


@pytest.mark.parametrize("lies", [False, True])
async def test_a_gateway_that_says_304_whatever_was_said_since_is_found_out(
    store: StoreServer, monkeypatch: pytest.MonkeyPatch, *, lies: bool
) -> None:
    def has_seen(request: web.Request, _current: str) -> bool:
        return "If-None-Match" in request.headers

    if lies:
        monkeypatch.setattr(states, "has_seen", has_seen)
    async with serving(store.url) as service:
        records = Records()
        api = client_of(service, records)
        context_id = await service.client.create()
        for at in range(8):
            await api.read(context_id)
            said = {"content": f"message {at}"}
            await api.act(
                context_id, "send_message", said, key=f"k{at}", content=said["content"]
            )
        final = Final.of(await service.client.until(context_id, "idle"))
        for _ in range(8):
            await api.read(context_id)
        await api.close()
    assert records.tries["304"] > 1
    found = check_history(records.operations, records.reads, [final])
    assert {violation.check for violation in found} == ({"stale-read"} if lies else set())
