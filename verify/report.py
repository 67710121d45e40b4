"""What a verification has done and found, for people: plain text, Markdown, evidence files.

Invariant: a figure that is shown was counted in this run.
"""

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import orjson

from verify.records import Json, Violation

EVIDENCE_MAX = 50
"""Files that one run writes; more findings are only counted."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A violation, and how to see it again."""

    violation: Violation
    replay: str
    """One line for a shell."""


@dataclass(slots=True)
class PartReport:
    """One part of a verification."""

    name: str
    took_s: float = 0.0
    counts: dict[str, str] = field(default_factory=dict[str, str])
    """In the order in which they are shown."""
    findings: list[Finding] = field(default_factory=list[Finding])
    findings_not_kept: int = 0
    """Further ones, of which only the number is known."""
    matrix: str = ""
    """Markdown: what became of deaths, by point."""

    @property
    def wrong(self) -> int:
        """How many violations there are."""
        return len(self.findings) + self.findings_not_kept


@dataclass(slots=True)
class VerifyReport:
    """All parts."""

    seed: int
    version: str
    server: str
    date: str = field(default_factory=partial(time.strftime, "%Y-%m-%d"))
    parts: list[PartReport] = field(default_factory=list[PartReport])
    took_s: float = 0.0

    @property
    def wrong(self) -> int:
        """How many violations there are."""
        return sum(part.wrong for part in self.parts)

    def text(self) -> str:
        """For a terminal."""
        lines = [self._run()]
        for part in self.parts:
            lines += ["", f"{part.name} ({part.took_s:.0f} s)"]
            width = max(map(len, part.counts), default=0)
            lines += [f"  {name:<{width}}  {value}" for name, value in part.counts.items()]
            lines += [_told(finding) for finding in part.findings[:EVIDENCE_MAX]]
        lines += ["", self._verdict()]
        return "\n".join(lines) + "\n"

    def markdown(self) -> str:
        """For a file."""
        lines = [
            "# contextd verify",
            "",
            f"{self._run()}. {self._verdict()}",
        ]
        for part in self.parts:
            lines += ["", f"## {part.name} ({part.took_s:.0f} s)", "", "| | |", "|---|---|"]
            lines += [f"| {name} | {value} |" for name, value in part.counts.items()]
            for finding in part.findings[:EVIDENCE_MAX]:
                violation = finding.violation
                lines += [
                    "",
                    f"- **{violation.check}** {violation.context_id}: {violation.text}  ",
                    f"  `{finding.replay}`",
                ]
        lines += ["", self._matrices()]
        return "\n".join(lines).rstrip() + "\n"

    def crash_matrix(self) -> str:
        """The page of crash points and what became of them."""
        title = "# Crash matrix\n\nWho died where, and what became of it"
        return f"{title} (`contextd verify --matrix`): {self._run()}.\n\n{self._matrices()}"

    def _matrices(self) -> str:
        pages = [f"## Crash matrix: {p.name}\n\n{p.matrix}" for p in self.parts if p.matrix]
        return "\n".join(pages)

    def _run(self) -> str:
        return f"contextd {self.version} on {self.server}, seed {self.seed}, {self.date}"

    def _verdict(self) -> str:
        took = f"{self.took_s / 60:.1f} min"
        if self.wrong:
            return f"{self.wrong} VIOLATIONS in {took}."
        return f"No violation in {took}."

    def write_evidence(self, folder: Path) -> list[Path]:
        """One JSON file for each finding, as far as they were kept."""
        written: list[Path] = []
        found = [(part, finding) for part in self.parts for finding in part.findings]
        if found:
            folder.mkdir(parents=True, exist_ok=True)
        for number, (part, finding) in enumerate(found[:EVIDENCE_MAX], 1):
            path = folder / f"{number:02}-{finding.violation.check}.json"
            told: Mapping[str, Json] = {
                "part": part.name,
                "seed": self.seed,
                "replay": finding.replay,
                "check": finding.violation.check,
                "context_id": finding.violation.context_id,
                "text": finding.violation.text,
                "evidence": finding.violation.evidence,
            }
            path.write_bytes(orjson.dumps(told, option=orjson.OPT_INDENT_2, default=str))
            written.append(path)
        return written


def _told(finding: Finding) -> str:
    violation = finding.violation
    return (
        f"  VIOLATION {violation.check} {violation.context_id}: {violation.text}\n"
        f"    again: {finding.replay}"
    )


def percentiles(values_s: Sequence[float]) -> str:
    """Count, p50, p99 and the largest of some times."""
    if not values_s:
        return "none measured"
    ordered = sorted(values_s)
    return (
        f"{len(ordered)} seen, p50 {_at(ordered, 0.50):.2f} s, p99 {_at(ordered, 0.99):.2f} s, "
        f"longest {ordered[-1]:.2f} s"
    )


def _at(ordered: Sequence[float], share: float) -> float:
    """The value that so many of the values do not exceed (nearest rank)."""
    return ordered[max(0, -(-int(share * 1_000_000) * len(ordered) // 1_000_000) - 1)]


def counted(counts: Mapping[str, int]) -> str:
    """Kinds with how often, most frequent first."""
    return ", ".join(f"{kind} {count:,}" for kind, count in Counter(counts).most_common())


def matrix_of(rows: Mapping[tuple[str, str, str], Counter[str]]) -> str:
    """A table of outcomes by process, point and when."""
    outcomes = sorted({outcome for row in rows.values() for outcome in row})
    return table(
        ("process", "died at", "when", *outcomes),
        (
            (*key, *(str(rows[key][outcome] or "") for outcome in outcomes))
            for key in sorted(rows)
        ),
    )


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines) + "\n"
