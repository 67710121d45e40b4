"""Figures are right, and what was found cannot be overlooked."""

import io
from collections import Counter
from pathlib import Path

import orjson
import pytest

from verify.chaos.measures import Measures, RestartSeen
from verify.chaos.run import ChaosReport
from verify.chaos.sigkill.bench import SigkillReport
from verify.command import report_chaos, report_kills, report_measures
from verify.plan import PARTS, plan_for, short_plan
from verify.progress import Progress
from verify.records import Violation
from verify.report import Finding, PartReport, VerifyReport, matrix_of, percentiles

LOST = Violation("lost", "context-1", "It is gone.", {"at_s": 1.5})


@pytest.mark.parametrize(
    ("values_s", "expected"),
    [
        ([], "none measured"),
        ([2.0], "1 seen, p50 2.00 s, p99 2.00 s, longest 2.00 s"),
        (
            [float(number) for number in range(100, 0, -1)],
            "100 seen, p50 50.00 s, p99 99.00 s, longest 100.00 s",
        ),
        (
            [float(number) for number in range(1, 201)],
            "200 seen, p50 100.00 s, p99 198.00 s, longest 200.00 s",
        ),
    ],
)
def test_percentiles_are_values_that_were_measured(
    values_s: list[float], expected: str
) -> None:
    assert percentiles(values_s) == expected


def test_a_finding_is_told_counted_and_written_down(tmp_path: Path) -> None:
    part = PartReport("Chaos", counts={"kills": "3"}, findings=[Finding(LOST, "replay it")])
    report = VerifyReport(
        1, "0.1.0", "Valkey 9", parts=[part, PartReport("Other")], took_s=90.0
    )
    assert report.wrong == 1
    for shown in (report.text(), report.markdown()):
        assert "1 VIOLATIONS in 1.5 min." in shown
        assert "lost" in shown
        assert "context-1" in shown
        assert "replay it" in shown
    (path,) = report.write_evidence(tmp_path / "evidence")
    told = orjson.loads(path.read_bytes())
    assert (told["check"], told["replay"], told["evidence"]) == (
        "lost",
        "replay it",
        {"at_s": 1.5},
    )


def test_nothing_found_says_so_and_writes_no_evidence(tmp_path: Path) -> None:
    report = VerifyReport(1, "0.1.0", "Valkey 9", parts=[PartReport("Chaos")], took_s=60.0)
    assert report.wrong == 0
    assert "No violation in 1.0 min." in report.text()
    assert report.write_evidence(tmp_path / "evidence") == []
    assert not (tmp_path / "evidence").exists()


def test_findings_that_were_not_kept_count() -> None:
    part = PartReport("Simulated", findings_not_kept=2)
    assert VerifyReport(1, "", "", parts=[part]).wrong == 2


def test_the_crash_matrix_has_a_row_for_each_point_and_a_column_for_each_outcome() -> None:
    rows = {
        ("worker", "commit", "before"): Counter({"unseen": 2}),
        ("gateway", "deliver", "after"): Counter({"stream resumed": 1}),
    }
    assert matrix_of(rows).splitlines() == [
        "| process | died at | when | stream resumed | unseen |",
        "|---|---|---|---|---|",
        "| gateway | deliver | after | 1 |  |",
        "| worker | commit | before |  | 2 |",
    ]


def test_what_a_run_has_found_becomes_findings_that_can_be_seen_again() -> None:
    kills = report_kills(SigkillReport(kills=7, violations=[LOST]), 5)
    assert kills.counts["kills (real processes)"] == "7"
    assert kills.findings == [Finding(LOST, "contextd verify --only kills --seed 5")]
    done = ChaosReport(5, acts=Counter({"kill-worker": 4, "kill-store": 2, "pause-store": 3}))
    chaos = report_chaos(done, "again")
    assert chaos.counts["kills (real processes)"] == "6"
    assert chaos.counts["pauses"] == "3"
    one = RestartSeen(took_s=4.0, longest_gap_s=0.5, failed=1, stream_gaps_s=[0.1, 0.3])
    seen = report_measures(Measures(3, takeovers_s=[0.2], restarts=[one, one]), "again")
    assert seen.counts == {
        "workers killed in mid-reply": "3",
        "kill to first frame of the successor": percentiles([0.2]),
        "rolling restarts": percentiles([4.0, 4.0]),
        "requests failed in them": "2",
        "longest time without an answer in each": percentiles([0.5, 0.5]),
        "interruption of a stream by them": percentiles([0.1, 0.3, 0.1, 0.3]),
    }


def test_minutes_are_divided_over_the_parts_that_are_wanted() -> None:
    whole = plan_for(minutes=3, only=frozenset(PARTS))
    assert sum(whole.seconds.values()) == pytest.approx(180)
    one = plan_for(minutes=3, only=frozenset({"kills"}))
    assert one.seconds == {"kills": pytest.approx(180)}


def test_the_short_form_asks_for_what_ci_must_show_in_under_twelve_minutes() -> None:
    plan = short_plan(minutes=None, only=frozenset(PARTS))
    assert (plan.crash_points, plan.histories) == (10_000, 5_000)
    assert plan.kills >= 500
    assert sum(plan.seconds[name] for name in ("crash-points", "histories", "kills")) <= 720


def test_the_short_form_ends_within_the_minutes_that_it_is_given_on_a_slow_machine() -> None:
    hurried = short_plan(minutes=5, only=frozenset(PARTS))
    assert sum(hurried.seconds.values()) == pytest.approx(300)
    assert hurried.crash_points == 10_000
    patient = short_plan(minutes=500, only=frozenset(PARTS))
    assert patient == short_plan(minutes=None, only=frozenset(PARTS))


def test_progress_is_plain_lines_where_nobody_watches() -> None:
    out = io.StringIO()
    progress = Progress(out)
    progress.begin("chaos")
    progress.tell("soon")
    progress.end("done")
    assert [line.partition("] ")[2] for line in out.getvalue().splitlines()] == [
        "chaos: begins",
        "chaos: done",
    ]
