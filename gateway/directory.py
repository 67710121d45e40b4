"""The contexts that this gateway knows: mirrors of those seen lately, feeds of those used.

Reads are linearizable: each asks the store, in one small script, for version and draft
position, and only what changed is loaded. Reads of one context that arrive together share
one question; it is sent after all of them have arrived.
"""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncGenerator

from typing_extensions import override

from gateway.config import GatewayConfig
from gateway.feed import Feed
from gateway.mirror import Mirror
from storage import ContextMissing, NoScript, Store, StoreUnavailable


class Directory:
    """Mirrors and feeds of one gateway."""

    def __init__(self, store: Store, config: GatewayConfig, group: asyncio.TaskGroup) -> None:
        self._store = store
        self._config = config
        self._group = group
        self._mirrors: OrderedDict[tuple[str, str], Mirror] = OrderedDict()
        self._feeds: dict[tuple[str, str], Feed] = {}
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._opening: dict[tuple[str, str], asyncio.Event] = {}
        self._heads: dict[tuple[str, str], asyncio.Future[object]] = {}
        self._epoch = store.epoch
        """Of the store when the mirrors were read."""

    @override
    def __repr__(self) -> str:
        return f"<Directory {len(self._mirrors)} mirrors, {len(self._feeds)} feeds>"

    async def head(self, context_id: str, owner: str) -> tuple[int, int]:
        """Version and draft position of a context, without loading it.

        Raises:
            ContextMissing: No such context, or not this owner's.
            StoreUnavailable: The store does not answer.
        """
        key = (context_id, owner)
        shared = self._heads.get(key)
        if shared is None:
            loop = asyncio.get_running_loop()
            shared = self._heads[key] = self._store.peek(context_id, owner)
            # Whoever arrives in this turn of the loop shares the question: it has not left.
            loop.call_soon(self._heads.pop, key)
        try:
            head = self._store.peeked(context_id, await asyncio.shield(shared))
        except NoScript:
            await self._store.reload_scripts()
            return await self.head(context_id, owner)
        self._forget_other_epochs()
        return head

    def _forget_other_epochs(self) -> None:
        """Mirrors of an epoch that is over may hold what the store has lost."""
        if self._epoch != self._store.epoch:
            self._mirrors.clear()
            self._epoch = self._store.epoch

    async def read(self, context_id: str, owner: str) -> Mirror:
        """A context as it is now.

        Raises:
            ContextMissing: No such context, or not this owner's.
            StoreUnavailable: The store does not answer.
        """
        return await self.read_at(context_id, owner, await self.head(context_id, owner))

    async def read_at(self, context_id: str, owner: str, head: tuple[int, int]) -> Mirror:
        """A context at least as new as `head` says, loading it only if that is new here."""
        key = (context_id, owner)
        version, n = head
        feed = self._feeds.get(key)
        if feed is not None and feed.fresh and _is_at(feed.mirror, version, n):
            return feed.mirror
        mirror = self._mirrors.get(key)
        if mirror is None or not _is_at(mirror, version, n):
            known = mirror.view if mirror else None
            reading = await self._store.read(context_id, owner, known=known)
            if mirror is None or (reading.view and reading.version < mirror.version):
                assert reading.view is not None
                mirror = Mirror(reading.view)
            elif reading.view is not None:
                mirror.view = reading.view
        self._keep(key, mirror)
        return mirror

    def _keep(self, key: tuple[str, str], mirror: Mirror) -> None:
        self._mirrors[key] = mirror
        self._mirrors.move_to_end(key)
        while len(self._mirrors) > self._config.mirrors_max:
            self._mirrors.popitem(last=False)

    @contextlib.asynccontextmanager
    async def follow(self, context_id: str, owner: str) -> AsyncGenerator[Feed, None]:
        """Listen to a context for the length of a block, and a little longer.

        Raises:
            ContextMissing: No such context, or not this owner's.
            StoreUnavailable: The store does not answer.
        """
        key = (context_id, owner)
        feed = self._feeds.get(key)
        if feed is None or self._tasks[key].done():
            self._forget_other_epochs()
            feed = self._feeds[key] = Feed(self._store, context_id, owner)
            opened = self._opening[key] = asyncio.Event()
            known = self._mirrors.pop(key, None)
            self._tasks[key] = self._group.create_task(
                feed.run(opened, known), name=f"feed {context_id}"
            )
        feed.users += 1
        try:
            if (opening := self._opening.get(key)) is not None:
                await opening.wait()
                self._opening.pop(key, None)
            feed.check()
            yield feed
        finally:
            feed.users -= 1
            feed.unused_since = asyncio.get_running_loop().time()

    async def sweep(self) -> None:
        """Stop listening to contexts that nobody has used for a while; until cancelled."""
        linger_s = self._config.linger_feed_s
        while True:
            await asyncio.sleep(max(0.1, linger_s / 10))
            before = asyncio.get_running_loop().time() - linger_s
            for key, feed in list(self._feeds.items()):
                if feed.users == 0 and feed.unused_since <= before:
                    self._close_feed(key, feed)

    async def check_feeds(self) -> None:
        """Ask now and then whether the feeds in use have missed a publication; until cancelled.

        A hole is noticed with the next frame; this is for the frame that is the last.
        """
        while True:
            await asyncio.sleep(self._config.feed_check_s)
            for (context_id, owner), feed in list(self._feeds.items()):
                if feed.users == 0 or not feed.fresh:
                    continue
                try:
                    head = await self.head(context_id, owner)
                except StoreUnavailable:
                    break
                except ContextMissing:
                    feed.read_again()
                else:
                    if head > (feed.mirror.version, feed.mirror.view.n):
                        feed.read_again()

    def _close_feed(self, key: tuple[str, str], feed: Feed) -> None:
        del self._feeds[key]
        self._tasks.pop(key).cancel()
        self._opening.pop(key, None)
        if feed.fresh and not feed.deleted:
            self._keep(key, feed.mirror)

    def close(self) -> None:
        """Stop listening to everything."""
        for task in self._tasks.values():
            task.cancel()


def _is_at(mirror: Mirror, version: int, n: int) -> bool:
    return mirror.version == version and mirror.view.n == n
