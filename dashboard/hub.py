"""The announcements and statistics for all dashboards of one gateway, held once.

Announcements come over one subscription, which lasts while any dashboard is open. The newest
stay in memory; a dashboard holds only the number of its last one, and takes the next when it
has room. So a slow reader costs no more than any other: it catches up from here, else from the
store, and is told what is no longer kept.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Final

import structlog
from pydantic import ValidationError

from dashboard.config import DashboardConfig
from dashboard.messages import ANNOUNCED, announced_message
from dashboard.statistics import Surveyor
from storage import (
    ANNOUNCEMENTS,
    Listener,
    StorageError,
    Store,
    announced_after,
    first_announced,
    last_announced,
    read_announced,
)

log = structlog.get_logger(__name__)

READ_MAX: Final = 500
"""Announcements that are read from the store at once."""
INVALID: Final = "announcements:invalid"
SKIPPED: Final = "announcements:skipped"


@dataclass(frozen=True, slots=True)
class Shown:
    """One message, encoded once for all dashboards."""

    seq: int
    kind: str
    """"" if it cannot be shown and is skipped."""
    text: bytes

    @property
    def is_critical(self) -> bool:
        """Whether nobody may miss it."""
        model = ANNOUNCED.get(self.kind)
        return model is not None and model.is_critical


@dataclass(frozen=True, slots=True)
class EncodedStats:
    """Statistics, encoded once for all dashboards."""

    at: str
    data: bytes


class Hub:
    """What is new, for the dashboards of one gateway."""

    def __init__(self, store: Store, surveyor: Surveyor, config: DashboardConfig) -> None:
        self._store = store
        self._surveyor = surveyor
        self._config = config
        self._recent: deque[Shown] = deque(maxlen=config.dashboard_recent_max)
        """Contiguous, oldest first."""
        self._wakes: set[Callable[[], None]] = set()
        """Callbacks for when there is something new, one for each dashboard."""
        self._second = 0
        self._frames = 0
        """Non-critical messages sent in this second."""
        self._opening = asyncio.Lock()
        self._listener = Listener(self._on_published, self._on_gap)
        self._missed = False
        """Publications may have been lost: the store is to be read."""
        self.renumbered = 0
        """How often the numbers have begun anew: the store was set back, or emptied."""
        self.stats: EncodedStats | None = None
        """The newest; None: nobody has looked yet, or the store does not answer."""

    @property
    def head(self) -> int:
        """Number of the newest announcement that is known here."""
        return self._recent[-1].seq if self._recent else 0

    @contextlib.asynccontextmanager
    async def watched(self, wake: Callable[[], None]) -> AsyncGenerator[None, None]:
        """Listen for the length of a block, together with others who do.

        Args:
            wake: Called when there is something new.

        Raises:
            StoreUnavailable: Nothing is heard at the moment.
        """
        async with self._opening:
            if not self._wakes:
                await self._listen()
            self._wakes.add(wake)
        try:
            yield
        finally:
            self._wakes.discard(wake)
            if not self._wakes:
                self._store.subscriber.unsubscribe(ANNOUNCEMENTS, self._listener)
                self.stats = None  # nobody renews them from here on

    async def _listen(self) -> None:
        subscriber = self._store.subscriber
        await subscriber.subscribe(ANNOUNCEMENTS, self._listener)
        try:
            self._begin_at(*await last_announced(self._store.link))
        except BaseException:
            subscriber.unsubscribe(ANNOUNCEMENTS, self._listener)
            raise

    def _begin_at(self, seq: int, raw: bytes) -> None:
        """Hold the newest announcement alone: what comes behind it is new."""
        self._recent.clear()
        self._recent.append(self._shown(seq, raw) if seq else Shown(0, "", b""))

    async def oldest(self) -> int:
        """Number of the oldest announcement that is still kept; 0: there is none.

        Raises:
            StoreUnavailable: The store does not answer.
        """
        return await first_announced(self._store.link)

    def _on_published(self, publication: bytes) -> None:
        for seq, raw in read_announced(publication):
            if seq != self.head + 1:
                self._missed = True
                break
            self._recent.append(self._shown(seq, raw))
        self._wake()

    def _on_gap(self) -> None:
        self._missed = True
        self._wake()

    def _wake(self) -> None:
        for wake in self._wakes:
            wake()

    def _shown(self, seq: int, raw: bytes) -> Shown:
        try:
            kind, text = announced_message(seq, raw)
        except ValidationError as error:
            # Of another version of ours, or no announcement at all.
            self._store.meters.count(INVALID)
            log.warning("announcement not shown", seq=seq, errors=error.error_count())
            return Shown(seq, "", b"")
        return Shown(seq, kind, text)

    async def after(self, seq: int) -> list[Shown]:
        """Announcements behind a number, some at a time; empty: there is none yet.

        The first one may be further than `seq` + 1: those between are not kept any more.

        Raises:
            StoreUnavailable: It is behind what is held here, and the store does not answer.
        """
        if self._missed:
            await self._read_up()
        if seq >= self.head:
            return []
        first = self._recent[0].seq
        if seq >= first:
            return [shown for shown in self._recent if shown.seq > seq][:READ_MAX]
        read = await announced_after(self._store.link, seq, limit=READ_MAX)
        return [self._shown(number, raw) for number, raw in read]

    async def _read_up(self) -> None:
        """Read from the store what was missed of the publications."""
        self._missed = False
        try:
            held = self._recent[-1]  # more may be published while we ask
            newest, raw = await last_announced(self._store.link)
            if newest < held.seq or await self._is_another_by_now(held):
                self._begin_at(newest, raw)
                self.renumbered += 1
            while read := await announced_after(self._store.link, self.head, limit=READ_MAX):
                for seq, raw in read:
                    if seq > self.head:
                        self._recent.append(self._shown(seq, raw))
        except StorageError:
            self._missed = True
            raise

    async def _is_another_by_now(self, held: Shown) -> bool:
        """Whether the store has something else under a number that is held here.

        It was set back, or emptied, and has gone beyond that number since.

        Raises:
            StoreUnavailable: The store does not answer.
        """
        if held.seq == 0:
            return False
        read = await announced_after(self._store.link, held.seq - 1, limit=1)
        return any(seq == held.seq and self._shown(seq, raw) != held for seq, raw in read)

    def may_send(self, shown: Shown) -> bool:
        """Whether one more dashboard is shown something; what is critical always is."""
        if shown.is_critical:
            return True
        second = int(asyncio.get_running_loop().time())
        if second != self._second:
            self._second, self._frames = second, 0
        self._frames += 1
        if self._frames <= self._config.dashboard_frames_s_max:
            return True
        self._store.meters.count(SKIPPED)
        return False

    async def survey(self) -> None:
        """Renew the statistics now and then while somebody looks; until cancelled."""
        while True:
            if self._wakes:
                try:
                    stats = await self._surveyor.stats()
                except StorageError as error:
                    log.debug("no statistics", error=str(error))
                    self.stats = None
                else:
                    if self._wakes:  # or who comes next is shown what was before
                        self.stats = EncodedStats(stats.at, stats.model_dump_json().encode())
                    self._wake()
            await asyncio.sleep(self._config.stats_every_s)
