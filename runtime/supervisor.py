"""Keeps the store, the gateways and the workers running, and stops them in order.

- Start: the children load while the store comes up, and serve once it has. Stop: children
  drain together, what is left after `drain_s_max` is killed by its process id, the store
  goes last.
- A child that dies is started again: at once the first time, then with growing waits. One
  that is stopped (SIGSTOP) can end by itself as little as it works, and is killed.
- Once all is ready one more worker is loaded and waits (standby): it takes the place of
  the next worker that dies, and another one is loaded.
- The contexts of a dead worker are freed at once (`bury`); each start of a worker has an
  id of its own, so burying the dead never touches the living.
- A restart replaces one process after the other: the new one serves before the old one
  drains. One that does not come up ends the restart, and the old one goes on.
- A drain ends processes and keeps their slots empty until the next restart of their role.
"""

import asyncio
import contextlib
import itertools
import logging
import secrets
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial

from runtime.child import WORKER_ID, Child, stopped_for
from runtime.config import RuntimeConfig
from runtime.embedded import StoreFailed
from runtime.repeating import backoff_of, until_buried, until_done
from runtime.slot import Begun, Replaced, Role, Slot
from runtime.standby import Standby
from runtime.watched_store import WatchedStore, keep_up, try_start

_log = logging.getLogger(__name__)


