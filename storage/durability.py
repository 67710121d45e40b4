"""What the server really keeps, against what `durability` promises.

A promise that the server's CONFIG does not keep is refused at every connection. A server
that may have lost commits is given a new epoch, and with it every stream one reset:

- `standard`: each restart, for up to the last seconds may be gone;
- `strict`: a replica that was promoted, for what its primary answered may not have
  reached it. A restart keeps its epoch: everything answered is on disk.
"""

import contextlib
from collections.abc import Mapping
from typing import Final, cast

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ResponseError

import storage.keys as keys
from storage.config import StorageConfig
from storage.errors import DurabilityMismatch
from storage.link import Link, Reply, read_reply, refuses_writes
from storage.scripts import Scripts
from storage.times import unix_ms

NEVER_PROMOTED: Final = "-1"
"""`second_repl_offset` of a server that was never a replica."""


async def check_durability(
    connection: AbstractConnection, scripts: Scripts, config: StorageConfig
) -> str:
    """Hold the server's CONFIG against the promise, on a fresh connection.

    Returns:
        The epoch: a new one if the server was restarted and may have lost commits.

    Raises:
        DurabilityMismatch: Strict is asked for and the server would lose acked writes.
        ResponseError: It takes no writes and its epoch cannot be known without one.
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
    run_id = (await _info(connection, "server")).get("run_id", "")
    replication = await _info(connection, "replication")
    promoted = replication.get("second_repl_offset", NEVER_PROMOTED) != NEVER_PROMOTED
    sha = scripts.sha("open")
    now_ms = unix_ms()
    await connection.send_command(
        "EVALSHA", sha, 1, keys.EPOCH, run_id, config.durability, now_ms, int(promoted)
    )
    try:
        return str(await read_reply(connection))
    except ResponseError as error:
        if not refuses_writes(error):
            raise
        # Reads can go on, where the epoch is known to be the one that it was.
        strict = config.durability == "strict" and not promoted
        epoch = await _unchanged_epoch(connection, run_id, strict=strict)
        if epoch is None:
            raise
        return epoch


async def product_of(link: Link) -> str:
    """Which server it is, as in `Valkey 9.1.2`.

    Raises:
        StoreUnavailable: It does not answer.
    """
    info = _parse_info(cast("bytes", await link.call("INFO", "server")))
    if "valkey_version" in info:
        return f"Valkey {info['valkey_version']}"
    return f"Redis {info.get('redis_version', '')}".strip()


async def why_no_writes(link: Link) -> str | None:
    """Why the server takes no writes at the moment, as far as it tells; None if it does.

    Raises:
        StoreUnavailable: It does not answer.
    """
    info = _parse_info(cast("bytes", await link.call("INFO")))
    if info.get("role") == "slave":
        return "it is a read-only replica"
    if info.get("aof_last_write_status", "ok") != "ok":
        return "its append-only file cannot be written: disk full or failing"
    if info.get("rdb_last_bgsave_status", "ok") != "ok" and info.get("aof_enabled") == "0":
        return "its dump cannot be written: disk full or failing"
    bytes_max = int(info.get("maxmemory", "0"))
    if bytes_max and int(info.get("used_memory", "0")) > bytes_max:
        return "its memory is full (maxmemory)"
    if "min_slaves_good_slaves" in info:
        with contextlib.suppress(ResponseError):  # not everybody may ask for settings
            asked = await link.call("CONFIG", "GET", "min-replicas-to-write")
            if int(info["min_slaves_good_slaves"]) < int(_first_setting(asked) or 0):
                return "too few replicas are connected (min-replicas-to-write)"
    return None


async def _unchanged_epoch(
    connection: AbstractConnection, run_id: str, *, strict: bool
) -> str | None:
    """The epoch, if opening the store would not change it; as `open.lua` says."""
    await connection.send_command("HMGET", keys.EPOCH, "n", "run_id", "durability")
    n, seen, before = cast("list[bytes | None]", await read_reply(connection))
    kept = seen == run_id.encode() or (strict and before == b"strict")
    return n.decode() if n is not None and kept else None


async def _setting(connection: AbstractConnection, name: str) -> str | None:
    """A CONFIG value; None where the server does not tell (managed services, ACLs)."""
    await connection.send_command("CONFIG", "GET", name)
    try:
        return _first_setting(await read_reply(connection))
    except ResponseError:
        return None


def _first_setting(reply: Reply) -> str | None:
    pairs = cast("list[bytes]", reply)
    return pairs[1].decode() if pairs else None


async def _info(connection: AbstractConnection, section: str) -> Mapping[str, str]:
    await connection.send_command("INFO", section)
    return _parse_info(cast("bytes", await read_reply(connection)))


def _parse_info(raw: bytes) -> Mapping[str, str]:
    pairs = (line.partition(":") for line in raw.decode().splitlines())
    return {name: value for name, colon, value in pairs if colon}
