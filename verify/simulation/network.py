"""The network between our processes and the store, with everything that goes wrong on it.

The real `Link` and `Subscriber` run on connections of this module. A command is executed as
a whole at one virtual moment; when that is, and what becomes of its answer, a `Plan` decides.

Invariant 1: commands of one connection are executed, and answered, in the order of sending;
only one that was given up (`late`, `twice`) may be executed out of order, later.
Invariant 2: what a process has sent is executed though the process has died meanwhile.
"""

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias, cast

from redis.asyncio.connection import ConnectionPool
from redis.exceptions import (
    ConnectionError as ConnectionBroken,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
)

from storage.keys import EPOCH
from storage.link import Argument, Reply
from verify.simulation.clock import Process, VirtualTimeLoop
from verify.simulation.fates import QUICK, Fate, Plan
from verify.simulation.server import Server, is_error, unpack

Command: TypeAlias = Sequence[bytes]

PUBLISHING: Final = frozenset({"bury", "commit", "delete", "deliver", "draft"})
QUEUEING: Final = frozenset({"enqueue", "finish"})
"""Scripts after which somebody who waits for a job may have one."""
BEGAN_MS: Final = 1_760_000_000_000
"""Unix time at the beginning of a run: before that of the store, whose scripts ask for it."""


def now_ms(loop: asyncio.AbstractEventLoop) -> int:
    """Unix time that goes with a loop's."""
    return BEGAN_MS + round(loop.time() * 1_000)


