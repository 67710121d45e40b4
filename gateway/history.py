"""What has been said and done: messages by their numbers, turns, the log, old versions.

Everything here is read from the log, linearizably; nothing is paged by time. A page's Link
leads on, and what it leads to stays where it is, because the tree and the log only grow.
"""

import asyncio
from collections.abc import Sequence

import orjson
from aiohttp import web

from fsm import ContextState, Message, branch_messages, decode_event, replay
from gateway.answers import action_response, json_response
from gateway.app import GATEWAY, Gateway
from gateway.mirror import Mirror, message_json
from gateway.parameters import (
    AFTER_SEQ,
    AFTER_VERSION,
    BEFORE_SEQ,
    BRANCH,
    LIMIT,
    context_id_of,
    read_whole,
)
from gateway.problems import Problem
from storage import LogCompacted, View, rfc3339

LIMIT_DEFAULT = 50


async def list_messages(request: web.Request) -> web.StreamResponse:
    """Messages of a branch, oldest first; with `before_seq`, those that end there."""
    gateway = request.app[GATEWAY]
    limit = read_limit(request, gateway.config.list_max)
    after, before = read_whole(request, AFTER_SEQ.name), read_whole(request, BEFORE_SEQ.name)
    state = (await _read(request, gateway)).view.state
    branch = request.query.get(BRANCH.name, state.active_branch)
    if branch not in state.branches:
        raise Problem("not-found", f"There is no branch {branch[:64]!r}.")
    line = [
        message
        for message in branch_messages(state, branch=branch)
        if (after is None or message.seq > after) and (before is None or message.seq < before)
    ]
    backwards = before is not None and after is None
    shown = line[-limit:] if backwards else line[:limit]
    headers: dict[str, str] = {}
    if len(line) > limit:
        query = {**request.query, BRANCH.name: branch, LIMIT.name: str(limit)}
        if backwards:
            query[BEFORE_SEQ.name] = str(shown[0].seq)
        else:
            query[AFTER_SEQ.name] = str(shown[-1].seq)
        headers["Link"] = next_page(request, query)
    body = b'{"branch":%s,"messages":[%s]}' % (
        orjson.dumps(branch),
        b",".join(map(message_json, shown)),
    )
    return web.Response(body=body, headers=headers, content_type="application/json")


async def get_message(request: web.Request) -> web.StreamResponse:
    """One message, on whichever branch it lies; it never changes."""
    gateway = request.app[GATEWAY]
    state = (await _read(request, gateway)).view.state
    wanted = request.match_info["message_id"]
    found = next((message for message in state.messages if message.id == wanted), None)
    if found is None:
        raise Problem("not-found", "Message not found")
    return web.Response(body=message_json(found), content_type="application/json")


async def list_turns(request: web.Request) -> web.StreamResponse:
    """A row for each turn of the active branch: what was asked, and what came of it."""
    gateway = request.app[GATEWAY]
    limit = read_limit(request, gateway.config.list_max)
    after = read_whole(request, AFTER_SEQ.name) or 0
    rows = [
        row for row in turns_of((await _read(request, gateway)).view.state) if row[0] > after
    ]
    headers: dict[str, str] = {}
    if len(rows) > limit:
        query = {LIMIT.name: str(limit), AFTER_SEQ.name: str(rows[limit - 1][0])}
        headers["Link"] = next_page(request, query)
    shown = [row for _, row in rows[:limit]]
    return json_response({"turns": shown}, headers=headers)


def turns_of(state: ContextState) -> list[tuple[int, dict[str, object]]]:
    """The turns along the active branch, each with the number of its first message."""
    turns: list[list[Message]] = []
    for message in branch_messages(state):
        begins = message.role == "user" and (not turns or turns[-1][-1].role != "user")
        if begins or not turns:
            turns.append([])
        turns[-1].append(message)
    return [(turn[0].seq, _row(turn)) for turn in turns]


