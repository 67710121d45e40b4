"""The store fails, or what it publishes is lost: nothing is, and the answers are honest."""

import asyncio
import time
from collections.abc import Callable, Iterator

import pytest

from storage import Listener
from storage.subscriber import Subscriber
from tests.support.service import Client, Service, SseFrame, serving, text_of
from tests.support.store_server import StoreServer

CALL_S_MAX = 1.0


@pytest.fixture
def own_store() -> Iterator[StoreServer]:
    """A server that the test may pause and kill."""
    with StoreServer() as server:
        yield server


def lose(subscriber: Subscriber, lost: Callable[[bytes], bool]) -> None:
    """Lose publications, on every channel that is listened to by now."""
    listeners = subscriber._listeners

    def losing(listener: Listener) -> Listener:
        def on_message(message: bytes) -> None:
            if not lost(message):
                listener.on_message(message)

        return Listener(on_message, listener.on_gap)

    for channel, listener in tuple(listeners.items()):
        listeners[channel] = losing(listener)


async def assert_nothing_lost(
    client: Client, context_id: str, frames: list[SseFrame]
) -> None:
    """What a stream has shown is what the log holds."""
    first = frames[0].data["cursor"]
    page = await client.get(f"/api/contexts/{context_id}/state?after={first}")
    logged = [f["data"] for f in page.json["events"] if f["event"] != "reply-delta"]
    own = {"hello", "snapshot", "reply-delta"}
    assert [frame.data for frame in frames if frame.event not in own] == logged
    replies = [event["text"] for event in logged if event["kind"] == "reply-ended"]
    assert text_of(frames) == "".join(replies)


@pytest.mark.parametrize("every", [2, 3, 7])
async def test_lost_publications_lose_no_event(store_url: str, every: int) -> None:
    async with serving(store_url, gateway={"feed_check_s": 0.3}) as service:
        client = service.client
        context_id = await client.create()
        async with client.stream(context_id) as stream:
            frames = await stream.take("snapshot")
            heard = 0

            def lost(_message: bytes) -> bool:
                nonlocal heard
                heard += 1
                return heard % every == 0

            lose(service.stores[0].subscriber, lost)
            for _ in range(2):
                await client.act(context_id, "send_message", {"content": "/chunks 30 5"})
                frames += await stream.take("reply-ended")
        assert heard > 10
        await assert_nothing_lost(client, context_id, frames)


async def test_a_stream_whose_last_publication_was_lost_notices_by_itself(
    store_url: str,
) -> None:
    async with serving(store_url, gateways=2, gateway={"feed_check_s": 0.3}) as service:
        watched, other = service.clients
        context_id = await other.create()
        async with watched.stream(context_id) as stream:
            frames = await stream.take("snapshot")
            lose(service.stores[0].subscriber, lambda _message: True)
            await other.say(context_id, "nobody tells you")
            frames += await stream.take("reply-ended")
        await assert_nothing_lost(watched, context_id, frames)


async def test_an_action_whose_commit_nobody_told_us_is_answered_all_the_same(
    store_url: str,
) -> None:
    async with serving(store_url, gateway={"applied_s_max": 0.5}) as service:
        client = service.client
        context_id = await client.create()
        await client.act(context_id, "pause")
        lose(service.stores[0].subscriber, lambda _message: True)
        answer = await client.act(context_id, "resume")
        assert (answer.status, answer.json["status"]) == (200, "idle")
        refused = await client.act(context_id, "resume")
        assert (refused.status, refused.problem) == (409, "illegal-in-phase")


async def test_a_cut_subscription_loses_no_event(
    store_url: str, shared_store: StoreServer
) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        async with client.stream(context_id) as stream:
            frames = await stream.take("snapshot")
            await client.act(context_id, "send_message", {"content": "/chunks 200 5"})
            for _ in range(3):
                frames += await stream.take("reply-delta")
                with shared_store.client() as admin:
                    assert admin.client_kill_filter(_type="pubsub")
            frames += await stream.take("reply-ended")
        await assert_nothing_lost(client, context_id, frames)


