"""Answers are held until replicas have what they tell, and given to nobody where too few do."""

# pyright: reportUnknownMemberType=false
# redis-py leaves keyword arguments, and so every second method, partly untyped.
# pyright: reportPrivateUsage=false
# Some tests wait for what only the inside shows.

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Iterator
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
from hiredis import Reader
from pydantic import ValidationError
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as ConnectionBroken, ResponseError

from storage import Link, StorageConfig, StoreUnavailable, connect
from storage.address import make_pool
from storage.barrier import Barrier
from storage.link import open_link
from tests.storage.arranging import create, deliver
from tests.support.replicated_store import ReplicatedStore, replicated_store
from tests.support.service_processes import until as until_true

if TYPE_CHECKING:
    from redis.asyncio.connection import ConnectionPool

REPLICAS_S_MAX = 0.15

Command = list[bytes]


class ToldConnection:
    """Writes down each write, command by command, and answers what the test tells it to."""

    def __init__(self) -> None:
        self.writes: list[list[Command]] = []
        self.answers: asyncio.Queue[object] = asyncio.Queue()
        self.wrote = asyncio.Event()
        self.closed = asyncio.Event()
        self.late: tuple[object, ...] = ()
        """What comes while it is being closed, as for a read under way."""

    async def connect(self) -> None:
        pass

    async def send_packed_command(self, command: bytes, *, check_health: bool) -> None:
        reader = Reader()
        reader.feed(command)
        commands: list[Command] = []
        while isinstance(found := reader.gets(), list):
            commands.append(cast("Command", found))
        self.writes.append(commands)
        self.wrote.set()

    async def read_response(self, **_: object) -> object:
        answer = await self.answers.get()
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def disconnect(self, *, nowait: bool) -> None:
        self.closed.set()
        self.tell(*self.late)
        self.answers.put_nowait(ConnectionBroken("closed"))

    def tell(self, *answers: object) -> None:
        for answer in answers:
            self.answers.put_nowait(answer)


class Told:
    """A link with a barrier over connections that the test speaks for."""

    def __init__(self, *, replicas_min: int = 1, call_s_max: float = 5.0) -> None:
        self.connections: list[ToldConnection] = []
        self._another = asyncio.Event()
        pool = cast("ConnectionPool", SimpleNamespace(make_connection=self._make))
        barrier = Barrier(replicas_min, 0.25) if replicas_min else None
        self.link = Link(pool, call_s_max, 100, barrier=barrier)

    def _make(self) -> ToldConnection:
        self.connections.append(ToldConnection())
        if len(self.connections) > 1:
            self._another.set()
        return self.connections[-1]

    @property
    def connection(self) -> ToldConnection:
        """The newest."""
        return self.connections[-1]

    async def reconnected(self) -> None:
        """Wait until the first connection is closed, and another there."""
        async with asyncio.timeout(5):
            await self.connections[0].closed.wait()
            await self._another.wait()

    async def sent(self) -> None:
        """Wait until something has been written."""
        async with asyncio.timeout(5):
            await self.link.connected.wait()
            await self.connection.wrote.wait()
        self.connection.wrote.clear()


@contextlib.asynccontextmanager
async def told(*, replicas_min: int = 1, call_s_max: float = 5.0) -> AsyncGenerator[Told, None]:
    one = Told(replicas_min=replicas_min, call_s_max=call_s_max)
    async with open_link(one.link):
        await one.link.connected.wait()
        yield one


async def settle() -> None:
    """Let the reader read everything that it was told."""
    for _ in range(20):
        await asyncio.sleep(0)


BARRIER = [[b"PUBLISH", b"replicated", b""], [b"WAIT", b"1", b"250"]]


async def test_a_batch_leaves_in_one_write_with_one_barrier_behind_it() -> None:
    async with told() as one:
        calls = [one.link.call("SET", "a", n) for n in range(3)]
        await one.sent()
        commands = [[b"SET", b"a", b"%d" % n] for n in range(3)]
        assert one.connection.writes == [[*commands, *BARRIER]]
        one.connection.tell(b"OK", b"OK", b"OK", 0)
        await settle()
        assert not any(call.done() for call in calls)
        one.connection.tell(1)
        assert [await call for call in calls] == [b"OK"] * 3


async def test_without_replicas_to_wait_for_nothing_is_added() -> None:
    async with told(replicas_min=0) as one:
        call = one.link.call("GET", "a")
        await one.sent()
        assert one.connection.writes == [[[b"GET", b"a"]]]
        one.connection.tell(b"1")
        assert await call == b"1"


