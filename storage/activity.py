"""Records and counts of answered requests, which all gateways share.

No request waits for them or fails by them: what the store does not take is lost, and callers
are told that it is.
"""

import contextlib
from collections import deque
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Final, cast

from redis.exceptions import ResponseError

import storage.keys as keys
from storage.errors import StorageError, StoreRefusedWrite
from storage.link import Argument, Link, Reply

TALLY_S: Final = 15
"""How long the tally of a gateway that has fallen silent is shown."""


@dataclass(frozen=True, slots=True)
class ActivityLog:
    """The records and tallies of one store."""

    link: Link
    records_max: int
    """How many records are kept, about."""

    async def append(self, records: Sequence[bytes]) -> int:
        """Add records, the oldest first; the oldest of all make room.

        Returns:
            How many of them the store has said that it has; the others may be there or not.
        """
        add = ("XADD", keys.ACTIVITY, "MAXLEN", "~", self.records_max, "*", "r")
        calls: deque[Awaitable[Reply]] = deque()
        with contextlib.suppress(StorageError):  # too many calls are under way
            calls.extend(self.link.call(*add, record) for record in records)
        taken = 0
        for call in calls:
            with contextlib.suppress(StorageError, ResponseError):
                await call
                taken += 1
        return taken

    async def newest(self, limit: int) -> Sequence[bytes]:
        """The newest records, the newest first.

        Raises:
            StoreUnavailable, StoreRefusedWrite: They cannot be read.
        """
        reply = await self._call("XREVRANGE", keys.ACTIVITY, "+", "-", "COUNT", limit)
        return [raw for _, (_, raw) in cast("list[tuple[bytes, list[bytes]]]", reply)]

    async def put_tally(self, gateway_id: str, tally: bytes, *, since_ms: int) -> None:
        """Store what a gateway has counted so far; to be repeated within `TALLY_S`.

        Raises:
            StoreUnavailable, StoreRefusedWrite: Others do not see it.
        """
        await self._call("SET", keys.activity_of(gateway_id), tally, "EX", TALLY_S)
        await self._call("ZADD", keys.ACTIVITY_GATEWAYS, since_ms, gateway_id)

    async def tallies(self) -> dict[str, bytes]:
        """What each gateway that lives has counted, by its id.

        Raises:
            StoreUnavailable, StoreRefusedWrite: They cannot be read.
        """
        listed = await self._call("ZRANGE", keys.ACTIVITY_GATEWAYS, 0, -1)
        found: dict[str, bytes] = {}
        for gateway_id in (raw.decode() for raw in cast("list[bytes]", listed)):
            tally = await self._call("GET", keys.activity_of(gateway_id))
            if tally is None:
                await self._call("ZREM", keys.ACTIVITY_GATEWAYS, gateway_id)
            else:
                found[gateway_id] = cast("bytes", tally)
        return found

    async def _call(self, *command: Argument) -> Reply:
        """Send one command; a missing right to it counts as StoreRefusedWrite, too."""
        try:
            return await self.link.call(*command)
        except ResponseError as error:
            raise StoreRefusedWrite(f"activity: {error}") from None
