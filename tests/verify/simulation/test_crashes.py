"""Every crash point of some stories, and a spread of all: no promise is broken.

`contextd verify` runs all of them; this is its short form.
"""

from pathlib import Path

import pytest

from verify.simulation import (
    SCENARIOS,
    CrashReport,
    Scenario,
    count_points,
    crash_points,
    replay_crash,
    run_crash_points,
)

SHORT = ("send", "tool once", "snapshot as JSON")


def told(report: CrashReport) -> str:
    """The violations, to be read."""
    return "\n".join(
        f"{each.scenario} {each.deaths}: {each.violation.check}: {each.violation.text}"
        for each in report.violations
    )


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "scenario", [s for s in SCENARIOS if s.name in SHORT], ids=lambda each: each.name
)
def test_a_death_at_any_point_breaks_no_promise(scenario: Scenario, server_path: Path) -> None:
    # One death at each point, then some pairs.
    report = run_crash_points(
        server_path,
        counts=count_points(server_path, (scenario,)),
        budget=100,
        scenarios=(scenario,),
    )
    assert report.violated == 0, told(report)
    assert report.points >= 50
    assert report.deaths >= report.points


@pytest.mark.timeout(300)
def test_every_story_ends_well_when_nobody_dies(server_path: Path) -> None:
    for scenario in SCENARIOS:
        ran, died = replay_crash(server_path, scenario.name, ())
        assert ran.violations == (), scenario.name
        assert not died


def test_parts_share_the_points_and_miss_none(server_path: Path) -> None:
    scenario = next(each for each in SCENARIOS if each.name == "delete")
    parts = [
        run_crash_points(
            server_path,
            counts=count_points(server_path, (scenario,)),
            budget=10,
            scenarios=(scenario,),
            part=(i, 2),
        )
        for i in range(2)
    ]
    report = CrashReport()
    for part in parts:
        report.add(part)
    assert [part.points for part in parts] == [5, 5]
    assert report.points == 10
    counted = (counts for row in report.matrix.values() for counts in row.values())
    assert sum(sum(counts.values()) for counts in counted) == report.deaths == 10


def test_the_same_death_gives_the_same_history(server_path: Path) -> None:
    first, died = replay_crash(server_path, "stream", (20,))
    again, died_again = replay_crash(server_path, "stream", (20,))
    assert died
    assert died == died_again
    assert first.history == again.history


def test_a_death_in_a_tool_that_runs_once_asks_the_person(server_path: Path) -> None:
    names = [point.name for point in crash_points(server_path, "tool once")]
    for name in ("before charge", "after charge"):
        ran, died = replay_crash(server_path, "tool once", (names.index(name),))
        assert [point.name for point in died] == [name]
        assert "ada approve_tools" in "\n".join(ran.history)
        assert ran.violations == ()


def test_nobody_is_asked_where_nobody_died(server_path: Path) -> None:
    ran, _ = replay_crash(server_path, "tool once", ())
    assert "approve_tools" not in "\n".join(ran.history)


def test_the_matrix_counts_every_death(server_path: Path) -> None:
    scenario = next(each for each in SCENARIOS if each.name == "passivate")
    report = run_crash_points(
        server_path,
        counts=count_points(server_path, (scenario,)),
        budget=40,
        scenarios=(scenario,),
    )
    table = report.markdown()
    assert table.startswith("| Died at | Process | Runs | Recovered | Violations |\n")
    assert "| before deliver | gateway | 2 | 2 | 0 |" in table