class Supervisor:
    """Fills its slots until it is told to stop."""

    def __init__(
        self,
        config: RuntimeConfig,
        slots: Sequence[Slot],
        *,
        environment: Callable[[Role], Mapping[str, str]],
        bury: Callable[[str], Awaitable[None]],
        announce: Callable[[], Awaitable[None]],
        bury_others: Callable[[Collection[str]], Awaitable[None]] | None = None,
        store: WatchedStore | None = None,
        standby: Sequence[str] | None = None,
        beside: Callable[[], Awaitable[None]] | None = None,
        prepare: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Nothing is started yet.

        Args:
            config: Bounds of starts, restarts and stops.
            slots: What is to be kept running.
            environment: Variables of a child; asked for the first time before the store is up.
            bury: Frees the contexts of the worker of that id; may fail, is repeated.
            announce: Called when every slot is ready for the first time; may fail, is
                repeated.
            store: The store to keep running; None where it is not ours.
            bury_others: Frees the contexts of every worker but these; called once the store
                is up, where no worker but ours can live. May fail, is repeated.
            standby: Command of a worker that is to wait, loaded; None keeps none.
            beside: Runs from the announcement until the stop; if it fails, it is begun again.
            prepare: Called each time our store has come up: the first time before any process
                is started, later beside them. May fail, is repeated but for the first time.
        """
        self._config = config
        self._slots = slots
        self._environment = environment
        self._bury = bury
        self._announce = announce
        self._store = store
        self._stop = asyncio.Event()
        self._starts = itertools.count()
        self._standby = (
            Standby(
                standby,
                config,
                environment=partial(environment, "worker"),
                new_id=self._new_worker_id,
            )
            if standby is not None
            else None
        )
        self._bury_others = bury_others
        self._beside = beside
        self._prepare = prepare
        self._worker_ids: set[str] = set()
        """Ids of all workers that we have ever started."""
        self._loading: dict[Slot, Begun] = {}
        """Processes of the first start, which wait for the store to be up."""
        self._children: dict[Slot, Begun] = {}
        self._heirs: dict[Slot, Begun] = {}
        """By slot: the process that serves already, for when the slot's one has drained."""
        self._held: dict[Slot, asyncio.Event] = {}
        """Slots that are kept empty, each with the event that ends that."""
        self._restarting = asyncio.Lock()
        self._ready = {slot: asyncio.Event() for slot in slots}

    def stop(self) -> None:
        """Drain everything, then return from `run`. Repeating changes nothing."""
        self._stop.set()
        for held in self._held.values():
            held.set()

    def kill(self) -> None:
        """Kill every child and return from `run` without draining."""
        self.stop()
        for begun in (*self._children.values(), *self._heirs.values()):
            begun.child.kill()

    async def run(self) -> None:
        """Keep everything running until `stop` was called and all has ended.

        Raises:
            StoreFailed, NoStoreBinary, BadDataFolder: The store did not come up the first
                time; nothing was left running.
        """
        failure: Exception | None = None
        async with asyncio.TaskGroup() as group:
            stopping = group.create_task(self._stop.wait(), name="stop")
            keeping: asyncio.Task[Exception | None] | asyncio.Task[None] | None = None
            try:
                if self._store is not None:
                    keeping = starting = group.create_task(
                        self._first_start(self._store), name="store start"
                    )
                    await asyncio.wait({starting, stopping}, return_when="FIRST_COMPLETED")
                    failure = starting.result() if starting.done() else None
                if failure is None and not self._stop.is_set():
                    if self._store is not None:
                        work = keep_up(self._store, self._config, self._prepare)
                        keeping = group.create_task(work, name="store")
                    await self._keep_children()
            finally:
                stopping.cancel()
                if keeping is not None:
                    # It can be stopped only once nothing starts it any more.
                    keeping.cancel()
                    await asyncio.wait({keeping})
                for begun in self._loading.values():
                    await begun.child.discard()
                if self._store is not None:
                    await self._store.stop()
        if failure is not None:
            raise failure

    async def _first_start(self, store: WatchedStore) -> Exception | None:
        async with asyncio.TaskGroup() as group:
            starting = group.create_task(try_start(store), name="start")
            group.create_task(self._load_children(), name="load")
        failure = starting.result()
        if failure is None and self._prepare is not None:
            try:
                await self._prepare()
            except StoreFailed as error:
                return error
        return failure

    async def _load_children(self) -> None:
        """Have a process for every slot load what it needs; one that cannot is begun later."""
        for slot in self._slots:
            with contextlib.suppress(OSError):
                self._loading[slot] = await self._start_new(slot, waits=True)

    async def _keep_children(self) -> None:
        async with asyncio.TaskGroup() as group:
            keepers = [
                group.create_task(self._keep(group, slot), name=f"{slot.role} {slot.number}")
                for slot in self._slots
            ]
            announcing = group.create_task(self._announce_once_ready(), name="announce")
            if self._bury_others is not None:
                work = until_buried(partial(self._bury_others, self._worker_ids), self._config)
                group.create_task(work, name="bury others")
            await self._stop.wait()
            announcing.cancel()
            for begun in (*self._children.values(), *self._heirs.values()):
                begun.child.terminate()
            if keepers:
                await asyncio.wait(keepers, timeout=self._config.drain_s_max)
            for slot, begun in (*self._children.items(), *self._heirs.items()):
                _log.warning("did not drain in time, killed", extra=slot.log_fields)
                begun.child.kill()

    async def _announce_once_ready(self) -> None:
        for ready in self._ready.values():
            await ready.wait()
        await until_done("announce", self._announce, self._config)
        async with asyncio.TaskGroup() as group:
            if self._beside is not None:
                work = until_done("beside", self._beside, self._config)
                group.create_task(work, name="beside")
            if self._standby is not None:
                group.create_task(self._standby.keep(), name="standby")

    def _new_worker_id(self, name: str) -> str:
        worker_id = f"worker-{name}-{secrets.token_hex(6)}"
        self._worker_ids.add(worker_id)
        return worker_id

    async def _begin(self, slot: Slot) -> Begun:
        """A process for the slot: its heir, one that has loaded, the standby, or a new one."""
        if (heir := self._heirs.pop(slot, None)) is not None:
            return heir
        if (loaded := self._loading.pop(slot, None)) is not None:
            loaded.child.go()  # if it has ended, its keeper sees that
            return loaded
        if slot.role == "worker" and self._standby is not None:
            taken = await self._standby.take()
            if taken is not None:
                return taken
        return await self._start_new(slot)

    async def _start_new(self, slot: Slot, *, waits: bool = False) -> Begun:
        worker_id = self._new_worker_id(f"{slot.number}-{next(self._starts)}")
        environment = {**self._environment(slot.role), WORKER_ID: worker_id}
        child = await Child.start(
            slot.command, environment, waits=waits, listen_fd=slot.listen_fd
        )
        return Begun(child, worker_id)

    async def _keep(self, group: asyncio.TaskGroup, slot: Slot) -> None:
        backoff = backoff_of(self._config)
        loop = asyncio.get_running_loop()
        while True:
            if (held := self._held.get(slot)) is not None and slot not in self._heirs:
                await held.wait()
                if self._stop.is_set() and slot not in self._heirs:
                    return
            up_since_s = loop.time()
            code = await self._live_once(group, slot)
            if self._stop.is_set() and slot not in self._heirs:
                return
            if slot in self._heirs or slot in self._held:
                continue
            delay_s = backoff.delay_s(up_s=loop.time() - up_since_s)
            _log.warning(
                "process ended, starting it again",
                extra={**slot.log_fields, "exit_code": code, "delay_s": delay_s},
            )
            if await self._stopped_within(delay_s) and slot not in self._heirs:
                return

    async def restart(
        self,
        roles: Collection[Role],
        *,
        force: bool,
        told: Callable[[Replaced], Awaitable[None]],
    ) -> bool:
        """Replace every process of these roles, one after the other.

        Args:
            roles: Of the processes that are to be replaced, and of the slots that were drained
                and get one again.
            force: Kill the old ones instead of draining them.
            told: Awaited after each process.

        Returns:
            Whether all were replaced. After the first that was not, the rest stays as it is.
        """
        async with self._restarting:
            for slot in self._slots:
                if slot.role not in roles or self._stop.is_set():
                    continue
                replaced = await self._replace(slot, force=force)
                await told(replaced)
                if replaced.outcome == "not replaced":
                    return False
            if "worker" in roles and self._standby is not None:
                self._standby.renew()
            return not self._stop.is_set()

    async def drain(
        self,
        roles: Collection[Role],
        *,
        process: str | None,
        force: bool,
        told: Callable[[Replaced], Awaitable[None]],
    ) -> bool:
        """End processes of these roles, all at once, and keep their slots empty.

        Args:
            roles: Of the processes that are to end.
            process: Only the worker of this id, or the process `<host>:<process id>`.
            force: Kill them instead of draining them.
            told: Awaited after each process.

        Returns:
            Whether all were drained, or killed.
        """
        async with self._restarting:
            leaving: list[tuple[Slot, Begun | None]] = []
            for slot in self._slots:
                begun = self._children.get(slot) or self._heirs.get(slot)
                called = process is None or (begun is not None and begun.is_called(process))
                if slot.role not in roles or slot in self._held or not called:
                    continue
                self._held[slot] = asyncio.Event()
                if slot.place is not None:
                    slot.place.leave()
                leaving.append((slot, begun))
                if begun is not None:
                    begun.end_soon(force=force)
            loop = asyncio.get_running_loop()
            since_s = loop.time()
            for slot, begun in leaving:
                due_s = since_s + self._config.drain_s_max
                killed = await self._until_over(slot, begun, due_s=due_s) or force
                took_s = loop.time() - since_s
                await told(_replaced(slot, begun, None, killed=killed, took_s=took_s))
            return not self._stop.is_set()

    async def _replace(self, slot: Slot, *, force: bool) -> Replaced:
        loop = asyncio.get_running_loop()
        since_s = loop.time()
        heir = await self._begin_heir(slot)
        # It may have died meanwhile; then its keeper waits before it begins another one,
        # which will be the heir.
        old = self._children.get(slot)
        if heir is None:
            took_s = loop.time() - since_s
            old_id = old.child.process_id if old else None
            return Replaced(slot, old_id, None, "not replaced", None, took_s)
        self._heirs[slot] = heir
        if (held := self._held.pop(slot, None)) is not None:
            held.set()
        if old is not None:
            old.end_soon(force=force)
        due_s = loop.time() + self._config.drain_s_max
        killed = await self._until_over(slot, old, due_s=due_s) or force
        return _replaced(slot, old, heir, killed=killed, took_s=loop.time() - since_s)

    async def _until_over(self, slot: Slot, begun: Begun | None, *, due_s: float) -> bool:
        """Wait until a process has ended that was told to; whether it had to be killed."""
        if begun is None:
            return False
        try:
            async with asyncio.timeout_at(due_s):
                await begun.over.wait()
        except TimeoutError:
            _log.warning("did not drain in time, killed", extra=slot.log_fields)
            begun.child.kill()
            await begun.over.wait()
            return True
        return False

    async def _begin_heir(self, slot: Slot) -> Begun | None:
        """A new process that serves already beside the old one; None if it did not come up."""
        try:
            heir = await self._start_new(slot)
        except OSError as error:
            _log.error("process cannot start", extra={**slot.log_fields, "reason": str(error)})
            return None
        served = False
        try:
            async with asyncio.timeout(self._config.ready_s_max):
                served = await heir.child.ready()
        except TimeoutError:
            _log.warning("not ready in time, killed", extra=slot.log_fields)
        finally:
            if not served:
                await heir.end()
        if not served and slot in self._held and slot.place is not None:
            slot.place.leave()
        return heir if served else None

    async def _live_once(self, group: asyncio.TaskGroup, slot: Slot) -> int | None:
        """One life of the slot's process; its exit code, None if it could not start."""
        try:
            begun = await self._begin(slot)
        except OSError as error:
            _log.error("process cannot start", extra={**slot.log_fields, "reason": str(error)})
            return None
        self._children[slot] = begun
        try:
            code = await self._until_end(slot, begun.child)
        finally:
            # Cancelled, it must not leave a process behind that nobody waits for.
            await begun.end()
            del self._children[slot]
        if slot.role == "worker" and (code != 0 or not self._stop.is_set()):
            work = until_buried(partial(self._bury, begun.worker_id), self._config)
            group.create_task(work, name=f"bury {begun.worker_id}")
        return code

    async def _until_end(self, slot: Slot, child: Child) -> int:
        if self._stop.is_set() or slot in self._held:
            child.terminate()
        try:
            async with asyncio.timeout(self._config.ready_s_max):
                if await child.ready():
                    self._ready[slot].set()
        except TimeoutError:
            _log.warning("not ready in time, killed", extra=slot.log_fields)
            child.kill()
        async with asyncio.TaskGroup() as group:
            look = group.create_task(self._kill_if_stopped(slot, child), name="look")
            code = await child.wait()
            look.cancel()
        return code

    async def _kill_if_stopped(self, slot: Slot, child: Child) -> None:
        """Kill it once a signal has stopped it for as long as a loop may be stuck."""
        await stopped_for(child.process_id, self._config.loop_stall_s_max)
        _log.warning("stopped by a signal for too long, killed", extra=slot.log_fields)
        child.kill()

    async def _stopped_within(self, delay_s: float) -> bool:
        try:
            async with asyncio.timeout(delay_s):
                return await self._stop.wait()
        except TimeoutError:
            return False


def _replaced(
    slot: Slot, old: Begun | None, heir: Begun | None, *, killed: bool, took_s: float
) -> Replaced:
    return Replaced(
        slot,
        process_id=old.child.process_id if old else None,
        replaced_by=heir.child.process_id if heir else None,
        outcome="killed" if killed else "drained",
        moved=old.moved if old else None,
        took_s=took_s,
    )
