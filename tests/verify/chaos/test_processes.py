"""Nothing is ever signalled but what was started here."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from verify.chaos.polling import until
from verify.chaos.processes import (
    Running,
    alive,
    descendants,
    python_environment,
    role_of,
    state_letter,
)

SOON_S = 10.0
NAP = "import time; time.sleep(60)"
PARENT = (
    f"import subprocess, sys; subprocess.run([sys.executable, '-c', {NAP!r}, *sys.argv[1:]])"
)


@pytest.fixture
def bystander() -> Iterator[int]:
    """Somebody else's process, which looks like one of ours."""
    words = ["runtime.cli", "worker"]
    process = subprocess.Popen([sys.executable, "-c", NAP, *words])
    yield process.pid
    process.kill()
    process.wait()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    command = [sys.executable, "-c", PARENT, "runtime.cli", "worker"]
    one = Running(command, python_environment({}), tmp_path / "log")
    yield one
    one.kill()


async def test_a_process_of_somebody_else_is_not_signalled(
    running: Running, bystander: int
) -> None:
    assert await until(lambda: role_of(bystander) == "worker", within_s=SOON_S)
    assert not running.signal(bystander, signal.SIGKILL)
    assert alive(bystander)
    assert bystander not in running.of_role("worker")
    running.kill()
    assert alive(bystander)


async def test_descendants_are_found_frozen_thawed_and_killed_with_their_parent(
    running: Running,
) -> None:
    assert await until(lambda: len(running.of_role("worker")) == 2, within_s=SOON_S)
    (child,) = descendants(running.process_id)
    assert running.signal(child, signal.SIGSTOP)
    assert await until(lambda: state_letter(child) == "T", within_s=SOON_S)
    assert running.signal(child, signal.SIGCONT)
    assert await until(lambda: state_letter(child) == "S", within_s=SOON_S)
    running.kill()
    assert await until(lambda: not running.left_behind(), within_s=SOON_S)
    assert not alive(child)


async def test_what_outlives_its_parent_is_told(running: Running) -> None:
    assert await until(lambda: len(running.family()) == 2, within_s=SOON_S)
    (child,) = descendants(running.process_id)
    assert running.signal(running.process_id, signal.SIGKILL)
    assert await until(lambda: running.exit_code is not None, within_s=SOON_S)
    assert running.left_behind() == [child]
    running.kill()
    assert await until(lambda: not running.left_behind(), within_s=SOON_S)


async def test_what_was_frozen_when_its_parent_died_is_thawed(running: Running) -> None:
    assert await until(lambda: len(running.family()) == 2, within_s=SOON_S)
    (child,) = descendants(running.process_id)
    assert running.signal(child, signal.SIGSTOP)
    assert running.signal(running.process_id, signal.SIGKILL)
    assert await until(lambda: running.exit_code is not None, within_s=SOON_S)
    assert await until(lambda: state_letter(child) == "T", within_s=SOON_S)
    assert running.signal(child, signal.SIGCONT)
    assert await until(lambda: state_letter(child) != "T", within_s=SOON_S)


async def test_a_signal_to_what_is_gone_does_nothing(running: Running) -> None:
    process_id = running.process_id
    running.kill()
    assert not running.signal(process_id, signal.SIGKILL)
