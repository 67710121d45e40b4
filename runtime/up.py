"""`contextd up` and `contextd supervise`: everything on one machine, wired and watched.

What a start need not wait for is imported where it is used: storage (only when a worker has
died) and the banner.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
import sysconfig
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Final

from pydantic import SecretStr

import runtime
from runtime.embedded import EmbeddedStore, StoreFailed
from runtime.key_file import OWNER_KEY, NoKeys
from runtime.notify import NOTIFY_SOCKET, notify
from runtime.port import Place, listen
from runtime.settings import Settings, as_environment
from runtime.supervisor import Role, Slot, Supervisor
from runtime.version import own_version
from storage import unix_ms

_log = logging.getLogger(__name__)
BACKLOG = 1_024
"""Connections of one gateway's place that wait to be accepted."""
_NOT_FOR: Final[Mapping[Role, tuple[str, ...]]] = {
    "gateway": ("CONTEXTD_API_KEY", "CONTEXTD_MODEL_API_KEY"),
    "worker": ("CONTEXTD_API_KEY",),
}
"""Secrets that each role has no use for: the environment of a process can be read in /proc."""
_KILLED = 130
"""Exit code when a stop was not waited for, as in shells after Ctrl-C."""


async def supervise(settings: Settings, *, started_s: float) -> int:
    """Run everything until a signal says stop; the exit code.

    Args:
        settings: With `redis_url` that store is used, else an embedded one is run.
        started_s: When the command was entered (`time.monotonic`), for the banner.

    Raises:
        PortTaken, BadDataFolder, NoStoreBinary, StoreFailed: Nothing was left running.
    """
    listeners = (
        listen(settings.host, settings.port, places=settings.gateways, backlog=BACKLOG)
        if settings.gateways
        else []
    )
    if listeners:
        settings = settings.model_copy(update={"port": listeners[0].getsockname()[1]})
    began_ms = unix_ms()
    store = EmbeddedStore(settings) if settings.redis_url is None else None

    def url() -> str:
        if store is not None:
            return store.url
        return settings.redis_url.get_secret_value() if settings.redis_url is not None else ""

    def environment(role: Role) -> dict[str, str]:
        joined = settings.model_copy(update={"redis_url": SecretStr(url())})
        ours = {**os.environ, **_python_path(), **as_environment(joined)}
        ours.pop(NOTIFY_SOCKET, None)  # systemd hears of the whole from us alone
        for name in _NOT_FOR[role]:
            ours.pop(name, None)
        return ours

    async def bury(worker_id: str) -> None:
        from storage import connect

        # A connection for each: workers die seldom, and an idle one would be one more to lose.
        async with connect(url(), settings) as connection:
            await connection.bury_worker(worker_id)

    async def bury_others(ours: Collection[str]) -> None:
        from storage import connect

        if store is None or store.binary is None:
            return  # somebody else's store, and perhaps his workers
        async with connect(url(), settings) as connection:
            for worker_id in await connection.workers():
                if worker_id not in ours:
                    await connection.bury_worker(worker_id)

    async def obey_restarts() -> None:
        from runtime.restarts import obey_restarts

        await obey_restarts(url, settings, supervisor, began_ms=began_ms)

    new_key: str | None = None

    async def make_key() -> None:
        nonlocal new_key
        if store is None or settings.auth == "off":
            return
        from runtime.access import ensure_owner_key
        from runtime.leaves import leaves
        from storage import StorageError

        failure: BaseException | None = None
        try:
            new_key = await ensure_owner_key(settings, url()) or new_key
        except* (OSError, StorageError) as failed:
            failure = next(leaves(failed))
        if failure is not None:
            path = settings.data / OWNER_KEY
            raise StoreFailed(f"The first key, {path}, cannot be looked up or made: {failure}.")

    was_up = False

    async def look_for_key() -> None:
        nonlocal was_up
        await _check_store(url(), settings, asks_for_keys=False)
        # The first time, a look at one that is there can wait for the announcement.
        if was_up or not (settings.data / OWNER_KEY).is_file():
            await make_key()
        was_up = True

    async def announce() -> None:
        from rich.console import Console

        from runtime.banner import Started, print_banner

        await make_key()  # the file may be of a store that is not there any more
        notify("READY=1")
        took_s = time.monotonic() - started_s
        started = Started(own_version(), _store(settings, store), took_s, new_key)
        print_banner(settings, started, Console())

    if store is None:
        await _check_store(url(), settings, asks_for_keys=settings.gateways > 0)
    supervisor = Supervisor(
        settings,
        _slots(settings, listeners),
        environment=environment,
        bury=bury,
        announce=announce,
        bury_others=bury_others,
        store=store,
        standby=_command("worker") if settings.standby and settings.workers else None,
        beside=obey_restarts,
        prepare=look_for_key,
    )
    killed = _obey_signals(supervisor)
    try:
        await supervisor.run()
    finally:
        for listener in listeners:
            listener.close()
    return _KILLED if killed.is_set() else 0


async def _check_store(url: str, settings: Settings, *, asks_for_keys: bool) -> None:
    """Refuse a store that keeps less than was promised, or whose contents cannot be read.

    One that does not answer is not refused: it may come yet.

    Args:
        url: Of the store.
        settings: What was promised.
        asks_for_keys: Refuse no API key, too, where one is needed.
    """
    from runtime.access import check_keys
    from runtime.leaves import leaves
    from storage import (
        DurabilityMismatch,
        EncryptionMismatch,
        StoreUnavailable,
        connect,
    )

    refused: BaseException | None = None
    is_away = False
    try:
        async with connect(url, settings) as store:
            if asks_for_keys:
                await check_keys(settings, store)
    except* (DurabilityMismatch, EncryptionMismatch, NoKeys) as failed:
        refused = next(leaves(failed))
    except* StoreUnavailable:
        is_away = True
    if refused is not None:
        raise StoreFailed(str(refused))
    if is_away:
        _log.warning("store does not answer yet")


def _slots(settings: Settings, listeners: Sequence[socket.socket]) -> list[Slot]:
    gateways = [
        Slot("gateway", number, _command("gateway"), Place(listener))
        for number, listener in enumerate(listeners, start=1)
    ]
    workers = [
        Slot("worker", number, _command("worker")) for number in range(1, settings.workers + 1)
    ]
    return gateways + workers


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

    def stop() -> None:
        notify("STOPPING=1")
        supervisor.stop()

    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop)
    return killed
