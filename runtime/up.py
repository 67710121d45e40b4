"""`contextd up` and `contextd supervise`: everything on one machine, wired and watched.

What a start need not wait for is imported where it is used: storage (only when a worker has
died) and the banner.
"""

import asyncio
import logging
import os
import signal
import sys
import sysconfig
import time
from pathlib import Path

from pydantic import SecretStr

import runtime
from runtime.embedded import EmbeddedStore, StoreFailed
from runtime.port import reserve_port
from runtime.settings import Settings, as_environment
from runtime.supervisor import Role, Slot, Supervisor
from runtime.version import own_version

_log = logging.getLogger(__name__)
_KILLED = 130
"""Exit code of a stop that was not waited for, as of a shell after Ctrl-C."""


async def supervise(settings: Settings, *, started_s: float) -> int:
    """Run everything until a signal says stop; the exit code.

    Args:
        settings: With `redis_url` that store is used, else an embedded one is run.
        started_s: When the command was entered (`time.monotonic`), for the banner.

    Raises:
        PortTaken, BadDataFolder, NoStoreBinary, StoreFailed: Nothing was left running.
    """
    reserved = reserve_port(settings.host, settings.port) if settings.gateways else None
    if reserved is not None:
        settings = settings.model_copy(update={"port": reserved.getsockname()[1]})
    store = EmbeddedStore(settings) if settings.redis_url is None else None

    def url() -> str:
        if store is not None:
            return store.url
        return settings.redis_url.get_secret_value() if settings.redis_url is not None else ""

    def environment() -> dict[str, str]:
        joined = settings.model_copy(update={"redis_url": SecretStr(url())})
        return {**os.environ, **_python_path(), **as_environment(joined)}

    async def bury(worker_id: str) -> None:
        from storage import connect

        # A connection for each: workers die seldom, and an idle one would be one more to lose.
        async with connect(url(), settings) as connection:
            await connection.bury_worker(worker_id)

    async def announce() -> None:
        from rich.console import Console

        from runtime.banner import Started, print_banner

        took_s = time.monotonic() - started_s
        print_banner(
            settings, Started(own_version(), _store(settings, store), took_s), Console()
        )

    if store is None:
        await _check_store(url(), settings)
    supervisor = Supervisor(
        settings,
        _slots(settings),
        environment=environment,
        bury=bury,
        announce=announce,
        store=store,
        standby=_command("worker") if settings.standby and settings.workers else None,
    )
    killed = _obey_signals(supervisor)
    try:
        await supervisor.run()
    finally:
        if reserved is not None:
            reserved.close()
    return _KILLED if killed.is_set() else 0


async def _check_store(url: str, settings: Settings) -> None:
    """Refuse a store that keeps less than was promised; one that is away may come yet."""
    from runtime.role import leaves
    from storage import DurabilityMismatch, StoreUnavailable, connect

    mismatch = ""
    try:
        async with connect(url, settings):
            pass
    except* DurabilityMismatch as failed:
        mismatch = str(next(leaves(failed)))
    except* StoreUnavailable:
        _log.warning("store does not answer yet")
    if mismatch:
        raise StoreFailed(mismatch)


def _slots(settings: Settings) -> list[Slot]:
    counts: tuple[tuple[Role, int], ...] = (
        ("gateway", settings.gateways),
        ("worker", settings.workers),
    )
    return [
        Slot(role, number, _command(role))
        for role, count in counts
        for number in range(1, count + 1)
    ]


def _command(role: Role) -> tuple[str, ...]:
    # -P: a file in the current folder must not stand in for one of our modules.
    return (sys.executable, "-P", "-m", "runtime.cli", role)


def _python_path() -> dict[str, str]:
    """Lets children find the rooms where they are not installed but run from a checkout."""
    root = str(Path(runtime.__file__).resolve().parent.parent)
    if root in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        return {}
    given = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": f"{root}{os.pathsep}{given}" if given else root}


def _store(settings: Settings, store: EmbeddedStore | None) -> str:
    if store is None:
        return "the server of CONTEXTD_REDIS_URL"
    if store.binary is None:
        return f"joined the one that runs in {settings.data}"
    return f"embedded {store.binary.product} {store.binary.version} in {settings.data}"


def _obey_signals(supervisor: Supervisor) -> asyncio.Event:
    """SIGTERM, SIGHUP and the first SIGINT drain, the second SIGINT kills."""
    loop = asyncio.get_running_loop()
    interrupted, killed = asyncio.Event(), asyncio.Event()

    def interrupt() -> None:
        if interrupted.is_set():
            killed.set()
            supervisor.kill()
            return
        interrupted.set()
        if sys.stderr.isatty():
            sys.stderr.write("\nDraining; Ctrl-C again stops at once.\n")
        supervisor.stop()

    loop.add_signal_handler(signal.SIGINT, interrupt)
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, supervisor.stop)
    return killed
