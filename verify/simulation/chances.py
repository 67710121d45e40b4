"""Faults by chance: what happens to commands and publications, and who dies where."""

import random
from collections import Counter
from collections.abc import Callable
from typing import Final

from verify.simulation.clock import Process
from verify.simulation.configuration import Configuration
from verify.simulation.fates import QUICK, Fate

LATE_S_MAX: Final = 4.0
"""How much later a given-up command may be executed."""
DEATHS_MAX: Final = 6
"""Of one run: a context whose worker dies again and again fails its turn, which is right."""


class RandomPlan:
    """Faults by chance, each process with chances of its own."""

    def __init__(
        self, seed: int, configured: Configuration, note: Callable[[str], None]
    ) -> None:
        self.deaths: Counter[str] = Counter()
        """Points that were died at."""
        self._seed = seed
        self._configured = configured
        self._note = note
        self._chances: dict[str, random.Random] = {}
        self._armed = True

    def fate(self, process: Process, name: str) -> Fate:
        """What becomes of a command."""
        configured = self._configured
        rng = self._rng(process)
        if not self._armed or process.name == "supervisor":
            return Fate()
        delay_s = QUICK + rng.random() * configured.slowness_s
        answer_s = QUICK + rng.random() * configured.slowness_s
        if rng.random() >= configured.trouble or name in {"PING", "BLMOVE"}:
            return Fate(delay_s, answer_s)
        how = rng.choice(configured.kinds)
        again_s = rng.random() ** 2 * LATE_S_MAX
        self._note(f"{process.name} {name} {how} {again_s:.3f}")
        if how == "silent":
            return Fate(configured.settings.call_s_max + again_s, answer_s)
        if how in {"noscript", "refused"} and not name.islower():
            how = "lost"
        return Fate(delay_s, answer_s, how, again_s)

    def hearing_s(self, process: Process) -> float:
        """How long a publication takes to a process; negative: it is lost."""
        if not self._armed or process.name == "supervisor":
            return QUICK
        rng = self._rng(process)
        if rng.random() < self._configured.deafness:
            self._note(f"{process.name} becomes deaf")
            return -1.0
        return QUICK + rng.random() * self._configured.slowness_s

    def reach(self, process: Process, point: str) -> bool:
        """Die now and then."""
        if not process.alive:
            return False
        if not self._armed or process.name == "supervisor" or not self._configured.death:
            return True
        if self._rng(process).random() >= self._configured.death:
            return True
        if self.deaths.total() >= DEATHS_MAX:
            return True
        self.deaths[point] += 1
        self._note(f"{process.name} dies {point}")
        process.kill()
        return False

    def calm(self) -> None:
        """Nothing goes wrong any more."""
        self._armed = False

    def _rng(self, process: Process) -> random.Random:
        rng = self._chances.get(process.name)
        if rng is None:
            rng = random.Random(f"{self._seed}/{process.name}")
            self._chances[process.name] = rng
        return rng
