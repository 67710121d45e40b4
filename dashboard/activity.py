"""Requests to a gateway: all are counted, and recorded as far as there is room.

- A request never waits for this and never fails by it: while one is answered, numbers are added
  up and a record is put into memory. Writing is a task of its own.
- Every request is counted. Records are bounded, by the second and in number; what is not
  kept or not written is counted, too.
- An endpoint is the template of its address. No record has a content, a key, a query string,
  an id or an owner.
"""

import asyncio
import contextlib
import os
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Final

import orjson
import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from pydantic import ValidationError

from dashboard.activity_config import ActivityConfig
from dashboard.activity_files import ActivityFiles
from dashboard.activity_tally import TALLY, EndpointTally, Tally
from dashboard.activity_views import (
    ActivityRecord,
    ActivityRecords,
    ActivityView,
    EndpointList,
    EventType,
    RecordMetadata,
)
from storage import TALLY_S, ActivityLog, StorageError, rfc3339

log = structlog.get_logger(__name__)

Clock = Callable[[], int]
"""Unix time in milliseconds."""
Write = Callable[[Sequence[bytes]], Awaitable[int]]
"""Writes records; returns how many of them are written."""

NOWHERE: Final = "(no such address)"
"""Endpoint of requests to addresses that do not exist."""
BATCH_MAX: Final = 500
"""Records that are written at once."""
LAST_S_MAX: Final = 0.5
"""How long a gateway that ends goes on writing."""

_HEALTH: Final = frozenset({"/health", "/healthz", "/readyz", "/metrics"})
_QUESTIONS: Final = ("/api/chat/", "/v1/chat/", "/v1/responses")
_STREAMS: Final = ("/events", "/ws", "/ws/dashboard")
_REQUEST_ID: Final = "x-request-id"
"""Header of the answers that tell their request's id."""


def event_type_of(method: str, path: str) -> EventType:
    """What requests to an address are, by its template."""
    if path in _HEALTH:
        return "health_check"
    if path.endswith(_STREAMS) and method == "GET" and not path.startswith("/api/v1/metrics"):
        return "stream"
    if path.startswith(("/admin/", "/api/v1/")):
        return "admin"
    if method == "POST" and path.startswith(_QUESTIONS):
        return "query"
    return "poll" if method in {"GET", "HEAD", "OPTIONS"} else "action"


@dataclass(slots=True)
class _Waiting:
    """Records that wait to be written to one place, which may fail or be slow for any time."""

    place: str
    write: Write
    records: deque["_Record"] = field(default_factory=deque["_Record"])


@dataclass(frozen=True, slots=True)
class _Record:
    """A record that is not encoded yet."""

    at_ms: int
    tally: EndpointTally
    latency_s: float
    status: int
    metadata: RecordMetadata

    def shown(self) -> ActivityRecord:
        """As it is written and answered."""
        return ActivityRecord(
            timestamp=rfc3339(self.at_ms),
            event_type="error" if self.status >= 400 else self.tally.event_type,
            endpoint=self.tally.endpoint,
            latency_ms=round(self.latency_s * 1_000, 3),
            status=self.status,
            metadata=self.metadata,
        )


