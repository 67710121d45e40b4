"""Token buckets: what is taken is never more than was there, whoever takes it."""

import asyncio
import itertools
from typing import Final, cast

from hypothesis import HealthCheck, given, settings, strategies as st

from storage import Buckets, Rate, Store, Taking, keys
from tests.storage.conftest import Backend

SLOW: Final = Rate(per_minute=1, burst=5)
"""So slow that nothing comes back while a test runs."""
WHOLE_US: Final = 60_000_000
"""How long one of its tokens takes to come back."""


def buckets(store: Store) -> Buckets:
    return Buckets(store.link, store.scripts)


def of(name: str, tokens: float = 1.0, rate: Rate = SLOW) -> Taking:
    return Taking(name, rate, tokens)


async def pass_time(store: Store, name: str, span_us: int) -> None:
    """A bucket is a moment: bringing it nearer is as good as waiting."""
    await store.link.call("DECRBY", keys.bucket(name), span_us)


def test_a_bucket_is_never_less_than_empty_nor_more_than_full() -> None:
    assert (SLOW.left(400.0), SLOW.wait_s(400.0)) == (0, 160.0)
    assert (SLOW.left(0.0), SLOW.wait_s(0.0)) == (5, 0.0)


def test_a_token_that_takes_no_whole_number_of_microseconds_is_not_lost() -> None:
    # Given three sevenths of a minute, as the store counts them
    assert Rate(per_minute=7, burst=10).left(25.714286) == 7


async def test_a_bucket_gives_what_it_holds_and_then_what_time_brings(store: Store) -> None:
    taken = [await buckets(store).take(of("b")) for _ in range(6)]
    assert [granted for granted, _ in taken] == [True] * 5 + [False]
    full_s = taken[-1][1]
    assert (SLOW.left(full_s), 55 < SLOW.wait_s(full_s) <= 60) == (0, True)
    await pass_time(store, "b", 2 * WHOLE_US)
    assert [(await buckets(store).take(of("b")))[0] for _ in range(3)] == [True, True, False]


async def test_a_bucket_is_kept_no_longer_than_it_takes_to_fill(store: Store) -> None:
    await buckets(store).take(of("b", 2))
    lives_ms = cast("int", await store.link.call("PTTL", keys.bucket("b")))
    assert 110_000 < lives_ms <= 120_000
    await buckets(store).settle([of("b", -2)])
    assert await store.link.call("EXISTS", keys.bucket("b")) == 0


async def test_several_buckets_are_settled_each_for_itself(store: Store) -> None:
    fulls_s = await buckets(store).settle([of("a", 5), of("b", 2), of("c", 0)])
    assert [SLOW.left(full_s) for full_s in fulls_s] == [0, 3, 5]


async def test_what_is_gone_is_counted_beyond_what_there_was(store: Store) -> None:
    await buckets(store).settle([of("b", 8)])
    await pass_time(store, "b", 3 * WHOLE_US)
    assert not (await buckets(store).take(of("b")))[0]
    await pass_time(store, "b", WHOLE_US)
    assert (await buckets(store).take(of("b")))[0]


async def test_a_clock_that_was_set_back_locks_nobody_out(store: Store) -> None:
    await buckets(store).take(of("b"))
    await pass_time(store, "b", -1_000 * WHOLE_US)
    granted, full_s = await buckets(store).take(of("b"))
    assert (granted, 295 < full_s <= 300) == (False, True)


async def test_a_debt_of_more_windows_than_anybody_runs_up_is_a_clock_that_was_set_back(
    store: Store,
) -> None:
    for windows, counted_s in ((20, 20 * SLOW.window_s), (21, SLOW.window_s)):
        name = f"{windows} windows"
        await buckets(store).settle([of(name, 5 * windows)])
        granted, full_s = await buckets(store).take(of(name))
        assert (granted, counted_s - 5 < full_s <= counted_s) == (False, True), windows


async def test_gateways_that_take_at_once_take_no_more_than_there_is(backend: Backend) -> None:
    rate = Rate(per_minute=1, burst=30)
    async with backend.connect() as one, backend.connect() as other:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(buckets(store).take(of("b", rate=rate)), name=f"take {n}")
                for n, store in zip(range(100), itertools.cycle((one, other)), strict=False)
            ]
        assert sum(task.result()[0] for task in tasks) == 30


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["take", "gone", "pass"]), st.integers(1, 7)), max_size=20
    )
)
async def test_a_bucket_is_as_a_simple_model_says(
    store: Store, steps: list[tuple[str, int]]
) -> None:
    held, name = 5, "b"
    await store.link.call("DEL", keys.bucket(name))
    for step, count in steps:
        match step:
            case "take":
                granted, _ = await buckets(store).take(of(name, count))
                assert granted == (count <= held), (steps, held)
                held -= count if granted else 0
            case "gone":
                await buckets(store).settle([of(name, count)])
                held -= count
            case _:
                if await store.link.call("EXISTS", keys.bucket(name)):
                    await pass_time(store, name, count * WHOLE_US)
                held = min(5, held + count)
