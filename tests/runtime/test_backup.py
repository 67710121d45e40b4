"""`contextd backup` and `contextd restore` over real stores that nobody uses."""

# pyright: reportUnknownMemberType=false
# redis-py leaves keyword arguments, and so every second method, partly untyped.

import asyncio
import base64
import os
import signal
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr

from fsm import ContextCreated
from runtime.backup import run_backup, run_restore
from runtime.embedded import EmbeddedStore
from runtime.settings import Settings
from storage import SCOPES, Access, Audit, Audited, Store, connect
from tests.runtime.support import has_store_binary, until
from tests.support.acl_store import acl_store
from tests.support.store_server import StoreServer

pytestmark = [
    pytest.mark.real_only,
    pytest.mark.skipif(not has_store_binary(), reason="no valkey-server or redis-server here"),
]
ROOT = str(Path(__file__).parent.parent.parent)
CONTEXT_ID = "01890a5d-ac96-774b-bcce-b302099a8057"


@pytest.fixture(scope="module")
def target() -> Iterator[StoreServer]:
    with StoreServer() as server:
        yield server


def key_file(path: Path) -> str:
    path.write_text(f"one {base64.b64encode(os.urandom(32)).decode()}\n")
    return f"file:{path}"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def backed_up(folder: Path, **settings: object) -> tuple[Path, str]:
    """A backup of a store with one context and one API key; also its epoch."""
    file = folder / "backup.tar"
    with StoreServer(repl_diskless_sync_delay="0") as server:
        chosen = Settings.model_validate({"redis_url": server.url, **settings})
        async with connect(server.url, chosen) as store:
            event = ContextCreated(at_ms=1, context_id=CONTEXT_ID, owner="ada")
            await store.admissions.create(event, first=None, key="", digest="")
            await Access(store.link).create("k", owner="ada", scopes=SCOPES, now_ms=1)
            epoch = store.epoch
        assert await run_backup(chosen, server.url, file) == 0
    return file, epoch


@asynccontextmanager
async def opened(settings: Settings) -> AsyncGenerator[Store, None]:
    """The embedded store of a data folder."""
    embedded = EmbeddedStore(settings)
    await embedded.start()
    try:
        async with connect(embedded.url, settings) as store:
            yield store
    finally:
        await embedded.stop()


async def holds_what_was_backed_up(store: Store, *, epoch: str) -> None:
    assert (await store.read(CONTEXT_ID, "ada")).version == 1
    assert [key.name for key in await Access(store.link).all()] == ["k"]
    assert int(store.epoch) > int(epoch)
    acts = await Audit(store.link, 100).page(after=0, limit=10)
    recorded = [one.record.act.name for one in acts if isinstance(one, Audited)]
    assert recorded == ["backup", "restore"]


