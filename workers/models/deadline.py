"""Closing a response that has become late.

A timer for each wait (`asyncio.timeout`) costs 5 to 8 us a chunk, a fifth of all that a
chunk costs. Here a chunk moves a number; the timer looks at it when it goes off, and goes
off about once in the longest silence allowed.
"""

import asyncio
import math

import aiohttp


class Deadline:
    """A moment of the loop's clock after which a response is closed."""

    __slots__ = ("_armed_s", "_due_s", "_handle", "_loop", "_response", "passed")

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._loop = asyncio.get_running_loop()
        self._response = response
        self._handle: asyncio.TimerHandle | None = None
        self._armed_s = math.inf
        self._due_s = math.inf
        self.passed = False
        """The response was late and has been closed; whoever reads it gets an error."""

    def move(self, due_s: float) -> None:
        """Set the moment, earlier or later; infinity: nothing is waited for."""
        self._due_s = due_s
        if due_s < self._armed_s:
            self._arm()

    def cancel(self) -> None:
        """Close nothing any more."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _arm(self) -> None:
        self.cancel()
        self._armed_s = self._due_s
        if self._due_s < math.inf:
            self._handle = self._loop.call_at(self._due_s, self._look)

    def _look(self) -> None:
        if self._loop.time() < self._due_s:
            self._arm()
            return
        self._handle = None
        self.passed = True
        self._response.close()
