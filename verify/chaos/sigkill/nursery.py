"""A process that has loaded everything and forks workers and gateways in milliseconds.

It is told by JSON lines on its standard input and tells by JSON lines on its standard output;
its children write there too, a line at a time. It ends with its input, and its children with
it. It has no event loop and one thread: only so is a fork safe.
"""

import asyncio
import contextlib
import ctypes
import gc
import logging
import os
import selectors
import signal
import sys
from collections.abc import Mapping
from functools import partial
from types import FrameType
from typing import Any, TypeAlias

import orjson
import structlog
import uvloop

import gateway
import workers
from gateway.config import GatewayConfig
from storage import connect
from storage.config import StorageConfig
from verify.chaos.sigkill.fuse import Fuse, install
from workers.config import WorkerConfig

_PR_SET_PDEATHSIG = 1
_CHUNK_BYTES = 65_536
Request: TypeAlias = Mapping[str, Any]
"""A line of the other side, parsed: both sides are this package."""


_SPEAKING_FD = 100
"""Standard output as it was; what anybody prints goes to the log instead."""


def say(message: Mapping[str, object]) -> None:
    """One line, in one write: lines of several processes do not mix."""
    os.write(_SPEAKING_FD, orjson.dumps(message) + b"\n")


def _wake_only(_number: int, _frame: FrameType | None) -> None:
    """Nothing: the signal's number goes to the wake-up descriptor."""


class Child:
    """What a forked process does."""

    def __init__(self, request: Request, control_fd: int) -> None:
        self._request = request
        self._control_fd = control_fd
        self._name: str = request["name"]
        self._fuse = Fuse(lambda told: say({"name": self._name, **told}))

    def live(self) -> int:
        """Serve until stopped; the exit code."""
        install(self._fuse)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(self._serve())

    async def _serve(self) -> int:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        loop.add_reader(self._control_fd, self._obey)
        request = self._request
        arm = request.get("arm")
        if arm is not None:
            self._fuse.arm(arm["at"], arm["when"])
        ready = partial(say, {"name": self._name, "event": "ready"})
        async with connect(request["url"], StorageConfig(**request["storage"])) as store:
            if request["role"] == "worker":
                await workers.serve(
                    WorkerConfig(**request["config"]), store, stop=stop, ready=ready
                )
            else:
                await gateway.serve(
                    GatewayConfig(**request["config"]), store, stop=stop, ready=ready
                )
        return 0

    def _obey(self) -> None:
        for line in os.read(self._control_fd, _CHUNK_BYTES).splitlines():
            told: Request = orjson.loads(line)
            self._fuse.arm(told["at"], told["when"])
            say({"name": self._name, "event": "armed"})


class Nursery:
    """Forks, forwards and buries."""

    def __init__(self) -> None:
        self._children: dict[int, tuple[str, int]] = {}
        """Name and control descriptor by process id."""
        self._libc = ctypes.CDLL(None, use_errno=True)

    def run(self) -> None:
        """Obey until the input ends."""
        woken, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.signal(signal.SIGCHLD, _wake_only)
        signal.set_wakeup_fd(wake)
        selector = selectors.DefaultSelector()
        selector.register(0, selectors.EVENT_READ)
        selector.register(woken, selectors.EVENT_READ)
        rest = b""
        say({"event": "nursery"})
        while True:
            for key, _ in selector.select():
                chunk = os.read(key.fd, _CHUNK_BYTES)
                if key.fd == woken:
                    self._reap()
                    continue
                if not chunk:
                    self._end()
                    return
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    self._obey(orjson.loads(line))

    def _obey(self, request: Request) -> None:
        match request["op"]:
            case "fork":
                self._fork(request)
            case "arm":
                for name, control_fd in self._children.values():
                    if name == request["name"]:
                        line = orjson.dumps({"at": request["at"], "when": request["when"]})
                        with contextlib.suppress(BrokenPipeError):
                            os.write(control_fd, line + b"\n")
            case _:
                self._signal(request["name"], signal.Signals(request["number"]))

    def _fork(self, request: Request) -> None:
        theirs, ours = os.pipe()
        mother = os.getpid()
        process_id = os.fork()
        if process_id:
            os.close(theirs)
            self._children[process_id] = (request["name"], ours)
            return
        code = 1
        try:
            self._libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
            if os.getppid() == mother:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                code = Child(request, theirs).live()
        except BaseException as error:  # noqa: BLE001 - the last word of a process
            say({"name": request["name"], "event": "failed", "error": repr(error)[:2_000]})
        finally:
            os._exit(code)

    def _signal(self, name: str, number: signal.Signals) -> None:
        for process_id, (child, _) in self._children.items():
            if child == name:
                # Not reaped yet, so the id is still its own.
                os.kill(process_id, number)

    def _reap(self) -> None:
        for process_id in tuple(self._children):
            found, status = os.waitpid(process_id, os.WNOHANG)
            if found:
                name, control_fd = self._children.pop(process_id)
                os.close(control_fd)
                code = os.waitstatus_to_exitcode(status)
                say({"name": name, "event": "ended", "code": code})

    def _end(self) -> None:
        for process_id in self._children:
            os.kill(process_id, signal.SIGKILL)
        for process_id in self._children:
            os.waitpid(process_id, 0)


def main() -> None:
    """Load, then obey."""
    os.dup2(1, _SPEAKING_FD)
    os.dup2(2, 1)
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    # Names of the rooms are imported on first use: have them now, once for all children.
    _ = (workers.serve, gateway.serve)
    gc.collect()
    gc.freeze()
    Nursery().run()


if __name__ == "__main__":
    main()
