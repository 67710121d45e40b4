"""`contextd retention` over a real store."""

from collections.abc import Iterator

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from fsm import ContextCreated
from runtime.cli import app
from runtime.retention import run_retention, show_plan
from runtime.settings import Settings
from storage import StorageConfig, connect, keys
from tests.support.store_server import StoreServer

OLD = "017ffcfa-0000-7000-8000-000000000001"
YOUNG = "7fffffff-0000-7000-8000-000000000001"


@pytest.fixture(scope="module")
def server() -> Iterator[StoreServer]:
    with StoreServer() as server:
        yield server


@pytest.fixture
async def settings(server: StoreServer) -> Settings:
    """Of a store with an old and a young context."""
    with server.client() as client:
        client.flushall()  # pyright: ignore[reportUnknownMemberType] - its kwargs are untyped
    async with connect(server.url, StorageConfig()) as store:
        for context_id in (OLD, YOUNG):
            event = ContextCreated(at_ms=1, context_id=context_id, owner="ada")
            await store.admissions.create(event, first=None, key="", digest="")
    return Settings(redis_url=SecretStr(server.url), retention_days=30)


@pytest.mark.real_only
async def test_a_dry_run_shows_what_would_go(
    server: StoreServer, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await show_plan(settings, server.url, days=None, limit=10) == 0
    context, summary = capsys.readouterr().out.splitlines()
    assert context == f"{OLD}  2022-04-06 03:45  ada"
    assert summary.startswith("1 would be deleted: unchanged since ")
    assert await show_plan(settings, server.url, days=36_500, limit=10) == 0
    assert capsys.readouterr().out.startswith("0 would be deleted")


@pytest.mark.real_only
async def test_a_run_asks_for_the_deletion(
    server: StoreServer, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await run_retention(settings, server.url) == 0
    assert capsys.readouterr().out.endswith("1 are being deleted.\n")
    async with connect(server.url, settings) as store:
        assert await store.link.call("ZRANGE", keys.READY, 0, -1) == [OLD.encode()]


@pytest.mark.real_only
async def test_a_store_that_is_away_is_said_so(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = "unix://nowhere.sock"
    settings = settings.model_copy(update={"store_call_s_max": 0.2})
    assert await show_plan(settings, nowhere, days=None, limit=10) == 1
    assert "the store cannot be used" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], "CONTEXTD_RETENTION_DAYS is 0"),
        (["--dry-run"], "CONTEXTD_RETENTION_DAYS is 0"),
        (["--days", "3"], "--days goes with --dry-run"),
    ],
)
def test_wrong_use_is_told(words: list[str], why: str) -> None:
    result = CliRunner().invoke(app, ["retention", *words])
    assert result.exit_code == 2
    assert why in result.output
