"""Handlers for operators: restarts, drains, and the plan of retention."""

import contextlib
import os
import socket
from collections.abc import Generator

from aiohttp import web

from gateway.answers import json_response
from gateway.app import GATEWAY, Gateway
from gateway.bodies import RestartOrder
from gateway.history import read_limit
from gateway.operators.bodies import DrainOrder
from gateway.parameters import DAYS, DAYS_MAX, read_whole, restart_id_of
from gateway.problems import Problem
from gateway.reading import read_body
from storage import Aged, NoSupervisor, OtherRuns, Restart, Restarts, Retention, rfc3339


async def restart(request: web.Request) -> web.StreamResponse:
    """Ask the supervisors to replace their processes; answered before anything stops."""
    gateway = request.app[GATEWAY]
    order = await read_body(request, RestartOrder, depth_max=gateway.config.json_depth_max)
    if gateway.config.restart_confirm and not order.force and (busy := await _busy(gateway)):
        raise Problem(
            "busy",
            "Turns are running. Wait, or restart with force, which kills instead of draining; "
            "the turns go on with other workers, and nothing is lost.",
            {"active_contexts": dict(busy)},
        )
    with _refusals():
        restart_id = await Restarts(gateway.store).ask(
            order.scope, force=order.force, now_ms=gateway.clock()
        )
    return _accepted("restarting", restart_id)


async def drain(request: web.Request) -> web.StreamResponse:
    """Ask the supervisors to end processes and put nothing in their place.

    Whoever answers this lives, and is not drained itself: there is a gateway left. One drain
    runs at a time, so the gateway of another is not the one that ends meanwhile.
    """
    gateway = request.app[GATEWAY]
    order = await read_body(request, DrainOrder, depth_max=gateway.config.json_depth_max)
    if order.scope == "gateways":
        if gateway.stopping.is_set() or order.process == _own_process():
            raise Problem(
                "nobody-left",
                "That gateway is the one that answers you. Ask another one; the last one "
                "cannot be drained.",
            )
    elif not order.force and await _takes_last_worker(gateway, order.process):
        raise Problem(
            "nobody-left",
            "No worker would be left, and contexts would wait. Start further workers first, or "
            "drain with force, which kills instead.",
        )
    with _refusals():
        restart_id = await Restarts(gateway.store).ask(
            order.scope,
            force=order.force,
            now_ms=gateway.clock(),
            kind="drain",
            process=order.process,
        )
    return _accepted("draining", restart_id)


def _own_process() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


async def _takes_last_worker(gateway: Gateway, process: str | None) -> bool:
    """Whether draining this worker, or all of them (None), leaves no worker."""
    workers = await gateway.store.sessions.workers()
    is_there = process is None or process in workers or ":" in process
    return is_there and (process is None or len(workers) <= 1)


@contextlib.contextmanager
def _refusals() -> Generator[None]:
    """Turn the errors of `Restarts.ask` into problems that say what to do."""
    try:
        yield
    except NoSupervisor:
        raise Problem(
            "no-supervisor",
            "No supervisor is there to restart or drain anything: do it where you have started "
            "the processes (systemd, compose).",
        ) from None
    except OtherRuns as other:
        raise Problem(
            "operation-running",
            "Another restart or drain has not ended; /admin/restarts/"
            f"{other.restart_id} says how far it has come.",
        ) from None


def _accepted(status: str, restart_id: str) -> web.Response:
    body = {
        "status": status,
        "restart_id": restart_id,
        "report_url": f"/admin/restarts/{restart_id}",
    }
    return json_response(body)


async def _busy(gateway: Gateway) -> dict[str, int]:
    """How many contexts each worker has active, of those that have any."""
    counts = await gateway.store.sessions.active_contexts()
    return {worker_id: count for worker_id, count in counts.items() if count}


async def restart_report(request: web.Request) -> web.StreamResponse:
    """How far a restart or drain has come, process by process."""
    restarts = Restarts(request.app[GATEWAY].store)
    found = await restarts.fail_lost(restart_id_of(request))
    if found is None:
        raise Problem("not-found", "There is no such restart, or it was long ago.")
    return json_response(_report(found))


def _report(found: Restart) -> dict[str, object]:
    return {
        "restart_id": found.request.restart_id,
        "status": found.status,
        "kind": found.request.kind,
        "scope": found.request.scope,
        "process": found.request.process,
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
    return json_response(body)


def _aged(aged: Aged) -> dict[str, object]:
    return {
        "id": aged.context_id,
        "owner": aged.owner,
        "status": aged.status,
        "version": aged.version,
        "touched_at": rfc3339(aged.touched_ms),
    }
