"""Every address of the gateway: one table for the router and for OpenAPI."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from gateway.actions import act, action_status, create_context, delete_context
from gateway.health import healthz, readyz
from gateway.states import get_context, get_state, list_contexts, stream_events

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

BASES: Final = ("/api/contexts", "/v1/contexts")
"""Where contexts are served: the canonical address and its alias."""


@dataclass(frozen=True, slots=True)
class Route:
    """One address."""

    method: str
    path: str
    handler: Handler
    under_contexts: bool = True
    """The path continues each of BASES."""


ROUTES: Final = (
    Route("GET", "", list_contexts),
    Route("POST", "", create_context),
    Route("GET", "/{id}", get_context),
    Route("DELETE", "/{id}", delete_context),
    Route("POST", "/{id}/actions/{action}", act),
    Route("GET", "/{id}/state", get_state),
    Route("GET", "/{id}/events", stream_events),
    Route("GET", "/api/actions/{action_id}", action_status, under_contexts=False),
    Route("GET", "/health", healthz, under_contexts=False),
    Route("GET", "/healthz", healthz, under_contexts=False),
    Route("GET", "/readyz", readyz, under_contexts=False),
)


def add_routes(app: web.Application) -> None:
    """Put every route into an application's router."""
    for route in ROUTES:
        bases = BASES if route.under_contexts else ("",)
        for base in bases:
            app.router.add_route(route.method, base + route.path, route.handler)
