"""Statistics for people: one survey serves all who ask at about the same time."""

import asyncio
from collections.abc import Mapping
from typing import Final

from dashboard.views import (
    ActionStats,
    AnnouncementStats,
    ContextStats,
    Latencies,
    LatencyStats,
    MailboxStats,
    ProcessStats,
    SaveStats,
    Stats,
    StoreStats,
    TurnEnds,
    TurnStats,
    ViewerStats,
)
from storage import Latency, Memory, Process, Statistics, Store, memory_of, rfc3339, survey

_NOTHING: Final = Latency(0, (0.0, 0.0, 0.0))
_ERRORS: Final = "errors:"


class Surveyor:
    """Looks at the store for one gateway."""

    def __init__(self, store: Store, *, fresh_s: float) -> None:
        """Take what it needs.

        Args:
            store: Where all is counted.
            fresh_s: How long one look serves.
        """
        self._store = store
        self._fresh_s = fresh_s
        self._looking = asyncio.Lock()
        self._seen: Stats | None = None
        self._seen_at_s = 0.0

    async def stats(self) -> Stats:
        """Everything, as it was at most `fresh_s` ago.

        Raises:
            StoreUnavailable: The store does not answer.
        """
        loop = asyncio.get_running_loop()
        async with self._looking:
            if self._seen is None or loop.time() - self._seen_at_s >= self._fresh_s:
                found = await survey(self._store.link, self._store.scripts)
                memory = await memory_of(self._store.link)
                self._seen = shown(found, memory, self._store)
                self._seen_at_s = loop.time()
            return self._seen


def shown(found: Statistics, memory: Memory, store: Store) -> Stats:
    """Statistics as they look on the wire."""
    totals = found.totals
    ends = TurnEnds(
        completed=totals.get("turns:completed", 0),
        cancelled=totals.get("turns:cancelled", 0),
        failed=totals.get("turns:failed", 0),
    )
    started = totals.get("turns:started", 0)
    since_ms = totals.get("since")
    oldest_ms = found.oldest_mail_ms
    return Stats(
        at=rfc3339(found.at_ms),
        since=None if since_ms is None else rfc3339(since_ms),
        contexts=ContextStats(
            total=found.contexts,
            by_phase={phase: number for phase, number in found.by_phase.items() if number},
            created=totals.get("contexts:created", 0),
            deleted=totals.get("contexts:deleted", 0),
        ),
        mailbox=MailboxStats(
            waiting=found.mail_waiting,
            oldest_s=0.0 if oldest_ms is None else max(0, found.at_ms - oldest_ms) / 1_000,
        ),
        actions=ActionStats(
            delivered=totals.get("actions:delivered", 0),
            applied=totals.get("actions:applied", 0),
            refused=totals.get("actions:refused", 0),
            per_s=found.actions_s,
        ),
        turns=TurnStats(
            started=started,
            ended=ends,
            running=started - ends.completed - ends.cancelled - ends.failed,
            per_s=found.turns_s,
        ),
        latency=Latencies(
            window_s=found.window_s,
            send=_latency(found, "send"),
            poll=_latency(found, "poll"),
            save=_latency(found, "save"),
            first_token=_latency(found, "first_token"),
        ),
        saves=SaveStats(
            commits=totals.get("saves", 0),
            snapshots=totals.get("saves:snapshots", 0),
            skipped_clean=totals.get("saves:clean", 0),
            bytes=totals.get("saves:bytes", 0),
        ),
        viewers=ViewerStats(
            sse=_sum(found, "viewers_sse"),
            websocket=_sum(found, "viewers_websocket"),
            long_poll=_sum(found, "viewers_long_poll"),
            dashboard=_sum(found, "viewers_dashboard"),
        ),
        processes=tuple(_process(each, found.at_ms) for each in found.processes),
        dead_letters=found.dead_letters,
        errors=_named(totals, _ERRORS),
        announcements=AnnouncementStats(
            seq=found.announced,
            throttled=totals.get("announcements:throttled", 0),
            dropped=totals.get("announcements:dropped", 0),
            skipped=totals.get("announcements:skipped", 0),
        ),
        store=StoreStats(
            memory_bytes=memory.used_bytes,
            memory_bytes_max=memory.bytes_max,
            durability=store.config.durability,
            epoch=store.epoch,
        ),
    )


def _named(totals: Mapping[str, int], prefix: str) -> dict[str, int]:
    """Totals of one family by the rest of their names; those that are 0 by now are left out."""
    return {
        name.removeprefix(prefix): number
        for name, number in sorted(totals.items())
        if name.startswith(prefix) and number
    }


def _latency(found: Statistics, kind: str) -> LatencyStats:
    latency = found.latencies.get(kind, _NOTHING)
    p50_ms, p95_ms, p99_ms = latency.percentiles_ms
    return LatencyStats(count=latency.count, p50_ms=p50_ms, p95_ms=p95_ms, p99_ms=p99_ms)


def _sum(found: Statistics, name: str) -> int:
    return sum(process.load.get(name, 0) for process in found.processes)


def _process(process: Process, now_ms: int) -> ProcessStats:
    return ProcessStats(
        id=process.id,
        role=process.role,
        host=process.host,
        process_id=process.process_id,
        started_at=rfc3339(process.started_at_ms),
        age_s=max(0, now_ms - process.started_at_ms) / 1_000,
        silent_s=max(0, now_ms - process.at_ms) / 1_000,
        memory_bytes=process.memory_bytes,
        cpu=process.cpu,
        lag_ms=process.lag_ms,
        draining=process.draining,
        load=process.load,
    )
