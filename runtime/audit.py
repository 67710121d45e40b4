"""The audit log: what commands of this machine add to it, and `contextd audit`."""

import getpass
import socket
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from runtime.leaves import say_unusable
from runtime.settings import Settings
from storage import (
    Act,
    Audit,
    Audited,
    AuditRecord,
    Chain,
    StorageError,
    Store,
    Unreadable,
    connect,
    unix_ms,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


async def record(store: Store, name: str, target: str) -> None:
    """Record what a command is about to do.

    Raises:
        StoreUnavailable, StoreRefusedWrite: It cannot be recorded, and is not to be done.
    """
    act = Act(by=f"command:{_user()}", address=socket.gethostname(), name=name, target=target)
    await _audit(store).append(act, "asked", at_ms=unix_ms())


async def show_records(
    settings: Settings, url: str, *, after: int, limit: int, as_json: bool
) -> int:
    """Print records, the oldest first; the exit code."""
    found: Sequence[Audited | Unreadable] | None = None
    try:
        async with connect(url, settings) as store:
            found = await _audit(store).page(after=after, limit=limit)
    except* StorageError as failed:
        say_unusable(failed)
    if found is None:
        return 1
    for audited in found:
        if isinstance(audited, Unreadable):
            sys.stderr.write(
                f"contextd: record {audited.place} cannot be read: somebody has changed it.\n"
            )
            continue
        shown = audited.record.model_dump_json() if as_json else line_of(audited.record)
        sys.stdout.write(f"{shown}\n")
    return 0


async def check_records(settings: Settings, url: str) -> int:
    """Say whether the records follow each other; the exit code."""
    chain: Chain | None = None
    try:
        async with connect(url, settings) as store:
            chain = await _audit(store).check()
    except* StorageError as failed:
        say_unusable(failed)
    if chain is None:
        return 1
    if chain.broken is not None:
        sys.stderr.write(
            f"contextd: record {chain.broken} does not follow the one before it: one was "
            "changed, or is gone.\n"
        )
        return 1
    sys.stdout.write(
        f"Records {chain.first} to {chain.last} follow each other. The digest of the last one "
        f"is {chain.digest}.\n"
    )
    return 0


def _audit(store: Store) -> Audit:
    return Audit(store.link, store.config.audit_records_max)


def line_of(record: AuditRecord) -> str:
    """A record as one line for people, whatever clients have put into it."""
    act = record.act
    outcome = record.outcome if record.of is None else f"{record.outcome} ({record.of})"
    decided = " ".join(f"{one.verdict}:{one.call_id}" for one in act.decisions)
    parts = (_time(record.at_ms), act.by, act.owner, act.address, act.name, act.target, decided)
    shown = (part if part.isprintable() else ascii(part) for part in parts if part)
    return f"{record.number:>7}  {outcome:<12} " + "  ".join(shown)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"  # a user id without a name, as in containers


def _time(at_ms: int) -> str:
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms)
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")
