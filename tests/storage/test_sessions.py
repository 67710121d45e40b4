"""Which workers live, and what becomes of the contexts of those that do not."""

import asyncio

import pytest

from storage import (
    WAKE,
    Store,
    StoreUnavailable,
    WorkerBuried,
    WorkerLost,
    announced_after,
    keys,
    read_announced,
    unix_ms,
)
from storage.announcements import Entry
from storage.ownership import CLAIMS_MAX
from tests.storage.arranging import (
    create,
    created,
    die,
    kept,
    listening,
    live,
    own,
    ready,
    say_mail,
)
from tests.storage.conftest import Backend
from tests.support.playbook import BEGAN_MS, CONTEXT_ID

EXPIRED_S_MAX = 5.0
OTHER_ID = "01932c5e-ffff-7c3b-9d2e-5f6071829300"


async def test_the_living_hear_of_the_dead_until_somebody_buries_them(store: Store) -> None:
    await live(store, "w1", "w2", "w3")
    assert await store.sessions.renew("w1", now_ms=BEGAN_MS) == []
    await die(store, "w2")
    await die(store, "w3")
    assert sorted(await store.sessions.renew("w1", now_ms=BEGAN_MS)) == ["w2", "w3"]
    await store.sessions.bury("w3")
    assert await store.sessions.renew("w1", now_ms=BEGAN_MS) == ["w2"]


async def test_those_live_whose_session_is_not_over_buried_or_not(store: Store) -> None:
    assert await store.sessions.living() == 0
    await live(store, "w1", "w2", "w3")
    await die(store, "w2")
    await store.sessions.bury("w3")
    assert await store.sessions.living() == 1
    await die(store, "w1")
    assert await store.sessions.living() == 0


async def test_a_late_worker_that_nobody_has_buried_goes_on(store: Store) -> None:
    await live(store, "w1", "w2")
    await die(store, "w1")
    assert await store.sessions.renew("w1", now_ms=BEGAN_MS) == []
    assert await store.sessions.renew("w2", now_ms=BEGAN_MS) == []


async def test_a_worker_that_was_buried_hears_so_and_stays_dead(store: Store) -> None:
    await live(store, "w1")
    await store.sessions.bury("w1")
    with pytest.raises(WorkerBuried):
        await store.sessions.renew("w1", now_ms=BEGAN_MS)
    assert await kept(store) == set()


