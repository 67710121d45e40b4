"""Actions in: from a request to mail, and from its result to an answer."""

import asyncio
from collections.abc import Mapping

from aiohttp import web
from pydantic import JsonValue
from uuid_utils import uuid7

from fsm import (
    AnswerGiven,
    AnyAction,
    ApprovalGiven,
    ContextCreated,
    ContextDeleted,
    Phase,
    rests,
)
from gateway.answers import action_id, action_response, json_response
from gateway.app import GATEWAY, Gateway
from gateway.audit import actor_of, record_action
from gateway.bodies import CreateContext
from gateway.delivery import digest_of, read_result, result_of, wake
from gateway.feed import RESTARTED, Feed
from gateway.headers import Prefer, read_if_version, read_key, read_prefer
from gateway.kinds import KINDS, expiry_ms, received
from gateway.parameters import MESSAGES, action_of, context_id_of, read_whole
from gateway.problems import Problem, refused
from gateway.reading import parse_json, read_body, read_bytes, read_raw
from storage import (
    ContextGone,
    ContextUnreadable,
    Mail,
    Reading,
    Receipt,
    Result,
    StoreUnavailable,
    stopwatch,
)


async def create_context(request: web.Request) -> web.StreamResponse:
    """Make a context, perhaps with its first message in the same atomic step."""
    gateway, began_s = request.app[GATEWAY], stopwatch()
    config, owner = gateway.config, gateway.owner_of(request)
    raw = await read_bytes(request)
    body = await read_body(request, CreateContext, depth_max=config.json_depth_max)
    read_whole(request, MESSAGES.name)
    key, prefer = read_key(request), read_prefer(request, wait_s_max=config.wait_s_max)
    at_ms = gateway.clock()
    first = Mail(event=received(body.message, at_ms)) if body.message else None
    digest = digest_of("create", raw)
    expires_ms, made_id = None, None
    if body.expires_at is not None:
        if key:
            made_id = await gateway.store.admissions.created(owner, key=key, digest=digest)
        # What was made in time is not refused when its request comes again.
        expires_ms = expiry_ms(body.expires_at, at_ms if made_id is None else 0)
    event = ContextCreated(
        at_ms=at_ms,
        context_id=str(uuid7()),
        owner=owner,
        title=body.title,
        labels=body.labels,
        config=body.config,
        expires_ms=expires_ms,
    )
    context_id, repeated = await gateway.store.admissions.create(
        event, first=first, key=key, digest=digest
    )
    epoch = gateway.store.epoch
    headers = {"Location": f"/api/contexts/{context_id}"}
    if repeated:
        headers["Idempotent-Replayed"] = "true"
    result: Result | None = None
    if first is not None and repeated:
        reading = await gateway.store.read(context_id, owner, seq=1)
        result = reading.result
        if result is None and reading.mail_seq > gateway.store.config.results_max:
            first = None  # what became of it is no longer remembered, and waited for in vain
    if first is None:
        mirror = await gateway.directory.read(context_id, owner)
        return action_response(mirror, status=201, headers=headers, minimal=prefer.minimal)
    if not repeated:
        await gateway.store.queue.enqueue(context_id, owner=owner)
    receipt = Receipt(seq=1, repeated=repeated, active=True, result=result)
    if prefer.respond_async:
        return _accepted(context_id, receipt, epoch, prefer)
    async with gateway.directory.follow(context_id, owner) as feed:
        return await _answer(
            *(gateway, feed, epoch, receipt, prefer, request, headers),
            began_s=began_s,
            status=201,
        )


async def act(request: web.Request) -> web.StreamResponse:
    """Deliver an action to its context and answer with what became of it."""
    gateway = request.app[GATEWAY]
    context_id_of(request)
    name = request.match_info["action"]
    body = parse_json(await read_bytes(request), depth_max=gateway.config.json_depth_max)
    event = made_action(name, body, by=gateway.owner_of(request), at_ms=gateway.clock())
    return await deliver_action(request, name, event)


def made_action(name: str, body: Mapping[str, JsonValue], *, by: str, at_ms: int) -> AnyAction:
    """The event of an action by its name and body.

    Raises:
        Problem: not-found, if there is no such action; what its body is refused with.
    """
    kind = KINDS.get(name)
    if kind is None:
        raise Problem("not-found", f"There is no action {name[:64]!r}: {', '.join(KINDS)}.")
    event = kind.make(body, at_ms)
    if isinstance(event, ApprovalGiven | AnswerGiven):
        event = event.model_copy(update={"by": by})
    return event


