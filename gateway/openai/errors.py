"""Problems in the shape that clients of these doors know.

The typed exceptions of OpenAI's SDK go by the status alone; 422 is 400 there, and what is gone
is not found, nor is a model that the model server does not know.
"""

from typing import Final

from aiohttp import web

from gateway.answers import json_response
from gateway.problem_types import TYPES
from gateway.problems import Problem
from gateway.route import BASES

_PREFIX: Final = "/v1/"
_KINDS: Final = {429: "rate_limit_error", 409: "conflict_error"}
_TYPES: Final = {"gone": "not-found", "unknown-model": "not-found"}
_CODES: Final = {
    "rate-limited": "rate_limit_exceeded",
    "rate_limited": "rate_limit_exceeded",
    "quota-exceeded": "insufficient_quota",
    "content_too_long": "context_length_exceeded",
    "not_found": "model_not_found",
    "gone": "not-found",
}
"""Codes that OpenAI's clients look for, by type of problem or by how the model has failed."""
ONCE: Final = {"x-should-retry": "false"}
"""Header of answers that the SDK must not repeat the request after."""
REQUEST_ID_HEADER: Final = "x-request-id"
"""Header of every answer, where the SDK looks for what to tell the operator."""


def speaks_openai(path: str) -> bool:
    """Whether an address is one of these doors, and not the alias of a native one."""
    native = any(path == base or path.startswith(f"{base}/") for base in BASES)
    return path.startswith(_PREFIX) and not native


def status_of(problem_type: str) -> int:
    """The status that a type of problem is answered with here."""
    status = TYPES[_TYPES.get(problem_type, problem_type)].status
    return 400 if status == 422 else status


def error_object(problem: Problem) -> dict[str, object]:
    """A problem as OpenAI's error object."""
    status = status_of(problem.type)
    code = str(problem.extra.get("code", problem.type))
    kind = "server_error" if status >= 500 else _KINDS.get(status, "invalid_request_error")
    return {
        "message": problem.detail,
        "type": kind,
        "param": problem.extra.get("param"),
        "code": _CODES.get(code, code),
    }


def render_error(problem: Problem, request_id: str) -> web.Response:
    """A problem as a response of these doors."""
    headers = {**problem.headers, REQUEST_ID_HEADER: request_id}
    if (retry_after_s := problem.extra.get("retry_after_s")) is not None:
        headers["Retry-After"] = str(retry_after_s)
    return json_response(
        {"error": error_object(problem)}, status=status_of(problem.type), headers=headers
    )
