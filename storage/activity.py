"""What gateways tell each other, and operators, of the requests that they have answered.

Nothing here is worth a request: what the store does not take is lost, and said to be.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

from redis.exceptions import ResponseError

import storage.keys as keys
from storage.errors import StorageError
from storage.link import Link

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
        bound = ("MAXLEN", "~", self.records_max)
        taken = 0
        try:
            calls = [
                self.link.call("XADD", keys.ACTIVITY, *bound, "*", "r", r) for r in records
            ]
        except StorageError:
            return 0
        for call in calls:
            try:
                await call
            except (StorageError, ResponseError):
                continue
            taken += 1
        return taken

    async def newest(self, limit: int) -> Sequence[bytes]:
        """The newest records, the newest first.

        Raises:
            StoreUnavailable: The store does not answer.
        """
        reply = await self.link.call("XREVRANGE", keys.ACTIVITY, "+", "-", "COUNT", limit)
        return [raw for _, (_, raw) in cast("list[tuple[bytes, list[bytes]]]", reply)]

    async def put_tally(self, gateway_id: str, tally: bytes, *, since_ms: int) -> None:
        """Say what a gateway has counted so far; to be repeated within `TALLY_S`.

        Raises:
            StoreUnavailable, StoreRefusedWrite: Others do not see it.
        """
        await self.link.call("SET", keys.activity_of(gateway_id), tally, "EX", TALLY_S)
        await self.link.call("ZADD", keys.ACTIVITY_GATEWAYS, since_ms, gateway_id)

    async def tallies(self) -> dict[str, bytes]:
        """What each gateway that lives has counted, by its id.

        Raises:
            StoreUnavailable, StoreRefusedWrite: The store does not say.
        """
        listed = await self.link.call("ZRANGE", keys.ACTIVITY_GATEWAYS, 0, -1)
        ids = [gateway_id.decode() for gateway_id in cast("list[bytes]", listed)]
        found: dict[str, bytes] = {}
        for gateway_id in ids:
            tally = await self.link.call("GET", keys.activity_of(gateway_id))
            if tally is None:
                await self.link.call("ZREM", keys.ACTIVITY_GATEWAYS, gateway_id)
            else:
                found[gateway_id] = cast("bytes", tally)
        return found
