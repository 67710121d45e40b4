"""contextd as its users run it: real processes, started, killed and looked at by tests.

Only processes that these classes started, and their children, are ever signalled, each by
its id; all of them die with the test process. What is waited for is polled with a deadline.
"""

import contextlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import orjson
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from runtime import tether
from verify.chaos.processes import command_line, contextd

ROOT = Path(__file__).resolve().parent.parent.parent
READY_S_MAX = 90.0
"""A start takes 2 s; on a machine with ten times as much to do, half a minute."""
END_S_MAX = 40.0
COMMAND_S_MAX = 180.0
POLL_S = 0.03
SETTLED_S = 0.4
"""A process that used no CPU for so long is taken to have nothing to do."""
LOG_TAIL_BYTES = 4_000


def tethered(*command: str) -> list[str]:
    """A command that ends when we do, whatever happens to us."""
    return [sys.executable, "-I", "-S", tether.__file__, str(os.getpid()), *command]


def free_port() -> int:
    """A port for a server of ours; until we end nobody is given it who asks for any.

    We stay bound to it and never listen: a server that sets SO_REUSEADDR, as all do, gets it.
    """
    held = socket.socket()
    for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
        held.setsockopt(socket.SOL_SOCKET, option, 1)
    held.bind(("127.0.0.1", 0))
    port: int = held.getsockname()[1]
    held.detach()  # open until we end
    return port


def until(true: Callable[[], object], what: str, *, within_s: float = READY_S_MAX) -> None:
    """Poll until `true()` holds."""
    due_s = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < due_s, f"did not happen in {within_s:g} s: {what}"
        time.sleep(POLL_S)


def alive(process_id: int) -> bool:
    """Whether the process runs; a zombie does not."""
    stat = _stat(process_id)
    return stat is not None and stat[0] != "Z"


def variable(process_id: int, name: str) -> str:
    """A variable that the process was started with; empty if it has none."""
    try:
        raw = Path(f"/proc/{process_id}/environ").read_bytes()
    except OSError:
        return ""
    for pair in raw.split(b"\0"):
        key, _, value = pair.partition(b"=")
        if key == name.encode():
            return value.decode()
    return ""


def descendants(process_id: int) -> list[int]:
    """Living children of a process, and theirs."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and (stat := _stat(int(folder.name))) is not None:
            state, parent = stat
            if state != "Z":
                parents[int(folder.name)] = parent
    found: list[int] = []
    frontier = {process_id}
    while frontier:
        frontier = {child for child, parent in parents.items() if parent in frontier}
        found += sorted(frontier)
    return found


def cpu_ticks(process_id: int) -> int:
    """User and system time of a process so far, in the kernel's ticks; 0 once it is gone."""
    try:
        words = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return int(words[11]) + int(words[12])


def _stat(process_id: int) -> tuple[str, int] | None:
    """State letter and parent of a process; None once it is gone."""
    try:
        words = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return words[0], int(words[1])


