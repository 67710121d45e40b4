"""The rq worker that makes contexts active and does chores, without forks and signals.

- A job is read, never resolved: only the functions in ALLOWED are obeyed, by their name.
  Data that is not JSON is never decoded by anything else.
- No job is in flight outside the store: a blocked worker only peeks at the queue, and one
  script moves a batch of jobs from the queue to the worker.
- rq registers the worker, over a connection of its own and in threads; the jobs move
  through `storage`. Safety depends on neither: fencing tokens guard the contexts.
- The worker obeys no commands of rq's (stop-job, kill-horse, suspend, shutdown).
"""

import asyncio
import contextlib
import zlib
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Self

import orjson
import structlog
from redis import Redis
from redis.exceptions import RedisError
from rq.serializers import JSONSerializer
from rq.timeouts import TimerDeathPenalty
from rq.worker import BaseWorker, WorkerStatus
from typing_extensions import override

from storage import (
    ActivationQueue,
    Link,
    StoreRefusedWrite,
    StoreUnavailable,
    describe,
    make_client,
    unix_ms,
)

log = structlog.get_logger(__name__)

CALL_BYTES_MAX: Final = 4_096
"""Longest call of a job, unpacked; ours take some 120 bytes."""
PEEK_GRACE_S: Final = 5.0
"""How late a peek's answer may be before its connection is given up."""


class Refused(Exception):
    """A job that this worker does not obey; the message says why."""


def activate(context_id: str) -> None:
    """What an activation job names. A `ContextWorker` knows it; nobody calls it.

    Raises:
        RuntimeError: Always: some other rq worker has taken the job.
    """
    raise RuntimeError(
        f"The context {context_id} can be made active by a worker of contextd only. "
        "Take other rq workers off this queue."
    )


def retention() -> None:
    """What the retention job names; nobody calls it. Raises as `activate`."""
    raise RuntimeError("A worker of contextd does this. Take other rq workers off this queue.")


def webhooks(context_id: str) -> None:
    """What a webhook job names; nobody calls it. Raises as `activate`."""
    raise RuntimeError(f"A worker of contextd tells of {context_id}, no other rq worker.")


ALLOWED: Final = frozenset(
    f"{function.__module__}.{function.__qualname__}"
    for function in (activate, retention, webhooks)
)
"""Every function that a job may name."""


@dataclass(frozen=True, slots=True)
class Chore:
    """Maintenance that a job asks for."""

    name: str
    """One of `ActivationQueue.CHORES`."""
    context_id: str
    """What it is about; empty if it is not about one."""

    @property
    def job_id(self) -> str:
        """The id of its job."""
        return ActivationQueue.chore_id(self.name, self.context_id)


def read_job(job_id: str, data: bytes) -> str | Chore:
    """The context that a job wants to be active, or the maintenance that it asks for.

    Raises:
        Refused: It wants anything else.
    """
    try:
        raw = zlib.decompressobj().decompress(data, CALL_BYTES_MAX)
    except zlib.error:
        raw = data  # rq reads both
    try:
        call = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise Refused("Its data is not JSON; this worker reads nothing else.") from None
    match call:
        case [str() as function, None, [], {"context_id": str() as about, **rest}] if not rest:
            wanted = _wanted(function, about)
        case [str() as function, None, [], {**given}] if not given:
            wanted = _wanted(function, "")
        case [str() as function, *_]:
            wanted = None
        case _:
            function, wanted = ActivationQueue.FUNCTION, None
    if function not in ALLOWED:
        raise Refused(f"It names {function[:200]}, which is not on the worker's allow-list.")
    if wanted is None:
        raise Refused("Its call is not activate(context_id=...), and no chore.")
    own_id = wanted.job_id if isinstance(wanted, Chore) else ActivationQueue.job_id(wanted)
    if job_id != own_id:
        raise Refused(f"Its id is not {own_id}.")
    return wanted


def _wanted(function: str, context_id: str) -> str | Chore | None:
    """What a call with this argument asks for; None if the function takes another one."""
    if function == ActivationQueue.FUNCTION:
        return context_id or None
    for name, is_about_one in ActivationQueue.CHORES.items():
        if function == ActivationQueue.chore_function(name):
            return Chore(name, context_id) if is_about_one == bool(context_id) else None
    return None


