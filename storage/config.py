"""Settings of the storage room."""

import base64
import binascii
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)


class StorageConfig(BaseModel):
    """How contexts are kept. Every bound of the room is here."""

    model_config = ConfigDict(frozen=True)

    durability: Literal["strict", "standard"] = Field(
        default="strict",
        description="What a 2xx to an action promises: `strict` needs a store with "
        "appendfsync always, `standard` takes everysec. The embedded store is run so.",
    )
    snapshots: str = Field(
        default="store",
        pattern=r"^(store|json:.+)$",
        description="Where snapshots go: `store`, or `json:DIR` for one readable JSON file "
        "per context. Processes on several machines need one folder that they share: else what "
        "moves between them is replayed from its log, and files of deleted contexts stay.",
    )
    encryption: str | None = Field(
        default=None,
        pattern=r"^[a-z][a-z0-9_-]*(:.*)?$",
        description="What messages and all other contents are encrypted with in the store and "
        "in snapshots: `file:PATH` of keys, or the name of an installed cipher. Without it "
        "they are not.",
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
        description="How long a worker is taken to live after its last sign, in milliseconds; "
        "more than `worker_heartbeat_s`.",
    )
    stuck_after_s: float = Field(
        default=10.0,
        gt=0,
        description="A context to which something is to happen, and which no living worker has "
        "for so long, is called stuck, in seconds.",
    )
    slow_after_s: float = Field(
        default=300.0,
        gt=0,
        description="A context whose worker lives and commits nothing for so long, though "
        "something is to happen, is called slow, in seconds.",
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
    contexts_per_owner_max: int = Field(
        default=0,
        ge=0,
        description="Contexts that one owner can have; 0: no limit (403 above).",
    )
    messages_per_context_max: int = Field(
        default=0,
        ge=0,
        description="Messages of one context, on all of its branches; 0: no limit. Above, no "
        "turn begins and nothing is recorded (403); a turn that runs comes to its end.",
    )
    bytes_per_context_max: int = Field(
        default=0,
        ge=0,
        description="Bytes of one context's log, and of the state that it begins with where it "
        "was compacted; 0: no limit. As `messages_per_context_max` for the rest.",
    )
    turns_per_owner_max: int = Field(
        default=0,
        ge=0,
        description="Contexts of one owner that are at work at once; 0: no limit (429 above).",
    )
    tokens_per_owner_day_max: int = Field(
        default=0,
        ge=0,
        description="Tokens that one owner's replies may use in a day (UTC), as the model "
        "server counts them; 0: no limit. Above, no turn begins (429); those that run come to "
        "their end.",
    )

    log_events_max: int = Field(
        default=0,
        ge=0,
        description="A log that is longer when its context is passivated is compacted: the "
        "state takes the place of all events but the newest half of so many; 0 keeps all.",
    )
    retention_days: int = Field(
        default=0,
        ge=0,
        le=36_500,
        description="Contexts that nobody has changed for so many days are deleted, unless "
        "they are pinned, at work, or wait for something; 0 keeps all.",
    )
    retention_run_max: int = Field(
        default=1_000, ge=1, description="Contexts that one run of retention deletes at most."
    )
    retention_deletes_s_max: float = Field(
        default=50.0, gt=0, description="Contexts that retention deletes in a second."
    )
    report_s: float = Field(
        default=2.0,
        gt=0,
        description="How often a process reports what it has counted, in seconds.",
    )
    process_silent_s_max: int = Field(
        default=10,
        ge=1,
        description="A process that has reported nothing for so long is not shown any more, in "
        "seconds.",
    )
    announcements_kept: int = Field(
        default=10_000,
        ge=100,
        description="Announcements that are kept at least, for dashboards that come back.",
    )
    announcements_s_max: int = Field(
        default=200,
        ge=0,
        description="Announcements that one process makes in a second; more are counted and "
        "not made, but for critical ones.",
    )
    audit_records_max: int = Field(
        default=100_000,
        ge=1_000,
        description="Records of the audit log that are kept at least; older ones make room.",
    )
    tombstones: bool = Field(
        default=False,
        description="Tell the former owner of a deleted context that it is gone (410), instead "
        "of 404.",
    )
    tombstone_days: int = Field(
        default=30, ge=1, le=3_650, description="How long that is told, in days."
    )
    webhook_url: SecretStr | None = Field(
        default=None,
        description="Where events are sent (`https://...`), at least once and in order for "
        "each context. Without it none are.",
    )
    webhook_secret: SecretStr | None = Field(
        default=None,
        description="What webhooks are signed with (Standard Webhooks): `whsec_` and 24 to 64 "
        "bytes in base64.",
    )
    webhook_events: str = Field(
        default="context-created,reply-ended,turn-rested,turn-failed,approval-requested,"
        "question-asked,context-deleted",
        description="Which events are sent, separated by commas: kinds of the log, and "
        "`turn-rested`, `turn-failed`, `approval-requested`, `question-asked`.",
    )

    redact: str = Field(
        default="",
        description="What is taken out of the contents that webhooks tell and that admins see "
        "of dead letters, separated by commas: `email`, `phone`, `card`, `key`.",
    )

    @field_validator("redact")
    @classmethod
    def _names_patterns(cls, names: str) -> str:
        from storage.redaction import PATTERNS  # not above: settings are read by every command

        wanted = {name.strip() for name in names.split(",")} - {""}
        if unknown := sorted(wanted - set(PATTERNS)):
            raise ValueError(f"{unknown[0]!r} is none of {', '.join(PATTERNS)}")
        return names

    @field_validator("webhook_url")
    @classmethod
    def _names_a_web_address(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            parts = urlsplit(url.get_secret_value())
            if parts.scheme not in {"http", "https"} or not parts.hostname:
                raise ValueError("it must be an http:// or https:// address")
        return url

    @field_validator("webhook_secret")
    @classmethod
    def _holds_a_key(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None:
            prefix, _, key = secret.get_secret_value().partition("_")
            try:
                length = len(base64.b64decode(key, validate=True))
            except binascii.Error:
                length = 0
            if prefix != "whsec" or not 24 <= length <= 64:
                raise ValueError("it must be whsec_ and 24 to 64 bytes in base64")
        return secret

    @field_validator("webhook_events")
    @classmethod
    def _names_events(cls, names: str) -> str:
        from fsm import OCCASIONS  # not above: settings are read before the rooms are loaded

        if unknown := sorted(set(names.split(",")) - OCCASIONS):
            raise ValueError(f"there is no event {unknown[0]!r}")
        return names

    @model_validator(mode="after")
    def _webhooks_are_signed(self) -> Self:
        if self.webhook_url is not None and self.webhook_secret is None:
            raise ValueError("webhook_url needs webhook_secret")
        return self

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
