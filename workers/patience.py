"""Repeats a step of the protocol until the store has taken it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from storage import StoreRefusedWrite, StoreUnavailable
from workers.config import WorkerConfig

log = structlog.get_logger(__name__)

T = TypeVar("T")


class Patience:
    """How one context waits for the store."""

    def __init__(self, context_id: str, config: WorkerConfig) -> None:
        self._context_id = context_id
        self._config = config

    async def insist(self, step: Callable[[], Awaitable[T]]) -> T:
        """Repeat a step until the store has taken it; the step must be safe to repeat."""
        pause_s = self._config.commit_pause_s
        tries = 1
        while True:
            try:
                return await step()
            except (StoreUnavailable, StoreRefusedWrite) as error:
                if tries == 1:  # thousands of contexts may wait, for long
                    log.warning(
                        "context waits for the store",
                        context_id=self._context_id,
                        error=str(error),
                    )
                tries += 1
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, self._config.commit_pause_s_max)
