"""A semaphore that is fair between owners: its places are given to owners in turn."""

import asyncio
from collections import OrderedDict, deque

from typing_extensions import override


class Places:
    """A number of places; owners get them in turn, however many wait of each."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        """Waiters by owner; the owner whose turn is next comes first."""

    @override
    def __repr__(self) -> str:
        waiting = sum(map(len, self._waiting.values()))
        return f"<Places {self._free} free, {waiting} of {len(self._waiting)} owners waiting>"

    async def take(self, owner: str, *, within_s: float) -> None:
        """Wait for a place and have it until `leave`.

        Cancelling it while it waits loses no place.

        Raises:
            TimeoutError: There was none within that time.
        """
        if self._free:
            self._free -= 1
        else:
            await self._wait(owner, within_s)

    async def _wait(self, owner: str, within_s: float) -> None:
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(owner, deque()).append(place)
        try:
            async with asyncio.timeout(within_s):
                await place
        except (TimeoutError, asyncio.CancelledError):
            if not place.cancelled():  # it was given at the last moment
                self.leave()
            raise

    def leave(self) -> None:
        """Give the place to the next waiter."""
        while self._waiting:
            owner, line = self._waiting.popitem(last=False)
            while line:
                place = line.popleft()
                if place.done():
                    continue  # nobody waits for it any more
                if line:
                    self._waiting[owner] = line  # behind all others
                place.set_result(None)
                return
        self._free += 1
