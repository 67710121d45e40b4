"""A clock that jumps is what a process of the service takes for the time, and no other's."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from verify.chaos import clock
from verify.chaos.processes import python_environment

ASKED = "import os, time; print(os.getpid(), time.time_ns()); input(); print(time.time_ns())"
DAY_S = 86_400.0


@pytest.mark.parametrize("by_s", [DAY_S, -DAY_S])
def test_a_running_process_sees_its_own_clock_jump(by_s: float, tmp_path: Path) -> None:
    clocks = tmp_path / "clocks"
    clock.install(tmp_path, clocks)
    environment = python_environment({clock.CLOCKS: str(clocks)}, paths=[tmp_path])
    with subprocess.Popen(
        [sys.executable, "-c", ASKED],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process_id, before_ns = map(int, process.stdout.readline().split())
        assert process_id == process.pid
        clock.jump(clocks, (process_id + 1) % clock.SLOTS, -by_s)
        clock.jump(clocks, process_id % clock.SLOTS, by_s)
        process.stdin.write("\n")
        process.stdin.flush()
        after_ns = int(process.stdout.readline())
    assert abs((after_ns - before_ns) / 1e9 - by_s) < 60


def test_without_the_variable_nothing_is_shifted() -> None:
    assert clock.CLOCKS not in os.environ
    clock.follow()
