"""The system under test: `contextd up`, or `contextd supervise` behind the proxy."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncGenerator
from pathlib import Path

import aiohttp

from verify.chaos import clock, witness
from verify.chaos.polling import until
from verify.chaos.processes import Running, contextd, python_environment
from verify.chaos.proxy import Proxy, open_proxy
from verify.chaos.settings import SERVICE_ENVIRONMENT, ChaosSettings
from verify.chaos.store import OwnStore

POLL_S = 0.05
READYZ_S_MAX = 2.0
READYZ_ASKED = 24
"""Fresh connections that must all find a ready gateway: those that share the port get them
at random, and 24 miss one of two once in 16 million."""
STOP_S_MAX = 45.0


class NotReady(Exception):
    """The service does not come up; the message holds the end of its log."""


class Service:
    """One service on a folder of its own. Made by `open_service`."""

    def __init__(
        self,
        settings: ChaosSettings,
        folder: Path,
        *,
        server_path: Path,
        own_store: OwnStore | None,
        proxy: Proxy | None,
    ) -> None:
        """Nothing is started yet."""
        self.settings = settings
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        """What clients talk to: the gateways, which share one port."""
        self._server_path = server_path
        self.own_store = own_store
        self.proxy = proxy
        self.traces = folder / "traces"
        self.clocks = folder / "clocks"
        self._up: Running | None = None
        self._earlier: list[Running] = []

    @property
    def store_socket(self) -> Path:
        """The store's own, past the proxy."""
        return self.own_store.socket if self.own_store else self.folder / "data" / "store.sock"

    @property
    def up(self) -> Running:
        """The process of the supervisor.

        Raises:
            NotReady: It was not started.
        """
        if self._up is None:
            raise NotReady("the service was not started")
        return self._up

    def launch(self) -> None:
        """Start the supervisor, and return at once. Only from the main thread."""
        settings = self.settings
        shape = [
            *("--port", str(self.port)),
            *("--gateways", str(settings.gateways), "--workers", str(settings.workers)),
        ]
        packages = self.folder / "packages"
        extra = {
            **SERVICE_ENVIRONMENT,
            "CONTEXTD_AUTH": "off",
            **settings.environment,
            witness.TRACES: str(self.traces),
            clock.CLOCKS: str(self.clocks),
        }
        if self.proxy is None:
            words = ["up", "--data", str(self.folder / "data")]
            extra["CONTEXTD_STORE_BINARY"] = str(self._server_path)
        else:
            extra["CONTEXTD_REDIS_URL"] = f"unix://{self.proxy.path}"
            words = ["supervise"]
        if self._up is not None:
            self._earlier.append(self._up)
        environment = python_environment(extra, paths=[packages])
        self._up = Running(contextd(*words, *shape), environment, self.folder / "service.log")

    async def relaunch(self) -> None:
        """Start a supervisor again on the same data, once the killed one has let go."""
        self.up.kill()
        await until(lambda: not self.up.left_behind(), within_s=STOP_S_MAX)
        self.launch()

    async def wait_ready(self, *, within_s: float) -> float:
        """Wait until every gateway is ready and counts all workers; seconds that it took.

        Raises:
            NotReady: It did not happen.
        """
        began_s = time.monotonic()
        while not await self._all_ready():
            if time.monotonic() - began_s > within_s:
                raise NotReady(f"not ready in {within_s:g} s:\n{self.up.tail()}")
            await asyncio.sleep(POLL_S)
        return time.monotonic() - began_s

    async def _all_ready(self) -> bool:
        if self.up.exit_code is not None:
            raise NotReady(f"the supervisor ended:\n{self.up.tail()}")
        if len(self.up.of_role("gateway")) < self.settings.gateways:
            return False
        for _ in range(READYZ_ASKED):
            if not await self._ready_once():
                return False
        return True

    async def _ready_once(self) -> bool:
        timeout = aiohttp.ClientTimeout(total=READYZ_S_MAX)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.get(f"{self.url}/readyz") as response,
            ):
                answer = await response.json()
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False
        enough: bool = answer["workers"].get("count", 0) >= self.settings.workers
        return response.status == 200 and enough

    async def stop(self) -> list[str]:
        """Drain and end everything; sentences about what did not go as it should."""
        faults: list[str] = []
        self.up.terminate()
        if not await until(lambda: self.up.exit_code is not None, within_s=STOP_S_MAX):
            faults.append(f"the supervisor did not end within {STOP_S_MAX:g} s of SIGTERM")
        elif self.up.exit_code != 0:
            faults.append(f"the supervisor ended with code {self.up.exit_code} after SIGTERM")
        orphans = [p for one in (*self._earlier, self.up) for p in one.left_behind()]
        if orphans:
            faults.append(f"{len(orphans)} processes were left behind")
        return faults

    def kill(self) -> None:
        """End everything that was started, at once."""
        for one in (*self._earlier, *([self._up] if self._up else [])):
            one.kill()
        if self.own_store is not None:
            self.own_store.kill()


def free_port() -> int:
    """A port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.asynccontextmanager
async def open_service(
    settings: ChaosSettings, folder: Path, server_path: Path
) -> AsyncGenerator[Service, None]:
    """A ready service for the length of a block; whatever happens, nothing is left of it."""
    witness.install(folder / "packages")
    clock.install(folder / "packages", folder / "clocks")
    async with contextlib.AsyncExitStack() as stack:
        own_store = proxy = None
        if settings.form == "proxied":
            (folder / "data").mkdir()
            own_store = OwnStore(server_path, folder / "data")
            stack.callback(own_store.kill)
            await own_store.start()
            proxy = await stack.enter_async_context(
                open_proxy(folder / "proxy.sock", own_store.socket, seed=settings.seed)
            )
        service = Service(
            settings, folder, server_path=server_path, own_store=own_store, proxy=proxy
        )
        stack.callback(service.kill)
        service.launch()
        await service.wait_ready(within_s=settings.ready_s_max)
        yield service
