"""The network between our processes and the store, with everything that goes wrong on it.

A command is executed as a whole at one virtual moment; when that is, and what becomes of its
answer, a `Plan` decides. What a process has of it is a `Connection`.

Invariant: what a process has sent is executed though the process has died meanwhile.
"""

import asyncio
import contextvars
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias, cast

from storage.keys import EPOCH
from storage.link import Argument, Reply
from verify.simulation.clock import Process, VirtualTimeLoop
from verify.simulation.fates import Plan
from verify.simulation.server import Server, is_error

if TYPE_CHECKING:
    from verify.simulation.connection import Connection

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
