"""P1, P7: the power goes; what was synced is there, and what is lost is announced."""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace

import aiohttp
import pytest

from tests.support.http_client import HttpClient, Json
from tests.support.invariants import Sent, everything_said, history_faults
from tests.support.power_cut import PowerCut
from tests.support.service_processes import Service, until
from tests.support.store_server import StoreServer

pytestmark = [pytest.mark.timeout(240), pytest.mark.real_only]

CUTS = 3
CONTEXTS = 4
CUT_AFTER_MS = (150, 700)
BACK_S_MAX = 20.0
LOST_S_MAX = 3.0
"""P1, standard: at most 2 s and the slowest sync."""


@contextmanager
def powered(power: PowerCut, *, appendfsync: str) -> Generator[StoreServer]:
    """A server whose syncs are noted."""
    with StoreServer(appendfsync=appendfsync) as server:
        server.kill()
        power.start(server)
        yield server


class Writers:
    """Clients that send as fast as they are acked, one context each, and write it down."""

    def __init__(self, client: HttpClient, context_ids: list[str]) -> None:
        self.sent: dict[str, list[Sent]] = {context_id: [] for context_id in context_ids}
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
            with suppress(aiohttp.ClientError):
                reply = await self._client.send(
                    context_id, sent[number].content, key=f"key-{number}"
                )
                assert reply.status in {200, 202, 429, 503}, reply
                if reply.status < 300:
                    sent[number] = replace(sent[number], acked_s=time.monotonic())

    async def acked_more(self) -> None:
        """Wait until something is acked that was not yet."""
        before = self.acked
        async with asyncio.timeout(BACK_S_MAX):
            while self.acked == before:  # noqa: ASYNC110 - it is another process
                await asyncio.sleep(0.002)

    @property
    def acked(self) -> int:
        return sum(one.acked_s is not None for sent in self.sent.values() for one in sent)


def lost(sent: list[Sent], context: Json) -> list[Sent]:
    """What was acked and is not there."""
    there = set(everything_said(context))
    return [one for one in sent if one.acked_s is not None and one.content not in there]


def keeps(sent: list[Sent]) -> Callable[[Json], bool]:
    """Whether a context has all that was acked."""
    return lambda context: not lost(sent, context)


@pytest.mark.slow  # three cuts of a service
async def test_p1_strict_loses_nothing_acked_by_power_cuts_at_random_moments() -> None:
    seed = random.SystemRandom().randrange(1_000_000)
    print(f"seed {seed}")  # noqa: T201 - to repeat a failure
    chance = random.Random(seed)
    with (
        PowerCut() as power,
        powered(power, appendfsync="always") as server,
        Service(redis_url=server.url, scripted_chunk_ms=0, standby=False) as service,
    ):
        async with HttpClient(service.url) as client:
            ids = [await client.create() for _ in range(CONTEXTS)]
            writers = Writers(client, ids)
            epochs = {(await client.state(ids[0]))["cursor"].split(".")[0]}
            for _ in range(CUTS):
                async with writers.writing():
                    await writers.acked_more()
                    await asyncio.sleep(chance.uniform(*CUT_AFTER_MS) / 1_000)
                    power.cut(server, chance)
                power.start(server)
                for context_id in ids:
                    sent = writers.sent[context_id]
                    context = await client.until_state(context_id, keeps(sent))
                    faults = history_faults(sent, everything_said(context))
                    assert faults == [], faults
                    epochs.add(context["cursor"].split(".")[0])
            print(f"{writers.acked} acked, {CUTS} cuts, none lost")  # noqa: T201 - a number to report
            assert len(epochs) == 1


@pytest.mark.slow  # a whole service
async def test_p1_p7_standard_announces_what_a_power_cut_takes_by_one_reset() -> None:
    chance = random.Random(1)
    with (
        PowerCut() as power,
        powered(power, appendfsync="everysec") as server,
        Service(
            redis_url=server.url, durability="standard", scripted_chunk_ms=0, standby=False
        ) as service,
    ):
        async with HttpClient(service.url) as client:
            context_id = await client.create()
            writers = Writers(client, [context_id])
            await client.send(context_id, "kept", key="kept", prefer="wait=10")
            until(lambda: power.unsynced_bytes(server) == 0, "everything is synced")
            async with client.watching(context_id) as seen:
                await seen.until(lambda stream: stream.of("snapshot"))
                epoch = seen.frames[0].data["epoch"]
                async with writers.writing():
                    # Something is acked of which the last bytes were not synced.
                    async with asyncio.timeout(BACK_S_MAX):
                        while writers.acked < 3 or power.unsynced_bytes(server) == 0:  # noqa: ASYNC110 - it is another process
                            await asyncio.sleep(0.002)
                    taken = 0
                    cut_s = time.monotonic()
                    while not taken:
                        taken = power.cut(server, chance)
                power.start(server)
                await seen.until(lambda stream: stream.of("reset"))
                again = await client.send(context_id, "after", key="after", prefer="wait=10")
                assert again.status == 200, again
                final = await client.rested(context_id)
                await seen.until(lambda stream: stream.cursor == final["cursor"])
            gone = lost(writers.sent[context_id], final)
            print(f"{writers.acked} acked, {len(gone)} lost, {taken} bytes")  # noqa: T201 - a number to report
            assert all(cut_s - one.began_s < LOST_S_MAX for one in gone)
            assert "kept" in everything_said(final)
            (reset,) = seen.of("reset")
            assert int(final["cursor"].split(".")[0]) > int(epoch)
            assert int(reset.id.split(".")[0]) > int(epoch)
            # The instrument sees a loss where there is one: strict has none of it.
            assert gone
