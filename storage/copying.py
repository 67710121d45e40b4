"""Copies all keys of one server into another, whatever versions and products the two are.

- Keys are read with the commands of their types: what DUMP of Valkey 9 gives, no Redis takes.
- They are read one after another, so it has to be a server that nobody writes to.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from typing import Final, cast

from redis.exceptions import ResponseError

import storage.keys as keys
from storage.address import make_pool
from storage.config import StorageConfig
from storage.errors import StoreTaken
from storage.link import Argument, Link, open_link

KEYS_AT_ONCE: Final = 64
"""Keys that are copied at the same time."""
PAGE: Final = 128
"""Elements of one key that are moved together; an event may have some 100 KB."""


async def replace_contents(
    url: str, source_url: str, config: StorageConfig, *, force: bool
) -> None:
    """Copy everything that one server holds into another.

    Cancelled or broken off, it leaves a part of the copy behind.

    Args:
        url: Of the server that is written to.
        source_url: Of the one that is read; nobody else may write to it.
        config: Bounds of the calls.
        force: Delete first what is there.

    Raises:
        ExceptionGroup: Of StoreTaken where there is something, and no `force`, or gateways or
            workers live on it, and nothing was written; else of StoreUnavailable or
            StoreRefusedWrite, and a part may have been copied.
    """
    async with _opened(source_url, config) as source, _opened(url, config) as target:
        if await _lives(target, keys.WORKERS, keys.session):
            raise StoreTaken("workers are at work on it")
        if await _lives(target, keys.PROCESSES, keys.process):
            raise StoreTaken("gateways are at work on it")  # they would not hear of the epoch
        if not force and not await _is_empty(target):
            raise StoreTaken("there are keys in it")
        await target.call("FLUSHDB", "ASYNC")  # all of it may take longer than a call
        cursor = b""
        while cursor != b"0":
            reply = await source.call("SCAN", cursor or b"0", "COUNT", KEYS_AT_ONCE)
            cursor, names = cast("tuple[bytes, list[bytes]]", reply)
            async with asyncio.TaskGroup() as group:
                for name in names:
                    group.create_task(_copy(source, target, name), name="copy-key")


@contextlib.asynccontextmanager
async def _opened(url: str, config: StorageConfig) -> AsyncGenerator[Link, None]:
    """A link that leaves nothing on the server, as `connect` does."""
    link = Link(make_pool(url), config.store_call_s_max, config.store_calls_max)
    async with open_link(link):
        yield link


async def _lives(link: Link, listed: str, sign: Callable[[str], str]) -> bool:
    """Whether one of those that are listed has said lately that it lives."""
    ids = cast("list[bytes]", await link.call("ZRANGE", listed, 0, -1))
    signs = [sign(each.decode()) for each in ids]
    return bool(signs) and bool(await link.call("EXISTS", *signs))


async def _is_empty(link: Link) -> bool:
    """Whether a server holds nothing but what the first look at it has left there."""
    return await link.call("DBSIZE") == await link.call("EXISTS", keys.EPOCH, keys.SEALED)


async def _copy(source: Link, target: Link, name: bytes) -> None:
    kind = cast("bytes", await source.call("TYPE", name))
    expires_ms = cast("int", await source.call("PEXPIRETIME", name))
    await target.call("DEL", name)  # SCAN may name it twice
    match kind:
        case b"string":
            value = cast("bytes | None", await source.call("GET", name))
            if value is not None:  # else it has expired meanwhile
                await target.call("SET", name, value)
        case b"list":
            async for page in _pages(source, "LRANGE", name):
                await target.call("RPUSH", name, *page)
        case b"zset":
            async for page in _pages(source, "ZRANGE", name, "WITHSCORES"):
                await target.call("ZADD", name, *_swapped(page))
        case b"hash":
            async for page in _scanned(source, "HSCAN", name):
                await target.call("HSET", name, *page)
        case b"set":
            async for page in _scanned(source, "SSCAN", name):
                await target.call("SADD", name, *page)
        case b"stream":
            await _copy_stream(source, target, name)
        case _:
            return  # it has expired meanwhile
    if expires_ms > 0:
        await target.call("PEXPIREAT", name, expires_ms)


async def _copy_stream(source: Link, target: Link, name: bytes) -> None:
    """A stream's entries under their numbers; the next number too, where it is empty."""
    try:
        about = cast("list[object]", await source.call("XINFO", "STREAM", name))
    except ResponseError:
        return  # it has expired meanwhile
    await target.call("XGROUP", "CREATE", name, "made", "$", "MKSTREAM")
    await target.call("XGROUP", "DESTROY", name, "made")
    start = b"-"
    while True:
        reply = await source.call("XRANGE", name, start, "+", "COUNT", PAGE)
        entries = cast("list[tuple[bytes, list[bytes]]]", reply)
        if not entries:
            break
        for added in [target.call("XADD", name, at, *fields) for at, fields in entries]:
            await added
        start = b"(" + entries[-1][0]
    told = dict(zip(about[::2], about[1::2], strict=True))
    await target.call("XSETID", name, cast("bytes", told[b"last-generated-id"]))


async def _pages(
    source: Link, command: str, name: bytes, *options: str
) -> AsyncIterator[Sequence[bytes]]:
    """The elements of a list or sorted set, in order."""
    at = 0
    while True:
        reply = await source.call(command, name, at, at + PAGE - 1, *options)
        page = cast("list[bytes]", reply)
        if not page:
            return
        yield page
        at += PAGE


async def _scanned(source: Link, command: str, name: bytes) -> AsyncIterator[Sequence[bytes]]:
    """The elements of a hash or set; some may come twice."""
    cursor = b""
    while cursor != b"0":
        reply = await source.call(command, name, cursor or b"0", "COUNT", PAGE)
        cursor, page = cast("tuple[bytes, list[bytes]]", reply)
        if page:
            yield page


def _swapped(pairs: Sequence[bytes]) -> Iterator[Argument]:
    """Pairs (member, score) turned around: ZADD takes scores first."""
    for member, score in zip(pairs[::2], pairs[1::2], strict=True):
        yield from (score, member)