class ContextWorker(BaseWorker):
    """What rq knows of a worker process. Made by `open_worker`.

    Its methods block: call them in threads. Jobs are started and ended by scripts, so
    rq's own loop, executions and registries of one running job are not used here.
    """

    death_penalty_class = TimerDeathPenalty  # rq's default takes SIGALRM

    @classmethod
    def connect(
        cls, url: str, worker_id: str, *, heartbeat_s: float, call_s_max: float
    ) -> Self:
        """Make a worker with a connection of its own; not registered yet."""
        connection = make_client(url, call_s_max=call_s_max)
        return cls(
            [ActivationQueue.NAME],
            worker_id,
            connection=connection,
            serializer=JSONSerializer,
            worker_ttl=max(1, round(2 * heartbeat_s)),
        )

    def register(self) -> None:
        """Tell rq that the worker is there and what it does."""
        announce: Callable[[], None] = self.register_birth  # rq leaves it untyped
        announce()
        busy = self.connection.hlen(ActivationQueue.worker_jobs_key(self.name))
        self.set_state(WorkerStatus.BUSY if busy else WorkerStatus.IDLE)

    def beat(self) -> None:
        """Tell rq that the worker is still there; registers it again where rq forgot it."""
        if self.connection.hexists(self.key, "birth"):
            self.heartbeat()
        else:
            # A beat just after rq forgot it leaves a registration that is nothing but a beat.
            self.connection.delete(self.key)
            self.register()

    def retire(self) -> None:
        """Tell rq that the worker has left, and close the connection."""
        leave: Callable[[], None] = self.register_death  # rq leaves it untyped
        try:
            leave()
        finally:
            self.connection.close()

    @override
    def _set_connection(self, connection: Redis) -> Redis:
        return connection  # rq would stretch the time-out for blocking reads, which we have not


@contextlib.asynccontextmanager
async def open_worker(
    url: str, worker_id: str, *, heartbeat_s: float = 15.0, call_s_max: float = 5.0
) -> AsyncGenerator[ContextWorker, None]:
    """An rq worker that is registered, and heard of each `heartbeat_s`, for a block's length.

    Args:
        url: Of the store.
        worker_id: Of this life of the process: rq refuses a name that is in use.
        heartbeat_s: How often; rq takes it for dead 60 s after two missed ones.
        call_s_max: How long one call of rq's may take.

    Raises:
        RedisError: The store cannot be reached.
        ValueError: A worker of this name is registered.
    """
    worker = await asyncio.to_thread(
        ContextWorker.connect, url, worker_id, heartbeat_s=heartbeat_s, call_s_max=call_s_max
    )
    await asyncio.to_thread(worker.register)
    try:
        async with asyncio.TaskGroup() as group:
            beats = group.create_task(_beat(worker, heartbeat_s), name="rq-heartbeat")
            try:
                yield worker
            finally:
                beats.cancel()
    finally:
        try:
            await asyncio.to_thread(worker.retire)
        except RedisError as error:
            # rq drops it by itself once its heartbeats are missed.
            log.warning(
                "rq worker not unregistered", worker_id=worker_id, error=describe(error)
            )


async def _beat(worker: ContextWorker, heartbeat_s: float) -> None:
    while True:
        await asyncio.sleep(heartbeat_s)
        try:
            await asyncio.to_thread(worker.beat)
        except RedisError as error:
            log.warning("rq heartbeat missed", worker_id=worker.name, error=describe(error))


@dataclass(frozen=True, slots=True)
class _Ending:
    """How a job ends."""

    error: str | None = None
    active_elsewhere: bool = False


