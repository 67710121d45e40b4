"""The activity of the dashboard room, served by gateways."""

from collections.abc import Sequence
from typing import Final

from aiohttp import web
from pydantic import BaseModel

from dashboard import (
    Activity,
    ActivityConfig,
    ActivityRecords,
    ActivityView,
    EndpointList,
)
from gateway import FROM_MIRROR, Answer, Extension, Operation, Route
from gateway.history import read_limit
from gateway.parameters import LIMIT
from gateway.routes import ROUTES
from storage import ActivityLog, Store, unix_ms

LIMIT_MAX: Final = 1_000
"""Records on one page."""


def activity_extension(
    config: ActivityConfig, store: Store, beside: Sequence[Extension] = ()
) -> Extension:
    """The extension that counts, records and shows the requests of one gateway.

    Args:
        config: What is kept.
        store: Where gateways share it.
        beside: What else the gateway serves besides its own room.
    """
    stored = ActivityLog(store.link, config.activity_stored_max)
    activity = Activity(config, stored, clock=unix_ms, from_memory=FROM_MIRROR)

    async def show_activity(_request: web.Request) -> web.StreamResponse:
        return _answer(await activity.view())

    async def show_stored(request: web.Request) -> web.StreamResponse:
        return _answer(await activity.stored(read_limit(request, LIMIT_MAX)))

    async def show_recent(request: web.Request) -> web.StreamResponse:
        return _answer(activity.recent(read_limit(request, LIMIT_MAX)))

    async def show_endpoints(_request: web.Request) -> web.StreamResponse:
        return _answer(await activity.endpoints(_served()))

    routes = (
        Route(
            *("get_activity", "GET", "/api/v1/metrics/activity", show_activity),
            under_contexts=False,
            has_head=True,
            needs="dashboard",
            operation=_operation(
                "How much was asked, and what came of it",
                ActivityView,
                "Of all gateways that run, since the oldest of them has started.",
            ),
        ),
        Route(
            *("list_activity_events", "GET", "/api/v1/metrics/events", show_stored, (LIMIT,)),
            under_contexts=False,
            has_head=True,
            needs="dashboard",
            operation=_operation(
                "The newest requests of all gateways, as the store has them",
                ActivityRecords,
                "Records are written within `activity_write_s`; `records` of the activity says "
                "what is not among them.",
                "store-unavailable",
            ),
        ),
        Route(
            *("list_recent_activity", "GET", "/api/v1/activity/recent", show_recent, (LIMIT,)),
            under_contexts=False,
            has_head=True,
            needs="dashboard",
            operation=_operation(
                "The newest requests of the gateway that answers, whatever the store does",
                ActivityRecords,
            ),
        ),
        Route(
            *("list_endpoints", "GET", "/api/v1/endpoints", show_endpoints),
            under_contexts=False,
            has_head=True,
            needs="dashboard",
            operation=_operation(
                "Every address that is served or was asked for, and how often", EndpointList
            ),
        ),
    )

    def _served() -> list[tuple[str, str]]:
        brought = (route for each in beside for route in each.routes)
        return [(route.method, route.paths[0]) for route in (*ROUTES, *routes, *brought)]

    return Extension(routes, (activity.middleware(),), (activity.write,))


def _operation(
    summary: str, model: type[BaseModel], description: str = "", *problems: str
) -> Operation:
    return Operation(
        summary,
        {200: Answer("As it is now.", (model,))},
        problems=problems,
        description=description,
    )


def _answer(shown: BaseModel) -> web.Response:
    return web.Response(body=shown.model_dump_json().encode(), content_type="application/json")
