"""What the command makes of streams that are full, cut off, or of an old encoding."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.runtime.support import has_store_binary, processes_of, until_now
from tests.runtime.test_cli import COMMAND, environment

real_store = pytest.mark.skipif(not has_store_binary(), reason="no server here")


def shell(line: str, folder: Path, **more: str) -> subprocess.CompletedProcess[bytes]:
    """Run a line of shell, in which `contextd` is the command."""
    program = f'contextd() {{ {" ".join(COMMAND)} "$@"; }}\n{line}'
    return subprocess.run(
        ["bash", "-c", program],
        cwd=folder,
        env=environment(**more),
        capture_output=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize("command", ["settings", "settings --toml", "up --help", "--version"])
def test_output_that_finds_no_room_is_a_sentence(tmp_path: Path, command: str) -> None:
    done = shell(f"contextd {command} > /dev/full", tmp_path)
    assert done.returncode == 1
    assert done.stderr == b"contextd: The output was not taken: No space left on device.\n"


@pytest.mark.parametrize("command", ["settings", "settings --toml", "--version"])
def test_a_reader_that_leaves_is_not_complained_about(tmp_path: Path, command: str) -> None:
    done = shell(f"contextd {command} | true; exit ${{PIPESTATUS[0]}}", tmp_path)
    assert (done.returncode, done.stderr) == (1, b"")


def test_what_the_encoding_has_no_sign_for_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "contextd.toml").write_text('data = "täglich 😀"\n', encoding="utf-8")
    done = shell("contextd settings", tmp_path, PYTHONIOENCODING="latin-1")
    assert (done.returncode, done.stderr) == (0, b"")
    assert "täglich ?".encode("latin-1") in done.stdout


def test_what_cannot_be_read_of_standard_input_is_said_with_a_sign(tmp_path: Path) -> None:
    read = "import runtime.streams as s; s.open_standard_streams(); print(ascii(input()))"
    done = shell(f"printf 'caf\\xe9' | {COMMAND[0]} -c '{read}'", tmp_path, PYTHONUTF8="1")
    assert done.stdout == b"'caf\\ufffd'\n"


@pytest.mark.real_only
@real_store
@pytest.mark.parametrize("output", ["full", "cut off"])
def test_up_runs_where_nobody_takes_its_banner(tmp_path: Path, output: str) -> None:
    if output == "full":
        descriptor = os.open("/dev/full", os.O_WRONLY)
    else:
        reader, descriptor = os.pipe()
        os.close(reader)
    with subprocess.Popen(
        [*COMMAND, "up", "--gateways", "0"],
        cwd=tmp_path,
        env=environment(),
        stdout=descriptor,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        os.close(descriptor)
        try:
            # Store and worker; and the standby, which comes once all is announced.
            until_now(lambda: len(processes_of(process.pid)) == 3)
            process.terminate()
            _, errors = process.communicate(timeout=20)
        finally:
            process.kill()
    assert process.returncode == 0, errors
