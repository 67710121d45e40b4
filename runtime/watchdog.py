"""Ends a process whose event loop does not turn any more, or that does not come to its end.

What blocks the loop may hold the interpreter's lock as well, so that no thread of ours would
run either: the C code of `faulthandler` waits, says on stderr where every thread is, and
ends the process. A worker's contexts are taken over long before, when its session runs out.
"""

import asyncio
import contextlib
import faulthandler
from collections.abc import AsyncGenerator, Callable

_BEATS = 10
"""Signs of life in the time that the loop may be stuck."""


@contextlib.asynccontextmanager
async def watched(loop_stall_s_max: float) -> AsyncGenerator[Callable[[], object], None]:
    """For the length of a block, end the process once its loop is stuck for so long.

    Yields:
        What to call when the block is about to end: from then on it has about that long.
    """
    async with asyncio.TaskGroup() as group:
        beats = group.create_task(_beat(loop_stall_s_max), name="watchdog")
        try:
            yield beats.cancel
        finally:
            beats.cancel()
            faulthandler.cancel_dump_traceback_later()


async def _beat(loop_stall_s_max: float) -> None:
    while True:
        faulthandler.dump_traceback_later(loop_stall_s_max, exit=True)
        await asyncio.sleep(loop_stall_s_max / _BEATS)
