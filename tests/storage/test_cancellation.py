"""A task that was cancelled ends, also where its group has lost that."""

import asyncio
import contextlib

from storage import end_if_cancelled


async def test_a_cancellation_that_meets_an_error_is_not_lost() -> None:
    rounds = 0

    async def fail(parent: asyncio.Task[None]) -> None:
        parent.cancel()
        raise ValueError

    async def go_on_after_errors() -> None:
        nonlocal rounds
        task = asyncio.current_task()
        assert task is not None
        while rounds < 3:
            rounds += 1
            with contextlib.suppress(ExceptionGroup):
                async with asyncio.TaskGroup() as group:
                    group.create_task(fail(task))
                    await asyncio.Event().wait()
            end_if_cancelled()

    async with asyncio.TaskGroup() as group:
        cancelled = group.create_task(go_on_after_errors())
    assert cancelled.cancelled()
    assert rounds == 1


async def test_who_was_not_cancelled_goes_on() -> None:
    end_if_cancelled()
