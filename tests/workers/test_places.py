"""Places are given owner by owner, and none is lost."""

import asyncio

import pytest
from hypothesis import given, strategies as st

from tests.support.clock import in_virtual_time
from workers.places import Places


class Crowd:
    """People at places: who has come in, in their order, and who is in there."""

    def __init__(self, count: int) -> None:
        self.places = Places(count)
        self.came: list[str] = []
        self.inside = 0
        self.inside_most = 0

    async def visit(self, owner: str, *, stays_s: float = 1.0, within_s: float = 1e6) -> None:
        await self.places.take(owner, within_s=within_s)
        self.came.append(owner)
        self.inside += 1
        self.inside_most = max(self.inside_most, self.inside)
        try:
            await asyncio.sleep(stays_s)
        finally:
            self.inside -= 1
            self.places.leave()


@in_virtual_time
async def test_owners_take_turns_however_many_each_has_waiting() -> None:
    crowd = Crowd(2)
    async with asyncio.TaskGroup() as group:
        for owner in "aaaaaaaabbbc":
            group.create_task(crowd.visit(owner), name=owner)
    assert "".join(crowd.came) == "aaabcababaaa"
    assert (crowd.inside_most, crowd.inside) == (2, 0)


@in_virtual_time
async def test_who_does_not_get_a_place_in_time_leaves_none_behind() -> None:
    crowd = Crowd(1)
    async with asyncio.TaskGroup() as group:
        group.create_task(crowd.visit("a", stays_s=5), name="a")
        await asyncio.sleep(1)
        with pytest.raises(TimeoutError):
            await crowd.visit("b", within_s=1)
    await crowd.visit("c")
    assert crowd.came == ["a", "c"]


@in_virtual_time
async def test_a_place_that_is_given_to_somebody_who_leaves_is_given_on() -> None:
    crowd = Crowd(1)
    async with asyncio.TaskGroup() as group:
        first = group.create_task(crowd.visit("a", stays_s=100), name="first")
        await asyncio.sleep(1)
        second = group.create_task(crowd.visit("b"), name="second")
        third = group.create_task(crowd.visit("c"), name="third")
        await asyncio.sleep(1)
        first.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        second.cancel()
        await third
    assert crowd.came[-1] == "c"
    assert repr(crowd.places) == "<Places 1 free, 0 of 0 owners waiting>"


@given(
    visits=st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(0, 3), st.none() | st.integers(0, 3)),
        max_size=30,
    ),
    count=st.integers(1, 3),
)
@in_virtual_time
async def test_no_more_are_inside_than_there_are_places_and_all_are_free_at_the_end(
    visits: list[tuple[str, int, int | None]], count: int
) -> None:
    crowd = Crowd(count)

    async def cancel_later(task: asyncio.Task[None], after_s: int) -> None:
        await asyncio.sleep(after_s)
        task.cancel()

    async with asyncio.TaskGroup() as group:
        for owner, stays_s, cancelled_s in visits:
            task = group.create_task(crowd.visit(owner, stays_s=stays_s), name=owner)
            if cancelled_s is not None:
                group.create_task(cancel_later(task, cancelled_s), name="cancel")
    assert crowd.inside_most <= count
    assert repr(crowd.places) == f"<Places {count} free, 0 of 0 owners waiting>"
