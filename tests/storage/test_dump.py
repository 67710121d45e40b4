"""A store's dump, and all of its keys copied, over real servers."""

# pyright: reportUnknownMemberType=false
# redis-py leaves keyword arguments, and so every second method, partly untyped.

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Iterator
from pathlib import Path
from typing import Any, Literal, cast

import pytest
from hiredis import Reader

from storage import (
    StorageConfig,
    StoreRefusedWrite,
    StoreTaken,
    StoreUnavailable,
    connect,
    dump,
    keys,
    replace_contents,
)
from storage.link import Argument, Link, Reply
from tests.storage.test_sealing import key_file
from tests.support.acl_store import acl_store
from tests.support.store_server import StoreServer

pytestmark = pytest.mark.real_only
CONFIG = StorageConfig()
ELEMENTS = 1_000
"""More than one page of each kind."""
LATER_MS = 4_000_000_000_000


@pytest.fixture(scope="module")
def source() -> Iterator[StoreServer]:
    """A server that holds keys of every type, some of many pages."""
    with StoreServer(repl_diskless_sync_delay="0") as server, server.client() as client:
        fill(client)
        yield server


@pytest.fixture(scope="module")
def target() -> Iterator[StoreServer]:
    with StoreServer() as server:
        yield server


def fill(client: Any) -> None:
    numbers = range(ELEMENTS)
    client.set("text", b"\xff\x00 bytes")
    client.set("mortal", "1", pxat=LATER_MS)
    client.hset("hash", mapping={f"f{n}": n for n in numbers})
    client.hset("small", mapping={"a": "1"})
    client.rpush("list", *numbers)
    client.sadd("set", *numbers)
    client.zadd("zset", {f"m{n}": n / 3 for n in numbers} | {"last": float("inf")})
    for n in numbers:
        client.xadd("stream", {"e": n, "": "empty"}, id=f"{n + 1}-0")
    client.xadd("emptied", {"e": 1}, id="7-0")
    client.xtrim("emptied", maxlen=0)
    for n in numbers:
        client.set(f"key:{n}", n)


def contents(server: StoreServer) -> dict[str, Any]:
    """Everything in a server, by key: the value, and when it goes."""
    found: dict[str, Any] = {}
    client: Any = server.client()
    client.connection_pool.connection_kwargs["encoding_errors"] = "surrogateescape"
    with client:
        for key in client.scan_iter(count=1_000):
            found[key] = (read(client, key), client.pexpiretime(key))
    return found


def read(client: Any, key: str) -> object:
    match client.type(key):
        case "string":
            return client.get(key)
        case "hash":
            return client.hgetall(key)
        case "list":
            return client.lrange(key, 0, -1)
        case "set":
            return client.smembers(key)
        case "zset":
            return client.zrange(key, 0, -1, withscores=True)
        case _:
            about = client.xinfo_stream(key)
            return client.xrange(key), about["last-generated-id"], about["groups"]


async def test_a_dump_loaded_by_a_server_is_the_same_store(source: StoreServer) -> None:
    before = contents(source)
    with StoreServer(appendonly="no", dbfilename="loaded.rdb") as other:
        other.stop()
        (other.data / "loaded.rdb").write_bytes(await whole_dump(source.url))
        other.start()
        assert contents(other) == before


async def whole_dump(url: str) -> bytes:
    async with contextlib.aclosing(dump(url)) as parts:
        return b"".join([part async for part in parts])


async def test_a_server_that_writes_its_copy_to_disk_first_gives_the_same() -> None:
    with StoreServer(repl_diskless_sync="no") as server, server.client() as client:
        client.set("a", "1")
        raw = await whole_dump(server.url)
    assert raw.startswith((b"REDIS", b"VALKEY"))
    assert raw[-9:-8] == b"\xff"  # the end, before the checksum


async def test_a_user_who_may_not_take_a_copy_is_told() -> None:
    with acl_store() as store, pytest.raises(StoreRefusedWrite, match="gives no copy"):
        await whole_dump(store.url("contextd"))


@contextlib.asynccontextmanager
async def scripted(
    copy: bytes, *, then: Literal["close", "abort", "hang"] = "close", silent_at: bytes = b""
) -> AsyncGenerator[tuple[str, list[list[bytes]]], None]:
    """A server that answers OK until it is asked for a copy; its url, and what it was asked."""
    asked: list[list[bytes]] = []
    gone = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        commands = Reader()
        while [b"SYNC"] not in asked and (read := await reader.read(1_000)):
            commands.feed(read)
            while (command := commands.gets()) is not False:
                asked.append(command)
                writer.write(b"" if command[0] in {silent_at, b"SYNC"} else b"+OK\r\n")
        writer.write(copy)
        if then == "abort":
            await writer.drain()
            writer.transport.abort()
        elif then == "hang":
            await reader.read()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        gone.set()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}", asked
        async with asyncio.timeout(10):
            await gone.wait()


