"""A moment that is moved often and seldom passes.

A timer for each wait (`asyncio.timeout`) costs 5 to 8 us, a fifth of all that a chunk of a
reply costs. Here a wait moves a number; the timer looks at it when it goes off, and goes
off about once in the longest wait allowed.
"""

import asyncio
import math
from collections.abc import Callable


class Deadline:
    """Calls `on_passed` once its moment of the loop's clock has passed."""

    __slots__ = ("_armed_s", "_due_s", "_handle", "_loop", "_on_passed", "passed")

    def __init__(self, on_passed: Callable[[], object]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_passed = on_passed
        self._handle: asyncio.TimerHandle | None = None
        self._armed_s = math.inf
        self._due_s = math.inf
        self.passed = False
        """Set once the moment has passed; `move` does not reset it, its owner does."""

    def move(self, due_s: float) -> None:
        """Set the moment, earlier or later; infinity: nothing is waited for."""
        self._due_s = due_s
        if due_s < self._armed_s:
            self._arm()

    def cancel(self) -> None:
        """Never call `on_passed` again, and let go of it: it may be a method of our owner's."""
        self._disarm()
        self._on_passed = lambda: None

    def _disarm(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _arm(self) -> None:
        self._disarm()
        self._armed_s = self._due_s
        if self._due_s < math.inf:
            self._handle = self._loop.call_at(self._due_s, self._look)

    def _look(self) -> None:
        if self._loop.time() < self._due_s:
            self._arm()
            return
        self._handle = None
        self._armed_s = math.inf
        self.passed = True
        self._on_passed()
