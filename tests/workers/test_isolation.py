"""P11: contexts that are suspected of killing workers are tried one after another."""

import pytest

from tests.support.clock import in_virtual_time, settled, until
from tests.support.memory_store import MemoryStore
from tests.support.playbook import rename, say
from tests.workers.hosting import hosting, open_world
from tests.workers.stage import Stage, now_ms, nth_id

IDS = [nth_id(1), nth_id(2)]


async def die_with(world: Stage[MemoryStore], context_id: str, *, deaths: int) -> None:
    """Mail waits for a context, and so many workers in a row have died of it."""
    store = world.store
    await world.deliver(say(), context_id=context_id)
    await store.sessions.renew("w0", now_ms=now_ms(), begin=True)
    owned = await store.ownership.activate(context_id, "w0")
    await store.ownership.count_attempt(owned, deaths)
    await store.sessions.bury("w0")


@pytest.mark.parametrize(("deaths", "at_once"), [(1, 2), (2, 1)])
@in_virtual_time
async def test_p11_from_the_second_death_on_no_two_suspects_run_beside_each_other(
    deaths: int, at_once: int
) -> None:
    async with open_world(*IDS) as world:
        for context_id in IDS:
            await die_with(world, context_id, deaths=deaths)
        commit = world.store.hold("commit")
        async with hosting(world.store, "w1") as one:
            for context_id in IDS:
                one.jobs.waiting.put_nowait(context_id)
            await commit.reached.wait()
            await settled()
            tried = {tried.context_id for tried in world.store.commits}
            assert len(tried) == at_once
            commit.opened.set()
            await until(lambda: len(one.performer.kinds) == len(IDS))


@in_virtual_time
async def test_p11_a_suspect_that_was_taken_over_makes_way_for_the_next() -> None:
    async with open_world(*IDS) as world:
        for context_id in IDS:
            await die_with(world, context_id, deaths=2)
        commit = world.store.hold("commit")
        async with hosting(world.store, "w1") as one:
            one.jobs.waiting.put_nowait(IDS[0])
            await commit.reached.wait()
            one.jobs.waiting.put_nowait(IDS[1])
            await world.store.sessions.renew("w2", now_ms=now_ms(), begin=True)
            await world.store.ownership.activate(IDS[0], "w1")
            commit.opened.set()
            await until(lambda: one.performer.kinds)
            assert await world.said(IDS[1])


@in_virtual_time
async def test_p11_what_is_given_up_waits_for_no_other_suspect() -> None:
    async with open_world(*IDS) as world:
        await die_with(world, IDS[0], deaths=2)
        await die_with(world, IDS[1], deaths=3)
        commit = world.store.hold("commit")
        async with hosting(world.store, "w1") as one:
            one.jobs.waiting.put_nowait(IDS[0])
            await commit.reached.wait()
            one.jobs.waiting.put_nowait(IDS[1])
            await world.until_phase("failed", IDS[1])
            assert not await world.said(IDS[0])
            commit.opened.set()
            await world.deliver(rename("after"), context_id=IDS[0])
            await until(lambda: one.performer.kinds)