def _row(turn: list[Message]) -> dict[str, object]:
    replies = [message for message in turn if message.role == "assistant"]
    return {
        "seq": turn[0].seq,
        "id": turn[0].id,
        "user_text": "\n".join(m.content for m in turn if m.role == "user"),
        "assistant_text": "\n".join(m.content for m in replies if m.content),
        "tool_calls": sum(len(m.tool_calls) for m in replies),
        "status": replies[-1].status if replies else None,
        "created_at": rfc3339(turn[0].created_at_ms),
    }


async def get_log(request: web.Request) -> web.StreamResponse:
    """Committed events by version."""
    gateway = request.app[GATEWAY]
    limit = read_limit(request, gateway.config.list_max)
    after = read_whole(request, AFTER_VERSION.name) or 0
    context_id, owner = context_id_of(request), gateway.owner_of(request)
    epoch = gateway.store.epoch
    version, _ = await gateway.directory.head(context_id, owner)
    until = min(version, after + limit)
    events = await gateway.store.read_log(
        context_id, owner, after=after, until=until, epoch=epoch
    )
    headers: dict[str, str] = {}
    if until < version:
        query = {LIMIT.name: str(limit), AFTER_VERSION.name: str(until)}
        headers["Link"] = next_page(request, query)
    entries = [
        b'{"version":%d,"event":%s}' % (number, raw)
        for number, raw in enumerate(events, start=after + 1)
    ]
    body = b'{"version":%d,"events":[%s]}' % (version, b",".join(entries))
    return web.Response(body=body, headers=headers, content_type="application/json")


async def read_history(
    gateway: Gateway, context_id: str, owner: str, *, until: int
) -> tuple[ContextState | None, Sequence[bytes]]:
    """What leads to a version: the base of a compacted log, and the events behind that.

    Raises:
        ContextMissing: It was deleted meanwhile.
        LogCompacted: The version is older than the base.
        StoreUnavailable: The store was restarted meanwhile, and may have lost some.
    """
    try:
        return await _base_and_log(gateway, context_id, owner, until=until)
    except LogCompacted:
        # Perhaps just now, between the base and the log.
        return await _base_and_log(gateway, context_id, owner, until=until)


async def _base_and_log(
    gateway: Gateway, context_id: str, owner: str, *, until: int
) -> tuple[ContextState | None, Sequence[bytes]]:
    store, epoch = gateway.store, gateway.store.epoch
    base = await store.logs.base(context_id)
    before = base.version if base else 0
    if until < before:
        raise LogCompacted(context_id, before)
    return base, await store.read_log(context_id, owner, after=before, until=until, epoch=epoch)


async def state_at(
    request: web.Request, gateway: Gateway, version: int, messages: int | None
) -> web.StreamResponse:
    """The state as it was at a version, without the draft there may have been."""
    context_id, owner = context_id_of(request), gateway.owner_of(request)
    head, _ = await gateway.directory.head(context_id, owner)
    if not 1 <= version <= head:
        raise Problem("invalid-parameter", f"at_version takes 1 to {head}, the present one.")
    epoch = gateway.store.epoch
    base, events = await read_history(gateway, context_id, owner, until=version)

    def answer() -> web.Response:
        state = replay(map(decode_event, events), base)
        return action_response(Mirror(View(state, 0, ""), epoch), messages=messages)

    # Seconds of work for a long history: the others go on meanwhile.
    return await asyncio.to_thread(answer)


def read_limit(request: web.Request, most: int) -> int:
    """How many entries a page is to have.

    Raises:
        Problem: invalid-parameter.
    """
    limit = read_whole(request, LIMIT.name)
    if limit is None:
        return min(LIMIT_DEFAULT, most)
    if not 1 <= limit <= most:
        raise Problem("invalid-parameter", f"limit takes 1 to {most}.")
    return limit


async def _read(request: web.Request, gateway: Gateway) -> Mirror:
    return await gateway.directory.read(context_id_of(request), gateway.owner_of(request))


def next_page(request: web.Request, query: dict[str, str]) -> str:
    """The header Link of a page that is not the last one."""
    address = request.rel_url.with_query(query)
    return f'<{address}>; rel="next"'
