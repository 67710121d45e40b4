"""The rq worker over a real server, and what stock rq sees of its jobs."""

# pyright: reportUnknownMemberType=false
# redis-py and rq leave keyword arguments, and so every second method, partly untyped.

import asyncio
import os
import threading

import pytest
from redis import Redis
from redis.exceptions import RedisError
from rq.worker import Worker

from storage import WorkerBuried, keys
from tests.support.store_server import StoreServer
from tests.workers.jobs import DEADLINE_S, open_both, rq_client, rq_info, until
from workers.dequeue import Chore, ContextWorker, open_worker

pytestmark = pytest.mark.real_only


def last_heartbeat(store: Redis) -> object:
    return store.hget("rq:worker:w1", "last_heartbeat")


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


async def test_a_worker_that_rq_has_lost_during_a_beat_is_registered_again(
    server: StoreServer, store: Redis
) -> None:
    async with open_worker(server.url, "w1") as worker:
        store.delete("rq:worker:w1", "rq:workers", "rq:workers:contextd")
        await asyncio.to_thread(worker.heartbeat)  # all that the beat had still to do
        await asyncio.to_thread(worker.beat)
        _, (told,) = await rq_info(server)
        assert " idle contextd" in told


async def test_a_worker_beats_and_lives_no_longer_than_its_beats(
    server: StoreServer, store: Redis
) -> None:
    async with open_worker(server.url, "w1", heartbeat_s=0.02):
        first = last_heartbeat(store)
        await until(lambda: last_heartbeat(store) != first)
        assert 0 < store.ttl("rq:worker:w1") <= 61


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
