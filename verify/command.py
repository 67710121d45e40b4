"""`contextd verify`: all parts one after another, each within its time, and one report.

Invariant: it ends with 0 only if every part that was asked for has run and found nothing.
"""

import asyncio
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TextIO, TypeVar

import uvloop

from verify.chaos.measures import Measures, run_measures
from verify.chaos.run import ChaosReport, run_chaos
from verify.chaos.settings import ChaosSettings
from verify.chaos.sigkill.bench import SigkillReport
from verify.chaos.sigkill.points import run_sigkill
from verify.plan import PARTS, PartName, Plan, plan_for, short_plan
from verify.progress import Progress
from verify.records import Violation
from verify.report import Finding, PartReport, VerifyReport, counted, matrix_of, percentiles
from verify.simulated import replay, simulate_crash_points, simulate_histories

MINUTES: Final = 3.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class VerifyOptions:
    """What the command line says."""

    server_path: Path
    """The store's program."""
    minutes: float | None = None
    """None: `MINUTES`; if `short`, as long as the counts take."""
    seed: int | None = None
    """None: one is made of the time, and shown."""
    short: bool = False
    """As in CI, by counts; within `minutes` where they are given."""
    only: tuple[PartName, ...] = PARTS
    replay: str | None = None
    """One simulated crash point or history to run again, as a finding names it; nothing else
    is run then."""
    report: Path | None = None
    """Where the report is written as Markdown."""
    matrix: Path | None = None
    """Where the page of crash points is written."""
    evidence: Path = field(default=Path("contextd-verify"))
    """Folder for what was found, made only if something was."""
    processes: int = 2
    """For what is simulated: one for each core is right."""
    version: str = ""
    server: str = ""
    """The store's product and version, for the report."""


def verify(options: VerifyOptions, *, out: TextIO | None = None) -> int:
    """Run, show and write the report; the exit code: 0 nothing found, 1 something.

    Call it in the main thread: what it starts is tied to that.

    Raises:
        ValueError: `replay` names nothing that can be run again.
    """
    shown = sys.stdout if out is None else out
    seed = options.seed if options.seed is not None else time.time_ns() // 1_000_000_000
    only = frozenset(options.only)
    if options.short:
        plan = short_plan(minutes=options.minutes, only=only)
    else:
        plan = plan_for(minutes=options.minutes or MINUTES, only=only)
    progress = Progress()
    report = VerifyReport(seed=seed, version=options.version, server=options.server)
    if options.replay is not None:
        began_s = time.monotonic()
        report.parts.append(_replay(options.server_path, options.replay))
        report.took_s = time.monotonic() - began_s
        _publish(report, options, shown)
        return 1 if report.wrong else 0
    runs: Mapping[PartName, Callable[[], PartReport]] = {
        "crash-points": lambda: simulate_crash_points(
            options.server_path, plan, processes=options.processes, tell=progress.tell
        ),
        "histories": lambda: simulate_histories(
            options.server_path,
            plan,
            first_seed=seed,
            processes=options.processes,
            tell=progress.tell,
        ),
        "kills": lambda: _kills(options, plan, seed, progress),
        "chaos": lambda: _chaos(options, plan, seed, progress),
        "measures": lambda: _measures(options, plan, seed, progress),
    }
    for name in PARTS:
        if name not in plan.seconds:
            continue
        progress.begin(name)
        began_s = time.monotonic()
        part = runs[name]()
        part.took_s = time.monotonic() - began_s
        report.parts.append(part)
        progress.end(f"{part.wrong} violations in {part.took_s:.0f} s")
    report.took_s = time.monotonic() - progress.began_s
    _publish(report, options, shown)
    return 1 if report.wrong else 0


def _publish(report: VerifyReport, options: VerifyOptions, out: TextIO) -> None:
    out.write(report.text())
    written = report.write_evidence(options.evidence)
    out.writelines(f"  {path}\n" for path in written)
    if options.report is not None:
        options.report.write_text(report.markdown(), encoding="utf-8")
    if options.matrix is not None:
        options.matrix.write_text(report.crash_matrix(), encoding="utf-8")


