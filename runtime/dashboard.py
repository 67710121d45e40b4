"""The addresses of statistics, metrics and the dashboard's WebSocket."""

from typing import Final

import orjson
from aiohttp import web

from dashboard import (
    METRICS_TYPE,
    Dashboards,
    DashboardsEnd,
    Hub,
    Stats,
    Surveyor,
    TooManyDashboards,
    WebSocketConfig,
    exposition,
)
from gateway import (
    TICKET,
    Answer,
    Extension,
    Operation,
    Problem,
    Route,
    client_address,
    draining,
    not_upgraded,
)
from runtime.dashboard_channel import dashboard_channel
from runtime.settings import Settings
from storage import Store, memory_of, survey, unix_ms

SOCKET_PATH: Final = "/api/v1/ws/dashboard"


def dashboard(settings: Settings, store: Store) -> Extension:
    """What one gateway process serves of the dashboard room."""
    surveyor = Surveyor(store, fresh_s=settings.stats_fresh_s)
    hub = Hub(store, surveyor, settings)
    dashboards = Dashboards(hub, settings, unix_ms)

    async def open_dashboard(request: web.Request) -> web.StreamResponse:
        if not web.WebSocketResponse().can_prepare(request):
            raise not_upgraded()
        try:
            return await dashboards.serve(request, client_address(request))
        except TooManyDashboards:
            raise Problem(
                "too-many-viewers",
                "There are too many dashboards, of your address or at all; close one.",
                {"retry_after_s": 2},
            ) from None
        except DashboardsEnd:
            raise draining() from None

    async def get_stats(_request: web.Request) -> web.StreamResponse:
        stats = await surveyor.stats()
        return web.Response(
            body=stats.model_dump_json().encode(), content_type="application/json"
        )

    async def get_metrics(_request: web.Request) -> web.StreamResponse:
        found = await survey(store.link, store.scripts, since_ever=True)
        shown = exposition(found, await memory_of(store.link))
        return web.Response(body=shown, headers={"Content-Type": METRICS_TYPE})

    async def websocket_config(_request: web.Request) -> web.StreamResponse:
        body = orjson.dumps({"websocket_url": SOCKET_PATH})
        return web.Response(body=body, content_type="application/json")

    opened = Operation(
        "Watch what happens",
        {101: Answer("A WebSocket; its messages are in /asyncapi.json.")},
        problems=("draining", "too-many-viewers", "upgrade-required", "store-unavailable"),
    )
    sockets = tuple(
        Route(
            *(name, "GET", path, open_dashboard, (TICKET,)),
            under_contexts=False,
            needs="dashboard",
            is_stream=True,
            operation=opened,
        )
        for name, path in (
            ("open_dashboard", SOCKET_PATH),
            ("open_dashboard_alias", "/admin/ws/dashboard"),
        )
    )
    return Extension(
        routes=(
            *sockets,
            Route(
                *("get_stats", "GET", "/api/v1/stats", get_stats),
                under_contexts=False,
                has_head=True,
                needs="dashboard",
                operation=Operation(
                    "Statistics, as they are now",
                    {200: Answer("Everything at one moment.", (Stats,))},
                    problems=("store-unavailable",),
                ),
            ),
            Route(
                *("get_metrics", "GET", "/metrics", get_metrics),
                under_contexts=False,
                has_head=True,
                needs="dashboard",
                operation=Operation(
                    "Statistics for Prometheus",
                    {200: Answer("In its text format.", content_type="text/plain")},
                    problems=("store-unavailable",),
                ),
            ),
            Route(
                *("get_websocket_config", "GET", "/api/v1/config/websocket"),
                websocket_config,
                under_contexts=False,
                has_head=True,
                is_public=True,
                operation=Operation(
                    "Where the dashboard's WebSocket is",
                    {200: Answer("Its path on this server.", (WebSocketConfig,))},
                ),
            ),
        ),
        helpers=(hub.survey,),
        channels=(dashboard_channel(SOCKET_PATH),),
        say_bye=dashboards.say_bye,
        load=dashboards.load,
    )
