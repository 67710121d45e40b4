"""Jobs that are asked for and taken, over a real server, seen with rq's own eyes."""

# pyright: reportUnknownMemberType=false
# redis-py and rq leave keyword arguments, and so every second method, partly untyped.

import asyncio
from typing import cast

import pytest
from redis import Redis
from rq import Queue
from rq.registry import StartedJobRegistry
from rq.serializers import JSONSerializer

from storage import ActivationQueue, WorkerBuried, keys
from storage.enqueue import CROWD_MIN
from tests.storage.jobs.queueing import fetch, ids, live, open_queue, queued, rq_client
from tests.support.store_server import StoreServer

pytestmark = pytest.mark.real_only


async def test_a_job_is_what_rq_would_have_made(server: StoreServer, store: Redis) -> None:
    async with open_queue(server) as queue:
        assert await queue.enqueue("c1")
    job = fetch(server, "c1")
    assert job.func_name == "workers.dequeue.activate"
    assert (job.args, job.kwargs) == ([], {"context_id": "c1"})
    assert (job.get_status(), job.origin, job.timeout) == ("queued", "contextd", -1)
    assert (job.result_ttl, job.failure_ttl) == (0, 60)
    assert job.enqueued_at is not None
    assert job.description == "workers.dequeue.activate(context_id='c1')"
    assert [one.name for one in Queue.all(rq_client(server))] == ["contextd"]

    rqs_own = Queue("other", connection=rq_client(server), serializer=JSONSerializer).enqueue(
        "workers.dequeue.activate",
        context_id="c1",
        job_timeout=-1,
        result_ttl=0,
        failure_ttl=60,
    )
    fields = [
        set(cast("list[str]", store.hkeys(f"rq:job:{job_id}")))
        for job_id in ("activate-c1", rqs_own.id)
    ]
    assert fields[0] == fields[1]


async def test_fifty_who_ask_at_once_make_one_job(server: StoreServer, store: Redis) -> None:
    async with (
        open_queue(server) as one,
        open_queue(server) as other,
        asyncio.TaskGroup() as group,
    ):
        asked = [
            group.create_task(queue.enqueue("c1")) for _ in range(25) for queue in (one, other)
        ]
    assert sorted(task.result() for task in asked) == [False] * 49 + [True]
    assert queued(store) == ["activate-c1"]


async def test_a_started_job_is_not_queued_again(server: StoreServer, store: Redis) -> None:
    live(store, "w1")
    async with open_queue(server) as queue:
        await queue.enqueue("c1")
        await queue.take("w1", number=1, room=1)
        assert not await queue.enqueue("c1")
    assert queued(store) == []


async def test_a_failed_job_is_made_anew(server: StoreServer, store: Redis) -> None:
    live(store, "w1")
    async with open_queue(server) as queue:
        await queue.enqueue("c1")
        ((job,), _) = await queue.take("w1", number=1, room=1)
        await queue.fail("w1", job.job_id, job.execution_id, "broken")
        assert await queue.enqueue("c1")
    assert queued(store) == ["activate-c1"]
    assert store.zcard("rq:failed:contextd") == 0
    assert store.ttl("rq:job:activate-c1") == -1
    assert fetch(server, "c1").get_status() == "queued"


async def test_an_id_that_rq_would_misread_is_refused(
    server: StoreServer, store: Redis
) -> None:
    async with open_queue(server) as queue:
        with pytest.raises(ValueError, match="Job ID"):
            await queue.enqueue("c:1")
    assert store.dbsize() == 0


async def test_jobs_are_taken_oldest_first_and_shown_as_rq_shows_them(
    server: StoreServer, store: Redis
) -> None:
    live(store, "w1")
    async with open_queue(server) as queue:
        for context_id in ("c1", "c2", "c3"):
            await queue.enqueue(context_id)
        jobs, dropped = await queue.take("w1", number=1, room=2)
    assert (ids(jobs), dropped) == (["c1", "c2"], 0)
    assert queued(store) == ["activate-c3"]
    job = fetch(server, "c1")
    assert (job.get_status(), job.worker_name) == ("started", "w1")
    assert job.started_at is not None
    (execution,) = job.get_executions()
    assert execution.worker_name == "w1"
    started = StartedJobRegistry("contextd", connection=rq_client(server))
    assert sorted(started.get_job_ids()) == ["activate-c1", "activate-c2"]


async def test_rq_never_takes_a_started_job_for_abandoned(
    server: StoreServer, store: Redis
) -> None:
    live(store, "w1")
    async with open_queue(server) as queue:
        await queue.enqueue("c1")
        await queue.take("w1", number=1, room=1)
    started = StartedJobRegistry(
        "contextd", connection=rq_client(server), serializer=JSONSerializer
    )
    started.cleanup(timestamp=10**11)
    assert started.get_job_ids() == ["activate-c1"]
    assert store.hget("rq:job:activate-c1", "status") == "started"


async def test_no_two_workers_take_the_same_job(server: StoreServer, store: Redis) -> None:
    workers = [f"w{n}" for n in range(8)]
    live(store, *workers)
    taken: list[str] = []

    async def take_all(queue: ActivationQueue, worker_id: str) -> None:
        number = 0
        while store.llen("rq:queue:contextd"):
            number += 1
            jobs, _ = await queue.take(worker_id, number=number, room=3)
            taken.extend(ids(jobs))

    async with open_queue(server) as one, open_queue(server) as other:
        for n in range(400):
            await one.enqueue(f"c{n}")
        async with asyncio.TaskGroup() as group:
            for n, worker_id in enumerate(workers):
                group.create_task(take_all((one, other)[n % 2], worker_id))
    assert sorted(taken) == sorted(f"c{n}" for n in range(400))


