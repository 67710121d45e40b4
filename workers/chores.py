"""Chores: maintenance in small pieces, beside the activations.

A chore is a named function, about one context or none, carried by an rq job, so that `rq info`
shows it and any worker may do it. A lost job is harmless: what it is about stays in the store
and is enqueued again. Chores never hold up a turn: they are tasks of their own, and at most
`chores_max` of them work at once.
"""

import asyncio

import structlog

from storage import Retention, Store
from workers.activation import Clock
from workers.config import WorkerConfig
from workers.dequeue import Chore
from workers.webhooks import Teller

log = structlog.get_logger(__name__)

WAITING_MAX = 20
"""Chores per place that may be taken and not ended; beyond, no webhook jobs are enqueued."""


class Chores:
    """The maintenance of one worker."""

    def __init__(
        self, store: Store, config: WorkerConfig, *, clock: Clock, teller: Teller | None
    ) -> None:
        self._store = store
        self._config = config
        self._clock = clock
        self._teller = teller
        self._places = asyncio.Semaphore(config.chores_max)
        self._waiting = 0
        """Chores that were taken and have not ended."""

    async def enqueue_due(self) -> None:
        """Enqueue the chores that are due. Every worker calls this again and again.

        Raises:
            StoreUnavailable, StoreRefusedWrite: Call it again.
        """
        if self._store.config.retention_days:
            period_s = self._config.retention_every_s
            await self._store.queue.enqueue_each("retention", period_s=period_s)
        room = WAITING_MAX * self._config.chores_max - self._waiting
        if self._teller is not None and room > 0:
            await self._teller.claim(room)

    async def do(self, chore: Chore) -> None:
        """Do a chore as soon as fewer than `chores_max` are being done.

        Cancelled, it leaves the rest to whoever does it next.

        Raises:
            StoreUnavailable, StoreRefusedWrite: It is not done to its end.
        """
        self._waiting += 1
        try:
            async with self._places:
                await self.perform(chore)
        finally:
            self._waiting -= 1

    async def perform(self, chore: Chore) -> None:
        """Do a chore at once."""
        if chore.name == "retention":
            gone = await Retention(self._store).run(self._clock)
            log.info("retention done", contexts=gone)
        elif self._teller is not None:
            await self._teller.tell(chore.context_id)