class Activity:
    """The activity of one gateway."""

    def __init__(
        self,
        config: ActivityConfig,
        stored: ActivityLog,
        *,
        clock: Clock,
        from_memory: "web.RequestKey[bool]",
    ) -> None:
        """Take what it needs.

        Args:
            config: Bounds.
            stored: The records and tallies that all gateways share.
            clock: Unix time in milliseconds.
            from_memory: Where a request says whether its answer was in the gateway's memory.
        """
        self._config = config
        self._stored = stored
        self._clock = clock
        self._from_memory = from_memory
        self.gateway_id = f"{os.uname().nodename}-{os.getpid()}-{secrets.token_hex(3)}"
        self._tally = Tally(since_ms=clock())
        self._routes: dict[web.AbstractRoute, EndpointTally] = {}
        """By route: a path has one for each of its methods."""
        self._nowhere = self._endpoint(NOWHERE, "poll")
        self._recent: deque[_Record] = deque(maxlen=config.activity_recent_max)
        self._second = 0
        self._kept = 0
        self._kept_failed = 0
        """Records kept in this second, of failed requests."""
        self._waiting: list[_Waiting] = []
        if config.activity_stored_max:
            self._waiting.append(_Waiting("store", stored.append))
        self._files: ActivityFiles | None = None
        if config.activity_folder is not None:
            self._files = ActivityFiles(config, config.activity_folder)
            self._waiting.append(_Waiting("files", self._files.append))

    # While requests are answered

    def middleware(self) -> Middleware:
        """What counts and records a gateway's requests."""

        @web.middleware
        async def watch(request: web.Request, handler: Handler) -> web.StreamResponse:
            began_s = perf_counter()
            try:
                response = await handler(request)
            except (asyncio.CancelledError, ConnectionResetError):
                self._left(request, perf_counter() - began_s)
                raise
            except web.HTTPException as raised:
                self._note(request, raised, perf_counter() - began_s)
                raise
            self._note(request, response, perf_counter() - began_s)
            return response

        return watch

    def _note(
        self, request: web.Request, response: web.StreamResponse, latency_s: float
    ) -> None:
        tally, status = self._of(request), response.status
        failed = status >= 400
        tally.requests += 1
        tally.failed += failed
        if isinstance(response, web.Response) and "wait" not in request.headers.get(
            "Prefer", ""
        ):
            latency_ms = latency_s * 1_000
            tally.timed += 1
            tally.latency_ms += latency_ms
            tally.latency_ms_max = max(tally.latency_ms_max, latency_ms)
        if status == 304:
            self._tally.cache_hits += 1
        elif (was_there := request.get(self._from_memory)) is not None:
            self._tally.cache_hits += was_there
            self._tally.cache_misses += not was_there
        metadata = None
        if failed:
            metadata = self._failure(response, tally)
            self._tally.error_types[metadata.problem or f"http-{status}"] += 1
        if self._has_room(failed=failed):
            metadata = metadata or self._taken(request, response)
            self._keep(_Record(self._clock(), tally, latency_s, status, metadata))

    def _left(self, request: web.Request, latency_s: float) -> None:
        """Count a request whose client has gone: most streams end so, and it is no failure."""
        tally = self._of(request)
        if tally.event_type != "stream":
            self._tally.abandoned += 1
            return
        tally.requests += 1
        if self._has_room(failed=False):
            metadata = RecordMetadata(gateway=self.gateway_id)
            self._keep(_Record(self._clock(), tally, latency_s, 200, metadata))

    def _of(self, request: web.Request) -> EndpointTally:
        found = request.match_info
        tally = self._routes.get(found.route)
        if tally is not None:
            return tally
        resource = found.route.resource
        if found.http_exception is not None or resource is None:
            return self._nowhere
        name = f"{found.route.method} {resource.canonical}"
        tally = self._endpoint(name, event_type_of(found.route.method, resource.canonical))
        self._routes[found.route] = tally
        return tally

    def _endpoint(self, name: str, event_type: EventType) -> EndpointTally:
        return self._tally.endpoints.setdefault(name, EndpointTally(name, event_type))

    def _taken(self, request: web.Request, response: web.StreamResponse) -> RecordMetadata:
        """Of a request that has not failed: its action is one of ours."""
        return RecordMetadata(
            gateway=self.gateway_id,
            action=request.match_info.get("action"),
            request_id=response.headers.get(_REQUEST_ID),
        )

    def _failure(self, response: web.StreamResponse, tally: EndpointTally) -> RecordMetadata:
        problem: str | None = None
        request_id = response.headers.get(_REQUEST_ID)
        if (
            isinstance(response, web.Response)
            and response.content_type == "application/problem+json"
            and isinstance(response.body, bytes)
        ):
            body = orjson.loads(response.body)
            problem = body["type"].rpartition("/")[2]
            request_id = body["request_id"]
        return RecordMetadata(
            gateway=self.gateway_id,
            kind=tally.event_type,
            problem=problem,
            request_id=request_id,
        )

    def _has_room(self, *, failed: bool) -> bool:
        """Whether one more may be kept in this second; failures have room of their own."""
        second = int(perf_counter())
        if second != self._second:
            self._second, self._kept, self._kept_failed = second, 0, 0
        kept = self._kept_failed if failed else self._kept
        if kept >= self._config.activity_records_s_max:
            self._tally.over_rate += 1
            return False
        if failed:
            self._kept_failed += 1
        else:
            self._kept += 1
        return True

    def _keep(self, record: _Record) -> None:
        self._tally.kept += 1
        self._recent.append(record)
        for waiting in self._waiting:
            if len(waiting.records) >= self._config.activity_waiting_max:
                waiting.records.popleft()
                self._tally.lost[waiting.place] += 1
            waiting.records.append(record)

    # Beside them

    async def write(self) -> None:
        """Write what waits, and tell the other gateways of our tally, until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for waiting in self._waiting:
                    group.create_task(self._write(waiting), name=f"activity {waiting.place}")
                group.create_task(self._tell(), name="activity tally")
        finally:
            if self._files is not None:
                self._files.close()

    async def _write(self, waiting: _Waiting) -> None:
        failing = False
        try:
            while True:
                if failing or len(waiting.records) < BATCH_MAX:
                    await asyncio.sleep(self._config.activity_write_s)
                lost = await self._write_some(waiting)
                if lost and not failing:
                    log.warning("activity is not written", place=waiting.place, lost=lost)
                failing = lost > 0
        finally:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_S_MAX):
                    await self._write_some(waiting)

    async def _write_some(self, waiting: _Waiting) -> int:
        """Write a batch once; returns how many of its records are lost."""
        count = min(BATCH_MAX, len(waiting.records))
        if count == 0:
            return 0
        batch = [waiting.records.popleft() for _ in range(count)]
        lost = count - await waiting.write([_encoded(record) for record in batch])
        self._tally.lost[waiting.place] += lost
        return lost

    async def _tell(self) -> None:
        while True:
            with contextlib.suppress(StorageError):  # the others do without
                tally = TALLY.dump_json(self._tally)
                await self._stored.put_tally(
                    self.gateway_id, tally, since_ms=self._tally.since_ms
                )
            await asyncio.sleep(TALLY_S / 3)

    # What is shown

    async def view(self) -> ActivityView:
        """What was asked of all gateways; of this one alone, where the store is away."""
        tally, complete = await self._of_all()
        return tally.view(now_ms=self._clock(), complete=complete)

    async def endpoints(self, served: Iterable[tuple[str, str]]) -> EndpointList:
        """Every address, given by method and template, and what was asked of it."""
        tally, _ = await self._of_all()
        for method, path in served:
            name = f"{method} {path}"
            tally.endpoints.setdefault(name, EndpointTally(name, event_type_of(method, path)))
        shown = sorted(tally.endpoints.values(), key=lambda each: each.endpoint)
        return EndpointList(endpoints=tuple(each.view() for each in shown))

    async def stored(self, limit: int) -> ActivityRecords:
        """The newest records of all gateways.

        Raises:
            StoreUnavailable: The store does not answer.
        """
        raw = await self._stored.newest(limit)
        events = (ActivityRecord.model_validate_json(each) for each in raw)
        return ActivityRecords(events=tuple(events))

    def recent(self, limit: int) -> ActivityRecords:
        """The newest records of this gateway, whatever the store does."""
        newest = list(self._recent)[-limit:]
        return ActivityRecords(events=tuple(each.shown() for each in reversed(newest)))

    async def _of_all(self) -> tuple[Tally, bool]:
        """A new tally of all gateways, and whether all are in it."""
        tally = Tally(since_ms=self._tally.since_ms, gateways=0)
        tally.add(self._tally)
        try:
            told = await self._stored.tallies()
        except StorageError:
            return tally, False
        complete = True
        for gateway_id, raw in told.items():
            if gateway_id == self.gateway_id:
                continue
            try:
                tally.add(TALLY.validate_json(raw))
            except ValidationError:  # of another version of ours
                complete = False
        return tally, complete


def _encoded(record: _Record) -> bytes:
    return record.shown().model_dump_json().encode()
