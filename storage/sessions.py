"""Workers' sessions: who is alive, who has which contexts, and what becomes of the dead.

Every method may raise StoreUnavailable (the outcome is unknown; calling it again is safe)
and, where it writes, StoreRefusedWrite (nothing has happened).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import storage.keys as keys
from storage.announcements import Announcer, WorkerLost
from storage.enqueue import ActivationQueue
from storage.errors import WorkerBuried
from storage.link import Link
from storage.scripts import Scripts


@dataclass(slots=True)
class WorkerSessions:
    """All workers' sessions in one store."""

    link: Link
    scripts: Scripts
    queue: ActivationQueue
    announcer: Announcer
    session_ms: int
    """How long a session lives after it was renewed, in milliseconds."""
    announcements_kept: int

    async def renew(self, worker_id: str, *, now_ms: int, begin: bool = False) -> list[str]:
        """Prolong a worker's session; returns the workers whose session is over.

        Raises:
            WorkerBuried: This worker's own session is over.
        """
        where = [keys.session(worker_id), keys.WORKERS]
        reply = await self.scripts.run(
            self.link, "renew", where, worker_id, self.session_ms, now_ms, int(begin)
        )
        status, *dead = cast("list[bytes]", reply)
        if status == b"lost":
            raise WorkerBuried(worker_id)
        return [other.decode() for other in dead]

    async def bury(self, worker_id: str, *, cause: Literal["died", "left"] = "died") -> int:
        """Free the contexts and jobs of a worker that is dead or leaves.

        Wakes the others, and tells dashboards, whoever else buries it and however often.

        Returns:
            How many contexts it had active, that nobody else has freed.

        Raises:
            StoreUnavailable, StoreRefusedWrite: It may have jobs left, and `renew` names it
                until it has not; call it again.
        """
        where = [
            keys.WORKERS,
            keys.READY,
            keys.session(worker_id),
            keys.worker_contexts(worker_id),
            keys.ANNOUNCEMENTS,
        ]
        # The script knows how many contexts there are.
        lost = WorkerLost(worker_id=worker_id, cause=cause, contexts=0)
        reply = await self.scripts.run(
            self.link,
            "bury",
            where,
            worker_id,
            keys.WAKE,
            self.announcer.written(lost),
            self.announcements_kept,
        )
        await self.queue.forget_worker(worker_id)
        return cast("int", reply)

    async def workers(self) -> Sequence[str]:
        """Ids of all workers that nobody has buried, oldest first."""
        found = await self.link.call("ZRANGEBYSCORE", keys.WORKERS, 0, "+inf")
        ids = cast("list[bytes]", found)
        return [worker_id.decode() for worker_id in ids]

    async def living(self) -> int:
        """How many workers there are whose session is not over."""
        sessions = [keys.session(worker_id) for worker_id in await self.workers()]
        return cast("int", await self.link.call("EXISTS", *sessions)) if sessions else 0

    async def active_contexts(self) -> Mapping[str, int]:
        """How many contexts each worker has active."""
        ids = await self.workers()
        calls = [self.link.call("SCARD", keys.worker_contexts(one)) for one in ids]
        return {one: cast("int", await call) for one, call in zip(ids, calls, strict=True)}

    async def contexts_of(self, worker_id: str) -> Sequence[str]:
        """The contexts that a worker has active, as far as the store knows."""
        ids = await self.link.call("SMEMBERS", keys.worker_contexts(worker_id))
        return [context_id.decode() for context_id in cast("list[bytes]", ids)]
