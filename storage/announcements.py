"""What dashboards are told while it happens: one numbered line for all processes.

An announcement is a hint for people, never a part of a protocol: it tells of metadata, and
whoever announces does not wait for it. Each process collects what it has to tell and sends
it `ANNOUNCE_S` later, all at once; of what is not critical it sends no more than
`announcements_s_max` a second, and counts the rest. What a killed process had collected is
lost; totals and states do not come from here.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Annotated, ClassVar, Final, Literal, TypeAlias, cast

from pydantic import BaseModel, ConfigDict, Field

import storage.keys as keys
from fsm import TurnEnd
from storage.config import StorageConfig
from storage.errors import StoreRefusedWrite, StoreUnavailable
from storage.link import Link
from storage.meters import Meters
from storage.scripts import Scripts

ANNOUNCE_S: Final = 0.1
ANNOUNCED_S: Final = 60
"""How long the number of a process's last batch is kept: longer than any call takes."""
COLLECTED_MAX: Final = 2_000
"""Announcements that wait in one process; while the store is away, newer ones are dropped."""
THROTTLED: Final = "announcements:throttled"
DROPPED: Final = "announcements:dropped"


class Announced(BaseModel):
    """Something that has happened."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    is_critical: ClassVar[bool] = False
    """Never throttled."""


class ActionReceived(Announced):
    """An action was put into a mailbox, or an action's repeat was recognised."""

    type: Literal["action_received"] = "action_received"
    context_id: str
    action: str
    repeated: bool


class TurnStarted(Announced):
    """A turn has begun, or a failed one goes on."""

    type: Literal["turn_started"] = "turn_started"
    context_id: str
    turn_id: str
    version: int


class TurnEnded(Announced):
    """A turn is over."""

    type: Literal["turn_ended"] = "turn_ended"
    context_id: str
    turn_id: str
    version: int
    outcome: TurnEnd
    duration_ms: int
    """Since its message arrived at a worker; the time for which a person was waited counts."""


class ApprovalRequested(Announced):
    """Tool calls wait for a person."""

    is_critical: ClassVar[bool] = True
    type: Literal["approval_requested"] = "approval_requested"
    context_id: str
    version: int
    tools: tuple[str, ...]


class ApprovalAnswered(Announced):
    """A person has decided on tool calls."""

    type: Literal["approval_given"] = "approval_given"
    context_id: str
    version: int
    approved: int
    denied: int


class QueryComplete(Announced):
    """A request that waited for a whole reply was answered."""

    type: Literal["query_complete"] = "query_complete"
    kind: str
    """Of the request: an action's name, a chat mode, an OpenAI door."""
    latency_ms: float
    status: int


class WorkerJoined(Announced):
    """A worker takes contexts."""

    type: Literal["worker_joined"] = "worker_joined"
    worker_id: str


class WorkerLost(Announced):
    """A worker takes no contexts any more."""

    is_critical: ClassVar[bool] = True
    type: Literal["worker_lost"] = "worker_lost"
    worker_id: str
    cause: Literal["died", "left"]
    contexts: int
    """Contexts that it had active, for others to take over."""


class ContextRecovered(Announced):
    """A worker has taken a context over from one that has died."""

    is_critical: ClassVar[bool] = True
    type: Literal["context_recovered"] = "context_recovered"
    context_id: str
    version: int
    worker_id: str
    before: str
    """Who had it."""


class RestartAsked(Announced):
    """Somebody has asked for a restart."""

    is_critical: ClassVar[bool] = True
    type: Literal["restart_requested"] = "restart_requested"
    restart_id: str
    scope: str
    force: bool


class RestartProgress(Announced):
    """A supervisor has replaced one more process, or begins."""

    is_critical: ClassVar[bool] = True
    type: Literal["restart_progress"] = "restart_progress"
    restart_id: str
    supervisor: str
    done: int
    """Processes so far."""
    role: Literal["gateway", "worker"] | None = None
    """Of the last one; null: none yet."""
    process_id: int | None = None
    replaced_by: int | None = None
    outcome: str | None = None
    duration_ms: int | None = None


class RestartComplete(Announced):
    """A restart is over."""

    is_critical: ClassVar[bool] = True
    type: Literal["restart_complete"] = "restart_complete"
    restart_id: str
    status: Literal["complete", "failed"]


class ErrorSeen(Announced):
    """Something went wrong here that is not its client's fault."""

    is_critical: ClassVar[bool] = True
    type: Literal["error"] = "error"
    error: str
    """A problem type of the API, or what has failed."""
    severity: Literal["warning", "error", "critical"]
    request_id: str | None = None
    """What the log and the client were told."""
    context_id: str | None = None


AnyAnnouncement: TypeAlias = (
    ActionReceived
    | TurnStarted
    | TurnEnded
    | ApprovalRequested
    | ApprovalAnswered
    | QueryComplete
    | WorkerJoined
    | WorkerLost
    | ContextRecovered
    | RestartAsked
    | RestartProgress
    | RestartComplete
    | ErrorSeen
)


