"""The command itself, as processes: up with a real store and a real worker, no gateway."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from storage import StorageConfig, announced_after, connect
from tests.runtime.support import (
    alive,
    has_store_binary,
    processes_of,
    store_command,
    store_config,
    until_now,
)

Json = dict[str, Any]
COMMAND = (sys.executable, "-m", "runtime.cli")
ROOT = str(Path(__file__).parent.parent.parent)
real_store = pytest.mark.skipif(not has_store_binary(), reason="no server here")


def environment(**more: str) -> dict[str, str]:
    kept = {name: v for name, v in os.environ.items() if not name.startswith("CONTEXTD_")}
    return {**kept, "PYTHONPATH": ROOT, **more}


def contextd(*arguments: str, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=cwd,
        env=environment(**more),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize(
    "command",
    ["backup FILE", "restore FILE --data new", "keys create a --file FILE"],
)
@pytest.mark.parametrize("file", ["", "."])
def test_a_folder_is_not_taken_for_a_file(tmp_path: Path, command: str, file: str) -> None:
    words = [file if word == "FILE" else word for word in command.split()]
    done = contextd(*words, cwd=tmp_path)
    assert (done.returncode, "is a directory" in done.stderr) == (2, True)
    assert list(tmp_path.iterdir()) == []


def test_a_key_does_not_take_the_place_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "laptop.key"
    file.write_text("ck_the_only_copy\n")
    done = contextd("keys", "create", "laptop", "--file", "laptop.key", cwd=tmp_path)
    assert (done.returncode, "laptop.key is there already" in done.stderr) == (2, True)
    assert file.read_text() == "ck_the_only_copy\n"


def test_a_backup_that_is_not_there_makes_no_data_folder(tmp_path: Path) -> None:
    done = contextd("restore", "nope.tar", "--data", "new", cwd=tmp_path)
    assert (done.returncode, "does not exist" in done.stderr) == (2, True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        *(("",), ("a\nb",), ("x" * 201,), ("a", "--owner", ""), ("a", "--owner", "\x1b[2J")),
        ("a", "--days", "36501"),
    ],
)
def test_a_key_that_could_not_be_listed_is_not_made(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    done = contextd("keys", "create", *words, cwd=tmp_path)
    assert (done.returncode, "There is no store" in done.stderr) == (2, False)
    assert "Invalid value" in done.stderr


@pytest.mark.parametrize(
    "command",
    [
        *("", "up", "supervise", "gateway", "worker", "chat", "doctor", "settings"),
        *("restart", "drain", "ps", "workers", "top", "inspect", "replay", "requeue"),
        *("cancel", "compact", "dead-letters list", "dead-letters retry", "dead-letters drop"),
    ],
)
def test_help_teaches_by_example(tmp_path: Path, command: str) -> None:
    done = contextd(*command.split(), "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert f"contextd {command or 'up'}" in done.stdout


def test_help_loads_nothing_that_is_slow(tmp_path: Path) -> None:
    program = (
        "import sys, runtime.cli\n"
        "slow = {'pydantic', 'redis', 'aiohttp', 'storage', 'gateway', 'workers', 'uvloop'}\n"
        "assert not slow & set(sys.modules), slow & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment(), check=True)


def test_bad_settings_are_sentences_and_end_with_two(tmp_path: Path) -> None:
    done = contextd("up", "--port", "99999", cwd=tmp_path, CONTEXTD_WORKERS="-1")
    assert done.returncode == 2
    first, second = done.stderr.splitlines()
    assert first.startswith("contextd: --port: input should be less")
    assert second.startswith("contextd: CONTEXTD_WORKERS: input should be greater")


def test_a_data_folder_without_a_name_is_not_the_current_one(tmp_path: Path) -> None:
    done = contextd("up", "--data", "", cwd=tmp_path)
    assert done.returncode == 2
    assert "it is empty" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("supervise",), "CONTEXTD_REDIS_URL is not set"),
        (("worker",), "There is no store"),
        (("gateway", "--data", "elsewhere"), "no `contextd up` runs in elsewhere"),
    ],
)
def test_a_command_without_a_store_says_what_to_do(
    tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    done = contextd(*arguments, cwd=tmp_path)
    assert (done.returncode, said in done.stderr) == (2, True)


def test_a_socket_that_was_left_behind_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "contextd-data").mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "contextd-data" / "store.sock"))
    done = contextd("keys", "list", cwd=tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "no `contextd up` runs in contextd-data" in line


@pytest.mark.parametrize("command", ["keys list", "audit", "backup all.tar"])
def test_a_store_that_is_away_is_one_sentence(tmp_path: Path, command: str) -> None:
    nowhere = {"CONTEXTD_REDIS_URL": f"unix://{tmp_path}/no.sock"}
    done = contextd(*command.split(), cwd=tmp_path, CONTEXTD_STORE_CALL_S_MAX="0.5", **nowhere)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert (
        f"no connection to the store (ConnectionError: Error 2 connecting to {tmp_path}/no.sock"
        in line
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["up", "worker"])
def test_mcp_servers_that_are_not_understood_stop_the_start(
    tmp_path: Path, command: str
) -> None:
    (tmp_path / "mcp.json").write_text('{"mcpServers": {"a": {"comand": "b"}}}')
    done = contextd(command, cwd=tmp_path, CONTEXTD_MCP_SERVERS="mcp.json")
    assert done.returncode == 2
    assert "contextd: The MCP servers' file mcp.json: mcpServers.a" in done.stderr


@pytest.mark.parametrize("command", ["up", "gateway"])
def test_a_certificate_that_cannot_be_used_stops_the_start(
    tmp_path: Path, command: str
) -> None:
    (tmp_path / "cert.pem").touch()
    files = {"CONTEXTD_TLS_CERT": "cert.pem", "CONTEXTD_TLS_KEY": "key.pem"}
    done = contextd(command, cwd=tmp_path, **files)
    assert done.returncode == 2
    assert done.stderr == (
        "contextd: tls_key: key.pem cannot be read: No such file or directory.\n"
    )
    done = contextd(command, cwd=tmp_path, CONTEXTD_TLS_CERT="cert.pem")
    assert done.returncode == 2
    assert "tls_cert and tls_key belong together" in done.stderr


def test_the_settings_in_force_are_shown_with_their_source(tmp_path: Path) -> None:
    (tmp_path / "contextd.toml").write_text("workers = 4")
    done = contextd("settings", cwd=tmp_path, CONTEXTD_MODEL_API_KEY="sesame")
    rows = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()}
    assert rows["workers"] == ["4", "contextd.toml"]
    assert rows["model_api_key"] == ["**********", "CONTEXTD_MODEL_API_KEY"]


def test_doctor_ends_with_one_where_something_fails(tmp_path: Path) -> None:
    done = contextd("doctor", cwd=tmp_path, CONTEXTD_REDIS_URL="unix:///nowhere.sock")
    assert done.returncode == 1
    assert "fail store" in done.stdout


@contextmanager
def up(
    folder: Path,
    *arguments: str,
    command: str = "up",
    shell: tuple[str, ...] = (),
    **more: str,
) -> Generator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [*shell, *COMMAND, command, "--gateways", "0", *arguments],
        cwd=folder,
        # Counted below: which processes there are, not which are about to be.
        env=environment(CONTEXTD_STANDBY="false", **more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            while "is up" not in (line := process.stdout.readline()):
                assert line, process.stderr.read() if process.stderr else ""
            yield process
        finally:
            process.kill()


def store_id(folder: Path) -> int:
    return int((folder / "contextd-data" / "store.lock").read_text())


def workers_of(supervisor: subprocess.Popen[str], folder: Path) -> set[int]:
    return set(processes_of(supervisor.pid)) - {store_id(folder)}


@pytest.mark.real_only
@real_store
def test_up_replaces_what_is_killed_and_drains_when_told(tmp_path: Path) -> None:
    with up(tmp_path) as process:
        (worker,) = workers_of(process, tmp_path)
        os.kill(worker, signal.SIGKILL)
        until_now(lambda: workers_of(process, tmp_path) - {worker})
        store = store_id(tmp_path)
        os.kill(store, signal.SIGKILL)
        until_now(lambda: store_id(tmp_path) != store and alive(store_id(tmp_path)))
        process.terminate()
        _, errors = process.communicate(timeout=20)
        assert process.returncode == 0, errors
    assert not alive(store_id(tmp_path))


async def told(folder: Path, kind: str) -> list[Json]:
    """What dashboards were told of a kind."""
    url = f"unix://{folder}/contextd-data/store.sock"
    async with connect(url, StorageConfig()) as store:
        kept = await announced_after(store.link, 0, limit=100)
    whats = [json.loads(entry)["what"] for _, entry in kept]
    return [what for what in whats if what["type"] == kind]


@pytest.mark.real_only
@real_store
def test_dashboards_are_told_once_of_a_worker_that_has_died(tmp_path: Path) -> None:
    with up(tmp_path, "--workers", "2") as process:
        until_now(lambda: len(asyncio.run(told(tmp_path, "worker_joined"))) == 2)
        first, second = asyncio.run(told(tmp_path, "worker_joined"))
        os.kill(min(workers_of(process, tmp_path)), signal.SIGKILL)
        until_now(lambda: len(asyncio.run(told(tmp_path, "worker_joined"))) == 3)
        (lost,) = asyncio.run(told(tmp_path, "worker_lost"))
        assert lost["worker_id"] in {first["worker_id"], second["worker_id"]}
        assert (lost["cause"], lost["contexts"]) == ("died", 0)
        process.terminate()
        process.communicate(timeout=20)


@pytest.fixture
def a_terminal_that_can_end() -> Generator[None, None, None]:
    """Whoever runs the tests under nohup hands that on to what they start."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.real_only
