"""The old way: a frontend that keeps its contexts by writing them.

Deprecated from birth. Each request becomes actions through the same mailbox, so the old and
the new way may be used side by side; what they write is recorded and begins no turn.
"""

from typing import Final

import structlog
from aiohttp import web

from fsm import (
    AnyAction,
    ContextConfigured,
    ContextRenamed,
    ContextState,
    Message,
    MessagesRecorded,
    branch_messages,
)
from gateway.actions import deliver_action, made_action
from gateway.app import GATEWAY, Gateway
from gateway.bodies import (
    PatchMessage,
    PutContext,
    Recorded,
    RecordMessages,
    parse_json,
    read_body,
    read_bytes,
)
from gateway.kinds import recorded
from gateway.parameters import context_id_of
from gateway.problems import Problem
from gateway.route import Handler

log = structlog.get_logger(__name__)

DEPRECATED_AT: Final = "@1795219200"
"""2026-11-21, as RFC 9745 writes it."""
SUNSET_AT: Final = "Sun, 21 Nov 2027 00:00:00 GMT"
GUIDE: Final = "/docs/migration.md"
_HEADERS: Final = {
    "Deprecation": DEPRECATED_AT,
    "Sunset": SUNSET_AT,
    "Link": f'<{GUIDE}>; rel="deprecation"; type="text/markdown"',
}


def legacy(handler: Handler, successor: str) -> Handler:
    """A handler of the old way: says that it is deprecated, or is gone, as configured."""

    async def handle(request: web.Request) -> web.StreamResponse:
        gateway = request.app[GATEWAY]
        if gateway.config.legacy_crud == "off":
            detail = f"Use {successor}; {GUIDE} leads there step by step."
            raise Problem("legacy-gone", detail, {}, _HEADERS)
        if gateway.config.legacy_crud == "warn" and handler.__name__ not in gateway.warned:
            gateway.warned.add(handler.__name__)
            log.warning("deprecated endpoint used", endpoint=handler.__name__, use=successor)
        try:
            response = await handler(request)
        except Problem as problem:
            problem.headers = {**problem.headers, **_HEADERS}
            raise
        for name, value in _HEADERS.items():
            response.headers.add(name, value)
        return response

    return handle


async def put_context(request: web.Request) -> web.StreamResponse:
    """Title, configuration and messages as the client has them; messages only ever grow."""
    gateway = request.app[GATEWAY]
    body = await read_body(request, PutContext, depth_max=gateway.config.json_depth_max)
    actions = await _changes(request, gateway, body)
    if not actions:
        actions = [("record_messages", MessagesRecorded(at_ms=gateway.clock(), messages=()))]
    for number, (name, event) in enumerate(actions[:-1], start=1):
        await deliver_action(request, name, event, part=number)
    name, event = actions[-1]
    return await deliver_action(request, name, event, part=len(actions))


async def _changes(
    request: web.Request, gateway: Gateway, body: PutContext
) -> list[tuple[str, AnyAction]]:
    """What has to be done so that the context is as the body says."""
    context_id, owner, at_ms = (
        context_id_of(request),
        gateway.owner_of(request),
        gateway.clock(),
    )
    state = (await gateway.directory.read(context_id, owner)).view.state
    actions: list[tuple[str, AnyAction]] = []
    if body.title is not None and body.title != state.title:
        actions.append(("rename", ContextRenamed(at_ms=at_ms, title=body.title)))
    if body.config is not None:
        actions.append(("configure", ContextConfigured(at_ms=at_ms, patch=body.config)))
    if body.messages is not None:
        there = [(message.role, message.content) for message in branch_messages(state)]
        wanted = [(said.role, said.content) for said in body.messages]
        if wanted[: len(there)] != there:
            same = next(
                (
                    i
                    for i, pair in enumerate(zip(there, wanted, strict=False))
                    if pair[0] != pair[1]
                ),
                min(len(there), len(wanted)),
            )
            detail = (
                f"messages: they differ from message {same + 1} on, and none can be removed."
            )
            raise Problem("not-append-only", detail)
        if fresh := body.messages[len(there) :]:
            event = recorded(RecordMessages(messages=fresh), at_ms)
            actions.append(("record_messages", event))
    return actions


async def post_message(request: web.Request) -> web.StreamResponse:
    """Add one message."""
    gateway = request.app[GATEWAY]
    said = await read_body(request, Recorded, depth_max=gateway.config.json_depth_max)
    event = recorded(RecordMessages(messages=[said]), gateway.clock())
    return await deliver_action(request, "record_messages", event)


async def patch_message(request: web.Request) -> web.StreamResponse:
    """Have another text in a message's place."""
    gateway = request.app[GATEWAY]
    body = await read_body(request, PatchMessage, depth_max=gateway.config.json_depth_max)
    mirror = await gateway.directory.read(context_id_of(request), gateway.owner_of(request))
    found = _now(mirror.view.state, request.match_info["message_id"])
    if found is None:
        raise Problem("not-found", "Message not found")
    said = Recorded(
        role=found.role,
        content=body.content,
        status=body.status or found.status,
        metadata={**found.metadata, **body.metadata},
        replaces=found.id,
    )
    event = recorded(RecordMessages(messages=[said]), gateway.clock())
    return await deliver_action(request, "record_messages", event)


def _now(state: ContextState, message_id: str) -> Message | None:
    """What stands on the active branch for a message that the client knows from before.

    The old way knows a message by its first id, however often it was patched since.
    """
    by_id = {message.id: message for message in state.messages}
    for message in branch_messages(state):
        at: Message | None = message
        while at is not None:
            if at.id == message_id:
                return message
            before = at.replaces or at.copy_of
            at = by_id[before] if before else None
    return None


async def approve_tools(request: web.Request) -> web.StreamResponse:
    """Decide on tool calls; the same body as the action's."""
    gateway = request.app[GATEWAY]
    body = parse_json(await read_bytes(request), depth_max=gateway.config.json_depth_max)
    owner = gateway.owner_of(request)
    event = made_action("approve_tools", body, by=owner, at_ms=gateway.clock())
    return await deliver_action(request, "approve_tools", event)
