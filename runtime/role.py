"""What one gateway or worker process does: open the store, serve, drain, end.

The rooms are imported in here, not above: a process loads only what its role needs, and
the command line stays quick.
"""

import asyncio
import gc
import os
import pkgutil
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import structlog

from runtime.child import GO_FD, LISTEN_FD, READY, READY_FD
from runtime.key_file import NoKeys
from runtime.leaves import leaves
from runtime.notify import notify
from runtime.settings import Settings, with_models
from runtime.slot import Role
from runtime.store_address import StoreAddress
from runtime.tracing import tracing
from runtime.watchdog import watched
from storage import StorageError, connect

_log = structlog.get_logger(__name__)

_NEEDED: Final[Mapping[Role, tuple[str, ...]]] = {
    "gateway": ("gateway:serve", "runtime.access:check_keys", "runtime.extensions:extensions"),
    "worker": ("workers:serve",),
}
"""What brings in all that a role needs; a room by itself brings nothing (lazy_loader)."""
_CONNECT_S_MAX = 1.0
COLLECT_AFTER_OBJECTS = 100_000
"""New container objects after which the youngest generation is collected."""


def store_url(settings: Settings) -> str | None:
    """The configured store, else the embedded one of a running `up`, else None."""
    if settings.redis_url is not None:
        return settings.redis_url.get_secret_value()
    path = (settings.data / "store.sock").resolve()
    return StoreAddress(settings.data, path).url if _is_listened_to(path) else None


def _is_listened_to(path: Path) -> bool:
    """Whether a server listens; one that was killed leaves its socket behind."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_CONNECT_S_MAX)
        try:
            probe.connect(str(path))
        except TimeoutError:
            pass  # too busy to accept it now
        except OSError:
            return False
    return True


def load(role: Role) -> None:
    """Import what a role needs: half a second, many where the machine is busy.

    Nothing may wait for the event loop meanwhile: no watchdog, no connection to the store.
    """
    for name in _NEEDED[role]:
        pkgutil.resolve_name(name)


def wait_for_go(role: Role) -> bool:
    """As one that is to wait, load the role's room, then wait to be needed; False: end."""
    descriptor = os.environ.pop(GO_FD, None)
    if descriptor is None:
        return True
    load(role)
    with os.fdopen(int(descriptor), "rb", buffering=0) as go:
        return go.read(1) != b""


async def run_role(role: Role, settings: Settings, *, url: str) -> int:
    """Serve until SIGTERM, SIGHUP or SIGINT, then drain; the exit code.

    A second SIGINT ends the process without draining.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def interrupted() -> None:
        stop.set()
        loop.remove_signal_handler(signal.SIGINT)

    def told_to_stop() -> None:
        notify("STOPPING=1")
        stop.set()

    loop.add_signal_handler(signal.SIGTERM, told_to_stop)
    # Ignored (nohup), it is to outlive its terminal.
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        loop.add_signal_handler(signal.SIGHUP, told_to_stop)
    loop.add_signal_handler(signal.SIGINT, interrupted)
    supervisor_fd = _descriptor(READY_FD)
    ready = _ready_once(role, supervisor_fd)
    moved = 0
    failures = 0
    load(role)
    try:
        async with (
            watched(settings.loop_stall_s_max) as last_call,
            tracing(role) as tracer,
            connect(url, settings, tracer=tracer) as store,
        ):
            if role == "gateway":
                import gateway
                from runtime.access import check_keys
                from runtime.extensions import extensions

                if supervisor_fd is None:  # else the supervisor has looked
                    await check_keys(settings, store)
                moved = await gateway.serve(
                    with_models(settings),
                    store,
                    stop=stop,
                    ready=ready,
                    listener=_inherited_listener(),
                    extensions=extensions(settings, store),
                )
            else:
                import workers

                moved = await workers.serve(
                    settings, store, stop=stop, ready=ready, on_over=last_call
                )
    except* StorageError as failed:
        for error in leaves(failed):
            _log.error("store cannot be used", error=type(error).__name__, reason=str(error))
        failures += 1
    except* NoKeys as refused:
        for error in leaves(refused):
            _log.error("refused to start", reason=str(error))
        failures += 1
    if failures:
        return 1
    _log.info("drained", role=role, moved=moved)
    if supervisor_fd is not None:
        os.write(supervisor_fd, b"%d\n" % moved)
    return 0


def _inherited_listener() -> socket.socket | None:
    """The listening socket that the supervisor keeps for this gateway's place."""
    descriptor = _descriptor(LISTEN_FD)
    return None if descriptor is None else socket.socket(fileno=descriptor)


def _descriptor(variable: str) -> int | None:
    """A descriptor that we were given, closed in everything that we start."""
    given = os.environ.pop(variable, None)
    if given is None:
        return None
    os.set_inheritable(int(given), False)
    return int(given)


def _spare_collector() -> None:
    """Have the garbage collector look at fewer objects, less often.

    What is imported by now stays, and states are trees without cycles, so that counting
    references frees them: the collector's own passes cost a fifth of the turns per second
    (1,000 against 1,290, `python -m bench --only turns`).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER_OBJECTS, 50, 100)


def _ready_once(role: Role, supervisor_fd: int | None) -> Callable[[], None]:
    """The callback for a room that serves: tells the supervisor, the first time."""
    told = False

    def ready() -> None:
        nonlocal told
        if told:
            return
        told = True
        _spare_collector()
        _log.info("ready", role=role, process_id=os.getpid())
        if supervisor_fd is not None:
            os.write(supervisor_fd, READY)
            return
        notify("READY=1")
        if sys.stderr.isatty():
            sys.stderr.write(f"contextd {role} is ready; Ctrl-C drains and stops it.\n")

    return ready
