"""The rq queue of activations over a real server, seen with rq's own eyes."""

# pyright: reportUnknownMemberType=false
# redis-py and rq leave keyword arguments, and so every second method, partly untyped.

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from redis import Redis
from rq import Queue
from rq.job import Job
from rq.registry import FailedJobRegistry, StartedJobRegistry
from rq.results import Result
from rq.serializers import JSONSerializer
from rq.utils import now, utcformat
from rq.worker import Worker

from storage import ActivationQueue, Link, WorkerBuried, keys
from storage.address import make_pool
from storage.enqueue import CROWD_MIN, FORGETS_MAX, TakenJob
from storage.link import open_link
from storage.scripts import Scripts
from tests.support.store_server import StoreServer

pytestmark = pytest.mark.real_only


@pytest.fixture(scope="module")
def server() -> Iterator[StoreServer]:
    with StoreServer() as server:
        yield server


@pytest.fixture
def store(server: StoreServer) -> Iterator[Redis]:
    """An empty store, to arrange and to look at."""
    client = server.client()
    client.flushall()
    yield client
    client.close()


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


async def test_a_finished_job_leaves_nothing_behind(server: StoreServer, store: Redis) -> None:
    live(store, "w1")
    async with open_queue(server) as queue:
        await queue.enqueue("c1")
        ((job,), _) = await queue.take("w1", number=1, room=1)
        assert not await queue.finish("w1", job.job_id, job.execution_id)
        assert not await queue.finish("w1", job.job_id, job.execution_id)
    left = set(cast("list[str]", store.keys()))
    assert left == {keys.session("w1"), "rq:queues", "rq:contextd:take:w1"}


async def test_mail_that_came_before_the_end_queues_the_job_again(
    server: StoreServer, store: Redis
) -> None:
    live(store, "w1", "w2")
    async with open_queue(server) as queue:
        await queue.enqueue("c1")
        ((job,), _) = await queue.take("w1", number=1, room=1)
        store.zadd(keys.READY, {"c1": 1})
        assert not await queue.enqueue("c1")
        assert await queue.finish("w1", job.job_id, job.execution_id)
        assert queued(store) == ["activate-c1"]
        assert store.hget("rq:job:activate-c1", "status") == "queued"
        assert not await queue.enqueue("c1")
        ((again,), _) = await queue.take("w2", number=1, room=1)
        assert again.data == job.data
        assert not await queue.finish("w1", job.job_id, job.execution_id)
    assert store.hget("rq:job:activate-c1", "worker_name") == "w2"
    assert store.zcard("rq:wip:contextd") == 1


async def test_a_late_finish_leaves_the_next_start_on_the_same_worker_alone(
    server: StoreServer, store: Redis
) -> None:
    live(store, "w1")
    store.zadd(keys.READY, {"c1": 1})
    async with open_queue(server) as queue:
        await queue.enqueue("c1")
        ((first,), _) = await queue.take("w1", number=1, room=1)
        assert await queue.finish("w1", first.job_id, first.execution_id)
        await queue.take("w1", number=2, room=1)
        assert not await queue.finish("w1", first.job_id, first.execution_id)
    assert store.zrange("rq:wip:contextd", 0, -1) == ["activate-c1:w1-2"]
    assert store.hget("rq:job:activate-c1", "status") == "started"


async def test_a_job_that_an_operator_canceled_can_be_asked_for_again_at_once(
    server: StoreServer, store: Redis
) -> None:
    live(store, "w1")
    async with open_queue(server) as queue:
        await queue.enqueue("c1")
        ((job,), _) = await queue.take("w1", number=1, room=1)
        fetch(server, "c1").cancel()
        assert await queue.enqueue("c1")
        assert store.zcard("rq:canceled:contextd") == 0
        assert not await queue.finish("w1", job.job_id, job.execution_id)
    assert queued(store) == ["activate-c1"]
    assert store.hget("rq:job:activate-c1", "status") == "queued"
    assert store.zcard("rq:wip:contextd") == 0


