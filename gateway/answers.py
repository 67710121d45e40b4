"""Answers about a context: ActionResponse, ETag, Prefer."""

from dataclasses import dataclass

import orjson
from aiohttp import web

from gateway.app import Gateway
from gateway.mirror import Mirror, cursor
from gateway.problems import Problem
from storage import Result


@dataclass(frozen=True, slots=True)
class Prefer:
    """The preferences (RFC 7240) that we know."""

    wait_s: float | None = None
    respond_async: bool = False
    minimal: bool = False


def read_prefer(request: web.Request, *, wait_s_max: int) -> Prefer:
    """The Prefer header; unknown preferences are ignored.

    Raises:
        Problem: invalid-header, if `wait` is no whole number.
    """
    header = request.headers.get("Prefer")
    if header is None:
        return Prefer()
    wait_s: float | None = None
    tokens = [token.strip() for part in header.split(",") for token in part.split(";")]
    for token in tokens:
        name, _, value = token.partition("=")
        if name.strip().lower() == "wait":
            if not value.strip().isdecimal() or len(value.strip()) > 9:
                raise Problem("invalid-header", "Prefer: wait takes whole seconds, as wait=10.")
            wait_s = float(min(int(value), wait_s_max))
    return Prefer(wait_s, "respond-async" in tokens, "return=minimal" in tokens)


def messages_asked(request: web.Request) -> int | None:
    """The `messages` parameter: how many of the last messages are wanted.

    Raises:
        Problem: invalid-parameter.
    """
    raw = request.query.get("messages")
    if raw is None:
        return None
    if not raw.isdecimal() or len(raw) > 9:
        raise Problem("invalid-parameter", "messages takes a whole number, as messages=50.")
    return int(raw)


def action_id(context_id: str, seq: int) -> str:
    """Id of an action: its context and its number there."""
    return f"{context_id}.{seq}"


def etag(gateway: Gateway, mirror: Mirror) -> str:
    """The ETag of a context: its cursor."""
    return f'"{cursor(gateway.store.epoch, mirror.version, mirror.view.n)}"'


def action_response(
    gateway: Gateway,
    mirror: Mirror,
    *,
    status: int = 200,
    action: tuple[int, Result | None] | None = None,
    messages: int | None = None,
    headers: dict[str, str] | None = None,
    minimal: bool = False,
) -> web.Response:
    """An ActionResponse: the whole state, its status and version, and the action if any."""
    state = mirror.view.state
    shown: object = None
    if action is not None:
        seq, result = action
        shown = {
            "id": action_id(state.id, seq),
            "result": result and result.outcome,
            "version": result and result.version,
        }
    context = b"null" if minimal else mirror.context_json(gateway.store.epoch, messages)
    body = b'{"context":%s,"status":"%s","version":%d,"action":%s}' % (
        context,
        state.phase.value.encode(),
        state.version,
        orjson.dumps(shown),
    )
    response = web.Response(status=status, body=body, content_type="application/json")
    response.headers["ETag"] = etag(gateway, mirror)
    if headers:
        response.headers.update(headers)
    return response