class Entry(BaseModel):
    """An announcement as it is kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at_ms: int
    by: str
    """The process."""
    what: Annotated[AnyAnnouncement, Field(discriminator="type")]


class Announcer:
    """What one process has to tell."""

    def __init__(
        self, link: Link, scripts: Scripts, config: StorageConfig, meters: Meters
    ) -> None:
        self._link = link
        self._scripts = scripts
        self._config = config
        self._meters = meters
        self.by = ""
        """Id of the process; empty where nothing is announced (commands, simulations)."""
        self._collected: deque[Entry] = deque()
        self._waits = asyncio.Event()
        self._batch = meters.clock()
        """Number of the last batch; begins above those of earlier processes of this id."""
        self._second: int = 0
        self._told = 0
        """Non-critical announcements of this second."""

    def tell(self, what: AnyAnnouncement) -> None:
        """Announce something soon; does not wait, and raises nothing."""
        if not self.by:
            return
        meters = self._meters
        now_ms = meters.clock()
        if not what.is_critical and not self._has_room(now_ms):
            meters.count(THROTTLED)
            return
        if len(self._collected) >= COLLECTED_MAX:
            meters.count(DROPPED)
            return
        self._collected.append(Entry(at_ms=now_ms, by=self.by, what=what))
        self._waits.set()

    def written(self, what: AnyAnnouncement) -> str:
        """An announcement as it is kept, for a script that makes it; empty: none is made."""
        if not self.by:
            return ""
        return Entry(at_ms=self._meters.clock(), by=self.by, what=what).model_dump_json()

    def leaves_out(self) -> bool:
        """Whether a non-critical announcement would be dropped now; counts it if so."""
        if not self.by:
            return True
        if self._told_in(self._meters.clock()) < self._config.announcements_s_max:
            return False
        self._meters.count(THROTTLED)
        return True

    def _has_room(self, now_ms: int) -> bool:
        told = self._told_in(now_ms)
        self._told += 1
        return told < self._config.announcements_s_max

    def _told_in(self, now_ms: int) -> int:
        """How many non-critical announcements there were in this second."""
        second = now_ms // 1_000
        if second != self._second:
            self._second, self._told = second, 0
        return self._told

    async def run(self) -> None:
        """Send what is told; until cancelled."""
        while True:
            await self._waits.wait()
            await asyncio.sleep(ANNOUNCE_S)
            await self.flush()

    async def flush(self) -> None:
        """Send what was told so far; what the store does not take is dropped, and counted."""
        self._waits.clear()
        batch = [entry.model_dump_json() for entry in self._collected]
        self._collected.clear()
        if not batch:
            return
        self._batch += 1
        try:
            await self._scripts.run(
                self._link,
                "announce",
                [keys.ANNOUNCEMENTS, keys.announced(self.by)],
                self._batch,
                ANNOUNCED_S,
                self._config.announcements_kept,
                *batch,
            )
        except (StoreUnavailable, StoreRefusedWrite):
            self._meters.count(DROPPED, len(batch))


async def announced_after(link: Link, seq: int, *, limit: int) -> Sequence[tuple[int, bytes]]:
    """Announcements behind a number, oldest first, as far as they are still kept.

    Raises:
        StoreUnavailable: The store does not answer.
    """
    start = f"({seq}-0" if seq else "-"
    reply = await link.call("XRANGE", keys.ANNOUNCEMENTS, start, "+", "COUNT", limit)
    return _numbered(reply)


async def last_announced(link: Link) -> tuple[int, bytes]:
    """Number and entry of the newest announcement; 0 and nothing: there is none.

    Raises:
        StoreUnavailable: The store does not answer.
    """
    reply = await link.call("XREVRANGE", keys.ANNOUNCEMENTS, "+", "-", "COUNT", 1)
    return next(iter(_numbered(reply)), (0, b""))


async def first_announced(link: Link) -> int:
    """Number of the oldest announcement that is kept; 0: there is none.

    Raises:
        StoreUnavailable: The store does not answer.
    """
    reply = await link.call("XRANGE", keys.ANNOUNCEMENTS, "-", "+", "COUNT", 1)
    return next((seq for seq, _ in _numbered(reply)), 0)


def read_announced(publication: bytes) -> Sequence[tuple[int, bytes]]:
    """Numbers and entries of one publication, oldest first."""
    first, *entries = publication.split(b"\n")
    return [(int(first) + index, entry) for index, entry in enumerate(entries)]


def _numbered(reply: object) -> list[tuple[int, bytes]]:
    entries = cast("list[tuple[bytes, list[bytes]]]", reply)
    return [(int(entry_id.split(b"-")[0]), fields[1]) for entry_id, fields in entries]
