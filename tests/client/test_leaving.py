"""Who leaves, or closes a client, leaves nothing open, and nobody who waits is forgotten."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Generator
from contextlib import aclosing

from aiohttp import web

from contextd_client import (
    ClientLimits,
    Context,
    Contextd,
    Event,
    Hello,
    Snapshot,
    Unreachable,
)
from tests.client.cutting_proxy import CuttingProxy, open_proxy
from tests.client.made_up_server import (
    HELLO,
    SNAPSHOT,
    MadeUpServer,
    problem,
    streams,
)
from tests.client.patience import everything, impatient
from tests.support.service import eventually, serving


@contextlib.asynccontextmanager
async def behind_a_proxy(store_url: str) -> AsyncGenerator[tuple[CuttingProxy, Context], None]:
    """A proxy, and through it a context; nothing was sent there yet."""
    async with (
        serving(store_url) as service,
        open_proxy(service.client.url) as proxy,
        impatient(service.client.url) as steady,
        impatient(proxy.url) as client,
    ):
        yield proxy, client.context((await steady.create()).id)


async def no_connection_is_open(proxy: CuttingProxy) -> None:
    async def none_open() -> bool:
        return proxy.connections == 0

    await eventually(none_open)


async def test_a_stream_that_is_left_or_cancelled_leaves_nothing_open(store_url: str) -> None:
    async with behind_a_proxy(store_url) as (proxy, context):
        async with aclosing(context.stream()) as events:
            await anext(events)
            assert proxy.connections == 1
        await no_connection_is_open(proxy)
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(everything(context))
            await eventually(lambda: is_connected(proxy))
            watching.cancel()
        await no_connection_is_open(proxy)


async def is_connected(proxy: CuttingProxy) -> bool:
    return proxy.connections == 1


async def test_an_action_that_is_cancelled_leaves_nothing_open(store_url: str) -> None:
    async with behind_a_proxy(store_url) as (proxy, context):
        async with asyncio.TaskGroup() as group:
            sending = group.create_task(context.send_message("/hang", wait_s=30))
            await eventually(lambda: is_connected(proxy))
            sending.cancel()
        await no_connection_is_open(proxy)


async def test_a_client_that_is_closed_ends_its_streams(store_url: str) -> None:
    async with serving(store_url) as service, open_proxy(service.client.url) as proxy:
        async with impatient(proxy.url) as client:
            events = (await client.create()).stream()
            await anext(events)
        await no_connection_is_open(proxy)
        await events.aclose()


async def test_who_waits_in_a_stream_is_let_go_when_the_client_is_closed() -> None:
    server = MadeUpServer([streams(HELLO, SNAPSHOT, hangs=True)])
    async with server.served() as url, impatient(url) as client, asyncio.timeout(5):
        events = client.context("c1").stream()
        assert [type(await anext(events)) for _ in range(2)] == [Hello, Snapshot]
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(everything_of(events))
            await asyncio.sleep(0)
            await client.close()
        assert waiting.result() == []


async def test_a_client_that_is_closed_between_two_tries_tries_no_more() -> None:
    server = MadeUpServer([problem(503, "draining")])

    async def close(_wait_s: float) -> None:
        await client.close()

    async with server.served() as url:
        client = Contextd(url, sleep=close)
        assert await everything(client.context("c1")) == []
        client = Contextd(url, sleep=close)
        assert isinstance(await error_of(client.context("c1").state()), Unreachable)
    assert len(server.asked) == 2


async def everything_of(events: AsyncIterator[Event]) -> list[Event]:
    return [event async for event in events]


async def test_who_waits_for_an_answer_is_told_when_the_client_is_closed() -> None:
    server = MadeUpServer([never])
    async with server.served() as url, impatient(url) as client, asyncio.timeout(5):
        context = client.context("c1")
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(error_of(context.state()))
            watching = group.create_task(everything(context))
            await eventually(lambda: has_been_asked(server, 2))
            await client.close()
        assert isinstance(asking.result(), Unreachable)
        assert watching.result() == []


async def test_a_request_beyond_the_bound_of_connections_waits_until_one_ends() -> None:
    server = MadeUpServer([streams(HELLO, hangs=True)])
    limits = ClientLimits(connections_max=1)
    async with server.served() as url, impatient(url, limits=limits) as client:
        context = client.context("c1")
        async with aclosing(context.stream()) as events, asyncio.timeout(5):
            await anext(events)
            async with asyncio.TaskGroup() as group:
                asking = group.create_task(error_of(context.state()))
                await asyncio.sleep(0.1)
                assert len(server.asked) == 1
                await client.close()
            assert isinstance(asking.result(), Unreachable)


@contextlib.contextmanager
def taking_no_connection() -> Generator[str, None, None]:
    """An address where connections wait to be taken, and nobody takes them."""
    with contextlib.ExitStack() as held:
        listening = held.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(4):  # what there is place for, and more
            waiting = held.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listening.getsockname())
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


async def test_a_connection_that_is_not_taken_is_waited_for_no_longer_than_its_bound() -> None:
    limits = ClientLimits(connect_s_max=0.05, first_tries_max=2)
    with taking_no_connection() as url:
        async with impatient(url, limits=limits) as client, asyncio.timeout(5):
            assert isinstance(await error_of(client.context("c1").state()), Unreachable)
            assert isinstance(await error_of(everything(client.context("c1"))), Unreachable)


async def test_who_waits_for_a_connection_is_told_when_the_client_is_closed() -> None:
    with taking_no_connection() as url:
        async with impatient(url) as client, asyncio.timeout(5):
            context = client.context("c1")
            async with asyncio.TaskGroup() as group:
                asking = group.create_task(error_of(context.state()))
                watching = group.create_task(everything(context))
                await asyncio.sleep(0.1)
                await client.close()
            assert isinstance(asking.result(), Unreachable)
            assert watching.result() == []


async def has_been_asked(server: MadeUpServer, times: int) -> bool:
    return len(server.asked) == times


async def error_of(work: Awaitable[object]) -> Exception | None:
    try:
        await work
    except Unreachable as error:
        return error
    return None


async def never(_request: web.Request) -> web.StreamResponse:
    """An answer that does not come."""
    await asyncio.Event().wait()
    raise AssertionError
