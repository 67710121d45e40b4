"""`python -m bench`: one command, one table, one JSON file."""

import argparse
import signal
import sys
import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

import orjson

from bench.processes import Child
from bench.report import Column, Reading, Row, machine, noisy, rows, table
from bench.rig import Rig, Scenario, cpu_note, faults
from bench.scenarios import SCENARIOS
from bench.server import System, contextd, floor
from bench.spec import Direct, DirectStreams, Endpoint, Target

_RIG = "rig"
_STANDARD = {"CONTEXTD_DURABILITY": "standard"}


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    names = [_RIG, *(scenario.name for scenario in SCENARIOS)]
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measures contextd against its targets, beside floors of the same run.",
    )
    parser.add_argument("--quick", action="store_true", help="shorter loads, about 90 s")
    parser.add_argument("--only", metavar="NAME,...", help=f"some of: {', '.join(names)}")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write everything there")
    parser.add_argument("--gateways", type=int, default=1, help="gateway processes")
    parser.add_argument("--workers", type=int, default=1, help="worker processes")
    parser.add_argument(
        "--floors-only", action="store_true", help="leave contextd out: the rig and the floors"
    )
    options = parser.parse_args(arguments)
    options.only = options.only.split(",") if options.only else names
    unknown = set(options.only) - set(names)
    if unknown:
        parser.error(f"no scenario named {', '.join(sorted(unknown))}; there are {names}")
    return options


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


class Run:
    """One run of the bench: who is started when, and what came out."""

    def __init__(self, rig: Rig, options: argparse.Namespace) -> None:
        self._rig = rig
        self._options = options
        self._made = 0
        self._broken: RuntimeError | None = None
        self.rows: list[Row] = []

    def _folder(self) -> Path:
        self._made += 1
        folder = self._rig.folder / f"run-{self._made}"
        folder.mkdir()
        return folder

    @contextmanager
    def _contextd(
        self, settings: Mapping[str, str], *, name: str = "contextd"
    ) -> Generator[System]:
        if self._broken is not None:
            raise self._broken  # it will not start the next time either
        folder = self._folder()
        filled = {name: value.replace("@", str(folder)) for name, value in settings.items()}
        with contextd(
            folder,
            model_port=self._rig.mock.port,
            gateways=self._options.gateways,
            workers=self._options.workers,
            name=name,
            environment=filled,
        ) as system:
            _say(f"  {name} ready after {system.ready_s:.2f} s")
            yield system

    def _not_started(self, error: RuntimeError) -> Reading:
        if self._broken is None:
            _say(f"  {error}")
        self._broken = error
        return Reading(measure="contextd started", value=0, errors={"did not start": 1})

    def _measure(self, scenario: Scenario, system: System) -> list[Reading]:
        """Measure; a system that dies under it costs this scenario, not the run."""
        try:
            return scenario.measure(self._rig, system)
        except (OSError, RuntimeError) as error:
            _say(f"  {scenario.name} on {system.name}: {error!r}")
            return [Reading(measure="measured", value=0, errors={repr(error)[:200]: 1})]

    def rig(self) -> None:
        """Prove the rig itself: the mock, the client, a bare endpoint."""
        rig, quick = self._rig, self._options.quick
        run_s = 2.0 if quick else 5.0
        readings: list[Reading] = []
        watched = rig.watched(None)
        for connections in (1, 64):
            outcome = rig.run(
                f"direct-{connections}",
                Direct(target=rig.mock, watched=watched, connections=connections, run_s=run_s),
            )
            readings.append(
                Reading(
                    measure=f"model called directly, {connections} at a time",
                    value=outcome.per_s,
                    unit="1/s",
                    errors=faults(outcome),
                    note=cpu_note(outcome),
                )
            )
        chunks = 30 if quick else 100
        outcome = rig.run(
            "direct-streams",
            DirectStreams(
                target=rig.mock,
                watched=watched,
                model=f"chunks-{chunks}-100",
                streams=1_000,
                ideal_s=chunks / 10,
            ),
        )
        late = outcome.spreads.get("late")
        readings.append(
            Reading(
                measure="1,000 streams from the mock itself, late max",
                value=late.max_ms / 1000 if late is not None else 0.0,
                unit="s",
                errors=faults(outcome),
                note=cpu_note(outcome),
            )
        )
        endpoint = [sys.executable, "-m", "bench.floors", "endpoint"]
        with Child(endpoint, log=self._folder() / "endpoint.log") as child:
            outcome = rig.run(
                "endpoint",
                Endpoint(
                    target=Target(port=child.announced_port()),
                    watched={"endpoint": (child.pid,)},
                    path="/json",
                    run_s=run_s,
                ),
            )
        readings.append(
            Reading(
                measure="bare aiohttp endpoint",
                value=outcome.per_s,
                unit="1/s",
                errors=faults(outcome),
                note=cpu_note(outcome),
            )
        )
        self.rows += rows(_RIG, [Column("floor", readings)], {})

    def together(self, scenarios: Sequence[Scenario]) -> None:
        """Run scenarios on the same servers, floors and contextd alternating."""
        if not scenarios:
            return
        with ExitStack() as stack:
            port = self._rig.mock.port
            under = stack.enter_context(floor(self._folder(), model_port=port))
            synced = stack.enter_context(floor(self._folder(), model_port=port, synced=True))
            ours, standard, failed = None, None, list[Reading]()
            if not self._options.floors_only:
                try:
                    ours = stack.enter_context(self._contextd({}))
                    if any(scenario.awaits_disk for scenario in scenarios):
                        quicker = self._contextd(_STANDARD, name="contextd-standard")
                        standard = stack.enter_context(quicker)
                except RuntimeError as error:
                    failed = [self._not_started(error)]
            for scenario in scenarios:
                _say(f"{scenario.name} ...")
                columns = [Column("floor", self._measure(scenario, under))]
                if scenario.awaits_disk:
                    columns.append(Column("floor-synced", self._measure(scenario, synced)))
                if ours is not None:
                    columns.append(Column("contextd", self._measure(scenario, ours)))
                if standard is not None and scenario.awaits_disk:
                    columns.append(Column("standard", self._measure(scenario, standard)))
                columns.append(Column("contextd", failed))
                self.rows += rows(scenario.name, columns, scenario.goals)

    def apart(self, scenario: Scenario) -> None:
        """Run a scenario on servers that have done nothing before."""
        _say(f"{scenario.name} ...")
        columns: list[Column] = []
        if scenario.has_floor:
            with floor(self._folder(), model_port=self._rig.mock.port) as under:
                columns.append(Column("floor", self._measure(scenario, under)))
        if not self._options.floors_only:
            readings: list[Reading] = []
            for label, settings in scenario.variants.items():
                try:
                    with self._contextd(settings) as ours:
                        found = self._measure(scenario, ours)
                except RuntimeError as error:
                    found = [self._not_started(error)]
                lead = f"{label}: " if label else ""
                readings += [
                    reading.model_copy(update={"measure": lead + reading.measure})
                    for reading in found
                ]
            columns.append(Column("contextd", readings))
        self.rows += rows(scenario.name, columns, scenario.goals)


