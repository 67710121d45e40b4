"""Errors that storage raises.

* StorageError
    * StoreUnavailable: the store did not answer in time; the outcome is unknown, and
      every script may be repeated.
    * StoreRefusedWrite: the store answers but takes no writes (full, read-only, failing disk).
        * NotesFull: the owner has as many notes as one may have.
    * Fenced: a newer activation owns the context; stop, do not retry.
    * VersionConflict: the log is not where the commit expects it; reload.
    * DraftConflict: the store's draft is not what was sent of it; reload.
    * ContextMissing: no such context, or another owner's.
        * ContextGone: this owner's, who has deleted it; a tombstone says so.
    * LogCompacted: the events asked for were replaced by the state that they led to.
    * MailboxFull: too many undelivered actions; try again later.
    * QuotaExceeded: the owner, or the context, has as much as it may have.
    * KeyReused: the idempotency key was used for another body.
    * StoreTaken: what was to be overwritten is not empty, or in use.
    * DurabilityMismatch: the store's CONFIG does not keep what the mode promises.
    * EncryptionMismatch: what the store holds is encrypted, and the keys to it are not here.
    * CannotOpen: a value is not what was encrypted as it.
        * ContextUnreadable: the value is a part of a context, which nobody can read without.
    * NoScript: the store has lost its scripts (SCRIPT FLUSH); load them and call again.
    * WorkerBuried: this worker's session is over; others may have its contexts.
    * ContextBusy: another living worker has the context.
"""

from storage.contract import Remains


class StorageError(Exception):
    """Base of all errors raised by this room."""


class StoreUnavailable(StorageError):
    """No answer in time, or no connection; what was asked may or may not have happened."""


class StoreRefusedWrite(StorageError):
    """The store answers, but takes no writes; nothing has happened."""


class NotesFull(StoreRefusedWrite):
    """The owner has as many notes as one may have; nothing has happened."""


class StoreTaken(StorageError):
    """A server that was to be overwritten holds something, or is in use; it was not touched."""


class Fenced(StorageError):
    """The fencing token is no longer the newest one of this context."""


class VersionConflict(StorageError):
    """The log's head is not the version that the commit was computed from."""

    def __init__(self, context_id: str, *, expected: int, found: int) -> None:
        super().__init__(f"{context_id}: expected version {expected}, found {found}")
        self.expected = expected
        self.found = found


class DraftConflict(StorageError):
    """The draft in the store is not the one that was sent: the store was set back."""


class ContextMissing(StorageError):
    """No context of this id belongs to this owner."""


class ContextGone(ContextMissing):
    """The context was deleted, and its owner is told so (`tombstones`)."""


class LogCompacted(StorageError):
    """The log does not go back so far any more."""

    def __init__(self, context_id: str, first: int) -> None:
        super().__init__(f"{context_id}: the log begins at version {first}")
        self.first = first
        """What there is begins with this version."""


class MailboxFull(StorageError):
    """The context has as many undelivered actions as it may have."""


class QuotaExceeded(StorageError):
    """The owner, or the context, has as much as it may have; nothing has happened."""

    def __init__(self, quota: str, *, most: int, used: int, again_s: int | None) -> None:
        super().__init__(f"{used} {quota} of {most}")
        self.quota = quota
        """What there is too much of."""
        self.most = most
        self.used = used
        self.again_s = again_s
        """When it may be worth asking again; None: not by waiting."""


class KeyReused(StorageError):
    """The idempotency key came with another body before."""


class DurabilityMismatch(StorageError):
    """The store is configured to keep less than `durability` promises."""


class EncryptionMismatch(StorageError):
    """What the store holds was encrypted, and the keys to it are not here."""


class CannotOpen(StorageError):
    """A value was changed or moved, or no key is here for it."""


class ContextUnreadable(CannotOpen):
    """What the store holds of a context was changed, or no key to it is here."""

    def __init__(
        self, context_id: str, cause: Exception, *, remains: Remains | None = None
    ) -> None:
        # Others than CannotOpen may quote what was said.
        why = str(cause) if isinstance(cause, CannotOpen) else "it was changed"
        super().__init__(f"{context_id}: {why}")
        self.remains = remains
        """What its new owner can do something with; None: nobody has become its owner."""


class WorkerBuried(StorageError):
    """The session of this worker is over; it must stop."""


class ContextBusy(StorageError):
    """Another living worker owns the context; there is nothing to do."""


class NoScript(StorageError):
    """The store does not know the script; nothing has happened."""


def describe(error: BaseException) -> str:
    """What an error is and says; redis-py's own `repr` (8.1) leaves out what it says."""
    said = str(error).rstrip(".")
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
