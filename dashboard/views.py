"""What statistics look like on the wire; docs/dashboard.md tells each number's source."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict


class View(BaseModel):
    """Base of all of them."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ContextStats(View):
    """Contexts that there are."""

    total: int
    by_phase: Mapping[str, int]
    created: int
    deleted: int


class MailboxStats(View):
    """Actions that no worker has applied yet."""

    waiting: int
    oldest_s: float
    """How long the oldest of them waits; 0: there is none."""


class ActionStats(View):
    """Actions since counting began."""

    delivered: int
    applied: int
    refused: int
    per_s: float
    """Applied ones, in the window of the latencies."""


class TurnEnds(View):
    """What became of turns."""

    completed: int
    cancelled: int
    failed: int


class TurnStats(View):
    """Turns since counting began; one that is retried after it has failed begins again."""

    started: int
    ended: TurnEnds
    running: int
    per_s: float


class LatencyStats(View):
    """How long something took, lately."""

    count: int
    p50_ms: float
    p95_ms: float
    p99_ms: float


class Latencies(View):
    """How long what is timed took, in the last `window_s` seconds."""

    window_s: float
    send: LatencyStats
    """An action, from its request to its result."""
    poll: LatencyStats
    save: LatencyStats
    """A commit."""
    first_token: LatencyStats
    """A turn, until its first text."""


class SaveStats(View):
    """Commits since counting began."""

    commits: int
    snapshots: int
    skipped_clean: int
    """Occasions to save a context that had not changed."""
    bytes: int
    """Of events."""


class ViewerStats(View):
    """Whoever listens now."""

    sse: int
    websocket: int
    long_poll: int
    dashboard: int


class ProcessStats(View):
    """A gateway or a worker that lives."""

    id: str
    role: str
    host: str
    process_id: int
    started_at: str
    age_s: float
    silent_s: float
    """Since its last report."""
    memory_bytes: int
    cpu: float
    """Seconds of processor time per second."""
    lag_ms: float
    """Of its event loop."""
    draining: bool
    load: Mapping[str, int]
    """What it has at work."""


class AnnouncementStats(View):
    """What dashboards are told."""

    seq: int
    """Of the newest."""
    throttled: int
    """Not made: a process had made too many in that second."""
    dropped: int
    """Not made: the store did not take them."""
    skipped: int
    """Not sent: a gateway had sent too many in that second."""


class StoreStats(View):
    """The store."""

    memory_bytes: int
    memory_bytes_max: int | None
    durability: str
    epoch: str


class Stats(View):
    """Everything at one moment. Numbers without a window are since `since`."""

    at: str
    since: str | None
    """When counting began; null: nothing was counted yet."""
    contexts: ContextStats
    mailbox: MailboxStats
    actions: ActionStats
    turns: TurnStats
    latency: Latencies
    saves: SaveStats
    viewers: ViewerStats
    processes: tuple[ProcessStats, ...]
    dead_letters: int
    errors: Mapping[str, int]
    """By problem type, and what failed in workers."""
    announcements: AnnouncementStats
    store: StoreStats


class WebSocketConfig(View):
    """Where the dashboard's WebSocket is."""

    websocket_url: str
    """Its path on this server."""
