"""Contexts that are made of others: export, import and fork.

An export is the log, so an import means what the log meant: it is replayed by the machine
before anything is kept, and the copy has the same messages under the same ids.
"""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from typing import Final

import orjson
from aiohttp import web
from pydantic import JsonValue, ValidationError
from uuid_utils import uuid7

from fsm import (
    AnyEvent,
    BrokenLog,
    ContextCreated,
    ContextState,
    CopiedLog,
    Event,
    copy_log,
    decode_event,
)
from gateway.answers import action_response
from gateway.app import GATEWAY, Gateway
from gateway.bodies import Fork
from gateway.headers import Prefer, read_key, read_prefer
from gateway.history import read_history
from gateway.parameters import context_id_of
from gateway.problems import Problem
from gateway.reading import parse_json, read_body, read_large, read_raw

FORMAT: Final = "contextd-export/1"
_AROUND: Final = 8
"""Levels that an export may have more than the requests that brought what is in it."""


async def export_context(request: web.Request) -> web.StreamResponse:
    """The whole log as one JSON document; the same log gives the same bytes.

    A log that was compacted comes with the state that it goes on from.
    """
    gateway = request.app[GATEWAY]
    context_id, owner = context_id_of(request), gateway.owner_of(request)
    version, _ = await gateway.directory.head(context_id, owner)
    base, events = await read_history(gateway, context_id, owner, until=version)
    body = b'{"format":"%s","context_id":"%s","version":%d,%s"events":[\n%s\n]}\n' % (
        FORMAT.encode(),
        context_id.encode(),
        version,
        b"" if base is None else b'"base":%s,' % base.to_json(),
        b",\n".join(events),
    )
    headers = {"Content-Disposition": f'attachment; filename="{context_id}.json"'}
    return web.Response(body=body, headers=headers, content_type="application/json")


async def import_context(request: web.Request) -> web.StreamResponse:
    """Make a context of an export, after the machine has replayed all of it."""
    gateway = request.app[GATEWAY]
    config = gateway.config
    raw = await read_large(request, config.import_bytes_max)
    depth_max, at_ms = config.json_depth_max + _AROUND, gateway.clock()
    context_id, owner = str(uuid7()), gateway.owner_of(request)

    def read() -> CopiedLog:
        document = parse_json(raw, depth_max=depth_max)
        base, events = _base_of(document), _events_of(document, config.import_events_max)
        return copy_log(events, context_id=context_id, owner=owner, at_ms=at_ms, base=base)

    try:
        # Seconds of work for a long history: the others go on meanwhile.
        copied = await asyncio.to_thread(read)
    except BrokenLog as error:
        raise Problem("invalid-body", f"events: {error}.") from None
    digest = hashlib.blake2b(b"import\n" + raw, digest_size=16).hexdigest()
    return await _create(request, gateway, copied, digest)


def _base_of(document: Mapping[str, JsonValue]) -> ContextState | None:
    value = document.get("base")
    if value is None:
        return None
    try:
        return ContextState.model_validate_json(orjson.dumps(value))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise Problem("invalid-body", f"base: {where}: {first['msg']}."[:500]) from None


def _events_of(document: Mapping[str, JsonValue], events_max: int) -> list[AnyEvent]:
    if document.get("format") != FORMAT:
        raise Problem("invalid-body", f"format: it must be {FORMAT!r}.")
    listed = document.get("events")
    if not isinstance(listed, list):
        raise Problem("invalid-body", "events: it must be a list.")
    if len(listed) > events_max:
        raise Problem("invalid-body", f"events: at most {events_max} are taken.")
    events: list[AnyEvent] = []
    for number, value in enumerate(listed, start=1):
        try:
            events.append(decode_event(orjson.dumps(value)))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"]))
            detail = f"events: event {number}: {where}: {first['msg']}."
            raise Problem("invalid-body", detail[:500]) from None
    return events


async def fork(request: web.Request) -> web.StreamResponse:
    """Make a new context of this one, as it is or as it was at a version."""
    gateway = request.app[GATEWAY]
    context_id, owner = context_id_of(request), gateway.owner_of(request)
    body = await read_body(request, Fork, depth_max=gateway.config.json_depth_max)
    key, prefer = read_key(request), read_prefer(request, wait_s_max=gateway.config.wait_s_max)
    raw = b"fork\n%s\n%s" % (context_id.encode(), await read_raw(request))
    digest = hashlib.blake2b(raw, digest_size=16).hexdigest()
    # Before its source is looked at, which may be gone since, or compacted.
    made_id = (
        await gateway.store.admissions.created(owner, key=key, digest=digest) if key else None
    )
    if made_id is not None:
        return await _made(gateway, made_id, owner, prefer, repeated=True)
    head, _ = await gateway.directory.head(context_id, owner)
    version = body.at_version or head
    if version > head:
        raise Problem("invalid-body", f"at_version: the present version is {head}.")
    base, events = await read_history(gateway, context_id, owner, until=version)
    copy_id, at_ms = str(uuid7()), gateway.clock()

    def copy() -> CopiedLog:
        return copy_log(
            [decode_event(raw) for raw in events],
            context_id=copy_id,
            owner=owner,
            at_ms=at_ms,
            base=base,
            title=body.title,
            keeps_waiting=False,
        )

    copied = await asyncio.to_thread(copy)
    return await _create(request, gateway, copied, digest)


async def _create(
    request: web.Request, gateway: Gateway, copied: CopiedLog, digest: str
) -> web.StreamResponse:
    base, state = copied.base, copied.state
    first, further = _opening(copied)
    key, prefer = read_key(request), read_prefer(request, wait_s_max=gateway.config.wait_s_max)
    made_id, repeated = await gateway.store.admissions.create(
        first,
        first=None,
        key=key,
        digest=digest,
        further=[event.to_json() for event in further],
        state=state,
        base=base,
    )
    owner = gateway.owner_of(request)
    return await _made(gateway, made_id, owner, prefer, repeated=repeated)


async def _made(
    gateway: Gateway, made_id: str, owner: str, prefer: Prefer, *, repeated: bool
) -> web.StreamResponse:
    headers = {"Location": f"/api/contexts/{made_id}"}
    if repeated:
        headers["Idempotent-Replayed"] = "true"
    mirror = await gateway.directory.read(made_id, owner)
    return action_response(mirror, status=201, headers=headers, minimal=prefer.minimal)


def _opening(copied: CopiedLog) -> tuple[ContextCreated, Sequence[Event]]:
    """The event that opens a copy, and those behind it; a base stands for the first."""
    if copied.base is None:
        first = copied.events[0]
        assert isinstance(first, ContextCreated)
        return first, copied.events[1:]
    opened = copied.base
    made = ContextCreated(
        at_ms=opened.created_at_ms, context_id=opened.id, owner=opened.owner, title=opened.title
    )
    return made, copied.events
