"""Sends at the same moment, under each policy: what was promised has become of each.

`--long` runs a hundred races of each; this is its short form.
"""

from pathlib import Path
from typing import get_args

import pytest

from fsm import SendPolicy, queue
from verify.simulation import race, replay_race

RACES, RACES_LONG = 4, 100


@pytest.fixture
def seeds(request: pytest.FixtureRequest) -> range:
    """One for each race."""
    return range(RACES_LONG if request.config.getoption("--long") else RACES)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("policy", get_args(SendPolicy))
def test_sixteen_who_send_at_once_get_what_their_policy_promises(
    policy: SendPolicy, seeds: range, server_path: Path
) -> None:
    report = race(server_path, policy, seeds)
    shown = "\n".join(
        f"{v.command}: {v.violation.check} {v.violation}" for v in report.violations
    )
    assert report.violated == 0, shown
    assert report.histories == len(seeds)
    assert report.deaths > 0


def test_the_sends_of_a_race_come_while_a_turn_runs(server_path: Path) -> None:
    ran = replay_race(server_path, "reject", 0)
    refused = [one for one in ran.records.operations if one.code == "turn-running"]
    assert len(refused) > 8


def test_a_race_finds_a_policy_that_does_as_another(
    server_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a machine that lets a message wait which is to interrupt
    monkeypatch.setattr(queue, "CUTTING_IN", frozenset({"rollback"}))
    ran = replay_race(server_path, "interrupt", 0)
    assert "not-interrupted" in {violation.check for violation in ran.violations}
