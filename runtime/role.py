"""What one gateway or worker process does: open the store, serve, drain, end.

The rooms are imported in here, not above: a process loads only what its role needs, and
the command line stays quick.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable

import structlog

from runtime.child import READY_FD
from runtime.settings import Settings
from runtime.store_address import StoreAddress
from runtime.supervisor import Role
from storage import StorageError, Store

_log = structlog.get_logger(__name__)


def store_url(settings: Settings) -> str | None:
    """The configured store, else the embedded one of a running `up`, else None."""
    if settings.redis_url is not None:
        return settings.redis_url.get_secret_value()
    socket = settings.data / "store.sock"
    return StoreAddress(settings.data, socket.resolve()).url if socket.is_socket() else None


async def run_role(role: Role, settings: Settings, *, url: str) -> int:
    """Serve until SIGTERM or SIGINT, then drain; the exit code.

    A second SIGINT ends the process without draining.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def interrupted() -> None:
        stop.set()
        loop.remove_signal_handler(signal.SIGINT)

    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, interrupted)
    try:
        store = await Store.open(url, settings)
    except StorageError as error:
        _log.error("store cannot be used", reason=str(error))
        return 1
    try:
        ready = _ready_once(role)
        if role == "gateway":
            import gateway

            await gateway.serve(settings, store, stop=stop, ready=ready)
        else:
            import workers

            await workers.serve(settings, store, stop=stop, ready=ready)
    finally:
        await store.close()
    _log.info("drained", role=role)
    return 0


def _ready_once(role: Role) -> Callable[[], None]:
    """What the room calls when it serves: tells the supervisor, the first time."""
    descriptor = os.environ.pop(READY_FD, None)
    told = False

    def ready() -> None:
        nonlocal told
        if told:
            return
        told = True
        _log.info("ready", role=role, process_id=os.getpid())
        if descriptor is not None:
            os.write(int(descriptor), b"ready\n")
            os.close(int(descriptor))
        elif sys.stderr.isatty():
            sys.stderr.write(f"contextd {role} is ready; Ctrl-C drains and stops it.\n")

    return ready
