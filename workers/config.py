"""Settings of the workers room."""

from pydantic import Field

from workers.models.config import ModelConfig
from workers.tools.config import SearchConfig, ToolConfig


class WorkerConfig(ModelConfig, ToolConfig, SearchConfig):
    """Limits of one worker process. Every bound of the room is here."""

    worker_id: str = Field(
        default="",
        description="Name of this worker, unique in the store; the supervisor gives one to "
        "each process. Empty: one is made.",
    )
    activations_max: int = Field(
        default=5_000, ge=1, description="Contexts that one worker holds active at once."
    )
    linger_s: float = Field(
        default=5.0,
        ge=0,
        description="How long a context at rest stays in memory before it is passivated, in "
        "seconds.",
    )
    inbox_max: int = Field(
        default=1_024, ge=1, description="Events of one context waiting in memory."
    )
    commit_events_max: int = Field(
        default=64, ge=1, description="Events that one commit takes at most."
    )
    snapshot_events: int = Field(
        default=64,
        ge=1,
        description="A context that does not come to rest is snapshotted every so many events.",
    )
    draft_ms: float = Field(
        default=20.0,
        ge=0,
        description="Least time between two draft frames of one reply, in milliseconds.",
    )
    draft_frames_s_max: int = Field(
        default=4_000,
        ge=1,
        description="Draft frames that one worker sends in a second; when more replies stream, "
        "each sends its frames less often.",
    )
    worker_heartbeat_s: float = Field(
        default=1.0, gt=0, description="How often a worker renews its session, in seconds."
    )
    sweep_s: float = Field(
        default=5.0,
        gt=0,
        description="How often a worker compares what it runs with what the store says that it "
        "has, in seconds.",
    )
    overdue_ms: int = Field(
        default=500,
        ge=1,
        description="Mail that waits longer is picked up by whichever worker sees it, in "
        "milliseconds.",
    )
    kills_max: int = Field(
        default=3,
        ge=1,
        description="How many workers in a row an action may end; then it goes to the dead "
        "letters, and its context fails.",
    )
    crash_pause_s_max: float = Field(
        default=60.0,
        gt=0,
        description="Longest wait before a context whose activation has crashed is activated "
        "again; it grows from one heartbeat, in seconds.",
    )
    commit_pause_s: float = Field(
        default=0.1,
        gt=0,
        description="Wait before a commit that the store has not taken is tried again; doubles "
        "with each further try, in seconds.",
    )
    commit_pause_s_max: float = Field(
        default=1.0, gt=0, description="Longest wait between two tries of a commit, in seconds."
    )
    chores_max: int = Field(
        default=16,
        ge=1,
        description="Maintenance jobs (retention, webhooks) that one worker does at once.",
    )
    retention_every_s: int = Field(
        default=3_600, ge=1, description="How often old contexts are looked for, in seconds."
    )
    webhook_call_s_max: float = Field(
        default=10.0,
        gt=0,
        description="How long the webhook may take to answer, in seconds.",
    )
    webhook_tries_max: int = Field(
        default=12,
        ge=1,
        description="How often an event is sent to a webhook that does not take it; then it "
        "goes to the dead letters, and the next one is sent.",
    )
    webhook_pause_s: float = Field(
        default=1.0,
        gt=0,
        description="Wait before the second try of an event; doubles with each further one, in "
        "seconds.",
    )
    webhook_pause_s_max: float = Field(
        default=3_600.0, gt=0, description="Longest wait between two tries, in seconds."
    )
    drain_s: float = Field(
        default=20.0,
        ge=0,
        description="How long a stopping worker lets running turns finish before it hands them "
        "over, in seconds.",
    )
