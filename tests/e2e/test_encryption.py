"""A data folder whose contents are encrypted, started with its keys and without."""

import base64
import os
import sys
from pathlib import Path

import pytest

from tests.support.service_processes import Service, run_words

pytestmark = pytest.mark.timeout(240)


def write_key(path: Path, name: str) -> None:
    path.write_text(f"{name} {base64.b64encode(os.urandom(32)).decode()}\n")


def test_a_folder_that_cannot_be_read_is_refused_at_the_start(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    write_key(keys, "one")
    with Service(encryption=f"file:{keys}") as service:
        service.up.terminate()
        service.up.wait()
        start = [sys.executable, "-P", "-m", "runtime.cli", "up", "--port", str(service.port)]
        start += ["--data", str(service.data)]
        keyless = {**service.environment, "CONTEXTD_ENCRYPTION": ""}
        done = run_words(start, keyless, folder=service.folder)
        assert done.returncode == 1
        assert "set CONTEXTD_ENCRYPTION to its keys" in done.stderr
        write_key(keys, "two")
        done = run_words(start, service.environment, folder=service.folder)
        assert done.returncode == 1
        assert "was encrypted with other keys" in done.stderr
