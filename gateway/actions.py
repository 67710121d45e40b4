"""Actions in: from a request to mail, and from its result to an answer."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import Final

import orjson
from aiohttp import web
from pydantic import JsonValue
from uuid_utils import uuid7

from fsm import (
    Action,
    ApprovalGiven,
    CancelRequested,
    ContextConfigured,
    ContextCreated,
    ContextDeleted,
    ContextRenamed,
    Denial,
    MessageReceived,
    PauseRequested,
    ResetRequested,
    ResumeRequested,
    RetryRequested,
    rests,
)
from gateway.answers import (
    Prefer,
    action_id,
    action_response,
    messages_asked,
    read_prefer,
)
from gateway.app import GATEWAY, Gateway
from gateway.bodies import (
    ApproveTools,
    Body,
    Cancel,
    CreateContext,
    Empty,
    Rename,
    SendMessage,
    TextPart,
    parse_json,
    read_body,
    read_bytes,
)
from gateway.feed import Feed
from gateway.problems import Problem, refused
from gateway.sse import parse_cursor
from storage import Mail, Receipt, Result

KEY_CHARS_MAX: Final = 255


def received(said: SendMessage, at_ms: int) -> MessageReceived:
    """The event that a message sends off."""
    text, parts = _text_of(said.content)
    return MessageReceived(
        at_ms=at_ms,
        content=text,
        parts=parts,
        policy=said.policy,
        client_message_id=said.client_message_id,
        metadata=said.metadata,
    )


def _text_of(
    content: str | list[TextPart],
) -> tuple[str, tuple[dict[str, JsonValue], ...]]:
    if isinstance(content, str):
        if not content.strip():
            raise Problem("invalid-body", "content: say something; it is empty.")
        return content, ()
    parts = tuple(part.model_dump(mode="json", exclude_none=True) for part in content)
    text = "\n".join(part.text for part in content if part.type == "text" and part.text)
    if not text.strip() and all(part.type == "text" for part in content):
        raise Problem("invalid-body", "content: say something; it is empty.")
    return text, parts


def approved(body: ApproveTools, at_ms: int) -> ApprovalGiven:
    """The event that decisions on tool calls send off."""
    return ApprovalGiven(
        at_ms=at_ms,
        tool_call_ids=tuple(body.tool_call_ids),
        deny=tuple(Denial(id=denied.id, reason=denied.reason) for denied in body.deny),
        edits={key: orjson.dumps(value).decode() for key, value in body.edits.items()},
    )


async def _configure(request: web.Request, gateway: Gateway) -> Action:
    patch = parse_json(await read_bytes(request), depth_max=gateway.config.json_depth_max)
    return ContextConfigured(at_ms=gateway.clock(), patch=patch)


def _reading(
    model: type[Body], make: Callable[..., Action]
) -> Callable[[web.Request, Gateway], Awaitable[Action]]:
    async def read(request: web.Request, gateway: Gateway) -> Action:
        body = await read_body(request, model, depth_max=gateway.config.json_depth_max)
        return make(body, gateway.clock())

    return read


ACTIONS: Final[dict[str, Callable[[web.Request, Gateway], Awaitable[Action]]]] = {
    "send_message": _reading(SendMessage, received),
    "approve_tools": _reading(ApproveTools, approved),
    "cancel": _reading(
        Cancel, lambda body, at_ms: CancelRequested(at_ms=at_ms, turn_id=body.turn_id)
    ),
    "retry": _reading(Empty, lambda _, at_ms: RetryRequested(at_ms=at_ms)),
    "reset": _reading(Empty, lambda _, at_ms: ResetRequested(at_ms=at_ms)),
    "pause": _reading(Empty, lambda _, at_ms: PauseRequested(at_ms=at_ms)),
    "resume": _reading(Empty, lambda _, at_ms: ResumeRequested(at_ms=at_ms)),
    "configure": _configure,
    "rename": _reading(
        Rename, lambda body, at_ms: ContextRenamed(at_ms=at_ms, title=body.title)
    ),
    "delete": _reading(Empty, lambda _, at_ms: ContextDeleted(at_ms=at_ms)),
}
"""How each action's request becomes an event."""


