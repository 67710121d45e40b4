"""A receiver goes away and comes back, a worker is killed: all is told, in order."""

import asyncio

import pytest

from tests.support.http_client import HttpClient
from tests.support.service_processes import Service, free_port, kill
from tests.support.webhook_receiver import SECRET, Receiver

pytestmark = pytest.mark.timeout(240)

TURNS = 4


async def test_every_event_is_told_over_deaths_of_the_receiver_and_of_a_worker() -> None:
    receiver = Receiver(free_port())
    with Service(
        workers=2,
        scripted_chunk_ms=1,
        webhook_url=receiver.url,
        webhook_secret=SECRET,
        webhook_events="context-created,reply-ended,context-renamed,context-deleted",
        webhook_pause_s=0.2,
        webhook_pause_s_max=1.0,
        webhook_tries_max=1_000,
    ) as service:
        async with HttpClient(service.url) as client:
            context_id = await client.create()
            async with receiver.serving():
                await client.send(context_id, "One")
                await receiver.until_kinds(context_id, "context-created", "reply-ended")
            # Nobody listens: turns go on as if nothing were.
            for number in range(TURNS):
                await client.send(context_id, f"While it is away: {number}")
            kill(service.processes("worker")[0])
            await client.send(context_id, "After a worker's death")
            kinds = ["context-created", *["reply-ended"] * (TURNS + 2)]
            async with receiver.serving():
                found = await distinct(receiver, context_id, len(kinds))
                assert [kind for _, kind in found] == kinds
                versions = [version for version, _ in found]
                assert versions == sorted(versions)
                await client.request("DELETE", f"/api/contexts/{context_id}")
                found = await distinct(receiver, context_id, len(kinds) + 1)
                assert found[-1][1] == "context-deleted"


async def distinct(receiver: Receiver, context_id: str, count: int) -> list[tuple[int, str]]:
    """Version and kind of what was told of a context, each once, in the order it came."""
    async with asyncio.timeout(30):
        while True:
            seen = {
                int(one.id.rpartition(".")[2]): one.kind
                for one in receiver.taken_of(context_id)
            }
            if len(seen) >= count:
                return [*seen.items()]
            await receiver.until(len(receiver.taken) + 1)
