"""What the server really keeps, against what `durability` promises."""

import time
from typing import cast

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ResponseError

import storage.keys as keys
from storage.config import StorageConfig
from storage.errors import DurabilityMismatch
from storage.link import read_reply
from storage.scripts import Scripts


async def check_durability(
    connection: AbstractConnection, scripts: Scripts, config: StorageConfig
) -> str:
    """Hold the server's CONFIG against the promise, on a fresh connection.

    Returns:
        The epoch: a new one if the server was restarted and may have lost commits.

    Raises:
        DurabilityMismatch: Strict is asked for and the server would lose acked writes.
    """
    if config.durability == "strict":
        appendonly = await _setting(connection, "appendonly")
        appendfsync = await _setting(connection, "appendfsync")
        if appendonly not in {"yes", None} or appendfsync not in {"always", None}:
            raise DurabilityMismatch(
                "durability=strict needs appendonly yes and appendfsync always; the server has "
                f"appendonly {appendonly} and appendfsync {appendfsync}. Change the server, or "
                f"set CONTEXTD_DURABILITY=standard."
            )
    run_id = await _run_id(connection)
    sha = scripts.sha("open")
    now_ms = time.time_ns() // 1_000_000
    await connection.send_command(
        "EVALSHA", sha, 1, keys.EPOCH, run_id, config.durability, now_ms
    )
    return str(await read_reply(connection))


async def _setting(connection: AbstractConnection, name: str) -> str | None:
    """A CONFIG value; None where the server does not tell (managed services, ACLs)."""
    await connection.send_command("CONFIG", "GET", name)
    try:
        reply = cast("list[bytes]", await read_reply(connection))
    except ResponseError:
        return None
    return reply[1].decode() if reply else None


async def _run_id(connection: AbstractConnection) -> str:
    await connection.send_command("INFO", "server")
    info = cast("bytes", await read_reply(connection))
    for line in info.split(b"\r\n"):
        if line.startswith(b"run_id:"):
            return line.removeprefix(b"run_id:").decode()
    return ""