async def test_every_batch_has_its_own_barrier() -> None:
    async with told() as one:
        first = one.link.call("GET", "a")
        await one.sent()
        second = [one.link.call("GET", "b"), one.link.call("GET", "c")]
        await one.sent()
        one.connection.tell(b"1", 0, 2, b"2", b"3", 0)
        assert await first == b"1"
        await settle()
        assert not any(call.done() for call in second)
        one.connection.tell(1)
        assert [await call for call in second] == [b"2", b"3"]


async def test_an_error_is_its_own_calls_alone_and_held_as_well() -> None:
    async with told() as one:
        wrong, right = one.link.call("NONSENSE"), one.link.call("GET", "a")
        await one.sent()
        one.connection.tell(ResponseError("unknown command"), b"1", 0)
        await settle()
        assert not wrong.done()
        one.connection.tell(1)
        assert await right == b"1"
        with pytest.raises(ResponseError, match="unknown command"):
            await wrong


async def test_too_few_replicas_fail_the_whole_batch_and_the_connection() -> None:
    async with told(replicas_min=2) as one:
        calls = [one.link.call("SET", "a", "1"), one.link.call("NONSENSE")]
        await one.sent()
        behind = [one.link.call("GET", name) for name in "abc"]
        await one.sent()
        one.connection.tell(
            b"OK", ResponseError("unknown command"), 0, 1, b"1", b"2", b"3", 0, 2
        )
        for call in calls:
            with pytest.raises(StoreUnavailable, match="1 of 2 replicas have it"):
                await call
        for call in behind:
            with pytest.raises(StoreUnavailable, match="broke"):
                await call
        # The next one begins anew: what was under way has no place in its order.
        again = one.link.call("GET", "a")
        await one.reconnected()
        await one.sent()
        one.connection.tell(b"2", 0, 2)
        assert await again == b"2"


@pytest.mark.parametrize(
    "tail",
    [
        (0, ResponseError("WAIT cannot be used with replica instances")),
        (0, ResponseError("UNBLOCKED force unblock from blocking operation")),
        (ResponseError("NOPERM"), 1),
    ],
)
async def test_a_barrier_that_is_refused_fails_its_batch(tail: tuple[object, object]) -> None:
    async with told() as one:
        call = one.link.call("SET", "a", "1")
        await one.sent()
        one.connection.tell(b"OK", *tail)
        with pytest.raises(StoreUnavailable, match="nobody knows"):
            await call
        await one.reconnected()


async def test_a_connection_that_breaks_before_the_barrier_leaves_the_outcome_unknown() -> None:
    async with told() as one:
        call = one.link.call("SET", "a", "1")
        await one.sent()
        one.connection.tell(b"OK", 0, ConnectionBroken("cut"))
        with pytest.raises(StoreUnavailable, match="broke"):
            await call


async def test_a_barrier_that_is_never_answered_costs_the_time_of_a_call() -> None:
    async with told(call_s_max=0.2) as one:
        call = one.link.call("SET", "a", "1")
        await one.sent()
        one.connection.late = (1,)
        one.connection.tell(b"OK", 0)
        with pytest.raises(StoreUnavailable, match="in time"):
            await call
        again = one.link.call("GET", "a")
        await one.reconnected()
        await one.sent()
        one.connection.tell(b"2", 0, 1)
        assert await again == b"2"


async def test_cancelled_calls_leave_their_place_in_the_batch() -> None:
    async with told() as one:
        calls = [one.link.call("GET", name) for name in "abc"]
        await one.sent()
        calls[0].cancel()
        unsent = [one.link.call("GET", name) for name in "de"]
        unsent[0].cancel()
        await one.sent()
        assert one.connection.writes[1] == [[b"GET", b"e"], *BARRIER]
        one.connection.tell(b"a", b"b")
        await settle()
        calls[1].cancel()
        one.connection.tell(b"c", 0, 1, b"e", 0, 1)
        assert await calls[2] == b"c"
        assert await unsent[1] == b"e"


async def test_a_batch_of_cancelled_calls_is_not_sent_at_all() -> None:
    async with told() as one:
        one.link.call("GET", "a").cancel()
        await settle()
        call = one.link.call("GET", "b")
        await one.sent()
        assert one.connection.writes == [[[b"GET", b"b"], *BARRIER]]
        one.connection.tell(b"b", 0, 1)
        assert await call == b"b"


