"""Dead letters: what was given up, with its cause, for somebody to look at."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, cast

import storage.keys as keys
from storage.codec import read_places
from storage.contract import LETTER, DeadLetter, Place
from storage.link import Link
from storage.sealing import Sealer

PAGE: Final = 100
"""Letters that are read together."""
LOOKS_MAX: Final = 2_000
"""Letters that are read for one list of those that fit."""

LetterKind = Literal["action", "turn", "webhook"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sought:
    """Which letters."""

    context_id: str | None = None
    kind: LetterKind | None = None
    cause: str | None = None
    """A part of what the cause says."""

    def fits(self, letter: DeadLetter) -> bool:
        """Whether it is one of them."""
        return (
            self.context_id in {None, letter.context_id}
            and self.kind in {None, kind_of(letter)}
            and (self.cause is None or self.cause in letter.cause)
        )


ALL: Final = Sought()


@dataclass(frozen=True, slots=True)
class LetterPage:
    """A part of the letters that were sought."""

    letters: Sequence[DeadLetter]
    ended: Place | None
    """Where it has ended; None: there are no more."""


class DeadLetters:
    """All dead letters of the store. Commits write them; here they are read and dropped."""

    def __init__(self, link: Link, sealer: Sealer) -> None:
        self._link = link
        self._sealer = sealer

    async def page(
        self,
        limit: int,
        *,
        sought: Sought = ALL,
        after: Place | None = None,
        oldest_first: bool = False,
    ) -> LetterPage:
        """Up to `limit` letters by their time; fewer, though there are more, where few fit.

        Args:
            limit: How many.
            sought: Which.
            after: Where the page before has ended.
            oldest_first: In the order in which they were given up, instead of newest first.

        Raises:
            StoreUnavailable: The store does not answer.
        """
        found: list[DeadLetter] = []
        ended, looked = after, 0
        while looked < LOOKS_MAX:
            places = await self._behind(ended, sought.context_id, oldest_first=oldest_first)
            calls = [self._link.call("HGET", _home(one), one) for _, one in places]
            raws = [cast("bytes | None", await call) for call in calls]
            for place, raw in zip(places, raws, strict=True):
                ended = place
                letter = None if raw is None else self._read(place[1], raw)
                if letter is not None and sought.fits(letter):
                    found.append(letter)
                    if len(found) == limit:
                        return LetterPage(found, ended)
            if len(places) < PAGE:
                return LetterPage(found, None)
            looked += PAGE
        return LetterPage(found, ended)

    async def _behind(
        self, after: Place | None, context_id: str | None, *, oldest_first: bool
    ) -> Sequence[Place]:
        """The next PAGE letters."""
        call = self._link.call
        if context_id is not None:
            return await self._of_context(context_id, after, oldest_first=oldest_first)
        start = 0
        if after is not None:
            at_ms, letter_id = after
            rank = await call("ZRANK" if oldest_first else "ZREVRANK", keys.DEAD, letter_id)
            if rank is None:
                # It was dropped meanwhile: some are seen once more, none is passed over.
                bounds = (at_ms, "+inf", "BYSCORE") if oldest_first else (at_ms, "-inf")
                order = () if oldest_first else ("BYSCORE", "REV")
                how = (*bounds, *order, "LIMIT", 0, PAGE, "WITHSCORES")
                return read_places(cast("list[bytes]", await call("ZRANGE", keys.DEAD, *how)))
            start = cast("int", rank) + 1
        command = "ZRANGE" if oldest_first else "ZREVRANGE"
        stop = start + PAGE - 1
        reply = await call(command, keys.DEAD, start, stop, "WITHSCORES")
        return read_places(cast("list[bytes]", reply))

    async def _of_context(
        self, context_id: str, after: Place | None, *, oldest_first: bool
    ) -> Sequence[Place]:
        (home,) = keys.of_context(context_id, "dead")
        ids = cast("list[bytes]", await self._link.call("HKEYS", home))
        asked = [
            (letter_id, self._link.call("ZSCORE", keys.DEAD, letter_id)) for letter_id in ids
        ]
        scored = [(await score, letter_id.decode()) for letter_id, score in asked]
        places = sorted(
            (int(float(cast("bytes", score))), letter_id)
            for score, letter_id in scored
            if score is not None
        )
        if oldest_first:
            return [place for place in places if after is None or place > after][:PAGE]
        return [place for place in places[::-1] if after is None or place < after][:PAGE]

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


def kind_of(letter: DeadLetter) -> LetterKind:
    """What was given up."""
    if letter.notice is not None:
        return "webhook"
    return "turn" if letter.mail is None else "action"


def _home(letter_id: str) -> str:
    (home,) = keys.of_context(_context_of(letter_id), "dead")
    return home


def _context_of(letter_id: str) -> str:
    return letter_id.partition(".")[0]
