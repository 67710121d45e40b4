"""`contextd restart`: asks for a restart and shows how it goes."""

import http.client
import json
import sys
import time
from typing import Any
from urllib.parse import urlsplit

_LOOK_S = 0.3
_ANSWER_S_MAX = 15.0
_SILENT_S_MAX = 120.0
"""How long nothing may be heard of the restart before we stop watching."""

Json = dict[str, Any]


def run_restart(url: str, scope: str, *, force: bool, key: str | None) -> int:
    """Ask, then print each process as it is replaced; the exit code."""
    try:
        order: Json = {"scope": scope, "force": force}
        status, answer = _ask(url, "POST", "/admin/restart", key, order)
    except OSError as error:
        return _say(f"Nothing answers at {url} ({error}). Is `contextd up` running?", 1)
    if status != 200:
        return _say(f"{answer.get('detail', status)}", 1)
    shown: set[tuple[str, int]] = set()
    heard_s = time.monotonic()
    while time.monotonic() - heard_s < _SILENT_S_MAX:
        try:
            status, report = _ask(url, "GET", answer["report_url"], key)
        except OSError:
            status, report = 0, {}  # the gateway that we asked has just left
        if status == 200:
            if _show(report, shown):
                heard_s = time.monotonic()
            if report["status"] in {"complete", "failed"}:
                return _say(f"Restart {report['status']}.", int(report["status"] == "failed"))
        time.sleep(_LOOK_S)
    return _say(f"Nothing more is heard of it; see {url}{answer['report_url']}.", 1)


def _show(report: Json, shown: set[tuple[str, int]]) -> bool:
    """Print what is new; whether anything was."""
    news = False
    for supervisor in report["supervisors"]:
        for process in supervisor["processes"]:
            key = (f"{supervisor['supervisor']} {process['role']}", process["slot"])
            if key in shown:
                continue
            shown.add(key)
            news = True
            moved = "" if process["moved"] is None else f", {process['moved']} moved"
            _say(
                f"{process['role']} {process['slot']}: {process['process_id']} -> "
                f"{process['replaced_by']} {process['outcome']}{moved}, "
                f"{process['duration_ms'] / 1_000:.1f} s",
                0,
            )
    return news


def _ask(
    url: str, method: str, path: str, key: str | None, body: Json | None = None
) -> tuple[int, Json]:
    parts = urlsplit(url)
    kind = (
        http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    )
    connection = kind(parts.hostname or "", parts.port, timeout=_ANSWER_S_MAX)
    try:
        sent = None if body is None else json.dumps(body)
        headers = {"Content-Type": "application/json"}
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        connection.request(method, path, sent, headers)
        response = connection.getresponse()
        answer: Json = json.loads(response.read() or b"{}")
    except (http.client.HTTPException, json.JSONDecodeError) as error:
        raise ConnectionError(str(error)) from error
    finally:
        connection.close()
    return response.status, answer


def _say(sentence: str, code: int) -> int:
    stream = sys.stderr if code else sys.stdout
    stream.write(f"{sentence}\n")
    stream.flush()
    return code
