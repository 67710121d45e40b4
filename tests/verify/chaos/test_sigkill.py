"""Workers and gateways that kill themselves at their n-th point lose and repeat nothing."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.store_binary import find_store_binary
from verify.chaos.sigkill.points import run_sigkill

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short: a unix socket's path has 107 characters."""
    with tempfile.TemporaryDirectory(prefix="kill-", ignore_cleanup_errors=True) as path:
        yield Path(path)


async def test_some_real_kills_break_nothing(folder: Path) -> None:
    report = await run_sigkill(
        find_store_binary().path,
        folder,
        seconds=150.0,
        seed=1,
        kills_max=30,
        chosen=lambda series: series.component == "worker" and series.scenario == "send",
    )
    assert [str(violation) for violation in report.violations] == []
    assert report.kills >= 30
    assert report.points >= 29  # the last may still have been judged when it was enough
    died_at = {name for _, name, _ in report.matrix}
    # Reports and renewals come in between at their own times, so a run may skip one of these.
    assert len({"take", "activate", "commit", "passivate"} & died_at) >= 2
    assert len(died_at) >= 5