async def test_rq_is_told_how_long_a_worker_has_worked(
    server: StoreServer, store: Redis
) -> None:
    live(store, "w1")
    store.hset("rq:worker:w1", "state", "idle")
    at = datetime(2026, 1, 1, tzinfo=UTC)
    async with open_queue(server, clock=lambda: at) as queue:
        await queue.enqueue("c1")
        ((job,), _) = await queue.take("w1", number=1, room=1)
        at += timedelta(seconds=90)
        await queue.finish("w1", job.job_id, job.execution_id)
    assert store.hgetall("rq:worker:w1") == {
        "state": "idle",
        "successful_job_count": "1",
        "total_working_time": "90",
    }


async def test_work_whose_beginning_nobody_knows_counts_as_no_time(
    server: StoreServer, store: Redis
) -> None:
    live(store, "w1")
    store.hset("rq:worker:w1", "state", "idle")
    async with open_queue(server) as queue:
        await queue.enqueue("c1")
        ((job,), _) = await queue.take("w1", number=1, room=1)
        store.delete(f"rq:execution:{job.job_id}:{job.execution_id}")
        await queue.finish("w1", job.job_id, job.execution_id)
    assert store.hgetall("rq:worker:w1") == {"state": "idle", "successful_job_count": "1"}


async def test_a_clock_that_was_set_back_takes_no_time_from_a_worker(
    server: StoreServer, store: Redis
) -> None:
    live(store, "w1")
    store.hset("rq:worker:w1", "state", "idle")
    at = datetime(2026, 1, 1, tzinfo=UTC)
    async with open_queue(server, clock=lambda: at) as queue:
        await queue.enqueue("c1")
        ((job,), _) = await queue.take("w1", number=1, room=1)
        at -= timedelta(seconds=90)
        await queue.fail("w1", job.job_id, job.execution_id, "broken")
    assert store.hgetall("rq:worker:w1") == {"state": "idle", "failed_job_count": "1"}


async def test_jobs_that_a_worker_dies_with_are_no_successes(
    server: StoreServer, store: Redis
) -> None:
    live(store, "w1")
    store.hset("rq:worker:w1", "state", "idle")
    at = datetime(2026, 1, 1, tzinfo=UTC)
    async with open_queue(server, clock=lambda: at) as queue:
        await queue.enqueue("c1")
        await queue.take("w1", number=1, room=1)
        await queue.forget_worker("w1")
    assert store.hgetall("rq:worker:w1") == {"state": "busy", "death": utcformat(at)}
    assert 0 < store.ttl("rq:worker:w1") <= 60


async def test_rq_is_shown_a_job_that_a_worker_has_for_as_long_as_it_has_any(
    server: StoreServer, store: Redis
) -> None:
    def shown() -> list[str | None]:
        return cast("list[str | None]", store.hmget("rq:worker:w1", "current_job", "state"))

    live(store, "w1")
    store.hset("rq:worker:w1", "state", "idle")
    async with open_queue(server) as queue:
        for context_id in ("c1", "c2", "c3"):
            await queue.enqueue(context_id)
        jobs, _ = await queue.take("w1", number=1, room=3)
        first, _ = shown()
        unseen, last = [job for job in jobs if job.job_id != first]
        await queue.finish("w1", unseen.job_id, unseen.execution_id)
        assert shown() == [first, "busy"]
        (job,) = [job for job in jobs if job.job_id == first]
        await queue.finish("w1", job.job_id, job.execution_id)
        assert shown() == [last.job_id, "busy"]
        await queue.finish("w1", last.job_id, last.execution_id)
        assert shown() == [None, "idle"]


