"""`contextd retention`: shows old contexts, or deletes them."""

import sys
from datetime import UTC, datetime, timedelta

from runtime.audit import record
from runtime.leaves import say_unusable
from runtime.settings import Settings
from storage import Plan, Retention, StorageError, connect, unix_ms


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
            plan = await Retention(store).plan(now_ms=unix_ms(), limit=limit, days=days)
    except* StorageError as failed:
        say_unusable(failed)
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
            gone = await Retention(store).run(unix_ms)
    except* StorageError as failed:
        say_unusable(failed)
    if gone is None:
        return 1
    sys.stdout.write(f"{gone} are being deleted.\n")
    return 0


def _date(at_ms: int) -> str:
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms)
    return at.isoformat(sep=" ", timespec="minutes").removesuffix("+00:00")