def _end(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(143)  # so that every `with` block stops its processes


def main(arguments: Sequence[str]) -> int:
    """Run what was asked for; 0 where nothing missed its target and nothing failed."""
    options = _parse(arguments)
    signal.signal(signal.SIGTERM, _end)
    chosen = [scenario for scenario in SCENARIOS if scenario.name in options.only]
    about = machine()
    with tempfile.TemporaryDirectory(prefix="contextd-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        mock = stack.enter_context(
            Child([sys.executable, "-m", "bench.mock"], log=folder / "mock.log")
        )
        rig = Rig(folder, Target(port=mock.announced_port()), mock.pid, options.quick)
        run = Run(rig, options)
        if _RIG in options.only:
            _say("rig ...")
            run.rig()
        run.together([scenario for scenario in chosen if not scenario.fresh])
        for scenario in chosen:
            if scenario.fresh:
                run.apart(scenario)
    print(f"{about}\n")
    print(table(run.rows))
    for line in noisy(rig.outcomes, cores=int(about["cores"])):
        print(line)
    if options.json is not None:
        whole = {
            "machine": about,
            "quick": options.quick,
            "gateways": options.gateways,
            "workers": options.workers,
            "rows": [{**row.model_dump(), "verdict": row.verdict} for row in run.rows],
            "mock": {name: one.model_dump() for name, one in rig.mock_counts.items()},
            "outcomes": {name: one.model_dump() for name, one in rig.outcomes.items()},
        }
        options.json.write_bytes(orjson.dumps(whole, option=orjson.OPT_INDENT_2))
    return 1 if any(row.verdict in {"MISS", "ERROR"} for row in run.rows) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