def _replay(server_path: Path, what: str) -> PartReport:
    again = f"contextd verify --replay {shlex.quote(what)}"
    found = replay(server_path, what)
    return PartReport(what, counts={"runs": "1"}, findings=_findings(found, again))


def _kills(options: VerifyOptions, plan: Plan, seed: int, progress: Progress) -> PartReport:
    with _folder() as folder:
        done = _run(
            run_sigkill(
                options.server_path,
                Path(folder),
                seconds=plan.seconds["kills"],
                seed=seed,
                kills_max=plan.kills,
                progress=progress.tell,
            )
        )
    return report_kills(done, seed)


def report_kills(done: SigkillReport, seed: int) -> PartReport:
    """Crash points by real SIGKILL, for people."""
    return PartReport(
        "Crash points by SIGKILL",
        counts={
            "kills (real processes)": f"{done.kills:,}",
            "crash points": f"{done.points:,}",
            "with a second death in the recovery": f"{done.pairs:,}",
            "series played to their end": f"{done.series_done} of {done.series}",
            "operations": f"{done.operations:,}",
            "operations acknowledged": f"{done.acknowledged:,}",
        },
        findings=_findings(done.violations, f"contextd verify --only kills --seed {seed}"),
        matrix=matrix_of(done.matrix),
    )


def _chaos(options: VerifyOptions, plan: Plan, seed: int, progress: Progress) -> PartReport:
    with _folder() as folder:
        done = _run(
            run_chaos(
                options.server_path,
                Path(folder),
                ChaosSettings(seed=seed, round_s=plan.round_s),
                seconds=plan.seconds["chaos"],
                progress=progress.tell,
            )
        )
    minutes = plan.seconds["chaos"] / 60
    replay = f"contextd verify --only chaos --seed {seed} --minutes {minutes:.1f}"
    return report_chaos(done, replay)


def report_chaos(done: ChaosReport, replay: str) -> PartReport:
    """A run of chaos, for people."""
    return PartReport(
        "Chaos",
        counts={
            "rounds": f"{done.rounds}, {done.contexts} contexts",
            "kills (real processes)": f"{done.kills:,}",
            "pauses": f"{done.pauses:,}",
            "faults": counted(done.acts),
            "on the wire": counted(done.wire_faults),
            "operations": f"{done.operations:,}",
            "operations acknowledged": f"{done.acknowledged:,}",
            "operations of unknown outcome": f"{done.unknown:,}",
            "answers": counted(done.tries),
            "streams": f"{done.frames:,} frames over {done.connections:,} connections",
            "calls of the model": f"{done.model_calls:,}",
            "at rest after the faults": percentiles(done.rested_in_s),
        },
        findings=_findings(done.violations, replay),
    )


def _measures(options: VerifyOptions, plan: Plan, seed: int, progress: Progress) -> PartReport:
    with _folder() as folder:
        done = _run(
            run_measures(
                options.server_path,
                Path(folder),
                ChaosSettings(seed=seed),
                seconds=plan.seconds["measures"],
                progress=progress.tell,
            )
        )
    return report_measures(done, f"contextd verify --only measures --seed {seed}")


def report_measures(done: Measures, replay: str) -> PartReport:
    """What clients see of one fault at a time, for people."""
    restarts = done.restarts
    gaps_s = [gap_s for one in restarts for gap_s in one.stream_gaps_s]
    return PartReport(
        "One fault at a time, as clients see it",
        counts={
            "workers killed in mid-reply": f"{done.kills:,}",
            "kill to first frame of the successor": percentiles(done.takeovers_s),
            "rolling restarts": percentiles([one.took_s for one in restarts]),
            "requests failed in them": f"{sum(one.failed for one in restarts):,}",
            "longest time without an answer in each": percentiles(
                [one.longest_gap_s for one in restarts]
            ),
            "interruption of a stream by them": percentiles(gaps_s),
        },
        findings=_findings(done.violations, replay),
    )


def _findings(violations: list[Violation], replay: str) -> list[Finding]:
    return [Finding(violation, replay) for violation in violations]


def _folder() -> tempfile.TemporaryDirectory[str]:
    # What was killed may still be writing when the folder is thrown away.
    return tempfile.TemporaryDirectory(prefix="verify-", ignore_cleanup_errors=True)


def _run(work: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)
