"""How a run is set up: how many of what, and the settings of each room."""

from dataclasses import dataclass
from typing import Final

from gateway import GatewayConfig
from storage import StorageConfig
from workers import WorkerConfig

SESSION_MS: Final = 3_600_000
"""Longer than any run takes in real time: sessions end in virtual time (`Network`)."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a run is set up."""

    workers: int = 1
    gateways: int = 1
    supervised: bool = True
    """Whether somebody sees a worker die and buries it; else its session has to run out."""
    json_snapshots: bool = False
    standard: bool = False
    """Durability `standard` instead of `strict`."""
    session_s: float = 4.0
    heartbeat_s: float = 1.0
    overdue_ms: int = 500
    linger_s: float = 0.3
    draft_ms: float = 20.0
    chunk_ms: int = 5
    snapshot_events: int = 64
    commit_events_max: int = 64
    inbox_max: int = 1_024
    mailbox_max: int = 256
    results_max: int = 1_000
    log_events_max: int = 0
    """Longer logs are compacted; 0: none is."""
    call_s_max: float = 5.0
    drain_s: float = 2.0
    linger_feed_s: float = 10.0
    feed_check_s: float = 5.0
    mirrors_max: int = 4_096
    applied_s_max: float = 2.0

    def storage(self) -> StorageConfig:
        """Settings of the storage room."""
        return StorageConfig(
            durability="standard" if self.standard else "strict",
            store_call_s_max=self.call_s_max,
            worker_session_ms=SESSION_MS,
            mailbox_max=self.mailbox_max,
            results_max=max(self.results_max, self.mailbox_max),
            log_events_max=self.log_events_max,
        )

    def worker(self) -> WorkerConfig:
        """Settings of the workers room."""
        return WorkerConfig(
            linger_s=self.linger_s,
            draft_ms=self.draft_ms,
            snapshot_events=self.snapshot_events,
            commit_events_max=self.commit_events_max,
            inbox_max=self.inbox_max,
            worker_heartbeat_s=self.heartbeat_s,
            overdue_ms=self.overdue_ms,
            drain_s=self.drain_s,
            scripted_chunk_ms=self.chunk_ms,
        )

    def gateway(self) -> GatewayConfig:
        """Settings of the gateway room."""
        return GatewayConfig(
            auth="off",
            linger_feed_s=self.linger_feed_s,
            feed_check_s=self.feed_check_s,
            mirrors_max=self.mirrors_max,
            applied_s_max=self.applied_s_max,
        )
