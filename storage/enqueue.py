"""Activations and chores as rq jobs: "make this context active", "do this maintenance".

- One job per context, by its id `activate-<context id>` (rq allows no colon in an id); one
  per chore and what it is about, `maintain-<name>-<context id>`.
- rq makes and reads the formats; four protocol steps in three scripts move the jobs, so
  that no job is ever in flight outside the store and rq's commands show each where it is.
- A lost, doubled or late job is harmless: contexts with mail are in `ready` as well, and
  what an activation may change is fenced by its token.
- rq's keys are not part of a context: they live on one primary.
- An owner with many contexts at work holds up nobody else: while other jobs wait, those of such
  an owner wait in the crowd, a second list that is served behind the queue.
"""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Final, Literal, cast

import orjson
from redis import Redis
from rq.job import Job, JobStatus, validate_job_id
from rq.results import Result
from rq.serializers import JSONSerializer
from rq.utils import now, utcformat
from typing_extensions import override

import storage.keys as keys
from storage.errors import WorkerBuried
from storage.link import Link
from storage.scripts import Scripts

FORGETS_MAX: Final = 200
"""Jobs that one call ends for a dead worker, so that it does not hold up the store."""

ERROR_CHARS_MAX: Final = 16_000
"""Longest reason that is kept with a failed job; of a longer one its end, which says most."""

CROWD_MIN: Final = 16
"""Contexts at work with which an owner's further ones wait behind other owners'."""

_NOWHERE: Final = Redis()
"""rq asks for a connection where it only makes formats; this one is never connected."""


_Ending = Literal["passive", "elsewhere", "failed", "dead"]


@dataclass(frozen=True, slots=True)
class TakenJob:
    """A job that was started on a worker, not read yet."""

    job_id: str
    execution_id: str
    data: bytes
    """The call, as rq keeps it: JSON, compressed."""


