"""What one gateway or worker process does: open the store, serve, drain, end.

The rooms are imported in here, not above: a process loads only what its role needs, and
the command line stays quick.
"""

import asyncio
import gc
import importlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from typing import cast

import structlog

from runtime.child import GO_FD, READY_FD
from runtime.settings import Settings
from runtime.store_address import StoreAddress
from runtime.supervisor import Role
from storage import StorageError, connect

_log = structlog.get_logger(__name__)

COLLECT_AFTER_OBJECTS = 100_000
"""New container objects after which the youngest generation is collected."""


def store_url(settings: Settings) -> str | None:
    """The configured store, else the embedded one of a running `up`, else None."""
    if settings.redis_url is not None:
        return settings.redis_url.get_secret_value()
    socket = settings.data / "store.sock"
    return StoreAddress(settings.data, socket.resolve()).url if socket.is_socket() else None


def wait_for_go(role: Role) -> bool:
    """As a standby, load the role's room, then wait to be needed; False: end."""
    descriptor = os.environ.pop(GO_FD, None)
    if descriptor is None:
        return True
    importlib.import_module("gateway" if role == "gateway" else "workers")
    return os.read(int(descriptor), 1) != b""


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
    ready = _ready_once(role)
    failures = 0
    try:
        async with connect(url, settings) as store:
            if role == "gateway":
                import gateway

                await gateway.serve(settings, store, stop=stop, ready=ready)
            else:
                import workers

                await workers.serve(settings, store, stop=stop, ready=ready)
    except* StorageError as failed:
        for error in leaves(failed):
            _log.error("store cannot be used", error=type(error).__name__, reason=str(error))
        failures += 1
    if failures:
        return 1
    _log.info("drained", role=role)
    return 0


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors in a group of groups; rooms run in task groups, which wrap what they raise."""
    if isinstance(error, BaseExceptionGroup):
        for member in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            yield from leaves(member)
    else:
        yield error


def _spare_collector() -> None:
    """Have the garbage collector look at fewer objects, less often.

    What is imported by now stays, and states are trees without cycles, so that counting
    references frees them: the collector's own passes cost a fifth of the turns per second
    (1,000 against 1,290, `python -m bench --only turns`).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER_OBJECTS, 50, 100)


def _ready_once(role: Role) -> Callable[[], None]:
    """What the room calls when it serves: tells the supervisor, the first time."""
    descriptor = os.environ.pop(READY_FD, None)
    told = False

    def ready() -> None:
        nonlocal told
        if told:
            return
        told = True
        _spare_collector()
        _log.info("ready", role=role, process_id=os.getpid())
        if descriptor is not None:
            os.write(int(descriptor), b"ready\n")
            os.close(int(descriptor))
        elif sys.stderr.isatty():
            sys.stderr.write(f"contextd {role} is ready; Ctrl-C drains and stops it.\n")

    return ready
