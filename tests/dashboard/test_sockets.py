"""Dashboards over real sockets: all see the same, in order, and none is anybody's burden."""

import asyncio
import contextlib
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from dashboard.messages import ANNOUNCED, TYPES
from gateway.serve import LOOK_S
from storage import Access, ErrorSeen, Listener, WorkerLost, read_announced
from tests.dashboard.viewer import PATH, private, watching
from tests.gateway.arrivals import tell_store
from tests.support.service import Client, Json, Service, eventually, serving
from tests.support.store_server import StoreServer

LOST = WorkerLost(worker_id="w", cause="died", contexts=1)
QUICK = {"stats_every_s": 0.05, "stats_fresh_s": 0.0}


def numbers(messages: list[Json]) -> list[int]:
    return [message["seq"] for message in messages]


async def refused(client: Client, **headers: str) -> int:
    """Status of an upgrade that is refused."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await client.session.ws_connect(
            client.url + PATH, headers={**client.credential, **named}
        )
    return caught.value.status


async def announce(service: Service, number: int = 1, *, gateway: int = 0) -> None:
    """Something critical that a gateway tells."""
    announcer = service.stores[gateway].announcer
    for _ in range(number):
        announcer.tell(LOST)
    await announcer.flush()


async def test_dashboards_at_every_gateway_see_what_all_processes_do_in_one_order(
    store_url: str,
) -> None:
    async with serving(store_url, gateways=2, workers=2) as service:
        async with (
            watching(service.clients[0]) as one,
            watching(service.clients[1], path="/admin/ws/dashboard") as other,
        ):
            for client in service.clients * 3:
                await client.say(await client.create(), "Hello")
            for viewer in (one, other):
                ended: list[Json] = []
                while len(ended) < 6:
                    ended.append(await viewer.until_type("turn_ended"))
            for gateway in (0, 1):
                await announce(service, gateway=gateway)
            for viewer in (one, other):
                await viewer.until_type("worker_lost")
                await viewer.until_type("worker_lost")
        common = max(one.announced[0]["seq"], other.announced[0]["seq"])
        seen = [
            [message for message in viewer.announced if message["seq"] >= common]
            for viewer in (one, other)
        ]
        assert seen[0] == seen[1]
        assert numbers(seen[0]) == list(range(common, seen[0][-1]["seq"] + 1))
        kinds = [message["type"] for message in seen[0]]
        for kind in ("action_received", "turn_started", "turn_ended", "query_complete"):
            assert kinds.count(kind) == 6, kind


async def test_nothing_is_missed_over_a_reconnection_to_another_gateway(store_url: str) -> None:
    async with serving(store_url, gateways=2, workers=0) as service:
        async with watching(service.clients[0]) as before:
            await announce(service, 3)
            last = (await before.until(lambda message: message["seq"] == 3))["seq"]
        await announce(service, 700)
        async with watching(service.clients[1], resume=last) as after:
            await after.until(lambda message: message["data"].get("kind") == "resumed")
            await announce(service, 5, gateway=1)
            await after.until(lambda message: message["seq"] == 708)
        kinds = [message["data"].get("kind") for message in after.taken]
        resumed = kinds.index("resumed")
        assert after.taken[resumed]["seq"] == last
        behind = [m for m in after.taken[resumed:] if m["type"] == "worker_lost"]
        assert numbers(behind) == list(range(last + 1, 709))


async def test_who_resumes_behind_what_there_is_gets_what_comes(store_url: str) -> None:
    async with serving(store_url, workers=0) as service:
        await announce(service, 2)
        async with watching(service.client, resume=99) as viewer:
            resumed = await viewer.until_type("personal")
            assert resumed["data"] == {"kind": "resumed", "seq": 2}
            await announce(service)
            assert (await viewer.until_type("worker_lost"))["seq"] == 3


async def test_what_is_not_kept_any_more_is_said_to_be_missed(store_url: str) -> None:
    storage = {"announcements_kept": 100}
    async with serving(store_url, workers=0, storage=storage) as service:
        await announce(service, 500)
        async with watching(service.client, resume=3) as viewer:
            await viewer.until(lambda message: message["seq"] == 500)
        missed = next(m["data"] for m in viewer.taken if m["data"].get("kind") == "missed")
        assert missed["from_seq"] == 4
        assert missed["to_seq"] in [m["seq"] for m in viewer.taken if m["type"] == "personal"]
        assert numbers(viewer.announced) == list(range(missed["to_seq"] + 1, 501))


async def test_a_publication_that_is_lost_is_read_from_the_store(store_url: str) -> None:
    async with serving(store_url, workers=0) as service:
        async with watching(service.client) as viewer:
            await announce(service)
            await viewer.until_type("worker_lost")
            listeners = private(service.stores[0].subscriber, "_listeners")
            listener = listeners[b"announcements"]
            lost: asyncio.Queue[bytes] = asyncio.Queue()
            listeners[b"announcements"] = (Listener(lost.put_nowait, lambda: None),)
            await announce(service, 4)
            while read_announced(await lost.get())[-1][0] < 5:
                pass
            listeners[b"announcements"] = listener
            await announce(service)
            await viewer.until(lambda message: message["seq"] == 6)
        assert numbers(viewer.announced) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("since", [2, 7])
async def test_a_store_that_was_emptied_numbers_anew_and_says_so(
    store_url: str, shared_store: StoreServer, since: int
) -> None:
    """Whether or not there are more by now than there were."""
    async with serving(store_url, workers=0) as service, watching(service.client) as viewer:
        await announce(service, 5)
        await viewer.until(lambda message: message["seq"] == 5)
        tell_store(shared_store, "DEL", "announcements")
        await announce(service, since)
        await viewer.until(lambda message: message["data"].get("kind") == "renumbered")
        await announce(service)
        await viewer.until(lambda message: message["seq"] == since + 1)
        assert numbers(viewer.announced) == [1, 2, 3, 4, 5, since + 1]


async def test_statistics_come_as_often_as_is_configured_and_are_those_of_the_address(
    store_url: str,
) -> None:
    async with serving(store_url, dashboard=QUICK) as service:
        await service.client.say(await service.client.create(), "Hello")
        async with watching(service.client) as viewer:

            async def says_the_same() -> bool:
                shown = (await viewer.until_type("stats_update"))["data"]
                asked = (await service.client.get("/api/v1/stats")).json
                moving = ("at", "processes", "latency", "store", "actions", "turns")
                same = [shown[name] == asked[name] for name in shown if name not in moving]
                return all(same) and list(shown) == list(asked)

            await eventually(says_the_same)


async def test_who_comes_when_nobody_was_looking_is_shown_no_statistics_of_before(
    store_url: str,
) -> None:
    async with serving(store_url, dashboard={**QUICK, "stats_every_s": 0.5}) as service:
        client = service.client

        async def nobody_looks() -> bool:
            await service.stores[0].meters.report()
            viewers = (await client.get("/api/v1/stats")).json["viewers"]
            return bool(viewers["dashboard"] == 0)

        async with watching(client) as viewer:
            before = (await viewer.until_type("stats_update"))["data"]
        await eventually(nobody_looks)
        await client.create()
        async with watching(client) as viewer:
            now = (await viewer.until_type("stats_update"))["data"]
        assert now["contexts"]["created"] == before["contexts"]["created"] + 1


async def test_only_what_is_subscribed_to_is_sent(store_url: str) -> None:
    async with serving(store_url) as service:
        async with watching(service.client) as viewer:
            await viewer.say(type="subscribe", types=["turn_ended"])
            answer = (await viewer.until_type("personal"))["data"]
            assert answer == {"kind": "subscribed", "types": ["turn_ended"]}
            await service.client.say(await service.client.create(), "Hello")
            await viewer.until_type("turn_ended")
        assert {message["type"] for message in viewer.taken[2:]} == {"turn_ended"}


async def test_messages_are_answered_and_those_that_make_no_sense_are_too(
    store_url: str,
) -> None:
    async with serving(store_url, workers=0) as service:
        async with watching(service.client) as viewer:
            await viewer.say(type="ping", ref="7")
            assert (await viewer.next())["data"] == {"kind": "pong", "ref": "7"}
            for nonsense in (
                {"type": "subscribe", "types": ["nothing"]},
                {"type": "subscribe"},
                {"type": "resume", "seq": -1},
                {"type": "resume", "seq": "1; DROP"},
                {"type": "restart"},
                {"type": "ping", "ref": "7", "more": 1},
            ):
                await viewer.say(**nonsense)
                data = (await viewer.next())["data"]
                assert data["kind"] == "not_understood", nonsense
            for raw in ("", "[", "null", '"ping"', "\u0000"):
                await viewer.socket.send_str(raw)
                assert (await viewer.next())["data"]["kind"] == "not_understood", raw
            await viewer.socket.send_bytes(b"{}")
            assert (await viewer.next())["data"]["kind"] == "not_understood"
        assert set(TYPES) == {"stats_update", *ANNOUNCED}


async def test_the_eleventh_dashboard_of_an_address_is_answered_503(store_url: str) -> None:
    async with serving(store_url, workers=0) as service, asyncio.TaskGroup() as group:
        enough, opened = asyncio.Event(), asyncio.Semaphore(0)

        async def watch() -> None:
            async with watching(service.client):
                opened.release()
                await enough.wait()

        for _ in range(10):
            group.create_task(watch())
        for _ in range(10):
            await opened.acquire()
        assert await refused(service.client) == 503
        enough.set()

        async def has_room() -> bool:
            try:
                async with watching(service.client):
                    return True
            except aiohttp.WSServerHandshakeError:
                return False

        await eventually(has_room)


async def test_where_it_is_wanted_the_idlest_dashboard_makes_room(store_url: str) -> None:
    options = {"dashboards_per_address_max": 2, "dashboards_evict_idle": True}
    async with (
        serving(store_url, workers=0, dashboard=options) as service,
        watching(service.client) as first,
        watching(service.client) as second,
    ):
        await first.say(type="ping")
        await first.next()
        async with watching(service.client):
            assert await second.closed() == aiohttp.WSCloseCode.GOING_AWAY
            await first.say(type="ping")
            assert (await first.next())["data"]["kind"] == "pong"


async def test_a_gateway_has_room_for_so_many_dashboards_wherever_they_come_from(
    store_url: str,
) -> None:
    options = {"dashboards_max": 1, "dashboards_evict_idle": True}
    async with (
        serving(store_url, workers=0, dashboard=options) as service,
        watching(service.client) as first,
    ):
        assert await refused(service.client) == 503
        await first.say(type="ping")
        assert (await first.next())["data"]["kind"] == "pong"


async def test_a_page_of_another_origin_cannot_open_a_dashboard(store_url: str) -> None:
    async with serving(store_url, workers=0) as service:
        assert await refused(service.client, Origin="http://evil.example") == 403
        async with watching(service.client, Origin=service.client.url):
            pass


async def test_a_dashboard_takes_the_scope_dashboard_or_admin(store_url: str) -> None:
    async with serving(store_url, workers=0, gateway={"auth": "keys"}) as service:
        access = Access(service.stores[0].link)
        now_ms = 1_800_000_000_000
        _, plain = await access.create(
            *("k",), owner="ada", scopes=["contexts:read", "contexts:write"], now_ms=now_ms
        )
        _, wall = await access.create("k", owner="ada", scopes=["dashboard"], now_ms=now_ms)
        _, admin = await access.create("k", owner="ada", scopes=["admin"], now_ms=now_ms)
        assert await refused(service.client) == 401
        assert await refused(replace(service.client, key=plain)) == 403
        for key in (wall, admin):
            async with watching(replace(service.client, key=key)):
                pass


async def test_too_many_or_too_long_messages_end_the_connection(store_url: str) -> None:
    options = {"dashboard_messages_s_max": 5, "dashboard_message_bytes_max": 1_000}
    async with serving(store_url, workers=0, dashboard=options) as service:
        async with watching(service.client) as viewer:
            for _ in range(20):
                await viewer.say(type="ping")
            assert await viewer.closed() == aiohttp.WSCloseCode.POLICY_VIOLATION
        async with watching(service.client) as viewer:
            await viewer.say(type="ping", ref="x" * 2_000)
            assert await viewer.closed() == aiohttp.WSCloseCode.MESSAGE_TOO_BIG


async def test_p13_a_dashboard_that_comes_behind_the_farewell_is_sent_elsewhere() -> None:
    with StoreServer() as store:
        async with serving(store.url, workers=0, gateway={"gateway_drain_s": 20.0}) as service:
            store.pause()
            async with asyncio.timeout(10), asyncio.TaskGroup() as group:
                status = group.create_task(refused(service.client))
                await asyncio.sleep(LOOK_S)
                service.stop("gateway 0")
                await asyncio.sleep(LOOK_S)
                store.resume()
            assert status.result() == 503


async def test_a_gateway_that_stops_sends_its_dashboards_elsewhere(store_url: str) -> None:
    async with serving(store_url, gateways=2, workers=0) as service:
        async with watching(service.client) as viewer:
            await announce(service)
            last = (await viewer.until_type("worker_lost"))["seq"]
            service.stop("gateway 0")
            assert await viewer.closed() == aiohttp.WSCloseCode.SERVICE_RESTART
        async with watching(service.clients[1], resume=last) as viewer:
            await announce(service, gateway=1)
            assert (await viewer.until_type("worker_lost"))["seq"] == last + 1


async def test_a_viewer_that_stops_reading_blocks_nobody_and_is_ended(store_url: str) -> None:
    options = {"dashboard_stalled_s_max": 3.0, "dashboard_recent_max": 100}
    long = ErrorSeen(error="x" * 30_000, severity="error")
    async with serving(store_url, workers=0, dashboard=options) as service:
        store = service.stores[0]
        _, writer = await deaf_viewer(service.client)
        with contextlib.closing(writer):
            async with watching(service.client) as other:
                for _ in range(5):
                    for _ in range(100):
                        store.announcer.tell(long)
                    await store.announcer.flush()
                await other.until(lambda message: message["seq"] == 500)
                assert numbers(other.announced) == list(range(1, 501))

                async def is_gone() -> bool:
                    await store.meters.report()
                    stats = (await service.client.get("/api/v1/stats")).json
                    left: int = stats["viewers"]["dashboard"]
                    return left == 1

                await eventually(is_gone)


async def test_a_dashboard_that_is_behind_is_told_that_the_store_does_not_answer(
    store_url: str,
) -> None:
    options = {"dashboard_blind_s_max": 0.01}
    async with serving(store_url, workers=0, dashboard=options) as service:
        async with watching(service.client) as viewer:
            link = service.stores[0].link
            room, link.calls_max = link.calls_max, 0
            for listener in private(service.stores[0].subscriber, "_listeners")[
                b"announcements"
            ]:
                listener.on_gap()
            assert await viewer.closed() == aiohttp.WSCloseCode.TRY_AGAIN_LATER
            link.calls_max = room
        async with watching(service.client):
            pass


async def deaf_viewer(client: Client) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Opens a dashboard and reads nothing of it."""
    host, _, port = client.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1_024)
    writer.write(
        f"GET {PATH} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
    )
    async with asyncio.timeout(10):
        await reader.readuntil(b"\r\n\r\n")
    return reader, writer


