"""Dead letters: what was given up, with its cause, for somebody to look at."""

from collections.abc import Sequence
from typing import cast

import storage.keys as keys
from storage.contract import LETTER, DeadLetter
from storage.link import Link
from storage.sealing import Sealer


class DeadLetters:
    """All dead letters of the store. Commits write them; here they are read and dropped."""

    def __init__(self, link: Link, sealer: Sealer) -> None:
        self._link = link
        self._sealer = sealer

    async def newest(self, limit: int) -> Sequence[DeadLetter]:
        """The newest `limit` letters.

        Raises:
            StoreUnavailable: The store does not answer.
        """
        ids = cast("list[bytes]", await self._link.call("ZREVRANGE", keys.DEAD, 0, limit - 1))
        calls = [self._link.call("HGET", _home(raw.decode()), raw) for raw in ids]
        found = [cast("bytes | None", await call) for call in calls]
        return [
            self._read(letter_id.decode(), raw)
            for letter_id, raw in zip(ids, found, strict=True)
            if raw is not None
        ]

    async def count(self) -> int:
        """How many there are.

        Raises:
            StoreUnavailable: The store does not answer.
        """
        return cast("int", await self._link.call("ZCARD", keys.DEAD))

    async def one(self, letter_id: str) -> DeadLetter | None:
        """The letter of that id, or None.

        Raises:
            StoreUnavailable: The store does not answer.
        """
        raw = cast("bytes | None", await self._link.call("HGET", _home(letter_id), letter_id))
        return None if raw is None else self._read(letter_id, raw)

    async def drop(self, letter_id: str) -> bool:
        """Forget a letter; False if there was none.

        Raises:
            StoreUnavailable: The store does not answer; dropping again is safe.
            StoreRefusedWrite: Nothing has happened.
        """
        dropped = self._link.call("HDEL", _home(letter_id), letter_id)
        await self._link.call("ZREM", keys.DEAD, letter_id)
        return await dropped == 1

    def _read(self, letter_id: str, raw: bytes) -> DeadLetter:
        return LETTER.validate_json(self._sealer.open("letter", _context_of(letter_id), raw))


def _home(letter_id: str) -> str:
    (home,) = keys.of_context(_context_of(letter_id), "dead")
    return home


def _context_of(letter_id: str) -> str:
    return letter_id.partition(".")[0]
