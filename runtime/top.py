"""`contextd top`: the numbers of the whole service on one screen, again and again."""

import time

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from runtime.admin_client import AdminClient, CannotAsk, Json
from runtime.ops_tables import age, table_of


def run_top(client: AdminClient, *, every_s: float) -> int:
    """Show the numbers until Ctrl-C; the exit code.

    A service that was there and is away for a while, as in a restart, is waited for.
    """
    try:
        stats = client.get("/api/v1/stats")
    except CannotAsk as refused:
        Console(stderr=True, highlight=False, markup=False).print(f"contextd: {refused}")
        return 1
    screen = Console(highlight=False, markup=False)
    if not screen.is_terminal:
        screen.print(view(stats, client.url))
        return 0
    try:
        with Live(view(stats, client.url), console=screen, screen=True) as live:
            while True:
                time.sleep(every_s)
                note = ""
                try:
                    stats = client.get("/api/v1/stats")
                except CannotAsk as refused:
                    note = str(refused)
                live.update(view(stats, client.url, note), refresh=True)
    except KeyboardInterrupt:
        return 0


def view(stats: Json, url: str, note: str = "") -> Group:
    """One screen of statistics; `note`: why they are not current."""
    head = Text.assemble(("contextd ", "bold"), url, f"  {stats['at']}")
    if note:
        head.append(f"\n{note}", style="bold red")
    shown = (_contexts(stats), _work(stats), _store(stats), Text(), _latencies(stats))
    return Group(head, *shown, Text(), _processes(stats))


def _contexts(stats: Json) -> Text:
    contexts = stats["contexts"]
    phases = ", ".join(f"{count} {phase}" for phase, count in contexts["by_phase"].items())
    mailbox, letters = stats["mailbox"], stats["dead_letters"]
    line = Text.assemble(("contexts  ", "bold"), f"{contexts['total']}: {phases}\n")
    line.append("waiting   ", style="bold")
    line.append(f"{mailbox['waiting']} actions, the oldest {mailbox['oldest_s']:.0f} s   ")
    line.append(f"{letters} dead letters", style="bold red" if letters else "")
    return line


def _work(stats: Json) -> Text:
    actions, turns, saves = stats["actions"], stats["turns"], stats["saves"]
    ended = ", ".join(f"{count} {how}" for how, count in turns["ended"].items())
    viewers = ", ".join(f"{count} {how}" for how, count in stats["viewers"].items())
    return Text.assemble(
        ("actions   ", "bold"),
        f"{actions['per_s']:.1f}/s   {actions['applied']} applied, "
        f"{actions['refused']} refused\n",
        ("turns     ", "bold"),
        f"{turns['per_s']:.1f}/s   {turns['started']} started, {ended}\n",
        ("saves     ", "bold"),
        f"{saves['commits']} commits, {saves['snapshots']} snapshots, "
        f"{saves['skipped_clean']} skipped as clean, {_bytes(saves['bytes'])}\n",
        ("viewers   ", "bold"),
        viewers,
    )


def _store(stats: Json) -> Text:
    store = stats["store"]
    most = store["memory_bytes_max"]
    memory = _bytes(store["memory_bytes"]) + (f" of {_bytes(most)}" if most else "")
    errors = ", ".join(f"{count} {name}" for name, count in stats["errors"].items() if count)
    line = Text.assemble(("store     ", "bold"), f"{memory}, {store['durability']}")
    if errors:
        line.append("\nerrors    ", style="bold")
        line.append(errors, style="red")
    return line


def _latencies(stats: Json) -> Table:
    latency = stats["latency"]
    table = table_of(f"ms, last {latency['window_s']:.0f} s", "count", "p50", "p95", "p99")
    for kind in ("send", "poll", "save", "first_token"):
        one = latency[kind]
        cells = (f"{one[name]:.1f}" for name in ("p50_ms", "p95_ms", "p99_ms"))
        table.add_row(kind.replace("_", " "), str(one["count"]), *cells)
    return table


def _processes(stats: Json) -> Table:
    table = table_of("process", "role", "up", "at work", "memory", "cpu", "lag", "id")
    for one in stats["processes"]:
        load = ", ".join(f"{count} {what}" for what, count in one["load"].items() if count)
        table.add_row(
            f"{one['host']}:{one['process_id']}",
            f"{one['role']}{' (drains)' if one['draining'] else ''}",
            *(age(one["started_at"]), load, _bytes(one["memory_bytes"])),
            *(f"{one['cpu']:.0%}", f"{one['lag_ms']:.1f} ms", one["id"]),
        )
    return table


def _bytes(count: float) -> str:
    for unit in ("B", "KB", "MB"):
        if count < 1_000:
            return f"{count:.0f} {unit}"
        count /= 1_000
    return f"{count:.1f} GB"
