"""What a model server's refusals mean.

Servers differ in bodies and agree on statuses, so the status decides and the body's own
words only refine it. Nothing in here reads a clock: a Retry-After date is counted from
the Date of the same answer.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Final

import orjson
from pydantic import JsonValue

from workers.models.protocol import ModelError, ModelErrorCode

_WORDS_MAX: Final = 300
"""Characters of a server's own explanation that are passed on."""

_SECRET: Final = re.compile(r"sk-\S+|[Bb]earer\s+\S+|[\w-]{32,}")
"""Whatever may be a key: named so, or a run of characters longer than words are."""

_RETRYABLE: Final[frozenset[ModelErrorCode]] = frozenset(
    {"rate_limited", "overloaded", "timeout", "connection", "stream_cut", "bad_response"}
)

_BY_KIND: Final[Mapping[str, ModelErrorCode]] = {
    "rate_limit_exceeded": "rate_limited",
    "rate_limit_error": "rate_limited",
    "tokens": "rate_limited",
    "requests": "rate_limited",
    "insufficient_quota": "rate_limited",
    "overloaded_error": "overloaded",
    "server_error": "overloaded",
    "api_error": "overloaded",
    "internal_server_error": "overloaded",
    "service_unavailable": "overloaded",
    "context_length_exceeded": "content_too_long",
    "string_above_max_length": "content_too_long",
    "request_too_large": "content_too_long",
    "invalid_api_key": "unauthorized",
    "authentication_error": "unauthorized",
    "permission_error": "unauthorized",
    "model_not_found": "not_found",
    "not_found_error": "not_found",
    "invalid_request_error": "bad_request",
    "BadRequestError": "bad_request",
}
"""Words for errors, as OpenAI, Anthropic and vLLM use them in `code` and `type`."""

_BY_STATUS: Final[Mapping[int, ModelErrorCode]] = {
    404: "not_found",
    408: "timeout",
    413: "content_too_long",
    429: "rate_limited",
}

_SENTENCES: Final[Mapping[ModelErrorCode, str]] = {
    "rate_limited": "The model server asks for fewer requests.",
    "overloaded": "The model server is overloaded or has failed.",
    "bad_request": "The model server does not accept this request.",
    "unauthorized": "The model server does not accept the API key; check "
    "CONTEXTD_MODEL_API_KEY.",
    "not_found": "The model server has no such model or address; check CONTEXTD_MODEL and "
    "CONTEXTD_MODEL_BASE_URL.",
    "timeout": "The model server gave up waiting.",
    "bad_response": "The model server's answer is not a chat reply.",
    "content_too_long": "The conversation is longer than the model takes.",
}


@dataclass(frozen=True, slots=True)
class _Problem:
    """What an error's body says."""

    message: str = ""
    kinds: tuple[str, ...] = ()
    """Words for the error, the finest first."""
    status: int | None = None
    """The HTTP status that a proxy (OpenRouter, vLLM) passes on inside a body."""


def failure_of_status(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    api_key: str | None,
    retry_after_ms_max: int,
) -> ModelError:
    """Say what an answer that is not a 2xx means."""
    retry_after_ms = _retry_after_ms(headers, retry_after_ms_max)
    if 300 <= status <= 399:
        return ModelError(
            "bad_response",
            f"The model server redirects (HTTP {status}), which is not followed; check "
            "CONTEXTD_MODEL_BASE_URL.",
            retryable=False,
        )
    problem = _problem_in_body(body)
    code = _code_of_status(status)
    if code == "bad_request":
        code = _code_of_kinds(problem.kinds) or code
    sentence = f"{_SENTENCES[code].removesuffix('.')} (HTTP {status})."
    return _failure(code, sentence, problem, api_key, retry_after_ms)


def failure_in_stream(error: JsonValue, *, api_key: str | None) -> ModelError:
    """Say what an error object inside a stream means."""
    problem = _problem(error)
    if problem.status is not None:
        code = _code_of_status(problem.status)
    else:
        code = _code_of_kinds(problem.kinds) or "bad_response"
    return _failure(code, _SENTENCES[code], problem, api_key, None)


def _failure(
    code: ModelErrorCode,
    sentence: str,
    problem: _Problem,
    api_key: str | None,
    retry_after_ms: int | None,
) -> ModelError:
    """Add the server's own words where they explain and cannot hold the key."""
    if problem.message and code != "unauthorized":
        sentence = f"{sentence} It says: {_words(problem.message, api_key)}"
    retryable = code in _RETRYABLE and "insufficient_quota" not in problem.kinds
    return ModelError(code, sentence, retryable, retry_after_ms)


def _words(message: str, api_key: str | None) -> str:
    if api_key:
        message = message.replace(api_key, "[removed]")
    words = _SECRET.sub("[removed]", " ".join(message[: 4 * _WORDS_MAX].split()))
    printable = "".join(character for character in words if character.isprintable())
    return printable[:_WORDS_MAX]


def _code_of_status(status: int) -> ModelErrorCode:
    if status in {401, 403}:
        return "unauthorized"
    if status in {409, 425} or status >= 500:
        return "overloaded"
    return _BY_STATUS.get(status, "bad_request" if status >= 400 else "bad_response")


def _code_of_kinds(kinds: tuple[str, ...]) -> ModelErrorCode | None:
    return next((_BY_KIND[kind] for kind in kinds if kind in _BY_KIND), None)


def _problem_in_body(body: bytes) -> _Problem:
    try:
        decoded: JsonValue = orjson.loads(body)
    except orjson.JSONDecodeError:
        return _Problem()
    if isinstance(decoded, dict) and decoded.get("error"):
        return _problem(decoded["error"])
    return _problem(decoded)


def _problem(error: JsonValue) -> _Problem:
    if isinstance(error, str):
        return _Problem(message=error)
    if not isinstance(error, dict):
        return _Problem()
    message = error.get("message") or error.get("detail")
    code = error.get("code")
    words = (code, error.get("type"))
    return _Problem(
        message=message if isinstance(message, str) else "",
        kinds=tuple(word for word in words if isinstance(word, str)),
        status=code if isinstance(code, int) and 400 <= code <= 599 else None,
    )


def _retry_after_ms(headers: Mapping[str, str], ms_max: int) -> int | None:
    """Read Retry-After (RFC 9110, 10.2.3), or the finer header that OpenAI sends too."""
    wait_ms = _number(headers.get("retry-after-ms", ""))
    if wait_ms is None:
        value = headers.get("Retry-After", "")
        seconds = _number(value)
        wait_ms = _until_date_ms(value, headers) if seconds is None else seconds * 1000
    if wait_ms is None:
        return None
    return round(min(max(wait_ms, 0.0), ms_max))


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"\s*\d{1,15}(\.\d{1,9})?\s*", text) else None


def _until_date_ms(value: str, headers: Mapping[str, str]) -> float | None:
    due, sent = _date(value), _date(headers.get("Date", ""))
    if due is None or sent is None:
        return None
    return (due - sent).total_seconds() * 1000


def _date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    # A date without a zone cannot be compared with one that has it; HTTP's are all GMT.
    return date if date.tzinfo else None
