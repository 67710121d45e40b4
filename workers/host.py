"""One worker process full of activations.

A context becomes active here because rq handed over a job, because its mail was pushed to
this worker, or because it was seen waiting (`claim`). Who owns it is decided by the
activate script alone, so a doubled or late hint does no harm. A worker whose session is
over ends: others may have its contexts already.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import structlog
from pydantic import ValidationError
from typing_extensions import override

from storage import (
    WAKE,
    CannotOpen,
    ContextBusy,
    ContextMissing,
    ContextRecovered,
    ContextUnreadable,
    Delivered,
    ErrorSeen,
    Listener,
    Owned,
    Store,
    StoreRefusedWrite,
    StoreUnavailable,
    WorkerBuried,
    WorkerJoined,
    read_mail,
    worker_mail,
)
from workers.activation import Activation, Clock, Performer
from workers.chores import Chores
from workers.config import WorkerConfig
from workers.crashes import Crashes, first_cause, outcome, was_taken_over
from workers.dequeue import ActivationSource, Chore
from workers.frames import Frames
from workers.isolation import Isolation
from workers.poison import Suspicion
from workers.session import Session
from workers.unreadable import delete_if_asked

log = structlog.get_logger(__name__)

STARTING_MAX: Final = 256
"""Contexts loaded at once; more wait in the queue, where no owner holds up the others."""

ENDING_S_MAX: Final = 1.0
"""How long what was cancelled may take to end before the contexts are handed over."""


class Host:
    """The activations of one worker."""

    def __init__(
        self,
        worker_id: str,
        *,
        store: Store,
        source: ActivationSource,
        performer: Performer,
        config: WorkerConfig,
        clock: Clock,
        chores: Chores,
        on_over: Callable[[], object] | None = None,
    ) -> None:
        """Make a host.

        Args:
            worker_id: Unique in the store.
            store: Where the contexts are.
            source: Where jobs come from.
            performer: Performs what the machine asks for.
            config: Limits.
            clock: Unix time in milliseconds.
            chores: The maintenance that it takes part in.
            on_over: Called once its session is not renewed any more. `run` then returns as soon
                as all has ended that was cancelled, which a tool may never do.
        """
        self.worker_id = worker_id
        self._chores = chores
        self._on_over = on_over
        self._store = store
        self._source = source
        self._performer = performer
        self._config = config
        self._clock = clock
        self._active: dict[str, Activation] = {}
        self._starting: dict[str, list[Delivered]] = {}
        """Contexts that are being loaded, with the mail that was pushed meanwhile."""
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._jobs: set[str] = set()
        """Contexts whose rq job is ours to finish."""
        self._session = Session(worker_id, store=store, config=config, clock=clock)
        self._crashes = Crashes(config)
        self._frames = Frames(config)
        self._isolation = Isolation(store, config, clock)
        self._look_now = asyncio.Event()
        self._emptied = asyncio.Event()
        self._started = asyncio.Event()
        """Set whenever a context has been loaded, or has failed to."""
        self._draining = False
        self._group: asyncio.TaskGroup | None = None

    @override
    def __repr__(self) -> str:
        return f"<Host {self.worker_id}, {len(self._active)} active>"

    async def run(self, stop: asyncio.Event, ready: Callable[[], None]) -> int:
        """Serve until `stop` is set, then drain.

        Returns:
            How many contexts were handed over with their turns unfinished.

        Raises:
            ExceptionGroup: Of WorkerBuried, if this worker was taken for dead.
        """
        if not await self._session.begin(stop):
            return 0
        subscriber = self._store.subscriber
        mail = Listener(self._on_mail, self._on_gap)
        wake = Listener(self._on_wake, self._look_now.set)
        try:
            async with asyncio.TaskGroup() as group:
                # An earlier worker of this id may have contexts, whose mail comes at once.
                self._group = group
                await subscriber.subscribe(worker_mail(self.worker_id), mail)
                await subscriber.subscribe(WAKE, wake)
                self._store.announcer.tell(WorkerJoined(worker_id=self.worker_id))
                beginning = (
                    group.create_task(self._take_jobs(group), name="take-jobs"),
                    group.create_task(self._chores.ask(), name="ask-for-chores"),
                )
                helpers = (
                    group.create_task(self._live(), name="heartbeat"),
                    group.create_task(self._frames.run(), name="drafts"),
                )
                ready()
                await stop.wait()
                self._draining = self._store.meters.draining = True
                for task in beginning:
                    task.cancel()
                working = [*await self._drain(), *self._chores.tasks]
                for task in (*helpers, *working):
                    task.cancel()
                if working:
                    # Nobody waits for a tool that goes on though it was cancelled.
                    await asyncio.wait(working, timeout=ENDING_S_MAX)
                await self._chores.leave()
                return await self._session.hand_over()
        finally:
            subscriber.unsubscribe(worker_mail(self.worker_id), mail)
            subscriber.unsubscribe(WAKE, wake)

    def load(self) -> Mapping[str, int]:
        """How many contexts it has: active, starting, waiting for another try."""
        return {
            "active": len(self._active),
            "starting": len(self._starting),
            "waiting_for_retry": len(self._crashes),
        }

    async def _drain(self) -> list[asyncio.Task[None]]:
        """Let turns finish; returns the tasks of those that did not in time."""
        for activation in self._active.values():
            activation.hurry()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._config.drain_s):
                while self._active or self._starting:
                    self._emptied.clear()
                    await self._emptied.wait()
        return list(self._tasks.values())

    # Hints

    def _on_mail(self, message: bytes) -> None:
        raw_id, seq, raw_mail = message.split(b"\n", 2)
        context_id = raw_id.decode()
        try:
            delivered = Delivered(int(seq), read_mail(self._store.sealer, context_id, raw_mail))
        except (CannotOpen, ValidationError):
            # Its activation meets it in the mailbox; that is not the other contexts' affair.
            self._check_mail(context_id)
            return
        if (activation := self._active.get(context_id)) is not None:
            activation.deliver(delivered)
        elif (waiting := self._starting.get(context_id)) is not None:
            waiting.append(delivered)
        else:
            self._start(context_id)

    def _check_mail(self, context_id: str) -> None:
        if (activation := self._active.get(context_id)) is not None:
            activation.check_mail()
        else:
            self._start(context_id)

    def _on_gap(self) -> None:
        for activation in self._active.values():
            activation.check_mail()

    def _on_wake(self, _message: bytes) -> None:
        self._look_now.set()

    async def _take_jobs(self, group: asyncio.TaskGroup) -> None:
        while True:
            room = self._config.activations_max - len(self._active) - len(self._starting)
            if room <= 0:
                await asyncio.sleep(self._config.worker_heartbeat_s / 10)
                continue
            if len(self._starting) > STARTING_MAX // 2:
                self._started.clear()
                await self._started.wait()
                continue
            try:
                taken = await self._take(min(room, STARTING_MAX - len(self._starting)))
            except (StoreUnavailable, StoreRefusedWrite):
                await asyncio.sleep(self._config.worker_heartbeat_s)
                continue
            for job in taken:
                if isinstance(job, Chore):
                    self._chores.begin(job, group)
                else:
                    self._jobs.add(job)
                    self._start(job)

    async def _take(self, room: int) -> Sequence[str | Chore]:
        """The next jobs, at most `room`."""
        try:
            return await self._source.take(room)
        except WorkerBuried:
            await self._session.go_on()
            return await self._source.take(room)

    async def _live(self) -> None:
        """Keep the session until this host is over."""
        try:
            await self._beat()
        finally:
            self._draining = True  # what is heard from now on starts nothing
            if self._on_over is not None:
                self._on_over()

    async def _beat(self) -> None:
        """Each heartbeat, renew the session, bury the dead, pick up what waits too long."""
        swept_s = asyncio.get_running_loop().time()
        while True:
            try:
                await self._session.renew()
                await self._pick_up_overdue()
                if asyncio.get_running_loop().time() - swept_s >= self._config.sweep_s:
                    await self._pick_up_lost()
                    swept_s = asyncio.get_running_loop().time()
            except (StoreUnavailable, StoreRefusedWrite) as error:
                log.warning("heartbeat missed", worker_id=self.worker_id, error=str(error))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._config.worker_heartbeat_s):
                    await self._look_now.wait()
            self._look_now.clear()

    async def _pick_up_overdue(self) -> None:
        now_s = asyncio.get_running_loop().time()
        for context_id in self._crashes.due(now_s):
            self._start(context_id)
        if len(self._active) >= self._config.activations_max or self._draining:
            return
        overdue = await self._store.ownership.claim(
            now_ms=self._clock(), overdue_ms=self._config.overdue_ms
        )
        for context_id in overdue:
            if context_id in self._active or context_id not in self._crashes:
                self._check_mail(context_id)

    async def _pick_up_lost(self) -> None:
        """Contexts that the store says are ours, but that we neither run nor are about to run.

        The store has been set back to a time when we had them, or has executed an
        activation of ours after we had given it up.
        """
        ours = {*self._active, *self._starting, *self._crashes}
        for context_id in await self._store.sessions.contexts_of(self.worker_id):
            if context_id not in ours:
                self._start(context_id)

    # Activations

    def _start(self, context_id: str) -> None:
        if context_id in self._active or context_id in self._starting or self._draining:
            return
        assert self._group is not None
        self._starting[context_id] = []
        name = f"activation {context_id}"
        self._tasks[context_id] = self._group.create_task(self._activate(context_id), name=name)

    async def _activate(self, context_id: str) -> None:
        """Load a context and run it to its end; whatever happens concerns it alone."""
        error: str | None = None
        elsewhere = False
        try:
            match await outcome(self._run(context_id)):
                case None:
                    pass
                case ContextMissing():
                    self._crashes.forget(context_id)
                case ContextBusy():
                    self._crashes.forget(context_id)
                    elsewhere = True
                case StoreUnavailable() | StoreRefusedWrite() as unavailable:
                    self._crashes.wait(context_id)
                    log.warning(
                        "activation waits", context_id=context_id, error=str(unavailable)
                    )
                case crash:
                    error = self._crashed(context_id, crash)
        finally:
            self._active.pop(context_id, None)
            self._tasks.pop(context_id, None)
            self._starting.pop(context_id, None)
            self._emptied.set()
            self._started.set()
        if context_id in self._jobs:
            self._jobs.discard(context_id)
            if error is None:
                await self._source.finish(context_id, active_elsewhere=elsewhere)
            else:
                await self._source.fail(context_id, error)

    async def _run(self, context_id: str) -> None:
        try:
            owned = await self._own(context_id)
        except ContextUnreadable as unreadable:
            remains = unreadable.remains
            if remains and await delete_if_asked(remains, self._store, self.worker_id):
                self._crashes.forget(context_id)
                return
            raise
        with contextlib.ExitStack() as trial:
            crash = self._crashes.cause_of(context_id)
            suspicion = await self._isolation.suspect(owned, crash=crash, trial=trial)
            await self._run_owned(owned, suspicion)

    async def _own(self, context_id: str) -> Owned:
        """Become the owner of a context."""
        try:
            return await self._store.ownership.activate(context_id, self.worker_id)
        except WorkerBuried:
            await self._session.go_on()
            return await self._store.ownership.activate(context_id, self.worker_id)

    async def _run_owned(self, owned: Owned, suspicion: Suspicion | None) -> None:
        context_id = owned.context_id
        activation = Activation(
            owned,
            worker_id=self.worker_id,
            store=self._store,
            performer=self._performer,
            config=self._config,
            clock=self._clock,
            on_draft=self._frames.send_soon,
            suspicion=suspicion,
        )
        self._active[context_id] = activation
        for delivered in self._starting.pop(context_id):
            activation.deliver(delivered)
        self._started.set()
        if self._draining:
            activation.hurry()
        if owned.before not in {"", self.worker_id}:
            self._store.announcer.tell(
                ContextRecovered(
                    context_id=context_id,
                    version=owned.state.version,
                    worker_id=self.worker_id,
                    before=owned.before,
                )
            )
        log.info(
            "context activated",
            context_id=context_id,
            token=owned.token,
            version=owned.state.version,
        )
        reason = await activation.run()
        self._crashes.forget(context_id)
        log.info(
            "context passivated",
            context_id=context_id,
            reason=reason,
            version=activation.state.version,
        )

    def _crashed(self, context_id: str, crash: Exception) -> str | None:
        now_s = asyncio.get_running_loop().time()
        if was_taken_over(crash):
            # Usually by another worker, which `activate` then says. But a call of our own may
            # have been executed late: then the store says that it is ours, and nobody runs it.
            self._crashes.begin_anew(context_id, now_s=now_s)
            self._look_now.set()
            log.warning("context was taken over", context_id=context_id)
            return None
        cause = first_cause(crash)
        count, pause_s = self._crashes.count(context_id, cause, now_s=now_s)
        self._store.meters.count("errors:activation-crashed")
        self._store.announcer.tell(
            ErrorSeen(error="activation-crashed", severity="error", context_id=context_id)
        )
        log.error(
            "activation crashed",
            context_id=context_id,
            crashes=count,
            pause_s=pause_s,
            exc_info=crash,
        )
        return cause
