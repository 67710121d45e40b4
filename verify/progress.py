"""Shows how far a verification is: one changing line on a terminal, else plain lines."""

import sys
import time
from dataclasses import dataclass, field
from typing import Final, TextIO

PLAIN_S: Final = 10.0
"""Least time between two plain lines of one part."""
LIVING_S: Final = 0.1
_ERASE_LINE: Final = "\r\x1b[2K"


@dataclass(slots=True)
class Progress:
    """Tells a person; the report does not depend on it."""

    out: TextIO = field(default_factory=lambda: sys.stderr)
    began_s: float = field(default_factory=time.monotonic)
    _told_s: float = 0.0
    _part: str = ""

    def begin(self, part: str) -> None:
        """Another part begins."""
        self._part, self._told_s = part, 0.0
        self.tell("begins")

    def tell(self, text: str) -> None:
        """How far the part is; told when it is time for it."""
        now_s = time.monotonic()
        if now_s - self._told_s < (LIVING_S if self.out.isatty() else PLAIN_S):
            return
        self._told_s = now_s
        self._write(text)

    def end(self, text: str) -> None:
        """The part is over; always told, and it stays."""
        self._write(text)
        if self.out.isatty():
            self.out.write("\n")
            self.out.flush()

    def _write(self, text: str) -> None:
        line = f"[{time.monotonic() - self.began_s:5.0f} s] {self._part}: {text}"
        self.out.write(f"{_ERASE_LINE}{line}" if self.out.isatty() else f"{line}\n")
        self.out.flush()