class ActivationQueue:
    """The rq queue of activations and chores. It has no state of its own."""

    NAME: ClassVar[str] = "contextd"
    FUNCTION: ClassVar[str] = "workers.dequeue.activate"
    CHORES: ClassVar[Mapping[str, bool]] = {"retention": False, "webhooks": True}
    """Maintenance: functions beside FUNCTION, and whether each is about one context."""
    KEY: ClassVar[str] = "rq:queue:contextd"
    CROWD_KEY: ClassVar[str] = f"{KEY}-crowd"

    def __init__(
        self,
        link: Link,
        scripts: Scripts,
        *,
        failed_job_s: int = 86_400,
        failed_jobs_max: int = 1_000,
        clock: Callable[[], datetime] = now,
    ) -> None:
        """Use a link.

        Args:
            link: To the primary that holds rq's keys.
            scripts: Loaded on that link.
            failed_job_s: How long a failed job is kept to be looked at.
            failed_jobs_max: How many are listed; the oldest make room.
            clock: Time in UTC, for show only: nothing is decided by it.
        """
        self.link = link
        self._scripts = scripts
        self._failed_job_s = failed_job_s
        self._failed_jobs_max = failed_jobs_max
        self._clock = clock
        self._template = self._make_template()

    @override
    def __repr__(self) -> str:
        return f"<ActivationQueue {self.NAME} over {self.link!r}>"

    @staticmethod
    def job_id(context_id: str) -> str:
        """The id of the one job that a context may have."""
        return f"activate-{context_id}"

    @staticmethod
    def worker_jobs_key(worker_id: str) -> str:
        """Jobs that a worker has started: job id to execution id."""
        return f"rq:contextd:jobs:{worker_id}"

    async def enqueue(self, context_id: str, *, owner: str = "") -> bool:
        """Enqueue the activation of a context; False if it is enqueued already.

        Args:
            context_id: Which.
            owner: Whose; without one the job never waits in the crowd.

        Raises:
            StoreUnavailable: The outcome is unknown; calling it again is safe.
            ValueError: The id cannot be part of a job's id.
        """
        arguments = {"context_id": context_id}
        job_id = self.job_id(context_id)
        return await self._enqueue(job_id, self.FUNCTION, arguments, owner=owner)

    async def status(self, context_id: str) -> str | None:
        """What rq says of a context's job (`queued`, `started`, ...); None: there is none.

        Raises:
            StoreUnavailable: The store does not answer.
        """
        reply = await self.link.call("HGET", f"rq:job:{self.job_id(context_id)}", "status")
        return None if reply is None else cast("bytes", reply).decode()

    async def enqueue_chore(self, name: str, context_id: str = "") -> bool:
        """Enqueue a chore; False if it is enqueued already.

        Args:
            name: One of CHORES.
            context_id: What it is about, if it is about one.

        Raises:
            StoreUnavailable: The outcome is unknown; calling it again is safe.
        """
        arguments = {"context_id": context_id} if self.CHORES[name] else {}
        return await self._enqueue(
            self.chore_id(name, context_id), self.chore_function(name), arguments
        )

    async def enqueue_each(self, name: str, *, period_s: int) -> bool:
        """Enqueue a chore that is about no context, once in each period.

        Of all callers the first one in a period enqueues it; if that one dies between the two
        steps, the chore is left out until the next period.

        Raises:
            StoreUnavailable: The outcome is unknown.
            StoreRefusedWrite: Nothing has happened.
        """
        took = await self.link.call("SET", keys.chore(name), 1, "NX", "EX", period_s)
        return took is not None and await self.enqueue_chore(name)

    @classmethod
    def chore_function(cls, name: str) -> str:
        """The function that the jobs of a chore name."""
        return f"{cls.FUNCTION.rpartition('.')[0]}.{name}"

    @staticmethod
    def chore_id(name: str, context_id: str) -> str:
        """The id of the one job that a chore may have for a context, or for all."""
        return f"maintain-{name}-{context_id}" if context_id else f"maintain-{name}"

    async def _enqueue(
        self, job_id: str, function: str, arguments: Mapping[str, str], *, owner: str = ""
    ) -> bool:
        validate_job_id(job_id)
        at = utcformat(self._clock())
        call = orjson.dumps([function, None, [], arguments])
        shown = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        reply = await self._scripts.run(
            self.link,
            "enqueue",
            [
                self.KEY,
                "rq:queues",
                f"rq:job:{job_id}",
                f"rq:failed:{self.NAME}",
                f"rq:canceled:{self.NAME}",
                self.CROWD_KEY,
                keys.owner_turns(owner),
            ],
            job_id,
            CROWD_MIN,
            *self._template,
            *("data", zlib.compress(call)),
            *("description", f"{function}({shown})"),
            *("created_at", at, "enqueued_at", at),
        )
        return reply == 1

    async def take(
        self, worker_id: str, *, number: int, room: int
    ) -> tuple[list[TakenJob], int]:
        """Start queued jobs on a worker, oldest first, those of the crowd last.

        Args:
            worker_id: Whose session lives.
            number: Of this take: the next one once a take was answered, else the same
                again, which gets the jobs that the lost answer had.
            room: How many at most.

        Returns:
            The jobs, and how many queue entries were dropped: jobs that others have
            started, that were canceled, or that are broken.

        Raises:
            StoreUnavailable: Jobs may have been started; repeat with the same number.
            WorkerBuried: The worker has no session.
        """
        at = self._clock()
        reply = await self._scripts.run(
            self.link,
            "take",
            [
                self.KEY,
                f"rq:wip:{self.NAME}",
                f"rq:worker:{worker_id}",
                self.worker_jobs_key(worker_id),
                self._last_take_key(worker_id),
                keys.session(worker_id),
                self.CROWD_KEY,
            ],
            worker_id,
            number,
            room,
            utcformat(at),
            at.timestamp(),
        )
        status, *parts = cast("list[bytes]", reply)
        if status != b"taken":
            raise WorkerBuried(worker_id)
        dropped, *flat = parts
        jobs = zip(flat[::3], flat[1::3], flat[2::3], strict=True)
        return [TakenJob(j.decode(), e.decode(), data) for j, e, data in jobs], int(dropped)

    async def finish(
        self, worker_id: str, job_id: str, execution_id: str, *, active_elsewhere: bool = False
    ) -> bool:
        """End a job whose context was passivated, or that was not needed.

        Args:
            worker_id: Who started it.
            job_id: The job.
            execution_id: Of that start; another start of the job is left alone.
            active_elsewhere: Another worker has the context and reads its mail.

        Returns:
            Whether it was queued again at once, because mail had come for its context.

        Raises:
            StoreUnavailable: The outcome is unknown; calling it again is safe.
        """
        ending: _Ending = "elsewhere" if active_elsewhere else "passive"
        return await self._finish(worker_id, ending, job_id, execution_id) == 2

    async def fail(self, worker_id: str, job_id: str, execution_id: str, error: str) -> None:
        """End a job and keep it, with the reason, among rq's failed ones.

        Raises:
            StoreUnavailable: The outcome is unknown; calling it again is safe.
        """
        await self._finish(worker_id, "failed", job_id, execution_id, error)

    async def forget_worker(self, worker_id: str) -> None:
        """End the jobs of a worker that is dead or leaves, its registration, and its burial.

        To be called after its session has ended (`WorkerSessions.bury`), else it may go on
        taking jobs. Jobs of contexts in `ready` are queued again. Calling it again, or
        for a worker that nobody knows, changes nothing.

        Raises:
            StoreUnavailable: Some jobs may be left; call it again.
        """
        died = "The worker died."
        while await self._finish(worker_id, "dead", worker_id, FORGETS_MAX, died):
            pass

    async def _finish(
        self,
        worker_id: str,
        ending: _Ending,
        job_id: str,
        execution: str | int,
        error: str = "",
    ) -> int:
        at = self._clock()
        result: list[str | int | float] = []
        if error:
            for name, value in self._failure(worker_id, job_id, error).items():
                result += (name, value)
        reply = await self._scripts.run(
            self.link,
            "finish",
            [
                self.KEY,
                f"rq:wip:{self.NAME}",
                f"rq:failed:{self.NAME}",
                f"rq:worker:{worker_id}",
                self.worker_jobs_key(worker_id),
                self._last_take_key(worker_id),
                keys.READY,
                "rq:workers",
                f"rq:workers:{self.NAME}",
                keys.WORKERS,
            ],
            ending,
            job_id,
            execution,
            utcformat(at),
            at.timestamp(),
            self.job_id(""),
            self._failed_job_s,
            self._failed_jobs_max,
            *result,
        )
        return cast("int", reply)

    @staticmethod
    def _last_take_key(worker_id: str) -> str:
        return f"rq:contextd:take:{worker_id}"

    @staticmethod
    def _failure(worker_id: str, job_id: str, error: str) -> dict[str, str | int | float]:
        """A failure as rq keeps it."""
        result = Result(
            job_id,
            Result.Type.FAILED,
            connection=_NOWHERE,
            exc_string=error[-ERROR_CHARS_MAX:],
            worker_name=worker_id,
            serializer=JSONSerializer,
        )
        return cast("dict[str, str | int | float]", result.serialize())

    def _make_template(self) -> list[bytes | str | int | float]:
        """The fields that all jobs share, as rq makes them."""
        job = Job.create(  # pyright: ignore[reportUnknownMemberType] - rq types it in part
            self.FUNCTION,
            kwargs={"context_id": ""},
            connection=_NOWHERE,
            serializer=JSONSerializer,
            origin=self.NAME,
            status=JobStatus.QUEUED,
            timeout=-1,
            result_ttl=0,
            failure_ttl=self._failed_job_s,
        )
        fields = cast(
            "dict[str, bytes | str | int | float | None]",
            job.to_dict(),  # pyright: ignore[reportUnknownMemberType] - rq types it in part
        )
        own = {"data", "description", "created_at", "enqueued_at"}
        return [
            part
            for name, value in fields.items()
            if value is not None and name not in own
            for part in (name, value)
        ]
