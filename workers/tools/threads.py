"""Blocking functions in threads that can be left behind.

A thread cannot be stopped. The interpreter waits for an executor's threads before it
exits, so one hung tool would keep a drained worker alive; these are daemon threads, and
their number is bounded.
"""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


class BlockingCalls:
    """Runs blocking functions, each in a thread of its own."""

    def __init__(self, *, threads_max: int) -> None:
        self._places = asyncio.Semaphore(threads_max)

    async def run(self, function: Callable[[], Result], *, name: str) -> Result:
        """Return what the function returns, or raise what it raises.

        Cancelled while it waits for a place, the function never runs. Cancelled later, the
        thread goes on alone, its result is thrown away, and its place is given back only
        when it ends.
        """
        await self._places.acquire()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Result] = loop.create_future()
        context = contextvars.copy_context()

        def settle(result: Result | None, error: BaseException | None) -> None:
            self._places.release()
            if answer.done():
                return
            if error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(result)  # type: ignore[arg-type]  # set unless it raised

        def work() -> None:
            result: Result | None = None
            error: BaseException | None = None
            try:
                result = context.run(function)
            except BaseException as raised:  # noqa: BLE001 - handed over to whoever waits
                # A future does not take StopIteration, and a tool that calls sys.exit()
                # must not end the worker.
                plain = isinstance(raised, Exception) and not isinstance(raised, StopIteration)
                error = raised if plain else RuntimeError(f"{raised!r} was raised")
            try:
                loop.call_soon_threadsafe(settle, result, error)
            except RuntimeError:
                return  # the loop is closed: nobody waits any more

        try:
            threading.Thread(target=work, name=name, daemon=True).start()
        except RuntimeError:
            self._places.release()
            raise
        return await answer
