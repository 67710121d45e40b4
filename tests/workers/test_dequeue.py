"""The rq worker and its source of activations, over a real server and beside stock rq."""

# pyright: reportUnknownMemberType=false
# redis-py and rq leave keyword arguments, and so every second method, partly untyped.

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from pathlib import Path
from typing import cast

import pytest
from redis import Redis
from redis.exceptions import RedisError
from rq import Queue
from rq.job import Job
from rq.registry import FailedJobRegistry
from rq.serializers import DefaultSerializer, JSONSerializer
from rq.utils import import_attribute
from rq.worker import Worker

from storage import (
    ActivationQueue,
    Link,
    StoreRefusedWrite,
    StoreUnavailable,
    WorkerBuried,
    keys,
)
from storage.address import make_pool
from storage.barrier import Barrier
from storage.link import open_link
from storage.scripts import Scripts
from tests.support.store_server import StoreServer
from workers.dequeue import (
    ALLOWED,
    ActivationSource,
    Chore,
    ContextWorker,
    activate,
    open_source,
    open_worker,
)

pytestmark = pytest.mark.real_only

DEADLINE_S = 40.0


@pytest.fixture(scope="module")
def server() -> Iterator[StoreServer]:
    with StoreServer() as server:
        yield server


@pytest.fixture
def store(server: StoreServer) -> Iterator[Redis]:
    """An empty store with two living workers, to arrange and to look at."""
    client = server.client()
    client.flushall()
    for worker_id in ("w1", "w2"):
        client.set(keys.session(worker_id), 1)
    yield client
    client.close()


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


def blocked_clients(store: Redis) -> int:
    return cast("dict[str, int]", store.info("clients"))["blocked_clients"]


async def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.002)


async def until_blocked(store: Redis, count: int) -> None:
    await until(lambda: blocked_clients(store) == count)


def last_heartbeat(store: Redis) -> object:
    return store.hget("rq:worker:w1", "last_heartbeat")


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


async def test_stock_rq_info_tells_the_truth_at_every_step(
    server: StoreServer, store: Redis
) -> None:
    async with open_worker(server.url, "w1"), open_both(server) as (queue, source):
        for context_id in ("c1", "c2", "c3"):
            await queue.enqueue(context_id)
        queues, (worker,) = await rq_info(server)
        assert queues == ["contextd 3, 0 executing, 0 finished, 0 failed"]
        assert worker.startswith("worker w1 (")
        assert str(os.getpid()) in worker
        assert worker.endswith(" idle contextd. jobs: 0 finished, 0 failed")

        assert await source.take(2) == ["c1", "c2"]
        queues, (worker,) = await rq_info(server)
        assert queues == ["contextd 1, 2 executing, 0 finished, 0 failed"]
        assert worker.endswith(" busy contextd. jobs: 0 finished, 0 failed")
        (seen,) = Worker.all(connection=rq_client(server))
        assert seen.get_current_job_id() == "activate-c2"

        await source.finish("c2")
        queues, (worker,) = await rq_info(server)
        assert queues == ["contextd 1, 1 executing, 0 finished, 0 failed"]
        assert worker.endswith(" busy contextd. jobs: 1 finished, 0 failed")
        assert seen.get_current_job_id() == "activate-c1"

        await source.fail("c1", "Traceback: it broke")
        queues, (worker,) = await rq_info(server)
        assert queues == ["contextd 1, 0 executing, 0 finished, 1 failed"]
        assert worker.endswith(" idle contextd. jobs: 1 finished, 1 failed")
        assert seen.get_current_job_id() is None
    assert await rq_info(server) == (["contextd 1, 0 executing, 0 finished, 1 failed"], [])


