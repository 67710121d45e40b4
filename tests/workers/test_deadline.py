"""A deadline calls once, at the moment that it was moved to last."""

import asyncio
import math

import pytest

from tests.support.clock import in_virtual_time, now_s
from workers.deadline import Deadline


@pytest.mark.parametrize(
    ("moves_s", "passes_s"),
    [
        ([5], [5]),
        ([5, 9], [9]),
        ([9, 5], [5]),
        ([5, math.inf], []),
        ([5, math.inf, 7], [7]),
        ([math.inf, 5, 9, 7], [7]),
    ],
)
@in_virtual_time
async def test_it_passes_when_it_was_moved_to_last(
    moves_s: list[float], passes_s: list[float]
) -> None:
    passed_s: list[float] = []
    deadline = Deadline(lambda: passed_s.append(now_s()))
    for moment_s in moves_s:
        deadline.move(moment_s)
    await asyncio.sleep(20)
    assert passed_s == pytest.approx(passes_s)
    assert deadline.passed == bool(passes_s)


@in_virtual_time
async def test_it_passes_again_when_it_is_moved_again() -> None:
    passed_s: list[float] = []
    deadline = Deadline(lambda: passed_s.append(now_s()))
    deadline.move(5)
    await asyncio.sleep(6)
    deadline.passed = False
    deadline.move(8)
    await asyncio.sleep(6)
    assert passed_s == pytest.approx([5, 8])
    assert deadline.passed


@in_virtual_time
async def test_it_calls_nobody_once_it_was_cancelled() -> None:
    passed_s: list[float] = []
    deadline = Deadline(lambda: passed_s.append(now_s()))
    deadline.move(5)
    deadline.cancel()
    await asyncio.sleep(6)
    assert not passed_s
    assert not deadline.passed
