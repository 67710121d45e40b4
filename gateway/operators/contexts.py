"""Contexts and workers: looking at them, and getting them to move."""

from aiohttp import web

from fsm import CancelRequested
from gateway.answers import action_id, json_response
from gateway.app import GATEWAY
from gateway.delivery import wake
from gateway.history import next_page, read_limit
from gateway.operators.bodies import CompactOrder
from gateway.operators.parameters import AFTER_PLACE, read_place, read_wanted, write_place
from gateway.parameters import LIMIT, context_id_of
from gateway.reading import read_body
from storage import Glance, Inspection, Inspector, Mail, rfc3339, survey


async def list_workers(request: web.Request) -> web.StreamResponse:
    """All workers that nobody has buried."""
    workers = await Inspector(request.app[GATEWAY].store).workers()
    body = {
        "workers": [
            {
                "id": worker.worker_id,
                "started_at": rfc3339(worker.since_ms),
                "seen_at": _time(worker.seen_ms),
                "contexts": worker.contexts,
            }
            for worker in workers
        ]
    }
    return json_response(body)


async def list_processes(request: web.Request) -> web.StreamResponse:
    """All gateways and workers that report."""
    store = request.app[GATEWAY].store
    found = (await survey(store.link, store.scripts)).processes
    body = {
        "processes": [
            {
                "id": process.id,
                "role": process.role,
                "name": f"{process.host}:{process.process_id}",
                "started_at": rfc3339(process.started_at_ms),
                "reported_at": rfc3339(process.at_ms),
                "draining": process.draining,
                "memory_bytes": process.memory_bytes,
                "cpu": process.cpu,
                "lag_ms": process.lag_ms,
                "load": process.load,
            }
            for process in found
        ]
    }
    return json_response(body)


async def list_at_work(request: web.Request) -> web.StreamResponse:
    """Contexts of all owners, by what ails them."""
    gateway = request.app[GATEWAY]
    limit = read_limit(request, gateway.config.list_max)
    page = await Inspector(gateway.store).page(
        read_wanted(request), limit=limit, after=read_place(request), now_ms=gateway.clock()
    )
    headers: dict[str, str] = {}
    if page.ended is not None:
        further = {LIMIT.name: str(limit), AFTER_PLACE.name: write_place(page.ended)}
        headers["Link"] = next_page(request, {**request.query, **further})
    body = {"contexts": [_shown(each) for each in page.glances], "complete": page.complete}
    return json_response(body, headers=headers)


async def inspect(request: web.Request) -> web.StreamResponse:
    """One context in depth."""
    gateway = request.app[GATEWAY]
    found = await Inspector(gateway.store).inspect(
        context_id_of(request), now_ms=gateway.clock()
    )
    return json_response(_in_depth(found))


async def requeue(request: web.Request) -> web.StreamResponse:
    """Have a context activated; where somebody has it, nothing changes."""
    store = request.app[GATEWAY].store
    context_id = context_id_of(request)
    owner = await Inspector(store).owner(context_id)
    enqueued = await store.queue.enqueue(context_id, owner=owner)
    return json_response({"id": context_id, "enqueued": enqueued}, status=202)


async def cancel(request: web.Request) -> web.StreamResponse:
    """Stop the turn that runs, as its owner could."""
    gateway = request.app[GATEWAY]
    context_id = context_id_of(request)
    owner = await Inspector(gateway.store).owner(context_id)
    mail = Mail(event=CancelRequested(at_ms=gateway.clock()))
    receipt = await gateway.store.admissions.deliver(context_id, owner, mail, key="", digest="")
    name = action_id(context_id, receipt.seq, epoch=gateway.store.epoch)
    await wake(gateway, context_id, owner, receipt)
    body = {"id": context_id, "action_id": name}
    return json_response(body, status=202)


async def compact(request: web.Request) -> web.StreamResponse:
    """Have a log compacted by whoever owns the context, once it rests."""
    gateway = request.app[GATEWAY]
    order = await read_body(request, CompactOrder, depth_max=gateway.config.json_depth_max)
    context_id = context_id_of(request)
    owner = await Inspector(gateway.store).owner(context_id)
    found = await gateway.store.logs.shorten(context_id, keep=order.keep_events)
    if found == "asked":
        await gateway.store.queue.enqueue(context_id, owner=owner)
    body = {
        "id": context_id,
        "status": "short" if found == "short" else "asked",
        "keep_events": order.keep_events,
    }
    return json_response(body, status=202)


def _time(at_ms: int | None) -> str | None:
    return None if at_ms is None else rfc3339(at_ms)


def _shown(glance: Glance) -> dict[str, object]:
    return {
        "id": glance.context_id,
        "owner": glance.owner,
        "status": glance.status,
        "version": glance.version,
        "changed_at": _time(glance.changed_ms),
        "waits_since": _time(glance.waits_since_ms),
        "worker": glance.worker or None,
        "worker_lives": glance.worker_lives,
        "mail": glance.mail,
        "oldest_mail_at": _time(glance.oldest_mail_ms),
        "due_at": _time(glance.due_ms),
        "attempts": glance.attempts,
        "trouble": glance.trouble,
    }


def _in_depth(found: Inspection) -> dict[str, object]:
    state, turn, failure = found.state, found.state.turn, found.state.failure
    return {
        "context": _shown(found.glance),
        "created_at": rfc3339(state.created_at_ms),
        "epoch": found.epoch,
        "token": found.token,
        "job": found.job,
        "ready_since": _time(found.ready_since_ms),
        "mailbox": {
            "waiting": found.glance.mail,
            "last_number": found.mail_seq,
            "oldest_action": found.oldest_mail,
            "oldest_at": _time(found.glance.oldest_mail_ms),
        },
        "log": {
            "first_version": found.log_first,
            "events": state.version - found.log_first + 1,
            "bytes": found.log_bytes,
            "base_version": found.base_version,
            "snapshot_version": found.snapshot_version,
            "snapshot_lag": max(0, state.version - found.snapshot_version),
            "compacts_to": found.compacts_to,
        },
        "messages": len(state.messages),
        "branches": len(state.branches),
        "queued": len(state.queue) + len(state.scheduled),
        "draft_characters": found.draft_chars,
        "turn": turn
        and {
            "id": turn.id,
            "started_at": rfc3339(turn.started_at_ms),
            "waiting_since": _time(turn.waiting_since_ms),
            "rounds": turn.rounds,
            "tools": turn.tools,
            "attempt": turn.attempt,
        },
        "pending": [
            {"id": effect_id, "kind": effect.kind}
            for effect_id, effect in state.pending.items()
        ],
        "failure": failure.code if failure else None,
        "retry_at": _time(failure.due_ms) if failure else None,
        "notices": found.notices,
        "dead_letters": found.dead_letters,
    }
