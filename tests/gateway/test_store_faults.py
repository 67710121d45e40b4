"""The store fails, or what it publishes is lost: nothing is, and the answers are honest."""

import asyncio
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.feed import Feed
from gateway.mirror import Mirror
from storage import Reading, Store
from tests.gateway.arrivals import tell_store
from tests.support.service import Client, Json, Service, SseFrame, eventually, serving, text_of
from tests.support.store_faults import REFUSALS, lose
from tests.support.store_server import StoreServer

CALL_S_MAX = 1.0
RETURN_S_MAX = 5.0
"""P15: service resumes so soon after the fault's end."""
CAUSES = {
    "memory full": "memory is full",
    "read-only": "read-only",
    "too few replicas": "too few replicas",
    "disk full": "disk is full",
}


@pytest.fixture
def own_store() -> Iterator[StoreServer]:
    """A server that the test may pause and kill."""
    with StoreServer() as server:
        yield server


async def assert_nothing_lost(client: Client, context_id: str, frames: list[SseFrame]) -> None:
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


async def test_a_hole_between_two_commits_is_noticed_with_the_second(store_url: str) -> None:
    async with serving(store_url, gateways=2, gateway={"feed_check_s": 60}) as service:
        watched, other = service.clients
        context_id = await other.create()
        async with watched.stream(context_id) as stream:
            frames = await stream.take("snapshot")
            heard: list[bytes] = []

            def first(message: bytes) -> bool:
                heard.append(message)
                return len(heard) == 1

            lose(service.stores[0].subscriber, first)
            for title in ("unheard", "heard"):
                await other.act(context_id, "rename", {"title": title})
            frames += await stream.take("context-renamed")
            frames += await stream.take("context-renamed")
        assert [frame.data["title"] for frame in frames[2:]] == ["unheard", "heard"]


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


async def test_p7_a_stream_of_several_ends_where_a_deletion_was_published_to_nobody(
    store_url: str,
) -> None:
    async with serving(store_url, gateways=2, gateway={"feed_check_s": 0.3}) as service:
        watched, other = service.clients
        a, b = await other.create(), await other.create()
        async with watched.stream_at(f"/api/events?contexts={a},{b}") as stream:
            await stream.until(lambda frames: len(frames) == 3)
            lose(service.stores[0].subscriber, lambda _message: True)
            await other.act(a, "delete")
            async with asyncio.timeout(RETURN_S_MAX):
                assert [frame async for frame in stream] == []
        again = await watched.get(f"/api/events?contexts={a},{b}")
        assert (again.status, again.problem) == (404, "not-found")


async def test_a_poll_shows_an_action_whose_publication_was_lost(store_url: str) -> None:
    async with serving(store_url, gateways=2) as service:
        watched, other = service.clients
        context_id = await other.create()
        async with watched.stream(context_id) as stream:
            await stream.take("snapshot")
            lose(service.stores[0].subscriber, lambda _message: True)
            await other.act(context_id, "rename", {"title": "unheard"})
            assert (await watched.state(context_id))["title"] == "unheard"


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
    async def cut() -> bool:
        """Whether somebody listened and was cut off; after a cut nobody does for a while."""
        return tell_store(shared_store, "CLIENT", "KILL", "TYPE", "pubsub") != 0

    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        async with client.stream(context_id) as stream:
            frames = await stream.take("snapshot")
            await client.act(context_id, "send_message", {"content": "/chunks 200 5"})
            for _ in range(3):
                frames += await stream.take("reply-delta")
                await eventually(cut)
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
                client.get(f"/api/contexts/{context_id}/state", Cache_Control="no-cache"),
                client.get(f"/api/contexts/{context_id}/events"),
                client.get("/api/contexts"),
                client.get(f"/api/actions/{context_id}.1.1"),
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

        async def renamed() -> bool:
            answer = await client.act(
                context_id, "rename", {"title": "x"}, Idempotency_Key="down"
            )
            return answer.status == 200

        await eventually(renamed, within_s=10)
        assert (await client.get("/readyz")).status == 200
        assert (await client.state(context_id))["title"] == "x"