class ActivationSource:
    """Where a worker takes its jobs from, and gives them back. One taker at a time.

    Made by `open_source`.
    """

    def __init__(self, queue: ActivationQueue, worker_id: str, *, peek_s: float) -> None:
        self._queue = queue
        self._worker_id = worker_id
        self._peek_s = peek_s
        # A peek that was cancelled stays on the connection until it is answered. Without a
        # barrier: what a peek moves onto its own place is no news to the replicas.
        self._peeks = Link(queue.link.pool, peek_s + PEEK_GRACE_S, calls_max=16)
        self._takes = unix_ms()
        """Number of the last take; begins above those of earlier workers of this id."""
        self._executions: dict[str, str] = {}
        """Execution ids by job."""
        self._ready: list[str | Chore] = []
        self._endings: dict[tuple[str, str], _Ending] = {}
        """What the store has not confirmed yet, by job and execution."""

    @override
    def __repr__(self) -> str:
        return f"<ActivationSource of {self._worker_id}, {len(self._executions)} jobs>"

    async def take(self, room: int) -> Sequence[str | Chore]:
        """Wait for activations and chores that are asked for, and start up to `room` jobs.

        Cancelled at any moment it loses none: jobs that were started in the last moment
        are returned by the next call.

        Returns:
            Context ids and chores, at least one; each is to be given to `finish` or `fail`.

        Raises:
            StoreUnavailable: Call it again.
            StoreRefusedWrite: The store is full or read-only, so that it cannot be waited
                for jobs; call it again, as a poll, after a pause.
            WorkerBuried: The worker's session is over.
            ValueError: There is no room: wait for some first.
        """
        if room < 1:
            raise ValueError(f"no room for activations: {room}")
        if not self._ready:
            await self._start(room)
        while not self._ready:
            # Moves the newest job onto its own place, or waits until there is one. Others
            # may see it too; the script decides who gets it.
            key = self._queue.KEY
            await self._peeks.call("BLMOVE", key, key, "RIGHT", "RIGHT", self._peek_s)
            await self._start(room)
        taken, self._ready = self._ready[:room], self._ready[room:]
        return taken

    async def finish(self, context_id: str, *, active_elsewhere: bool = False) -> None:
        """End the job of a context that was passivated, or that another worker has.

        Without a job (it was activated for its mail alone) nothing happens. Cancelled, or
        while the store does not answer, the end is left to the next `take`.
        """
        job_id = self._queue.job_id(context_id)
        await self._end(job_id, _Ending(active_elsewhere=active_elsewhere))

    async def fail(self, context_id: str, error: str) -> None:
        """End the job of a context that could not be activated; it is not tried again.

        Mail that waits keeps the context in `ready`, where it is found later. For the
        rest as `finish`.
        """
        await self._end(self._queue.job_id(context_id), _Ending(error=error))

    async def end_chore(self, chore: Chore, error: str | None) -> None:
        """End the job of a chore, with an error as failed. For the rest as `finish`."""
        await self._end(chore.job_id, _Ending(error=error))

    async def run(self) -> None:
        """Serve peeks until cancelled."""
        await self._peeks.run()

    async def _start(self, room: int) -> None:
        number = self._takes + 1
        jobs, dropped = await self._queue.take(self._worker_id, number=number, room=room)
        self._takes = number
        for job in jobs:
            try:
                wanted = read_job(job.job_id, job.data)
            except Refused as why:
                log.warning("job refused", job_id=job.job_id, reason=str(why))
                self._endings[job.job_id, job.execution_id] = _Ending(error=f"Refused. {why}")
            else:
                self._executions[job.job_id] = job.execution_id
                self._ready.append(wanted)
        if dropped:
            log.info("queue entries dropped", worker_id=self._worker_id, count=dropped)
        await self._confirm_all()

    async def _end(self, job_id: str, ending: _Ending) -> None:
        # Out of the table first: queued again, the job may be taken again before we know.
        execution_id = self._executions.pop(job_id, None)
        if execution_id is None:
            return
        execution = job_id, execution_id
        self._endings[execution] = ending
        try:
            await self._confirm(*execution, ending)
        except (StoreUnavailable, StoreRefusedWrite) as error:
            log.warning("job not ended yet", job_id=execution[0], error=str(error))

    async def _confirm_all(self) -> None:
        for execution, ending in list(self._endings.items()):
            await self._confirm(*execution, ending)

    async def _confirm(self, job_id: str, execution_id: str, ending: _Ending) -> None:
        """Have the store end a job; doing it twice is harmless."""
        if ending.error is None:
            await self._queue.finish(
                self._worker_id, job_id, execution_id, active_elsewhere=ending.active_elsewhere
            )
        else:
            await self._queue.fail(self._worker_id, job_id, execution_id, ending.error)
        self._endings.pop((job_id, execution_id), None)


@contextlib.asynccontextmanager
async def open_source(
    queue: ActivationQueue, worker_id: str, *, peek_s: float = 5.0
) -> AsyncGenerator[ActivationSource, None]:
    """A worker's source of activations for the length of a block.

    Jobs that it still has at the end are left to `ActivationQueue.forget_worker`.

    Args:
        queue: Where from.
        worker_id: For whom; its session must live (`WorkerSessions.renew`).
        peek_s: How long one look at an empty queue lasts.
    """
    source = ActivationSource(queue, worker_id, peek_s=peek_s)
    async with asyncio.TaskGroup() as group:
        peeks = group.create_task(source.run(), name="queue-peeks")
        try:
            yield source
        finally:
            peeks.cancel()