async def test_a_chore_is_one_job_that_rq_shows_and_that_ends_or_fails(
    server: StoreServer, store: Redis
) -> None:
    async with open_worker(server.url, "w1"), open_both(server) as (queue, source):
        assert await queue.enqueue_chore("retention")
        assert await queue.enqueue_chore("webhooks", "c1")
        assert not await queue.enqueue_chore("webhooks", "c1")
        chores = [Chore("retention", ""), Chore("webhooks", "c1")]
        assert await source.take(10) == chores
        assert not await queue.enqueue_chore("retention")
        queues, _ = await rq_info(server)
        assert queues == ["contextd 0, 2 executing, 0 finished, 0 failed"]
        await source.end_chore(chores[0], None)
        await source.end_chore(chores[1], "It broke.")
        queues, _ = await rq_info(server)
        assert queues == ["contextd 0, 0 executing, 0 finished, 1 failed"]
        assert await queue.enqueue_chore("webhooks", "c1")
        queues, _ = await rq_info(server)
        assert queues == ["contextd 1, 0 executing, 0 finished, 0 failed"]


async def test_a_periodic_chore_is_enqueued_once_a_period_however_many_ask(
    server: StoreServer, store: Redis
) -> None:
    async with open_both(server) as (queue, source), open_queue(server) as other:
        asked = [await each.enqueue_each("retention", period_s=60) for each in (queue, other)]
        assert asked == [True, False]
        assert await source.take(10) == [Chore("retention", "")]
        await source.end_chore(Chore("retention", ""), None)
        assert not await other.enqueue_each("retention", period_s=60)
        store.delete(keys.chore("retention"))
        assert await other.enqueue_each("retention", period_s=60)


async def test_the_chore_of_a_dead_worker_fails_and_is_asked_for_anew(
    server: StoreServer, store: Redis
) -> None:
    async with open_both(server) as (queue, source):
        await queue.enqueue_chore("webhooks", "c1")
        await source.take(1)
        store.delete(keys.session("w1"))
        await queue.forget_worker("w1")
        assert await rq_info(server) == (["contextd 0, 0 executing, 0 finished, 1 failed"], [])
        assert await queue.enqueue_chore("webhooks", "c1")
    async with open_both(server, "w2") as (_, source):
        assert await source.take(10) == [Chore("webhooks", "c1")]


async def test_rq_info_shows_nothing_of_a_dead_worker_once_it_is_forgotten(
    server: StoreServer, store: Redis
) -> None:
    dead = await asyncio.to_thread(
        ContextWorker.connect, server.url, "w1", heartbeat_s=15.0, call_s_max=5.0
    )
    await asyncio.to_thread(dead.register)
    dead.connection.close()
    async with open_both(server) as (queue, source):
        await queue.enqueue("with-mail")
        await queue.enqueue("without")
        await source.take(2)
        store.zadd(keys.READY, {"with-mail": 1})
        store.delete(keys.session("w1"))
        await queue.forget_worker("w1")
        with pytest.raises(WorkerBuried):
            await source.take(1)
    assert await rq_info(server) == (["contextd 1, 0 executing, 0 finished, 0 failed"], [])
    async with open_both(server, "w2") as (_, source):
        assert await source.take(10) == ["with-mail"]


def test_the_functions_that_jobs_name_exist_and_no_others_are_allowed() -> None:
    chores = {ActivationQueue.chore_function(name) for name in ActivationQueue.CHORES}
    assert {ActivationQueue.FUNCTION, *chores} == ALLOWED
    assert import_attribute(ActivationQueue.FUNCTION) is activate
    with pytest.raises(RuntimeError, match="by a worker of contextd only"):
        activate("c1")
    for name, is_about_one in ActivationQueue.CHORES.items():
        chore = import_attribute(ActivationQueue.chore_function(name))
        with pytest.raises(RuntimeError, match="worker of contextd"):
            chore(*(["c1"] if is_about_one else []))


def foreign_json(queue: Queue) -> Job:
    return queue.enqueue("os.system", f"touch {MARK}")


def foreign_pickle(queue: Queue) -> Job:
    queue.serializer = DefaultSerializer
    return queue.enqueue("os.system", f"touch {MARK}")


def foreign_trap(queue: Queue) -> Job:
    """Whoever so much as reads it as rq does by default has run it."""
    job = Job.create("x", connection=queue.connection, serializer=JSONSerializer, id="trap")
    job.data = f"cos\nsystem\n(S'touch {MARK}'\ntR.".encode()
    return queue.enqueue_job(job)


