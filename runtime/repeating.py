"""What the supervisor does again until it succeeds; the supervisor outlives all of it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from runtime.backoff import Backoff
from runtime.config import RuntimeConfig
from runtime.embedded import StoreFailed
from storage import end_if_cancelled

_log = logging.getLogger(__name__)
_BURY_AGAIN_S = 0.25


async def until_done(
    what: str, work: Callable[[], Awaitable[None]], config: RuntimeConfig
) -> None:
    """Repeat some work until it succeeds; children are kept running meanwhile."""
    backoff = backoff_of(config)
    loop = asyncio.get_running_loop()
    while True:
        since_s = loop.time()
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - the supervisor outlives all
            end_if_cancelled()
            delay_s = backoff.delay_s(up_s=loop.time() - since_s)
            _log.warning(
                "failed, doing it again",
                extra={"what": what, "delay_s": delay_s, "reason": str(error)},
                exc_info=not isinstance(error, StoreFailed),
            )
            await asyncio.sleep(delay_s)
        else:
            return


async def until_buried(bury: Callable[[], Awaitable[None]], config: RuntimeConfig) -> None:
    """Repeat a burial until it succeeds, or has taken too long."""
    try:
        async with asyncio.timeout(config.bury_s_max):
            while True:
                try:
                    await bury()
                except Exception as error:  # noqa: BLE001 - the supervisor outlives all
                    reason = type(error).__name__
                    _log.debug("bury failed", extra={"reason": reason})
                    end_if_cancelled()
                    await asyncio.sleep(_BURY_AGAIN_S)
                else:
                    return
    except TimeoutError:
        # Not lost: the worker's session runs out and a sweeper frees its contexts.
        _log.warning("could not bury a dead worker, its session has to run out")


def backoff_of(config: RuntimeConfig, *, max_s: float | None = None) -> Backoff:
    """The waits between tries of one thing; `max_s`: the longest, where it has its own."""
    return Backoff(
        base_s=config.restart_backoff_s_base,
        max_s=config.restart_backoff_s_max if max_s is None else max_s,
        reset_s=config.restart_reset_s,
    )