async def create_context(request: web.Request) -> web.StreamResponse:
    """Make a context, perhaps with its first message in the same atomic step."""
    gateway = request.app[GATEWAY]
    config, owner = gateway.config, gateway.owner_of(request)
    raw = await read_bytes(request)
    body = await read_body(request, CreateContext, depth_max=config.json_depth_max)
    key, prefer = read_key(request), read_prefer(request, wait_s_max=config.wait_s_max)
    at_ms = gateway.clock()
    first = Mail(event=received(body.message, at_ms)) if body.message else None
    event = ContextCreated(
        at_ms=at_ms,
        context_id=str(uuid7()),
        owner=owner,
        title=body.title,
        labels=body.labels,
        config=body.config,
    )
    context_id, repeated = await gateway.store.create(
        event, first=first, key=key, digest=_digest("create", raw)
    )
    headers = {"Location": f"/api/contexts/{context_id}"}
    if repeated:
        headers["Idempotent-Replayed"] = "true"
    if first is None:
        mirror = await gateway.directory.read(context_id, owner)
        return action_response(
            gateway, mirror, status=201, headers=headers, minimal=prefer.minimal
        )
    async with gateway.directory.follow(context_id, owner) as feed:
        if not repeated:
            await gateway.store.queue.enqueue(context_id)
        receipt = Receipt(seq=1, repeated=repeated, active=True, result=None)
        return await _answer(gateway, feed, receipt, prefer, request, headers, status=201)


async def act(request: web.Request) -> web.StreamResponse:
    """Deliver an action to its context and answer with what became of it."""
    gateway = request.app[GATEWAY]
    name = request.match_info["action"]
    read = ACTIONS.get(name)
    if read is None:
        raise Problem("not-found", f"There is no action {name[:64]!r}: {', '.join(ACTIONS)}.")
    return await _deliver(request, gateway, name, await read(request, gateway))


async def delete_context(request: web.Request) -> web.StreamResponse:
    """The delete action, by its HTTP method."""
    gateway = request.app[GATEWAY]
    event = ContextDeleted(at_ms=gateway.clock())
    return await _deliver(request, gateway, "delete", event)


async def _deliver(
    request: web.Request, gateway: Gateway, name: str, event: Action
) -> web.StreamResponse:
    context_id, owner = request.match_info["id"], gateway.owner_of(request)
    key = read_key(request)
    prefer = read_prefer(request, wait_s_max=gateway.config.wait_s_max)
    mail = Mail.model_construct(event=event, if_version=_if_version(request, gateway))
    digest = _digest(name, await request.read())
    if prefer.respond_async:
        receipt = await gateway.store.deliver(context_id, owner, mail, key=key, digest=digest)
        await _wake(gateway, context_id, receipt)
        return _accepted(context_id, receipt)
    async with gateway.directory.follow(context_id, owner) as feed:
        receipt = await gateway.store.deliver(context_id, owner, mail, key=key, digest=digest)
        await _wake(gateway, context_id, receipt)
        return await _answer(gateway, feed, receipt, prefer, request, {})


async def _wake(gateway: Gateway, context_id: str, receipt: Receipt) -> None:
    if not receipt.active and receipt.result is None:
        await gateway.store.queue.enqueue(context_id)


