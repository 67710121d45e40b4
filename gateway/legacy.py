"""The old way: a frontend that keeps its contexts by writing them.

Deprecated from birth. Each request becomes actions through the same mailbox, so the old and
the new way may be used side by side; what they write is recorded and begins no turn.
"""

from collections.abc import Sequence
from typing import Final

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from fsm import (
    AnyAction,
    ContextConfigured,
    ContextRenamed,
    ContextState,
    Message,
    MessagesRecorded,
    RecordedMessage,
    Refusal,
    branch_messages,
    refusal,
    transition,
)
from gateway.actions import deliver_action, deliver_mail, made_action
from gateway.app import GATEWAY, Gateway
from gateway.bodies import PatchMessage, PutContext, Recorded, RecordMessages
from gateway.delivery import digest_of, wake
from gateway.headers import Prefer, read_if_version, read_key, read_prefer
from gateway.kinds import recorded
from gateway.parameters import context_id_of
from gateway.problems import Problem, refused
from gateway.reading import parse_json, read_body, read_bytes, read_raw
from storage import Mail, Result

log = structlog.get_logger(__name__)

DEPRECATED_AT: Final = "@1795219200"
"""2026-11-21, as RFC 9745 writes it."""
SUNSET_AT: Final = "Sun, 21 Nov 2027 00:00:00 GMT"
_NO_VERSION: Final = -1
"""None has it: an action for it changes nothing."""
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
    """Title, configuration and messages as the client has them; messages only ever grow.

    It becomes the same parts whenever it is sent, each with a key of its own, whether or not
    they change anything: so a repeat finds each of them done.
    """
    gateway = request.app[GATEWAY]
    context_id, owner = context_id_of(request), gateway.owner_of(request)
    body = await read_body(request, PutContext, depth_max=gateway.config.json_depth_max)
    key, prefer = read_key(request), read_prefer(request, wait_s_max=gateway.config.wait_s_max)
    if_version = read_if_version(request, gateway.store.epoch)
    digest = digest_of("put", await read_raw(request))
    at_ms = gateway.clock()
    nothing = ContextConfigured(at_ms=at_ms, patch={})
    further: list[AnyAction] = []
    if body.config is not None:
        further.append(made_action("configure", body.config, by=owner, at_ms=at_ms))
    if body.title is not None:
        further.append(ContextRenamed(at_ms=at_ms, title=body.title))
    state = (await gateway.directory.read(context_id, owner)).view.state
    try:
        fresh = _fresh(state, body)
        first = recorded(RecordMessages(messages=fresh), at_ms) if fresh else nothing
        parts = _tried(state, [first, *further], if_version)
    except Problem:
        doomed = Mail(event=nothing, if_version=_NO_VERSION)
        if not (key and await _was_taken(gateway, context_id, owner, doomed, key, digest)):
            raise
        parts = [Mail(event=event) for event in (nothing, *further)]
    keys = [f"{key}/{number}" if key else "" for number in range(2, len(parts) + 1)]
    *before, (last_key, last) = zip([key, *keys], parts, strict=True)
    for part_key, mail in before:
        await deliver_mail(request, mail, key=part_key, digest=digest, prefer=Prefer())
    return await deliver_mail(request, last, key=last_key, digest=digest, prefer=prefer)


def _fresh(state: ContextState, body: PutContext) -> list[Recorded]:
    """The messages that the context does not have yet.

    Raises:
        Problem: not-append-only, if those that it has are not the first ones of the body.
    """
    if body.messages is None:
        return []
    there = [(message.role, message.content) for message in branch_messages(state)]
    wanted = [(said.role, said.content) for said in body.messages]
    if wanted[: len(there)] != there:
        pairs = enumerate(zip(there, wanted, strict=False))
        same = next((i for i, (a, b) in pairs if a != b), min(len(there), len(wanted)))
        detail = f"messages: they differ from message {same + 1} on, and none can be removed."
        raise Problem("not-append-only", detail)
    return body.messages[len(there) :]


def _tried(
    state: ContextState, events: Sequence[AnyAction], if_version: int | None
) -> list[Mail]:
    """Mail of events, after trying on `state` that the context takes all of them in turn.

    With `if_version`, each mail applies only at the version that the one before leads to.

    Raises:
        Problem: One of them would be refused, or the context is at another version.
    """
    mails: list[Mail] = []
    try:
        if if_version is not None and if_version != state.version:
            detail = f"The context is at version {state.version}."
            raise refusal(state, "version-mismatch", detail)
        for event in events:
            mails.append(
                Mail(event=event, if_version=None if if_version is None else state.version)
            )
            state = transition(state, event).state
    except Refusal as refused_so:
        raise refused(Result.of(refused_so, state.version)) from None
    return mails


async def _was_taken(
    gateway: Gateway, context_id: str, owner: str, doomed: Mail, key: str, digest: str
) -> bool:
    """Whether a request came before under this key and was not refused.

    Only the mailbox knows: `doomed` is delivered under the key, and is bound to be refused
    where the key is new.
    """
    receipt = await gateway.store.admissions.deliver(
        context_id, owner, doomed, key=key, digest=digest
    )
    await wake(gateway, context_id, owner, receipt)
    result = receipt.result
    return receipt.repeated and (result is None or result.outcome == "applied")


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
    context_id, owner = context_id_of(request), gateway.owner_of(request)
    mirror = await gateway.directory.read(context_id, owner)
    message_id = request.match_info["message_id"]
    found = _now(mirror.view.state, message_id)
    name, at_ms = f"record_messages {message_id}", gateway.clock()
    if found is None:
        # Perhaps not any more: the branch may have been switched since this came first.
        doomed = Mail(event=ContextConfigured(at_ms=at_ms, patch={}), if_version=_NO_VERSION)
        key, digest = read_key(request), digest_of(name, await read_raw(request))
        if not (key and await _was_taken(gateway, context_id, owner, doomed, key, digest)):
            raise Problem("not-found", "Message not found")
        return await deliver_action(request, name, doomed.event)
    said = RecordedMessage(
        role=found.role,
        content=body.content,
        tool_calls=found.tool_calls,
        tool_call_id=found.tool_call_id,
        created_at_ms=found.created_at_ms,
        status=body.status or found.status,
        finish_reason=found.finish_reason,
        client_message_id=found.client_message_id,
        model=found.model,
        usage=found.usage,
        metadata={**found.metadata, **body.metadata},
        replaces=found.id,
    )
    event = MessagesRecorded(at_ms=at_ms, messages=(said,))
    return await deliver_action(request, name, event)


def _now(state: ContextState, message_id: str) -> Message | None:
    """The message on the active branch that is now in the place of `message_id`.

    The client goes on using the first id of a message, however often it has patched it since.
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
