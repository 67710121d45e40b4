"""The source of activations, over a real server."""

# pyright: reportUnknownMemberType=false
# redis-py and rq leave keyword arguments, and so every second method, partly untyped.

import asyncio
import subprocess
import sys
from typing import cast

import pytest
from redis import Redis

from storage import ActivationQueue, Link, StoreRefusedWrite, StoreUnavailable, keys
from storage.address import make_pool
from storage.barrier import Barrier
from storage.link import open_link
from storage.scripts import Scripts
from tests.support.store_server import StoreServer
from tests.workers.jobs import DEADLINE_S, open_both, open_queue, queued, until, until_blocked
from workers.dequeue import ActivationSource, Chore, open_source

pytestmark = pytest.mark.real_only


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


async def test_a_worker_that_has_the_id_of_an_earlier_one_takes_jobs_from_its_start(
    server: StoreServer, store: Redis
) -> None:
    for context_id in ("c1", "c2"):
        async with open_both(server) as (queue, source):
            await queue.enqueue(context_id)
            assert await source.take(1) == [context_id]


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
