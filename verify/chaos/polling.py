"""Waiting by polling: for processes that are not ours, their ends, what viewers have seen."""

import asyncio
import time
from collections.abc import Callable

POLL_S = 0.03


async def until(
    reached: Callable[[], object], *, within_s: float, every_s: float = POLL_S
) -> bool:
    """Look again and again until it is so, or the time is over; returns whether it is so."""
    due_s = time.monotonic() + within_s
    while True:
        if reached():
            return True
        if time.monotonic() >= due_s:
            return False
        await asyncio.sleep(every_s)
