"""State out: lists, single contexts and polls."""

import asyncio
from typing import Final

from aiohttp import web

from fsm import branch_messages, ended, rests
from gateway.answers import action_response, json_response
from gateway.app import GATEWAY, Gateway
from gateway.headers import has_seen, read_prefer, takes_stale
from gateway.history import next_page, read_limit, state_at
from gateway.mirror import Mirror, cursor
from gateway.parameters import (
    AFTER_CURSOR,
    AFTER_ID,
    AT_VERSION,
    LIMIT,
    MESSAGES,
    STATES,
    context_id_of,
    read_flag,
    read_id,
    read_whole,
)
from gateway.problems import Problem
from gateway.resume import backlog_frames, parse_cursor
from gateway.stream import reset_frame
from storage import ContextMissing, StoreUnavailable, rfc3339, stopwatch

FROM_MIRROR: Final = web.RequestKey("from_mirror", bool)
"""Whether a read was answered from memory; not there: nothing was read."""
DELETED: Final = "the context was deleted, and its log with it"
POLL_AFTER_MS_AT_REST, POLL_AFTER_MS_BUSY = 2_000, 500


async def list_contexts(request: web.Request) -> web.StreamResponse:
    """The owner's contexts, newest first."""
    gateway = request.app[GATEWAY]
    limit, after = read_limit(request, gateway.config.list_max), read_id(request, AFTER_ID.name)
    with_states = read_flag(request, STATES.name)
    owner = gateway.owner_of(request)
    found = await gateway.store.contexts(owner, limit=limit + 1, after=after)
    shown: list[dict[str, object]] = []
    unreadable: list[str] = []
    for context_id, summary in found[:limit]:
        if summary is None:
            unreadable.append(context_id)
            continue
        entry: dict[str, object] = {
            "id": context_id,
            "title": summary.title,
            "status": summary.status,
            "pinned": summary.pinned,
            "version": summary.version,
            "created_at": rfc3339(summary.created_at_ms),
            "updated_at": rfc3339(summary.updated_at_ms),
        }
        if with_states:
            try:
                head = await gateway.directory.head(context_id, owner)
            except ContextMissing:
                continue  # deleted since the list was read
            entry["cursor"] = cursor(gateway.store.epoch, *head)
        shown.append(entry)
    headers: dict[str, str] = {}
    if len(found) > limit:
        last_id, _ = found[limit - 1]
        query = {**request.query, LIMIT.name: str(limit), AFTER_ID.name: last_id}
        headers["Link"] = next_page(request, query)
    return json_response({"contexts": shown, "unreadable": unreadable}, headers=headers)


async def get_context(request: web.Request) -> web.StreamResponse:
    """A context, whole; 304 if the client has it."""
    gateway = request.app[GATEWAY]
    context_id, owner = context_id_of(request), gateway.owner_of(request)
    return await _state_unless_seen(gateway, request, context_id, owner)


async def get_state(request: web.Request) -> web.StreamResponse:
    """Poll: the state, or 304 if the client has it; with `Prefer: wait`, once it changes."""
    gateway = request.app[GATEWAY]
    context_id, owner = context_id_of(request), gateway.owner_of(request)
    at_version = read_whole(request, AT_VERSION.name)
    if at_version is not None:
        if AFTER_CURSOR.name in request.query:
            raise Problem("invalid-parameter", "at_version and after do not go together.")
        messages = read_whole(request, MESSAGES.name)
        return await state_at(request, gateway, at_version, messages)
    if AFTER_CURSOR.name in request.query:
        return await _events_after(request, gateway, context_id, owner)
    return await _state_unless_seen(gateway, request, context_id, owner)


