"""`contextd retention`: shows what has grown old, or deletes it."""

import sys
import time
from datetime import UTC, datetime, timedelta

from runtime.audit import record
from runtime.leaves import leaves
from runtime.settings import Settings
from storage import Plan, Retention, StorageError, connect


async def show_plan(settings: Settings, url: str, *, days: int | None, limit: int) -> int:
    """Print what retention would delete now; the exit code.

    Args:
        settings: With `retention_days`.
        url: Of the store.
        days: Instead of `retention_days`.
        limit: How many contexts to show.
    """
    plan: Plan | None = None
    try:
        async with connect(url, settings) as store:
            plan = await Retention(store).plan(now_ms=_now_ms(), limit=limit, days=days)
    except* StorageError as failed:
        _say_why(failed)
    if plan is None:
        return 1
    for aged in plan.contexts:
        sys.stdout.write(f"{aged.context_id}  {_date(aged.touched_ms)}  {aged.owner}\n")
    more = "" if plan.complete else " or more"
    kept = ", ".join(f"{count} {why}" for why, count in sorted(plan.kept.items()))
    sys.stdout.write(
        f"{plan.count}{more} would be deleted: unchanged since {_date(plan.before_ms)}"
        f"{f'; as old, but kept: {kept}' if kept else ''}.\n"
    )
    return 0


async def run_retention(settings: Settings, url: str) -> int:
    """Have the contexts deleted that have grown old; the exit code."""
    gone: int | None = None
    try:
        async with connect(url, settings) as store:
            await record(store, "run_retention", f"{settings.retention_days} days")
            gone = await Retention(store).run(_now_ms)
    except* StorageError as failed:
        _say_why(failed)
    if gone is None:
        return 1
    sys.stdout.write(f"{gone} are being deleted.\n")
    return 0


def _say_why(failed: ExceptionGroup[StorageError]) -> None:
    for error in leaves(failed):
        sys.stderr.write(f"contextd: the store cannot be used: {error}.\n")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _date(at_ms: int) -> str:
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms)
    return at.isoformat(sep=" ", timespec="minutes").removesuffix("+00:00")
