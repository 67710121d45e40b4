"""What a client of the chaos writes down is what it was answered."""

import asyncio
import random
from collections.abc import Iterator

import pytest
from aiohttp import web

from gateway import actions, states
from tests.gateway.arrivals import tell_store
from tests.support.service import Service, serving
from tests.support.store_server import StoreServer
from verify.chaos import api
from verify.chaos.api import Api, Records
from verify.history import check_history
from verify.logs import check_logs
from verify.records import Final, Log, Outcome

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


async def test_a_read_may_wait_for_a_change(
    store: StoreServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "CONDITIONAL_RATE", 1.0)
    monkeypatch.setattr(api, "LONG_POLL_RATE", 1.0)
    async with serving(store.url) as service:
        records = Records()
        waiting, acting = client_of(service, records), client_of(service, Records())
        context_id = await service.client.create()
        await waiting.read(context_id)
        async with asyncio.TaskGroup() as group:
            group.create_task(waiting.read(context_id))
            await asyncio.sleep(0.1)
            group.create_task(acting.act(context_id, "rename", {"title": "A"}, key="k"))
        await waiting.read(context_id)
        await waiting.close()
        await acting.close()
    assert records.tries == {"200": 2, "304": 1}
    waited_s = [read.returned_s - read.called_s for read in records.reads]
    assert waited_s[1] < api.LONG_POLL_S <= waited_s[2]


@pytest.mark.parametrize("ignores", [False, True])
async def test_a_gateway_that_ignores_if_match_is_found_out(
    store: StoreServer, monkeypatch: pytest.MonkeyPatch, *, ignores: bool
) -> None:
    def read_nothing(*_asked: object) -> None:
        return None

    if ignores:
        monkeypatch.setattr(actions, "read_if_version", read_nothing)
    async with serving(store.url) as service:
        records = Records()
        ann, bob = client_of(service, records), client_of(service, records)
        context_id = await service.client.create()
        await ann.read(context_id)
        for at, client in enumerate((bob, ann)):
            said = f"message {at}"
            await client.act(
                *(context_id, "send_message", {"content": said}),
                key=f"k{at}",
                content=said,
                if_unchanged=True,
            )
            await service.client.until(context_id, "idle")
        export, _ = await ann.request("GET", f"/api/contexts/{context_id}/export")
        await ann.close()
        await bob.close()
    assert export is not None
    log = Log(context_id=context_id, events=tuple(export.body["events"]))
    assert [one.if_version for one in records.operations] == [None, 1]
    assert (records.operations[1].code == "version-mismatch") is not ignores
    found = check_logs(records.operations, records.reads, [], [], [log])
    assert {one.check for one in found} == ({"condition-ignored"} if ignores else set())


async def test_an_accepted_action_that_names_a_version_may_still_be_refused(
    store: StoreServer,
) -> None:
    async with serving(store.url, workers=0, gateway={"applied_s_max": 0.1}) as service:
        ann = client_of(service, Records())
        context_id = await service.client.create()
        await ann.read(context_id)
        named, _ = await ann.act(context_id, "cancel", {}, key="k1", if_unchanged=True)
        unnamed, _ = await ann.act(context_id, "cancel", {}, key="k2")
        await ann.close()
    assert (named.outcome, unnamed.outcome) == (Outcome.UNKNOWN, Outcome.ACCEPTED)