@pytest.mark.parametrize("killed", [False, True])
async def test_p6_a_state_that_may_be_behind_says_so_and_is_never_given_where_it_is_not_wanted(
    own_store: StoreServer, killed: bool
) -> None:
    storage = {"store_call_s_max": CALL_S_MAX, "store_ping_s": 0.3}
    gateway = {"stale_after_s": 0.3}
    async with serving(own_store.url, gateways=2, storage=storage, gateway=gateway) as service:
        knows, other = service.clients
        context_id = await knows.create()
        await knows.say(context_id, "before")
        state = await knows.get(f"/api/contexts/{context_id}/state")
        assert "Contextd-Stale" not in state.headers
        (own_store.kill if killed else own_store.pause)()
        paths = (f"/api/contexts/{context_id}/state", f"/api/contexts/{context_id}")
        for path in paths:
            began_s = time.monotonic()
            stale = await knows.get(path)
            assert time.monotonic() - began_s < CALL_S_MAX
            assert (stale.status, stale.headers["Contextd-Stale"]) == (200, "true")
            assert stale.headers["Cache-Control"] == "no-store"
            assert (stale.json, stale.headers["ETag"]) == (state.json, state.headers["ETag"])
            same = await knows.get(path, If_None_Match=state.headers["ETag"])
            assert (same.status, same.headers["Contextd-Stale"]) == (304, "true")
            fresh = await knows.get(path, Cache_Control="max-age=0, No-Cache")
            assert (fresh.status, fresh.problem) == (503, "store-unavailable")
            unknown = await other.get(path)
            assert (unknown.status, unknown.problem) == (503, "store-unavailable")
        (own_store.start if killed else own_store.resume)()
        await eventually_renamed(knows, context_id, "after")
        answer = await knows.get(f"/api/contexts/{context_id}/state")
        assert "Contextd-Stale" not in answer.headers
        assert answer.context["title"] == "after"
        counted = (await knows.get("/api/v1/metrics/activity")).json
        read = 3 + len(paths) * 2  # stale ones were answered from memory, too
        assert counted["cache_hits"] + counted["cache_misses"] == read


async def test_where_nothing_is_known_a_slow_store_is_waited_for(
    own_store: StoreServer,
) -> None:
    storage, gateway = {"store_call_s_max": CALL_S_MAX}, {"stale_after_s": 0.1}
    async with serving(own_store.url, gateways=2, storage=storage, gateway=gateway) as service:
        made, other = service.clients
        path = f"/api/contexts/{await made.create()}/state"
        own_store.pause()
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(other.get(path))
            await asyncio.sleep(0.4)  # longer than a state that is known would be waited for
            own_store.resume()
        assert asking.result().status == 200
        assert "Contextd-Stale" not in asking.result().headers


async def test_what_was_seen_in_an_epoch_that_is_over_is_not_given_as_stale() -> None:
    with StoreServer(appendfsync="everysec") as store:
        storage = {"durability": "standard", "store_call_s_max": CALL_S_MAX}
        gateway = {"stale_after_s": 0.3}
        async with serving(store.url, workers=0, storage=storage, gateway=gateway) as service:
            client = service.client
            first = save(store, "first")
            lost = await client.create()
            path = f"/api/contexts/{lost}/state"
            assert (await client.get(path)).status == 200
            before = service.stores[0].epoch
            set_back(store, first)

            async def reconnected() -> bool:
                return service.stores[0].epoch != before

            await eventually(reconnected)
            store.pause()
            answer = await client.get(path)
            assert (answer.status, answer.problem) == (503, "store-unavailable")
            store.resume()


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


