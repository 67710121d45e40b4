"""One connection that listens to many channels.

Publications are hints: whoever listens checks that they are contiguous and reads the store
where they are not. After the connection was lost every listener is told so by `on_gap`.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import cast

from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.exceptions import (
    ConnectionError as ConnectionBroken,
    RedisError,
    ResponseError,
)

from storage.cancellation import end_if_cancelled
from storage.errors import StoreUnavailable
from storage.link import Absence, establish, make_connection, read_reply, refuses_writes


@dataclass(frozen=True, slots=True)
class Listener:
    """What to call, on the loop, without awaiting."""

    on_message: Callable[[bytes], None]
    on_gap: Callable[[], None]
    """Messages may have been lost: the connection was."""


@dataclass(slots=True)
class Subscriber:
    """Subscriptions of one process. Made by `open_subscriber`."""

    pool: ConnectionPool
    confirm_s_max: float
    ping_s: float
    _listeners: dict[bytes, tuple[Listener, ...]] = field(
        default_factory=dict[bytes, tuple[Listener, ...]]
    )
    _confirmations: dict[bytes, asyncio.Event] = field(
        default_factory=dict[bytes, asyncio.Event]
    )
    _outgoing: asyncio.Queue[tuple[str, ...]] = field(
        default_factory=asyncio.Queue[tuple[str, ...]]
    )
    _is_connected: bool = False
    _heard_at: float = 0.0
    _moved: asyncio.Event = field(default_factory=asyncio.Event)

    def reconnect(self) -> None:
        """Listen over a new connection: the store may be another server by now."""
        self._moved.set()

    async def subscribe(self, channel: str, listener: Listener) -> None:
        """Listen to a channel, perhaps beside others; returns once all that follows is heard.

        Raises:
            StoreUnavailable: Not confirmed in time; nothing is subscribed.
        """
        key = channel.encode()
        others = self._others(key, listener)
        self._listeners[key] = (*others, listener)
        confirmed = self._confirmations.setdefault(key, asyncio.Event())
        if not others:
            self._send("SUBSCRIBE", channel)
        try:
            async with asyncio.timeout(self.confirm_s_max):
                await confirmed.wait()
        except TimeoutError:
            self.unsubscribe(channel, listener)
            raise StoreUnavailable("the subscription was not confirmed in time") from None
        except asyncio.CancelledError:
            self.unsubscribe(channel, listener)
            raise

    def unsubscribe(self, channel: str, listener: Listener) -> None:
        """Stop listening, if it does; what is on its way to it is dropped."""
        key = channel.encode()
        if others := self._others(key, listener):
            self._listeners[key] = others
        elif self._listeners.pop(key, ()):
            self._confirmations.pop(key, None)
            self._send("UNSUBSCRIBE", channel)

    def _send(self, *command: str) -> None:
        if self._is_connected:  # the next connection begins with all that is listened to
            self._outgoing.put_nowait(command)

    def _others(self, key: bytes, listener: Listener) -> tuple[Listener, ...]:
        return tuple(each for each in self._listeners.get(key, ()) if each is not listener)

    async def run(self) -> None:
        """Keep a connection and dispatch what it hears until cancelled."""
        absence = Absence("store subscription lost")
        while True:
            connection = make_connection(self.pool)
            self._moved.clear()
            try:
                async with asyncio.timeout(self.confirm_s_max):
                    await establish(connection)
                absence.end()
                self._heard_at = asyncio.get_running_loop().time()
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._write(connection), name="subscriber-write")
                    group.create_task(self._ping(connection), name="subscriber-ping")
                    group.create_task(self._give_up(), name="subscriber-give-up")
                    await self._read(connection)
            except* (RedisError, OSError, TimeoutError) as broken:
                absence.tell(broken.exceptions[0])
            finally:
                self._is_connected = False
                with contextlib.suppress(RedisError, OSError):
                    await connection.disconnect(nowait=True)
            end_if_cancelled()
            for confirmed in self._confirmations.values():
                confirmed.clear()
            await absence.pause()

    async def _write(self, connection: AbstractConnection) -> None:
        while not self._outgoing.empty():
            self._outgoing.get_nowait()
        self._is_connected = True
        for key in list(self._listeners):
            await connection.send_command("SUBSCRIBE", key)
        while True:
            await connection.send_command(*await self._outgoing.get())

    async def _read(self, connection: AbstractConnection) -> None:
        clock = asyncio.get_running_loop()
        while True:
            try:
                reply = cast("list[object]", await read_reply(connection))
            except ResponseError as error:
                if not refuses_writes(error):
                    raise
                reply = []  # a server whose disk is full refuses PING; it is there, though
            self._heard_at = clock.time()
            match reply:
                case [b"message", bytes() as channel, bytes() as message]:
                    for listener in self._listeners.get(channel, ()):
                        listener.on_message(message)
                case [b"subscribe", bytes() as channel, _]:
                    if (confirmed := self._confirmations.get(channel)) is not None:
                        confirmed.set()
                    # Each time, not only after a reconnect: of an unsubscribe and a
                    # subscribe in a row the first confirmation may be the older one's.
                    for listener in self._listeners.get(channel, ()):
                        listener.on_gap()
                case _:
                    pass

    async def _give_up(self) -> None:
        await self._moved.wait()
        raise ConnectionBroken("the store may be another server by now")

    async def _ping(self, connection: AbstractConnection) -> None:
        """Notice a connection that is silently gone."""
        clock = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self.ping_s)
            if clock.time() - self._heard_at > 3 * self.ping_s:
                raise ConnectionBroken("the store has been silent")
            self._outgoing.put_nowait(("PING",))


@contextlib.asynccontextmanager
async def open_subscriber(subscriber: Subscriber) -> AsyncGenerator[Subscriber, None]:
    """Listen for the length of a block."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(subscriber.run(), name="subscriber")
        try:
            yield subscriber
        finally:
            task.cancel()
