"""The first key of a data folder, and what listening beyond this machine takes."""

import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.access import check_keys, create_key, ensure_owner_key
from runtime.key_file import OWNER_KEY, NoKeys
from runtime.settings import Settings
from storage import SCOPES, Access, connect
from tests.support.store_server import StoreServer

pytestmark = pytest.mark.real_only
NOW_MS = time.time_ns() // 1_000_000


@pytest.fixture
def server() -> Iterator[StoreServer]:
    """A store of the test's own."""
    with StoreServer() as server:
        yield server


async def test_the_first_key_is_made_anew_where_the_store_knows_it_no_more(
    server: StoreServer, tmp_path: Path
) -> None:
    settings = Settings(data=tmp_path)
    path = tmp_path / OWNER_KEY
    first = await ensure_owner_key(settings, server.url)
    assert first == path.read_text().strip()
    assert await ensure_owner_key(settings, server.url) is None
    async with connect(server.url, settings) as store:
        await store.link.call("FLUSHALL")
    path.chmod(0o644)
    second = await ensure_owner_key(settings, server.url)
    assert second is not None
    assert (second != first, path.read_text().strip()) == (True, second)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    async with connect(server.url, settings) as store:
        access = Access(store.link)
        assert await access.find(first or "") is None
        found = await access.find(second)
        assert found is not None
        assert found.scopes == tuple(sorted(SCOPES))
        await access.revoke(found.id, now_ms=NOW_MS)
    third = await ensure_owner_key(settings, server.url)
    assert third not in {None, second}
    assert await ensure_owner_key(settings, server.url) is None


async def test_a_store_that_keeps_less_than_was_promised_is_named_once(
    server: StoreServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with connect(server.url, Settings(data=tmp_path)) as store:
        await store.link.call("CONFIG", "SET", "appendfsync", "everysec")
    made = await create_key(
        Settings(data=tmp_path),
        server.url,
        name="mine",
        owner="ada",
        scopes=["admin"],
        days=None,
        file=None,
    )
    said = capsys.readouterr().err
    assert (made, said.count("\n")) == (1, 1)
    assert "appendfsync always" in said
    assert said.endswith("CONTEXTD_DURABILITY=standard.\n")


async def test_a_start_that_was_killed_while_it_wrote_the_key_keeps_none_from_the_next(
    server: StoreServer, tmp_path: Path
) -> None:
    (tmp_path / f"{OWNER_KEY}.new").write_text("half a k")
    key = await ensure_owner_key(Settings(data=tmp_path), server.url)
    assert (tmp_path / OWNER_KEY).read_text() == f"{key}\n"
    assert not (tmp_path / f"{OWNER_KEY}.new").exists()


@pytest.mark.parametrize("name", ["nowhere/key", "folder"])
async def test_a_key_that_cannot_be_written_opens_nothing(
    server: StoreServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (tmp_path / "folder").mkdir()
    settings = Settings(data=tmp_path)
    file = tmp_path / name
    made = create_key(
        *(settings, server.url),
        name="k",
        owner="ada",
        scopes=["contexts:read"],
        days=None,
        file=file,
    )
    assert await made == 1
    assert f"{file} cannot be written" in capsys.readouterr().err
    async with connect(server.url, settings) as store:
        assert not any(key.is_valid(NOW_MS) for key in await Access(store.link).all())
    assert not file.with_name(f"{file.name}.new").exists()


@pytest.mark.parametrize("ends_in_ms", [None, -1, 86_400_000])
async def test_only_a_key_that_is_valid_lets_others_in(
    server: StoreServer, tmp_path: Path, ends_in_ms: int | None
) -> None:
    settings = Settings(data=tmp_path, host="0.0.0.0")
    async with connect(server.url, settings) as store:
        if ends_in_ms is not None:
            await Access(store.link).create(
                *("k",),
                owner="ada",
                scopes=SCOPES,
                now_ms=NOW_MS,
                expires_at_ms=NOW_MS + ends_in_ms,
            )
        if ends_in_ms == 86_400_000:
            await check_keys(settings, store)
            return
        refused = None
        try:
            await check_keys(settings, store)
        except NoKeys as error:
            refused = str(error)
    assert refused is not None
    assert "keys create" in refused


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
async def test_whoever_is_on_this_machine_needs_no_key_to_listen(
    server: StoreServer, tmp_path: Path, host: str
) -> None:
    settings = Settings(data=tmp_path, host=host)
    async with connect(server.url, settings) as store:
        await check_keys(settings, store)