async def answers(service: Service, context_id: str) -> list[tuple[int, str]]:
    """Status and problem of one request of each kind, sent together."""
    client = service.client
    async with asyncio.TaskGroup() as group:
        requests = [
            group.create_task(request)
            for request in (
                client.act(context_id, "rename", {"title": "x"}, Idempotency_Key="down"),
                client.act(context_id, "pause", Prefer="respond-async"),
                client.send("POST", "/api/contexts", {}),
                client.get(f"/api/contexts/{context_id}/state"),
                client.get(f"/api/contexts/{context_id}/events"),
                client.get("/api/contexts"),
                client.get(f"/api/actions/{context_id}.1"),
            )
        ]
    done = [request.result() for request in requests]
    assert all(answer.headers["Retry-After"] for answer in done)
    return [(answer.status, answer.problem) for answer in done]


@pytest.mark.parametrize("killed", [False, True])
async def test_a_store_that_does_not_answer_is_told_in_time_and_its_return_noticed(
    own_store: StoreServer, killed: bool
) -> None:
    storage = {"store_call_s_max": CALL_S_MAX, "store_ping_s": 0.3}
    async with serving(own_store.url, storage=storage) as service:
        client = service.client
        context_id = await client.create()
        await client.say(context_id, "before")
        (own_store.kill if killed else own_store.pause)()
        began_s = time.monotonic()
        assert set(await answers(service, context_id)) == {(503, "store-unavailable")}
        assert time.monotonic() - began_s < CALL_S_MAX + 3
        ready = await client.get("/readyz")
        assert (ready.status, ready.json["store"]["ok"]) == (503, False)
        assert "store" in ready.json["store"]["hint"]
        assert (await client.get("/healthz")).status == 200
        (own_store.start if killed else own_store.resume)()
        async with asyncio.timeout(10):
            while (await client.get("/readyz")).status != 200:
                await asyncio.sleep(0.05)
            while True:
                renamed = await client.act(
                    context_id, "rename", {"title": "x"}, Idempotency_Key="down"
                )
                if renamed.status == 200:
                    break
        assert renamed.context["title"] == "x"


async def test_a_stream_survives_the_restart_of_the_store(own_store: StoreServer) -> None:
    storage = {"store_call_s_max": CALL_S_MAX, "store_ping_s": 0.3}
    async with serving(own_store.url, storage=storage) as service:
        client = service.client
        context_id = await client.create()
        async with client.stream(context_id) as stream:
            frames = await stream.take("snapshot")
            await client.act(context_id, "send_message", {"content": "/chunks 100 10"})
            frames += await stream.take("reply-delta")
            own_store.restart()
            frames += await stream.take("reply-ended")
        await assert_nothing_lost(client, context_id, frames)


async def test_a_store_that_is_full_is_told_and_reads_go_on(own_store: StoreServer) -> None:
    async with serving(own_store.url) as service:
        client = service.client
        context_id = await client.create()
        with own_store.client() as admin:
            admin.config_set("maxmemory", "1mb")
            answer = await client.act(context_id, "rename", {"title": "x"})
            assert (answer.status, answer.problem) == (503, "store-unavailable")
            assert answer.headers["Retry-After"] == "5"
            created = await client.send("POST", "/api/contexts", {})
            assert (created.status, created.problem) == (503, "store-unavailable")
            assert (await client.state(context_id))["title"] == ""
            admin.config_set("maxmemory", "0")
        assert (await client.act(context_id, "rename", {"title": "x"})).status == 200


async def test_readiness_names_what_is_missing(store_url: str) -> None:
    async with serving(store_url, workers=0) as service:
        ready = await service.client.get("/readyz")
        assert (ready.status, ready.json["status"]) == (200, "ready")
        assert ready.json["store"]["durability"] == "strict"
        assert ready.json["workers"]["count"] == 0
        assert "contextd worker" in ready.json["workers"]["hint"]
