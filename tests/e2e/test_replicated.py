"""P1, P7, P15: the primary is killed, a replica takes its place; nothing acked is lost."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import aiohttp
import pytest

from tests.support.http_client import HttpClient, Json
from tests.support.invariants import (
    Sent,
    answer_faults,
    everything_said,
    history_faults,
    stream_faults,
)
from tests.support.replicated_store import replicated_store, sentinels
from tests.support.service_processes import Service, run_command

pytestmark = [pytest.mark.timeout(240), pytest.mark.real_only]

CONTEXTS = 4
PAUSE_S = 0.01
ACKED_BEFORE = 60
BACK_S_MAX = 20.0
"""From the kill to the next acks: 3 s where nothing else runs; a second failover takes 10."""


class Repeaters:
    """Clients, one context each, that send every message until it is acked."""

    def __init__(self, client: HttpClient, context_ids: list[str]) -> None:
        self.sent: dict[str, list[Sent]] = {context_id: [] for context_id in context_ids}
        self.repeats = 0
        self._client = client

    @asynccontextmanager
    async def writing(self) -> AsyncGenerator[None]:
        """Send for the length of a block."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._write(one), name=one) for one in self.sent]
            yield
            for task in tasks:
                task.cancel()

    async def _write(self, context_id: str) -> None:
        sent = self.sent[context_id]
        while True:
            number = len(sent)
            sent.append(Sent(f"said {number:04}", time.monotonic(), None))
            while not await self._acked(context_id, number):
                self.repeats += 1
                await asyncio.sleep(PAUSE_S)
            sent[number] = replace(sent[number], acked_s=time.monotonic())
            await asyncio.sleep(PAUSE_S)

    async def _acked(self, context_id: str, number: int) -> bool:
        content = self.sent[context_id][number].content
        with suppress(aiohttp.ClientError):
            reply = await self._client.send(context_id, content, key=f"key-{number}")
            assert reply.status in {200, 202, 429, 503}, reply
            return reply.status < 300
        return False

    def acks(self) -> list[float]:
        """When each ack came, in order."""
        return sorted(one.acked_s for sent in self.sent.values() for one in sent if one.acked_s)

    async def until_each_acked(self, count: int, *, since_s: float) -> None:
        """Wait until each client has got so many acks since a moment."""
        async with asyncio.timeout(BACK_S_MAX):
            while any(  # noqa: ASYNC110 - the acks come from another process
                sum((one.acked_s or 0) > since_s for one in sent) < count
                for sent in self.sent.values()
            ):
                await asyncio.sleep(PAUSE_S)


def keeps(sent: list[Sent], context: Json) -> bool:
    """Whether a context has what was acked; anything else that is wrong fails at once."""
    faults = history_faults(sent, everything_said(context))
    assert all(fault.startswith("lost") for fault in faults), faults
    return faults == []


async def final_of(client: HttpClient, context_id: str, sent: list[Sent]) -> Json:
    """The context, once it has all that was acked and rests."""
    await client.until_state(context_id, lambda context: keeps(sent, context))
    return await client.rested(context_id)


@pytest.mark.slow  # a whole service on three servers and three Sentinels
async def test_p1_p15_a_failover_to_a_replica_loses_nothing_acked() -> None:
    with (
        replicated_store(replicas=2) as store,
        sentinels(store) as url,
        Service(
            redis_url=url, store_replicas_min=1, scripted_chunk_ms=0, standby=False
        ) as service,
    ):
        async with HttpClient(service.url) as client:
            ids = [await client.create() for _ in range(CONTEXTS)]
            clients = Repeaters(client, ids)
            async with client.watching(ids[0]) as seen:
                await seen.until(lambda stream: stream.of("snapshot"))
                epoch = seen.frames[0].data["epoch"]
                async with clients.writing():
                    await clients.until_each_acked(ACKED_BEFORE // CONTEXTS, since_s=0)
                    store.primary.kill()
                    killed_s = time.monotonic()
                    await clients.until_each_acked(5, since_s=killed_s + 0.2)
                finals = [await final_of(client, one, clients.sent[one]) for one in ids]
                # What was sent last and not answered may be applied only now.
                async with asyncio.timeout(BACK_S_MAX):
                    while seen.cursor != finals[0]["cursor"]:
                        await asyncio.sleep(PAUSE_S)
                        finals[0] = await client.rested(ids[0])
            acks = clients.acks()
            back_s = next(at_s for at_s in acks if at_s > killed_s + 0.2) - killed_s
            print(  # noqa: T201 - numbers to report
                f"{len(acks)} acked, none lost, {clients.repeats} repeats, "
                f"acked again {back_s:.1f} s after the kill"
            )
            assert len([at_s for at_s in acks if at_s < killed_s]) >= ACKED_BEFORE
            for context_id, final in zip(ids, finals, strict=True):
                assert history_faults(clients.sent[context_id], everything_said(final)) == []
                assert answer_faults(final) == []
            assert stream_faults(seen.frames) == []
            # One for each failover: a stalled machine may see two.
            resets = [int(reset.id.split(".")[0]) for reset in seen.of("reset")]
            assert resets
            assert [int(epoch), *resets] == sorted({int(epoch), *resets})
            assert resets[-1] == int(finals[0]["cursor"].split(".")[0])
            ready = await client.request("GET", "/readyz")
            assert ready.body["store"]["replicas_min"] == 1
            found = run_command("doctor", service=service)
            assert "1 connected; an answer waits for 1" in found.stdout, found
