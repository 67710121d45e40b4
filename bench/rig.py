"""The rig that scenarios run on, and how outcomes of loads become readings.

A scenario measures one system and returns readings; the runner gives it contextd and the
floor in turn, within the same run. Only ratios within one run mean much on shared cores.
"""

import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.processes import ROOT
from bench.report import Goal, Reading
from bench.server import System, get
from bench.spec import AnyLoad, MockCounts, Outcome, Target

_SAMPLE_S = 0.25


@dataclass(slots=True)
class Rig:
    """What all scenarios share: the mock, the pace of the run, the raw outcomes."""

    folder: Path
    mock: Target
    mock_pid: int
    quick: bool
    outcomes: dict[str, Outcome] = field(default_factory=dict[str, Outcome])
    mock_counts: dict[str, MockCounts] = field(default_factory=dict[str, MockCounts])
    """What the mock did during each load; its lateness is not the server's fault."""

    def watched(self, system: System | None) -> dict[str, tuple[int, ...]]:
        """Return the process ids whose CPU a load reads."""
        roles = dict(system.roles) if system is not None else {}
        return {**roles, "mock": (self.mock_pid,)}

    def run(
        self, name: str, load: AnyLoad, *, sample: Callable[[], None] | None = None
    ) -> Outcome:
        """Run a load in a process of its own; `sample` is called now and then meanwhile."""
        get(self.mock, "/bench/counts")  # starts them from zero
        driver = subprocess.Popen(
            [sys.executable, "-m", "bench.drive"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        asked: bytes | None = load.model_dump_json().encode()
        told: bytes | None = None
        try:
            while told is None:
                try:
                    told, _ = driver.communicate(asked, timeout=_SAMPLE_S)
                except subprocess.TimeoutExpired:
                    asked = None
                    if sample is not None:
                        sample()
        finally:
            if driver.poll() is None:
                driver.kill()
                driver.wait()
        if driver.returncode != 0:
            outcome = Outcome(done=0, errors={"the load process failed": 1}, seconds=0)
        else:
            outcome = Outcome.model_validate_json(told)
        counts = MockCounts.model_validate_json(get(self.mock, "/bench/counts")[1])
        self.mock_counts[name] = counts
        self.outcomes[name] = outcome
        return outcome


Measure = Callable[[Rig, System], list[Reading]]


@dataclass(frozen=True, slots=True)
class Scenario:
    """One kind of load and its targets by measure."""

    name: str
    measure: Measure
    goals: Mapping[str, Goal]
    fresh: bool = False
    """Needs servers that have done nothing yet (memory)."""
    has_floor: bool = True
    awaits_disk: bool = False
    """Whether contextd's answer waits for the disk; then a second floor, which does too, is
    measured, and a contextd that does not."""
    variants: Mapping[str, Mapping[str, str]] = field(default_factory=lambda: {"": {}})
    """Settings to run it with; the label leads its measures. `@` stands for a new folder."""


def at_most(number: float) -> Goal:
    """A goal that is met from below."""
    return Goal(at="<=", number=number)


def at_least(number: float) -> Goal:
    """A goal that is met from above."""
    return Goal(at=">=", number=number)


def exactly(number: float) -> Goal:
    """A goal that is met by one number only."""
    return Goal(at="==", number=number)


def faults(outcome: Outcome) -> dict[str, int]:
    """Return the errors, with what is missing without one."""
    errors = dict(outcome.errors)
    if outcome.expected is not None and outcome.done < outcome.expected and not errors:
        errors["missing"] = outcome.expected - outcome.done
    return errors


def server_cpu_s(outcome: Outcome) -> float:
    """Return the CPU seconds of the system itself: no mock, no client."""
    return sum(
        s for role, s in outcome.cpu_s.items() if role not in {"mock", "client", "others"}
    )


def cpu_note(outcome: Outcome) -> str:
    """Return the CPU seconds of every role in a line."""
    shown = " ".join(f"{role} {s:.2f}" for role, s in outcome.cpu_s.items() if s >= 0.005)
    return f"CPU s: {shown}"


def spread(outcome: Outcome, name: str, measure: str, *, note: str = "") -> list[Reading]:
    """Return the percentiles of one spread as readings."""
    found, errors = outcome.spreads.get(name), faults(outcome)
    if found is None:
        return [Reading(measure=measure, value=0.0, unit="ms", errors=errors)]
    values = {
        "p50": found.p50_ms,
        "p95": found.p95_ms,
        "p99": found.p99_ms,
        "max": found.max_ms,
    }
    return [
        Reading(
            measure=f"{measure} {rank}",
            value=value,
            unit="ms",
            errors=errors,
            note=note if rank == "p50" else "",
        )
        for rank, value in values.items()
    ]


def per_1000(outcome: Outcome, measure: str) -> Reading:
    """Return the system's CPU seconds per 1,000 of what was done."""
    value = server_cpu_s(outcome) / outcome.done * 1000 if outcome.done else 0.0
    return Reading(
        measure=measure, value=value, unit="s", errors=faults(outcome), note=cpu_note(outcome)
    )