def foreign_method(queue: Queue) -> Job:
    job = Job.create("x", connection=queue.connection, serializer=JSONSerializer, id="method")
    job.data = json.dumps([ActivationQueue.FUNCTION, "instance", [], {}]).encode()
    return queue.enqueue_job(job)


def foreign_id(queue: Queue) -> Job:
    return queue.enqueue(ActivationQueue.FUNCTION, context_id="c1")


def foreign_in_disguise(queue: Queue) -> Job:
    return queue.enqueue("os.system", context_id="c1", job_id="activate-c1")


def foreign_chore(queue: Queue) -> Job:
    return queue.enqueue(ActivationQueue.chore_function("retention"), context_id="c1")


def foreign_chore_id(queue: Queue) -> Job:
    return queue.enqueue(
        ActivationQueue.chore_function("retention"), job_id="maintain-webhooks"
    )


def foreign_bomb(queue: Queue) -> Job:
    return queue.enqueue(ActivationQueue.FUNCTION, context_id="c" * 50_000_000)


MARK = Path("ran-by-a-foreign-job")


@pytest.mark.parametrize(
    ("enqueue", "why"),
    [
        (foreign_json, "names os.system, which is not on the worker's allow-list"),
        (foreign_pickle, "not JSON"),
        (foreign_trap, "not JSON"),
        (foreign_method, "is not activate(context_id=...)"),
        (foreign_id, "id is not activate-c1"),
        (foreign_in_disguise, "names os.system"),
        (foreign_chore, "and no chore"),
        (foreign_chore_id, "id is not maintain-retention"),
        (foreign_bomb, "not JSON"),
    ],
)
async def test_a_foreign_job_is_never_run_and_is_seen_as_failed(
    server: StoreServer,
    store: Redis,
    enqueue: Callable[[Queue], Job],
    why: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    client = rq_client(server)
    job = enqueue(Queue("contextd", connection=client, serializer=JSONSerializer))
    async with open_both(server) as (queue, source):
        await queue.enqueue("good")
        assert await source.take(10) == ["good"]
    assert FailedJobRegistry("contextd", connection=client).get_job_ids() == [job.id]
    result = Job.fetch(job.id, connection=client, serializer=JSONSerializer).latest_result()
    assert result is not None
    assert result.exc_string is not None
    assert why in result.exc_string
    assert not (tmp_path / MARK).exists()


async def test_a_failed_job_that_an_operator_requeues_is_taken(
    server: StoreServer, store: Redis
) -> None:
    async with open_both(server) as (queue, source):
        await queue.enqueue("c1")
        await source.take(1)
        await source.fail("c1", "broken")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "rq.cli", "requeue", "--all", "--queue", "contextd"),
            *("--serializer", "json", "--url", server.url),
            stdout=subprocess.DEVNULL,
        )
        assert await process.wait() == 0
        assert await source.take(1) == ["c1"]
        assert store.ttl("rq:job:activate-c1") == -1
        await source.finish("c1")
    assert store.zcard("rq:failed:contextd") == 0


async def test_take_waits_for_a_job_and_wakes_for_it(server: StoreServer, store: Redis) -> None:
    async with open_both(server) as (queue, source), asyncio.TaskGroup() as group:
        taking = group.create_task(source.take(5))
        await until_blocked(store, 1)
        await queue.enqueue("c1")
        assert await taking == ["c1"]


async def test_peeks_change_nothing_in_the_queue(server: StoreServer, store: Redis) -> None:
    key = ActivationQueue.KEY
    peek = ("BLMOVE", key, key, "RIGHT", "RIGHT", 5)
    async with open_queue(server) as one, open_queue(server) as other:
        peeks = [queue.link.call(*peek) for queue in (one, other)]
        await until_blocked(store, 2)
        store.rpush(key, "j1", "j2", "j3")
        assert [await peek for peek in peeks] == [b"j3", b"j3"]
        assert queued(store) == ["j1", "j2", "j3"]
        await one.link.call(*peek)
    assert queued(store) == ["j1", "j2", "j3"]


