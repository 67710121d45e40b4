"""Dashboards on both gateways under load, while a worker is killed and everything is restarted.

What the statistics say at the end is compared with what clients wrote down, never with
counters of the service's own.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from uuid import NAMESPACE_URL, uuid5

import aiohttp
import orjson
import pytest

from tests.support.http_client import HttpClient, Json
from tests.support.service_processes import Service, kill

pytestmark = pytest.mark.timeout(480)

CONTEXTS = 12
ROUNDS = 4
WITHIN_S = 180.0


@dataclass(slots=True)
class Dashboard:
    """What one dashboard has seen, over all of its connections."""

    url: str
    seen: dict[int, Json] = field(default_factory=dict[int, Json])
    order: list[int] = field(default_factory=list[int])
    """Numbers as they came for the first time."""
    missed: list[Json] = field(default_factory=list[Json])
    connections: int = 0
    last: int | None = None
    began: asyncio.Event = field(default_factory=asyncio.Event)
    _more: asyncio.Event = field(default_factory=asyncio.Event)

    async def until(self, seq: int, *kinds: str) -> None:
        """Wait until it has seen that number, and something of each of these types."""
        async with asyncio.timeout(WITHIN_S):
            while (self.last or 0) < seq or not self.types() >= set(kinds):
                self._more.clear()
                await self._more.wait()

    def types(self) -> set[str]:
        """Of all that it has seen."""
        return {message["type"] for message in self.seen.values()}

    async def watch(self, session: aiohttp.ClientSession) -> None:
        """Connect, and again whenever that ends, behind what was seen last."""
        while True:
            with suppress(aiohttp.ClientError):
                async with session.ws_connect(f"{self.url}/api/v1/ws/dashboard") as socket:
                    self.connections += 1
                    await self._read(socket)
            await asyncio.sleep(0.05)

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        resuming = False
        async for received in socket:
            if received.type is not aiohttp.WSMsgType.TEXT:
                return
            message: Json = orjson.loads(received.data)
            match message["type"]:
                case "connection_ack" if self.last is None:
                    self.last = message["seq"]
                    self.began.set()
                case "connection_ack":
                    resuming = True
                    resume = {"type": "resume", "seq": self.last}
                    await socket.send_str(orjson.dumps(resume).decode())
                case "personal":
                    resuming = False
                    if message["data"]["kind"] != "resumed":
                        self.missed.append(message)
                case "stats_update":
                    pass
                case _ if not resuming:
                    self.last = message["seq"]
                    assert message["seq"] not in self.seen
                    self.seen[message["seq"]] = message
                    self.order.append(message["seq"])
                    self._more.set()
                case _:
                    pass  # it comes again, in its place


@asynccontextmanager
async def watching(*dashboards: Dashboard) -> AsyncGenerator[None, None]:
    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
        tasks = [group.create_task(dashboard.watch(session)) for dashboard in dashboards]
        for dashboard in dashboards:
            await dashboard.began.wait()
        yield
        for task in tasks:
            task.cancel()


@dataclass(slots=True)
class Records:
    """What clients know for certain: each action was sent until it was answered."""

    delivered: int = 0
    applied: int = 0
    refused: int = 0
    turns: int = 0
    phases: Counter[str] = field(default_factory=Counter[str])


async def act(
    client: HttpClient, records: Records, context_id: str, action: str, body: Json, key: str
) -> None:
    """One action, repeated under its key until somebody has answered it."""
    status = 0
    async with asyncio.timeout(WITHIN_S):
        while status not in {200, 409}:
            with suppress(aiohttp.ClientError, TimeoutError):
                reply = await client.request(
                    "POST",
                    f"/api/contexts/{context_id}/actions/{action}",
                    body,
                    headers={"Idempotency-Key": key, "Prefer": "wait=20"},
                )
                status = reply.status
            await asyncio.sleep(0.01)
    records.delivered += 1
    records.applied += status == 200
    records.refused += status == 409
    records.turns += action == "send_message"


async def converse(client: HttpClient, records: Records, number: int) -> str:
    """A conversation with a message, a refused action and a change of title in each round."""
    context_id = await client.create()
    for turn in range(ROUNDS):
        for action, body in (
            ("send_message", {"content": f"/chunks 5 {10 + number}"}),
            ("retry", {}),
            ("rename", {"title": f"Round {turn}"}),
        ):
            key = str(uuid5(NAMESPACE_URL, f"{number}/{turn}/{action}"))
            await act(client, records, context_id, action, body, key)
    return context_id


async def test_two_dashboards_see_one_order_and_the_statistics_are_what_clients_know() -> None:
    with Service(gateways=2, workers=3, report_s=0.2) as service:
        service.wait_standby()
        urls = (service.url, f"http://127.0.0.1:{service.join_gateway()}")
        one, other = map(Dashboard, urls)
        records = Records()
        async with HttpClient(*urls) as client, watching(one, other):
            before = await statistics(client)
            async with asyncio.TaskGroup() as group:
                talks = [
                    group.create_task(converse(client, records, number))
                    for number in range(CONTEXTS)
                ]
                kill(await _at_work(client, service, records))
                accepted = await client.request("POST", "/admin/restart", {})
                assert accepted.status == 200
            ids = [talk.result() for talk in talks]
            for context_id in ids[:3]:
                await client.request("DELETE", f"/api/contexts/{context_id}")
                records.delivered += 1
                records.applied += 1
            for context_id in ids[3:]:
                records.phases[(await client.rested(context_id))["status"]] += 1
            report = await restarted(client, accepted.body["report_url"])
            assert report["status"] == "complete"
            after = await until_counted(client, records)
            last = after["announcements"]["seq"]
            for dashboard in (one, other):
                await dashboard.until(last, "restart_complete")

    assert after["actions"]["delivered"] - before["actions"]["delivered"] == records.delivered
    assert after["actions"]["applied"] - before["actions"]["applied"] == records.applied
    assert after["actions"]["refused"] - before["actions"]["refused"] == records.refused
    assert records.refused == CONTEXTS * ROUNDS
    assert after["contexts"]["by_phase"] == dict(records.phases)
    assert after["contexts"]["total"] == CONTEXTS - 3
    assert (after["contexts"]["created"], after["contexts"]["deleted"]) == (CONTEXTS, 3)
    assert after["turns"]["started"] == records.turns == CONTEXTS * ROUNDS
    assert after["turns"]["ended"]["completed"] == records.turns
    assert after["turns"]["running"] == after["mailbox"]["waiting"] == 0

    assert max(one.connections, other.connections) > 1, "the restart cut nobody off"
    for dashboard in (one, other):
        assert dashboard.missed == []
        assert dashboard.order == list(range(dashboard.order[0], dashboard.order[-1] + 1))
    common = range(max(one.order[0], other.order[0]), last + 1)
    assert [one.seen[seq] for seq in common] == [other.seen[seq] for seq in common]
    kinds = Counter(message["type"] for message in one.seen.values())
    assert kinds["restart_complete"] == 1
    assert kinds["restart_progress"] >= 5
    assert kinds["worker_lost"] >= 3


async def statistics(client: HttpClient) -> Json:
    """The statistics, from whichever gateway answers."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            with suppress(aiohttp.ClientError):
                reply = await client.request("GET", "/api/v1/stats")
                if reply.status == 200:
                    return reply.body
            await asyncio.sleep(0.05)


async def until_counted(client: HttpClient, records: Records) -> Json:
    """The statistics at rest: their look at the store is at most a second old."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            stats = await statistics(client)
            done = stats["actions"]["applied"] + stats["actions"]["refused"]
            if done >= records.delivered and stats["turns"]["running"] == 0:
                return stats
            await asyncio.sleep(0.2)


async def restarted(client: HttpClient, url: str) -> Json:
    """The report of a restart once it is over."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            with suppress(aiohttp.ClientError):
                reply = await client.request("GET", url)
                if reply.status == 200 and reply.body["status"] in {"complete", "failed"}:
                    return reply.body
            await asyncio.sleep(0.1)


async def _at_work(client: HttpClient, service: Service, records: Records) -> int:
    """Process id of a worker that has a context, in the middle of the load."""
    async with asyncio.timeout(WITHIN_S):
        while records.delivered < CONTEXTS:  # noqa: ASYNC110 - other tasks count
            await asyncio.sleep(0.01)
        while True:
            listed = await client.request("GET", "/api/contexts")
            for context in listed.body["contexts"]:
                with suppress(AssertionError):  # it is nobody's at the moment
                    return service.owner_of(context["id"])
            await asyncio.sleep(0.01)