async def test_a_job_whose_context_is_elsewhere_is_not_queued_again(
    server: StoreServer, store: Redis
) -> None:
    live(store, "w1")
    store.zadd(keys.READY, {"c1": 1})
    async with open_queue(server) as queue:
        await queue.enqueue("c1")
        ((job,), _) = await queue.take("w1", number=1, room=1)
        assert not await queue.finish("w1", job.job_id, job.execution_id, active_elsewhere=True)
    assert queued(store) == []
    assert store.exists("rq:job:activate-c1") == 0


async def test_a_chore_that_is_called_as_a_context_that_waits_is_not_queued_again(
    server: StoreServer, store: Redis
) -> None:
    live(store, "w1")
    store.zadd(keys.READY, {"retention": 1})
    async with open_queue(server) as queue:
        await queue.enqueue_chore("retention")
        ((job,), _) = await queue.take("w1", number=1, room=1)
        assert not await queue.finish("w1", job.job_id, job.execution_id)
    assert queued(store) == []


async def test_a_failed_job_says_why_for_a_while(server: StoreServer, store: Redis) -> None:
    live(store, "w1")
    began = now()
    async with open_queue(server) as queue:
        await queue.enqueue("c1")
        ((job,), _) = await queue.take("w1", number=1, room=1)
        await queue.fail("w1", job.job_id, job.execution_id, "Traceback: it broke")
    shown = fetch(server, "c1")
    assert (shown.get_status(), shown.is_failed) == ("failed", True)
    assert shown.ended_at is not None
    assert began <= shown.ended_at.replace(tzinfo=UTC) <= now()
    result = shown.latest_result()
    assert result is not None
    assert (result.type, result.exc_string, result.worker_name) == (
        Result.Type.FAILED,
        "Traceback: it broke",
        "w1",
    )
    failed = FailedJobRegistry("contextd", connection=rq_client(server))
    assert failed.get_job_ids() == ["activate-c1"]
    assert 0 < store.ttl("rq:job:activate-c1") <= 60
    assert 0 < store.ttl("rq:results:activate-c1") <= 60
    assert store.zcard("rq:wip:contextd") == 0


async def test_a_job_that_is_queued_again_waits_behind_the_others_as_if_never_started(
    server: StoreServer, store: Redis
) -> None:
    live(store, "w1")
    store.zadd(keys.READY, {"c1": 1})
    at = datetime(2026, 1, 1, tzinfo=UTC)
    async with open_queue(server, clock=lambda: at) as queue:
        await queue.enqueue("c1")
        ((job,), _) = await queue.take("w1", number=1, room=1)
        at += timedelta(seconds=90)
        await queue.enqueue("c2")
        assert await queue.finish("w1", job.job_id, job.execution_id)
    assert queued(store) == ["activate-c2", "activate-c1"]
    shown = fetch(server, "c1")
    assert shown.enqueued_at is not None
    assert shown.enqueued_at.replace(tzinfo=UTC) == at
    assert (shown.started_at, shown.last_heartbeat) == (None, None)
    assert not shown.worker_name


async def test_of_a_job_that_fails_over_and_over_the_last_reasons_are_kept(
    server: StoreServer, store: Redis
) -> None:
    live(store, "w1")
    async with open_queue(server) as queue:
        for n in range(12):
            await queue.enqueue("c1")
            ((job,), _) = await queue.take("w1", number=n + 1, room=1)
            await queue.fail("w1", job.job_id, job.execution_id, f"broken {n}")
    reasons = [result.exc_string for result in fetch(server, "c1").results()]
    assert reasons == [f"broken {n}" for n in range(11, 1, -1)]


