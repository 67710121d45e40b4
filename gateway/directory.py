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
from storage import ContextMissing, NoScript, Store, StoreRefusedWrite, StoreUnavailable


class Directory:
    """Mirrors and feeds of one gateway."""

    def __init__(self, store: Store, config: GatewayConfig, group: asyncio.TaskGroup) -> None:
        self._store = store
        self._config = config
        self._group = group
        self._mirrors: OrderedDict[tuple[str, str], Mirror] = OrderedDict()
        self._feeds: dict[tuple[str, str], Feed] = {}
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._heads: dict[tuple[str, str], asyncio.Future[object]] = {}
        self._epoch = store.epoch
        """Epoch of the store when the mirrors were read."""

    @override
    def __repr__(self) -> str:
        return f"<Directory {len(self._mirrors)} mirrors, {len(self._feeds)} feeds>"

    @property
    def feeds(self) -> int:
        """How many contexts this gateway listens to."""
        return len(self._feeds)

    async def head(self, context_id: str, owner: str) -> tuple[int, int]:
        """Version and draft position of a context, without loading it.

        Raises:
            ContextMissing: No such context, or not this owner's.
            ContextUnreadable: Nobody can open it.
            StoreUnavailable: The store does not answer.
        """
        key = (context_id, owner)
        shared, epoch = self._heads.get(key), self._store.epoch
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
        self._same_epoch(epoch)
        self._forget_other_epochs()
        return head

    def _same_epoch(self, epoch: str) -> None:
        """Raise if the epoch has changed since: what was asked may be true of neither epoch."""
        if self._store.epoch != epoch:
            raise StoreUnavailable("the store was restarted while we read")

    def _forget_other_epochs(self) -> None:
        """Drop the mirrors of an epoch that is over: they may hold what the store has lost."""
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

    def has(self, context_id: str, owner: str, head: tuple[int, int]) -> bool:
        """Whether a read at `head` is answered without loading anything."""
        key = (context_id, owner)
        feed, mirror = self._feeds.get(key), self._mirrors.get(key)
        if feed is not None and feed.current and feed.mirror.head == head:
            return True
        return mirror is not None and mirror.head == head

    async def read_at(self, context_id: str, owner: str, head: tuple[int, int]) -> Mirror:
        """A context at least as new as `head` says, loading it only if that is new here."""
        key = (context_id, owner)
        epoch = self._store.epoch
        feed = self._feeds.get(key)
        if feed is not None and feed.current and feed.mirror.head == head:
            return feed.mirror
        self._forget_other_epochs()
        mirror = self._mirrors.get(key)
        if mirror is None or mirror.head != head:
            known = mirror.view if mirror else None
            reading = await self._store.read(context_id, owner, known=known)
            self._same_epoch(epoch)
            if known is not None and self._mirrors.get(key) is not mirror:
                # A feed has taken it meanwhile: what we changed in it nobody would be shown.
                mirror = Mirror(known, epoch)
            if mirror is None or (reading.view and reading.version < mirror.version):
                assert reading.view is not None
                mirror = Mirror(reading.view, epoch)
            elif reading.view is not None:
                mirror.view = reading.view
        self._keep(key, mirror)
        return mirror

    def last_known(self, context_id: str, owner: str) -> Mirror | None:
        """A context as this gateway has seen it last, without asking the store.

        None if it has not, or if the store may have lost what was seen.
        """
        self._forget_other_epochs()
        key = (context_id, owner)
        mirror, feed = self._mirrors.get(key), self._feeds.get(key)
        heard = feed.last_known if feed is not None else None
        if mirror is None or (heard is not None and heard.version >= mirror.version):
            return heard
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
            ContextUnreadable: Nobody can open it.
            StoreUnavailable: The store does not answer.
        """
        key = (context_id, owner)
        feed = self._feeds.get(key)
        if feed is None or self._tasks[key].done():
            self._forget_other_epochs()
            feed = Feed(self._store, context_id, owner)
            known = self._mirrors.pop(key, None)
            running = feed.run(known)
            try:
                task = self._group.create_task(running, name=f"feed {context_id}")
            except RuntimeError:  # the group is being ended
                running.close()
                raise StoreUnavailable("the gateway stops") from None
            task.add_done_callback(feed.end)
            self._feeds[key], self._tasks[key] = feed, task
        feed.users += 1
        try:
            await feed.opened.wait()
            feed.check()
            if not feed.current:
                await self._until_current(feed)
            yield feed
        finally:
            feed.users -= 1
            feed.unused_since = asyncio.get_running_loop().time()

    async def _until_current(self, feed: Feed) -> None:
        """Wait until the feed's mirror is of the present epoch."""
        feed.read_again()
        try:
            async with asyncio.timeout(self._store.config.store_call_s_max):
                await feed.wait_until(lambda _mirror: feed.current)
        except TimeoutError:
            raise StoreUnavailable("no answer since the store was restarted") from None

    async def sweep(self) -> None:
        """Stop listening to contexts that were not used for a while; until cancelled."""
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
                if feed.users == 0 or not feed.current:
                    continue
                try:
                    head = await self.head(context_id, owner)
                except (StoreUnavailable, StoreRefusedWrite):
                    break
                except ContextMissing:
                    feed.read_again()
                else:
                    if head > feed.mirror.head:
                        feed.read_again()

    def _close_feed(self, key: tuple[str, str], feed: Feed) -> None:
        del self._feeds[key]
        self._tasks.pop(key).cancel()
        if feed.current and not feed.deleted:
            self._keep(key, feed.mirror)

    def close(self) -> None:
        """Stop listening to everything."""
        for task in self._tasks.values():
            task.cancel()
