"""Whether this gateway lives, and whether it is ready for traffic."""

from aiohttp import web

from gateway.answers import json_response
from gateway.app import GATEWAY
from storage import StorageError, why_no_writes


async def healthz(_request: web.Request) -> web.StreamResponse:
    """The process answers."""
    return web.Response(body=b'{"status":"ok"}', content_type="application/json")


async def readyz(request: web.Request) -> web.StreamResponse:
    """Each dependency, with a hint where one is missing; 503 if requests would fail."""
    gateway = request.app[GATEWAY]
    store: dict[str, object] = {
        "ok": True,
        "durability": gateway.store.config.durability,
        "replicas_min": gateway.store.config.store_replicas_min,
        "epoch": gateway.store.epoch,
    }
    workers: dict[str, object] = {"ok": True}
    try:
        if (reason := await why_no_writes(gateway.store.link)) is not None:
            store |= {"ok": False, "hint": f"The store takes no writes: {reason}."}
        store["writes"] = reason is None
        workers["count"] = count = await gateway.store.sessions.living()
        if count == 0:
            workers |= {"ok": False, "hint": "Start one with `contextd worker`."}
    except StorageError as error:
        store |= {"ok": False, "hint": f"The store does not answer: {error}."}
        workers = {"ok": False, "hint": "Unknown without the store."}
    draining = gateway.stopping.is_set()
    ready = bool(store["ok"]) and not draining
    body = {
        "status": "ready" if ready else "not ready",
        "store": store,
        "workers": workers,
        "draining": draining,
    }
    return json_response(body, status=200 if ready else 503)
