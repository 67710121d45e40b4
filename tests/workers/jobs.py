"""What the tests of jobs share: the queue over a real server, and stock rq beside it."""

# pyright: reportUnknownMemberType=false
# redis-py and rq leave keyword arguments, and so every second method, partly untyped.

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Callable
from typing import cast

from redis import Redis

from storage import ActivationQueue, Link
from storage.address import make_pool
from storage.link import open_link
from storage.scripts import Scripts
from tests.support.store_server import StoreServer
from workers.dequeue import ActivationSource, open_source

DEADLINE_S = 40.0


@contextlib.asynccontextmanager
async def open_queue(
    server: StoreServer, *, call_s_max: float = 5.0
) -> AsyncGenerator[ActivationQueue, None]:
    scripts = Scripts()
    link = Link(make_pool(server.url), call_s_max, 20_000, on_connect=scripts.load)
    async with open_link(link):
        yield ActivationQueue(link, scripts, failed_job_s=60)


@contextlib.asynccontextmanager
async def open_both(
    server: StoreServer, worker_id: str = "w1", *, call_s_max: float = 5.0
) -> AsyncGenerator[tuple[ActivationQueue, ActivationSource], None]:
    async with (
        open_queue(server, call_s_max=call_s_max) as queue,
        open_source(queue, worker_id) as source,
    ):
        yield queue, source


def rq_client(server: StoreServer) -> Redis:
    return Redis(unix_socket_path=str(server.socket))


def queued(store: Redis) -> list[str]:
    return cast("list[str]", store.lrange("rq:queue:contextd", 0, -1))


async def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.002)


def blocked_clients(store: Redis) -> int:
    return cast("dict[str, int]", store.info("clients"))["blocked_clients"]


async def until_blocked(store: Redis, count: int) -> None:
    await until(lambda: blocked_clients(store) == count)


async def rq_info(server: StoreServer) -> tuple[list[str], list[str]]:
    """What stock `rq info` says about queues and about workers."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "rq.cli", "info", "--raw", "--url", server.url),
        stdout=subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    lines = out.decode().splitlines()
    return (
        [line.removeprefix("queue ") for line in lines if line.startswith("queue ")],
        [line for line in lines if line.startswith("worker ")],
    )