async def _state_unless_seen(
    gateway: Gateway, request: web.Request, context_id: str, owner: str
) -> web.Response:
    read_whole(request, MESSAGES.name)
    began_s = stopwatch()
    prefer = read_prefer(request, wait_s_max=gateway.config.wait_s_max)
    known = gateway.directory.last_known(context_id, owner) if takes_stale(request) else None
    mirror = None
    try:
        async with asyncio.timeout(gateway.config.stale_after_s if known else None):
            head = await gateway.directory.head(context_id, owner)
            seen = cursor(gateway.store.epoch, *head)
            if not has_seen(request, seen):
                request[FROM_MIRROR] = gateway.directory.has(context_id, owner, head)
                mirror = await gateway.directory.read_at(context_id, owner, head)
    except (TimeoutError, StoreUnavailable):
        known = gateway.directory.last_known(context_id, owner) if known else None
        if known is None:
            raise StoreUnavailable("no answer, and nothing known of this epoch") from None
        request[FROM_MIRROR] = True
        return _stale(request, known)
    _note_poll(gateway, began_s)
    if mirror is not None:
        return _state(request, mirror)
    if prefer.wait_s:
        changed = await _changed(gateway, context_id, owner, head, prefer.wait_s)
        if changed is not None:
            return _state(request, changed)
    return web.Response(status=304, headers={"ETag": f'"{seen}"'})


def _note_poll(gateway: Gateway, began_s: float) -> None:
    """Time what a poll asks the store; not how long a client wants to wait for a change."""
    gateway.store.meters.took("poll", stopwatch() - began_s)


async def _changed(
    gateway: Gateway, context_id: str, owner: str, head: tuple[int, int], wait_s: float
) -> Mirror | None:
    """The context once it is further than `head`, or set back; None if it is not in time."""
    epoch = gateway.store.epoch
    async with gateway.directory.follow(context_id, owner) as feed:
        try:
            async with gateway.waiting(wait_s):
                # Further, not other: a feed may be behind what the caller has just read.
                await feed.wait_until(
                    lambda mirror: mirror.epoch != epoch or mirror.head > head
                )
        except TimeoutError:
            return None
        return feed.mirror


def _stale(request: web.Request, mirror: Mirror) -> web.Response:
    """What was seen last, while the store does not answer; it may be behind, and says so."""
    seen = mirror.cursor
    if has_seen(request, seen):
        response = web.Response(status=304, headers={"ETag": f'"{seen}"'})
    else:
        response = _state(request, mirror)
    response.headers["Contextd-Stale"] = "true"
    return response


def _state(request: web.Request, mirror: Mirror) -> web.Response:
    messages = read_whole(request, MESSAGES.name)
    response = action_response(mirror, messages=messages)
    state = mirror.view.state
    response.headers["Poll-After-Ms"] = str(
        POLL_AFTER_MS_AT_REST if rests(state) else POLL_AFTER_MS_BUSY
    )
    if messages is not None and len(branch_messages(state, messages + 1)) > messages:
        response.headers["Link"] = f'</api/contexts/{state.id}/messages>; rel="collection"'
    return response


async def _events_after(
    request: web.Request, gateway: Gateway, context_id: str, owner: str
) -> web.StreamResponse:
    """Only the events since a cursor, as the streams would show them."""
    after = request.query[AFTER_CURSOR.name]
    asked = parse_cursor(after)
    if asked is None:
        raise Problem("invalid-parameter", "after takes a cursor, as in `context.cursor`.")
    began_s = stopwatch()
    prefer = read_prefer(request, wait_s_max=gateway.config.wait_s_max)
    head = await gateway.directory.head(context_id, owner)
    _note_poll(gateway, began_s)
    mirror = None
    if prefer.wait_s and asked == (gateway.store.epoch, *head):
        mirror = await _changed(gateway, context_id, owner, head, prefer.wait_s)
    if mirror is None:
        mirror = await gateway.directory.read_at(context_id, owner, head)
    # Before the await: the mirror goes on meanwhile, and the cursor must not.
    state = mirror.view.state
    here = mirror.cursor
    if ended(state):
        frames = [reset_frame(mirror, DELETED)]
    else:
        frames = await backlog_frames(gateway.store, mirror, after)
    body = b'{"events":[%s],"cursor":"%s","status":"%s","version":%d}' % (
        b",".join([frame.json() for frame in frames]),
        here.encode(),
        state.phase.value.encode(),
        state.version,
    )
    return web.Response(
        body=body, headers={"ETag": f'"{here}"'}, content_type="application/json"
    )
