"""Settings of the storage room."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class StorageConfig(BaseModel):
    """How contexts are kept. Every bound of the room is here."""

    model_config = ConfigDict(frozen=True)

    durability: Literal["strict", "standard"] = Field(
        default="strict",
        description="What a 2xx to an action promises: `strict` needs a store with "
        "appendfsync always, `standard` takes everysec.",
    )
    snapshots: str = Field(
        default="store",
        pattern=r"^(store|json:.+)$",
        description="Where snapshots go: `store`, or `json:DIR` for one readable JSON file "
        "per context.",
    )
    store_call_s_max: float = Field(
        default=5.0, gt=0, description="How long a call to the store may take, in seconds."
    )
    store_calls_max: int = Field(
        default=20_000, ge=1, description="Calls to the store under way at once, a process."
    )
    store_ping_s: float = Field(
        default=2.0, gt=0, description="How often a silent subscription is pinged, in seconds."
    )
    store_replicas_min: int = Field(
        default=0,
        ge=0,
        description="How many replicas must have what is answered; 0: the primary alone. As "
        "many as there are replicas, and a failover loses nothing that was answered.",
    )
    store_replicas_s_max: float = Field(
        default=1.0,
        gt=0,
        description="How long they may take, in seconds; after that the call has failed.",
    )
    mailbox_max: int = Field(
        default=256, ge=1, description="Undelivered actions of one context (429 above)."
    )
    results_max: int = Field(
        default=1_000,
        ge=1,
        description="Actions of one context whose idempotency key and result are kept.",
    )
    creation_key_s: int = Field(
        default=86_400,
        ge=1,
        description="How long the Idempotency-Key of a creation is kept, in seconds.",
    )
    worker_session_ms: int = Field(
        default=4_000,
        ge=500,
        description="How long a worker is taken to live after its last sign, in milliseconds.",
    )
    restart_silent_s_max: int = Field(
        default=120,
        ge=1,
        description="A restart from which no supervisor has reported for so long is taken to "
        "be over, in seconds.",
    )
    restart_report_s: int = Field(
        default=86_400,
        ge=1,
        description="How long the report of a restart is kept, in seconds.",
    )
    notes_max: int = Field(
        default=1_000,
        ge=1,
        description="Notes that one owner can keep, uploaded or written with the notes tool.",
    )

    @model_validator(mode="after")
    def _keys_outlive_mail(self) -> Self:
        if self.results_max < self.mailbox_max:
            raise ValueError("results_max must not be less than mailbox_max")
        return self

    @model_validator(mode="after")
    def _replicas_answer_within_a_call(self) -> Self:
        if self.store_replicas_min and self.store_replicas_s_max >= self.store_call_s_max:
            raise ValueError("store_replicas_s_max must be less than store_call_s_max")
        return self