def kill(process_id: int) -> None:
    """End a process now (kill -9); harmless when it is gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(process_id, signal.SIGKILL)


class Running:
    """One process in a session of its own, its output kept in a file."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], log: Path
    ) -> None:
        self.log = log
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                command,
                env={**environment, tether.SUPERVISOR_PID: str(os.getpid())},
                cwd=log.parent,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    @property
    def process_id(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def terminate(self) -> None:
        """Ask it to drain and end."""
        self._process.terminate()

    def wait(self, *, within_s: float = END_S_MAX) -> int:
        """Wait for its end; the exit code, negative for a signal."""
        return self._process.wait(within_s)

    def kill(self) -> None:
        """Kill it with all its children, as good as at the same instant."""
        doomed = [*descendants(self.process_id), self.process_id]
        for process_id in doomed:
            kill(process_id)
        self._process.wait(END_S_MAX)
        until(lambda: not any(map(alive, doomed)), "the end of killed processes")

    def tail(self) -> str:
        """The end of what it has written."""
        return self.log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace")


class Service:
    """`contextd up` on a data folder of its own, for the length of a block.

    Further gateways and workers can join it; `url` is that of its own gateways.
    """

    def __init__(self, *, gateways: int = 1, workers: int = 1, **settings: object) -> None:
        """Take settings by name, as in `linger_s=0`; nothing is started yet."""
        self.gateways = gateways
        self.workers = workers
        self.port = free_port()
        self.folder = Path()
        self.second_url = ""
        """Of a gateway that has joined, where a test's fixture keeps it."""
        self.started_in_s = 0.0
        """From the command to the first 200 of /readyz."""
        self._settings = settings
        self._up: Running | None = None
        self._joined: list[Running] = []

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="e2e-"))
        try:
            self.start()
        except BaseException:
            sys.stderr.write(self.log_tails())
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            sys.stderr.write(self.log_tails())
        self._end()

    def _end(self) -> None:
        self.kill_everything()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def socket(self) -> Path:
        """Of the embedded store."""
        return self.data / "store.sock"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """What all its processes are started with."""
        settings = {"auth": "off", "ready_s_max": READY_S_MAX, **self._settings}
        given = {f"CONTEXTD_{name.upper()}": str(v) for name, v in settings.items()}
        paths = [str(ROOT), *filter(None, [given.pop("CONTEXTD_PYTHONPATH", "")])]
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("CONTEXTD_")}
        return {**inherited, **given, "PYTHONPATH": os.pathsep.join(paths)}

    @property
    def up(self) -> Running:
        """The process of `contextd up`: supervisor and parent of the others."""
        assert self._up is not None, "it was not started"
        return self._up

    # Starting and ending

    def launch(self) -> None:
        """Start `contextd up`, and return at once. Only from the main thread."""
        command = [
            *("up", "--port", str(self.port), "--data", str(self.data)),
            *("--gateways", str(self.gateways), "--workers", str(self.workers)),
        ]
        self._up = Running(contextd(*command), self.environment, self.folder / "up.log")

    def start(self) -> None:
        """Start `contextd up`; returns once gateways, workers and standby are there."""
        began_s = time.monotonic()
        self.launch()
        self.wait_ready()
        self.started_in_s = time.monotonic() - began_s

    def wait_ready(self) -> None:
        """Wait until /readyz answers 200 and counts the workers."""
        until(self._is_ready, "contextd up is ready")

    def _is_ready(self) -> bool:
        assert self.up.exit_code is None, f"contextd up ended:\n{self.up.tail()}"
        return self._workers_counted() >= self.workers

    def join_gateway(self) -> int:
        """Start a gateway of its own on the store; returns its port once it is ready."""
        port = free_port()
        running = self._join("gateway", "--port", str(port))
        until(lambda: readiness(port) is not None, f"a joined gateway\n{running.tail()}")
        return port

    def join_worker(self) -> Running:
        """Start a worker of its own on the store; returns once it is counted."""
        before = self._workers_counted()
        running = self._join("worker")
        until(lambda: self._workers_counted() > before, "a joined worker")
        return running

    def _workers_counted(self) -> int:
        """How many the gateways know of; -1 while there is no ready gateway."""
        ready = readiness(self.port)
        return cast("int", ready["workers"].get("count", 0)) if ready else -1

    def _join(self, *words: str) -> Running:
        environment = {**self.environment, "CONTEXTD_REDIS_URL": f"unix://{self.socket}"}
        log = self.folder / f"{words[0]}-{len(self._joined)}.log"
        running = Running(contextd(*words), environment, log)
        self._joined.append(running)
        return running

    @property
    def joined(self) -> Sequence[Running]:
        """Processes that joined, in their order."""
        return self._joined

    def kill_everything(self) -> None:
        """kill -9 of every process at once: supervisor, store, gateways, workers."""
        running = [*self._joined, *([self._up] if self._up is not None else [])]
        doomed: list[int] = []
        for one in running:
            doomed += [*descendants(one.process_id), one.process_id]
        for process_id in doomed:
            kill(process_id)
        for one in running:
            one.wait()
        until(lambda: not any(map(alive, doomed)), "the end of killed processes")
        self._joined.clear()
        self._up = None

    # Looking

    def processes(self, role: str) -> list[int]:
        """Children of `contextd up`: `gateway`, `worker` (with the standby) or `store`."""
        return [
            process_id
            for process_id in descendants(self.up.process_id)
            if _role(command_line(process_id)) == role
        ]

    def wait_standby(self) -> None:
        """Wait until the spare worker is there, and loaded: its CPU time stands still."""
        used, since_s = (0, 0), time.monotonic()

        def settled() -> bool:
            nonlocal used, since_s
            workers = self.processes("worker")
            spare = max(workers, default=0)  # the one that was started last
            now = (spare, cpu_ticks(spare))
            if len(workers) <= self.workers or now != used:
                used, since_s = now, time.monotonic()
                return False
            return now[1] > 0 and time.monotonic() - since_s >= SETTLED_S

        until(settled, "a standby")

    def everything(self) -> list[int]:
        """Ids of all living processes, with those that joined."""
        tops = [self.up.process_id, *(one.process_id for one in self._joined)]
        return [p for top in tops for p in (top, *descendants(top))]

    def owner_of(self, context_id: str) -> int:
        """Process id of the worker that has a context active."""
        with self.store() as store:
            worker_id = cast("str | None", store.hget(f"ctx:{{{context_id}}}:meta", "worker"))
        for process_id in self.everything():
            if worker_id and self.worker_id_of(process_id) == worker_id:
                return process_id
        raise AssertionError(f"no living process is the worker {worker_id!r} of {context_id}")

    def worker_id_of(self, process_id: int) -> str:
        """What the supervisor has called a worker; empty for anything else."""
        return variable(process_id, "CONTEXTD_WORKER_ID")

    @contextlib.contextmanager
    def store(self) -> Generator[Redis]:
        """A plain client of the embedded store, to look."""
        client = Redis(
            unix_socket_path=str(self.socket),
            decode_responses=True,
            socket_timeout=10,
            retry=Retry(NoBackoff(), 0),
        )
        try:
            yield client
        finally:
            client.close()

    def log_tails(self) -> str:
        """The ends of all logs, for whoever has to understand a failure."""
        logs = sorted(self.folder.glob("*.log"))
        return "".join(
            f"--- {log.name}\n{log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors='replace')}\n"
            for log in logs
        )


