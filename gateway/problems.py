"""Errors as problem+json (RFC 9457): one table from exception to problem.

Handlers raise; the middleware in `gateway/app.py` is the one place that answers. Every
`detail` is a sentence that says what to do.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import orjson
from aiohttp import web
from pydantic import JsonValue

from storage import (
    ContextMissing,
    KeyReused,
    MailboxFull,
    Result,
    StoreRefusedWrite,
    StoreUnavailable,
)

TITLES: Final[Mapping[str, tuple[int, str]]] = {
    "malformed-json": (400, "The body is not JSON"),
    "invalid-header": (400, "A header cannot be understood"),
    "invalid-parameter": (400, "A query parameter cannot be understood"),
    "no-pending-approvals": (400, "No pending tool approvals"),
    "not-found": (404, "Not found"),
    "method-not-allowed": (405, "Method not allowed"),
    "illegal-in-phase": (409, "Not possible now"),
    "unknown-turn": (409, "That turn is not running"),
    "version-mismatch": (412, "The context has changed"),
    "body-too-large": (413, "The body is too large"),
    "unsupported-media-type": (415, "The body must be JSON"),
    "invalid-body": (422, "The body is not what the action takes"),
    "unknown-tool-call": (422, "No such tool call"),
    "invalid-config": (422, "The configuration would not be valid"),
    "key-reused": (422, "The Idempotency-Key was used for another request"),
    "queue-full": (429, "Too many messages wait"),
    "mailbox-full": (429, "Too many undelivered actions"),
    "internal": (500, "Something went wrong"),
    "store-unavailable": (503, "The store does not answer"),
    "draining": (503, "This gateway is stopping"),
    "too-many-viewers": (503, "Too many streams"),
}
"""Status and title by problem type."""


@dataclass
class Problem(Exception):
    """A request cannot be served; answered as problem+json."""

    type: str
    """A key of TITLES."""
    detail: str
    extra: Mapping[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


def refused(result: Result) -> Problem:
    """The problem that a refused action is answered with."""
    extra: dict[str, JsonValue] = {
        "phase": result.phase,
        "allowed_actions": list[JsonValue](result.allowed_actions),
        "version": result.version,
    }
    if result.code == "queue-full":
        extra["retry_after_s"] = 1
    return Problem(result.code or "internal", result.detail or "", extra)


def problem_of(error: Exception) -> Problem | None:
    """The problem that an exception stands for, or None if it is nobody's fault but ours."""
    match error:
        case Problem():
            return error
        case ContextMissing():
            return Problem("not-found", "Context not found")
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
        case StoreUnavailable():
            return Problem(
                "store-unavailable",
                "The store does not answer; whether the action was taken is unknown. Repeat it "
                "with the same Idempotency-Key.",
                {"retry_after_s": 1},
            )
        case StoreRefusedWrite():
            return Problem(
                "store-unavailable",
                "The store takes no writes at the moment (full, or read-only). Nothing has "
                "happened; send again later.",
                {"retry_after_s": 5},
            )
        case web.HTTPRequestEntityTooLarge():
            return Problem("body-too-large", "Send a smaller body.")
        case web.HTTPMethodNotAllowed():
            allowed = ", ".join(sorted(error.allowed_methods))
            return Problem("method-not-allowed", f"Use {allowed} here.", {}, {"Allow": allowed})
        case web.HTTPNotFound():
            return Problem("not-found", "There is nothing at this address. See /docs.")
        case _:
            return None


def render_problem(problem: Problem, request_id: str) -> web.Response:
    """A problem as a response."""
    status, title = TITLES[problem.type]
    body = {
        "type": f"/problems/{problem.type}",
        "title": title,
        "status": status,
        "detail": problem.detail,
        **problem.extra,
        "request_id": request_id,
    }
    headers = dict(problem.headers)
    if (retry_after_s := problem.extra.get("retry_after_s")) is not None:
        headers["Retry-After"] = str(retry_after_s)
    return web.Response(
        status=status,
        body=orjson.dumps(body),
        headers=headers,
        content_type="application/problem+json",
    )


def invalid(errors: Sequence[Mapping[str, object]]) -> Problem:
    """The problem for a body that does not have the shape asked for (pydantic's errors)."""
    first = errors[0]
    where = ".".join(str(part) for part in first["loc"])  # type: ignore[attr-defined]
    detail = f"{where}: {first['msg']}" if where else str(first["msg"])
    return Problem("invalid-body", detail[:500])
