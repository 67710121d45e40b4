"""A short run of chaos: nothing wrong with the service, and everything with a lying one."""

import asyncio
import itertools
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from runtime.store_binary import find_store_binary
from verify.chaos.model import open_model
from verify.chaos.processes import alive
from verify.chaos.rounds import Round, run_round
from verify.chaos.run import judge, run_chaos
from verify.chaos.service import free_port, open_service
from verify.chaos.settings import ChaosSettings

pytestmark = pytest.mark.timeout(120)

FEW = {"kill-worker": 1.0, "kill-store": 1.0, "proxy-reset": 1.0, "proxy-duplicate": 1.0}
SMALL = ChaosSettings(
    gateways=1,
    workers=1,
    clients=4,
    streams=4,
    contexts=3,
    round_s=4.0,
    messages_max=24,
    acts=FEW,
    environment={"CONTEXTD_STANDBY": "false"},
)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short: a unix socket's path has 107 characters."""
    with tempfile.TemporaryDirectory(prefix="run-", ignore_cleanup_errors=True) as path:
        yield Path(path)


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """Somebody else's worker."""
    nap = [sys.executable, "-c", "import time; time.sleep(90)", "runtime.cli", "worker"]
    process = subprocess.Popen(nap)
    yield process
    process.kill()
    process.wait()


async def test_a_short_run_finds_nothing_wrong_and_touches_nobody_else(
    folder: Path, bystander: subprocess.Popen[bytes]
) -> None:
    report = await run_chaos(
        find_store_binary().path, folder, SMALL, seconds=8.0, forms=["proxied"]
    )
    assert [str(violation) for violation in report.violations] == []
    assert report.rounds == 1
    assert report.acknowledged > 20
    assert report.frames > 50
    assert report.model_calls > 5
    assert report.acts.total() > 5
    assert alive(bystander.pid)


class LyingDoor:
    """Stands before the gateways, and tells of every fourth message that it was applied."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.port = free_port()
        self.lies = 0
        self._sends = itertools.count(1)
        self._last: bytes | None = None

    async def serve(self, request: web.Request) -> web.StreamResponse:
        sends = request.path.endswith("/send_message")
        if sends and self._last is not None and next(self._sends) % 4 == 0:
            self.lies += 1
            return web.Response(body=self._last, content_type="application/json")
        body = await request.read()
        names = ("Idempotency-Key", "Last-Event-ID", "Content-Type")
        headers = {name: request.headers[name] for name in names if name in request.headers}
        async with (
            aiohttp.ClientSession() as session,
            session.request(
                request.method, self.upstream + request.path_qs, data=body, headers=headers
            ) as answer,
        ):
            response = web.StreamResponse(status=answer.status)
            response.content_type = answer.content_type
            await response.prepare(request)
            whole = b""
            async for chunk in answer.content.iter_any():
                whole += chunk
                await response.write(chunk)
            if sends and answer.status == 200:
                self._last = whole
            await response.write_eof()
            return response


async def lied_to(folder: Path) -> tuple[Round, LyingDoor]:
    calm = ChaosSettings(
        gateways=1,
        workers=1,
        clients=3,
        streams=2,
        contexts=1,
        round_s=2.0,
        messages_max=24,
        acts={},
        environment={"CONTEXTD_STANDBY": "false"},
    )
    async with (
        open_service(calm, folder, find_store_binary().path) as service,
        open_model(calm.seed) as model,
    ):
        door = LyingDoor(service.url)
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", door.serve)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", door.port).start()
        service.url = f"http://127.0.0.1:{door.port}"
        try:
            return await run_round(service, 0, model), door
        finally:
            await runner.cleanup()


async def test_a_gateway_that_acknowledges_what_it_threw_away_is_found_out(
    folder: Path,
) -> None:
    async with asyncio.timeout(60):
        done, door = await lied_to(folder)
    assert door.lies > 0
    checks = {violation.check for violation in judge(done)}
    assert "lost" in checks