@pytest.mark.parametrize("went_on", [0, 3])
async def test_a_store_that_lost_commits_is_told_by_one_reset_and_a_new_epoch(
    went_on: int,
) -> None:
    """It comes back with an old state, or with one that went on another way from there."""
    with StoreServer(appendfsync="everysec") as store:
        storage = {"durability": "standard", "store_call_s_max": CALL_S_MAX}
        async with serving(store.url, storage=storage, worker={"linger_s": 0}) as service:
            client = service.client
            context_id = await client.create()
            await client.act(context_id, "rename", {"title": "kept"})
            first = save(store, "first")
            for n in range(went_on):
                await eventually_renamed(client, context_id, f"another way {n}")
            second = save(store, "second")
            set_back(store, first)
            await eventually_renamed(client, context_id, "kept")
            async with client.stream(context_id) as stream:
                (_, before) = await stream.take("snapshot")
                assert before.data["title"] == "kept"
                lost = await eventually_renamed(client, context_id, "lost")
                await stream.take("context-renamed")
                set_back(store, second)
                (reset,) = await stream.take("reset")
                state = await client.state(context_id)
                assert reset.data["context"] == state
                assert reset.id == state["cursor"]
                assert state["title"] == (f"another way {went_on - 1}" if went_on else "kept")
                assert state["version"] == 2 + went_on
                epochs = [c.split(".")[0] for c in (before.id, lost["cursor"], reset.id)]
                assert int(epochs[0]) == int(epochs[1]) < int(epochs[2])
                page = f"/api/contexts/{context_id}/state?after={lost['cursor']}"
                assert (await client.get(page)).json["events"][0]["event"] == "reset"
                await eventually_renamed(client, context_id, "again")
                (renamed,) = await stream.take("context-renamed")
                assert renamed.data["title"] == "again"


async def test_an_action_that_was_lost_is_not_answered_with_the_one_that_got_its_number() -> (
    None
):
    with StoreServer(appendfsync="everysec") as store:
        storage = {"durability": "standard", "store_call_s_max": CALL_S_MAX}
        async with serving(store.url, storage=storage, worker={"linger_s": 0}) as service:
            client = service.client
            context_id = await client.create()
            saved = save(store, "saved")
            await eventually_renamed(client, context_id, "kept for a second")
            lost = (await client.act(context_id, "pause")).json["action"]["id"]
            assert (await client.get(f"/api/actions/{lost}")).json["id"] == lost
            set_back(store, saved)
            for title in ("another", "and another"):
                await eventually_renamed(client, context_id, title)
            answer = await client.get(f"/api/actions/{lost}")
            assert (answer.status, answer.problem) == (404, "not-found"), answer.json
            assert "epoch" in answer.json["detail"]
            told = (await client.act(context_id, "pause")).json["action"]["id"]
            assert (await client.get(f"/api/actions/{told}")).json["result"] == "applied"


@pytest.mark.parametrize("after", [False, True])
async def test_a_long_poll_wakes_when_the_store_has_lost_what_the_client_has(
    monkeypatch: pytest.MonkeyPatch, *, after: bool
) -> None:
    waits = asyncio.Event()
    plain_wait = Feed.wait_until

    async def wait_until(feed: Feed, reached: Callable[[Mirror], bool]) -> None:
        waits.set()
        await plain_wait(feed, reached)

    with StoreServer(appendfsync="everysec") as store:
        storage = {"durability": "standard", "store_call_s_max": CALL_S_MAX}
        async with serving(store.url, storage=storage, worker={"linger_s": 0}) as service:
            client = service.client
            context_id = await client.create()
            first = save(store, "first")
            lost = await eventually_renamed(client, context_id, "lost")
            path = f"/api/contexts/{context_id}/state"
            headers = {"Prefer": "wait=20"}
            if after:
                path += f"?after={lost['cursor']}"
            else:
                headers["If-None-Match"] = f'"{lost["cursor"]}"'
            monkeypatch.setattr(Feed, "wait_until", wait_until)
            async with asyncio.timeout(10), asyncio.TaskGroup() as group:
                polling = group.create_task(client.send("GET", path, headers=headers))
                await waits.wait()
                set_back(store, first)
            answer = polling.result()
            assert answer.status == 200
            state = answer.json["events"][0]["data"]["context"] if after else answer.context
            assert (state["title"], state["version"]) == ("", 1)
            epochs = [int(context["cursor"].split(".")[0]) for context in (lost, state)]
            assert epochs[0] < epochs[1]


def save(store: StoreServer, name: str) -> Path:
    """Copy what the server has written; it is restarted for that."""
    store.stop()
    copy = store.data / name
    shutil.copytree(store.data / "appendonlydir", copy)
    store.start()
    return copy


