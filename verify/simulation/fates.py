"""What may become of a command on its way, and who decides it."""

from dataclasses import dataclass
from typing import Final, Protocol

from verify.simulation.clock import Process

QUICK: Final = 0.000_2
"""Seconds that a command takes on its way, at least."""


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of one command."""

    delay_s: float = QUICK
    """Before it is executed."""
    answer_s: float = QUICK
    """From there until the answer is here."""
    how: str = "ok"
    """`ok`; `lost`: never executed, the connection breaks; `unanswered`: executed, then the
    connection breaks; `late`: the connection breaks, and it is executed `again_s` later;
    `twice`: answered, and executed again `again_s` later; `noscript`, `refused`: answered with
    that error, not executed."""
    again_s: float = 0.0


class Plan(Protocol):
    """Decides what goes wrong."""

    def fate(self, process: Process, name: str) -> Fate:
        """What becomes of the command that a process is about to send."""
        ...

    def hearing_s(self, process: Process) -> float:
        """How long a publication is on its way; negative: it is lost with its connection."""
        ...

    def reach(self, process: Process, point: str) -> bool:
        """A process reaches a point at which it may die; False if it does."""
        ...
