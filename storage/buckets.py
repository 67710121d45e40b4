"""Token buckets in the store, which all gateways take from together.

A bucket is one number, the moment at which it would be full again (GCRA, the generic cell
rate algorithm): what is taken moves it on, time brings it nearer. Its clock is the store's,
so those of the gateways do not matter.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import storage.keys as keys
from storage.link import Link
from storage.scripts import Scripts


@dataclass(frozen=True, slots=True)
class Rate:
    """How fast a bucket fills, and how much it holds."""

    per_minute: int
    burst: int
    """Tokens of a full bucket."""

    @property
    def token_s(self) -> float:
        """How long a token takes to come back."""
        return 60 / self.per_minute

    @property
    def window_s(self) -> float:
        """How long an empty bucket takes to fill."""
        return self.burst * self.token_s

    def left(self, full_s: float) -> int:
        """Whole tokens in a bucket that is full in `full_s`."""
        return max(0, math.floor(self.burst - full_s / self.token_s + _ROUNDING))

    def wait_s(self, full_s: float) -> float:
        """How long until a bucket that is full in `full_s` has a token."""
        return max(0.0, full_s + self.token_s - self.window_s)


_ROUNDING = 1e-6
"""Part of a token that rounding may lose."""


@dataclass(frozen=True, slots=True)
class Taking:
    """Tokens to be taken out of one bucket."""

    bucket: str
    """Its name; all gateways mean the same by it."""
    rate: Rate
    tokens: float = 1.0
    """Less than 0 gives some back."""


@dataclass(frozen=True, slots=True)
class Buckets:
    """The buckets of one store."""

    link: Link
    scripts: Scripts

    async def take(self, taking: Taking) -> tuple[bool, float]:
        """Take tokens out of a bucket, unless it has too few.

        Returns:
            Whether they were taken, and how long until the bucket is full, in seconds.

        Raises:
            StoreUnavailable: They may be gone.
            StoreRefusedWrite: They are not.
        """
        ((taken, full_s),) = await self._spend("0", [taking])
        return taken, full_s

    async def settle(self, takings: Sequence[Taking]) -> Sequence[float]:
        """Report tokens that were taken already; how many seconds until each bucket is full.

        Raises as `take`.
        """
        return [full_s for _, full_s in await self._spend("1", takings)]

    async def _spend(
        self, gone: str, takings: Sequence[Taking]
    ) -> Sequence[tuple[bool, float]]:
        spans_us = [
            round(span_s * 1_000_000)
            for taking in takings
            for span_s in (taking.rate.window_s, taking.tokens * taking.rate.token_s)
        ]
        where = [keys.bucket(taking.bucket) for taking in takings]
        reply = await self.scripts.run(self.link, "spend", where, gone, *spans_us)
        told = cast("list[int]", reply)
        return [
            (taken == 1, full_us / 1_000_000)
            for taken, full_us in zip(told[::2], told[1::2], strict=True)
        ]
