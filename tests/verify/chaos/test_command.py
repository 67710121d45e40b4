"""The command's body runs what was asked for, reports, and ends with its verdict."""

import io
from pathlib import Path

import pytest

from runtime.store_binary import find_store_binary
from verify.chaos.sigkill.bench import SigkillReport
from verify.command import VerifyOptions, verify
from verify.records import Violation

pytestmark = pytest.mark.timeout(60)


def options(folder: Path) -> VerifyOptions:
    return VerifyOptions(
        find_store_binary().path,
        minutes=0.03,
        seed=7,
        only=("kills",),
        report=folder / "report.md",
        matrix=folder / "matrix.md",
        evidence=folder / "evidence",
        version="0.1.0",
        server="Valkey",
    )


def test_real_kills_without_a_violation_end_with_0_and_a_report(tmp_path: Path) -> None:
    shown = io.StringIO()
    assert verify(options(tmp_path), out=shown) == 0
    assert "contextd 0.1.0 on Valkey, seed 7" in shown.getvalue()
    assert "No violation" in shown.getvalue()
    assert "| kills (real processes) |" in (tmp_path / "report.md").read_text()
    assert "| process | died at | when |" in (tmp_path / "matrix.md").read_text()
    assert not (tmp_path / "evidence").exists()


def test_a_violation_ends_with_1_and_leaves_evidence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def found(*_args: object, **_settings: object) -> SigkillReport:
        return SigkillReport(violations=[Violation("lost", "context-1", "It is gone.", {})])

    monkeypatch.setattr("verify.command.run_sigkill", found)
    shown = io.StringIO()
    assert verify(options(tmp_path), out=shown) == 1
    assert "1 VIOLATIONS" in shown.getvalue()
    assert "contextd verify --only kills --seed 7" in shown.getvalue()
    assert [path.name for path in (tmp_path / "evidence").iterdir()] == ["01-lost.json"]


def test_a_replay_that_names_nothing_is_refused(tmp_path: Path) -> None:
    wrong = VerifyOptions(tmp_path, replay="tea leaves")
    with pytest.raises(ValueError, match="none of histories/SEED"):
        verify(wrong, out=io.StringIO())