async def test_a_backup_of_a_server_becomes_the_data_folder_of_an_embedded_store(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, epoch = await backed_up(tmp_path)
    settings = Settings(data=tmp_path / "data")
    assert await run_restore(settings, file, force=False) == 0
    assert "Restored: 1 contexts as of 20" in capsys.readouterr().out
    assert names(settings.data) == ["appendonlydir", "store.lock"]
    async with opened(settings) as store:
        await holds_what_was_backed_up(store, epoch=epoch)


async def test_a_backup_goes_into_an_empty_server(tmp_path: Path, target: StoreServer) -> None:
    file, epoch = await backed_up(tmp_path)
    settings = Settings(redis_url=SecretStr(target.url), data=tmp_path / "unused")
    assert await run_restore(settings, file, force=True) == 0
    async with connect(target.url, settings) as store:
        await holds_what_was_backed_up(store, epoch=epoch)
    assert not settings.data.exists()


async def test_a_server_that_holds_something_is_left_alone(
    tmp_path: Path, target: StoreServer, capsys: pytest.CaptureFixture[str]
) -> None:
    file, _ = await backed_up(tmp_path)
    with target.client() as client:
        client.flushall()
        client.set("theirs", "1")
    settings = Settings(redis_url=SecretStr(target.url))
    assert await run_restore(settings, file, force=False) == 1
    assert "there are keys in it" in capsys.readouterr().err
    with target.client() as client:
        assert client.dbsize() == 1


async def test_a_data_folder_that_holds_a_store_is_set_aside_by_force_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, epoch = await backed_up(tmp_path)
    settings = Settings(data=tmp_path / "data")
    async with opened(settings) as store:
        await store.link.call("SET", "before", "1")
        assert await run_restore(settings, file, force=True) == 1
        assert "a store runs in" in capsys.readouterr().err
    assert await run_restore(settings, file, force=False) == 1
    assert "--force sets it aside" in capsys.readouterr().err
    async with opened(settings) as store:
        assert await store.link.call("GET", "before") == b"1"
    assert await run_restore(settings, file, force=True) == 0
    async with opened(settings) as store:
        await holds_what_was_backed_up(store, epoch=epoch)
    (aside,) = settings.data.glob("appendonlydir.before-*")
    (settings.data / "appendonlydir").rename(tmp_path / "gone")
    aside.rename(settings.data / "appendonlydir")
    async with opened(settings) as store:
        assert await store.link.call("GET", "before") == b"1"


async def test_what_is_encrypted_stays_so_and_takes_its_keys_to_restore(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = key_file(tmp_path / "keys")
    file, epoch = await backed_up(tmp_path, encryption=keys)
    assert b"ada" in file.read_bytes()  # owners are not contents
    assert b'"type"' not in file.read_bytes()
    settings = Settings(data=tmp_path / "data")
    for wrong in (
        settings,
        settings.model_copy(update={"encryption": key_file(tmp_path / "b")}),
    ):
        assert await run_restore(wrong, file, force=False) == 1
        assert "it was not restored" in capsys.readouterr().err
        assert names(settings.data) == ["store.lock"]
    right = settings.model_copy(update={"encryption": keys})
    assert await run_restore(right, file, force=False) == 0
    async with opened(right) as store:
        await holds_what_was_backed_up(store, epoch=epoch)


async def test_a_damaged_file_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, _ = await backed_up(tmp_path)
    raw = bytearray(file.read_bytes())
    raw[1_000] ^= 1
    file.write_bytes(raw)
    settings = Settings(data=tmp_path / "data")
    assert await run_restore(settings, file, force=False) == 1
    said = f"nothing was restored: {file} is damaged: its contents have another checksum.\n"
    assert capsys.readouterr().err == f"contextd: {said}"
    assert names(settings.data) == ["store.lock"]


async def test_the_store_user_for_backups_may_make_one_and_no_other_may(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with acl_store() as store:
        url = store.url("contextd-backup")
        settings = Settings(redis_url=SecretStr(url))
        assert await run_backup(settings, url, tmp_path / "backup.tar") == 0
        assert store.refused() == []
        assert await run_backup(settings, store.url("contextd"), tmp_path / "other.tar") == 1
        assert "it gives no copy of its data" in capsys.readouterr().err
    assert names(tmp_path) == ["backup.tar"]


def test_a_file_that_is_there_is_named_and_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "backup.tar"
    file.write_text("the only one")
    assert asyncio.run(run_backup(Settings(), f"unix://{tmp_path}/none.sock", file)) == 1
    assert f"in {file}: {file}: File exists.\n" in capsys.readouterr().err
    assert file.read_text() == "the only one"


def test_a_store_that_is_away_gives_no_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "backup.tar"
    settings = Settings(store_call_s_max=0.2)
    assert asyncio.run(run_backup(settings, f"unix://{tmp_path}/none.sock", file)) == 1
    assert "no backup was made" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


async def test_a_backup_that_is_told_to_stop_leaves_nothing(tmp_path: Path) -> None:
    with StoreServer() as server:
        server.pause()
        try:
            backup = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "runtime.cli", "backup", str(tmp_path / "a.tar")),
                cwd=tmp_path,
                env={**os.environ, "CONTEXTD_REDIS_URL": server.url, "PYTHONPATH": ROOT},
                stderr=asyncio.subprocess.DEVNULL,
            )
            await until(lambda: names(tmp_path) == ["a.tar.part"])
            backup.send_signal(signal.SIGTERM)
            assert await backup.wait() != 0
        finally:
            server.resume()
    assert names(tmp_path) == []