async def test_the_preparation_of_a_connection_waits_for_no_replica() -> None:
    async def prepare(connection: AbstractConnection) -> None:
        await connection.send_packed_command(b"*1\r\n$4\r\nECHO\r\n", check_health=False)

    one = Told()
    one.link.on_connect = prepare
    async with open_link(one.link):
        await one.link.connected.wait()
        assert one.connection.writes == [[[b"ECHO"]]]


def test_no_time_is_too_short_to_end() -> None:
    assert Barrier(1, 0.000_1).close(1) == Barrier(1, 0.001).close(1)


def test_replicas_have_less_time_than_a_call() -> None:
    StorageConfig(store_call_s_max=0.5)
    with pytest.raises(ValidationError, match="store_replicas_s_max"):
        StorageConfig(store_replicas_min=1, store_call_s_max=0.5)


# With a real primary and its replica


@pytest.fixture(scope="module")
def pair() -> Iterator[ReplicatedStore]:
    with replicated_store(replicas=1) as pair:
        yield pair


@pytest.fixture
def store(pair: ReplicatedStore) -> Iterator[ReplicatedStore]:
    """In sync, and so again afterwards."""
    with contextlib.closing(pair.primary.client()) as client:
        client.flushall()
    until_true(pair.in_sync, "a replica in sync")
    yield pair
    pair.replicas[0].resume()


@contextlib.asynccontextmanager
async def linked(
    store: ReplicatedStore, *, replicas_s_max: float = REPLICAS_S_MAX
) -> AsyncGenerator[Link, None]:
    link = Link(make_pool(store.primary.url), 5.0, 20_000, barrier=Barrier(1, replicas_s_max))
    async with open_link(link):
        await link.connected.wait()
        yield link


@pytest.mark.real_only
async def test_what_is_answered_is_on_the_replica(store: ReplicatedStore) -> None:
    with contextlib.closing(store.replicas[0].client()) as replica:
        async with linked(store, replicas_s_max=2.0) as link:
            for n in range(200):
                assert await link.call("INCR", "n") == n + 1
                assert replica.get("n") == f"{n + 1}"


@pytest.mark.real_only
async def test_ten_thousand_calls_keep_their_order_behind_barriers(
    store: ReplicatedStore,
) -> None:
    async with linked(store, replicas_s_max=4.0) as link:
        calls = [link.call("INCR", "n") for _ in range(10_000)]
        assert [await call for call in calls] == list(range(1, 10_001))


@pytest.mark.real_only
async def test_a_frozen_replica_fails_writes_in_time_and_service_comes_back(
    store: ReplicatedStore,
) -> None:
    async with linked(store) as link:
        assert await link.call("INCR", "n") == 1
        store.replicas[0].pause()
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match="0 of 1 replicas have it"):
            await link.call("INCR", "n")
        assert time.monotonic() - began < 5 * REPLICAS_S_MAX
        store.replicas[0].resume()
        async with asyncio.timeout(5):
            while True:
                with contextlib.suppress(StoreUnavailable):
                    assert int(cast("bytes", await link.call("GET", "n"))) == 2
                    break


@pytest.mark.real_only
async def test_nobody_is_shown_what_another_connection_wrote_and_no_replica_has(
    store: ReplicatedStore,
) -> None:
    """WAIT alone waits for the writes of its own connection."""
    async with linked(store) as link:
        store.replicas[0].pause()
        with contextlib.closing(store.primary.client()) as other:
            other.set("n", "1")
        with pytest.raises(StoreUnavailable, match="0 of 1"):
            await link.call("GET", "n")


@pytest.mark.real_only
async def test_p1_p2_a_repeated_action_is_acked_only_where_the_first_one_is_replicated(
    store: ReplicatedStore,
) -> None:
    config = StorageConfig(store_replicas_min=1, store_replicas_s_max=REPLICAS_S_MAX)
    async with (
        connect(store.primary.url, config) as first,
        connect(store.primary.url, config) as second,
    ):
        await create(first)
        store.replicas[0].pause()
        for gateway in (first, second, first, second):
            with pytest.raises(StoreUnavailable):
                await deliver(gateway, key="k")
        store.replicas[0].resume()
        until_true(store.in_sync, "a replica in sync")
        async with asyncio.timeout(5):
            while True:
                with contextlib.suppress(StoreUnavailable):
                    assert await deliver(second, key="k") == 1
                    break
