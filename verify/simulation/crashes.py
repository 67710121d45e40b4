"""Crash points: every place at which a process may die, died at, and the run judged.

A point is reached by one process: before and after each command to the store, each operation
on a snapshot file, each call of a model or tool. A run without deaths counts them; then each
is died at, alone and with every point that follows it in the recovery.

Invariant: up to its first death a run is the one that was counted, point by point.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from verify.records import Violation
from verify.simulation.clock import Process, VirtualTimeLoop
from verify.simulation.fates import QUICK, Fate
from verify.simulation.run import (
    FORGET_EVERY,
    VIOLATIONS_MAX,
    Ran,
    forget_the_dead,
    run,
    silent,
)
from verify.simulation.scenarios import SCENARIOS, Scenario
from verify.simulation.server import Server, open_server
from verify.simulation.world import script_names

IGNORED: Final = frozenset({"PING", "BLMOVE", "SCRIPT"})
"""Commands that change nothing for anybody."""
BEATS: Final = frozenset({"renew", "claim", "take", "read"})
"""Commands that come again by themselves; died at alone, not in pairs."""

COMPONENTS: Final[Mapping[str, str]] = {"w": "worker", "g": "gateway"}


@dataclass(frozen=True, slots=True)
class Point:
    """Where a process may die."""

    component: str
    name: str
    """`before commit`, `after rename`, `before charge`, ..."""


@dataclass(frozen=True, slots=True)
class CrashViolation:
    """A crash point that broke a promise."""

    scenario: str
    deaths: tuple[int, ...]
    """Numbers of the points, for `replay_crash`."""
    points: tuple[Point, ...]
    violation: Violation


@dataclass(slots=True)
class CrashReport:
    """What became of all crash points."""

    points: int = 0
    """Runs with one death or two."""
    deaths: int = 0
    violated: int = 0
    """Runs with a violation."""
    violations: list[CrashViolation] = field(default_factory=list[CrashViolation])
    """The first few."""
    by_scenario: dict[str, int] = field(default_factory=dict[str, int])
    matrix: dict[str, dict[str, Counter[str]]] = field(
        default_factory=dict[str, dict[str, Counter[str]]]
    )
    """Outcomes by crash point and component."""
    operations: int = 0
    """What clients did."""
    acknowledged: int = 0
    """Of those: what has become of it was answered."""
    elapsed_s: float = 0.0
    virtual_s: float = 0.0

    def add(self, other: "CrashReport") -> None:
        """Take another part's counts in."""
        self.points += other.points
        self.deaths += other.deaths
        self.violated += other.violated
        self.violations = [*self.violations, *other.violations][:VIOLATIONS_MAX]
        self.operations += other.operations
        self.acknowledged += other.acknowledged
        self.elapsed_s = max(self.elapsed_s, other.elapsed_s)
        self.virtual_s += other.virtual_s
        for scenario, count in other.by_scenario.items():
            self.by_scenario[scenario] = self.by_scenario.get(scenario, 0) + count
        for name, components in other.matrix.items():
            for component, counts in components.items():
                row = self.matrix.setdefault(name, {})
                row.setdefault(component, Counter()).update(counts)

    def count(self, point: Point, outcome: str) -> None:
        """Count what a death at a point has come to."""
        row = self.matrix.setdefault(point.name, {})
        row.setdefault(point.component, Counter())[outcome] += 1

    def markdown(self) -> str:
        """The crash matrix as a table."""
        lines = [
            "| Died at | Process | Runs | Recovered | Violations |",
            "|---|---|---|---|---|",
        ]
        for name in sorted(self.matrix):
            for component, counts in sorted(self.matrix[name].items()):
                wrong = counts["violated"]
                total = sum(counts.values())
                lines.append(f"| {name} | {component} | {total} | {total - wrong} | {wrong} |")
        return "\n".join(lines) + "\n"


class CrashPlan:
    """Nothing goes wrong on the network; processes die at the points they are to die at."""

    def __init__(self, deaths: frozenset[int], note: Callable[[str], None]) -> None:
        self.points: list[Point] = []
        self.died: list[Point] = []
        self._deaths = deaths
        self._note = note
        self._armed = True

    def fate(self, process: Process, name: str) -> Fate:
        """Executed and answered at once."""
        return _FATE

    def hearing_s(self, process: Process) -> float:
        """Heard at once."""
        return QUICK

    def reach(self, process: Process, point: str) -> bool:
        """Count a point, and die there if that is wanted."""
        if not process.alive:
            return False
        component = COMPONENTS.get(process.name[0])
        side, _, what = point.partition(" ")
        if not self._armed or component is None or what in IGNORED or not side:
            return True
        number = len(self.points)
        self.points.append(Point(component, point))
        if number not in self._deaths:
            return True
        self.died.append(self.points[-1])
        self._note(f"{process.name} dies {point}")
        process.kill()
        return False

    def calm(self) -> None:
        """Nobody dies any more."""
        self._armed = False


