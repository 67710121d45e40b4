"""Tickets open one stream each, and no stream outlives the key that it came from."""

import asyncio
from unittest.mock import Mock

import aiohttp
import pytest
from aiohttp.test_utils import make_mocked_request

from gateway import GatewayConfig, guard
from storage import SCOPES, Access, Grant, StorageConfig, StoreUnavailable, connect
from tests.gateway.guarding import NOW_MS, guarded


async def test_a_ticket_opens_one_stream(store_url: str) -> None:
    async with guarded(store_url, workers=1) as scene:
        ada = await scene.of("ada")
        context_id = await ada.create()
        issued = await ada.send("POST", "/api/tickets", {})
        assert issued.status == 201
        query = f"?ticket={issued.json['ticket']}"
        async with scene.stranger.stream(context_id, query=query) as stream:
            assert (await stream.take("snapshot"))[-1].data["id"] == context_id
        again = await scene.stranger.get(f"/api/contexts/{context_id}/events{query}")
        assert (again.status, again.problem) == (401, "unauthorized")


async def test_a_ticket_opens_nothing_but_streams(store_url: str) -> None:
    async with guarded(store_url) as scene:
        ada = await scene.of("ada")
        context_id = await ada.create()
        ticket = (await ada.send("POST", "/api/tickets", {})).json["ticket"]
        answer = await scene.stranger.get(f"/api/contexts/{context_id}/state?ticket={ticket}")
        assert (answer.status, answer.problem) == (401, "unauthorized")
        async with scene.stranger.stream(context_id, query=f"?ticket={ticket}") as stream:
            await stream.take("snapshot")  # it was not used up


async def test_any_key_is_given_tickets_and_they_allow_what_it_allows(store_url: str) -> None:
    async with guarded(store_url) as scene:
        context_id = await (await scene.of("ada")).create()
        for scope in SCOPES:
            somebody = await scene.of("ada", scopes=[scope])
            issued = await somebody.send("POST", "/api/tickets", {})
            assert issued.status == 201
            path = f"/api/contexts/{context_id}/events?ticket={issued.json['ticket']}"
            async with scene.stranger.stream_at(path) as stream:
                allowed = 200 if scope == "contexts:read" else 403
                assert stream.response.status == allowed, scope


async def test_a_ticket_is_worth_no_more_than_its_key(store_url: str) -> None:
    async with guarded(store_url) as scene:
        ada = await scene.of("ada")
        eve = await scene.of("eve")
        context_id = await ada.create()
        ticket = (await eve.send("POST", "/api/tickets", {})).json["ticket"]
        foreign = await scene.stranger.get(f"/api/contexts/{context_id}/events?ticket={ticket}")
        assert (foreign.status, foreign.problem) == (404, "not-found")
        ticket = (await ada.send("POST", "/api/tickets", {})).json["ticket"]
        assert ada.key is not None
        await scene.access.revoke(ada.key.split("_")[1], now_ms=NOW_MS)
        late = await scene.stranger.get(f"/api/contexts/{context_id}/events?ticket={ticket}")
        assert (late.status, late.problem) == (401, "unauthorized")


async def test_an_open_stream_ends_when_its_key_is_revoked(store_url: str) -> None:
    async with guarded(store_url, stream_check_s=0.2) as scene:
        ada, other = await scene.of("ada"), await scene.of("ada")
        context_id = await ada.create()
        async with ada.stream(context_id) as cut, other.stream(context_id) as kept:
            await cut.take("snapshot")
            await kept.take("snapshot")
            assert ada.key is not None
            await scene.access.revoke(ada.key.split("_")[1], now_ms=NOW_MS)
            with pytest.raises(aiohttp.ClientPayloadError):
                await cut.next()
            with pytest.raises(TimeoutError):
                await kept.next(within_s=1)


async def test_an_open_stream_goes_on_while_nobody_knows_whether_its_key_is_valid(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: asyncio.Queue[str] = asyncio.Queue()

    async def get(_: Access, key_id: str) -> None:
        looks.put_nowait(key_id)
        raise StoreUnavailable("it does not answer")

    monkeypatch.setattr(Access, "get", get)
    transport = Mock()
    request = make_mocked_request("GET", "/", transport=transport)
    principal = guard.Principal(Grant("ada", frozenset(SCOPES), None), "k")
    async with connect(store_url, StorageConfig()) as store:
        door = guard.Guard(GatewayConfig(stream_check_s=0.01), store, lambda: NOW_MS)
        with door.opened(request, principal):
            async with asyncio.TaskGroup() as group:
                checking = group.create_task(door.check_streams())
                for _ in range(2):  # it is asked again
                    assert await looks.get() == "k"
                checking.cancel()
    transport.close.assert_not_called()


async def test_the_stream_of_a_client_that_has_gone_is_not_begun(store_url: str) -> None:
    principal = guard.Principal(Grant("ada", frozenset(SCOPES), None), "k")
    gone = make_mocked_request("GET", "/", transport=Mock())
    gone.protocol.transport = None
    async with connect(store_url, StorageConfig()) as store:
        door = guard.Guard(GatewayConfig(), store, lambda: NOW_MS)
        with pytest.raises(ConnectionResetError), door.opened(gone, principal):
            pass


async def test_a_connection_outlives_the_key_of_a_stream_that_has_ended_on_it(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def get(_: Access, _key_id: str) -> None:
        """There is no key any more."""

    monkeypatch.setattr(Access, "get", get)
    closed = asyncio.Event()
    ended, running = Mock(), Mock(close=closed.set)
    principal = guard.Principal(Grant("ada", frozenset(SCOPES), None), "k")
    async with connect(store_url, StorageConfig()) as store:
        door = guard.Guard(GatewayConfig(stream_check_s=0.01), store, lambda: NOW_MS)
        with door.opened(make_mocked_request("GET", "/", transport=ended), principal):
            pass
        with door.opened(make_mocked_request("GET", "/", transport=running), principal):
            async with asyncio.TaskGroup() as group:
                checking = group.create_task(door.check_streams())
                await closed.wait()
                checking.cancel()
    ended.close.assert_not_called()
