"""The shared connection: calls keep their answers whatever happens to callers and store."""

# pyright: reportUnknownMemberType=false
# redis-py leaves keyword arguments, and so every second method, partly untyped.
# pyright: reportPrivateUsage=false
# Some tests wait for what only the inside shows.

import asyncio
import contextlib
import gc
import random
import time
from collections.abc import AsyncGenerator, Callable
from itertools import pairwise
from types import SimpleNamespace
from typing import TYPE_CHECKING, Final, cast

import pytest
import structlog
from redis import Redis
from redis.exceptions import ResponseError

from storage import (
    Link,
    StorageConfig,
    StoreUnavailable,
    connect,
)
from storage.address import make_pool
from storage.link import RECONNECT_S_MIN, open_link
from tests.support.store_server import StoreServer

if TYPE_CHECKING:
    from redis.asyncio.connection import ConnectionPool

pytestmark = pytest.mark.real_only

CALL_S_MAX: Final = 1.0
RETURN_S_MAX: Final = 5.0
"""P15: service resumes so soon after the store's return."""


@contextlib.asynccontextmanager
async def linked(
    server: StoreServer, *, call_s_max: float = CALL_S_MAX, calls_max: int = 20_000
) -> AsyncGenerator[Link, None]:
    async with open_link(Link(make_pool(server.url), call_s_max, calls_max)) as link:
        yield link


async def answers(link: Link, what: str) -> None:
    """Wait until the store answers again."""
    async with asyncio.timeout(RETURN_S_MAX):
        while True:
            with contextlib.suppress(StoreUnavailable):
                assert await link.call("ECHO", what) == what.encode()
                return


async def test_ten_thousand_calls_at_once_keep_their_order(
    server: StoreServer, client: Redis
) -> None:
    async with linked(server, call_s_max=20.0) as link:
        calls = [link.call("INCR", "n") for _ in range(10_000)]
        assert [await call for call in calls] == list(range(1, 10_001))
        assert repr(link) == "<Link connected, 0 waiting, 0 sent>"


async def test_two_thousand_cancellations_never_mix_replies(
    server: StoreServer, client: Redis
) -> None:
    chance = random.Random(4)
    mixed: list[object] = []
    cancelled = answered = 0

    async def ask(link: Link, n: int) -> None:
        nonlocal answered, cancelled
        try:
            reply = await link.call("ECHO", f"{n}" * chance.randint(1, 400))
        except asyncio.CancelledError:
            cancelled += 1
            raise
        answered += 1
        assert isinstance(reply, bytes)
        if reply != f"{n}".encode() * (len(reply) // len(f"{n}")):
            mixed.append((n, reply))

    async with linked(server, call_s_max=20.0) as link:
        n = 0
        while cancelled < 2_000:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(ask(link, n + i)) for i in range(50)]
                for _ in range(chance.randint(0, 4)):
                    await asyncio.sleep(0)
                for task in chance.sample(tasks, 25):
                    task.cancel()
            n += 50
        assert await link.call("ECHO", "end") == b"end"
    assert mixed == []
    assert answered > 0


async def test_a_killed_store_fails_what_was_sent_and_gets_the_rest_on_its_return(
    server: StoreServer, client: Redis
) -> None:
    async with linked(server, call_s_max=10.0) as link:
        await link.connected.wait()
        server.pause()
        sent = link.call("INCR", "sent")
        await until(lambda: len(link._sent) == 1)
        server.kill()
        with pytest.raises(StoreUnavailable, match="broke"):
            await sent
        assert not link.connected.is_set()
        waiting = [link.call("INCR", "waiting") for _ in range(3)]
        server.start()
        began = time.monotonic()
        assert [await call for call in waiting] == [1, 2, 3]
        assert time.monotonic() - began < RETURN_S_MAX


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(RETURN_S_MAX):
        while not condition():  # noqa: ASYNC110 - another process rings no bell
            await asyncio.sleep(0.001)


async def test_calls_that_wait_too_long_for_a_store_fail(server: StoreServer) -> None:
    server.kill()
    try:
        async with linked(server) as link:
            began = time.monotonic()
            with pytest.raises(StoreUnavailable, match="no connection"):
                await link.call("PING")
            assert time.monotonic() - began < CALL_S_MAX * 1.5
    finally:
        server.start()


async def test_a_frozen_store_is_unavailable_in_time_and_comes_back(
    server: StoreServer, client: Redis
) -> None:
    async with linked(server) as link:
        await answers(link, "before")
        server.pause()
        began = time.monotonic()
        calls = [link.call("ECHO", f"{n}") for n in range(100)]
        for call in calls:
            with pytest.raises(StoreUnavailable):
                await call
        with pytest.raises(StoreUnavailable):
            await link.call("ECHO", "later")
        assert time.monotonic() - began < 2 * 1.3 * CALL_S_MAX
        server.resume()
        await answers(link, "after")


async def test_a_store_that_is_frozen_again_and_again_mixes_nothing(
    server: StoreServer, client: Redis
) -> None:
    """Late answers on a connection that was given up go nowhere."""
    mixed: list[object] = []
    right = 0

    async def ask(link: Link, n: int) -> None:
        nonlocal right
        for i in range(400):
            word = f"{n}.{i}"
            with contextlib.suppress(StoreUnavailable):
                reply = await link.call("ECHO", word)
                right += 1
                if reply != word.encode():
                    mixed.append((word, reply))

    async def freeze() -> None:
        for _ in range(4):
            await asyncio.sleep(0.05)
            server.pause()
            await asyncio.sleep(0.23)
            server.resume()

    async with linked(server, call_s_max=0.2) as link:
        await answers(link, "before")
        async with asyncio.TaskGroup() as group:
            group.create_task(freeze())
            for n in range(20):
                group.create_task(ask(link, n))
        await answers(link, "after")
    assert mixed == []
    assert right > 0


