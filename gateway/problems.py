"""Errors as problem+json (RFC 9457): one table from exception to problem.

What all problems of one type have in common is in `gateway/problem_types.py`.

Handlers raise; the middleware in `gateway/app.py` is the one place that answers. Every
`detail` is a sentence that says what to do.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import orjson
from aiohttp import web
from pydantic import JsonValue

from fsm import Failure
from gateway.problem_types import TYPES
from storage import (
    ContextGone,
    ContextMissing,
    ContextUnreadable,
    KeyReused,
    LogCompacted,
    MailboxFull,
    NotesFull,
    QuotaExceeded,
    Result,
    StoreRefusedWrite,
    StoreUnavailable,
)

_REFUSALS: Final[Mapping[str, str]] = {
    "OOM": "its memory is full",
    "READONLY": "it is read-only",
    "MISCONF": "its disk is full or fails",
    "NOREPLICAS": "it has too few replicas",
}


@dataclass
class Problem(Exception):
    """A request cannot be served; answered as problem+json."""

    type: str
    """A key of TYPES."""
    detail: str
    extra: Mapping[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    def traced(self, trace_id: str) -> "Problem":
        """The same problem, with the trace that shows how it came about."""
        return replace(self, extra={**self.extra, "trace_id": trace_id})


def refused(result: Result) -> Problem:
    """The problem that a refused action is answered with."""
    extra: dict[str, JsonValue] = {
        "phase": result.phase,
        "allowed_actions": list[JsonValue](result.allowed_actions),
        "version": result.version,
    }
    if result.conflicts:
        extra["conflicts"] = [one.model_dump() for one in result.conflicts]
    if result.code == "queue-full":
        extra["retry_after_s"] = 1
    return Problem(result.code or "internal", result.detail or "", extra)


def unanswered(failure: Failure, headers: Mapping[str, str] | None = None) -> Problem:
    """The problem that a turn which has failed is answered with."""
    extra: dict[str, JsonValue] = {"code": failure.code}
    match failure.code:
        case "not_found":
            name = "unknown-model"
        case "bad_request" | "content_too_long":
            name = "model-refused"
        case "rate_limited":
            name, extra["retry_after_s"] = "model-busy", 1
        case _:
            name, extra["retry_after_s"] = "model-unavailable", 5
    return Problem(name, failure.detail, extra, headers or {})


def unauthorized(detail: str) -> Problem:
    """The problem for a missing or invalid credential."""
    return Problem("unauthorized", detail, {}, {"WWW-Authenticate": 'Bearer realm="contextd"'})


def not_upgraded() -> Problem:
    """Somebody asks for a WebSocket without speaking it (RFC 9110, 15.5.22; RFC 6455, 4.4)."""
    detail = "Open this address as a WebSocket."
    spoken = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
    }
    return Problem("upgrade-required", detail, {}, spoken)


def draining() -> Problem:
    """Somebody asks for a stream that would be ended at once, because the gateway stops."""
    return Problem("draining", "Connect again; another gateway answers.", {"retry_after_s": 1})


def problem_of(error: Exception) -> Problem | None:
    """The problem that an exception stands for, or None if it is a bug of ours."""
    match error:
        case Problem():
            return error
        case LogCompacted():
            return Problem(
                "compacted",
                f"What is kept begins with version {error.first}.",
                {"first_version": error.first},
            )
        case ContextGone():
            return Problem("gone", "The context was deleted.")
        case ContextMissing():
            return Problem("not-found", "Context not found")
        case ContextUnreadable():
            return Problem("unreadable", "Nothing was done. All that it still takes is delete.")
        case KeyReused():
            return Problem(
                "key-reused",
                "This Idempotency-Key came with another body before. Use a new key for a new "
                "request.",
            )
        case MailboxFull():
            return Problem(
                "mailbox-full",
                "The context has as many undelivered actions as it may have. Send again later.",
                {"retry_after_s": 1},
            )
        case QuotaExceeded():
            return _exceeded(error)
        case StoreUnavailable():
            return Problem(
                "store-unavailable",
                "The store does not answer; whether the action was taken is unknown. Repeat it "
                "with the same Idempotency-Key.",
                {"retry_after_s": 1},
            )
        case NotesFull():
            return Problem("too-many-notes", "Nothing was kept. Delete notes first.")
        case StoreRefusedWrite():
            return Problem(
                "store-unavailable",
                f"The store takes no writes at the moment: {_why_refused(str(error))}. Nothing "
                "has happened; send again later.",
                {"retry_after_s": 5},
            )
        case web.HTTPRequestEntityTooLarge():
            return Problem("body-too-large", "Send a smaller body.")
        case web.RequestPayloadError():
            return Problem("malformed-json", "The body breaks off, or its framing is wrong.")
        case web.HTTPMethodNotAllowed():
            allowed = ", ".join(sorted(error.allowed_methods))
            return Problem("method-not-allowed", f"Use {allowed} here.", {}, {"Allow": allowed})
        case web.HTTPNotFound():
            return Problem("not-found", "There is nothing at this address. See /docs.")
        case _:
            return None


def _exceeded(error: QuotaExceeded) -> Problem:
    extra: dict[str, JsonValue] = {
        "quota": error.quota,
        "limit": error.most,
        "used": error.used,
    }
    said = f"There are {error.used} {error.quota}, and no more than {error.most} may be"
    if error.again_s is None:
        return Problem("quota-full", f"{said}.", extra)
    extra["retry_after_s"] = error.again_s
    return Problem("quota-exceeded", f"{said}; send again in {error.again_s} s.", extra)


def _why_refused(text: str) -> str:
    """What the store's own words mean; they are for its operator, not for clients."""
    for code, meaning in _REFUSALS.items():
        if text.startswith(code):
            return meaning
    return "it says no"


def problem_body(problem: Problem, request_id: str) -> tuple[int, bytes]:
    """Status and body of a problem."""
    known = TYPES[problem.type]
    body = {
        "type": f"/problems/{problem.type}",
        "title": known.title,
        "status": known.status,
        "detail": problem.detail,
        **problem.extra,
        "request_id": request_id,
    }
    return known.status, orjson.dumps(body)


def render_problem(problem: Problem, request_id: str) -> web.Response:
    """A problem as a response."""
    status, body = problem_body(problem, request_id)
    headers = dict(problem.headers)
    if (retry_after_s := problem.extra.get("retry_after_s")) is not None:
        headers["Retry-After"] = str(retry_after_s)
    return web.Response(
        status=status,
        body=body,
        headers=headers,
        content_type="application/problem+json",
    )
