"""Listening: what is published is heard, or a gap is announced."""

# pyright: reportUnknownMemberType=false
# redis-py leaves keyword arguments, and so every second method, partly untyped.
# pyright: reportPrivateUsage=false
# Some tests wait for what only the inside shows.

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from functools import partial

import pytest
from redis import Redis

from storage import Listener, Store, StoreUnavailable
from storage.address import make_pool
from storage.subscriber import Subscriber, open_subscriber
from tests.storage.arranging import HEARD_S_MAX, Ear, listening
from tests.storage.conftest import Backend
from tests.support.store_server import StoreServer


async def publish(store: Store, channel: str, *messages: str) -> None:
    for message in messages:
        await store.link.call("PUBLISH", channel, message)


async def test_a_listener_hears_its_channel_in_order_and_no_other(store: Store) -> None:
    async with listening(store, "a") as one, listening(store, "b") as other:
        await publish(store, "a", *(f"{n}" for n in range(100)))
        await publish(store, "b", "x\n\0y")
        await publish(store, "c", "nobody's")
        assert await one.hears(100) == [f"{n}".encode() for n in range(100)]
        assert await other.hears(1) == [b"x\n\0y"]


async def test_a_listener_that_is_gone_hears_nothing_more(store: Store) -> None:
    async with listening(store, "a") as ear:
        await publish(store, "a", "1")
        await ear.hears(1)
    async with listening(store, "b") as other:
        await publish(store, "a", "2")
        await publish(store, "b", "3")
        await other.hears(1)
    assert ear.messages == [b"1"]


async def test_a_channel_that_nobody_listens_to_any_more_is_not_sent(store: Store) -> None:
    async with listening(store, "a"):
        assert await store.link.call("PUBLISH", "a", "1") == 1
    async with asyncio.timeout(HEARD_S_MAX):
        while await store.link.call("PUBLISH", "a", "2") != 0:
            pass


async def test_who_leaves_a_channel_silences_nobody_beside(store: Store) -> None:
    ears = [Ear(), Ear(), Ear()]
    listeners = [Listener(ear.on_message, ear.on_gap) for ear in ears]
    for listener in listeners:
        await store.subscriber.subscribe("a", listener)
    await publish(store, "a", "1")
    for ear in ears:
        await ear.hears(1)
    for listener in listeners[::2]:
        store.subscriber.unsubscribe("a", listener)
    await publish(store, "a", "2")
    await ears[1].hears(2)
    store.subscriber.unsubscribe("a", listeners[1])
    assert [ear.messages for ear in ears] == [[b"1"], [b"1", b"2"], [b"1"]]


async def test_who_leaves_and_comes_back_in_one_breath_hears_or_is_told(store: Store) -> None:
    ear = Ear()
    listener = Listener(ear.on_message, ear.on_gap)
    await store.subscriber.subscribe("a", listener)
    for n in range(50):
        store.subscriber.unsubscribe("a", listener)
        gaps, heard = ear.gaps, len(ear.messages)
        await store.subscriber.subscribe("a", listener)
        await publish(store, "a", f"{n}")
        await ear.until(partial(ear.knows_more, gaps=gaps, heard=heard))
    await publish(store, "a", "last")
    await ear.until(lambda: b"last" in ear.messages)


async def test_a_hundred_channels_are_confirmed_at_once(store: Store) -> None:
    ears = [Ear() for _ in range(100)]
    async with asyncio.TaskGroup() as group:
        for n, ear in enumerate(ears):
            listener = Listener(ear.on_message, ear.on_gap)
            group.create_task(store.subscriber.subscribe(f"c{n}", listener))
    for n in range(100):
        await publish(store, f"c{n}", f"{n}")
    for n, ear in enumerate(ears):
        assert await ear.hears(1) == [f"{n}".encode()]


async def test_nothing_is_kept_for_a_store_that_is_away() -> None:
    subscriber = Subscriber(make_pool("unix:///nowhere.sock"), 0.01, 2.0)
    ear = Ear()
    async with open_subscriber(subscriber):
        for n in range(5):
            with pytest.raises(StoreUnavailable):
                await subscriber.subscribe(f"c{n}", Listener(ear.on_message, ear.on_gap))
        assert subscriber._outgoing.empty()


@pytest.fixture
async def real_store(real_backend: Backend) -> AsyncGenerator[Store, None]:
    async with real_backend.connect(store_call_s_max=1.0, store_ping_s=0.1) as store:
        yield store


@pytest.mark.real_only
async def test_a_lost_connection_is_a_gap_for_everybody_and_then_they_hear_again(
    real_store: Store, server: StoreServer
) -> None:
    async with listening(real_store, "a") as one, listening(real_store, "b") as other:
        gaps = one.gaps
        client = server.client()
        client.client_kill_filter(_type="pubsub")
        await one.hears(0, gaps=gaps + 1)
        await other.hears(0, gaps=gaps + 1)
        client.publish("a", "again")
        assert await one.hears(1) == [b"again"]
        client.close()


@pytest.mark.real_only
async def test_a_store_that_is_restarted_is_a_gap(
    real_store: Store, server: StoreServer
) -> None:
    async with listening(real_store, "a") as ear:
        gaps = ear.gaps
        server.restart()
        await ear.hears(0, gaps=gaps + 1)
        publish_until_heard(server.client(), "a", "again")
        assert (await ear.hears(1))[0] == b"again"


def publish_until_heard(client: Redis, channel: str, message: str) -> None:
    assert client.publish(channel, message) == 1
    client.close()


@pytest.mark.real_only
async def test_a_store_that_is_silent_is_noticed(
    real_store: Store, server: StoreServer
) -> None:
    async with listening(real_store, "a") as ear:
        gaps = ear.gaps
        server.pause()
        try:
            with pytest.raises(StoreUnavailable):
                async with listening(real_store, "b"):
                    pytest.fail("nobody has confirmed it")
        finally:
            server.resume()
        await ear.hears(0, gaps=gaps + 1)
        async with listening(real_store, "b") as other:
            await publish_somehow(real_store, "b", "1")
            assert await other.hears(1) == [b"1"]


async def publish_somehow(store: Store, channel: str, message: str) -> None:
    async with asyncio.timeout(HEARD_S_MAX):
        while True:
            with contextlib.suppress(StoreUnavailable):
                await publish(store, channel, message)
                return


@pytest.mark.real_only
async def test_who_subscribes_while_there_is_no_store_is_confirmed_later(
    server: StoreServer,
) -> None:
    server.kill()
    subscriber = Subscriber(make_pool(server.url), 5.0, 1.0)
    ear = Ear()
    async with open_subscriber(subscriber), asyncio.TaskGroup() as group:
        listener = Listener(ear.on_message, ear.on_gap)
        waiting = group.create_task(subscriber.subscribe("a", listener))
        server.start()
        await waiting
        publish_until_heard(server.client(), "a", "1")
        assert await ear.hears(1) == [b"1"]
        subscriber.unsubscribe("a", listener)


@pytest.mark.real_only
async def test_who_gives_up_subscribing_leaves_nothing_behind(server: StoreServer) -> None:
    server.pause()
    subscriber = Subscriber(make_pool(server.url), 5.0, 1.0)
    try:
        async with open_subscriber(subscriber), asyncio.TaskGroup() as group:
            ear = Ear()
            listener = Listener(ear.on_message, ear.on_gap)
            task = group.create_task(subscriber.subscribe("a", listener))
            await asyncio.sleep(0)
            task.cancel()
        assert (subscriber._listeners, subscriber._confirmations) == ({}, {})
    finally:
        server.resume()
