"""How long a client waits: no time, which is written down; and how long a test waits for it."""

import asyncio
from dataclasses import dataclass, field

from contextd_client import ClientLimits, Context, Contextd, Event

WITHIN_S = 30.0


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


async def everything(context: Context, *, after: str | None = None) -> list[Event]:
    """Every event until the context is deleted."""
    async with asyncio.timeout(WITHIN_S):
        return [event async for event in context.stream(after=after)]