class LateConnection:
    """The first one made answers when it is closed, as a read under way may."""

    made = 0

    def __init__(self) -> None:
        LateConnection.made += 1
        self._answers: asyncio.Queue[bytes] = asyncio.Queue()
        self._late = LateConnection.made == 1
        self._closed = False

    async def connect(self) -> None:
        pass

    async def send_packed_command(self, command: bytes, *, check_health: bool) -> None:
        assert not self._closed
        if not self._late:
            self._answers.put_nowait(b"right")

    async def read_response(self, **_: object) -> bytes:
        return await self._answers.get()

    async def disconnect(self, *, nowait: bool) -> None:
        self._closed = True
        if self._late:
            self._answers.put_nowait(b"late")


async def test_an_answer_that_is_being_read_when_its_call_fails_goes_nowhere() -> None:
    pool = cast("ConnectionPool", SimpleNamespace(make_connection=LateConnection))
    async with open_link(Link(pool, 0.2, 10)) as link:
        with pytest.raises(StoreUnavailable, match="in time"):
            await link.call("PING")
        assert await link.call("PING") == b"right"


async def test_a_call_made_while_a_silent_connection_is_given_up_leaves_with_the_next(
    server: StoreServer, client: Redis
) -> None:
    async with linked(server) as link:
        await link.connected.wait()
        server.pause()
        with pytest.raises(StoreUnavailable, match="in time"):
            await link.call("PING")
        again = link.call("PING")
        server.resume()
        assert await again == b"PONG"


async def test_a_killed_connection_is_made_anew(server: StoreServer, client: Redis) -> None:
    async with linked(server) as link:
        await answers(link, "before")
        client.client_kill_filter(_type="normal", skipme=True)
        await answers(link, "after")


@pytest.mark.parametrize("event", ["store connection lost", "store subscription lost"])
async def test_a_store_that_is_away_is_told_of_once_for_each_reason(
    server: StoreServer, client: Redis, event: str
) -> None:
    async with connect(server.url, StorageConfig()) as store:
        for _ in range(2):
            with structlog.testing.capture_logs() as lines:
                server.kill()
                await asyncio.sleep(RECONNECT_S_MIN * 10)  # some tries
                server.start()
                await answers(store.link, "back")
            reasons = [line["error"] for line in lines if line["event"] == event]
            assert reasons
            assert any("connecting to" in reason for reason in reasons)
            assert all(one != other for one, other in pairwise(reasons))


async def test_calls_beyond_the_bound_fail_at_once(server: StoreServer, client: Redis) -> None:
    async with linked(server, calls_max=2) as link:
        calls = [link.call("PING"), link.call("PING")]
        with pytest.raises(StoreUnavailable, match="2 calls"):
            await link.call("PING")
        assert [await call for call in calls] == [b"PONG"] * 2
        assert await link.call("PING") == b"PONG"


async def test_a_call_that_is_not_answered_yet_counts_towards_the_bound(
    server: StoreServer, client: Redis
) -> None:
    async with linked(server, calls_max=2) as link:
        await link.connected.wait()
        server.pause()
        calls = [link.call("PING")]
        await until(lambda: len(link._sent) == 1)
        calls.append(link.call("PING"))
        with pytest.raises(StoreUnavailable, match="2 calls"):
            await link.call("PING")
        server.resume()
        assert [await call for call in calls] == [b"PONG"] * 2


async def test_an_error_is_its_own_calls_alone(server: StoreServer, client: Redis) -> None:
    async with linked(server) as link:
        calls = [link.call("ECHO", "a"), link.call("NONSENSE"), link.call("ECHO", "b")]
        assert await calls[0] == b"a"
        with pytest.raises(ResponseError, match="NONSENSE"):
            await calls[1]
        assert await calls[2] == b"b"


async def test_an_error_that_nobody_waits_for_any_more_is_no_complaint(
    server: StoreServer, client: Redis
) -> None:
    complaints: list[dict[str, object]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: complaints.append(context))
    async with linked(server) as link:
        forgotten = link.call("NONSENSE")
        await answers(link, "b")
        del forgotten
    gc.collect()
    assert complaints == []


async def test_a_closed_link_fails_what_is_left(server: StoreServer, client: Redis) -> None:
    async with linked(server) as link:
        await answers(link, "before")
        server.pause()
        sent = link.call("PING")
        await until(lambda: len(link._sent) == 1)
    with pytest.raises(StoreUnavailable):
        await sent
    with pytest.raises(StoreUnavailable, match="the link was closed"):
        await link.call("PING")  # nobody would ever answer


async def test_what_waits_for_a_connection_fails_when_the_link_is_closed(
    server: StoreServer,
) -> None:
    server.kill()
    try:
        async with linked(server) as link:
            await asyncio.sleep(0)  # it has begun
            waiting = link.call("PING")
    finally:
        server.start()
    assert waiting.done()
    with pytest.raises(StoreUnavailable, match="the link was closed"):
        await waiting


def test_the_bounds_are_those_of_the_settings() -> None:
    assert StorageConfig().store_call_s_max * 1.1 <= 6.0
