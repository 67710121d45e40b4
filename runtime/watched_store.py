"""Keeps the store up that is the supervisor's."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from runtime.config import RuntimeConfig
from runtime.embedded import StoreFailed
from runtime.repeating import backoff_of, until_done
from runtime.store_address import BadDataFolder, DataFolderLost
from runtime.store_binary import NoStoreBinary

_log = logging.getLogger(__name__)


class WatchedStore(Protocol):
    """A store that is the supervisor's to keep running."""

    @property
    def url(self) -> str:
        """What clients connect to."""
        ...

    async def start(self) -> None:
        """Start or join it; returns once it answers."""
        ...

    async def gone(self) -> None:
        """Wait until it is gone."""
        ...

    async def stop(self) -> None:
        """End it."""
        ...


async def try_start(store: WatchedStore) -> Exception | None:
    """Start the store; a failure is returned, so that it is not wrapped in a group."""
    try:
        await store.start()
    except (StoreFailed, NoStoreBinary, BadDataFolder) as error:
        return error
    return None


async def keep_up(
    store: WatchedStore, config: RuntimeConfig, prepare: Callable[[], Awaitable[None]] | None
) -> None:
    """Start the store again whenever it is gone; cancelled, nobody starts it any more.

    Args:
        store: It has been started.
        config: How long to wait between two tries.
        prepare: Called beside, each time it has come up; repeated until it succeeds or the
            store is gone again.
    """
    # Everything waits for the store: it is tried more often than a process of ours.
    backoff = backoff_of(config, max_s=config.store_backoff_s_max)
    loop = asyncio.get_running_loop()
    up_since_s = loop.time()
    async with asyncio.TaskGroup() as group:
        preparing: asyncio.Task[None] | None = None
        while True:
            await store.gone()
            if preparing is not None:
                preparing.cancel()
            lost = ""  # what was said of a data folder that was taken away
            while True:
                delay_s = backoff.delay_s(up_s=loop.time() - up_since_s)
                if not lost:
                    _log.warning("store gone, starting it again", extra={"delay_s": delay_s})
                await asyncio.sleep(delay_s)
                up_since_s = loop.time()
                error = await try_start(store)
                if error is None:
                    break
                if str(error) != lost:
                    _log.error("store did not start", extra={"reason": str(error)})
                lost = str(error) if isinstance(error, DataFolderLost) else ""
            if lost:
                _log.warning("store is up again")
            if prepare is not None:
                work = until_done("prepare", prepare, config)
                preparing = group.create_task(work, name="prepare")
