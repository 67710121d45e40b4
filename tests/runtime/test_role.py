"""What a process has loaded, and when."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.service_processes import Running, tethered, until
from tests.support.store_server import StoreServer

pytestmark = pytest.mark.timeout(120)

STALL_S = 3
SLOW = f"""
import importlib.abc, sys, time

class Slow(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name in {{"gateway.serve", "workers.serve"}}:
            time.sleep({STALL_S} + 1)

sys.meta_path.insert(0, Slow())
from runtime.cli import main
main()
"""


@pytest.mark.parametrize("role", ["gateway", "worker"])
def test_a_start_that_takes_its_time_is_no_stuck_loop(role: str, tmp_path: Path) -> None:
    with StoreServer() as store:
        environment = {
            **os.environ,
            "CONTEXTD_REDIS_URL": store.url,
            "CONTEXTD_AUTH": "off",
            "CONTEXTD_LOOP_STALL_S_MAX": str(STALL_S),
        }
        words = [role, *(["--port", "0"] if role == "gateway" else [])]
        log = tmp_path / "log"
        running = Running(tethered(sys.executable, "-c", SLOW, *words), environment, log)
        try:
            until(
                lambda: running.exit_code is not None or '"event":"ready"' in running.tail(),
                "a process is ready",
            )
            assert running.exit_code is None, running.tail()
            running.terminate()
            assert running.wait() == 0
            assert "store subscription lost" not in running.tail()
        finally:
            running.kill()


@pytest.mark.parametrize(("said", "goes"), [(b"x", True), (b"", False)])
def test_one_that_waits_has_loaded_everything_and_goes_only_if_told(
    *, said: bytes, goes: bool
) -> None:
    program = (
        "import sys; from runtime.role import wait_for_go\n"
        "print(wait_for_go('worker'), 'workers.activation' in sys.modules)"
    )
    go, let_go = os.pipe()
    try:
        os.write(let_go, said)
        os.close(let_go)
        ran = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "CONTEXTD_GO_FD": str(go)},
            pass_fds=[go],
            capture_output=True,
            text=True,
            check=True,
        )
    finally:
        os.close(go)
    assert ran.stdout.split() == [str(goes), "True"]