async def test_a_copy_is_asked_for_as_it_is_made_and_without_what_follows() -> None:
    async with scripted(b"$5\r\nREDIS*1\r\n$4\r\nPING\r\n") as (url, asked):
        assert await whole_dump(url) == b"REDIS"
    assert asked[-3:] == [
        [b"REPLCONF", b"capa", b"eof"],
        [b"REPLCONF", b"rdb-only", b"1"],
        [b"SYNC"],
    ]


@pytest.mark.parametrize("begins", [b"$100", b"$EOF:" + b"m" * 40])
async def test_a_copy_of_many_parts_is_whole(
    monkeypatch: pytest.MonkeyPatch, begins: bytes
) -> None:
    monkeypatch.setitem(dump.__globals__, "PART_BYTES_MAX", 7)
    copy = begins + b"\r\n" + b"REDIS" * 20 + b"m" * 40
    async with scripted(copy, then="hang") as (url, _):
        assert await whole_dump(url) == b"REDIS" * 20


@pytest.mark.parametrize("then", ["close", "abort"])
@pytest.mark.parametrize(
    "copy", [b"", b"\n$EOF:" + b"m" * 40 + b"\r\nREDIS0011 and no more", b"$99\r\nREDIS"]
)
async def test_a_copy_that_breaks_off_is_none(
    copy: bytes, then: Literal["close", "abort"]
) -> None:
    async with scripted(copy, then=then) as (url, _):
        with pytest.raises(StoreUnavailable, match=r"broke off: .+"):
            await whole_dump(url)


@pytest.mark.parametrize("silent_at", [b"REPLCONF", b"SYNC", b""])
async def test_a_server_that_says_nothing_for_too_long_gives_no_copy(
    monkeypatch: pytest.MonkeyPatch, silent_at: bytes
) -> None:
    monkeypatch.setitem(dump.__globals__, "SILENT_S_MAX", 0.2)
    copy = b"" if silent_at else b"$99\r\nREDIS"
    async with scripted(copy, then="hang", silent_at=silent_at) as (url, _):
        with pytest.raises(StoreUnavailable, match="broke off: TimeoutError"):
            await whole_dump(url)


async def test_a_server_that_refuses_a_copy_says_why() -> None:
    async with scripted(b"-NOMASTERLINK Can\xff't SYNC\r\n") as (url, _):
        with pytest.raises(StoreRefusedWrite, match="gives no copy of its data: NOMASTERLINK"):
            await whole_dump(url)


async def test_of_a_server_that_is_not_there_there_is_no_copy(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="broke off"):
        await whole_dump(f"unix://{tmp_path}/nobody.sock")


async def test_all_keys_are_copied_with_their_types_and_times(
    source: StoreServer, target: StoreServer
) -> None:
    before = contents(source)
    await replace_contents(target.url, source.url, CONFIG, force=False)
    assert contents(target) == before
    assert contents(source) == before


