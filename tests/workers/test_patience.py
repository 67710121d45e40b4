"""How long a context waits for the store, and how often it says so."""

from collections.abc import Sequence

import pytest
import structlog
from structlog.testing import capture_logs

from storage import StorageError, StoreRefusedWrite, StoreUnavailable
from tests.support.clock import in_virtual_time, now_s
from tests.support.playbook import CONTEXT_ID
from workers import WorkerConfig
from workers.patience import Patience


@pytest.mark.parametrize("error", [StoreUnavailable("away"), StoreRefusedWrite("full")])
@in_virtual_time
async def test_each_pause_is_twice_the_one_before_up_to_a_bound_and_said_once(
    error: StorageError, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.patience.log", structlog.get_logger())  # may be cached
    config = WorkerConfig(commit_pause_s=0.5, commit_pause_s_max=2.0)
    tried_s: list[float] = []

    async def step() -> Sequence[float]:
        tried_s.append(now_s())
        if len(tried_s) < 6:
            raise error
        return tried_s

    with capture_logs() as logs:
        assert await Patience(CONTEXT_ID, config).insist(step) is tried_s
    assert tried_s == [0, 0.5, 1.5, 3.5, 5.5, 7.5]
    assert [line["event"] for line in logs] == ["context waits for the store"]