class Network:
    """The store of one run, and all connections to it."""

    def __init__(
        self,
        server: Server,
        loop: VirtualTimeLoop,
        plan: Plan,
        *,
        scripts: Mapping[bytes, str],
        session_s: float,
    ) -> None:
        """Use a server whose data this run may do with as it likes.

        Args:
            server: Where commands are executed.
            loop: The run's.
            plan: What goes wrong.
            scripts: Names of our scripts by digest.
            session_s: How long a worker's session lasts, in virtual time.
        """
        self.server = server
        self.loop = loop
        self.plan = plan
        self.run_id = "r1"
        """Another one after each restart."""
        self.up = True
        self.executed: dict[str, int] = {}
        """How many commands of each name were executed."""
        self.late = 0
        """Commands that were given up and are still to be executed."""
        self.set_back = False
        """Whether the store has been set back to what it was before."""
        self.on_executing: Callable[[str, Command], None] | None = None
        """Told of every command before it is executed."""
        self.on_executed: Callable[[str, Command, Reply], None] | None = None
        """Told of every command when it has been executed."""
        self._scripts = scripts
        self._session_s = session_s
        self._sessions: dict[bytes, float] = {}
        self._connections: dict[Connection, None] = {}
        self._parked: dict[Connection, Command] = {}
        self._context = contextvars.Context()
        self._hearing_at: dict[Connection, float] = {}

    # Connections

    def opened(self, connection: "Connection") -> None:
        """Take a connection in."""
        self._connections[connection] = None

    def closed(self, connection: "Connection") -> None:
        """Forget a connection that its process has closed."""
        self._connections.pop(connection, None)
        self._parked.pop(connection, None)
        self._hearing_at.pop(connection, None)

    def abandon(self, process: Process) -> None:
        """The process is dead: nobody reads its connections; what it has sent is executed."""
        for connection in list(self._connections):
            if connection.process is process:
                self.closed(connection)

    def break_all(self) -> None:
        """Break every connection."""
        for connection in list(self._connections):
            connection.break_off()

    def stop(self) -> None:
        """The store stops: connections break, and none can be made."""
        self.up = False
        self.break_all()

    def start(self) -> None:
        """The store is back under another run id, unless it is there already."""
        if self.up:
            return
        self.up = True
        self.run_id = f"r{int(self.run_id[1:]) + 1}"

    def forget_scripts(self) -> None:
        """SCRIPT FLUSH: whoever runs a script has to load it again."""
        self.server.call("SCRIPT", "FLUSH")
        _DIGESTS.clear()

    def save(self) -> Sequence[tuple[bytes, bytes]]:
        """All that the store holds now, sessions of workers left out."""
        found = sorted(cast("list[bytes]", self.server.call("KEYS", "*")))
        held = [key for key in found if not key.endswith(b":session")]
        dumps = self.server.call_all([("DUMP", key) for key in held])
        return list(zip(held, cast("list[bytes]", dumps), strict=True))

    def restore(self, saved: Sequence[tuple[bytes, bytes]]) -> None:
        """Set the store back to what it held."""
        self.set_back = True
        self.server.call("FLUSHALL")
        self.server.call_all([("RESTORE", key, 0, dump) for key, dump in saved])

    # Commands

    def name_of(self, command: Command) -> str:
        """The script that a command runs, or the command."""
        if command[0] == b"EVALSHA":
            return self._scripts.get(command[1], "?")
        return command[0].decode()

    def at(self, when_s: float, do: Callable[[], None]) -> None:
        """Do something at a moment, as the world and not as a process."""
        self.loop.call_at(when_s, do, context=self._context)

    def execute(self, command: Command) -> Reply:
        """Execute a command now."""
        name = self.name_of(command)
        self.executed[name] = self.executed.get(name, 0) + 1
        if self.on_executing is not None:
            self.on_executing(name, command)
        publishes = name in PUBLISHING or name == "?"
        call = self.server.call_published if publishes else self.server.call
        reply = call(*command)
        if publishes:
            self._publish()
        if name == "renew" and not is_error(reply):
            self._begin_session(command, reply)
        if name in QUEUEING:
            self._serve_parked()
        if self.on_executed is not None:
            self.on_executed(name, command, reply)
        return reply

    def _begin_session(self, command: Command, reply: Reply) -> None:
        if cast("list[bytes]", reply)[0] != b"alive":
            return
        key = command[3]
        ends_s = self._sessions[key] = self.loop.time() + self._session_s
        self.at(ends_s, lambda: self._end_session(key, ends_s))

    def _end_session(self, key: bytes, ends_s: float) -> None:
        # Not by the clock: with other timers of its moment this one may go off a little before.
        if self._sessions[key] == ends_s:
            self.server.call("DEL", key)

    def answer_preparation(self, command: Sequence[Argument]) -> Reply:
        """Answer what is asked on a fresh connection, before anything else."""
        match command:
            case ("CONFIG", "GET", str() as name):
                shown = {"appendonly": b"yes", "appendfsync": b"always"}
                return [name.encode(), shown.get(name, b"")]
            case ("INFO", "server"):
                return b"# Server\r\nrun_id:%s\r\n" % self.run_id.encode()
            case ("SCRIPT", "LOAD", str() as body):
                return self._digest_of(body)
            case ("EVALSHA", sha, 1, key, *rest) if key == EPOCH:
                # The clock that it was asked by is not of this world: epochs are made of ours.
                ours = [now_ms(self.loop) if _is_now(part) else part for part in rest]
                return self.server.call("EVALSHA", sha, 1, key, *ours)
            case _:
                return self.server.call(*command)

    def _digest_of(self, body: str) -> bytes:
        digest = _DIGESTS.get(body)
        if digest is None:
            digest = _DIGESTS[body] = cast("bytes", self.server.call("SCRIPT", "LOAD", body))
        return digest

    def version_of(self, context_id: str) -> int:
        """Where a context's log is, seen from outside; 0 where there is none."""
        reply = self.server.call("HGET", f"ctx:{{{context_id}}}:meta", "version")
        return int(cast("bytes", reply or b"0"))

    # Waiting for jobs

    def park(self, connection: "Connection", command: Command) -> bool:
        """Wait, as BLMOVE does; False if there is something already."""
        moved = self._move(command)
        if moved is not None:
            connection.answer(moved)
            return False
        self._parked[connection] = command
        ends_s = self.loop.time() + float(command[5])
        self.at(ends_s, lambda: self._unpark(connection, command))
        return True

    def _unpark(self, connection: "Connection", command: Command) -> None:
        if self._parked.get(connection) is command:
            del self._parked[connection]
            connection.unparked(None)

    def _move(self, command: Command) -> Reply:
        return self.server.call("LMOVE", *command[1:5])

    def _serve_parked(self) -> None:
        for connection, command in list(self._parked.items()):
            moved = self._move(command)
            if moved is None:
                return
            if self._parked.pop(connection, None) is not None:
                connection.unparked(moved)

    # Publications

    def _publish(self) -> None:
        for channel, message in self.server.take_published():
            for connection in list(self._connections):
                if channel in connection.channels:
                    self._send_published(connection, channel, message)

    def _send_published(self, connection: "Connection", channel: bytes, message: bytes) -> None:
        hearing_s = self.plan.hearing_s(connection.process)
        if hearing_s < 0:
            connection.break_off()
            return
        before_s = self._hearing_at.get(connection, 0.0)
        when_s = self._hearing_at[connection] = max(before_s, self.loop.time() + hearing_s)
        self.at(when_s, lambda: connection.answer([b"message", channel, message]))