async def test_the_oldest_failed_jobs_make_room(server: StoreServer, store: Redis) -> None:
    live(store, "w1")
    store.zadd("rq:failed:contextd", {"expired": 1})
    async with open_queue(server, failed_jobs_max=5) as queue:
        await queue.enqueue("c")
        ((job,), _) = await queue.take("w1", number=1, room=1)
        await queue.fail("w1", job.job_id, job.execution_id, "broken")
    assert store.zrange("rq:failed:contextd", 0, -1) == ["activate-c"]
    async with open_queue(server, failed_jobs_max=2) as queue:
        for n in range(4):
            await queue.enqueue(f"c{n}")
            ((job,), _) = await queue.take("w1", number=n + 2, room=1)
            await queue.fail("w1", job.job_id, job.execution_id, "broken")
    assert store.zrange("rq:failed:contextd", 0, -1) == ["activate-c2", "activate-c3"]


async def test_the_jobs_of_a_dead_worker_are_forgotten_and_those_with_mail_queued_again(
    server: StoreServer, store: Redis
) -> None:
    live(store, "w1", "w2")
    count = 2 * FORGETS_MAX + 50
    rq_worker = Worker(["contextd"], name="w1", connection=rq_client(server))
    announce: Callable[[], None] = rq_worker.register_birth  # rq leaves it untyped
    announce()
    async with open_queue(server) as queue:
        for n in range(count):
            await queue.enqueue(f"c{n}")
        await queue.take("w1", number=1, room=count)
        await queue.enqueue("other")
        await queue.take("w2", number=1, room=1)
        store.zadd(keys.READY, {f"c{n}": 1 for n in range(0, count, 2)})
        store.delete(keys.session("w1"))
        await queue.forget_worker("w1")
        await queue.forget_worker("w1")
        await queue.forget_worker("nobody")
    assert sorted(queued(store)) == sorted(f"activate-c{n}" for n in range(0, count, 2))
    assert cast("list[str]", store.zrange("rq:wip:contextd", 0, -1)) == ["activate-other:w2-1"]
    assert len(cast("list[str]", store.keys("rq:execution*"))) == 2
    assert len(cast("list[str]", store.keys("rq:job:*"))) == count / 2 + 1
    assert Worker.all(connection=rq_client(server)) == []
    assert cast("set[str]", store.smembers("rq:workers:contextd")) == set()
    assert store.exists("rq:contextd:jobs:w1", "rq:contextd:take:w1") == 0


async def test_a_dead_worker_is_forgotten_in_steps_and_registered_until_the_last(
    server: StoreServer, store: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    live(store, "w1")
    registered: list[bool] = []
    run = Scripts.run

    async def watched(scripts: Scripts, *asked: Any, **named: Any) -> object:
        registered.append(store.exists("rq:contextd:take:w1") == 1)
        return await run(scripts, *asked, **named)

    async with open_queue(server) as queue:
        for n in range(2 * FORGETS_MAX + 1):
            await queue.enqueue(f"c{n}")
        await queue.take("w1", number=1, room=2 * FORGETS_MAX + 1)
        store.delete(keys.session("w1"))
        monkeypatch.setattr(Scripts, "run", watched)
        await queue.forget_worker("w1")
    assert registered == [True, True, True]
    assert store.exists("rq:contextd:take:w1", "rq:contextd:jobs:w1") == 0


async def test_a_worker_that_nobody_has_buried_stays_among_the_workers(
    server: StoreServer, store: Redis
) -> None:
    store.zadd(keys.WORKERS, {"w1": 5, "w2": -1})
    async with open_queue(server) as queue:
        for worker_id in ("w1", "w2"):
            await queue.forget_worker(worker_id)
    assert store.zrange(keys.WORKERS, 0, -1) == ["w1"]


async def test_a_foreign_job_on_a_dead_worker_is_seen_as_failed(
    server: StoreServer, store: Redis
) -> None:
    live(store, "w1")
    foreign = Queue("contextd", connection=rq_client(server)).enqueue("os.getpid")
    async with open_queue(server) as queue:
        await queue.take("w1", number=1, room=1)
        store.delete(keys.session("w1"))
        await queue.forget_worker("w1")
    assert store.zrange("rq:failed:contextd", 0, -1) == [foreign.id]
    assert store.zcard("rq:wip:contextd") == 0


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
