import json
import shutil
import socket
import stat
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.typedefs import Handler

from runtime.config import RuntimeConfig
from runtime.doctor import examine, report
from runtime.embedded import EmbeddedStore
from runtime.findings import Check, Level
from runtime.settings import load_settings
from storage import connect
from tests.runtime.support import has_store_binary, run, store_command
from tests.support.replicated_store import ReplicatedStore, replicated_store
from tests.support.service_processes import free_port

PLAIN_MCP_SERVER = Path(__file__).parent.parent / "workers/tools/mcp_plain_server.py"

real_store = pytest.mark.skipif(not has_store_binary(), reason="no server here")


async def findings(**given: object) -> dict[str, Check]:
    settings = load_settings({"port": free_port(), **given})
    return {check.name: check for check in await examine(settings)}


def test_a_fresh_machine_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = run(findings(data=tmp_path / "new" / "data"))
    assert {name for name, check in found.items() if check.level is Level.FAIL} == set()
    assert "will be made" in found["data folder"].finding
    assert not (tmp_path / "new").exists()
    assert report(list(found.values()), as_json=False) == 0
    assert "warn model" in capsys.readouterr().out


def test_a_look_changes_no_data_folder(tmp_path: Path) -> None:
    for name in ("empty", "ours"):
        (tmp_path / name).mkdir(mode=0o755)
    (tmp_path / "ours" / "store.lock").touch()
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True, mode=0o755)
    for folder in (tmp_path / "empty", tmp_path / "ours", deep):
        before = stat.S_IMODE(folder.stat().st_mode), list(folder.iterdir())
        assert run(findings(data=folder))["data folder"].level is Level.OK
        assert (stat.S_IMODE(folder.stat().st_mode), list(folder.iterdir())) == before


def test_a_data_folder_that_up_would_refuse_fails(tmp_path: Path) -> None:
    (tmp_path / "theirs").touch()
    tmp_path.chmod(0o777)
    found = run(findings(data=tmp_path))["data folder"]
    assert (found.level, "others may write to it" in found.finding) == (Level.FAIL, True)
    file = tmp_path / "theirs"
    found = run(findings(data=file))["data folder"]
    assert (found.level, "cannot be used" in found.finding) == (Level.FAIL, True)


@pytest.mark.parametrize(
    ("free_bytes", "level"), [(0, Level.FAIL), (20_000_000, Level.WARN), (10**10, Level.OK)]
)
def test_a_disk_without_room_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_bytes: int, level: Level
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=free_bytes)

    def measured(_folder: object) -> object:
        return usage

    monkeypatch.setattr("shutil.disk_usage", measured)
    assert run(findings(data=tmp_path))["data folder"].level is level


@pytest.mark.real_only
@real_store
def test_a_running_embedded_store_is_found_through_the_data_folder(tmp_path: Path) -> None:
    async def story() -> None:
        store = EmbeddedStore(RuntimeConfig(data=tmp_path / "data"))
        await store.start()
        try:
            found = await findings(data=tmp_path / "data")
            assert found["store"].level is Level.OK
            assert found["durability"].finding == "strict: appendonly yes, appendfsync always"
            assert found["eviction"].finding == "noeviction"
            workers = found["workers"]
            assert (workers.level, workers.finding) == (Level.WARN, "none lives")
            async with connect(store.url, load_settings()) as opened:
                await opened.sessions.renew("w", now_ms=1, begin=True)
                assert (await findings(data=tmp_path / "data"))["workers"].level is Level.OK
        finally:
            await store.stop()

    run(story())


