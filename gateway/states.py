"""State out: lists, single contexts, polls and streams."""

import asyncio

import orjson
from aiohttp import web

from fsm import rests
from gateway.answers import action_response, messages_asked, read_prefer
from gateway.app import GATEWAY, Gateway
from gateway.mirror import Mirror, cursor, rfc3339
from gateway.problems import Problem
from gateway.sse import backlog_frames, parse_cursor
from gateway.stream import Frame

POLL_AFTER_MS_AT_REST, POLL_AFTER_MS_BUSY = 2_000, 500


async def list_contexts(request: web.Request) -> web.StreamResponse:
    """The owner's contexts, newest first."""
    gateway = request.app[GATEWAY]
    raw = request.query.get("limit", "50")
    after = request.query.get("after")
    if not raw.isdecimal() or not 1 <= int(raw[:9]) <= gateway.config.list_max:
        raise Problem("invalid-parameter", f"limit takes 1 to {gateway.config.list_max}.")
    if after is not None and not (after.isascii() and after.isprintable() and len(after) < 256):
        raise Problem("invalid-parameter", "after takes the id of a context.")
    limit = int(raw)
    owner = gateway.owner_of(request)
    found = await gateway.store.contexts(owner, limit=limit + 1, after=after)
    shown = [
        {
            "id": context_id,
            "title": summary.title,
            "status": summary.status,
            "version": summary.version,
            "created_at": rfc3339(summary.created_at_ms),
            "updated_at": rfc3339(summary.updated_at_ms),
        }
        for context_id, summary in found[:limit]
    ]
    headers = {}
    if len(found) > limit:
        query = f"limit={limit}&after={found[limit - 1][0]}"
        headers["Link"] = f'<{request.path}?{query}>; rel="next"'
    return web.Response(
        body=orjson.dumps({"contexts": shown}), headers=headers, content_type="application/json"
    )


async def get_context(request: web.Request) -> web.StreamResponse:
    """A context, whole."""
    gateway = request.app[GATEWAY]
    mirror = await gateway.directory.read(request.match_info["id"], gateway.owner_of(request))
    return _state(gateway, request, mirror)


async def get_state(request: web.Request) -> web.StreamResponse:
    """Poll: the state, or 304 if the client has it; with `Prefer: wait`, once it changes."""
    gateway = request.app[GATEWAY]
    context_id, owner = request.match_info["id"], gateway.owner_of(request)
    if "after" in request.query:
        return await _events_after(request, gateway, context_id, owner)
    head = await gateway.directory.head(context_id, owner)
    known = request.headers.get("If-None-Match")
    if known is None or not _matches(known, cursor(gateway.store.epoch, *head)):
        return _state(
            gateway, request, await gateway.directory.read_at(context_id, owner, head)
        )
    prefer = read_prefer(request, wait_s_max=gateway.config.wait_s_max)
    if prefer.wait_s:
        async with gateway.directory.follow(context_id, owner) as feed:
            try:
                async with asyncio.timeout(prefer.wait_s):
                    await feed.wait_until(lambda mirror: _head_of(mirror) != head)
                return _state(gateway, request, feed.mirror)
            except TimeoutError:
                pass
    tag = f'"{cursor(gateway.store.epoch, *head)}"'
    return web.Response(status=304, headers={"ETag": tag})


def _state(gateway: Gateway, request: web.Request, mirror: Mirror) -> web.Response:
    messages = messages_asked(request)
    response = action_response(gateway, mirror, messages=messages)
    at_rest = rests(mirror.view.state)
    response.headers["Poll-After-Ms"] = str(
        POLL_AFTER_MS_AT_REST if at_rest else POLL_AFTER_MS_BUSY
    )
    if messages is not None and messages < len(mirror.view.state.messages):
        response.headers["Link"] = f'<{request.path}>; rel="collection"'
    return response


def _matches(header: str, current: str) -> bool:
    tags = [tag.strip().removeprefix("W/").strip('"') for tag in header.split(",")]
    return current in tags or "*" in tags


def _head_of(mirror: Mirror) -> tuple[int, int]:
    return mirror.version, mirror.view.n


async def _events_after(
    request: web.Request, gateway: Gateway, context_id: str, owner: str
) -> web.StreamResponse:
    """Only the events since a cursor, as the streams would show them."""
    after = request.query["after"]
    asked = parse_cursor(after)
    if asked is None:
        raise Problem("invalid-parameter", "after takes a cursor, as in `context.cursor`.")
    prefer = read_prefer(request, wait_s_max=gateway.config.wait_s_max)
    head = await gateway.directory.head(context_id, owner)
    if prefer.wait_s and asked == (gateway.store.epoch, *head):
        async with gateway.directory.follow(context_id, owner) as feed:
            try:
                async with asyncio.timeout(prefer.wait_s):
                    await feed.wait_until(lambda mirror: _head_of(mirror) != head)
            except TimeoutError:
                pass
            mirror = feed.mirror
    else:
        mirror = await gateway.directory.read_at(context_id, owner, head)
    frames = await backlog_frames(gateway.store, context_id, mirror, after)
    state = mirror.view.state
    here = cursor(gateway.store.epoch, mirror.version, mirror.view.n)
    body = b'{"events":[%s],"cursor":"%s","status":"%s","version":%d}' % (
        b",".join(map(_frame_json, frames)),
        here.encode(),
        state.phase.value.encode(),
        state.version,
    )
    return web.Response(
        body=body, headers={"ETag": f'"{here}"'}, content_type="application/json"
    )


def _frame_json(frame: Frame) -> bytes:
    return b'{"id":"%s","event":"%s","data":%s}' % (
        frame.id.encode(),
        frame.event.encode(),
        frame.data,
    )


async def stream_events(request: web.Request) -> web.StreamResponse:
    """Server-sent events of a context, from `Last-Event-ID` or `after` on."""
    gateway = request.app[GATEWAY]
    context_id, owner = request.match_info["id"], gateway.owner_of(request)
    if gateway.stopping.is_set():
        raise Problem(
            "draining", "Connect again; another gateway answers.", {"retry_after_s": 1}
        )
    await gateway.directory.head(context_id, owner)
    resume = request.headers.get("Last-Event-ID") or request.query.get("after")
    async with gateway.directory.follow(context_id, owner) as feed:
        return await gateway.viewers.serve(request, feed, resume)