_FATE: Final = Fate()


def _run_with(
    server: Server, scripts: Mapping[bytes, str], scenario: Scenario, deaths: Iterable[int]
) -> tuple[Ran, CrashPlan]:
    plans: list[CrashPlan] = []

    def plan(_loop: VirtualTimeLoop, note: Callable[[str], None]) -> CrashPlan:
        plans.append(CrashPlan(frozenset(deaths), note))
        return plans[0]

    ran = run(
        server,
        scripts,
        plan=plan,
        settings=scenario.settings,
        story=scenario.story,
        seed=scenario.name,
    )
    return ran, plans[0]


def crash_points(server_path: Path, scenario_name: str) -> Sequence[Point]:
    """Every point of a scenario in which nobody dies, by number."""
    with silent(), open_server(server_path) as server:
        _, plan = _run_with(server, script_names(server), _named(scenario_name), ())
    return plan.points


def _named(scenario_name: str) -> Scenario:
    return next(each for each in SCENARIOS if each.name == scenario_name)


def replay_crash(
    server_path: Path, scenario_name: str, deaths: Sequence[int]
) -> tuple[Ran, Sequence[Point]]:
    """One run of one scenario, with deaths at these points; tells where they were.

    Args:
        server_path: A Redis or Valkey server.
        scenario_name: Of SCENARIOS.
        deaths: Numbers of points, in the order of the run.
    """
    scenario = _named(scenario_name)
    with silent(), open_server(server_path) as server:
        ran, plan = _run_with(server, script_names(server), scenario, deaths)
    return ran, plan.died


def count_points(
    server_path: Path, scenarios: Sequence[Scenario] = SCENARIOS
) -> Mapping[str, int]:
    """How many points each scenario has in which nobody dies, by its name.

    Raises:
        ServerLost: The server could not be started, or has gone.
    """
    with silent(), open_server(server_path) as server:
        scripts = script_names(server)
        return {
            each.name: len(_run_with(server, scripts, each, ())[1].points) for each in scenarios
        }


def run_crash_points(
    server_path: Path,
    *,
    counts: Mapping[str, int],
    budget: int,
    part: tuple[int, int] = (0, 1),
    scenarios: Sequence[Scenario] = SCENARIOS,
) -> CrashReport:
    """Die at every point of every scenario, then at pairs of points until the budget is used.

    Args:
        server_path: A Redis or Valkey server, started for this and stopped again.
        counts: From `count_points`, of the same scenarios.
        budget: Runs at most, over all parts; singles come first, then pairs evenly spread.
        part: (i, k): do only the i-th of k parts, for k processes.
        scenarios: Which stories.

    Raises:
        ServerLost: The server could not be started, or has gone.
    """
    report = CrashReport()
    began_s = time.monotonic()
    mine, parts = part
    with silent(), open_server(server_path) as server:
        scripts = script_names(server)

        def die(scenario: Scenario, deaths: tuple[int, ...]) -> CrashPlan:
            ran, plan = _run_with(server, scripts, scenario, deaths)
            _count(report, scenario, deaths, ran, plan)
            if report.points % FORGET_EVERY == 0:
                forget_the_dead()
            return plan

        singles = [
            (scenario, number)
            for scenario in scenarios
            for number in range(counts[scenario.name])
        ]
        pairs: list[tuple[Scenario, tuple[int, int]]] = []
        for scenario, first in singles[:budget][mine::parts]:
            plan = die(scenario, (first,))
            pairs += [
                (scenario, (first, second))
                for second, point in enumerate(plan.points)
                if second > first and point.name.partition(" ")[2] not in BEATS
            ]
        left = min(len(pairs), -(-max(0, budget - len(singles)) // parts))
        for index in range(left):
            die(*pairs[index * len(pairs) // left])
    report.elapsed_s = time.monotonic() - began_s
    return report


def _count(
    report: CrashReport, scenario: Scenario, deaths: tuple[int, ...], ran: Ran, plan: CrashPlan
) -> None:
    report.points += 1
    report.deaths += len(plan.died)
    report.operations += ran.records.count
    report.acknowledged += ran.records.acknowledged
    report.virtual_s += ran.virtual_s
    report.by_scenario[scenario.name] = report.by_scenario.get(scenario.name, 0) + 1
    for point in plan.died:
        report.count(point, "violated" if ran.violations else "recovered")
    if ran.violations:
        report.violated += 1
        for violation in ran.violations:
            if len(report.violations) < VIOLATIONS_MAX:
                report.violations.append(
                    CrashViolation(scenario.name, deaths, tuple(plan.died), violation)
                )
