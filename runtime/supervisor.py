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
import socket
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, Protocol

from runtime.backoff import Backoff
from runtime.child import WORKER_ID, Child, stopped_for
from runtime.config import RuntimeConfig
from runtime.embedded import StoreFailed
from runtime.port import Place
from runtime.store_address import BadDataFolder, DataFolderLost
from runtime.store_binary import NoStoreBinary
from storage import end_if_cancelled

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
    place: Place | None = None
    """Where the process accepts connections, if it does."""

    @property
    def listen_fd(self) -> int | None:
        """The listening socket that it inherits."""
        return self.place.descriptor if self.place else None


@dataclass(frozen=True, slots=True)
class Replaced:
    """What became of one process in a restart; see `storage.ProcessRestart`."""

    slot: Slot
    process_id: int | None
    replaced_by: int | None
    outcome: Literal["drained", "killed", "not replaced"]
    moved: int | None
    took_s: float


@dataclass(slots=True, eq=False)
class _Begun:
    """A process that was started, and whether it has ended."""

    child: Child
    worker_id: str
    """The id of its worker session, if it is a worker."""
    moved: int | None = None
    """What it has moved elsewhere while it drained, once it has ended."""
    over: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once it has ended."""

    def is_called(self, name: str) -> bool:
        """Whether `name` is the id of this worker, or `<host>:<process id>` of this process."""
        return name in {self.worker_id, f"{socket.gethostname()}:{self.child.process_id}"}

    def end_soon(self, *, force: bool) -> None:
        """Have it drain, or end now."""
        if force:
            self.child.kill()
        else:
            self.child.terminate()

    async def end(self) -> None:
        """Kill it if it lives, and let go of it."""
        self.child.kill()
        await self.child.wait()
        self.moved = self.child.moved()
        self.child.close()
        self.over.set()


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
        self._standby_command = standby
        self._standby: _Begun | None = None
        self._taken = asyncio.Event()
        self._bury_others = bury_others
        self._beside = beside
        self._prepare = prepare
        self._worker_ids: set[str] = set()
        """Ids of all workers that we have ever started."""
        self._loading: dict[Slot, _Begun] = {}
        """Processes of the first start, which wait for the store to be up."""
        self._children: dict[Slot, _Begun] = {}
        self._heirs: dict[Slot, _Begun] = {}
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
                        keeping = group.create_task(
                            self._watch_store(self._store), name="store"
                        )
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

    async def _start_store(self, store: WatchedStore) -> Exception | None:
        """Start the store; a failure is returned, so that it is not wrapped in a group."""
        try:
            await store.start()
        except (StoreFailed, NoStoreBinary, BadDataFolder) as error:
            return error
        return None

    async def _first_start(self, store: WatchedStore) -> Exception | None:
        async with asyncio.TaskGroup() as group:
            starting = group.create_task(self._start_store(store), name="start")
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

    async def _watch_store(self, store: WatchedStore) -> None:
        """Start the store again whenever it is gone; cancelled, nobody starts it any more."""
        # Everything waits for the store: it is tried more often than a process of ours.
        backoff = self._backoff(max_s=self._config.store_backoff_s_max)
        loop = asyncio.get_running_loop()
        up_since_s = loop.time()
        async with asyncio.TaskGroup() as group:
            preparing: asyncio.Task[None] | None = None
            while True:
                await store.gone()
                if preparing is not None:
                    preparing.cancel()
                lost = ""  # what was said of a data folder that was taken away
                while True:
                    delay_s = backoff.delay_s(up_s=loop.time() - up_since_s)
                    if not lost:
                        _log.warning(
                            "store gone, starting it again", extra={"delay_s": delay_s}
                        )
                    await asyncio.sleep(delay_s)
                    up_since_s = loop.time()
                    error = await self._start_store(store)
                    if error is None:
                        break
                    if str(error) != lost:
                        _log.error("store did not start", extra={"reason": str(error)})
                    lost = str(error) if isinstance(error, DataFolderLost) else ""
                if lost:
                    _log.warning("store is up again")
                if self._prepare is not None:
                    work = self._until_done("prepare", self._prepare)
                    preparing = group.create_task(work, name="prepare")

    async def _keep_children(self) -> None:
        async with asyncio.TaskGroup() as group:
            keepers = [
                group.create_task(self._keep(group, slot), name=f"{slot.role} {slot.number}")
                for slot in self._slots
            ]
            announcing = group.create_task(self._announce_once_ready(), name="announce")
            if self._bury_others is not None:
                work = self._until_buried(partial(self._bury_others, self._worker_ids))
                group.create_task(work, name="bury others")
            await self._stop.wait()
            announcing.cancel()
            for begun in (*self._children.values(), *self._heirs.values()):
                begun.child.terminate()
            if keepers:
                await asyncio.wait(keepers, timeout=self._config.drain_s_max)
            for slot, begun in (*self._children.items(), *self._heirs.items()):
                _log.warning("did not drain in time, killed", extra=_fields(slot))
                begun.child.kill()

    async def _announce_once_ready(self) -> None:
        for ready in self._ready.values():
            await ready.wait()
        await self._until_done("announce", self._announce)
        async with asyncio.TaskGroup() as group:
            if self._beside is not None:
                group.create_task(self._until_done("beside", self._beside), name="beside")
            if self._standby_command is not None:
                group.create_task(self._keep_standby(self._standby_command), name="standby")

    async def _until_done(self, what: str, work: Callable[[], Awaitable[None]]) -> None:
        """Repeat some work until it succeeds; children are kept running meanwhile."""
        backoff = self._backoff()
        loop = asyncio.get_running_loop()
        while True:
            since_s = loop.time()
            try:
                await work()
            except Exception as error:  # noqa: BLE001 - the supervisor outlives all
                end_if_cancelled()
                delay_s = backoff.delay_s(up_s=loop.time() - since_s)
                _log.warning(
                    "failed, doing it again",
                    extra={"what": what, "delay_s": delay_s, "reason": str(error)},
                    exc_info=not isinstance(error, StoreFailed),
                )
                await asyncio.sleep(delay_s)
            else:
                return

    async def _keep_standby(self, command: Sequence[str]) -> None:
        """Have one loaded worker waiting at all times."""
        backoff = self._backoff()
        loop = asyncio.get_running_loop()
        for start in itertools.count():
            worker_id = self._new_worker_id(f"s-{start}")
            environment = {**self._environment("worker"), WORKER_ID: worker_id}
            up_since_s = loop.time()
            try:
                child = await Child.start(command, environment, waits=True)
            except OSError:
                await asyncio.sleep(backoff.delay_s(up_s=0))
                continue
            self._taken.clear()
            self._standby = _Begun(child, worker_id)
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

    def _new_worker_id(self, name: str) -> str:
        worker_id = f"worker-{name}-{secrets.token_hex(6)}"
        self._worker_ids.add(worker_id)
        return worker_id

    async def _begin(self, slot: Slot) -> _Begun:
        """A process for the slot: its heir, one that has loaded, the standby, or a new one."""
        if (heir := self._heirs.pop(slot, None)) is not None:
            return heir
        if (loaded := self._loading.pop(slot, None)) is not None:
            loaded.child.go()  # if it has ended, its keeper sees that
            return loaded
        standby = self._standby
        if slot.role == "worker" and standby is not None:
            self._standby = None
            self._taken.set()
            if standby.child.go():
                return standby
            await standby.child.discard()
        return await self._start_new(slot)

    async def _start_new(self, slot: Slot, *, waits: bool = False) -> _Begun:
        worker_id = self._new_worker_id(f"{slot.number}-{next(self._starts)}")
        environment = {**self._environment(slot.role), WORKER_ID: worker_id}
        child = await Child.start(
            slot.command, environment, waits=waits, listen_fd=slot.listen_fd
        )
        return _Begun(child, worker_id)

    async def _keep(self, group: asyncio.TaskGroup, slot: Slot) -> None:
        backoff = self._backoff()
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
                extra={**_fields(slot), "exit_code": code, "delay_s": delay_s},
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
                self._standby.child.kill()  # it has loaded the old code; another one is begun
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
            leaving: list[tuple[Slot, _Begun | None]] = []
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

    async def _until_over(self, slot: Slot, begun: _Begun | None, *, due_s: float) -> bool:
        """Wait until a process has ended that was told to; whether it had to be killed."""
        if begun is None:
            return False
        try:
            async with asyncio.timeout_at(due_s):
                await begun.over.wait()
        except TimeoutError:
            _log.warning("did not drain in time, killed", extra=_fields(slot))
            begun.child.kill()
            await begun.over.wait()
            return True
        return False

    async def _begin_heir(self, slot: Slot) -> _Begun | None:
        """A new process that serves already beside the old one; None if it did not come up."""
        try:
            heir = await self._start_new(slot)
        except OSError as error:
            _log.error("process cannot start", extra={**_fields(slot), "reason": str(error)})
            return None
        served = False
        try:
            async with asyncio.timeout(self._config.ready_s_max):
                served = await heir.child.ready()
        except TimeoutError:
            _log.warning("not ready in time, killed", extra=_fields(slot))
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
            _log.error("process cannot start", extra={**_fields(slot), "reason": str(error)})
            return None
        self._children[slot] = begun
        try:
            code = await self._until_end(slot, begun.child)
        finally:
            # Cancelled, it must not leave a process behind that nobody waits for.
            await begun.end()
            del self._children[slot]
        if slot.role == "worker" and (code != 0 or not self._stop.is_set()):
            work = self._until_buried(partial(self._bury, begun.worker_id))
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
            _log.warning("not ready in time, killed", extra=_fields(slot))
            child.kill()
        async with asyncio.TaskGroup() as group:
            look = group.create_task(self._kill_if_stopped(slot, child), name="look")
            code = await child.wait()
            look.cancel()
        return code

    async def _kill_if_stopped(self, slot: Slot, child: Child) -> None:
        """Kill it once a signal has stopped it for as long as a loop may be stuck."""
        await stopped_for(child.process_id, self._config.loop_stall_s_max)
        _log.warning("stopped by a signal for too long, killed", extra=_fields(slot))
        child.kill()

    async def _stopped_within(self, delay_s: float) -> bool:
        try:
            async with asyncio.timeout(delay_s):
                return await self._stop.wait()
        except TimeoutError:
            return False

    async def _until_buried(self, bury: Callable[[], Awaitable[None]]) -> None:
        try:
            async with asyncio.timeout(self._config.bury_s_max):
                while True:
                    try:
                        await bury()
                    except Exception as error:  # noqa: BLE001 - the supervisor outlives all
                        reason = type(error).__name__
                        _log.debug("bury failed", extra={"reason": reason})
                        end_if_cancelled()
                        await asyncio.sleep(_BURY_AGAIN_S)
                    else:
                        return
        except TimeoutError:
            # Not lost: the worker's session runs out and a sweeper frees its contexts.
            _log.warning("could not bury a dead worker, its session has to run out")

    def _backoff(self, *, max_s: float | None = None) -> Backoff:
        return Backoff(
            base_s=self._config.restart_backoff_s_base,
            max_s=self._config.restart_backoff_s_max if max_s is None else max_s,
            reset_s=self._config.restart_reset_s,
        )


def _replaced(
    slot: Slot, old: _Begun | None, heir: _Begun | None, *, killed: bool, took_s: float
) -> Replaced:
    return Replaced(
        slot,
        process_id=old.child.process_id if old else None,
        replaced_by=heir.child.process_id if heir else None,
        outcome="killed" if killed else "drained",
        moved=old.moved if old else None,
        took_s=took_s,
    )


def _fields(slot: Slot) -> dict[str, object]:
    return {"role": slot.role, "slot": slot.number}
