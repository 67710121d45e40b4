"""What one worker has the store know of itself, and what it does about those that are dead."""

import asyncio
import contextlib

import structlog

from storage import Store, StoreRefusedWrite, StoreUnavailable
from workers.activation import Clock
from workers.config import WorkerConfig

log = structlog.get_logger(__name__)


class Session:
    """The session of one worker."""

    def __init__(
        self, worker_id: str, *, store: Store, config: WorkerConfig, clock: Clock
    ) -> None:
        self._worker_id = worker_id
        self._store = store
        self._config = config
        self._clock = clock

    async def begin(self, stop: asyncio.Event) -> bool:
        """Begin it as soon as the store takes it; False if `stop` was set first."""
        told = False
        while not stop.is_set():
            try:
                await self._store.sessions.renew(
                    self._worker_id, now_ms=self._clock(), begin=True
                )
            except (StoreUnavailable, StoreRefusedWrite) as error:
                if not told:
                    log.warning("worker waits for the store", error=str(error))
                told = True
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._config.commit_pause_s_max):
                        await stop.wait()
            else:
                return True
        return False

    async def go_on(self) -> None:
        """Go on with one that has only run out, as where the store took no writes.

        Mail may come before the next heartbeat.

        Raises:
            WorkerBuried: Others have what this worker had.
        """
        await self._store.sessions.renew(self._worker_id, now_ms=self._clock())

    async def renew(self) -> None:
        """Renew it, and bury the workers that have not renewed theirs. Raises as `go_on`."""
        for other in await self._store.sessions.renew(self._worker_id, now_ms=self._clock()):
            log.warning("worker is dead", worker_id=other)
            await self._store.sessions.bury(other)

    async def hand_over(self) -> int:
        """End it, and give what is left to others; how many contexts that was."""
        try:
            had = await self._store.sessions.bury(self._worker_id, cause="left")
        except (StoreUnavailable, StoreRefusedWrite) as error:
            # Others find the session expired a little later.
            log.warning("worker not handed over", worker_id=self._worker_id, error=str(error))
            return 0
        log.info("worker drained", worker_id=self._worker_id, handed_over=had)
        return had
