"""Everything durable; the only room that knows the store's keys and scripts."""

from storage.config import StorageConfig
from storage.contract import (
    MAIL,
    Commit,
    Delivered,
    Draft,
    Mail,
    Owned,
    Reading,
    Receipt,
    Result,
    Summary,
    View,
)
from storage.enqueue import ActivationQueue
from storage.errors import (
    ContextBusy,
    ContextMissing,
    DurabilityMismatch,
    Fenced,
    KeyReused,
    MailboxFull,
    NoScript,
    StorageError,
    StoreRefusedWrite,
    StoreUnavailable,
    VersionConflict,
    WorkerBuried,
)
from storage.frames import CommitFrame, DraftFrame, decode_frame
from storage.keys import WAKE, feed, worker_mail
from storage.link import Link
from storage.notes import Notes
from storage.store import Store, connect
from storage.subscriber import Listener

__all__ = [
    "MAIL",
    "WAKE",
    "ActivationQueue",
    "Commit",
    "CommitFrame",
    "ContextBusy",
    "ContextMissing",
    "Delivered",
    "Draft",
    "DraftFrame",
    "DurabilityMismatch",
    "Fenced",
    "KeyReused",
    "Link",
    "Listener",
    "Mail",
    "MailboxFull",
    "NoScript",
    "Notes",
    "Owned",
    "Reading",
    "Receipt",
    "Result",
    "StorageConfig",
    "StorageError",
    "Store",
    "StoreRefusedWrite",
    "StoreUnavailable",
    "Summary",
    "VersionConflict",
    "View",
    "WorkerBuried",
    "connect",
    "decode_frame",
    "feed",
    "worker_mail",
]
