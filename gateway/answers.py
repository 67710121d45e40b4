"""Bodies and headers that several handlers answer with: JSON, ActionResponse, ETag."""

from collections.abc import Mapping

import orjson
from aiohttp import web

from gateway.mirror import Mirror
from storage import Result


def json_response(
    shown: object, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """An answer whose body is the value as JSON."""
    return web.Response(
        body=orjson.dumps(shown),
        status=status,
        headers=headers,
        content_type="application/json",
    )


def action_id(context_id: str, seq: int, *, epoch: str) -> str:
    """Id of an action: its context, and its number there in an epoch of the store.

    In a later epoch the number may be another action's.
    """
    return f"{context_id}.{epoch}.{seq}"


def etag(mirror: Mirror) -> str:
    """The ETag of a context: its cursor."""
    return f'"{mirror.cursor}"'


def action_response(
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
            "id": action_id(state.id, seq, epoch=mirror.epoch),
            "result": result and result.outcome,
            "version": result and result.version,
        }
    context = b"null" if minimal else mirror.context_json(messages)
    body = b'{"context":%s,"status":"%s","version":%d,"action":%s}' % (
        context,
        state.phase.value.encode(),
        state.version,
        orjson.dumps(shown),
    )
    response = web.Response(status=status, body=body, content_type="application/json")
    response.headers["ETag"] = etag(mirror)
    if headers:
        response.headers.update(headers)
    return response
