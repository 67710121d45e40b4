"""What a store's URL stands for: a pool of connections, a client, or Sentinels to ask.

redis-py reads `redis://`, `rediss://` and `unix://`. Of Sentinels, asked at every connection:

- A silent Sentinel costs `ANSWER_S_MAX`, and each connection begins with the next one, so
  that one with old news holds nobody up for long.
- What is connected to has said itself that it is a primary.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from redis import Redis
from redis.asyncio.connection import Connection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as ConnectionBroken, RedisError
from redis.retry import Retry as BlockingRetry
from redis.sentinel import Sentinel
from typing_extensions import override

from storage.sentinels import Sentinels, parse_sentinels

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ANSWER_S_MAX: Final = 0.5
"""How long one Sentinel may take to answer, connecting to it included."""

Argument: TypeAlias = Any
"""redis-py leaves the arguments of its connections untyped."""


_UNBOUNDED: Final[Mapping[str, Argument]] = {
    "socket_timeout": None,
    "socket_connect_timeout": None,
    "retry": Retry(NoBackoff(), 0),
    "protocol": 2,
    "health_check_interval": 0,
}
"""redis-py's own bounds are off: whoever uses a connection has bounds of its own."""


class PrimaryConnection(Connection):
    """A connection to whatever is the primary at the moment."""

    def __init__(self, *, sentinels: Sentinels, **arguments: Argument) -> None:
        arguments |= {"username": sentinels.username, "password": sentinels.password}
        super().__init__(**arguments)  # pyright: ignore[reportUnknownMemberType] - its kwargs
        self._sentinels = sentinels

    @override
    async def connect(self) -> None:
        """Ask for the primary, connect, and hear from itself that it is one.

        Raises:
            ConnectionError: No Sentinel knows one, or it is none.
        """
        self.host, self.port = await find_primary(self._sentinels)
        connect = cast("Callable[[], Awaitable[None]]", super().connect)
        await connect()
        role = await _ask(self, "ROLE")
        if role[0] != b"master":
            raise ConnectionBroken(f"{self.host}:{self.port} is not the primary any more")


async def find_primary(sentinels: Sentinels) -> tuple[str, int]:
    """Host and port of the primary, from the first Sentinel that knows.

    Raises:
        ConnectionError: None of them does.
    """
    reasons: list[str] = []
    for host, port in sentinels.in_turn():
        try:
            async with asyncio.timeout(ANSWER_S_MAX):
                found = await _ask_sentinel(host, port, sentinels.service)
        except (RedisError, OSError, TimeoutError) as error:
            reasons.append(f"{host}:{port}: {str(error) or type(error).__name__}")
            continue
        if found is not None:
            return found
        reasons.append(f"{host}:{port} knows no such service")
    raise ConnectionBroken(
        f"no Sentinel names a primary of {sentinels.service!r} ({'; '.join(reasons)})"
    )


async def _ask_sentinel(host: str, port: int, service: str) -> tuple[str, int] | None:
    connection = Connection(host=host, port=port, **_UNBOUNDED)
    try:
        connect: Callable[[], Awaitable[None]] = connection.connect
        await connect()
        found = await _ask(connection, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", service)
    finally:
        with contextlib.suppress(RedisError, OSError):
            await connection.disconnect(nowait=True)
    return (found[0].decode(), int(found[1])) if found else None


async def _ask(connection: Connection, *command: str) -> list[bytes]:
    await connection.send_command(*command)
    read = cast("Callable[..., Awaitable[list[bytes]]]", connection.read_response)
    return await read(disable_decoding=True)


def make_pool(url: str) -> ConnectionPool:
    """A pool of connections to the store, redis-py's own time-outs and retries off.

    Args:
        url: `redis://`, `rediss://`, `unix://` or `redis+sentinel://`.

    Raises:
        ValueError: It is none of these.
    """
    sentinels = parse_sentinels(url)
    if sentinels is not None:
        return ConnectionPool(PrimaryConnection, sentinels=sentinels, **_UNBOUNDED)
    return ConnectionPool.from_url(  # pyright: ignore[reportUnknownMemberType] - its kwargs
        url, **_UNBOUNDED
    )


def make_client(url: str, *, call_s_max: float) -> Redis:
    """A client whose calls block, never retried; answers are bytes.

    Args:
        url: As for the store; with Sentinels it follows the primary.
        call_s_max: How long connecting, and each call, may take.

    Raises:
        ValueError: The URL is none.
    """
    bounds: dict[str, Argument] = {
        "socket_timeout": call_s_max,
        "socket_connect_timeout": call_s_max,
        "retry": BlockingRetry(NoBackoff(), 0),
    }
    sentinels = parse_sentinels(url)
    if sentinels is None:
        return Redis.from_url(  # pyright: ignore[reportUnknownMemberType] - its kwargs
            url, **bounds
        )
    asked: dict[str, Argument] = {
        **bounds,
        "socket_timeout": ANSWER_S_MAX,
        "socket_connect_timeout": ANSWER_S_MAX,
    }
    make_asker = cast("Callable[..., Sentinel]", Sentinel)
    asker = make_asker(sentinels.hosts, sentinel_kwargs=asked)
    primary_for = cast("Callable[..., Redis]", asker.master_for)  # pyright: ignore[reportUnknownMemberType] - its kwargs
    return primary_for(
        sentinels.service,
        username=sentinels.username,
        password=sentinels.password,
        **bounds,
    )
