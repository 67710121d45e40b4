"""What holds answers back until replicas have what they tell.

Every batch of calls that leaves in one write is followed by one PUBLISH and one WAIT:

- WAIT (Redis 7.2, Valkey) waits for what *this connection* has written last. A repeated
  action writes nothing: its answer would come while the first delivery, over another
  connection, is on no replica yet. So does any read of it.
- The PUBLISH nobody hears is a write to the replicas alone (not to the append-only file):
  it comes after everything that the batch has seen, whoever wrote it, and so does WAIT.

What replicas keep when they lose power is their own `appendfsync`'s business.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, cast

from hiredis import (
    pack_command,  # pyright: ignore[reportUnknownVariableType] - its stub is partial
)

import storage.keys as keys

if TYPE_CHECKING:
    from collections.abc import Callable

_pack = cast("Callable[[tuple[str | int, ...]], bytes]", pack_command)
"""hiredis' stub says that a command has one part."""

TAIL_REPLIES: Final = 2
"""Answers of the barrier itself, behind those of a batch: of PUBLISH and of WAIT."""


@dataclass(slots=True)
class Barrier:
    """The batches of one connection that replicas have to hold."""

    replicas_min: int
    replicas_s_max: float
    """How long they may take. WAIT takes whole milliseconds, and 0 would be for ever."""
    _sizes: deque[int] = field(default_factory=deque[int])

    def close(self, calls: int) -> bytes:
        """End a batch that is about to be sent; returns what is to be sent behind it."""
        self._sizes.append(calls)
        timeout_ms = max(1, round(self.replicas_s_max * 1_000))
        publish = _pack(("PUBLISH", keys.REPLICATED, ""))
        return publish + _pack(("WAIT", self.replicas_min, timeout_ms))

    @property
    def calls(self) -> int:
        """How many calls the oldest batch has that is under way."""
        return self._sizes[0]

    def open(self, published: object, waited: object) -> str | None:
        """Take the oldest batch off; why its answers may not be given, None if they may.

        Args:
            published: What PUBLISH has answered: a number, or an error.
            waited: What WAIT has answered: how many replicas, or an error.
        """
        self._sizes.popleft()
        if not isinstance(published, int):
            return f"nobody knows whether replicas have it: {published}"
        if not isinstance(waited, int):
            return f"nobody knows whether replicas have it: {waited}"
        if waited < self.replicas_min:
            return f"{waited} of {self.replicas_min} replicas have it"
        return None

    def forget(self) -> None:
        """The connection is gone, and with it the answers to come."""
        self._sizes.clear()
