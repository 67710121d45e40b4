"""Virtual time, and processes that freeze and die in it."""

import asyncio
import contextvars
from collections.abc import Coroutine

import pytest

from verify.simulation.clock import PROCESS, NothingHappens, Process, VirtualTimeLoop


def run(main: Coroutine[object, object, None]) -> float:
    """Run to the end; the virtual time that it took."""
    loop = VirtualTimeLoop(ends_s=100.0)
    try:
        loop.run_until_complete(main)
        return loop.time()
    finally:
        loop.close()


def context_of(process: Process) -> contextvars.Context:
    """Where a process runs."""
    context = contextvars.Context()
    context.run(PROCESS.set, process)
    return context


def test_an_hour_is_over_at_once() -> None:
    async def sleep() -> None:
        await asyncio.sleep(60)

    assert run(sleep()) == pytest.approx(60)


def test_timers_of_one_moment_run_in_the_order_in_which_they_were_set() -> None:
    seen: list[int] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for number in range(200):
            loop.call_later(1.0, seen.append, number)
        await asyncio.sleep(2)

    run(main())
    assert seen == list(range(200))


def test_waiting_for_what_never_happens_is_told() -> None:
    async def wait() -> None:
        await asyncio.Event().wait()

    with pytest.raises(NothingHappens):
        run(wait())


def test_a_frozen_process_does_late_what_was_due_and_nothing_that_was_cancelled() -> None:
    seen: list[str] = []
    process = Process("w1")

    async def work() -> None:
        loop = asyncio.get_running_loop()
        cancelled = loop.call_later(2, seen.append, "cancelled")
        loop.call_later(1, cancelled.cancel)
        await asyncio.sleep(3)
        seen.append(f"slept until {loop.time():.0f}")

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(work(), context=context_of(process))
            await asyncio.sleep(0.5)
            process.freeze()
            await asyncio.sleep(9.5)
            assert seen == []
            process.thaw()

    run(main())
    assert seen == ["slept until 10"]


def test_nothing_of_a_dead_process_runs_not_even_its_finally() -> None:
    seen: list[str] = []
    process = Process("w1")
    process.on_death(lambda: seen.append("told"))

    async def work() -> None:
        try:
            await asyncio.sleep(1)
            seen.append("worked")
        finally:
            seen.append("tidied up")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        task = loop.create_task(work(), context=context_of(process))
        await asyncio.sleep(0.5)
        process.kill()
        await asyncio.sleep(5)
        assert seen == ["told"]
        assert not task.done()
        assert isinstance(loop, VirtualTimeLoop)
        loop.over = True
        process.release()
        task.cancel()

    run(main())
