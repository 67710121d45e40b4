"""Readings become rows, rows become a table and a JSON file."""

import operator
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.spec import Outcome, Value

_NOISE_SHARE_MAX = 0.1


class Goal(Value):
    """What an issue asks of a measure."""

    at: Literal["<=", ">=", "=="]
    number: float

    def met(self, value: float) -> bool:
        """Whether a value reaches it."""
        compare = {"<=": operator.le, ">=": operator.ge, "==": operator.eq}[self.at]
        return bool(compare(value, self.number))


class Reading(Value):
    """One measured number of one system."""

    measure: str
    value: float
    unit: str = ""
    errors: Mapping[str, int] = {}
    note: str = ""


class Row(Value):
    """A measure of contextd with its target, and the floors' values beside it."""

    scenario: str
    measure: str
    unit: str
    contextd: float | None
    standard: float | None
    """Of contextd with `CONTEXTD_DURABILITY=standard`."""
    floor: float | None
    floor_synced: float | None
    goal: Goal | None
    errors: Mapping[str, int]
    note: str

    @property
    def verdict(self) -> str:
        """`pass`, `MISS`, `ERROR` (no number of a spoilt scenario counts), or nothing."""
        if self.errors:
            return "ERROR"
        if self.goal is None or self.contextd is None:
            return ""
        return "pass" if self.goal.met(self.contextd) else "MISS"


@dataclass(frozen=True, slots=True)
class Column:
    """The readings of one system in one scenario."""

    system: Literal["contextd", "standard", "floor", "floor-synced"]
    readings: Sequence[Reading]


def rows(
    scenario: str, columns: Sequence[Column], goals: Mapping[str, Goal]
) -> tuple[Row, ...]:
    """Join the systems' readings by measure, in the order of their first appearance."""
    found: dict[str, dict[str, Reading]] = {}
    for column in columns:
        for reading in column.readings:
            found.setdefault(reading.measure, {})[column.system] = reading
    joined: list[Row] = []
    for measure, by_system in found.items():
        any_reading = next(iter(by_system.values()))
        errors = {
            f"{system}: {problem}": count
            for system, reading in by_system.items()
            for problem, count in reading.errors.items()
        }
        values = {system: reading.value for system, reading in by_system.items()}
        joined.append(
            Row(
                scenario=scenario,
                measure=measure,
                unit=any_reading.unit,
                contextd=values.get("contextd"),
                standard=values.get("standard"),
                floor=values.get("floor"),
                floor_synced=values.get("floor-synced"),
                goal=goals.get(measure),
                errors=errors,
                note=by_system.get("contextd", any_reading).note,
            )
        )
    return tuple(joined)


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def table(all_rows: Sequence[Row]) -> str:
    """Return a Markdown table that reads well as plain text too."""
    head = [
        "scenario",
        "measure",
        "contextd",
        "target",
        "",
        "standard",
        "floor",
        "floor, synced",
        "unit",
        "note",
    ]
    cells = [
        [
            row.scenario,
            row.measure,
            _number(row.contextd),
            f"{row.goal.at} {_number(row.goal.number)}" if row.goal is not None else "",
            row.verdict,
            _number(row.standard),
            _number(row.floor),
            _number(row.floor_synced),
            row.unit,
            "; ".join([*(f"{name} x{count}" for name, count in row.errors.items()), row.note]),
        ]
        for row in all_rows
    ]
    widths = [max(len(line[at]) for line in (head, *cells)) for at in range(len(head))]

    def line(parts: Sequence[str]) -> str:
        padded = [part.ljust(width) for part, width in zip(parts, widths, strict=True)]
        return f"| {' | '.join(padded)} |"

    return "\n".join([line(head), line(["-" * width for width in widths]), *map(line, cells)])


def noisy(outcomes: Mapping[str, Outcome], *, cores: int) -> tuple[str, ...]:
    """Return a line for each load during which other processes took much of the machine."""
    shares = {
        name: one.cpu_s.get("others", 0.0) / (one.seconds * cores)
        for name, one in outcomes.items()
        if one.seconds > 0
    }
    return tuple(
        f"noise: {share:.0%} of the machine went to others during {name}"
        for name, share in shares.items()
        if share > _NOISE_SHARE_MAX
    )


def machine() -> dict[str, str | int]:
    """Return what the numbers were measured on."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": model,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_1_min": f"{os.getloadavg()[0]:.2f}",
    }
