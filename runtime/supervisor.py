"""Keeps the store, the gateways and the workers running, and stops them in order.

- Start: the store first, then every child at once. Stop: children drain together, what
  is left after `drain_s_max` is killed by its process id, the store goes last.
- A child that dies is started again: at once the first time, then with growing waits.
- Once all is ready one more worker is loaded and waits (standby): it takes the place of
  the next worker that dies, and another one is loaded.
- The contexts of a dead worker are freed at once (`bury`); each start of a worker has an
  id of its own, so burying the dead never touches the living.
"""

import asyncio
import itertools
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from runtime.backoff import Backoff
from runtime.child import WORKER_ID, Child
from runtime.config import RuntimeConfig
from runtime.embedded import StoreFailed
from runtime.store_address import BadDataFolder
from runtime.store_binary import NoStoreBinary

_log = logging.getLogger(__name__)
_BURY_AGAIN_S = 0.25

Role = Literal["gateway", "worker"]


class WatchedStore(Protocol):
    """A store that is the supervisor's to keep running."""

    @property
    def url(self) -> str:
        """What clients connect to."""
        ...

    async def start(self) -> None:
        """Start or join it; returns once it answers."""
        ...

    async def gone(self) -> None:
        """Wait until it is gone."""
        ...

    async def stop(self) -> None:
        """End it."""
        ...


@dataclass(frozen=True, slots=True)
class Slot:
    """A place that is to be filled by one living process."""

    role: Role
    number: int
    command: Sequence[str]


@dataclass(frozen=True, slots=True)
class _Standby:
    """A worker that has loaded what it needs and waits."""

    child: Child
    worker_id: str