async def test_cancelled_while_it_waits_take_leaves_nothing_behind(
    server: StoreServer, store: Redis
) -> None:
    async with open_both(server) as (queue, source):
        async with asyncio.TaskGroup() as group:
            taking = group.create_task(source.take(5))
            await until_blocked(store, 1)
            taking.cancel()
        await queue.enqueue("c1")
        assert queued(store) == ["activate-c1"]
        assert store.exists("rq:wip:contextd", "rq:contextd:jobs:w1") == 0
        assert await source.take(5) == ["c1"]
        await source.finish("c1")

        async with asyncio.TaskGroup() as group:
            taking = group.create_task(source.take(5))
            await until_blocked(store, 1)
            taking.cancel()
    await until_blocked(store, 0)


async def test_cancelled_while_jobs_are_being_started_take_returns_them_next_time(
    server: StoreServer, store: Redis
) -> None:
    async with open_both(server) as (queue, source):
        for context_id in ("c1", "c2", "c3"):
            await queue.enqueue(context_id)
        server.pause()
        try:
            async with asyncio.TaskGroup() as group:
                taking = group.create_task(source.take(2))
                await until(lambda: "1 sent" in repr(queue.link))
                taking.cancel()
        finally:
            server.resume()
        first = await source.take(1)
        second = await source.take(5)
        assert {*first, *second} == {"c1", "c2"}
        assert await source.take(5) == ["c3"]
        for context_id in ("c1", "c2", "c3"):
            await source.finish(context_id)
    assert store.exists("rq:wip:contextd", "rq:contextd:jobs:w1") == 0


async def test_a_job_that_could_not_be_ended_is_ended_by_the_next_take(
    server: StoreServer, store: Redis
) -> None:
    async with open_both(server, call_s_max=0.5) as (queue, source):
        for context_id in ("c1", "c2", "c3"):
            await queue.enqueue(context_id)
        assert await source.take(2) == ["c1", "c2"]
        server.kill()
        await source.finish("c1")
        await source.fail("c2", "broken")
        server.start()
        assert store.zcard("rq:wip:contextd") == 2
        assert await source.take(1) == ["c3"]
        (execution,) = cast("list[str]", store.zrange("rq:wip:contextd", 0, -1))
        assert execution.startswith("activate-c3:w1-")
        assert store.zrange("rq:failed:contextd", 0, -1) == ["activate-c2"]


async def test_cancelled_while_a_job_is_being_ended_finish_leaves_it_to_the_next_take(
    server: StoreServer, store: Redis
) -> None:
    async with open_both(server) as (queue, source):
        await queue.enqueue("c1")
        assert await source.take(1) == ["c1"]
        async with asyncio.TaskGroup() as group:
            finishing = group.create_task(source.finish("c1"))
            await asyncio.sleep(0)
            finishing.cancel()
        await queue.enqueue("c2")
        assert await source.take(1) == ["c2"]
        assert store.hkeys("rq:contextd:jobs:w1") == ["activate-c2"]


async def test_two_sources_share_the_queue_and_never_a_job(
    server: StoreServer, store: Redis
) -> None:
    taken: list[str | Chore] = []

    async def take_forever(source: ActivationSource) -> None:
        while True:
            taken.extend(await source.take(7))

    async with (
        open_both(server, "w1") as (queue, one),
        open_both(server, "w2") as (_, other),
        asyncio.TaskGroup() as group,
    ):
        takers = [group.create_task(take_forever(source)) for source in (one, other)]
        for n in range(300):
            await queue.enqueue(f"c{n}")
        await until(lambda: len(taken) == 300)
        for taker in takers:
            taker.cancel()
    assert len(taken) == 300
    assert set(taken) == {f"c{n}" for n in range(300)}


async def test_mail_between_passivation_and_finish_brings_the_context_back(
    server: StoreServer, store: Redis
) -> None:
    async with open_both(server) as (queue, source):
        await queue.enqueue("c1")
        assert await source.take(1) == ["c1"]
        store.zadd(keys.READY, {"c1": 1})
        assert not await queue.enqueue("c1")
        await source.finish("c1")
        async with asyncio.timeout(DEADLINE_S):
            assert await source.take(1) == ["c1"]
        store.zrem(keys.READY, "c1")
        await source.finish("c1")
    assert queued(store) == []