@pytest.mark.real_only
@real_store
@pytest.mark.parametrize(
    ("name", "value", "where", "advice"),
    [
        ("appendfsync", "everysec", "durability", "CONTEXTD_DURABILITY=standard"),
        ("appendonly", "no", "durability", "appendonly yes"),
        ("maxmemory-policy", "allkeys-lru", "eviction", "maxmemory-policy noeviction"),
    ],
)
def test_a_store_that_would_lose_something_fails_with_the_cure(
    tmp_path: Path, name: str, value: str, where: str, advice: str
) -> None:
    async def story() -> None:
        store = EmbeddedStore(RuntimeConfig(data=tmp_path / "data"))
        await store.start()
        try:
            store_command(tmp_path / "data" / "store.sock", "CONFIG", "SET", name, value)
            found = await findings(redis_url=store.url, data=tmp_path)
            assert (found[where].level, advice in found[where].advice) == (Level.FAIL, True)
        finally:
            await store.stop()

    run(story())


@pytest.mark.real_only
@real_store
@pytest.mark.parametrize(("value", "level"), [("everysec", Level.OK), ("no", Level.FAIL)])
def test_a_store_that_keeps_the_standard_passes_and_one_that_never_syncs_does_not(
    tmp_path: Path, value: str, level: Level
) -> None:
    async def story() -> None:
        store = EmbeddedStore(RuntimeConfig(data=tmp_path / "data"))
        await store.start()
        try:
            store_command(
                tmp_path / "data" / "store.sock", "CONFIG", "SET", "appendfsync", value
            )
            found = await findings(redis_url=store.url, data=tmp_path, durability="standard")
            assert found["durability"].level is level
        finally:
            await store.stop()

    run(story())


@pytest.mark.real_only
@real_store
@pytest.mark.parametrize(
    ("wanted", "level", "advice"),
    [(2, Level.FAIL, "lower CONTEXTD_STORE_REPLICAS_MIN"), (1, Level.OK, ""), (0, None, "")],
)
def test_too_few_replicas_fail_with_the_cure(
    a_pair: ReplicatedStore, wanted: int, level: Level | None, advice: str
) -> None:
    found = run(findings(redis_url=a_pair.primary.url, store_replicas_min=wanted))
    if level is None:
        assert "replicas" not in found
        return
    check = found["replicas"]
    assert (check.level, check.finding) == (
        level,
        f"1 connected; an answer waits for {wanted}",
    )
    assert advice in check.advice


@pytest.fixture(scope="module")
def a_pair() -> Iterator[ReplicatedStore]:
    with replicated_store(replicas=1) as pair:
        yield pair


def test_a_store_that_is_not_there_fails(capsys: pytest.CaptureFixture[str]) -> None:
    url = f"redis://:sesame@127.0.0.1:{free_port()}/0"
    found = run(findings(redis_url=url))
    assert found["store"].level is Level.FAIL
    assert report(list(found.values()), as_json=True) == 1
    printed = capsys.readouterr().out
    assert '"level": "fail"' in printed
    assert "sesame" not in printed


def test_a_taken_port_fails_unless_contextd_has_it(tmp_path: Path) -> None:
    async def story() -> None:
        async def openapi(_request: web.Request) -> web.Response:
            return web.json_response({"openapi": "3.1.0", "info": {"title": "contextd"}})

        async with served("/openapi.json", openapi) as port:
            found = await findings(port=port, data=tmp_path)
            assert found["port"].finding.endswith("contextd answers there")
            assert found["store"].level is Level.WARN
            finding = f"contextd answers at port {port}, and no store runs in {tmp_path}"
            assert found["store"].finding == finding
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
            found = await findings(port=port, data=tmp_path)
            assert found["port"].level is Level.FAIL
            assert "--port" in found["port"].finding

    run(story())