async def test_more_than_a_gateway_may_send_is_skipped_and_counted_but_for_critical_ones(
    store_url: str,
) -> None:
    options = {"dashboard_frames_s_max": 1}
    async with (
        serving(store_url, dashboard=options) as service,
        watching(service.client) as viewer,
    ):
        for _ in range(3):
            await service.client.say(await service.client.create(), "Hello")
        await announce(service, 5)
        for _ in range(5):
            await viewer.until_type("worker_lost")

        async def is_counted() -> bool:
            await announce(service)  # what comes late is told before this one
            await viewer.until_type("worker_lost")
            await service.stores[0].meters.report()
            told = (await service.client.get("/api/v1/stats")).json["announcements"]
            passed = viewer.announced[-1]["seq"] - viewer.taken[0]["seq"]
            skipped: int = told["skipped"]
            return skipped > 0 and skipped + len(viewer.announced) == passed

        await eventually(is_counted)


async def test_what_is_no_announcement_is_passed_over(
    store_url: str, shared_store: StoreServer
) -> None:
    async with serving(store_url, workers=0) as service:
        tell_store(shared_store, "XADD", "announcements", "1-0", "a", '{"what":{"type":"<x>"}}')
        async with watching(service.client, resume=0) as viewer:
            await announce(service)
            assert (await viewer.until_type("worker_lost"))["seq"] == 2


async def test_no_announcement_tells_what_was_said(store_url: str) -> None:
    secret = "the-word-that-nobody-tells"
    async with serving(store_url) as service:
        async with watching(service.client) as viewer:
            context_id = await service.client.create(title=secret)
            await service.client.say(context_id, secret)
            await service.client.say(
                context_id, f'/tool calculator {{"expression": "{secret}"}}'
            )
            await viewer.until_type("approval_requested")
            await service.client.act(context_id, "rename", {"title": secret * 2})
            await announce(service)
            await viewer.until_type("worker_lost")
        assert secret not in str(viewer.taken)


def test_the_page_names_every_type() -> None:
    page = (Path(__file__).parent.parent.parent / "docs" / "dashboard.md").read_text()
    for kind in (*ANNOUNCED, "connection_ack", "stats_update", "personal"):
        assert f"`{kind}`" in page, kind
