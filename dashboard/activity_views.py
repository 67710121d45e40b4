"""What is recorded and answered of activity: one model per thing, for OpenAPI and the tests."""

from collections.abc import Mapping
from typing import Literal, TypeAlias

from dashboard.views import View

EventType: TypeAlias = Literal[
    "query", "action", "poll", "stream", "admin", "health_check", "error"
]
"""`error`: the request has failed (4xx or 5xx); `metadata.kind` says what it was."""


class RecordMetadata(View):
    """What else is known of a request; never what was said, by whom, or with which key."""

    gateway: str
    kind: EventType | None = None
    """Of a failed request: what it would have been."""
    action: str | None = None
    """Name of the action, of one that was taken."""
    problem: str | None = None
    """Type of the problem that it was answered with."""
    request_id: str | None = None
    """That of the problem, as the gateway's log has it; of OpenAI's doors, of every answer."""


class ActivityRecord(View):
    """One request that was answered."""

    timestamp: str
    """When its answer was ready."""
    event_type: EventType
    endpoint: str
    """Method and template of the address."""
    latency_ms: float
    status: int
    metadata: RecordMetadata


class ActivityRecords(View):
    """Records, the newest first."""

    events: tuple[ActivityRecord, ...]


class EndpointView(View):
    """One address, and what was asked of it."""

    endpoint: str
    event_type: EventType
    requests: int
    failed: int
    avg_latency_ms: float | None
    """None where nothing was timed: streams last as long as somebody listens."""
    max_latency_ms: float | None


class EndpointList(View):
    """Every address that is served."""

    endpoints: tuple[EndpointView, ...]


class RecordsKept(View):
    """What has become of the records."""

    kept: int
    over_rate: int
    """Requests that were counted only: `activity_records_s_max`."""
    lost: Mapping[str, int]
    """Records that did not come to the `store`, or into `files`: it was away, full or slow."""


class ActivityView(View):
    """What was asked since the oldest gateway that runs has started."""

    session_start: str
    uptime_seconds: float
    gateways: int
    complete: bool
    """False: the store does not answer, and these are the numbers of one gateway."""
    total_requests: int
    successful_requests: int
    failed_requests: int
    """Answered 4xx or 5xx."""
    abandoned_requests: int
    """Whose clients had gone before the answer; no part of the total."""
    success_rate: float | None
    avg_latency_ms: float | None
    """Of requests that waited for nobody: no stream, no query, no `Prefer: wait`."""
    cache_hits: int
    """Reads answered 304, or from what the gateway had in memory."""
    cache_misses: int
    """Reads of a context that had to be loaded."""
    by_type: Mapping[EventType, int]
    top_endpoints: tuple[EndpointView, ...]
    error_types: Mapping[str, int]
    """By problem type; `http-<status>` where there is none."""
    records: RecordsKept
