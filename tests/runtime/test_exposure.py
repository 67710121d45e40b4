"""The rows of `contextd doctor` about who could come in, each with its cure."""

import base64
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.exposure import file_exposure, kept_exposure, store_exposure
from runtime.findings import Check, Level
from runtime.key_file import OWNER_KEY
from runtime.settings import Settings, load_settings
from storage import SCOPES, Access, connect
from tests.support.service_processes import free_port
from tests.support.store_server import StoreServer

pytestmark = pytest.mark.real_only
NOW_MS = time.time_ns() // 1_000_000
DAY_MS = 86_400_000


@pytest.fixture
def server() -> Iterator[StoreServer]:
    """A store on a port of this machine."""
    with StoreServer(port=str(free_port()), bind="127.0.0.1") as server:
        yield server


def address(server: StoreServer, credentials: str = "") -> str:
    return f"redis://{credentials}127.0.0.1:{server.options['port']}/0"


async def access(url: str) -> Check:
    return {check.name: check for check in await store_exposure(url)}["store access"]


def tell(server: StoreServer, *command: str) -> None:
    client: Any = server.client()
    client.execute_command(*command)
    client.close()


async def test_a_store_without_a_password_is_worse_the_more_can_reach_it(
    server: StoreServer,
) -> None:
    here = await access(address(server))
    assert (here.level, "every user of this machine" in here.finding) == (Level.WARN, True)
    assert "docs/redis-users.conf" in here.advice
    tell(server, "CONFIG", "SET", "protected-mode", "no")
    assert (await access(address(server))).level is Level.WARN  # it listens here alone
    tell(server, "CONFIG", "SET", "bind", "* -::*")
    far = await access(address(server))
    assert (far.level, "over the network" in far.finding) == (Level.FAIL, True)


async def test_a_store_with_a_password_and_a_user_passes(server: StoreServer) -> None:
    assert (await store_exposure(server.url))[0].level is Level.OK
    tell(server, "ACL", "SETUSER", "me", "on", ">sesame", "+@all", "~*", "&*")
    tell(server, "CONFIG", "SET", "requirepass", "sesame")
    shared = await access(address(server, ":sesame@"))
    assert (shared.level, "`default`" in shared.finding) == (Level.WARN, True)
    own = await access(address(server, "me:sesame@"))
    assert (own.level, own.finding.endswith("contextd is me")) == (Level.OK, True)
    assert "sesame" not in repr((shared, own))


@pytest.mark.parametrize(
    ("url", "level"),
    [
        ("redis://me:x@192.0.2.1:1/0", Level.WARN),
        ("redis+sentinel://me:x@192.0.2.1:1,[2001:db8::1]:1/main", Level.WARN),
        ("rediss://me:x@192.0.2.1:1/0?ssl_ca_certs=ca.pem", Level.OK),
        ("rediss://me:x@192.0.2.1:1/0?ssl_cert_reqs=none", Level.FAIL),
        ("rediss://me:x@192.0.2.1:1/0?ssl_check_hostname=False", Level.FAIL),
        ("redis://me:x@127.0.0.1:1/0", None),
        ("unix:///store.sock", None),
    ],
)
async def test_a_store_elsewhere_wants_tls(
    monkeypatch: pytest.MonkeyPatch, url: str, level: Level | None
) -> None:
    monkeypatch.setattr("runtime.exposure._ANSWER_S_MAX", 0.05)
    rows = {check.name: check for check in await store_exposure(url)}
    found = rows.get("store tls")
    assert (found and found.level) == level


async def kept(settings: Settings, url: str) -> dict[str, Check]:
    return {check.name: check for check in await kept_exposure(settings, url)}


async def make_key(url: str, *, days: int | None = None) -> str:
    async with connect(url, Settings()) as store:
        ends = None if days is None else NOW_MS + days * DAY_MS
        key, _ = await Access(store.link).create(
            "k", owner="ada", scopes=SCOPES, now_ms=NOW_MS, expires_at_ms=ends
        )
    return key.id


async def test_keys_that_are_missing_or_about_to_end_are_told(server: StoreServer) -> None:
    none = (await kept(Settings(), server.url))["keys"]
    assert (none.level, "contextd keys create" in none.advice) == (Level.WARN, True)
    await make_key(server.url, days=-1)
    far = Settings(host="0.0.0.0")
    assert (await kept(far, server.url))["keys"].level is Level.FAIL
    await make_key(server.url, days=30)
    assert (await kept(far, server.url))["keys"].level is Level.OK
    ending = await make_key(server.url, days=6)
    soon = (await kept(far, server.url))["keys"]
    assert (soon.level, ending in soon.finding) == (Level.WARN, True)
    off = (await kept(load_settings({"auth": "off"}), server.url))["keys"]
    assert (off.level, "auth is off" in off.finding) == (Level.WARN, True)


async def test_encryption_is_told_with_what_it_leaves_out(
    server: StoreServer, tmp_path: Path
) -> None:
    file = tmp_path / "keys"
    file.write_text(f"k {base64.b64encode(bytes(32)).decode()}\n")
    file.chmod(0o600)
    sealed = Settings(encryption=f"file:{file}")
    on = (await kept(sealed, server.url))["encryption"]
    assert (on.level, on.finding) == (Level.OK, "on, for all that was said")
    file.chmod(0o640)
    readable = (await kept(sealed, server.url))["encryption"]
    assert (readable.level, "chmod 600" in readable.advice) == (Level.FAIL, True)
    without = (await kept(Settings(), server.url))["encryption"]
    assert (without.level, "CONTEXTD_ENCRYPTION" in without.advice) == (Level.FAIL, True)


async def test_encryption_that_came_later_is_told(server: StoreServer, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"k {base64.b64encode(bytes(32)).decode()}\n")
    file.chmod(0o600)
    assert (await kept(Settings(), server.url))["encryption"].level is Level.OK
    later = (await kept(Settings(encryption=f"file:{file}"), server.url))["encryption"]
    assert (later.level, "still readable" in later.finding) == (Level.WARN, True)


def test_files_that_others_can_open_are_told(tmp_path: Path) -> None:
    data = tmp_path / "data"
    settings = Settings(data=data)
    assert file_exposure(settings) == []
    data.mkdir(mode=0o700)
    key = data / OWNER_KEY
    key.write_text("x")
    key.chmod(0o600)
    assert file_exposure(settings) == []
    key.chmod(0o644)
    data.chmod(0o755)
    assert [check.advice for check in file_exposure(settings)] == [
        f"chmod 700 {data}",
        f"chmod 600 {key}",
    ]