async def _answer(
    gateway: Gateway,
    feed: Feed,
    receipt: Receipt,
    prefer: Prefer,
    request: web.Request,
    headers: dict[str, str],
    *,
    status: int = 200,
) -> web.StreamResponse:
    """Wait as long as the client wants, and answer with the state as it is then."""
    context_id, owner = feed.context_id, gateway.owner_of(request)
    config = gateway.config
    if receipt.repeated:
        headers["Idempotent-Replayed"] = "true"
    wait_s = config.applied_s_max if prefer.wait_s is None else prefer.wait_s
    result = receipt.result
    rested = False
    try:
        async with asyncio.timeout(wait_s):
            if result is None:
                maybe_earlier = receipt.repeated or status == 201
                result = await _result(
                    gateway, feed, receipt.seq, owner, maybe_earlier=maybe_earlier
                )
            if result.outcome == "refused":
                raise refused(result)
            applied_at = result.version
            if prefer.wait_s is not None:
                await feed.wait_until(
                    lambda mirror: mirror.version >= applied_at and rests(mirror.view.state)
                )
                rested = True
            else:
                await feed.wait_until(lambda mirror: mirror.version >= applied_at)
    except TimeoutError:
        pass
    finally:
        feed.forget_result(receipt.seq)
    if prefer.wait_s is not None:
        headers["Preference-Applied"] = f"wait={int(prefer.wait_s)}"
    if result is None or (prefer.wait_s is not None and not rested):
        status = 202
        headers["Location"] = f"/api/actions/{action_id(context_id, receipt.seq)}"
    return action_response(
        gateway,
        feed.mirror,
        status=status,
        action=(receipt.seq, result),
        messages=messages_asked(request),
        headers=headers,
        minimal=prefer.minimal,
    )


async def _result(
    gateway: Gateway, feed: Feed, seq: int, owner: str, *, maybe_earlier: bool
) -> Result:
    """What became of an action: pushed with its commit, or read if that may be long ago."""
    pushed = feed.result_of(seq)
    if maybe_earlier and not pushed.done():
        reading = await gateway.store.read(
            feed.context_id, owner, known=feed.mirror.view, seq=seq
        )
        if reading.result is not None:
            return reading.result
    return await pushed


def _accepted(context_id: str, receipt: Receipt) -> web.Response:
    name = action_id(context_id, receipt.seq)
    headers = {"Location": f"/api/actions/{name}", "Preference-Applied": "respond-async"}
    if receipt.repeated:
        headers["Idempotent-Replayed"] = "true"
    body = {
        "context": None,
        "status": None,
        "version": None,
        "action": {
            "id": name,
            "result": receipt.result and receipt.result.outcome,
            "version": receipt.result and receipt.result.version,
        },
    }
    return web.Response(
        status=202, body=orjson.dumps(body), headers=headers, content_type="application/json"
    )


async def action_status(request: web.Request) -> web.StreamResponse:
    """What became of an action."""
    gateway = request.app[GATEWAY]
    context_id, _, seq = request.match_info["action_id"].rpartition(".")
    if not context_id or not seq.isdecimal() or len(seq) > 15 or seq.startswith("0"):
        raise Problem("not-found", "Action not found")
    reading = await gateway.store.read(context_id, gateway.owner_of(request), seq=int(seq))
    assert reading.view is not None
    delivered = int(seq) <= reading.mail_seq
    if not delivered:
        raise Problem("not-found", "Action not found")
    result = reading.result
    body = {
        "id": action_id(context_id, int(seq)),
        "context_id": context_id,
        "result": result.outcome if result else "waiting",
        "version": result and result.version,
        "problem": result
        and result.code
        and {"type": f"/problems/{result.code}", "detail": result.detail},
    }
    return web.Response(body=orjson.dumps(body), content_type="application/json")


def read_key(request: web.Request) -> str:
    """The Idempotency-Key, or "".

    Raises:
        Problem: invalid-header, if it is longer than 255 characters or not plain text.
    """
    key = request.headers.get("Idempotency-Key", "").strip()
    if len(key) > KEY_CHARS_MAX or not (key.isascii() and key.isprintable()):
        raise Problem(
            "invalid-header", f"Idempotency-Key takes up to {KEY_CHARS_MAX} ASCII characters."
        )
    return key


def _if_version(request: web.Request, gateway: Gateway) -> int | None:
    header = request.headers.get("If-Match")
    if header is None or header.strip() == "*":
        return None
    asked = parse_cursor(header)
    if asked is None:
        raise Problem("invalid-header", "If-Match takes an ETag of the context's state.")
    return asked[1] if asked[0] == gateway.store.epoch else -1


def _digest(action: str, raw: bytes) -> str:
    return hashlib.blake2b(action.encode() + b"\n" + raw, digest_size=16).hexdigest()
