"""Request headers that are ours to read: Prefer, Idempotency-Key, If-Match, If-None-Match.

A header that takes one value and comes twice is refused: whoever sends two does not agree
with itself, and picking one would be a guess.
"""

import functools
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from gateway.problems import Problem
from gateway.resume import parse_cursor

KEY_CHARS_MAX: Final = 255


@dataclass(frozen=True, slots=True)
class Prefer:
    """The preferences (RFC 7240) that we know."""

    wait_s: float | None = None
    respond_async: bool = False
    minimal: bool = False


def read_prefer(request: web.Request, *, wait_s_max: int) -> Prefer:
    """The Prefer header, of however many lines; unknown preferences are ignored.

    Of a preference that comes twice the first counts (RFC 7240, section 2).

    Raises:
        Problem: invalid-header, if `wait` is no whole number.
    """
    if "Prefer" not in request.headers:
        return Prefer()
    return _read_prefer(",".join(request.headers.getall("Prefer")), wait_s_max)


@functools.lru_cache(maxsize=256)
def _read_prefer(lines: str, wait_s_max: int) -> Prefer:
    """Cached, because a client sends the same header each time."""
    known: dict[str, str] = {}
    for part in lines.split(","):
        name, _, value = part.partition(";")[0].partition("=")
        known.setdefault(name.strip().lower(), value.strip().strip('"').strip())
    wait_s: float | None = None
    if (wait := known.get("wait")) is not None:
        if not _is_whole(wait):
            raise Problem("invalid-header", "Prefer: wait takes whole seconds, as wait=10.")
        wait_s = float(min(int(wait), wait_s_max))
    return Prefer(
        wait_s,
        respond_async=known.get("respond-async") == "",
        minimal=known.get("return", "").lower() == "minimal",
    )


def read_key(request: web.Request) -> str:
    """The Idempotency-Key, or "" where there is none.

    Raises:
        Problem: invalid-header, if it is empty, longer than 255 characters, not plain
            text, or there are two.
    """
    key = _single(request, "Idempotency-Key")
    if key is None:
        return ""
    if not 0 < len(key) <= KEY_CHARS_MAX or not (key.isascii() and key.isprintable()):
        raise Problem(
            "invalid-header",
            f"Idempotency-Key takes 1 to {KEY_CHARS_MAX} printable ASCII characters.",
        )
    return key


def read_if_version(request: web.Request, epoch: str) -> int | None:
    """The version that If-Match names; -1, which none has, for one of another epoch.

    Raises:
        Problem: invalid-header, if it is not one ETag of ours.
    """
    header = _single(request, "If-Match")
    if header is None or header == "*":
        return None
    asked = parse_cursor(header)
    if asked is None:
        raise Problem("invalid-header", "If-Match takes one ETag of the context's state.")
    return asked[1] if asked[0] == epoch else -1


def has_seen(request: web.Request, current: str) -> bool:
    """Whether If-None-Match names `current`, a cursor."""
    if "If-None-Match" not in request.headers:
        return False
    tags = ",".join(request.headers.getall("If-None-Match")).split(",")
    seen = {tag.strip().removeprefix("W/").strip('"') for tag in tags}
    return current in seen or "*" in seen


def takes_stale(request: web.Request) -> bool:
    """Whether an answer from memory will do, marked; `Cache-Control: no-cache` says no."""
    directives = ",".join(request.headers.getall("Cache-Control", [])).lower().split(",")
    return not {"no-cache", "no-store"} & {directive.strip() for directive in directives}


def _single(request: web.Request, name: str) -> str | None:
    values = request.headers.getall(name, [])
    if len(values) > 1:
        raise Problem("invalid-header", f"Send one {name}, not {len(values)}.")
    return values[0].strip() if values else None


def _is_whole(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 9
