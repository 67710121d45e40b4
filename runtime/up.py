"""`contextd up` and `contextd supervise`: everything on one machine, wired and watched.

What a start need not wait for is imported where it is used: storage (only when a worker has
died) and the banner.
"""

import asyncio
import logging
import os
import secrets
import signal
import socket
import sys
import sysconfig
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import SecretStr

import runtime
from runtime.embedded import EmbeddedStore, StoreFailed
from runtime.key_file import OWNER_KEY, NoKeys
from runtime.notify import NOTIFY_SOCKET, notify
from runtime.port import Place, listen
from runtime.settings import Settings, as_environment
from runtime.slot import Role, Slot
from runtime.supervisor import Supervisor
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
    store = (
        EmbeddedStore(settings, strict=settings.durability == "strict")
        if settings.redis_url is None
        else None
    )
    wiring = _Wiring(settings, store, started_s)

    async def obey_restarts() -> None:
        from runtime.restarts import obey_restarts

        await obey_restarts(wiring.url, settings, supervisor, began_ms=began_ms)

    if store is None:
        await _check_store(wiring.url(), settings, asks_for_keys=settings.gateways > 0)
    supervisor = Supervisor(
        settings,
        _slots(settings, listeners),
        environment=wiring.environment,
        bury=wiring.bury,
        announce=wiring.announce,
        bury_others=wiring.bury_others,
        store=store,
        standby=_command("worker") if settings.standby and settings.workers else None,
        beside=obey_restarts,
        prepare=wiring.prepare,
    )
    killed = _obey_signals(supervisor)
    try:
        await supervisor.run()
    finally:
        for listener in listeners:
            listener.close()
    return _KILLED if killed.is_set() else 0


@dataclass(slots=True)
class _Wiring:
    """What the supervisor calls, over the settings and the store of this machine."""

    settings: Settings
    store: EmbeddedStore | None
    """None where somebody else runs the store."""
    started_s: float
    new_key: str | None = None
    """The first key of the data folder, if this start has made it."""
    was_up: bool = False
    """Whether our store has been up before."""

    def url(self) -> str:
        """Url of the store, as it is at the moment."""
        if self.store is not None:
            return self.store.url
        given = self.settings.redis_url
        return given.get_secret_value() if given is not None else ""

    def environment(self, role: Role) -> dict[str, str]:
        """Variables of a child."""
        joined = self.settings.model_copy(update={"redis_url": SecretStr(self.url())})
        ours = {**os.environ, **_python_path(), **as_environment(joined)}
        ours.pop(NOTIFY_SOCKET, None)  # systemd hears of the whole from us alone
        for name in _NOT_FOR[role]:
            ours.pop(name, None)
        return ours

    async def bury(self, worker_id: str) -> None:
        """Free the contexts of a dead worker, and tell dashboards."""
        from storage import connect

        # A connection for each: workers die seldom, and an idle one would be one more to lose.
        async with connect(self.url(), self.settings) as store:
            store.announcer.by = f"s-{secrets.token_hex(4)}"
            await store.sessions.bury(worker_id)

    async def bury_others(self, ours: Collection[str]) -> None:
        """Free the contexts of all workers but ours, if the store is ours."""
        from storage import connect

        if self.store is None or self.store.binary is None:
            return  # somebody else's store, and perhaps his workers
        async with connect(self.url(), self.settings) as store:
            workers = await store.sessions.workers()
        for worker_id in workers:
            if worker_id not in ours:
                await self.bury(worker_id)

    async def prepare(self) -> None:
        """Check the store that has come up, and see that there is a key where one is needed."""
        await _check_store(self.url(), self.settings, asks_for_keys=False)
        # The first time, a look at one that is there can wait for the announcement.
        if self.was_up or not (self.settings.data / OWNER_KEY).is_file():
            await self._make_key()
        self.was_up = True

    async def announce(self) -> None:
        """Say that everything is ready."""
        from runtime.banner import Started, show_banner

        await self._make_key()  # the file may be of a store that is not there any more
        notify("READY=1")
        took_s = time.monotonic() - self.started_s
        name = _store(self.settings, self.store)
        started = Started(own_version(), name, took_s, self.new_key)
        show_banner(self.settings, started)

    async def _make_key(self) -> None:
        if self.store is None or self.settings.auth == "off":
            return
        from runtime.access import ensure_owner_key
        from runtime.leaves import leaves
        from storage import StorageError

        failure: BaseException | None = None
        try:
            self.new_key = await ensure_owner_key(self.settings, self.url()) or self.new_key
        except* (OSError, StorageError) as failed:
            failure = next(leaves(failed))
        if failure is not None:
            path = self.settings.data / OWNER_KEY
            raise StoreFailed(f"The first key, {path}, cannot be looked up or made: {failure}.")


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

    loop.add_signal_handler(signal.SIGTERM, stop)
    # Ignored (nohup), it is to outlive its terminal.
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        loop.add_signal_handler(signal.SIGHUP, stop)
    return killed
