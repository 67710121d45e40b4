"""Everything that a store holds, as of one moment, while it goes on serving.

- The server forks and sends what a new replica would get, in its own format (RDB): a cut
  between two scripts, through all keys. Nothing is written on the server's machine.
- It is whole or it fails. What is loaded from it is checked once more by the server (CRC64).
- It takes the right to SYNC, which hosted services do not give.
"""

import asyncio
import contextlib
import operator
from collections.abc import AsyncGenerator, Sequence
from typing import Final, cast

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError, ResponseError

from storage.address import make_pool
from storage.errors import StoreRefusedWrite, StoreUnavailable
from storage.link import establish, make_connection, read_reply

SILENT_S_MAX: Final = 60.0
"""How long the server may say nothing; while it prepares it sends a newline every 10 s."""
PART_BYTES_MAX: Final = 1_048_576
_MARK_BYTES: Final = 40
_ANNOUNCED: Final[Sequence[tuple[str, ...]]] = (
    ("REPLCONF", "capa", "eof"),  # sent as it is made, not by way of the server's disk
    ("REPLCONF", "rdb-only", "1"),  # and nothing of what is written later
)


async def dump(url: str) -> AsyncGenerator[bytes, None]:
    """The store's contents in the server's own format, in parts.

    The server makes it in a process of its own, `repl-diskless-sync-delay` (5 s) after it was
    asked. Closing the generator ends that.

    Args:
        url: Of the store; with Sentinels it is the primary that is asked.

    Raises:
        StoreUnavailable: The connection broke, or the server was silent for too long.
        StoreRefusedWrite: Its user may not do this, or it is no primary.
    """
    connection = make_connection(make_pool(url))
    try:
        async with asyncio.timeout(SILENT_S_MAX):
            await establish(connection)
            for command in _ANNOUNCED:
                await connection.send_command(*command)
                await read_reply(connection)
            await connection.send_command("SYNC")
        async for part in _parts(connection):
            yield part
    except ResponseError as error:
        raise StoreRefusedWrite(f"it gives no copy of its data: {error}") from None
    except (RedisError, OSError, EOFError) as error:
        reason = str(error) or type(error).__name__
        raise StoreUnavailable(f"the copy of its data broke off: {reason}") from None
    finally:
        with contextlib.suppress(RedisError, OSError):
            await connection.disconnect(nowait=True)


async def _parts(connection: AbstractConnection) -> AsyncGenerator[bytes, None]:
    """What follows SYNC: so many bytes as it says, or bytes until a mark that it names."""
    # redis-py parses replies only, and what comes now is none.
    reader = cast("asyncio.StreamReader", operator.attrgetter("_reader")(connection))
    announced = b""
    while not announced:
        async with asyncio.timeout(SILENT_S_MAX):
            line = await reader.readuntil(b"\n")
        announced = line.strip()
    if not announced.startswith(b"$"):
        raise ResponseError(announced.removeprefix(b"-").decode(errors="replace"))
    mark = announced.removeprefix(b"$EOF:") if announced.startswith(b"$EOF:") else b""
    missing = None if mark else int(announced[1:])
    held = b""
    while missing is None or missing > 0:
        async with asyncio.timeout(SILENT_S_MAX):
            part = await reader.read(min(PART_BYTES_MAX, missing or PART_BYTES_MAX))
        if not part:
            raise EOFError("the server closed the connection")
        if missing is not None:
            missing -= len(part)
            yield part
            continue
        held += part
        if held.endswith(mark):
            if len(held) > _MARK_BYTES:
                yield held[:-_MARK_BYTES]
            return
        yield held[:-_MARK_BYTES]
        held = held[-_MARK_BYTES:]
