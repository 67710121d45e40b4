"""Output of the operators' commands for people: tables, and one context in depth."""

import sys
import time
from collections.abc import Sequence
from datetime import datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from runtime.admin_client import Json
from runtime.conversation import clean

_WIDE = 220
"""Columns of a table at most; what is longer is folded."""
_STYLES = {"stuck": "bold red", "slow": "yellow"}


def print_contexts(rows: Sequence[Json], *, cut: bool) -> None:
    """Print contexts at work; `cut`: there may be more."""
    headings = ("context", "owner", "status", "version", "changed", "waits", "mail", "worker")
    table = table_of(*headings, "tries", "trouble")
    for row in rows:
        lives = row["worker"] is None or row["worker_lives"]
        table.add_row(
            *(row["id"], clean(row["owner"]), row["status"], str(row["version"])),
            *(age(row["changed_at"]), age(row["waits_since"]), str(row["mail"] or "")),
            f"{row['worker'] or '-'}{'' if lives else ' (dead)'}",
            str(row["attempts"] or ""),
            Text(row["trouble"] or "", style=_STYLES.get(row["trouble"], "")),
        )
    show(table)
    if not rows:
        sys.stdout.write("There is no such context.\n")
    elif cut:
        sys.stdout.write(f"The first {len(rows)}; --limit shows more.\n")


def print_workers(rows: Sequence[Json]) -> None:
    """Print workers."""
    table = table_of("worker", "up", "last sign", "contexts")
    for row in rows:
        table.add_row(
            *(row["id"], age(row["started_at"])),
            *(age(row["seen_at"]) or Text("dead", style="bold red"), str(row["contexts"])),
        )
    show(table)
    if not rows:
        sys.stdout.write("There is no worker: contexts wait. Start one (`contextd worker`).\n")


def print_letters(rows: Sequence[Json]) -> None:
    """Print dead letters."""
    table = table_of("letter", "given up", "what", "cause")
    for row in rows:
        what = "webhook" if row["webhook"] else row["action"] or "turn"
        table.add_row(row["id"], _age_ms(row["at_ms"]), what, clean(row["cause"]))
    show(table)
    if not rows:
        sys.stdout.write("There is no dead letter.\n")


def print_inspection(found: Json) -> None:
    """Print one context in depth."""
    context, log, mailbox, turn = (
        found[name] for name in ("context", "log", "mailbox", "turn")
    )
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    worker = context["worker"] or "none"
    if context["worker"] and not context["worker_lives"]:
        worker += " (dead)"
    mail = str(mailbox["waiting"])
    if mailbox["waiting"]:
        mail += (
            f", first {mailbox['oldest_action'] or 'unreadable'} {_ago(mailbox['oldest_at'])}"
        )
    events = f"{log['events']} events from version {log['first_version']}, {log['bytes']} bytes"
    if log["base_version"]:
        events += f", base at {log['base_version']}"
    if log["compacts_to"]:
        events += f", to be compacted down to {log['compacts_to']}"
    pending = ", ".join(f"{effect['kind']} {effect['id']}" for effect in found["pending"])
    status = context["status"]
    if context["changed_at"]:
        status += f", last changed {_ago(context['changed_at'])}"
    rows = (
        ("context", context["id"]),
        ("owner", clean(context["owner"])),
        ("status", status),
        ("trouble", context["trouble"] or "none"),
        ("waits", f"for {age(context['waits_since'])}" if context["waits_since"] else "no"),
        ("due", context["due_at"] or "never"),
        ("worker", worker),
        ("token", f"{found['epoch']}.{found['token']}"),
        ("tries", f"{context['attempts']} that committed nothing"),
        ("mailbox", mail),
        ("job", found["job"] or "none"),
        ("version", str(context["version"])),
        ("log", events),
        ("snapshot", f"version {log['snapshot_version']}, {log['snapshot_lag']} behind"),
        ("messages", f"{found['messages']}, branches: {found['branches']}"),
        ("queued", str(found["queued"])),
        ("draft", f"{found['draft_characters']} characters"),
        ("turn", _turn(turn) if turn else "none"),
        ("pending", pending or "nothing"),
        ("failure", f"{found['failure'] or 'none'}{_retry(found['retry_at'])}"),
        ("notices", f"{found['notices']} to tell the webhook of"),
        ("dead letters", str(found["dead_letters"])),
    )
    for name, value in rows:
        table.add_row(name, Text(value))
    show(table)


def table_of(*headings: str) -> Table:
    """A table without lines, which a person scans and a program splits."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def show(table: Table) -> None:
    """Print a table as wide as it has to be: an id in pieces could not be copied."""
    wide = Console(highlight=False, markup=False, width=_WIDE)
    if table.row_count:
        wide.width = wide.measure(table).maximum
        wide.print(table)


def age(at: str | None) -> str:
    """How long ago something was; empty where it was not."""
    if at is None:
        return ""
    return _length(time.time_ns() / 1e9 - datetime.fromisoformat(at).timestamp())


def _age_ms(at_ms: int) -> str:
    return _length(time.time_ns() / 1e9 - at_ms / 1_000)


def _ago(at: str | None) -> str:
    return f"{age(at)} ago" if at else ""


def _length(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f}{unit}"
    return f"{max(0.0, seconds):.0f}s"


def _turn(turn: Json) -> str:
    waiting = f", waits for a person since {_ago(turn['waiting_since'])}"
    return (
        f"{turn['id']}, begun {_ago(turn['started_at'])}, {turn['rounds']} rounds, "
        f"{turn['tools']} tools, attempt {turn['attempt']}"
        f"{waiting if turn['waiting_since'] else ''}"
    )


def _retry(at: str | None) -> str:
    return f", tried again at {at}" if at else ""
