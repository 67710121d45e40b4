"""Durability and epochs: what a server may have lost since it was last seen."""

# pyright: reportUnknownMemberType=false
# redis-py leaves keyword arguments, and so every second method, partly untyped.

import asyncio

import pytest
from redis.exceptions import ResponseError

from storage import DurabilityMismatch, Listener, Store, StoreUnavailable, keys
from tests.storage.arranging import create, deliver
from tests.storage.conftest import Backend
from tests.support.store_server import StoreServer

RECONNECT_S_MAX = 10.0


async def epoch_of(backend: Backend, durability: str) -> str:
    async with backend.connect(durability=durability) as store:
        return store.epoch


def restarted(backend: Backend) -> Backend:
    """The same data in a server that was started again."""
    if backend.server is not None:
        backend.server.restart()
    else:
        backend.run_id += "'"
    return backend


@pytest.mark.parametrize("durability", ["strict", "standard"])
async def test_the_same_server_keeps_its_epoch(backend: Backend, durability: str) -> None:
    first = await epoch_of(backend, durability)
    assert first
    assert await epoch_of(backend, durability) == first


async def test_a_strict_store_keeps_its_epoch_over_a_restart(backend: Backend) -> None:
    first = await epoch_of(backend, "strict")
    assert await epoch_of(restarted(backend), "strict") == first


@pytest.mark.parametrize(
    ("before", "after"),
    [("standard", "standard"), ("standard", "strict"), ("strict", "standard")],
)
async def test_a_store_that_may_have_lost_commits_gets_a_new_epoch(
    backend: Backend, before: str, after: str
) -> None:
    first = await epoch_of(backend, before)
    second = await epoch_of(restarted(backend), after)
    assert int(second) > int(first)
    assert await epoch_of(backend, after) == second


async def test_an_epoch_that_was_lost_itself_is_not_handed_out_again(backend: Backend) -> None:
    async with backend.connect(durability="standard") as store:
        kept = await store.link.call("DUMP", keys.EPOCH)
    assert isinstance(kept, bytes)
    second = await epoch_of(restarted(backend), "standard")
    async with backend.connect(durability="standard") as store:
        await store.link.call("RESTORE", keys.EPOCH, 0, kept, "REPLACE")
    third = await epoch_of(restarted(backend), "standard")
    assert int(third) > int(second)


async def test_with_a_new_epoch_subscriptions_are_made_anew(real_backend: Backend) -> None:
    assert real_backend.server is not None
    again = asyncio.Event()
    async with real_backend.connect(durability="standard") as store:
        await create(store)
        await store.subscriber.subscribe("c", Listener(lambda _: None, again.set))
        again.clear()
        # As where Sentinels name another server: the subscriber's connection is there yet.
        await store.link.call("HSET", keys.EPOCH, "run_id", "of the server before")
        with real_backend.server.client() as client:
            client.client_kill_filter(_type="normal", skipme=True)
        async with asyncio.timeout(RECONNECT_S_MAX):
            await until_delivered(store)
            await again.wait()


async def test_a_store_that_is_restarted_under_us_is_seen_with_its_new_epoch(
    real_backend: Backend,
) -> None:
    assert real_backend.server is not None
    async with real_backend.connect(durability="standard", store_call_s_max=2.0) as store:
        await create(store)
        first = store.epoch
        real_backend.server.restart()
        async with asyncio.timeout(RECONNECT_S_MAX):
            await until_delivered(store)
        assert int(store.epoch) > int(first)


async def until_delivered(store: Store) -> None:
    while True:
        try:
            await deliver(store, key="k")
        except StoreUnavailable:
            continue
        return


@pytest.mark.real_only
@pytest.mark.parametrize(
    "options", [{"appendfsync": "everysec"}, {"appendonly": "no"}, {"appendfsync": "no"}]
)
async def test_strict_refuses_a_server_that_would_lose_acked_writes(
    options: dict[str, str],
) -> None:
    with StoreServer(**options) as server:
        with pytest.raises(ExceptionGroup) as caught:
            await epoch_of(Backend(server), "strict")
        assert caught.group_contains(DurabilityMismatch)
        assert await epoch_of(Backend(server), "standard")


async def test_a_server_that_does_not_tell_its_settings_is_trusted(
    real_backend: Backend,
) -> None:
    # Managed services refuse CONFIG; their operators promise what it would say.
    assert real_backend.server is not None
    client = real_backend.server.client()
    client.acl_setuser("default", enabled=True, commands=["-config"])
    try:
        with pytest.raises(ResponseError):
            client.config_get("appendonly")
        assert await epoch_of(real_backend, "strict")
    finally:
        client.acl_setuser("default", enabled=True, commands=["+config"])
        client.close()
