"""Which chores a worker has done, how many at once, and what they do; in virtual time."""

import asyncio
import contextlib

import pytest
from typing_extensions import override

from fsm import ContextCreated, ContextDeleted
from storage import StoreUnavailable, keys
from tests.support.clock import in_virtual_time, settled
from tests.support.memory_store import MemoryStore, open_memory_store
from tests.support.playbook import BEGAN_MS, CONTEXT_ID
from tests.workers.hosting import Jobs
from tests.workers.stage import now_ms, nth_id
from workers import WorkerConfig
from workers.activation import Clock
from workers.chores import WAITING_MAX, Chores
from workers.dequeue import Chore
from workers.webhooks import Teller

DAY_MS = 86_400_000
CONFIG = WorkerConfig(chores_max=1, retention_every_s=600)


class Telling(Teller):
    """Tells until it is let go, or breaks."""

    def __init__(self) -> None:
        self.rooms: list[int] = []
        """How many contexts it was to claim at most, each time."""
        self.told: list[str] = []
        self.let_go = asyncio.Event()
        self.breaks = False

    @override
    async def claim(self, limit: int) -> None:
        self.rooms.append(limit)

    @override
    async def tell(self, context_id: str) -> None:
        self.told.append(context_id)
        await self.let_go.wait()
        if self.breaks:
            raise StoreUnavailable("away")


def make_chores(
    store: MemoryStore, *, clock: Clock = now_ms, teller: Teller | None = None
) -> Chores:
    source = Jobs(store, "w1")
    return Chores(store, CONFIG, source=source, clock=clock, teller=teller)


@in_virtual_time
@pytest.mark.parametrize("days", [0, 30])
async def test_retention_is_asked_for_once_in_a_period_where_contexts_grow_old(
    days: int,
) -> None:
    async with open_memory_store(retention_days=days) as store:
        chores = make_chores(store)
        await chores.enqueue_due()
        await chores.enqueue_due()
        period_s = await store.link.call("TTL", keys.chore("retention"))
        assert period_s == (CONFIG.retention_every_s if days else -2)
        assert await store.queue.enqueue_chore("retention") == (days == 0)


@in_virtual_time
async def test_retention_has_what_is_old_deleted() -> None:
    async with open_memory_store(retention_days=30) as store:
        event = ContextCreated(at_ms=BEGAN_MS, context_id=CONTEXT_ID, owner="ada")
        await store.admissions.create(event, first=None, key="", digest="")
        created_ms = int(CONTEXT_ID.replace("-", "")[:12], 16)
        old_ms = max(created_ms, BEGAN_MS) + 31 * DAY_MS
        await make_chores(store, clock=lambda: old_ms).do(Chore("retention", ""))
        (waiting,) = await store.undelivered(CONTEXT_ID)
        assert isinstance(waiting.mail.event, ContextDeleted)


@in_virtual_time
@pytest.mark.parametrize("end", ["done", "broken", "cancelled"])
async def test_a_worker_claims_what_it_has_room_for_until_chores_end(end: str) -> None:
    async with open_memory_store() as store, asyncio.TaskGroup() as group:
        telling = Telling()
        chores = make_chores(store, teller=telling)

        async def do(number: int) -> None:
            with contextlib.suppress(StoreUnavailable):
                await chores.do(Chore("webhooks", nth_id(number)))

        tasks = [group.create_task(do(n), name=f"chore {n}") for n in range(WAITING_MAX - 1)]
        await settled()
        assert telling.told == [nth_id(0)]
        await chores.enqueue_due()
        tasks.append(group.create_task(do(WAITING_MAX), name="the last"))
        await settled()
        await chores.enqueue_due()
        assert telling.rooms == [1]
        telling.breaks = end == "broken"
        if end == "cancelled":
            for task in tasks:
                task.cancel()
        telling.let_go.set()
        await asyncio.wait(tasks)
        await chores.enqueue_due()
        assert telling.rooms == [1, WAITING_MAX]
