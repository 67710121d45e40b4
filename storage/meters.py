"""What a process counts and times, and what it says of itself; added up in the store.

Counting costs a dictionary's entry. Every `report_s` a process reports what it has counted
since, in one script that does it once however often it is sent; so any gateway can tell of
all processes, and what a dead one had reported stays. What a killed process had not
reported yet is lost: `report_s` at most. What must be exact is counted elsewhere, in the
scripts that do it.

How long things take is kept in a sketch (DDSketch): its bins are counters like the rest.
"""

import asyncio
import os
import resource
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final, Literal, TypeAlias, get_args

from ddsketch.mapping import LogarithmicMapping
from pydantic import BaseModel, ConfigDict

import storage.keys as keys
from storage.config import StorageConfig
from storage.errors import StoreRefusedWrite, StoreUnavailable
from storage.link import Link
from storage.scripts import Scripts

Kind: TypeAlias = Literal["send", "poll", "save", "first_token"]
"""What is timed: an action from its request to its result, a poll, a commit, a turn until
its first text."""
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
ACCURACY: Final = 0.01
"""Relative accuracy of percentiles, which the sketch guarantees."""
MAPPING: Final = LogarithmicMapping(ACCURACY)
MS_MIN: Final = 0.001
"""Shorter times count as this one."""
SLOT_S: Final = 10
SLOTS: Final = 6
"""Percentiles and rates are those of so many slots, and of the one that has begun."""
LATENCIES_S: Final = 120
REPORTED_S: Final = 3_600
"""How long the number of a process's last report is kept: a repeat comes sooner."""

Role: TypeAlias = Literal["gateway", "worker"]


class Process(BaseModel):
    """What a process says of itself."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    role: Role
    host: str
    process_id: int
    started_at_ms: int
    at_ms: int
    """When it said so."""
    memory_bytes: int
    """Resident, at most so far."""
    cpu: float
    """Seconds of processor time per second, since the last report."""
    lag_ms: float
    """How much later than asked for its loop came back, at the last look."""
    draining: bool = False
    load: Mapping[str, int] = {}
    """What it has at work: viewers by transport, active contexts, ..."""


class Meters:
    """The counters of one process; they stay here until it says who it is."""

    def __init__(
        self,
        link: Link,
        scripts: Scripts,
        config: StorageConfig,
        clock: Callable[[], int],
    ) -> None:
        """Make the counters.

        Args:
            link: To the store.
            scripts: What is run there.
            config: How often it reports.
            clock: Unix time in milliseconds.
        """
        self.clock = clock
        self.process_id = ""
        """Unique in the store; empty before `begin`: nothing is reported."""
        self.draining = False
        self._link = link
        self._scripts = scripts
        self._config = config
        self._role: Role = "gateway"
        self._began_ms = 0
        self._load: Callable[[], Mapping[str, int]] = dict
        self._counts: Counter[str] = Counter()
        self._bins: dict[Kind, Counter[int]] = {kind: Counter() for kind in KINDS}
        self._unsent: tuple[str, str] | None = None
        """Counts and bins of a report whose outcome is unknown; it is sent again as it was."""
        self._number = clock()
        """Number of the last report; begins above those of earlier processes of this id."""
        self._cpu_s = 0.0
        self._cpu_at_s = 0.0
        self._lag_ms = 0.0

    def count(self, name: str, number: int = 1) -> None:
        """Add to a total."""
        self._counts[name] += number

    def took(self, kind: Kind, seconds: float) -> None:
        """Take note of how long something has taken."""
        self._bins[kind][MAPPING.key(max(MS_MIN, seconds * 1_000))] += 1

    def begin(self, role: Role, process_id: str, load: Callable[[], Mapping[str, int]]) -> None:
        """Say who this process is, and have it report from now on.

        Args:
            role: What it does.
            process_id: Unique in the store.
            load: What it has at work, when asked.
        """
        self._role, self.process_id, self._load = role, process_id, load
        self._began_ms = self.clock()

    async def run(self) -> None:
        """Report now and then; until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due_s = loop.time() + self._config.report_s
            await asyncio.sleep(self._config.report_s)
            self._lag_ms = max(0.0, loop.time() - due_s) * 1_000
            if self.process_id:
                await self.report()

    async def report(self) -> None:
        """Report what was counted; what the store does not take now, it is told later."""
        if self._unsent is None:
            self._number += 1
            bins = [
                f"{kind}:{key} {number}"
                for kind, counted in self._bins.items()
                for key, number in counted.items()
            ]
            counts = [f"{name} {number}" for name, number in self._counts.items()]
            self._unsent = " ".join(counts), " ".join(bins)
            self._counts.clear()
            for counted in self._bins.values():
                counted.clear()
        try:
            await self._scripts.run(
                self._link,
                "report",
                [
                    *(keys.PROCESSES, keys.process(self.process_id)),
                    *(keys.reported(self.process_id), keys.TOTALS, keys.LATENCIES),
                ],
                self.process_id,
                self._number,
                self._itself().model_dump_json(),
                self._config.process_silent_s_max,
                SLOT_S,
                LATENCIES_S,
                REPORTED_S,
                *self._unsent,
            )
        except (StoreUnavailable, StoreRefusedWrite):
            return  # it goes with the next one
        self._unsent = None

    async def leave(self) -> None:
        """Report for the last time, and be forgotten."""
        if not self.process_id:
            return
        was_unsent = self._unsent is not None
        await self.report()
        if was_unsent:
            await self.report()  # what was counted since
        gone, self.process_id = self.process_id, ""
        try:
            await self._link.call("ZREM", keys.PROCESSES, gone)
        except (StoreUnavailable, StoreRefusedWrite):
            return  # it falls silent instead

    def _itself(self) -> Process:
        now_s, times = asyncio.get_running_loop().time(), os.times()
        cpu_s = times.user + times.system
        since_s = now_s - self._cpu_at_s
        cpu = (cpu_s - self._cpu_s) / since_s if self._cpu_at_s and since_s else 0.0
        self._cpu_s, self._cpu_at_s = cpu_s, now_s
        return Process(
            id=self.process_id,
            role=self._role,
            host=os.uname().nodename,
            process_id=os.getpid(),
            started_at_ms=self._began_ms,
            at_ms=self.clock(),
            memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1_024,
            cpu=round(cpu, 4),
            lag_ms=round(self._lag_ms, 3),
            draining=self.draining,
            load=self._load(),
        )