@asynccontextmanager
async def served(path: str, handler: Handler) -> AsyncGenerator[int, None]:
    app = web.Application()
    app.router.add_get(path, handler)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("model", "key", "level", "said"),
    [
        ("big", "sesame", Level.OK, "big at http"),
        ("small", "sesame", Level.WARN, "does not list small"),
        (None, "sesame", Level.WARN, "no model is chosen"),
        ("big", "wrong", Level.FAIL, "refuses the key"),
        ("big", "another's", Level.FAIL, "refuses the key"),
    ],
)
def test_the_model_server_is_asked_for_its_models(
    tmp_path: Path, model: str | None, key: str, level: Level, said: str
) -> None:
    async def models(request: web.Request) -> web.Response:
        if request.headers["Authorization"] != "Bearer sesame":
            is_wrong = request.headers["Authorization"] == "Bearer wrong"
            return web.Response(status=401 if is_wrong else 403)
        return web.json_response({"object": "list", "data": [{"id": "big", "object": "model"}]})

    async def story() -> None:
        async with served("/v1/models", models) as port:
            found = await findings(
                data=tmp_path,
                model_base_url=f"http://127.0.0.1:{port}/v1",
                model_api_key=key,
                model=model,
            )
            assert found["model"].level is level
            assert said in found["model"].finding
            assert key not in repr(found["model"])

    run(story())


def test_the_key_of_a_model_server_goes_nowhere_else(tmp_path: Path) -> None:
    heard: list[str] = []

    async def elsewhere(request: web.Request) -> web.Response:
        heard.append(request.path)
        return web.json_response({"data": [{"id": "big"}]})

    async def story() -> None:
        async with served("/models", elsewhere) as other:

            async def moved(_request: web.Request) -> web.Response:
                raise web.HTTPTemporaryRedirect(f"http://127.0.0.1:{other}/models")

            async with served("/v1/models", moved) as port:
                url = f"http://127.0.0.1:{port}/v1"
                found = await findings(data=tmp_path, model_base_url=url, model_api_key="k")
        assert (found["model"].level, heard) == (Level.WARN, [])
        assert found["model"].finding == f"{url}/models answers 307"

    run(story())


def test_a_model_server_that_is_not_there_fails(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}/v1"
    model = run(findings(data=tmp_path, model_base_url=url))["model"]
    assert model.level is Level.FAIL
    assert f"{url} cannot be reached (ClientConnectorError: Cannot connect to" in model.finding


def test_a_model_server_that_cannot_be_trusted_fails_and_its_ca_is_asked_for(
    tmp_path: Path,
) -> None:
    async def never(_: web.Request) -> web.Response:
        raise AssertionError("asked")

    async def story() -> None:
        async with served("/v1/models", never) as port:
            url = f"https://127.0.0.1:{port}/v1"  # and what answers knows no TLS
            model = (await findings(data=tmp_path, model_base_url=url))["model"]
            assert model.level is Level.FAIL
            assert "SSL" in model.finding
            assert "SSL_CERT_FILE" in model.advice

    run(story())


def test_each_mcp_server_is_started_and_asked_for_its_tools(tmp_path: Path) -> None:
    servers = {
        "plain": {
            "command": sys.executable,
            "args": ["-I", "-S", str(PLAIN_MCP_SERVER)],
            "env": {"TRACE": str(tmp_path / "trace"), "KEY": "sesame"},
            "tools": ["echo", "schemaless"],
        },
        "missing": {"command": str(tmp_path / "nothing"), "env": {"KEY": "sesame"}},
    }
    file = tmp_path / "mcp.json"
    file.write_text(json.dumps({"mcpServers": servers}))
    settings = load_settings({"port": free_port(), "data": tmp_path, "mcp_servers": file})
    found = [check for check in run(examine(settings)) if check.name == "mcp server"]
    assert [(check.level, check.finding.partition(":")[0]) for check in found] == [
        (Level.OK, "plain answers; tools offered"),
        (Level.WARN, "plain"),
        (Level.FAIL, "missing"),
    ]
    assert found[0].finding.endswith(": plain__echo")
    assert "schemaless is left out" in found[1].finding
    assert "No such file" in found[2].finding
    assert "sesame" not in repr(found)


def test_a_file_of_mcp_servers_that_cannot_be_used_fails(tmp_path: Path) -> None:
    found = run(findings(data=tmp_path, mcp_servers=tmp_path / "mcp.json"))
    assert found["mcp servers"].level is Level.FAIL
    assert "cannot be read" in found["mcp servers"].finding
