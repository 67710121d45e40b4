"""Fixtures of this room."""

from pathlib import Path

import pytest

from tests.workers.tools.attaching import Trace


@pytest.fixture
def trace(tmp_path: Path) -> Trace:
    return Trace(tmp_path / "trace")
