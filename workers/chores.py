"""Chores: maintenance in small pieces, beside the activations.

A chore is a named function, about one context or none, carried by an rq job, so that `rq info`
shows it and any worker may do it. A lost job is harmless: what it is about stays in the store
and is enqueued again. Chores never hold up a turn: they are tasks of their own, and at most
`chores_max` of them work at once.
"""

import asyncio
from collections.abc import Sequence

import structlog

from storage import ErrorSeen, Retention, Store, StoreRefusedWrite, StoreUnavailable
from workers.activation import Clock
from workers.config import WorkerConfig
from workers.crashes import first_cause, outcome
from workers.dequeue import ActivationSource, Chore
from workers.webhooks import Teller

log = structlog.get_logger(__name__)

WAITING_MAX = 20
"""Chores per place that may be taken and not ended; beyond, no webhook jobs are enqueued."""


class Chores:
    """The maintenance of one worker."""

    def __init__(
        self,
        store: Store,
        config: WorkerConfig,
        *,
        source: ActivationSource,
        clock: Clock,
        teller: Teller | None,
    ) -> None:
        self._store = store
        self._config = config
        self._source = source
        self._clock = clock
        self._teller = teller
        self._places = asyncio.Semaphore(config.chores_max)
        self._waiting = 0
        """Chores that were taken and have not ended."""
        self._doing: dict[Chore, asyncio.Task[None]] = {}

    @property
    def tasks(self) -> Sequence[asyncio.Task[None]]:
        """Of what was begun and has not ended."""
        return list(self._doing.values())

    async def ask(self) -> None:
        """Enqueue what is due at each heartbeat, until cancelled.

        A task of its own: the heartbeat must not wait for it.
        """
        while True:
            try:
                await self.enqueue_due()
            except (StoreUnavailable, StoreRefusedWrite) as error:
                log.warning("chores wait", error=str(error))
            await asyncio.sleep(self._config.worker_heartbeat_s)

    def begin(self, chore: Chore, group: asyncio.TaskGroup) -> None:
        """Do a chore whose job was taken, in a task of its own, and end the job."""
        if chore not in self._doing:
            name = f"chore {chore.job_id}"
            self._doing[chore] = group.create_task(self._do_job(chore), name=name)

    async def leave(self) -> None:
        """End the jobs of what was cancelled: it is left to others.

        Webhooks are claimed again, retention comes with its next period.
        """
        for chore in tuple(self._doing):
            await self._source.end_chore(chore, None)

    async def _do_job(self, chore: Chore) -> None:
        """Do a chore; whatever happens concerns this job alone."""
        failure = await outcome(self.do(chore))
        error = None if failure is None else first_cause(failure)
        if failure is not None:
            self._store.meters.count("errors:chore-failed")
            self._store.announcer.tell(ErrorSeen(error="chore-failed", severity="warning"))
            log.error("chore failed", job_id=chore.job_id, error=error, exc_info=failure)
        del self._doing[chore]
        await self._source.end_chore(chore, error)

    async def enqueue_due(self) -> None:
        """Enqueue the chores that are due.

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
