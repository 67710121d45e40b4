"""Waits of a client that take no time, and are written down."""

import asyncio
from dataclasses import dataclass, field

from contextd_client import ClientLimits, Contextd


@dataclass(slots=True)
class Waits:
    """Stands for `asyncio.sleep`: goes on at once, and remembers how long it was to wait."""

    seconds: list[float] = field(default_factory=list[float])

    async def sleep(self, wait_s: float) -> None:
        self.seconds.append(wait_s)
        await asyncio.sleep(0)


def impatient(
    url: str, waits: Waits | None = None, *, limits: ClientLimits | None = None
) -> Contextd:
    """A client that waits for nothing, and draws no jitter."""
    sleep = (waits or Waits()).sleep
    return Contextd(url, limits=limits or ClientLimits(), sleep=sleep, draw=lambda: 0.0)
