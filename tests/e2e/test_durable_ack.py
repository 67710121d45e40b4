"""P1: what was acknowledged is there after kill -9 of everything; the rest may be repeated."""

import asyncio
import random
import time
from dataclasses import replace

import aiohttp
import pytest

from tests.support.http_client import HttpClient, Json
from tests.support.invariants import Sent, answer_faults, everything_said, history_faults
from tests.support.service_processes import Service

SENDS = 20
KILLS = 5
KILL_AFTER_MS_MAX = 60
pytestmark = pytest.mark.timeout(240)

ATTEMPTS = {"limits": {"attempts_max": 20}}
"""A turn may be killed more often than a model call is normally made."""


@pytest.mark.slow  # five starts of the whole service
async def test_p1_p2_acked_sends_survive_kill_9_of_all_processes_at_five_random_moments() -> (
    None
):
    seed = random.SystemRandom().randrange(1_000_000)
    print(f"seed {seed}")  # noqa: T201 - to repeat a failure
    chance = random.Random(seed)
    sent = [Sent(f"send {number:02} of the run", 0.0, None) for number in range(SENDS)]
    with Service(scripted_chunk_ms=0, standby=False) as service:
        async with HttpClient(service.url) as client:
            context_id = await client.create(config=ATTEMPTS)

        async def send(client: HttpClient, number: int) -> None:
            """Send once; written down as acked only where a 2xx came."""
            one = sent[number]
            if not one.began_s:
                one = sent[number] = replace(one, began_s=time.monotonic())
            try:
                reply = await client.send(context_id, one.content, key=f"key-{number}")
            except aiohttp.ClientError:
                return
            assert reply.status in {200, 202, 503}
            if reply.status < 300 and one.acked_s is None:
                sent[number] = replace(one, acked_s=time.monotonic())

        def keeps_what_was_acked(context: Json) -> bool:
            """Acked mail that is not applied yet is in neither list: it has to come."""
            begun = [one for one in sent if one.began_s]
            faults = history_faults(begun, everything_said(context))
            assert all(fault.startswith("lost") for fault in faults), faults
            return faults == []

        async def kill_soon() -> None:
            await asyncio.sleep(chance.uniform(0, KILL_AFTER_MS_MAX) / 1_000)
            service.kill_everything()

        unacked = 0
        for kill in range(KILLS):
            numbers = range(kill * SENDS // KILLS, (kill + 1) * SENDS // KILLS)
            async with HttpClient(service.url) as client, asyncio.TaskGroup() as group:
                group.create_task(kill_soon())
                for number in numbers:
                    group.create_task(send(client, number))
            unacked += sum(sent[number].acked_s is None for number in numbers)
            service.start()
            async with HttpClient(service.url) as client:
                await client.until_state(context_id, keeps_what_was_acked)

        async with HttpClient(service.url) as client:
            async with asyncio.TaskGroup() as group:
                for number in range(SENDS):
                    group.create_task(send(client, number))
            # A 202 is a promise: until the dead worker's session is over its mail waits.
            await client.until_state(context_id, keeps_what_was_acked)
            final = await client.rested(context_id)
    print(f"{unacked} of {SENDS} were not acked before the kill")  # noqa: T201 - context for a failure
    assert all(one.acked_s is not None for one in sent)
    assert history_faults(sent, everything_said(final)) == []
    assert len(everything_said(final)) == SENDS
    assert answer_faults(final) == []
