"""The exceptions of this package, as one tree.

    ContextdError
    ├── NotJson                  what was to be sent is no JSON; nothing was sent
    ├── Unreachable              no answer, however often it was asked
    ├── NotUnderstood            an answer that is none of contextd's
    │   └── FrameTooLarge        an event larger than anybody should have to keep
    └── Problem                  an answer that says what is wrong (RFC 9457)
        ├── NotFound             deleted, never there, or somebody else's
        ├── Unauthorized         the key is missing, or is not the right one
        ├── InvalidRequest       the request itself is wrong
        │   └── KeyReused        the idempotency key came with another request before
        ├── Unavailable          busy, full or stopping, and it stayed so
        ├── OverQuota            you have, or have used, as much as you may
        └── Refused              the context does not do that, or not now
            ├── IllegalInPhase
            ├── NoPendingApprovals
            ├── VersionMismatch  the context has changed since `if_cursor`
            ├── TurnRunning      policy `reject`
            ├── QueueFull
            └── MergeConflict    `conflicts` says what

The message of each is a sentence for a person.
"""

from collections.abc import Mapping
from typing import Final

from pydantic import ValidationError

from contextd_client.views import ProblemDocument

AGAIN: Final = frozenset({429, 502, 503, 504})
"""Statuses after which the same request may succeed."""


class ContextdError(Exception):
    """Base of all errors of this package."""


class NotJson(ContextdError, ValueError):
    """What was to be sent is no JSON, such as half of a surrogate pair; nothing was sent."""


class Unreachable(ContextdError):
    """There was no answer; whether the last try was received is unknown."""

    retry_after_s: Final = 0.0

    def __init__(self, url: str, cause: Exception) -> None:
        super().__init__(f"{url} cannot be reached ({type(cause).__name__}).")


class NotUnderstood(ContextdError):
    """The answer is not one that contextd gives."""


class FrameTooLarge(NotUnderstood):
    """A single event is larger than anybody should have to keep."""


class Problem(ContextdError):
    """The server says what is wrong."""

    def __init__(self, document: ProblemDocument, *, tries: int) -> None:
        said = document.detail or document.title or "no reason given"
        super().__init__(f"{said} ({document.status})")
        self.type = document.type.removeprefix("/problems/")
        self.status = document.status
        self.title = document.title
        self.detail = document.detail
        self.request_id = document.request_id
        self.phase = document.phase
        """Where the context was; None if it was not asked."""
        self.allowed_actions = document.allowed_actions
        self.version = document.version
        self.conflicts = document.conflicts
        self.code = document.code
        """How the model server has failed, where that is what is wrong."""
        self.first_version = document.first_version
        """What is left of a compacted log begins with it."""
        self.quota = document.quota
        """What there is too much of."""
        self.limit = document.limit
        self.used = document.used
        self.retry_after_s = document.retry_after_s or 0.0
        """What the server asks to wait before the request is sent again."""
        self.tries = tries
        """How often the request was sent."""

    @property
    def passes(self) -> bool:
        """Whether the same request may succeed later.

        What the context itself has refused is remembered under its key, and refused again.
        """
        return self.status in AGAIN and self.phase is None


class NotFound(Problem):
    """Deleted, never there, or somebody else's."""


class Unauthorized(Problem):
    """The key is missing, or is not valid, or does not allow this."""


class InvalidRequest(Problem):
    """The request itself is wrong; the detail says where."""


class KeyReused(InvalidRequest):
    """The idempotency key came with another request before."""


class Unavailable(Problem):
    """The server is busy, full or stopping, and has stayed so."""


class OverQuota(Problem):
    """You have, or have used, as much as you may: `limit` of `quota`."""


class Refused(Problem):
    """The context does not do that, or not in its phase."""


class IllegalInPhase(Refused):
    """`allowed_actions` says what is possible in this phase."""


class NoPendingApprovals(Refused):
    """No tool call waits for a person."""


class VersionMismatch(Refused):
    """The context has changed since `if_cursor`; it is at `version` now."""


class TurnRunning(Refused):
    """The message was to be rejected while a turn runs."""


class QueueFull(Refused):
    """Too many messages wait."""


class MergeConflict(Refused):
    """Both branches have something of their own in the same place: `conflicts`."""


_BY_TYPE: Final[Mapping[str, type[Problem]]] = {
    "not-found": NotFound,
    "gone": NotFound,
    "key-reused": KeyReused,
    "quota-full": OverQuota,
    "quota-exceeded": OverQuota,
    "illegal-in-phase": IllegalInPhase,
    "no-pending-approvals": NoPendingApprovals,
    "version-mismatch": VersionMismatch,
    "turn-running": TurnRunning,
    "queue-full": QueueFull,
    "merge-conflict": MergeConflict,
}
_INVALID: Final = frozenset({400, 405, 408, 410, 413, 415, 421, 422, 426, 431})


def problem_of(status: int, raw: bytes, *, retry_after: str, tries: int) -> Problem:
    """The exception for an answer of 300 or above, of contextd or of a proxy.

    Args:
        status: Of the answer; it counts, whatever the body says.
        raw: Its body.
        retry_after: Its header of that name; an HTTP date is passed over.
        tries: How often the request was sent.
    """
    try:
        document = ProblemDocument.model_validate_json(raw)
    except ValidationError:
        document = ProblemDocument()
    update: dict[str, object] = {"status": status}
    if retry_after.isascii() and retry_after.isdecimal():
        update["retry_after_s"] = float(retry_after)
    document = document.model_copy(update=update)
    return _kind(document)(document, tries=tries)


def _kind(document: ProblemDocument) -> type[Problem]:
    named = _BY_TYPE.get(document.type.removeprefix("/problems/"))
    if named is not None:
        return named
    if document.phase is not None:
        return Refused
    if document.status in {401, 403}:
        return Unauthorized
    if document.status in AGAIN:
        return Unavailable
    return InvalidRequest if document.status in _INVALID else Problem
