"""The simulated parts, spread over processes and cut into pieces so that they end in time."""

import gc
import multiprocessing
import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar

from verify.plan import Plan
from verify.records import Violation
from verify.report import Finding, PartReport
from verify.simulation.configuration import FAMILIES, Family
from verify.simulation.crashes import (
    CrashReport,
    count_points,
    replay_crash,
    run_crash_points,
)
from verify.simulation.explorer import (
    ExploreReport,
    explore,
    replay_seed,
)
from verify.simulation.races import replay_race
from verify.simulation.trees import POLICIES

PIECE_POINTS: Final = 100
"""Crash points of one piece: some seconds."""
POINTS_PLANNED_MAX: Final = 100_000
PIECE_SEEDS: Final = 50
COLLECT_AFTER_OBJECTS: Final = 20_000

A = TypeVar("A")
R = TypeVar("R")


def simulate_crash_points(
    server_path: Path, plan: Plan, *, processes: int, tell: Callable[[str], None]
) -> PartReport:
    """Crash points in virtual time, until their count or their time is reached."""
    budget = min(plan.crash_points, POINTS_PLANNED_MAX)
    parts = max(1, budget // PIECE_POINTS)
    done = CrashReport()
    (counts,) = _in_time(count_points, iter((server_path,)), 1, plan.seconds["crash-points"])
    tasks = ((server_path, counts, budget, (part, parts)) for part in range(parts))
    for piece in _in_time(_crash_piece, tasks, processes, plan.seconds["crash-points"]):
        done.add(piece)
        tell(f"{done.points:,} crash points, {done.violated} with violations")
    return PartReport(
        "Crash points, simulated",
        counts={
            "crash points": f"{done.points:,}",
            "deaths": f"{done.deaths:,}",
            "operations": f"{done.operations:,}",
            "operations acknowledged": f"{done.acknowledged:,}",
            "scenarios": ", ".join(f"{k} {n:,}" for k, n in done.by_scenario.items()),
            "virtual time": f"{done.virtual_s / 3_600:.1f} h",
        },
        findings=[
            Finding(
                found.violation,
                "contextd verify --replay "
                + shlex.quote(
                    f"crash-points/{found.scenario}/{','.join(map(str, found.deaths))}"
                ),
            )
            for found in done.violations
        ],
        findings_not_kept=max(0, done.violated - len(done.violations)),
        matrix=done.markdown(),
    )


def simulate_histories(
    server_path: Path,
    plan: Plan,
    *,
    first_seed: int,
    processes: int,
    tell: Callable[[str], None],
) -> PartReport:
    """Explored interleavings in virtual time, until their count or their time is reached."""
    done = ExploreReport()
    firsts = range(first_seed, first_seed + plan.histories, PIECE_SEEDS)
    tasks: Iterator[tuple[Path, Family, int, int]] = (
        (server_path, _family(number), first, min(PIECE_SEEDS, firsts.stop - first))
        for number, first in enumerate(firsts)
    )
    for piece in _in_time(_history_piece, tasks, processes, plan.seconds["histories"]):
        done.add(piece)
        tell(f"{done.histories:,} histories, {done.violated} with violations")
    return PartReport(
        "Explored histories, simulated",
        counts={
            "histories": f"{done.histories:,}, seeds from {first_seed}, half of them trees",
            "operations": f"{done.operations:,}",
            "operations acknowledged": f"{done.acknowledged:,}",
            "stream frames": f"{done.frames:,}",
            "store commands": f"{done.commands:,}",
            "deaths": f"{done.deaths:,}",
            "virtual time": f"{done.virtual_s / 3_600:.1f} h",
        },
        findings=[Finding(found.violation, found.command) for found in done.violations],
        findings_not_kept=max(0, done.violated - len(done.violations)),
    )


def replay(server_path: Path, what: str) -> list[Violation]:
    """Run one simulated crash point or history again; what is wrong with it.

    Args:
        server_path: The store's program.
        what: `histories/SEED`, `trees/SEED`, `races/POLICY/SEED` or
            `crash-points/SCENARIO/NUMBERS`, as a report says it.

    Raises:
        ValueError: It is neither.
    """
    match what.split("/"):
        case [("histories" | "trees") as family, seed]:
            return list(replay_seed(server_path, int(seed), family).violations)
        case ["races", policy, seed] if policy in POLICIES:
            return list(replay_race(server_path, policy, int(seed)).violations)
        case ["crash-points", scenario, numbers]:
            deaths = [int(number) for number in numbers.split(",") if number]
            return list(replay_crash(server_path, scenario, deaths)[0].violations)
        case _:
            raise ValueError(
                f"{what!r} is none of histories/SEED, trees/SEED, races/POLICY/SEED, "
                "crash-points/SCENARIO/1,2."
            )


def _crash_piece(
    task: tuple[Path, Mapping[str, int], int, tuple[int, int]],
) -> CrashReport:
    server_path, counts, budget, part = task
    return run_crash_points(server_path, counts=counts, budget=budget, part=part)


def _family(number: int) -> Family:
    """Each piece is of another family than the one before."""
    return FAMILIES[number % len(FAMILIES)]


def _history_piece(task: tuple[Path, Family, int, int]) -> ExploreReport:
    server_path, family, first, count = task
    return explore(server_path, range(first, first + count), family=family)


def _spare_collector() -> None:
    """Have the garbage collector look at fewer objects, less often, as the roles do."""
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER_OBJECTS, 50, 100)


def _in_time(
    run: Callable[[A], R], tasks: Iterator[A], processes: int, seconds: float
) -> Iterator[R]:
    """Results of the tasks as they come; none is begun once the time is over."""
    due_s = time.monotonic() + seconds
    # Spawned, not forked: the child has none of our threads and loops.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, _spare_collector) as pool:
        under_way: set[Future[R]] = {
            pool.submit(run, task) for task in islice(tasks, processes)
        }
        while under_way:
            finished, under_way = wait(under_way, return_when=FIRST_COMPLETED)
            if time.monotonic() < due_s:
                under_way |= {pool.submit(run, task) for task in islice(tasks, len(finished))}
            for one in finished:
                yield one.result()