def set_back(store: StoreServer, saved: Path) -> None:
    """Kill the server and start it on what was saved: the rest is lost."""
    store.kill()
    shutil.rmtree(store.data / "appendonlydir")
    shutil.copytree(saved, store.data / "appendonlydir")
    store.start()


async def eventually_renamed(client: Client, context_id: str, title: str) -> Json:
    """Rename, as soon as store and worker are there again."""

    async def renamed() -> bool:
        answer = await client.act(context_id, "rename", {"title": title}, Prefer="wait=1")
        return answer.status == 200

    await eventually(renamed)
    return await client.state(context_id)


@pytest.mark.parametrize("fault", REFUSALS)
async def test_p15_a_store_that_takes_no_writes_is_told_with_its_cause_and_reads_go_on(
    fault: str,
) -> None:
    storage = {"durability": "standard", "store_call_s_max": 2.0}
    with StoreServer(appendfsync="everysec") as store, store.client() as plain:
        async with serving(store.url, storage=storage) as service:
            client = service.client
            context_id = await client.create()

            async def renamed(status: int) -> bool:
                answer = await client.act(context_id, "rename", {"title": str(status)})
                if status == answer.status == 503:
                    assert CAUSES[fault] in answer.json["detail"]
                    assert (answer.problem, answer.headers["Retry-After"]) == (
                        "store-unavailable",
                        "5",
                    )
                return answer.status == status

            with REFUSALS[fault](plain, store.process_id):
                await eventually(lambda: renamed(503), within_s=RETURN_S_MAX)
                before = await client.get(f"/api/contexts/{context_id}/state")
                assert before.status == 200
                assert "Contextd-Stale" not in before.headers
                created = await client.send("POST", "/api/contexts", {})
                assert (created.status, created.problem) == (503, "store-unavailable")
                assert len((await client.get("/api/contexts")).json["contexts"]) == 1
                async with client.stream(context_id) as stream:
                    await stream.take("snapshot")
                after = await client.get(f"/api/contexts/{context_id}/state")
                assert after.json == before.json
            await eventually(lambda: renamed(200), within_s=RETURN_S_MAX)
            assert (await client.state(context_id))["title"] == "200"


async def test_a_store_that_is_full_is_told_and_reads_go_on(own_store: StoreServer) -> None:
    async with serving(own_store.url) as service:
        client = service.client
        context_id = await client.create()
        tell_store(own_store, "CONFIG", "SET", "maxmemory", "1mb")
        answer = await client.act(context_id, "rename", {"title": "x"})
        assert (answer.status, answer.problem) == (503, "store-unavailable")
        assert answer.headers["Retry-After"] == "5"
        created = await client.send("POST", "/api/contexts", {})
        assert (created.status, created.problem) == (503, "store-unavailable")
        assert (await client.state(context_id))["title"] == ""
        tell_store(own_store, "CONFIG", "SET", "maxmemory", "0")
        assert (await client.act(context_id, "rename", {"title": "x"})).status == 200


async def test_readiness_names_what_is_missing(store_url: str) -> None:
    async with serving(store_url, workers=0) as service:
        ready = await service.client.get("/readyz")
        assert (ready.status, ready.json["status"]) == (200, "ready")
        assert ready.json["store"]["durability"] == "strict"
        assert ready.json["workers"]["count"] == 0
        assert "contextd worker" in ready.json["workers"]["hint"]


async def test_p6_a_202_whose_state_may_be_behind_says_so(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(store_url, workers=0, gateway={"applied_s_max": 0.1}) as service:
        context_id = await service.client.create()
        known = await service.client.act(context_id, "rename", {"title": "a"})
        assert known.status == 202
        assert "Contextd-Stale" not in known.headers

        async def silent(*_: object, **__: object) -> Reading:
            await asyncio.Event().wait()
            raise AssertionError("nobody sets it")

        monkeypatch.setattr(Store, "read", silent)
        unknown = await service.client.act(context_id, "rename", {"title": "b"})
        assert (unknown.status, unknown.headers["Contextd-Stale"]) == (202, "true")
