"""Keeps apart the contexts that are suspected of killing workers, while they are tried again.

From the second death on, no other suspected context runs beside one in the same worker, so
that the next death blames one context. Which are suspected, and when one is given up, is in
`workers/poison.py`.
"""

import asyncio
import contextlib

import structlog

from storage import Owned, Store, StoreRefusedWrite, StoreUnavailable
from workers.activation import Clock
from workers.config import WorkerConfig
from workers.poison import Suspicion, deaths

log = structlog.get_logger(__name__)


class Isolation:
    """The suspected contexts of one worker."""

    def __init__(self, store: Store, config: WorkerConfig, clock: Clock) -> None:
        self._store = store
        self._config = config
        self._clock = clock
        self._alone = asyncio.Lock()
        """Held by the one that is being tried."""

    async def suspect(
        self, owned: Owned, *, crash: str, trial: contextlib.ExitStack
    ) -> Suspicion | None:
        """Whether the context's work is suspected of killing workers; if so, count this try.

        Args:
            owned: The context.
            crash: What its last crash in this worker was; empty if there was none.
            trial: Keeps other suspects out until it is closed.

        Raises:
            Fenced: Another activation has become its owner.
        """
        died = deaths(owned, now_ms=self._clock())
        if died == 0:
            return None
        cause = crash or f"The worker {owned.before or 'that had it'} died."
        if died < self._config.kills_max:
            if died > 1:
                await self._alone.acquire()
                trial.callback(self._alone.release)
            await self._count_attempt(owned, died + 1)
        return Suspicion(died, cause, trial.close)

    async def _count_attempt(self, owned: Owned, attempt: int) -> None:
        """Count a try once: begun anew, it would be taken for one that has come to nothing."""
        while True:
            try:
                await self._store.ownership.count_attempt(owned, attempt)
            except (StoreUnavailable, StoreRefusedWrite) as error:
                log.warning("activation waits", context_id=owned.context_id, error=str(error))
                await asyncio.sleep(self._config.commit_pause_s_max)
            else:
                return