async def delete_context(request: web.Request) -> web.StreamResponse:
    """The delete action, by its HTTP method."""
    event = ContextDeleted(at_ms=request.app[GATEWAY].clock())
    return await deliver_action(request, "delete", event)


async def deliver_action(
    request: web.Request, name: str, event: AnyAction
) -> web.StreamResponse:
    """Deliver an action as the request's headers say, and answer with what became of it.

    Args:
        request: Its body is the action's.
        name: What is asked for besides that; another name under the same Idempotency-Key is
            another request.
        event: The action.

    Raises:
        Problem: It was refused; and whatever the headers are refused with.
    """
    gateway = request.app[GATEWAY]
    return await deliver_mail(
        request,
        Mail(event=event, if_version=read_if_version(request, gateway.store.epoch)),
        key=read_key(request),
        digest=digest_of(name, await read_raw(request)),
        prefer=read_prefer(request, wait_s_max=gateway.config.wait_s_max),
    )


async def deliver_mail(
    request: web.Request, mail: Mail, *, key: str, digest: str, prefer: Prefer
) -> web.StreamResponse:
    """Deliver what a request asks for, or a part of it, and answer with what became of it.

    Raises:
        Problem: It was refused.
    """
    gateway, began_s = request.app[GATEWAY], stopwatch()
    context_id, owner = context_id_of(request), gateway.owner_of(request)
    read_whole(request, MESSAGES.name)
    await record_action(gateway, actor_of(request), context_id, mail.event)
    if prefer.respond_async:
        return await _deliver_only(gateway, context_id, owner, mail, prefer, key, digest)
    try:
        async with gateway.directory.follow(context_id, owner) as feed:
            receipt = await gateway.store.admissions.deliver(
                context_id, owner, mail, key=key, digest=digest
            )
            epoch = gateway.store.epoch
            await wake(gateway, context_id, owner, receipt)
            return await _answer(
                gateway, feed, epoch, receipt, prefer, request, {}, began_s=began_s
            )
    except ContextGone:
        if not isinstance(mail.event, ContextDeleted):
            raise
        # There is nothing to follow any more; the tombstone knows what its deletion was.
        receipt = await gateway.store.admissions.deliver(
            context_id, owner, mail, key=key, digest=digest
        )
        return _without_state(context_id, receipt, gateway.store.epoch, Phase.DELETED)
    except ContextUnreadable:
        if not isinstance(mail.event, ContextDeleted):
            raise
        return await _deliver_only(gateway, context_id, owner, mail, prefer, key, digest)


async def _deliver_only(
    gateway: Gateway,
    context_id: str,
    owner: str,
    mail: Mail,
    prefer: Prefer,
    key: str,
    digest: str,
) -> web.Response:
    """Deliver an action, and answer that it will be applied."""
    receipt = await gateway.store.admissions.deliver(
        context_id, owner, mail, key=key, digest=digest
    )
    epoch = gateway.store.epoch
    await wake(gateway, context_id, owner, receipt)
    return _accepted(context_id, receipt, epoch, prefer)


