"""What a store's URL stands for; Sentinels that are silent, gone or have old news."""

# pyright: reportUnknownMemberType=false
# redis-py leaves keyword arguments, and so every second method, partly untyped.

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator
from typing import cast

import pytest
from hiredis import Reader
from redis.exceptions import ConnectionError as ConnectionBroken

from storage import Link, Listener, StorageConfig, connect, parse_sentinels
from storage.address import ANSWER_S_MAX, find_primary, make_pool
from storage.link import make_connection, open_link
from storage.sentinels import TLS_OPTIONS, Sentinels
from tests.support.service_processes import free_port
from tests.support.store_server import StoreServer


def test_a_url_names_sentinels_the_service_and_who_we_are_to_its_servers() -> None:
    url = "redis+sentinel://me:se%40same@one:1,two,[::1]:3/the%20main"
    found = parse_sentinels(url)
    assert found == Sentinels(
        (("one", 1), ("two", 26_379), ("::1", 3)), "the main", "me", "se@same"
    )
    assert "se@same" not in repr(found)
    assert parse_sentinels("redis+sentinel://one/main") == Sentinels((("one", 26_379),), "main")


@pytest.mark.parametrize("url", ["redis://one:1/0", "rediss://one", "unix:///a/store.sock"])
def test_other_urls_name_none(url: str) -> None:
    assert parse_sentinels(url) is None


@pytest.mark.parametrize(
    "url",
    [
        *(
            "redis://one?socket_timeout=1",
            "redis://one/0?decode_responses=True",
            "redis://one?x=",
        ),
        *("rediss://one?protocol=3", "unix:///a/store.sock?max_connections=1"),
        *("redis://one?ssl_ca_certs=ca.pem", "redis://one?db=1&nonsense=1"),
    ],
)
def test_an_address_asks_nothing_of_redis_py_that_is_ours_to_say(url: str) -> None:
    with pytest.raises(ValueError, match="its options are none but db"):
        parse_sentinels(url)


def test_an_address_names_its_database_by_a_number() -> None:
    for url in ("redis://one/main", "rediss://one/1x", "redis://one/0/1"):
        with pytest.raises(ValueError, match="number of a database"):
            parse_sentinels(url)
    for url in ("redis://one", "redis://one/", "redis://one/12", "unix:///a/b?db=3&password=x"):
        assert parse_sentinels(url) is None


def test_connections_take_each_option_that_an_address_may_have() -> None:
    values = {
        "ssl_cert_reqs": "required",
        "ssl_check_hostname": "True",
        "ssl_min_version": "771",
    }
    query = "&".join(f"{name}={values.get(name, 'x')}" for name in TLS_OPTIONS)
    connection = make_connection(make_pool(f"rediss://one?{query}&db=7"))
    assert connection.db == 7


def test_each_connection_begins_with_another_sentinel() -> None:
    asked = Sentinels((("a", 1), ("b", 2), ("c", 3)), "main")
    firsts = [asked.in_turn() for _ in range(4)]
    assert [turn[0][0] for turn in firsts] == ["a", "b", "c", "a"]
    assert all(sorted(turn) == sorted(asked.hosts) for turn in firsts)


class ToldSentinel:
    """Names what the test tells it; None: says nothing at all."""

    def __init__(self, primary: int | None, *, service: bytes = b"main") -> None:
        self.primary = primary
        self.port = free_port()
        self.asked = 0
        self._service = service
        self._writers: list[asyncio.StreamWriter] = []

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncGenerator[int, None]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        async with server:
            yield self.port
            for writer in self._writers:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        commands = Reader()
        while data := await reader.read(4096):
            commands.feed(data)
            while isinstance(command := commands.gets(), list):
                writer.write(self._answer(cast("list[bytes]", command)))

    def _answer(self, command: list[bytes]) -> bytes:
        if command[0] != b"SENTINEL":
            return b"+OK\r\n"
        self.asked += 1
        if self.primary is None:
            return b""
        if command[2] != self._service:
            return b"*-1\r\n"
        port = b"%d" % self.primary
        return b"*2\r\n$9\r\n127.0.0.1\r\n$%d\r\n%s\r\n" % (len(port), port)


def naming(*ports: int) -> Sentinels:
    return Sentinels(tuple(("127.0.0.1", port) for port in ports), "main")


def url_of(*ports: int) -> str:
    return f"redis+sentinel://{','.join(f'127.0.0.1:{port}' for port in ports)}/main"


async def test_sentinels_that_are_gone_silent_or_ignorant_hold_nobody_up() -> None:
    silent, ignorant = ToldSentinel(None), ToldSentinel(1, service=b"other")
    knowing = ToldSentinel(6379)
    async with silent.serving() as a, ignorant.serving() as b, knowing.serving() as c:
        began = time.monotonic()
        assert await find_primary(naming(free_port(), a, b, c)) == ("127.0.0.1", 6379)
        assert time.monotonic() - began < 2 * ANSWER_S_MAX
    assert (silent.asked, ignorant.asked, knowing.asked) == (1, 1, 1)


async def test_where_no_sentinel_knows_each_says_why() -> None:
    gone = free_port()
    async with ToldSentinel(None).serving() as a, ToldSentinel(1, service=b"x").serving() as b:
        with pytest.raises(ConnectionBroken) as caught:
            await find_primary(naming(a, b, gone))
    said = str(caught.value)
    assert "'main'" in said
    assert all(f"127.0.0.1:{port}" in said for port in (a, b, gone))
    assert f"{a}: TimeoutError" in said
    assert f"{b} knows no such service" in said


@pytest.mark.real_only
async def test_a_sentinel_with_old_news_is_passed_over() -> None:
    ports = [free_port(), free_port()]
    with (
        StoreServer(port=str(ports[0]), bind="127.0.0.1") as primary,
        StoreServer(port=str(ports[1]), bind="127.0.0.1") as former,
    ):
        with contextlib.closing(former.client()) as client:
            client.replicaof("127.0.0.1", "1")
        with contextlib.closing(primary.client()) as client:
            client.set("who", "primary")
        old, new = ToldSentinel(ports[1]), ToldSentinel(ports[0])
        async with old.serving() as a, new.serving() as b:
            link = Link(make_pool(url_of(a, b)), 5.0, 100)
            async with open_link(link):
                assert await link.call("GET", "who") == b"primary"
        assert (old.asked, new.asked) == (1, 1)


@pytest.mark.real_only
async def test_subscriptions_leave_a_primary_that_lives_on_alone() -> None:
    """Cut off from Sentinels and replicas, it says nothing more and breaks no connection."""
    ports = [free_port(), free_port()]
    with (
        StoreServer(port=str(ports[0]), bind="127.0.0.1") as former,
        StoreServer(port=str(ports[1]), bind="127.0.0.1") as later,
    ):
        sentinel = ToldSentinel(ports[0])
        heard: asyncio.Queue[bytes] = asyncio.Queue()
        async with (
            sentinel.serving() as port,
            connect(url_of(port), StorageConfig(durability="standard")) as store,
        ):
            await store.subscriber.subscribe("news", Listener(heard.put_nowait, lambda: None))
            sentinel.primary = ports[1]
            with contextlib.closing(former.client()) as client:
                # What a barrier does where too few replicas answer; subscriptions stay.
                client.client_kill_filter(_type="normal", skipme=True)
            with contextlib.closing(later.client()) as client:
                async with asyncio.timeout(5):
                    while client.publish("news", "from the later one") == 0:  # noqa: ASYNC110 - it is another process
                        await asyncio.sleep(0.01)
            async with asyncio.timeout(5):
                assert await heard.get() == b"from the later one"
