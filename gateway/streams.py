"""Streams out: of one context, or of several on one connection."""

import asyncio
import contextlib
import re
from typing import Final

from aiohttp import web

from fsm import EVENT_TYPES
from gateway.app import GATEWAY, Gateway
from gateway.feed import Feed
from gateway.mirror import Mirror
from gateway.parameters import (
    CONTEXTS,
    CURSOR_PATTERN,
    DELTAS,
    ID_PATTERN,
    KINDS_SHOWN,
    RESUME,
    context_id_of,
)
from gateway.problems import Problem, draining
from gateway.stream import Wanted
from storage import ContextGone, ContextMissing

_OWN_KINDS: Final = frozenset({"reply-delta", "snapshot", "reset"})
_ONE: Final = re.compile(f"({ID_PATTERN})(?::({CURSOR_PATTERN}))?")


async def stream_events(request: web.Request) -> web.StreamResponse:
    """Server-sent events of a context, from `Last-Event-ID` or `after` on."""
    gateway = request.app[GATEWAY]
    context_id, owner = context_id_of(request), gateway.owner_of(request)
    wanted = read_wanted(request)
    resume = resume_of(request)
    async with contextlib.AsyncExitStack() as stack:
        feed = await follow_now(gateway, stack, context_id, owner)
        return await gateway.viewers.serve(request, feed, resume, wanted)


async def stream_many(request: web.Request) -> web.StreamResponse:
    """Server-sent events of several contexts on one connection.

    An event's id holds the cursors of all of them, in the order in which they were asked
    for, so that one Last-Event-ID resumes every one where it was.
    """
    gateway = request.app[GATEWAY]
    owner = gateway.owner_of(request)
    wanted = read_wanted(request)
    asked = _contexts_of(request, gateway.config.stream_contexts_max)
    async with contextlib.AsyncExitStack() as stack:
        feeds: list[tuple[Feed, str | None]] = []
        missing: dict[str, ContextMissing] = {}
        for context_id, resume in asked:
            try:
                feeds.append((await follow_now(gateway, stack, context_id, owner), resume))
            except ContextMissing as error:
                missing[context_id] = error
        if missing:
            gone = all(isinstance(error, ContextGone) for error in missing.values())
            detail = f"contexts: not there: {', '.join(missing)}; ask for the others alone."
            raise Problem("gone" if gone else "not-found", detail)
        return await gateway.viewers.serve_all(request, feeds, wanted)


async def follow_now(
    gateway: Gateway, stack: contextlib.AsyncExitStack, context_id: str, owner: str
) -> Feed:
    """A context's feed that is as far as the store is now, for as long as the stack is open.

    Raises:
        Problem: draining; also if that has begun meanwhile: to the streams that are there the
            gateway says good-bye once.
    """
    _check_serving(gateway)
    head = await gateway.directory.head(context_id, owner)
    feed = await stack.enter_async_context(gateway.directory.follow(context_id, owner))

    def reached(mirror: Mirror) -> bool:
        return mirror.head >= head

    # What the client has seen elsewhere may still be on its way to us.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(gateway.config.applied_s_max):
            await feed.wait_until(reached)
    _check_serving(gateway)
    return feed


def _check_serving(gateway: Gateway) -> None:
    if gateway.stopping.is_set():
        raise draining()


def resume_of(request: web.Request) -> str | None:
    """The cursor that a stream is to go on from, if any."""
    return request.headers.get("Last-Event-ID") or request.query.get(RESUME.name)


def read_wanted(request: web.Request) -> Wanted:
    """What a viewer wants to be shown: `kinds` and `deltas`.

    Raises:
        Problem: invalid-parameter.
    """
    deltas = request.query.get(DELTAS.name, "on")
    if deltas not in {"on", "off"}:
        raise Problem("invalid-parameter", "deltas takes on or off.")
    listed = request.query.get(KINDS_SHOWN.name)
    kinds: frozenset[str] | None = None
    if listed is not None:
        kinds = frozenset(listed.split(","))
        known = _OWN_KINDS | EVENT_TYPES.keys()
        if unknown := sorted(kinds - known):
            detail = (
                f"kinds: there is no {unknown[0][:64]!r}. Known: {', '.join(sorted(known))}."
            )
            raise Problem("invalid-parameter", detail)
    return Wanted(kinds, deltas=deltas == "on")


def _contexts_of(request: web.Request, most: int) -> list[tuple[str, str | None]]:
    listed = request.query.get(CONTEXTS.name)
    if not listed:
        raise Problem("invalid-parameter", "contexts takes ids, separated by commas.")
    asked: dict[str, str | None] = {}
    for one in listed.split(","):
        found = _ONE.fullmatch(one)
        if found is None:
            detail = f"contexts: {one[:80]!r} is no id of a context, nor one with a cursor."
            raise Problem("invalid-parameter", detail)
        asked[found[1]] = found[2]
    if len(asked) > most:
        raise Problem(
            "invalid-parameter", f"contexts takes at most {most}; open another stream."
        )
    if (seen := request.headers.get("Last-Event-ID")) is not None:
        cursors = seen.split(",")
        if len(cursors) == len(asked):
            asked = dict(zip(asked, (cursor or None for cursor in cursors), strict=True))
    return list(asked.items())
