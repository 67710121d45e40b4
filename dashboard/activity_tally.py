"""Counts of answered requests: one gateway's, and those of all gateways together."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from pydantic import TypeAdapter

from dashboard.activity_views import ActivityView, EndpointView, EventType, RecordsKept
from storage import rfc3339

TOP: Final = 10
"""Endpoints in a view of all activity."""


@dataclass(slots=True)
class EndpointTally:
    """What was asked of one endpoint."""

    endpoint: str
    event_type: EventType
    requests: int = 0
    failed: int = 0
    timed: int = 0
    """Requests that did not wait for anybody but us."""
    latency_ms: float = 0.0
    """Of those, in sum."""
    latency_ms_max: float = 0.0

    def add(self, other: "EndpointTally") -> None:
        """Count what another gateway has counted."""
        self.requests += other.requests
        self.failed += other.failed
        self.timed += other.timed
        self.latency_ms += other.latency_ms
        self.latency_ms_max = max(self.latency_ms_max, other.latency_ms_max)

    def view(self) -> EndpointView:
        """As it is answered."""
        return EndpointView(
            endpoint=self.endpoint,
            event_type=self.event_type,
            requests=self.requests,
            failed=self.failed,
            avg_latency_ms=_mean(self.latency_ms, self.timed),
            max_latency_ms=round(self.latency_ms_max, 3) if self.timed else None,
        )


@dataclass(slots=True)
class Tally:
    """What gateways have counted since the first of them has started."""

    since_ms: int
    gateways: int = 1
    endpoints: dict[str, EndpointTally] = field(default_factory=dict[str, EndpointTally])
    error_types: Counter[str] = field(default_factory=Counter[str])
    abandoned: int = 0
    cache_hits: int = 0
    cache_misses: int = 0
    kept: int = 0
    over_rate: int = 0
    lost: Counter[str] = field(default_factory=Counter[str])
    """Records, by where they have not come to."""

    def add(self, other: "Tally") -> None:
        """Count what other gateways have counted."""
        self.since_ms = min(self.since_ms, other.since_ms)
        self.gateways += other.gateways
        for name, theirs in other.endpoints.items():
            ours = self.endpoints.setdefault(name, EndpointTally(name, theirs.event_type))
            ours.add(theirs)
        self.error_types.update(other.error_types)
        self.abandoned += other.abandoned
        self.cache_hits += other.cache_hits
        self.cache_misses += other.cache_misses
        self.kept += other.kept
        self.over_rate += other.over_rate
        self.lost.update(other.lost)

    def view(self, *, now_ms: int, complete: bool) -> ActivityView:
        """As it is answered."""
        endpoints = self.endpoints.values()
        total = sum(each.requests for each in endpoints)
        failed = sum(each.failed for each in endpoints)
        by_type: Counter[EventType] = Counter()
        for each in endpoints:
            by_type[each.event_type] += each.requests - each.failed
            by_type["error"] += each.failed
        return ActivityView(
            session_start=rfc3339(self.since_ms),
            uptime_seconds=max(0, now_ms - self.since_ms) / 1_000,
            gateways=self.gateways,
            complete=complete,
            total_requests=total,
            successful_requests=total - failed,
            failed_requests=failed,
            abandoned_requests=self.abandoned,
            success_rate=round((total - failed) / total, 6) if total else None,
            avg_latency_ms=_mean(
                sum(each.latency_ms for each in endpoints if each.event_type != "query"),
                sum(each.timed for each in endpoints if each.event_type != "query"),
            ),
            cache_hits=self.cache_hits,
            cache_misses=self.cache_misses,
            by_type=+by_type,
            top_endpoints=tuple(each.view() for each in _busiest(endpoints)[:TOP]),
            error_types=dict(self.error_types.most_common()),
            records=RecordsKept(kept=self.kept, over_rate=self.over_rate, lost=self.lost),
        )


TALLY: TypeAdapter[Tally] = TypeAdapter(Tally)


def _busiest(endpoints: Iterable[EndpointTally]) -> list[EndpointTally]:
    asked = (each for each in endpoints if each.requests)
    return sorted(asked, key=lambda each: (-each.requests, each.endpoint))


def _mean(total: float, count: int) -> float | None:
    return round(total / count, 3) if count else None
