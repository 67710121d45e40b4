"""Ids of these doors: each names its context, and a response the request that made it.

No table maps them: `resp_<context><request>`, both as 32 hex digits, is found again in the
log, whose messages carry the request's number as `client_message_id`.
"""

import hashlib
import re
from typing import Final

from uuid_utils import uuid7

from gateway.problems import Problem

_HEX_CHARS: Final = 32
_PAIR: Final = re.compile(f"([0-9a-f]{{{_HEX_CHARS}}})([0-9a-f]{{{_HEX_CHARS}}})")


def new_request(key: str) -> str:
    """A number for a request; the same for the same Idempotency-Key, "" being none."""
    if not key:
        return uuid7().hex
    return hashlib.blake2b(key.encode(), digest_size=_HEX_CHARS // 2).hexdigest()


def pair_id(prefix: str, context_id: str, request: str) -> str:
    """Id of what a request has made in a context."""
    return f"{prefix}_{hexed(context_id)}{request}"


def conversation_id(context_id: str) -> str:
    """A context's id as a conversation."""
    return f"conv_{hexed(context_id)}"


def hexed(context_id: str) -> str:
    """A UUID without its dashes."""
    return context_id.replace("-", "")


def read_response_id(text: str) -> tuple[str, str]:
    """Context and request of a response.

    Raises:
        Problem: not-found.
    """
    found = _PAIR.fullmatch(text.removeprefix("resp_"))
    if found is None or not text.startswith("resp_"):
        raise unknown_response(text)
    return _dashed(found[1]), found[2]


def read_conversation_id(text: str) -> str:
    """The context that a conversation is.

    Raises:
        Problem: not-found.
    """
    digits = text.removeprefix("conv_")
    if not text.startswith("conv_") or not re.fullmatch(f"[0-9a-f]{{{_HEX_CHARS}}}", digits):
        raise Problem("not-found", f"There is no conversation {text[:80]!r}.")
    return _dashed(digits)


def unknown_response(text: str) -> Problem:
    """The problem for a response that does not exist, or is somebody else's."""
    return Problem("not-found", f"There is no response {text[:80]!r}.")


def _dashed(digits: str) -> str:
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
