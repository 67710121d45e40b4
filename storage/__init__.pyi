from .access import KEY_PREFIX, SCOPES, Access, ApiKey, Grant, Scope
from .address import make_client
from .audit import (
    Act,
    Audit,
    Audited,
    AuditRecord,
    Chain,
    Decision,
    Outcome,
)
from .buckets import Buckets, Rate, Taking
from .cancellation import end_if_cancelled
from .config import StorageConfig
from .contract import (
    MAIL,
    Commit,
    DeadLetter,
    Delivered,
    Draft,
    Mail,
    Notice,
    Owned,
    Reading,
    Receipt,
    Result,
    Summary,
    View,
)
from .copying import replace_contents
from .dump import dump
from .durability import product_of, why_no_writes
from .enqueue import ActivationQueue
from .errors import (
    CannotOpen,
    ContextBusy,
    ContextGone,
    ContextMissing,
    DraftConflict,
    DurabilityMismatch,
    EncryptionMismatch,
    Fenced,
    KeyReused,
    LogCompacted,
    MailboxFull,
    NoScript,
    NotesFull,
    QuotaExceeded,
    StorageError,
    StoreRefusedWrite,
    StoreTaken,
    StoreUnavailable,
    VersionConflict,
    WorkerBuried,
)
from .frames import CommitFrame, DraftFrame, decode_frame
from .keys import WAKE, feed, worker_mail
from .letters import DeadLetters
from .link import Link
from .notes import Note, Notes
from .quotas import OwnerUsage, usage_of
from .recorder import Recorder, RecordRefused, open_recorder
from .redaction import make_redactor
from .restarts import (
    NoSupervisor,
    ProcessRestart,
    Restart,
    RestartRequest,
    Restarts,
    RestartScope,
    SupervisorReport,
)
from .retention import Aged, Plan, Retention
from .sealing import Cipher, Sealer
from .sentinels import SENTINEL_SCHEME, parse_sentinels
from .store import Store, connect
from .subscriber import Listener
from .webhooks import Webhooks

__all__ = [
    "KEY_PREFIX",
    "MAIL",
    "SCOPES",
    "SENTINEL_SCHEME",
    "WAKE",
    "Access",
    "Act",
    "ActivationQueue",
    "Aged",
    "ApiKey",
    "Audit",
    "AuditRecord",
    "Audited",
    "Buckets",
    "CannotOpen",
    "Chain",
    "Cipher",
    "Commit",
    "CommitFrame",
    "ContextBusy",
    "ContextGone",
    "ContextMissing",
    "DeadLetter",
    "DeadLetters",
    "Decision",
    "Delivered",
    "Draft",
    "DraftConflict",
    "DraftFrame",
    "DurabilityMismatch",
    "EncryptionMismatch",
    "Fenced",
    "Grant",
    "KeyReused",
    "Link",
    "Listener",
    "LogCompacted",
    "Mail",
    "MailboxFull",
    "NoScript",
    "NoSupervisor",
    "Note",
    "Notes",
    "NotesFull",
    "Notice",
    "Outcome",
    "Owned",
    "OwnerUsage",
    "Plan",
    "ProcessRestart",
    "QuotaExceeded",
    "Rate",
    "Reading",
    "Receipt",
    "RecordRefused",
    "Recorder",
    "Restart",
    "RestartRequest",
    "RestartScope",
    "Restarts",
    "Result",
    "Retention",
    "Scope",
    "Sealer",
    "StorageConfig",
    "StorageError",
    "Store",
    "StoreRefusedWrite",
    "StoreTaken",
    "StoreUnavailable",
    "Summary",
    "SupervisorReport",
    "Taking",
    "VersionConflict",
    "View",
    "Webhooks",
    "WorkerBuried",
    "connect",
    "decode_frame",
    "dump",
    "end_if_cancelled",
    "feed",
    "make_client",
    "make_redactor",
    "open_recorder",
    "parse_sentinels",
    "product_of",
    "replace_contents",
    "usage_of",
    "why_no_writes",
    "worker_mail",
]