async def test_a_context_without_a_job_is_finished_in_silence(
    server: StoreServer, store: Redis
) -> None:
    before = store.dbsize()
    async with open_both(server) as (_, source):
        await source.finish("c1")
        await source.fail("c1", "broken")
    assert store.dbsize() == before


async def test_a_full_store_gives_its_jobs_and_then_says_that_it_cannot_be_waited_for(
    server: StoreServer, store: Redis
) -> None:
    async with open_both(server) as (queue, source):
        await queue.enqueue("c1")
        store.config_set("maxmemory", 1)
        try:
            assert await source.take(1) == ["c1"]
            with pytest.raises(StoreRefusedWrite):
                await source.take(1)
            await source.finish("c1")
        finally:
            store.config_set("maxmemory", 0)


async def test_no_room_is_an_error_and_not_a_busy_loop(
    server: StoreServer, store: Redis
) -> None:
    async with open_both(server) as (queue, source):
        await queue.enqueue("c1")
        with pytest.raises(ValueError, match="no room"):
            await source.take(0)


async def test_a_worker_that_rq_has_lost_is_registered_again(
    server: StoreServer, store: Redis
) -> None:
    async with open_worker(server.url, "w1", heartbeat_s=0.02), open_both(server) as pair:
        queue, source = pair
        await queue.enqueue("c1")
        await source.take(1)
        store.delete("rq:worker:w1", "rq:workers", "rq:workers:contextd")
        await until(lambda: store.hexists("rq:worker:w1", "state"))
        _, (worker,) = await rq_info(server)
        assert " busy contextd" in worker


async def test_a_worker_beats_and_lives_no_longer_than_its_beats(
    server: StoreServer, store: Redis
) -> None:
    async with open_worker(server.url, "w1", heartbeat_s=0.02):
        first = last_heartbeat(store)
        await until(lambda: last_heartbeat(store) != first)
        assert 0 < store.ttl("rq:worker:w1") <= 61


async def test_a_worker_that_has_the_id_of_an_earlier_one_takes_jobs_from_its_start(
    server: StoreServer, store: Redis
) -> None:
    for context_id in ("c1", "c2"):
        async with open_both(server) as (queue, source):
            await queue.enqueue(context_id)
            assert await source.take(1) == [context_id]


async def test_two_workers_of_one_name_are_refused(server: StoreServer, store: Redis) -> None:
    async with open_worker(server.url, "w1"):
        with pytest.raises(ValueError, match="active worker named 'w1'"):
            async with open_worker(server.url, "w1"):
                pass
        (seen,) = Worker.all(connection=rq_client(server))
        assert seen.name == "w1"


async def test_heartbeats_that_fail_do_not_end_the_worker(
    server: StoreServer, store: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_worker(server.url, "w1", heartbeat_s=0.02, call_s_max=0.5) as worker:
        beat, missed = worker.beat, threading.Event()

        def watched() -> None:
            try:
                beat()
            except RedisError:
                missed.set()
                raise

        monkeypatch.setattr(worker, "beat", watched)
        server.kill()
        assert await asyncio.to_thread(missed.wait, DEADLINE_S)
        server.start()
        first = last_heartbeat(store)
        await until(lambda: last_heartbeat(store) != first)


async def test_a_look_at_the_queue_waits_for_no_replica(
    server: StoreServer, store: Redis
) -> None:
    scripts = Scripts()
    barrier = Barrier(1, 0.1)
    link = Link(make_pool(server.url), 5.0, 100, on_connect=scripts.load, barrier=barrier)
    queue = ActivationQueue(link, scripts)
    async with open_link(link), open_source(queue, "w1") as source:
        store.lpush(queue.KEY, "job")
        peeks = source._peeks  # pyright: ignore[reportPrivateUsage] - a whole take would do more
        looked = peeks.call("BLMOVE", queue.KEY, queue.KEY, "RIGHT", "RIGHT", 1)
        assert await looked == b"job"
        with pytest.raises(StoreUnavailable, match="0 of 1 replicas"):
            await link.call("PING")