@pytest.mark.usefixtures("a_terminal_that_can_end")
@real_store
def test_under_nohup_up_outlives_its_terminal_and_without_it_drains(tmp_path: Path) -> None:
    with up(tmp_path, shell=("nohup",)) as process:
        process.send_signal(signal.SIGHUP)
        (worker,) = workers_of(process, tmp_path)
        os.kill(worker, signal.SIGKILL)
        until_now(lambda: workers_of(process, tmp_path) - {worker})
        process.terminate()
        process.communicate(timeout=20)
    with up(tmp_path) as process:
        process.send_signal(signal.SIGHUP)
        _, errors = process.communicate(timeout=20)
        assert process.returncode == 0, errors


@pytest.mark.real_only
@pytest.mark.usefixtures("a_terminal_that_can_end")
@real_store
@pytest.mark.parametrize(("role", "shell"), [("gateway", ("nohup",)), ("worker", ())])
def test_a_process_started_alone_drains_at_the_end_of_its_terminal_or_under_nohup_ignores_it(
    tmp_path: Path, role: str, shell: tuple[str, ...]
) -> None:
    with (
        up(tmp_path),
        subprocess.Popen(
            [*shell, *COMMAND, role],
            cwd=tmp_path,
            env=environment(CONTEXTD_PORT="0"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as alone,
    ):
        assert alone.stderr is not None
        while '"ready"' not in (line := alone.stderr.readline()):
            assert line
        status = Path(f"/proc/{alone.pid}/status").read_text()
        ignored = int(status.partition("SigIgn:")[2].split()[0], 16)
        assert bool(ignored & 1) is bool(shell)
        alone.send_signal(signal.SIGTERM if shell else signal.SIGHUP)
        _, said = alone.communicate(timeout=20)
        assert (alone.returncode, '"drained"' in said) == (0, True)


@pytest.mark.real_only
@real_store
def test_p1_a_data_folder_that_was_lost_is_waited_for(tmp_path: Path) -> None:
    data, away = tmp_path / "contextd-data", tmp_path / "away"
    with up(tmp_path) as process:
        key, store = (data / "owner.key").read_text(), store_id(tmp_path)
        data.rename(away)
        os.kill(store, signal.SIGKILL)
        assert process.stderr is not None
        while "store did not start" not in (line := process.stderr.readline()):
            assert line
        assert f"The data folder {data} is away (No such file or directory). Put it" in line
        assert not data.exists()
        away.rename(data)
        until_now(lambda: alive(store_id(tmp_path)))
        assert (data / "owner.key").read_text() == key
        process.terminate()
        process.communicate(timeout=20)
        assert process.returncode == 0


@pytest.mark.real_only
@real_store
def test_a_first_key_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "data" / "owner.key").mkdir(parents=True)
    (tmp_path / "data").chmod(0o700)
    done = contextd("up", "--gateways", "0", "--data", "data", cwd=tmp_path)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("contextd: The first key, data/owner.key, cannot be looked up or")


@pytest.mark.real_only
@real_store
def test_a_killed_up_leaves_nothing_running_and_the_next_one_starts(tmp_path: Path) -> None:
    with up(tmp_path) as process:
        (worker,) = workers_of(process, tmp_path)
        store = store_id(tmp_path)
        process.kill()
        process.wait()
        until_now(lambda: not alive(worker) and not alive(store), within_s=5)
    with up(tmp_path) as process:
        process.terminate()
        process.communicate(timeout=20)
        assert process.returncode == 0


@pytest.mark.real_only
@real_store
@pytest.mark.parametrize("closed", ["<&-", "<&- 2>&-"])
def test_up_runs_without_standard_streams(tmp_path: Path, closed: str) -> None:
    shell = ("sh", "-c", f'exec "$@" {closed}', "sh")
    with up(tmp_path, shell=shell, CONTEXTD_STORE_START_S_MAX="3") as process:
        process.terminate()
        process.communicate(timeout=20)
        assert process.returncode == 0


@pytest.mark.real_only
@real_store
def test_a_second_up_joins_the_store_and_outlives_the_first(tmp_path: Path) -> None:
    with up(tmp_path) as first, up(tmp_path) as second:
        owner = store_id(tmp_path)
        assert owner in processes_of(first.pid)
        assert owner not in processes_of(second.pid)
        first.terminate()
        first.communicate(timeout=20)
        until_now(lambda: store_id(tmp_path) in processes_of(second.pid))


@pytest.mark.real_only
@real_store
@pytest.mark.parametrize(
    ("durability", "appendfsync"), [("strict", "always"), ("standard", "everysec")]
)
def test_the_embedded_store_keeps_what_durability_says(
    tmp_path: Path, durability: str, appendfsync: str
) -> None:
    with up(tmp_path, CONTEXTD_DURABILITY=durability):
        socket = tmp_path / "contextd-data" / "store.sock"
        assert store_config(socket, "appendfsync") == appendfsync


@pytest.mark.real_only
@real_store
def test_supervise_refuses_a_store_that_keeps_too_little(tmp_path: Path) -> None:
    with up(tmp_path):
        socket = tmp_path / "contextd-data" / "store.sock"
        url = f"unix://{socket}"
        store_command(socket, "CONFIG", "SET", "appendfsync", "everysec")
        done = contextd("supervise", "--gateways", "0", cwd=tmp_path, CONTEXTD_REDIS_URL=url)
        assert done.returncode == 1
        assert "durability=strict needs" in done.stderr
        assert "Traceback" not in done.stderr
        with up(
            tmp_path,
            command="supervise",
            CONTEXTD_REDIS_URL=url,
            CONTEXTD_DURABILITY="standard",
        ) as supervisor:
            supervisor.send_signal(signal.SIGINT)
            supervisor.communicate(timeout=20)
            assert supervisor.returncode == 0