async def test_a_worker_whose_burial_was_cut_short_is_named_until_its_jobs_are_ended(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lose(_: str) -> None:
        raise StoreUnavailable("lost")

    store.announcer.by = "s"
    await live(store, "w1", "w2")
    await store.queue.enqueue_chore("retention")
    await store.queue.take("w1", number=1, room=1)
    with monkeypatch.context() as patch:
        patch.setattr(store.queue, "forget_worker", lose)
        with pytest.raises(StoreUnavailable):
            await store.sessions.bury("w1")
    with pytest.raises(WorkerBuried):
        await store.sessions.renew("w1", now_ms=BEGAN_MS)
    assert not await store.queue.enqueue_chore("retention")
    assert await store.sessions.workers() == ["w2"]
    assert await store.sessions.renew("w2", now_ms=BEGAN_MS) == ["w1"]
    assert await store.sessions.bury("w1") == 0
    assert await store.queue.enqueue_chore("retention")
    assert await store.sessions.renew("w2", now_ms=BEGAN_MS) == []
    assert len(await announced_after(store.link, 0, limit=100)) == 1, (
        "dashboards were told then"
    )


async def test_dashboards_are_told_of_a_burial_once_whoever_hears_its_answer(
    store: Store,
) -> None:
    await create(store)
    await own(store)
    await live(store, "w2")
    async with listening(store, keys.ANNOUNCEMENTS) as ear:
        await store.sessions.bury("w1")
        store.announcer.by = "s"
        await store.sessions.bury("w1")
        await store.sessions.bury("nobody")
        await store.sessions.bury("w2", cause="left")
        await own(store)
        await store.sessions.bury("w1")
        heard = await ear.hears(2)
        await store.sessions.bury("w1")
        await store.sessions.bury("w2")
    kept = await announced_after(store.link, 0, limit=100)
    assert [one for batch in heard for one in read_announced(batch)] == kept
    entries = [Entry.model_validate_json(raw) for _, raw in kept]
    assert {entry.by for entry in entries} == {"s"}
    assert [entry.what for entry in entries] == [
        WorkerLost(worker_id="w2", cause="left", contexts=0),
        WorkerLost(worker_id="w1", cause="died", contexts=1),
    ]


async def test_a_worker_that_does_not_renew_is_dead_when_its_session_is_over(
    backend: Backend,
) -> None:
    async with backend.connect(worker_session_ms=500) as store:
        await live(store, "w1")
        await live(store, "w2")
        async with asyncio.timeout(EXPIRED_S_MAX):
            while await store.sessions.renew("w2", now_ms=BEGAN_MS) != ["w1"]:  # noqa: ASYNC110 - time does it
                await asyncio.sleep(0.02)


async def test_the_contexts_of_the_buried_get_ready_and_the_others_are_woken(
    store: Store,
) -> None:
    await create(store)
    await create(store, created(OTHER_ID))
    await own(store)
    async with listening(store, WAKE) as ear:
        assert await store.sessions.bury("nobody") == 0
        assert await store.sessions.bury("w1") == 1
        assert await ear.hears(1) == [b"w1"]
    assert await ready(store) == [CONTEXT_ID]
    assert await store.sessions.bury("w1") == 0
    assert await store.ownership.claim(now_ms=BEGAN_MS, overdue_ms=60_000) == [CONTEXT_ID]


async def test_a_waiting_context_is_claimed_by_one_and_again_when_it_still_waits(
    store: Store,
) -> None:
    await create(store, first=say_mail())
    assert await store.ownership.claim(now_ms=BEGAN_MS + 999, overdue_ms=1_000) == []
    async with asyncio.TaskGroup() as group:
        claims = [
            group.create_task(store.ownership.claim(now_ms=BEGAN_MS + 1_000, overdue_ms=1_000))
            for _ in range(20)
        ]
    assert sorted(claim.result() for claim in claims) == [[]] * 19 + [[CONTEXT_ID]]
    assert await store.ownership.claim(now_ms=BEGAN_MS + 1_999, overdue_ms=1_000) == []
    assert await store.ownership.claim(now_ms=BEGAN_MS + 2_000, overdue_ms=1_000) == [
        CONTEXT_ID
    ]


async def test_a_context_whose_clock_was_ahead_is_claimed_as_well(store: Store) -> None:
    await create(store, first=say_mail())
    # Delivered by a clock that is a day ahead of the claimer's.
    earlier_ms = BEGAN_MS - 86_400_000
    assert await store.ownership.claim(now_ms=earlier_ms, overdue_ms=1_000) == [CONTEXT_ID]
    assert await store.ownership.claim(now_ms=earlier_ms + 999, overdue_ms=1_000) == []
    assert await store.ownership.claim(now_ms=earlier_ms + 1_000, overdue_ms=1_000) == [
        CONTEXT_ID
    ]


async def test_a_context_whose_clock_was_ahead_waits_for_no_other(store: Store) -> None:
    await store.link.call("ZADD", keys.READY, 0, OTHER_ID)  # nobody can load it, say
    await store.link.call("ZADD", keys.READY, BEGAN_MS + 86_400_000, CONTEXT_ID)
    claimed = await store.ownership.claim(now_ms=BEGAN_MS, overdue_ms=1_000)
    assert claimed == [OTHER_ID, CONTEXT_ID]


async def test_a_claim_by_a_clock_that_is_ahead_costs_no_context_its_time(store: Store) -> None:
    due_ms = unix_ms() + 3_600_000
    await store.link.call("ZADD", keys.DUE, due_ms, CONTEXT_ID)
    ahead_ms = due_ms + 86_400_000
    assert await store.ownership.claim(now_ms=ahead_ms, overdue_ms=1_000) == [CONTEXT_ID]
    assert await store.ownership.claim(now_ms=due_ms - 1, overdue_ms=1_000) == []
    assert await store.ownership.claim(now_ms=due_ms, overdue_ms=1_000) == [CONTEXT_ID]


async def test_a_claim_is_bounded_and_takes_the_oldest_first(store: Store) -> None:
    for n in range(CLAIMS_MAX + 3):
        await store.link.call("ZADD", keys.READY, n, f"c{n}")
    first = await store.ownership.claim(now_ms=BEGAN_MS, overdue_ms=1_000)
    second = await store.ownership.claim(now_ms=BEGAN_MS, overdue_ms=1_000)
    assert first == [f"c{n}" for n in range(CLAIMS_MAX)]
    assert second == [f"c{n}" for n in range(CLAIMS_MAX, CLAIMS_MAX + 3)]


async def test_a_claim_is_bounded_whatever_waits_and_the_rest_comes_with_the_next(
    store: Store,
) -> None:
    ready_max, due_max = CLAIMS_MAX - 1, CLAIMS_MAX + 1
    waiting = [part for n in range(ready_max) for part in (0, f"ready-{n}")]
    ahead = [part for n in range(2) for part in (10 * BEGAN_MS, f"ahead-{n}")]
    due = [part for n in range(due_max) for part in (0, f"due-{n}")]
    await store.link.call("ZADD", keys.READY, *waiting, *ahead)
    await store.link.call("ZADD", keys.DUE, *due)
    claims = [await store.ownership.claim(now_ms=BEGAN_MS, overdue_ms=1_000) for _ in range(4)]
    assert [len(claim) for claim in claims] == [CLAIMS_MAX, CLAIMS_MAX, 2, 0]
    assert len({each for claim in claims for each in claim}) == ready_max + 2 + due_max
