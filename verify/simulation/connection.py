"""One process's end of a connection to the store; the real `Link` and `Subscriber` run on it.

Invariant: commands of one connection are executed, and answered, in the order of sending; only
one that was given up (`late`, `twice`) may be executed out of order, later.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, cast

from redis.asyncio.connection import ConnectionPool
from redis.exceptions import (
    ConnectionError as ConnectionBroken,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
)

from storage.link import Argument, Reply
from verify.simulation.clock import Process
from verify.simulation.fates import QUICK, Fate
from verify.simulation.network import Command, Network
from verify.simulation.server import unpack


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
