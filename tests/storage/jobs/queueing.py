"""The rq queue of activations over a real server, and ways to see it with rq's own eyes."""

# pyright: reportUnknownMemberType=false
# redis-py and rq leave keyword arguments, and so every second method, partly untyped.

import contextlib
from collections.abc import AsyncGenerator, Callable
from datetime import datetime
from typing import cast

from redis import Redis
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.utils import now

from storage import ActivationQueue, Link, keys
from storage.address import make_pool
from storage.enqueue import TakenJob
from storage.link import open_link
from storage.scripts import Scripts
from tests.support.store_server import StoreServer


@contextlib.asynccontextmanager
async def open_queue(
    server: StoreServer, *, failed_jobs_max: int = 1_000, clock: Callable[[], datetime] = now
) -> AsyncGenerator[ActivationQueue, None]:
    scripts = Scripts()
    link = Link(make_pool(server.url), 5.0, 20_000, on_connect=scripts.load)
    async with open_link(link):
        yield ActivationQueue(
            link, scripts, failed_job_s=60, failed_jobs_max=failed_jobs_max, clock=clock
        )


def live(store: Redis, *worker_ids: str) -> None:
    for worker_id in worker_ids:
        store.set(keys.session(worker_id), 1)


def queued(store: Redis) -> list[str]:
    return cast("list[str]", store.lrange("rq:queue:contextd", 0, -1))


def rq_client(server: StoreServer) -> Redis:
    return Redis(unix_socket_path=str(server.socket))


def fetch(server: StoreServer, context_id: str) -> Job:
    return Job.fetch(
        f"activate-{context_id}", connection=rq_client(server), serializer=JSONSerializer
    )


def ids(jobs: list[TakenJob]) -> list[str]:
    return [job.job_id.removeprefix("activate-") for job in jobs]
