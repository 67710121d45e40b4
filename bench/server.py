"""The servers under test as sets of processes: contextd as a user starts it, and the floor.

Both are a `System`: a target to speak to, process ids by role, and a store to ask for its
memory. contextd's roles are found in its process tree, not told by contextd.
"""

import os
import socket as sockets
import stat
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

from pydantic import BaseModel

from bench import floors
from bench.processes import Child, command_line, cpu_s, descendants, pss_bytes
from bench.spec import Target

_READY_S_MAX = 15.0
_STOP_S_MAX = 35.0
"""contextd drains for at most 30 s; what stands after that is killed."""
_LOOK_S = 0.02
_SETTLE_LOOK_S, _SETTLE_S_MAX = 1.0, 10.0


class _Health(BaseModel):
    """What the bench reads of `GET /healthz`; the rest is none of its business."""

    counters: Mapping[str, float] = {}


@dataclass(frozen=True, slots=True)
class System:
    """Something that speaks contextd's paths."""

    name: str
    target: Target
    roles: Mapping[str, tuple[int, ...]]
    store_socket: Path | None
    ready_s: float
    """From the start of the first process until it answered that it is ready."""
    snapshots: str | None = None
    """The folder of JSON snapshots; None: they are in the store."""

    def pss_bytes(self, role: str) -> int:
        """Return the memory of all processes of a role, shared pages split."""
        return sum(pss_bytes(pid) for pid in self.roles.get(role, ()))

    def store_used_bytes(self) -> int:
        """Return the store's own count of memory in use."""
        if self.store_socket is None:
            return 0
        with sockets.socket(sockets.AF_UNIX) as client:
            client.connect(str(self.store_socket))
            client.sendall(b"INFO memory\r\n")
            told = b""
            while b"used_memory_peak:" not in told:
                told += client.recv(65_536)
        for line in told.split(b"\r\n"):
            if line.startswith(b"used_memory:"):
                return int(line.split(b":")[1])
        raise ValueError("the store does not tell its memory")


def get(target: Target, path: str) -> tuple[int, bytes]:
    """GET once, on a connection of its own; status 0 while nobody listens."""
    connection = HTTPConnection(target.host, target.port, timeout=5)
    try:
        connection.request("GET", path)
        reply = connection.getresponse()
        return reply.status, reply.read()
    except OSError:
        return 0, b""
    finally:
        connection.close()


def free_port() -> int:
    """Return a port that nobody listened on a moment ago."""
    with sockets.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await_ready(child: Child, target: Target) -> float:
    begun = time.perf_counter()
    while get(target, "/readyz")[0] != 200:
        if child.process.poll() is not None:
            raise RuntimeError(f"contextd ended at start\n{child.last_words()}")
        if time.perf_counter() - begun > _READY_S_MAX:
            raise RuntimeError(f"not ready after {_READY_S_MAX} s\n{child.last_words()}")
        time.sleep(_LOOK_S)
    return time.perf_counter() - begun


def _await_settled(supervisor: int) -> None:
    """Wait until start-up work is over (a standby worker imports after readiness)."""
    before, due = -1.0, time.perf_counter() + _SETTLE_S_MAX
    while time.perf_counter() < due:
        used = sum(cpu_s(pid) for pid in (supervisor, *descendants(supervisor)))
        if used - before < 0.02 * _SETTLE_LOOK_S:
            return
        before = used
        time.sleep(_SETTLE_LOOK_S)


def _role(pid: int) -> str:
    words = command_line(pid).split()
    program = Path(words[0]).name if words else ""
    if program.startswith(("valkey-server", "redis-server")):
        return "store"
    return next((role for role in ("gateway", "worker") if role in words), "supervisor")


def _roles(supervisor: int) -> dict[str, tuple[int, ...]]:
    roles: dict[str, tuple[int, ...]] = {"supervisor": (supervisor,)}
    for pid in descendants(supervisor):
        role = _role(pid)
        roles[role] = (*roles.get(role, ()), pid)
    return roles


def _store_socket(data: Path) -> Path | None:
    # Long data folders get their socket elsewhere; then `store.sock` is a link to it.
    found = data / "store.sock"
    return found if found.exists() and stat.S_ISSOCK(found.stat().st_mode) else None