class Supervisor:
    """Fills its slots until it is told to stop."""

    def __init__(
        self,
        config: RuntimeConfig,
        slots: Sequence[Slot],
        *,
        environment: Callable[[], Mapping[str, str]],
        bury: Callable[[str], Awaitable[None]],
        announce: Callable[[], Awaitable[None]],
        store: WatchedStore | None = None,
        standby: Sequence[str] | None = None,
    ) -> None:
        """Nothing is started yet.

        Args:
            config: Bounds of starts, restarts and stops.
            slots: What is to be kept running.
            environment: Variables of the children; asked once the store is up.
            bury: Frees the contexts of the worker of that id; may fail, is repeated.
            announce: Called once, when every slot is ready for the first time.
            store: The store to keep running; None where somebody else does.
            standby: Command of a worker that is to wait, loaded; None keeps none.
        """
        self._config = config
        self._slots = slots
        self._environment = environment
        self._bury = bury
        self._announce = announce
        self._store = store
        self._stop = asyncio.Event()
        self._starts = itertools.count()
        self._standby_command = standby
        self._standby: _Standby | None = None
        self._taken = asyncio.Event()
        self._children: dict[Slot, Child] = {}
        self._ready = {slot: asyncio.Event() for slot in slots}

    def stop(self) -> None:
        """Drain everything, then return from `run`. Repeating changes nothing."""
        self._stop.set()

    def kill(self) -> None:
        """Kill every child and return from `run` without draining."""
        self._stop.set()
        for child in self._children.values():
            child.kill()

    async def run(self) -> None:
        """Keep everything running until `stop` was called and all has ended.

        Raises:
            StoreFailed, NoStoreBinary, BadDataFolder: The store did not come up the first
                time; nothing was left running.
        """
        failure: Exception | None = None
        async with asyncio.TaskGroup() as group:
            stopping = group.create_task(self._stop.wait(), name="stop")
            watching: asyncio.Task[None] | None = None
            try:
                if self._store is not None:
                    starting = group.create_task(self._start_store(), name="store start")
                    await asyncio.wait({starting, stopping}, return_when="FIRST_COMPLETED")
                    failure = starting.result() if starting.done() else None
                    watching = group.create_task(self._watch_store(starting), name="store")
                if failure is None and not self._stop.is_set():
                    await self._keep_children()
            finally:
                stopping.cancel()
                if watching is not None:
                    # Only once nobody starts it any more can it be stopped.
                    watching.cancel()
                    await asyncio.wait({watching})
                if self._store is not None:
                    await self._store.stop()
        if failure is not None:
            raise failure

    async def _start_store(self) -> Exception | None:
        """Start the store; a failure is returned, so that it is not wrapped in a group."""
        if self._store is None:
            return None
        try:
            await self._store.start()
        except (StoreFailed, NoStoreBinary, BadDataFolder) as error:
            return error
        return None

    async def _watch_store(self, starting: asyncio.Task[Exception | None]) -> None:
        """Start the store again whenever it is gone; cancelled, nobody starts it any more."""
        store = self._store
        if store is None or await starting is not None:
            return
        backoff = self._backoff()
        loop = asyncio.get_running_loop()
        up_since_s = loop.time()
        while True:
            await store.gone()
            while True:
                delay_s = backoff.delay_s(up_s=loop.time() - up_since_s)
                _log.warning("store gone, starting it again", extra={"delay_s": delay_s})
                await asyncio.sleep(delay_s)
                up_since_s = loop.time()
                error = await self._start_store()
                if error is None:
                    break
                _log.error("store did not start", extra={"reason": str(error)})

    async def _keep_children(self) -> None:
        async with asyncio.TaskGroup() as group:
            keepers = [
                group.create_task(self._keep(group, slot), name=f"{slot.role} {slot.number}")
                for slot in self._slots
            ]
            announcing = group.create_task(self._announce_once_ready(), name="announce")
            await self._stop.wait()
            announcing.cancel()
            for child in self._children.values():
                child.terminate()
            if keepers:
                await asyncio.wait(keepers, timeout=self._config.drain_s_max)
            for slot, child in self._children.items():
                _log.warning("did not drain in time, killed", extra=_fields(slot))
                child.kill()

    async def _announce_once_ready(self) -> None:
        for ready in self._ready.values():
            await ready.wait()
        await self._announce()
        if self._standby_command is not None:
            await self._keep_standby(self._standby_command)

    async def _keep_standby(self, command: Sequence[str]) -> None:
        """Have one loaded worker waiting at all times."""
        backoff = self._backoff()
        loop = asyncio.get_running_loop()
        for start in itertools.count():
            worker_id = f"worker-s-{start}-{secrets.token_hex(6)}"
            environment = {**self._environment(), WORKER_ID: worker_id}
            up_since_s = loop.time()
            try:
                child = await Child.start(command, environment, standby=True)
            except OSError:
                await asyncio.sleep(backoff.delay_s(up_s=0))
                continue
            self._taken.clear()
            self._standby = _Standby(child, worker_id)
            try:
                async with asyncio.TaskGroup() as group:
                    ended = group.create_task(child.wait(), name="standby end")
                    taken = group.create_task(self._taken.wait(), name="standby taken")
                    await asyncio.wait({ended, taken}, return_when="FIRST_COMPLETED")
                    ended.cancel()
                    taken.cancel()
            finally:
                if not self._taken.is_set():
                    self._standby = None
                    await child.discard()
            if not self._taken.is_set():
                await asyncio.sleep(backoff.delay_s(up_s=loop.time() - up_since_s))

    async def _begin(self, slot: Slot) -> tuple[Child, str]:
        """A process for the slot, the standby if there is one, and its worker id."""
        standby = self._standby
        if slot.role == "worker" and standby is not None:
            self._standby = None
            self._taken.set()
            if standby.child.go():
                return standby.child, standby.worker_id
            await standby.child.discard()
        start = next(self._starts)
        worker_id = f"worker-{slot.number}-{start}-{secrets.token_hex(6)}"
        environment = {**self._environment(), WORKER_ID: worker_id}
        return await Child.start(slot.command, environment), worker_id

    async def _keep(self, group: asyncio.TaskGroup, slot: Slot) -> None:
        backoff = self._backoff()
        loop = asyncio.get_running_loop()
        while True:
            up_since_s = loop.time()
            code = await self._live_once(group, slot)
            if self._stop.is_set():
                return
            delay_s = backoff.delay_s(up_s=loop.time() - up_since_s)
            _log.warning(
                "process ended, starting it again",
                extra={**_fields(slot), "exit_code": code, "delay_s": delay_s},
            )
            if await self._stopped_within(delay_s):
                return

    async def _live_once(self, group: asyncio.TaskGroup, slot: Slot) -> int | None:
        """One life of the slot's process; its exit code, None if it could not start."""
        try:
            child, worker_id = await self._begin(slot)
        except OSError as error:
            _log.error("process cannot start", extra={**_fields(slot), "reason": str(error)})
            return None
        self._children[slot] = child
        try:
            code = await self._until_end(slot, child)
        finally:
            # Cancelled, it must not leave a process behind that nobody waits for.
            del self._children[slot]
            child.kill()
            await child.wait()
        if slot.role == "worker" and (code != 0 or not self._stop.is_set()):
            group.create_task(self._free_contexts(worker_id), name=f"bury {worker_id}")
        return code

    async def _until_end(self, slot: Slot, child: Child) -> int:
        if self._stop.is_set():
            child.terminate()
        try:
            async with asyncio.timeout(self._config.ready_s_max):
                if await child.ready():
                    self._ready[slot].set()
        except TimeoutError:
            _log.warning("not ready in time, killed", extra=_fields(slot))
            child.kill()
        return await child.wait()

    async def _stopped_within(self, delay_s: float) -> bool:
        try:
            async with asyncio.timeout(delay_s):
                return await self._stop.wait()
        except TimeoutError:
            return False

    async def _free_contexts(self, worker_id: str) -> None:
        try:
            async with asyncio.timeout(self._config.bury_s_max):
                while True:
                    try:
                        await self._bury(worker_id)
                    except Exception as error:  # noqa: BLE001 - the supervisor outlives all
                        reason = type(error).__name__
                        _log.debug("bury failed", extra={"reason": reason})
                        await asyncio.sleep(_BURY_AGAIN_S)
                    else:
                        return
        except TimeoutError:
            # Not lost: the worker's session runs out and a sweeper frees its contexts.
            _log.warning("could not bury worker", extra={"worker_id": worker_id})

    def _backoff(self) -> Backoff:
        return Backoff(
            base_s=self._config.restart_backoff_s_base,
            max_s=self._config.restart_backoff_s_max,
            reset_s=self._config.restart_reset_s,
        )


def _fields(slot: Slot) -> dict[str, object]:
    return {"role": slot.role, "slot": slot.number}