async def test_keys_that_the_server_names_twice_are_copied_once(
    source: StoreServer, target: StoreServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    call, named = Link.call, list[bytes]()

    async def named_again(answer: asyncio.Future[Reply]) -> Reply:
        cursor, names = cast("tuple[bytes, list[bytes]]", await answer)
        named.extend(names)
        return (cursor, named) if cursor == b"0" else (cursor, names)

    def called(link: Link, *command: Argument) -> Awaitable[Reply]:
        answer = call(link, *command)
        return named_again(answer) if command[0] == "SCAN" else answer

    monkeypatch.setattr(Link, "call", called)
    await replace_contents(target.url, source.url, CONFIG, force=True)
    assert contents(target) == contents(source)


async def test_a_page_of_a_key_that_is_empty_is_none_to_be_written(
    source: StoreServer, target: StoreServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = Link.call

    async def empty() -> Reply:
        return (b"the first", list[bytes]())

    def called(link: Link, *command: Argument) -> Awaitable[Reply]:
        match command:
            case ("HSCAN" | "SSCAN", _, b"0", *_):
                return empty()
            case (scan, name, b"the first", *rest):
                return call(link, scan, name, b"0", *rest)
            case _:
                return call(link, *command)

    monkeypatch.setattr(Link, "call", called)
    await replace_contents(target.url, source.url, CONFIG, force=True)
    assert contents(target) == contents(source)


@pytest.mark.parametrize("kind", ["string", "stream"])
async def test_a_key_that_expires_while_it_is_copied_is_left_out(
    target: StoreServer, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    call = Link.call

    def expires_next(link: Link, *command: Argument) -> asyncio.Future[Reply]:
        answer = call(link, *command)
        if command == ("TYPE", b"mortal"):
            _gone = call(link, "DEL", "mortal")
        return answer

    monkeypatch.setattr(Link, "call", expires_next)
    with StoreServer() as server, server.client() as client, target.client() as other:
        client.set("other", "1")
        if kind == "string":
            client.set("mortal", "1", px=60_000)
        else:
            client.xadd("mortal", {"e": 1})
        await replace_contents(target.url, server.url, CONFIG, force=True)
        assert other.keys("*") == ["other"]


def taken(why: str) -> pytest.RaisesGroup[StoreTaken]:
    refused = pytest.RaisesExc(StoreTaken, match=why)
    return pytest.RaisesGroup(refused, flatten_subgroups=True)


async def test_what_is_there_is_replaced_by_force_only(
    source: StoreServer, target: StoreServer
) -> None:
    with target.client() as client:
        client.flushall()
        client.set("theirs", "1")
        with taken("there are keys in it"):
            await replace_contents(target.url, source.url, CONFIG, force=False)
        assert client.keys("*") == ["theirs"]
        await replace_contents(target.url, source.url, CONFIG, force=True)
        assert client.exists("theirs") == 0


async def test_what_is_replaced_goes_in_the_background_however_much_it_is(
    source: StoreServer, target: StoreServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    call, flushes = Link.call, list[tuple[Argument, ...]]()

    def noted(link: Link, *command: Argument) -> Awaitable[Reply]:
        if command[0] == "FLUSHDB":
            flushes.append(command)
        return call(link, *command)

    monkeypatch.setattr(Link, "call", noted)
    await replace_contents(target.url, source.url, CONFIG, force=True)
    assert flushes == [("FLUSHDB", "ASYNC")]


@pytest.mark.parametrize("encrypted", [False, True])
async def test_a_store_that_was_only_opened_is_empty(
    source: StoreServer, target: StoreServer, tmp_path: Path, *, encrypted: bool
) -> None:
    with target.client() as client:
        client.flushall()
    encryption = key_file(tmp_path, "new") if encrypted else None
    async with connect(target.url, CONFIG.model_copy(update={"encryption": encryption})):
        pass
    await replace_contents(target.url, source.url, CONFIG, force=False)
    assert contents(target) == contents(source)


async def test_a_store_that_gateways_ask_is_not_replaced_even_by_force(
    source: StoreServer, target: StoreServer
) -> None:
    with target.client() as client:
        client.flushall()
        async with connect(target.url, CONFIG) as store:
            store.begin("gateway", "g1", dict)
            await store.meters.report()
            with taken("gateways are at work on it"):
                await replace_contents(target.url, source.url, CONFIG, force=True)
            await store.leave()
            await replace_contents(target.url, source.url, CONFIG, force=True)


async def test_a_store_that_workers_live_on_is_not_replaced_even_by_force(
    source: StoreServer, target: StoreServer
) -> None:
    with target.client() as client:
        client.flushall()
        async with connect(target.url, CONFIG) as store:
            for now_ms, worker_id in enumerate(("w0", "w1"), 1):
                await store.sessions.renew(worker_id, now_ms=now_ms, begin=True)
            client.delete(keys.session("w0"))
            with taken("workers are at work on it"):
                await replace_contents(target.url, source.url, CONFIG, force=True)
        assert client.zrange("workers", 0, -1) == ["w0", "w1"]
        client.delete(keys.session("w1"))  # it was killed, and nobody has buried it
        await replace_contents(target.url, source.url, CONFIG, force=True)


def test_a_restored_store_begins_one_new_epoch(tmp_path: Path) -> None:
    async def story() -> None:
        async with connect(server.url, CONFIG) as store:
            first = int(store.epoch)
            await store.begin_epoch(now_ms=first + 5)
            await store.begin_epoch(now_ms=first + 9)
        server.restart()
        async with connect(server.url, CONFIG) as store:
            assert int(store.epoch) == first + 5

    with StoreServer() as server:
        asyncio.run(story())