def readiness(port: int) -> dict[str, dict[str, object]] | None:
    """What /readyz says; None unless it answers 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        body = response.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    if response.status != 200:
        return None
    return cast("dict[str, dict[str, object]]", orjson.loads(body))


@contextlib.contextmanager
def run_module(module: str, *words: str, folder: Path) -> Generator[tuple[Running, str]]:
    """Run a module as a process for a block; gives its first line of output too."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    log = folder / f"{module.rpartition('.')[2]}.log"
    running = Running(tethered(sys.executable, "-m", module, *words), environment, log)
    try:
        until(lambda: b"\n" in log.read_bytes(), f"{module} speaks")
        yield running, log.read_text().partition("\n")[0]
    finally:
        running.kill()


def run_command(
    *words: str, service: Service, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run `contextd ...` to its end, in the environment of a service."""
    environment: dict[str, str] = {
        **service.environment,
        "CONTEXTD_DATA": str(service.data),
        "CONTEXTD_PORT": str(service.port),
        "CONTEXTD_URL": service.url,
    }
    return run_words(contextd(*words), environment, folder=service.folder, stdin=stdin)


def run_words(
    words: Sequence[str], environment: Mapping[str, str], *, folder: Path, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; its output is kept."""
    return subprocess.run(
        words,
        env=environment,
        cwd=folder,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=COMMAND_S_MAX,
        check=False,
    )


def _role(command: str) -> str:
    if "runtime.cli" in command:
        return command.split()[-1]
    return "store" if "-server " in command + " " else "other"
