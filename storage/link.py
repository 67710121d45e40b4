"""One connection to the store that many callers share.

Calls made while a write is under way leave together in the next one, and answers come
back in the order of the calls, so a call costs some 10 us instead of 100. A call that is
cancelled leaves its place in that order behind; its answer is dropped. When the
connection breaks, every call that was sent fails with StoreUnavailable (outcome unknown);
calls not yet sent wait for the next connection until their time is over.

With a `barrier` the answers of each batch are held until replicas have what they tell; where
too few have it in time, the whole batch fails (outcome unknown) and the connection with it,
so that the next one asks anew who the primary is.

redis-py (8.1) makes and authenticates the connection and parses the protocol; hiredis packs
commands (6 us for a commit, redis-py's own packer 38 us).
Its own time-outs and retries are off: with a socket time-out it swallows cancellations
on Python 3.11, and its retries repeat writes behind our back.
"""

import asyncio
import contextlib
import math
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, cast

import structlog
from hiredis import (
    pack_command,  # pyright: ignore[reportUnknownVariableType] - its stub is partial
)
from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.exceptions import (
    ConnectionError as ConnectionBroken,
    MasterDownError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from typing_extensions import override

from storage.barrier import TAIL_REPLIES, Barrier
from storage.cancellation import end_if_cancelled
from storage.errors import NoScript, StoreRefusedWrite, StoreUnavailable, describe

log = structlog.get_logger(__name__)

Reply = object
"""What the store answers: bytes, int, None or a list of these."""

Argument = bytes | str | int | float
"""What can be sent as a part of a command."""

_pack = cast("Callable[[tuple[Argument, ...]], bytes]", pack_command)
"""hiredis' stub says that a command has one part."""

_OWN_CLASS: Final[Mapping[type[ResponseError], str]] = {
    MasterDownError: "MASTERDOWN",
    OutOfMemoryError: "OOM",
    ReadOnlyError: "READONLY",
}

RECONNECT_S_MIN, RECONNECT_S_MAX = 0.05, 1.0
_CLOSED: Final = "the link was closed"


@dataclass(slots=True)
class Absence:
    """How long a connection has been away: tells each reason once, tries ever more rarely."""

    event: str
    """What is logged."""
    reason: str = ""
    """Why there is no connection; empty while there is one, and before the first."""
    _pause_s: float = RECONNECT_S_MIN

    def tell(self, error: Exception) -> None:
        """Log why there is no connection, unless that was logged last."""
        if (reason := describe(error)) != self.reason:
            log.warning(self.event, error=reason)
        self.reason = reason

    async def pause(self) -> None:
        """Wait before the next try."""
        await asyncio.sleep(self._pause_s)
        self._pause_s = min(RECONNECT_S_MAX, self._pause_s * 2)

    def end(self) -> None:
        """Begin anew: it is connected."""
        self.reason, self._pause_s = "", RECONNECT_S_MIN


@dataclass(slots=True)
class _Call:
    packed: bytes
    answer: asyncio.Future[Reply]
    due: float
    """Loop time at which it fails."""


@dataclass(slots=True)
class Link:
    """Sends commands over one shared connection. Made by `open_link`."""

    pool: ConnectionPool
    call_s_max: float
    calls_max: int
    on_connect: Callable[[AbstractConnection], Awaitable[None]] | None = None
    """Awaited with every fresh connection before any call is sent on it."""
    barrier: Barrier | None = None
    """None: answers are given as they come."""
    connected: asyncio.Event = field(default_factory=asyncio.Event)
    _connection: AbstractConnection | None = None
    _waiting: deque[_Call] = field(default_factory=deque[_Call])
    _sent: deque[_Call] = field(default_factory=deque[_Call])
    _work: asyncio.Event = field(default_factory=asyncio.Event)
    _absence: Absence = field(default_factory=lambda: Absence("store connection lost"))
    _closed: bool = False

    @override
    def __repr__(self) -> str:
        state = "connected" if self.connected.is_set() else "connecting"
        return f"<Link {state}, {len(self._waiting)} waiting, {len(self._sent)} sent>"

    def call(self, *command: Argument) -> asyncio.Future[Reply]:
        """Send one command.

        Returns:
            Its answer, to be awaited; strings are bytes. Cancelling it does not unsend
            the command. Fails with StoreUnavailable or StoreRefusedWrite, or redis'
            ResponseError where the command itself was wrong.

        Raises:
            StoreUnavailable: More than `calls_max` calls are under way, or nobody serves
                calls any more.
        """
        loop = asyncio.get_running_loop()
        if self._closed:
            raise StoreUnavailable(_CLOSED)
        if len(self._waiting) + len(self._sent) >= self.calls_max:
            raise StoreUnavailable(f"{self.calls_max} calls are under way already")
        call = _Call(
            _pack(command),
            loop.create_future(),
            loop.time() + self.call_s_max,
        )
        self._waiting.append(call)
        self._work.set()
        return call.answer

    async def run(self) -> None:
        """Keep a connection and serve calls until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._expire(), name="link-expire")
                await self._keep_connected()
        finally:
            self._closed = True
            self._fail(self._waiting, _CLOSED)

    async def _keep_connected(self) -> None:
        while True:
            connection = make_connection(self.pool)
            try:
                async with asyncio.timeout(self.call_s_max):
                    await establish(connection)
                    if self.on_connect is not None:
                        await self.on_connect(connection)
                self._absence.end()
                self._connection = connection
                self.connected.set()
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._write(connection), name="link-write")
                    if self.barrier is None:
                        await self._read(connection)
                    else:
                        await self._read_batches(connection, self.barrier)
            except* (RedisError, OSError, TimeoutError) as broken:
                self._absence.tell(broken.exceptions[0])
            finally:
                self.connected.clear()
                self._connection = None
                await _close(connection)
                self._fail(self._sent, "the connection to the store broke")
                if self.barrier is not None:
                    self.barrier.forget()
            end_if_cancelled()
            await self._absence.pause()

    async def _write(self, connection: AbstractConnection) -> None:
        while True:
            await self._work.wait()
            if self._connection is not connection:
                # redis-py would connect again by itself, past `on_connect`.
                raise ConnectionBroken("given up")
            self._work.clear()
            packed: list[bytes] = []
            while self._waiting:
                call = self._waiting.popleft()
                if call.answer.done():
                    continue  # cancelled or expired before it was sent
                self._sent.append(call)
                packed.append(call.packed)
            if packed:
                if self.barrier is not None:
                    packed.append(self.barrier.close(len(packed)))
                await connection.send_packed_command(b"".join(packed), check_health=False)

    async def _read(self, connection: AbstractConnection) -> None:
        sent = self._sent
        while True:
            try:
                reply = await read_reply(connection)
            except ResponseError as error:
                reply = _translate(error)
            if self._connection is not connection:
                raise ConnectionBroken("given up")  # its calls have failed already
            _settle(sent.popleft(), reply)

    async def _read_batches(self, connection: AbstractConnection, barrier: Barrier) -> None:
        """As `_read`; a batch's calls count as sent until its barrier has answered."""
        while True:
            replies = [await self._next_reply(connection)]
            while len(replies) < barrier.calls + TAIL_REPLIES:
                replies.append(await self._next_reply(connection))
            batch = deque(self._sent.popleft() for _ in range(barrier.calls))
            if (why := barrier.open(*replies[-TAIL_REPLIES:])) is not None:
                self._fail(batch, why)
                raise ConnectionBroken(why)
            for call, reply in zip(batch, replies, strict=False):
                _settle(call, reply)

    async def _next_reply(self, connection: AbstractConnection) -> Reply | Exception:
        try:
            reply = await read_reply(connection)
        except ResponseError as error:
            reply = _translate(error)
        if self._connection is not connection:
            raise ConnectionBroken("given up")  # its calls have failed already
        return reply

    async def _expire(self) -> None:
        """Fail calls whose time is over; a silent connection is dropped."""
        while True:
            await asyncio.sleep(self.call_s_max / 10)
            now = asyncio.get_running_loop().time()
            while self._waiting and self._waiting[0].due <= now:
                _settle(self._waiting.popleft(), StoreUnavailable(self._why_away()))
            if self._sent and self._sent[0].due <= now and self._connection is not None:
                silent, self._connection = self._connection, None
                self._fail(self._sent, "the store did not answer in time")
                await _close(silent)

    def _why_away(self) -> str:
        why = "no connection to the store"
        return f"{why} ({reason})" if (reason := self._absence.reason) else why

    def _fail(self, calls: deque[_Call], why: str) -> None:
        while calls:
            _settle(calls.popleft(), StoreUnavailable(why))


def _settle(call: _Call, reply: Reply | Exception) -> None:
    if call.answer.done():
        return
    if isinstance(reply, Exception):
        call.answer.set_exception(reply)
        call.answer.exception()  # retrieved: no complaint if nobody awaits it any more
    else:
        call.answer.set_result(reply)


REFUSALS: Final = ("OOM", "READONLY", "MISCONF", "NOREPLICAS")
"""Codes with which the server says that it takes no writes at the moment."""


def refuses_writes(error: ResponseError) -> bool:
    """Whether the server has said that it takes no writes at the moment."""
    return _said(error).startswith(REFUSALS)


def _said(error: ResponseError) -> str:
    """What the server said; redis-py takes the code off where it has a class for it."""
    code = next((code for kind, code in _OWN_CLASS.items() if isinstance(error, kind)), "")
    return str(error) if str(error).startswith(code) else f"{code} {error}"


def _translate(error: ResponseError) -> Exception:
    text = _said(error)
    if refuses_writes(error):
        return StoreRefusedWrite(text)
    if isinstance(error, NoScriptError):
        return NoScript(text)
    # UNBLOCKED: the server became a replica while a call waited in it.
    if text.startswith(("MASTERDOWN", "BUSY", "UNBLOCKED")):
        return StoreUnavailable(text)
    return error


def make_connection(pool: ConnectionPool) -> AbstractConnection:
    """A connection of the pool's kind that the pool does not keep."""
    make: Callable[[], AbstractConnection] = pool.make_connection
    return make()


async def establish(connection: AbstractConnection) -> None:
    """Connect, and authenticate as the pool's URL says."""
    connect: Callable[[], Awaitable[None]] = connection.connect
    await connect()


async def read_reply(connection: AbstractConnection) -> Reply:
    """The next reply of a connection, however long it takes; strings are bytes."""
    read = cast("Callable[..., Awaitable[Reply]]", connection.read_response)
    return await read(disable_decoding=True, timeout=math.inf)


async def _close(connection: AbstractConnection) -> None:
    with contextlib.suppress(RedisError, OSError):
        await connection.disconnect(nowait=True)


@contextlib.asynccontextmanager
async def open_link(link: Link) -> AsyncGenerator[Link, None]:
    """Serve a link's calls for the length of a block."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(link.run(), name="link")
        try:
            yield link
        finally:
            task.cancel()
