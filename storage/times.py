"""Times: of day, as the wire has them, and how long something took."""

import functools
import time
from datetime import UTC, datetime

stopwatch = time.perf_counter
"""Its differences are seconds; the loop's own time is too coarse."""


def unix_ms() -> int:
    """The time of day, in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def rfc3339(at_ms: int) -> str:
    """A time as the wire has it: UTC, milliseconds."""
    second, ms = divmod(at_ms, 1_000)
    return f"{_second(second)}.{ms:03d}Z"


@functools.lru_cache(maxsize=256)
def _second(at_s: int) -> str:
    """Most of the times that are written are of the last few seconds."""
    return datetime.fromtimestamp(at_s, UTC).isoformat().removesuffix("+00:00")