_DIGESTS: dict[str, bytes] = {}
"""Of scripts that the server has, by their text; SCRIPT LOAD is the slow part of a connect."""


def _is_now(part: Argument) -> bool:
    """Whether an argument is the Unix time in milliseconds."""
    return isinstance(part, int) and part > _LONG_AGO_MS


_LONG_AGO_MS: Final = 1_000_000_000_000


def pool(network: Network, process: Process) -> ConnectionPool:
    """What a process makes its connections with."""
    return cast("ConnectionPool", Pool(network, process))


@dataclass(frozen=True, slots=True)
class Pool:
    """Makes simulated connections where redis-py's pool makes real ones."""

    network: Network
    process: Process

    def make_connection(self) -> "Connection":
        """A connection, not opened yet."""
        return Connection(self.network, self.process)


class Connection:
    """What `Link` and `Subscriber` use of redis-py's connection."""

    def __init__(self, network: Network, process: Process) -> None:
        self.process = process
        self.channels: set[bytes] = set()
        self._network = network
        self._open = False
        self._inbox: deque[Reply | Exception] = deque()
        self._arrived: asyncio.Future[None] | None = None
        self._sent: deque[tuple[float, Fate, Command, str]] = deque()
        self._pumping = False
        self._doomed = False
        """Something was lost on it: nothing that is sent behind that arrives either."""
        self._last_s = 0.0
        self._answered_s = 0.0

    # The process's side

    async def connect(self) -> None:
        """Connect, if the store is there."""
        await asyncio.sleep(QUICK)
        if not self._network.up or not self.process.alive:
            raise ConnectionBroken("refused")
        self._open = True
        self._network.opened(self)

    async def disconnect(self, nowait: bool = False) -> None:
        """Close it; what was sent is executed nevertheless."""
        if not self.process.alive:
            return
        self._open = False
        self._network.closed(self)
        self._wake()

    async def send_command(self, *command: Argument) -> None:
        """Send what belongs to the connection itself: preparations and subscriptions."""
        self._check_open()
        match command:
            case ("SUBSCRIBE", channel):
                key = channel if isinstance(channel, bytes) else str(channel).encode()
                self._soon(lambda: self._subscribe(key))
            case ("UNSUBSCRIBE", str() as channel):
                self._soon(lambda: self.channels.discard(channel.encode()))
            case ("PING",):
                self._soon(lambda: self.answer([b"pong", b""]))
            case _:
                self.answer(self._network.answer_preparation(command))

    async def send_packed_command(self, packed: bytes, check_health: bool = True) -> None:
        """Send commands."""
        self._check_open()
        plan, now_s = self._network.plan, self._network.loop.time()
        for command in unpack(packed):
            name = self._network.name_of(command)
            if not plan.reach(self.process, f"before {name}"):
                return
            fate = plan.fate(self.process, name)
            if self._doomed:
                return
            if fate.how == "lost":
                self._doomed = True
                self._network.at(now_s + fate.delay_s, self.break_off)
                return
            self._last_s = max(self._last_s, now_s + fate.delay_s)
            self._sent.append((self._last_s, fate, command, name))
        self._pump()

    async def read_response(
        self,
        disable_decoding: bool = False,
        timeout: float | None = None,  # noqa: ASYNC109 - redis-py has it so
    ) -> Reply:
        """The next reply, however long it takes."""
        while not self._inbox:
            self._check_open()
            self._arrived = self._network.loop.create_future()
            await self._arrived
        reply = self._inbox.popleft()
        if isinstance(reply, Exception):
            raise _as_redis_py(reply)
        return reply

    # The world's side

    def break_off(self) -> None:
        """The connection breaks; what has not arrived by now does not arrive."""
        self._open = False
        self._sent.clear()
        self._network.closed(self)
        self._wake()

    def answer(self, reply: Reply | Exception) -> None:
        """A reply arrives, if the connection still stands."""
        if self._open:
            self._inbox.append(reply)
            self._wake()

    def unparked(self, reply: Reply) -> None:
        """A command that has waited is answered; the next one may be executed."""
        self.answer(reply)
        self._pumping = False
        self._pump()

    def _check_open(self) -> None:
        if not self._open:
            raise ConnectionBroken("broken")

    def _wake(self) -> None:
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)

    def _soon(self, do: Callable[[], None]) -> None:
        self._last_s = max(self._last_s, self._network.loop.time() + QUICK)
        self._network.at(self._last_s, do)

    def _subscribe(self, channel: bytes) -> None:
        if self._open:
            self.channels.add(channel)
            self.answer([b"subscribe", channel, len(self.channels)])

    def _pump(self) -> None:
        if self._pumping or not self._sent:
            return
        self._pumping = True
        self._network.at(max(self._sent[0][0], self._network.loop.time()), self._execute)

    def _execute(self) -> None:
        self._pumping = False
        if not self._sent:
            return  # the connection broke
        _, fate, command, name = self._sent.popleft()
        if name == "BLMOVE":
            self._pumping = self._network.park(self, command)
        else:
            self._execute_as(fate, command, name)
        self._pump()

    def _execute_as(self, fate: Fate, command: Command, name: str) -> None:
        network = self._network
        if fate.how == "noscript":
            return self._answer_later(fate, NoScriptError("NOSCRIPT No matching script."))
        if fate.how == "refused":
            return self._answer_later(fate, OutOfMemoryError("command not allowed"))
        if fate.how in {"late", "twice"}:
            network.late += 1
            again_s = network.loop.time() + fate.again_s
            network.at(again_s, lambda: self._execute_late(command))
            if fate.how == "late":
                return self.break_off()
        reply = network.execute(command)
        network.plan.reach(self.process, f"after {name}")
        if fate.how == "unanswered":
            return self.break_off()
        return self._answer_later(fate, reply)

    def _execute_late(self, command: Command) -> None:
        """Execute a command that nobody waits for any more, if the store is there."""
        self._network.late -= 1
        if self._network.up:
            self._network.execute(command)

    def _answer_later(self, fate: Fate, reply: Reply) -> None:
        when_s = self._network.loop.time() + fate.answer_s
        self._answered_s = max(self._answered_s, when_s)
        self._network.at(self._answered_s, lambda: self.answer(reply))


def _as_redis_py(error: Exception) -> Exception:
    """An error reply as redis-py would raise it."""
    text = str(error)
    for prefix, kind in _ERRORS.items():
        if text.startswith(prefix):
            return kind(text)
    return error if isinstance(error, ResponseError) else ResponseError(text)


_ERRORS: Final[Mapping[str, type[ResponseError]]] = {
    "NOSCRIPT": NoScriptError,
    "OOM": OutOfMemoryError,
    "READONLY": ReadOnlyError,
}
