"""How long to wait before a dead process is started again. Pure: times are arguments."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Backoff:
    """Waits between the restarts of one process.

    The first death is answered at once, each further one with twice the wait; a process
    that was up for `reset_s` has earned a fresh start.
    """

    base_s: float
    max_s: float
    reset_s: float
    deaths: int = field(default=0, init=False)
    """Deaths in a row."""

    def delay_s(self, *, up_s: float) -> float:
        """Count a death after `up_s` seconds of life, and say how long to wait."""
        if up_s >= self.reset_s:
            self.deaths = 0
        self.deaths += 1
        if self.deaths == 1:
            return 0.0
        # The exponent is bounded: 2.0 ** 1100 is an OverflowError.
        return min(self.max_s, self.base_s * 2.0 ** min(self.deaths - 2, 64))
