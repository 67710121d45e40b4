"""`contextd restart` and `contextd drain`: ask, and show how it goes."""

import sys
import time

from runtime.admin_client import AdminClient, CannotAsk, Json

_LOOK_S = 0.3
_SILENT_S_MAX = 120.0
"""How long a restart may report nothing before we stop watching it."""
_GATEWAYS_MAX = 30
"""How often we ask again to reach another gateway than the one to be drained."""


def run_restart(client: AdminClient, scope: str, *, force: bool) -> int:
    """Restart, printing each process as it is replaced; the exit code."""
    order: Json = {"scope": scope, "force": force}
    try:
        asked = client.post("/admin/restart", order)
    except CannotAsk as refused:
        return _say(f"contextd: {refused}", 1)
    return _watch(client, asked["report_url"], "Restart")


def run_drain(client: AdminClient, scope: str, *, process: str | None, force: bool) -> int:
    """Drain, printing each process as it ends; the exit code."""
    order: Json = {"scope": scope, "process": process, "force": force}
    try:
        asked = _ask_another(client, order)
    except CannotAsk as refused:
        return _say(f"contextd: {refused}", 1)
    code = _watch(client, asked["report_url"], "Drain")
    if code == 0:
        _say("`contextd restart` brings back what was drained.", 0)
    return code


def _ask_another(client: AdminClient, order: Json) -> Json:
    """Ask until a gateway answers that is not the one that is to be drained."""
    for _ in range(_GATEWAYS_MAX):
        try:
            return client.post("/admin/drain", order)
        except CannotAsk as refused:
            if order["scope"] != "gateways" or refused.problem != "nobody-left":
                raise
    raise CannotAsk("No other gateway answers there: the last one is never drained.")


def _watch(client: AdminClient, report_url: str, what: str) -> int:
    shown: set[tuple[str, int]] = set()
    heard_s = time.monotonic()
    while time.monotonic() - heard_s < _SILENT_S_MAX:
        try:
            report = client.get(report_url)
        except CannotAsk as refused:
            if refused.status not in {0, 503}:
                return _say(f"contextd: {refused}", 1)
            time.sleep(_LOOK_S)  # the gateway that we asked has just left
            continue
        if _show(report, shown):
            heard_s = time.monotonic()
        if report["status"] in {"complete", "failed"}:
            if report["process"] is not None and not shown:
                named = report["process"]
                return _say(f"contextd: No supervisor has a process {named} to drain.", 1)
            return _say(f"{what} {report['status']}.", int(report["status"] == "failed"))
        time.sleep(_LOOK_S)
    return _say(f"Nothing more is heard of it; see {client.url}{report_url}.", 1)


def _show(report: Json, shown: set[tuple[str, int]]) -> bool:
    """Print what is new in a report; returns whether anything was."""
    news = False
    for supervisor in report["supervisors"]:
        for process in supervisor["processes"]:
            key = (f"{supervisor['supervisor']} {process['role']}", process["slot"])
            if key in shown:
                continue
            shown.add(key)
            news = True
            moved = "" if process["moved"] is None else f", {process['moved']} moved"
            then = f" -> {process['replaced_by']}" if report["kind"] == "restart" else ""
            before = process["process_id"] or "empty"
            _say(
                f"{process['role']} {process['slot']}: {before}{then} "
                f"{process['outcome']}{moved}, {process['duration_ms'] / 1_000:.1f} s",
                0,
            )
    return news


def _say(sentence: str, code: int) -> int:
    stream = sys.stderr if code else sys.stdout
    stream.write(f"{sentence}\n")
    stream.flush()
    return code