async def _answer(
    gateway: Gateway,
    feed: Feed,
    epoch: str,
    receipt: Receipt,
    prefer: Prefer,
    request: web.Request,
    headers: dict[str, str],
    *,
    began_s: float,
    status: int = 200,
) -> web.StreamResponse:
    """Wait as long as the client wants, and answer with the state as it is then.

    Raises:
        StoreUnavailable: The epoch in which the action was delivered has ended.
    """
    context_id, owner = feed.context_id, gateway.owner_of(request)
    if receipt.repeated:
        headers["Idempotent-Replayed"] = "true"
    result: Result | None = None
    seen_at = 0
    rested = False
    try:
        async with gateway.waiting(prefer.wait_s):
            result = await result_of(
                gateway, feed, owner, epoch, receipt, is_followed=status != 201
            )
            if not receipt.repeated:
                gateway.store.meters.took("send", stopwatch() - began_s)
            if result.outcome == "refused":
                raise _refused(result, receipt)
            applied_at = result.version
            await feed.wait_until(
                lambda mirror: mirror.epoch == epoch and mirror.version >= applied_at
            )
            if prefer.wait_s is not None:
                await feed.wait_until(lambda mirror: rests(mirror.view.state))
                rested = True
    except TimeoutError:
        if result is None:
            late = await late_reading(gateway, feed, receipt.seq, owner, epoch)
            if late is None:
                headers["Contextd-Stale"] = "true"
            else:
                result, seen_at = late.result, late.version
            if result is not None and result.outcome == "refused":
                raise _refused(result, receipt) from None
    mirror = feed.mirror
    if result is not None:
        seen_at = result.version
    behind = mirror.version < seen_at and not feed.deleted
    if behind or mirror.epoch != epoch:
        mirror = await gateway.directory.read(context_id, owner)
    if mirror.epoch != epoch:
        raise StoreUnavailable(RESTARTED)
    if prefer.wait_s is not None:
        headers["Preference-Applied"] = f"wait={int(prefer.wait_s)}"
    if result is None or (prefer.wait_s is not None and not rested):
        status = 202
        name = action_id(context_id, receipt.seq, epoch=epoch)
        headers["Location"] = f"/api/actions/{name}"
    return action_response(
        mirror,
        status=status,
        action=(receipt.seq, result),
        messages=read_whole(request, MESSAGES.name),
        headers=headers,
        minimal=prefer.minimal,
    )


async def late_reading(
    gateway: Gateway, feed: Feed, seq: int, owner: str, epoch: str
) -> Reading | None:
    """Ask the store what became of an action whose result was not heard in time.

    None: the store does not answer, and what the feed shows may be behind.

    Raises:
        StoreUnavailable: The epoch in which the action was delivered has ended.
    """
    try:
        async with asyncio.timeout(gateway.config.applied_s_max):
            return await read_result(gateway, feed, seq, owner, epoch)
    except TimeoutError:
        return None


def _refused(result: Result, receipt: Receipt) -> Problem:
    problem = refused(result)
    if receipt.repeated:
        problem.headers = {"Idempotent-Replayed": "true"}
    return problem


def _accepted(context_id: str, receipt: Receipt, epoch: str, prefer: Prefer) -> web.Response:
    response = _without_state(context_id, receipt, epoch, None)
    response.set_status(202)
    name = action_id(context_id, receipt.seq, epoch=epoch)
    response.headers["Location"] = f"/api/actions/{name}"
    if prefer.respond_async:
        response.headers["Preference-Applied"] = "respond-async"
    return response


def _without_state(
    context_id: str, receipt: Receipt, epoch: str, phase: Phase | None
) -> web.Response:
    """An ActionResponse that tells of the action alone, and of the phase if that is known."""
    result = receipt.result
    body = {
        "context": None,
        "status": phase,
        "version": result.version if result and phase else None,
        "action": {
            "id": action_id(context_id, receipt.seq, epoch=epoch),
            "result": result and result.outcome,
            "version": result and result.version,
        },
    }
    response = json_response(body)
    if receipt.repeated:
        response.headers["Idempotent-Replayed"] = "true"
    return response


async def action_status(request: web.Request) -> web.StreamResponse:
    """What became of an action."""
    gateway = request.app[GATEWAY]
    context_id, epoch, seq = action_of(request)
    reading = await gateway.store.read(context_id, gateway.owner_of(request), seq=seq)
    if epoch != gateway.store.epoch:
        detail = "The store began a new epoch since: the action may be lost. Read the state."
        raise Problem("not-found", detail)
    if seq > reading.mail_seq:
        raise Problem("not-found", "Action not found")
    result = reading.result
    remembered = gateway.store.config.results_max
    if result is None and seq <= reading.mail_seq - remembered:
        # The mailbox holds no more than that: it does not wait.
        detail = f"It is no longer remembered: only the last {remembered} actions are."
        raise Problem("not-found", detail)
    body = {
        "id": action_id(context_id, seq, epoch=epoch),
        "context_id": context_id,
        "result": result.outcome if result else "waiting",
        "version": result and result.version,
        "problem": result
        and result.code
        and {"type": f"/problems/{result.code}", "detail": result.detail},
    }
    return json_response(body)
