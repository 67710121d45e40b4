"""What operators do: restart the processes, look through dead letters and what grows old."""

import orjson
from aiohttp import web
from pydantic import JsonValue

from fsm import RetryRequested
from gateway.answers import action_id
from gateway.app import GATEWAY, Gateway
from gateway.bodies import RestartOrder, read_body
from gateway.history import read_limit
from gateway.mirror import rfc3339
from gateway.parameters import DAYS, DAYS_MAX, letter_id_of, read_whole, restart_id_of
from gateway.problems import Problem
from storage import (
    Aged,
    DeadLetter,
    DeadLetters,
    Mail,
    NoSupervisor,
    Restart,
    Restarts,
    Retention,
    make_redactor,
)


async def restart(request: web.Request) -> web.StreamResponse:
    """Ask the supervisors to replace their processes; answered before anything stops."""
    gateway = request.app[GATEWAY]
    order = await read_body(request, RestartOrder, depth_max=gateway.config.json_depth_max)
    if gateway.config.restart_confirm and not order.force and (busy := await _busy(gateway)):
        raise Problem(
            "busy",
            "Turns are running. Send force: true to restart all the same; they are drained or "
            "handed over, and lose nothing.",
            {"active_contexts": dict(busy)},
        )
    restarts = Restarts(gateway.store)
    try:
        restart_id = await restarts.ask(order.scope, force=order.force, now_ms=gateway.clock())
    except NoSupervisor:
        raise Problem(
            "no-supervisor",
            "No supervisor is there to restart anything: restart the processes where you have "
            "started them (systemd, compose).",
        ) from None
    body = {
        "status": "restarting",
        "restart_id": restart_id,
        "report_url": f"/admin/restarts/{restart_id}",
    }
    return web.Response(body=orjson.dumps(body), content_type="application/json")


async def _busy(gateway: Gateway) -> dict[str, int]:
    """How many contexts each worker has active, of those that have any."""
    counts = await gateway.store.active_contexts()
    return {worker_id: count for worker_id, count in counts.items() if count}


async def restart_report(request: web.Request) -> web.StreamResponse:
    """How far a restart has come, process by process."""
    found = await Restarts(request.app[GATEWAY].store).read(restart_id_of(request))
    if found is None:
        raise Problem("not-found", "There is no such restart, or it was long ago.")
    return web.Response(body=orjson.dumps(_report(found)), content_type="application/json")


def _report(found: Restart) -> dict[str, object]:
    return {
        "restart_id": found.request.restart_id,
        "status": found.status,
        "scope": found.request.scope,
        "force": found.request.force,
        "requested_at_ms": found.request.requested_at_ms,
        "supervisors": [report.model_dump(mode="json") for report in found.supervisors],
    }


async def retention_plan(request: web.Request) -> web.StreamResponse:
    """What retention would delete now; nothing is."""
    gateway = request.app[GATEWAY]
    limit = read_limit(request, gateway.config.list_max)
    days = read_whole(request, DAYS.name)
    if days is None:
        days = gateway.store.config.retention_days
    elif not 1 <= days <= DAYS_MAX:
        raise Problem("invalid-parameter", f"days takes 1 to {DAYS_MAX}.")
    plan = await Retention(gateway.store).plan(now_ms=gateway.clock(), limit=limit, days=days)
    body = {
        "days": days,
        "before": rfc3339(plan.before_ms) if days else None,
        "count": plan.count,
        "complete": plan.complete,
        "kept": plan.kept,
        "contexts": [_aged(aged) for aged in plan.contexts],
    }
    return web.Response(body=orjson.dumps(body), content_type="application/json")


def _aged(aged: Aged) -> dict[str, object]:
    return {
        "id": aged.context_id,
        "owner": aged.owner,
        "status": aged.status,
        "version": aged.version,
        "touched_at": rfc3339(aged.touched_ms),
    }


async def list_letters(request: web.Request) -> web.StreamResponse:
    """The newest dead letters."""
    gateway = request.app[GATEWAY]
    limit = read_limit(request, gateway.config.list_max)
    letters = DeadLetters(gateway.store.link, gateway.store.sealer)
    redact = make_redactor(gateway.store.config.redact)
    body = {
        "count": await letters.count(),
        "dead_letters": [redact(_letter(letter)) for letter in await letters.newest(limit)],
    }
    return web.Response(body=orjson.dumps(body), content_type="application/json")


def _letter(letter: DeadLetter) -> dict[str, JsonValue]:
    mail, notice = letter.mail, letter.notice
    event = mail.event.model_dump(mode="json") if mail else None
    return {
        "id": letter.id,
        "context_id": letter.context_id,
        "at_ms": letter.at_ms,
        "cause": letter.cause,
        "action": mail.event.action if mail else None,
        "event": dict(notice.event) if notice else event,
        "webhook": f"{letter.context_id}.{notice.version}" if notice else None,
    }


async def retry_letter(request: web.Request) -> web.StreamResponse:
    """Deliver the action or webhook once more, or retry the turn; then the letter is gone."""
    gateway = request.app[GATEWAY]
    letters, letter = await _one(request)
    if letter.notice is not None:
        await gateway.store.webhooks.put_back(letter.context_id, letter.notice)
        await letters.drop(letter.id)
        body = orjson.dumps({"id": letter.id, "action_id": None})
        return web.Response(status=202, body=body, content_type="application/json")
    event = letter.mail.event if letter.mail else RetryRequested(at_ms=gateway.clock())
    receipt = await gateway.store.deliver(
        letter.context_id,
        letter.owner,
        Mail(event=event),
        # Repeated after an answer that was lost, it is still delivered once.
        key=f"dead-letter {letter.id}",
        digest=letter.id,
    )
    if not receipt.active and receipt.result is None:
        await gateway.store.queue.enqueue(letter.context_id, owner=letter.owner)
    await letters.drop(letter.id)
    name = action_id(letter.context_id, receipt.seq)
    return web.Response(
        status=202,
        body=orjson.dumps({"id": letter.id, "action_id": name}),
        headers={"Location": f"/api/actions/{name}"},
        content_type="application/json",
    )


async def drop_letter(request: web.Request) -> web.StreamResponse:
    """Forget a letter."""
    letters, letter = await _one(request)
    await letters.drop(letter.id)
    return web.Response(status=204)


async def _one(request: web.Request) -> tuple[DeadLetters, DeadLetter]:
    store = request.app[GATEWAY].store
    letters = DeadLetters(store.link, store.sealer)
    letter = await letters.one(letter_id_of(request))
    if letter is None:
        raise Problem("not-found", "There is no such dead letter.")
    return letters, letter