async def test_a_repeated_take_gets_the_same_jobs_and_no_others(
    server: StoreServer, store: Redis
) -> None:
    live(store, "w1")
    async with open_queue(server) as queue:
        for context_id in ("c1", "c2", "c3"):
            await queue.enqueue(context_id)
        first = await queue.take("w1", number=1, room=2)
        again = await queue.take("w1", number=1, room=2)
        assert sorted(ids(again[0])) == ids(first[0])
        assert {job.job_id: job for job in again[0]} == {job.job_id: job for job in first[0]}
        empty = await queue.take("w1", number=2, room=0)
        late = await queue.take("w1", number=2, room=5)
        later, _ = await queue.take("w1", number=1, room=5)
    assert (empty, late) == (([], 0), ([], 0))
    assert sorted(ids(later)) == ["c1", "c2"]
    assert queued(store) == ["activate-c3"]


async def test_a_worker_without_a_session_takes_nothing(
    server: StoreServer, store: Redis
) -> None:
    async with open_queue(server) as queue:
        await queue.enqueue("c1")
        with pytest.raises(WorkerBuried):
            await queue.take("w1", number=1, room=1)
    assert queued(store) == ["activate-c1"]


async def test_broken_and_foreign_entries_of_the_queue_are_dropped(
    server: StoreServer, store: Redis
) -> None:
    live(store, "w1", "w2")
    async with open_queue(server) as queue:
        await queue.enqueue("started")
        await queue.take("w2", number=1, room=1)
        for context_id in ("gone", "headless", "typeless", "good"):
            await queue.enqueue(context_id)
        store.delete("rq:job:activate-gone")
        store.hdel("rq:job:activate-headless", "data")
        store.delete("rq:job:activate-typeless")
        store.set("rq:job:activate-typeless", "text")
        store.rpush("rq:queue:contextd", "activate-started", "activate-good")
        jobs, dropped = await queue.take("w1", number=1, room=100)
        assert (ids(jobs), dropped) == (["good"], 5)
        assert store.hget("rq:job:activate-started", "worker_name") == "w2"
        for context_id in ("gone", "headless", "typeless"):
            assert await queue.enqueue(context_id)


def crowded(store: Redis) -> list[str]:
    return cast("list[str]", store.lrange("rq:queue:contextd-crowd", 0, -1))


async def test_who_asks_for_thousands_holds_up_nobody_else(
    server: StoreServer, store: Redis
) -> None:
    live(store, "w1")
    async with open_queue(server) as queue:
        for n in range(1_000):
            store.sadd(keys.owner_turns("many"), f"m{n}")  # as delivering its mail does
            await queue.enqueue(f"m{n}", owner="many")
        store.sadd(keys.owner_turns("one"), "o")
        await queue.enqueue("o", owner="one")
        taken, _ = await queue.take("w1", number=1, room=CROWD_MIN)
        assert ids(taken).index("o") == CROWD_MIN - 1
        more, _ = await queue.take("w1", number=2, room=2_000)
    assert ids(taken)[:-1] + ids(more) == [f"m{n}" for n in range(1_000)]
    assert (queued(store), crowded(store)) == ([], [])


async def test_the_crowd_is_never_without_a_queue_that_workers_look_at(
    server: StoreServer, store: Redis
) -> None:
    live(store, "w1")
    store.sadd(keys.owner_turns("many"), *(f"m{n}" for n in range(CROWD_MIN)))
    async with open_queue(server) as queue:
        for n in range(4):
            await queue.enqueue(f"m{n}", owner="many")
        assert (queued(store), len(crowded(store))) == (["activate-m0"], 3)
        for number in range(1, 5):
            taken, _ = await queue.take("w1", number=number, room=1)
            assert ids(taken) == [f"m{number - 1}"]
            assert bool(queued(store)) == (number < 4)


async def test_jobs_survive_the_death_of_the_store(server: StoreServer, store: Redis) -> None:
    live(store, "w1")
    async with open_queue(server) as queue:
        await queue.enqueue("c1")
        await queue.enqueue("c2")
        ((job,), _) = await queue.take("w1", number=1, room=1)
        server.restart()
    async with open_queue(server) as queue:
        assert not await queue.enqueue("c1")
        assert not await queue.enqueue("c2")
        await queue.finish("w1", job.job_id, job.execution_id)
        assert await queue.enqueue("c1")
    assert queued(store) == ["activate-c2", "activate-c1"]


async def test_a_full_store_still_lets_contexts_be_drained(
    server: StoreServer, store: Redis
) -> None:
    live(store, "w1")
    store.config_set("maxmemory", 1)
    try:
        async with open_queue(server) as queue:
            assert await queue.enqueue("c1")
            ((job,), _) = await queue.take("w1", number=1, room=1)
            await queue.finish("w1", job.job_id, job.execution_id)
    finally:
        store.config_set("maxmemory", 0)
    assert store.exists("rq:job:activate-c1") == 0
