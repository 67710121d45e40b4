"""Cancellations that are not lost on their way."""

import asyncio


def end_if_cancelled() -> None:
    """End the running task if it was cancelled and has not noticed.

    A task group loses the cancellation that comes together with an error of one of its
    tasks (Python 3.11 and 3.12; found by the explorer: a worker that never ended). Whoever
    goes on after such an error asks here first.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
