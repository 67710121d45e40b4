"""One loaded worker that waits, to take the place of the next one that dies."""

import asyncio
import itertools
from collections.abc import Callable, Mapping, Sequence

from runtime.child import WORKER_ID, Child
from runtime.config import RuntimeConfig
from runtime.repeating import backoff_of
from runtime.slot import Begun


class Standby:
    """Keeps one waiting; once it is taken, another one is loaded."""

    def __init__(
        self,
        command: Sequence[str],
        config: RuntimeConfig,
        *,
        environment: Callable[[], Mapping[str, str]],
        new_id: Callable[[str], str],
    ) -> None:
        """Nothing is started yet.

        Args:
            command: Of a worker.
            config: How long to wait between starts that fail.
            environment: Variables of a worker.
            new_id: Makes an id of a worker session out of a name.
        """
        self._command = command
        self._config = config
        self._environment = environment
        self._new_id = new_id
        self._waiting: Begun | None = None
        self._taken = asyncio.Event()

    async def take(self) -> Begun | None:
        """The one that waits, which serves from now on; None: there is none."""
        begun, self._waiting = self._waiting, None
        if begun is None:
            return None
        self._taken.set()
        if begun.child.go():
            return begun
        await begun.child.discard()
        return None

    def renew(self) -> None:
        """End the one that waits, which has loaded old code; another one is begun."""
        if self._waiting is not None:
            self._waiting.child.kill()

    async def keep(self) -> None:
        """Have one waiting at all times, until cancelled."""
        backoff = backoff_of(self._config)
        loop = asyncio.get_running_loop()
        for start in itertools.count():
            worker_id = self._new_id(f"s-{start}")
            environment = {**self._environment(), WORKER_ID: worker_id}
            up_since_s = loop.time()
            try:
                child = await Child.start(self._command, environment, waits=True)
            except OSError:
                await asyncio.sleep(backoff.delay_s(up_s=0))
                continue
            self._taken.clear()
            self._waiting = Begun(child, worker_id)
            try:
                async with asyncio.TaskGroup() as group:
                    ended = group.create_task(child.wait(), name="standby end")
                    taken = group.create_task(self._taken.wait(), name="standby taken")
                    await asyncio.wait({ended, taken}, return_when="FIRST_COMPLETED")
                    ended.cancel()
                    taken.cancel()
            finally:
                if not self._taken.is_set():
                    self._waiting = None
                    await child.discard()
            if not self._taken.is_set():
                await asyncio.sleep(backoff.delay_s(up_s=loop.time() - up_since_s))