@contextmanager
def contextd(
    folder: Path,
    *,
    model_port: int,
    gateways: int,
    workers: int,
    name: str = "contextd",
    environment: Mapping[str, str] | None = None,
) -> Generator[System]:
    """Start `contextd up` with the mock as its model; SIGTERM at the end.

    Args:
        folder: An empty folder for its data and its log.
        model_port: Where the mock listens.
        gateways: How many gateway processes.
        workers: How many worker processes.
        name: What the system is called.
        environment: Further settings.

    Yields:
        The system, ready.

    Raises:
        RuntimeError: It did not become ready, or did not end by itself.
    """
    port, data = free_port(), folder / "data"
    arguments = [sys.executable, "-m", "runtime.cli", "up", "--port", str(port)]
    arguments += ["--gateways", str(gateways), "--workers", str(workers), "--data", str(data)]
    settings = {
        "CONTEXTD_MODEL_BASE_URL": f"http://127.0.0.1:{model_port}/v1",
        "CONTEXTD_MODEL_API_KEY": "bench",
        "CONTEXTD_MODEL": "zero",
        "CONTEXTD_LOG_LEVEL": "warning",
        "CONTEXTD_CONFIG": "",
    }
    # Settings of whoever starts the bench are not part of what is measured.
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("CONTEXTD_")}
    log = folder / "contextd.log"
    with Child(
        arguments,
        log=log,
        environment={**inherited, **settings, **(environment or {})},
        stop_s_max=_STOP_S_MAX,
        announces=False,
    ) as child:
        ready_s = _await_ready(child, Target(port=port))
        _await_settled(child.pid)
        key = data / "owner.key"
        token = key.read_text().strip() if key.exists() else None
        family = _roles(child.pid)
        missing = {"store", "gateway", "worker"} - family.keys()
        if missing:
            told = {pid: command_line(pid) for pid in descendants(child.pid)}
            raise RuntimeError(f"no {missing} among contextd's processes: {told}")
        yield System(
            name=name,
            target=Target(port=port, token=token),
            roles=family,
            store_socket=_store_socket(data),
            ready_s=ready_s,
            snapshots=(environment or {}).get("CONTEXTD_SNAPSHOTS", "").partition(":")[2]
            or None,
        )


@contextmanager
def floor(folder: Path, *, model_port: int, synced: bool = False) -> Generator[System]:
    """Start the unsafe floor: one gateway, one worker, a store that keeps nothing.

    Args:
        folder: An empty folder for its store and its log.
        model_port: Where the mock listens.
        synced: Have the store write to the disk before it answers, as contextd's does.
    """
    socket = folder / "floor.sock"
    log = folder / "floor.log"
    role = [sys.executable, "-m", "bench.floors"]
    begun = time.perf_counter()
    with ExitStack() as stack:
        store = stack.enter_context(
            Child(floors.store_arguments(folder, synced=synced), log=log, announces=False)
        )
        while not socket.exists():
            if store.process.poll() is not None:
                raise RuntimeError(f"the floor's store ended\n{store.last_words()}")
            time.sleep(_LOOK_S)
        joined = ["--socket", str(socket)]
        gateway = stack.enter_context(Child([*role, "gateway", *joined], log=log))
        model = ["--model-url", f"http://127.0.0.1:{model_port}/v1"]
        worker = stack.enter_context(Child([*role, "worker", *joined, *model], log=log))
        target = Target(port=gateway.announced_port())
        yield System(
            name="floor-synced" if synced else "floor",
            target=target,
            roles={"store": (store.pid,), "gateway": (gateway.pid,), "worker": (worker.pid,)},
            store_socket=socket,
            ready_s=time.perf_counter() - begun,
        )


def create_bare(system: System, count: int) -> None:
    """Create contexts without a message, one after another.

    Raises:
        RuntimeError: One was refused.
    """
    token = system.target.token
    headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
    connection = HTTPConnection(system.target.host, system.target.port, timeout=10)
    for _ in range(count):
        connection.request(
            "POST", "/api/contexts", b"{}", {"Content-Type": "application/json", **headers}
        )
        reply = connection.getresponse()
        body = reply.read()
        if reply.status != 201:
            raise RuntimeError(f"create: {reply.status} {body[:300]!r}")
    connection.close()


def counters(system: System) -> dict[str, float]:
    """Return contextd's own counters, flat, if `GET /healthz` has any; the bench's hook."""
    status, body = get(system.target, "/healthz")
    if status != 200:
        return {}
    return dict(_Health.model_validate_json(body).counters)
