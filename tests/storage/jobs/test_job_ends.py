"""How jobs end: done, failed, or with their worker; seen with rq's own eyes."""

# pyright: reportUnknownMemberType=false
# redis-py and rq leave keyword arguments, and so every second method, partly untyped.

from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from redis import Redis
from rq import Queue
from rq.registry import FailedJobRegistry
from rq.results import Result
from rq.utils import now, utcformat
from rq.worker import Worker

from storage import keys
from storage.enqueue import FORGETS_MAX
from storage.scripts import Scripts
from tests.storage.jobs.queueing import fetch, live, open_queue, queued, rq_client
from tests.support.store_server import StoreServer

pytestmark = pytest.mark.real_only


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
    announce: Any = rq_worker.register_birth  # rq leaves it untyped
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
