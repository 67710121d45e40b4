"""Every address of the gateway: one table for the router and for OpenAPI."""

import functools
import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.actions import act, action_status, create_context, delete_context
from gateway.admin import drain, restart, restart_report, retention_plan
from gateway.allowances import get_limits
from gateway.app import GATEWAY
from gateway.asyncapi import describe_channels
from gateway.audit import list_audit, recorded
from gateway.channel import Channel
from gateway.channels import CHANNELS
from gateway.chat import ask, ask_streamed, delete_session, make_title
from gateway.guard import PRINCIPAL
from gateway.headers import has_seen
from gateway.health import healthz, readyz
from gateway.history import get_log, get_message, list_messages, list_turns
from gateway.legacy import (
    approve_tools,
    legacy,
    patch_message,
    post_message,
    put_context,
)
from gateway.limits import LEVELS, Level
from gateway.notes import add_note, delete_note, list_notes
from gateway.openai.routes import OPENAI_ROUTES
from gateway.openapi import describe
from gateway.operators.routes import OPERATOR_ROUTES
from gateway.pages import docs_asset, docs_page, problem_page
from gateway.parameters import (
    AFTER_CURSOR,
    AFTER_ID,
    AFTER_NOTE,
    AFTER_RECORD,
    AFTER_SEQ,
    AFTER_VERSION,
    AT_VERSION,
    BEFORE_SEQ,
    BRANCH,
    CONTEXTS,
    DAYS,
    DELTAS,
    KINDS_SHOWN,
    LIMIT,
    MESSAGES,
    RESUME,
    STATES,
    TICKET,
    Parameter,
    check_query,
)
from gateway.route import Route
from gateway.sockets import open_socket
from gateway.states import get_context, get_state, list_contexts
from gateway.streams import stream_events, stream_many
from gateway.tickets import issue_ticket
from gateway.transfer import export_context, fork, import_context
from storage import QueryComplete, Scope, stopwatch

Description = Callable[[], tuple[bytes, str]]
"""A document and what its ETag quotes; made when it is first asked for."""
OPENAPI: web.AppKey[Description] = web.AppKey("openapi")
ASYNCAPI: web.AppKey[Description] = web.AppKey("asyncapi")


async def openapi_json(request: web.Request) -> web.StreamResponse:
    """The OpenAPI description of what is served here."""
    return _answer(request, request.app[OPENAPI])


async def asyncapi_json(request: web.Request) -> web.StreamResponse:
    """The AsyncAPI description of what is sent from here."""
    return _answer(request, request.app[ASYNCAPI])


def _answer(request: web.Request, description: Description) -> web.StreamResponse:
    body, tag = description()
    headers = {"ETag": f'"{tag}"', "Cache-Control": "no-cache"}
    if has_seen(request, tag):
        return web.Response(status=304, headers=headers)
    return web.Response(body=body, headers=headers, content_type="application/json")


def _description(document: Callable[[], object]) -> Description:
    @functools.cache
    def described() -> tuple[bytes, str]:
        body = orjson.dumps(document())
        return body, hashlib.blake2b(body, digest_size=12).hexdigest()

    return described


def _get(
    name: str,
    path: str,
    handler: Handler,
    *query: Parameter,
    under_contexts: bool = False,
    has_head: bool = True,
    is_stream: bool = False,
) -> Route:
    return Route(
        name,
        "GET",
        path,
        handler,
        query,
        under_contexts=under_contexts,
        has_head=has_head,
        is_stream=is_stream,
    )


def _public(name: str, path: str, handler: Handler, *query: Parameter) -> Route:
    return Route(
        *(name, "GET", path, handler, query),
        under_contexts=False,
        has_head=True,
        is_public=True,
    )


def _read(name: str, path: str, handler: Handler, *query: Parameter) -> Route:
    return Route(name, "GET", f"/{{id}}{path}", handler, query, has_head=True)


def _post(
    name: str, path: str, handler: Handler, *, is_stream: bool = False, is_query: bool = False
) -> Route:
    return Route(
        *(name, "POST", path, handler),
        under_contexts=False,
        is_stream=is_stream,
        is_query=is_query,
    )


def _delete(name: str, path: str, handler: Handler) -> Route:
    return Route(name, "DELETE", path, handler, under_contexts=False)


def _admin(
    name: str,
    method: str,
    path: str,
    handler: Handler,
    *query: Parameter,
    needs: Scope = "admin",
) -> Route:
    return Route(
        *(name, method, f"/admin{path}", handler, query),
        under_contexts=False,
        has_head=method == "GET",
        needs=needs,
    )


_ASSET_VERSION: Final = Parameter("v", {}, "Version of the file.")

ROUTES: Final = (
    Route("list_contexts", "GET", "", list_contexts, (LIMIT, AFTER_ID, STATES), has_head=True),
    Route("create_context", "POST", "", create_context, (MESSAGES,)),
    Route("get_context", "GET", "/{id}", get_context, (MESSAGES,), has_head=True),
    Route("delete_context", "DELETE", "/{id}", delete_context, (MESSAGES,)),
    Route("import_context", "POST", "/import", import_context, moves_contexts=True),
    Route("fork", "POST", "/{id}/actions/fork", fork),
    Route("act", "POST", "/{id}/actions/{action}", act, (MESSAGES,)),
    _read("get_state", "/state", get_state, AFTER_CURSOR, AT_VERSION, MESSAGES),
    _read("list_messages", "/messages", list_messages, BRANCH, AFTER_SEQ, BEFORE_SEQ, LIMIT),
    _read("get_message", "/messages/{message_id}", get_message),
    *(
        Route(name, method, f"/{{id}}{path}", legacy(handler, successor), is_deprecated=True)
        for name, method, path, handler, successor in (
            ("put_context", "PUT", "", put_context, "the actions rename, configure, ..."),
            ("post_message", "POST", "/messages", post_message, "the action send_message"),
            (
                *("patch_message", "PATCH", "/messages/{message_id}", patch_message),
                "the action edit_message",
            ),
            (
                *("post_approval", "POST", "/tools/approve", approve_tools),
                "the action approve_tools",
            ),
        )
    ),
    _read("list_turns", "/turns", list_turns, AFTER_SEQ, LIMIT),
    _read("get_log", "/log", get_log, AFTER_VERSION, LIMIT),
    Route(
        *("export_context", "GET", "/{id}/export", export_context),
        has_head=True,
        moves_contexts=True,
    ),
    *(
        Route(name, "GET", path, handler, (RESUME, KINDS_SHOWN, DELTAS, TICKET), is_stream=True)
        for name, path, handler in (
            ("stream_events", "/{id}/events", stream_events),
            ("open_socket", "/{id}/ws", open_socket),
        )
    ),
    _get(
        "stream_many",
        "/api/events",
        stream_many,
        *(CONTEXTS, KINDS_SHOWN, DELTAS, TICKET),
        has_head=False,
        is_stream=True,
    ),
    Route(
        *("issue_ticket", "POST", "/api/tickets", issue_ticket),
        under_contexts=False,
        takes_any_scope=True,
    ),
    _get("get_limits", "/api/limits", get_limits),
    _get("get_action", "/api/actions/{action_id}", action_status),
    _post("make_title", "/api/chat/title", make_title),
    _post("ask", "/api/chat/{mode}", ask, is_query=True),
    _post("ask_streamed", "/api/chat/deep/stream", ask_streamed, is_stream=True, is_query=True),
    _delete("delete_session", "/api/chat/session/{session_id}", delete_session),
    _get("list_notes", "/api/notes", list_notes, LIMIT, AFTER_NOTE),
    _post("add_note", "/api/notes", add_note),
    _delete("delete_note", "/api/notes/{note_id}", delete_note),
    *OPENAI_ROUTES,
    _admin("restart", "POST", "/restart", restart),
    _admin("drain", "POST", "/drain", drain),
    _admin(
        *("get_restart", "GET", "/restarts/{restart_id}", restart_report), needs="dashboard"
    ),
    _admin("list_audit", "GET", "/audit", list_audit, LIMIT, AFTER_RECORD),
    _admin("get_retention", "GET", "/retention", retention_plan, DAYS, LIMIT),
    *OPERATOR_ROUTES,
    _public("health", "/health", healthz),
    _public("healthz", "/healthz", healthz),
    _public("readyz", "/readyz", readyz),
    _public("get_problem_type", "/problems/{name}", problem_page),
    _public("openapi", "/openapi.json", openapi_json),
    _public("asyncapi", "/asyncapi.json", asyncapi_json),
    _public("docs", "/docs", docs_page),
    _public("docs_asset", "/docs/{name}", docs_asset, _ASSET_VERSION),
)


def add_routes(
    app: web.Application, further: Iterable[Route], channels: Iterable[Channel]
) -> None:
    """Put every route into an application's router, and OPTIONS for each path."""
    brought = tuple(further)
    described = (*CHANNELS, *channels)
    app[OPENAPI] = _description(lambda: describe((*ROUTES, *brought)))
    app[ASYNCAPI] = _description(lambda: describe_channels(described))
    for resource in (*_own_resources(), *_resources(brought)):
        app.router.register_resource(resource)


@functools.cache
def _own_resources() -> tuple[web.AbstractResource, ...]:
    """Made once for all gateways of a process: tests and simulations have thousands."""
    return _resources(ROUTES)


def _resources(routes: Sequence[Route]) -> tuple[web.AbstractResource, ...]:
    """One for each path: an address is compared with one after another."""
    served: dict[str, dict[str, Handler]] = {}
    for route in routes:
        handler = _checked(route)
        for path in route.paths:
            methods = served.setdefault(path, {})
            methods[route.method] = handler
            if route.has_head:
                methods["HEAD"] = handler
    router = web.UrlDispatcher()
    for path, methods in served.items():
        resource = router.add_resource(_routed(path, served))
        for method, handler in methods.items():
            resource.add_route(method, handler)
        resource.add_route("OPTIONS", _options([*methods, "OPTIONS"]))
    return tuple(router.resources())


def _routed(path: str, paths: Iterable[str]) -> str:
    """A path for the router, in which an address of its own, such as `import`, is no id."""
    before, _, behind = path.partition("{")
    name, _, rest = behind.partition("}")
    own = [other.removeprefix(before) for other in paths if other.startswith(before)]
    own = [last for last in own if re.fullmatch("[a-z]+", last)]
    if not name or rest or not own:
        return path
    return f"{before}{{{name}:(?!(?:{'|'.join(own)})$)[^{{}}/]+}}"


def _checked(route: Route) -> Handler:
    """The handler, behind the guard, the limits and a check of the query."""
    scope, takes_ticket, traffic = route.scope, TICKET in route.query, route.traffic

    async def handle_public(request: web.Request) -> web.StreamResponse:
        if request.query_string:
            check_query(request, route.query)
        if route.is_recorded:
            async with recorded(request, route.name):
                return await route.handler(request)
        if route.method != "POST":
            return await route.handler(request)
        began_s = stopwatch()
        response = await route.handler(request)
        if route.is_query or _waited_for_reply(response):
            _tell_answered(request, route, response, began_s=began_s)
        return response

    if route.is_public:
        return handle_public

    async def handle(request: web.Request) -> web.StreamResponse:
        gateway = request.app[GATEWAY]
        guard, limits = gateway.guard, gateway.limits
        levels: list[Level] = []
        if limits.have_rates:
            request[LEVELS] = levels
            levels += limits.take_for_address(request, traffic)
        principal = await guard.admit(request, scope, takes_ticket=takes_ticket)
        request[PRINCIPAL] = principal
        if limits.have_rates:
            levels += await limits.take_for_owner(request, traffic)
        if route.is_stream:
            with limits.stream(principal.owner), guard.opened(request, principal):
                return await handle_public(request)
        response = await handle_public(request)
        if response.status == 304:
            limits.give_back(levels)
        return response

    return handle


def _waited_for_reply(response: web.StreamResponse) -> bool:
    """Whether an action's answer has waited for its turn, as the client had asked."""
    waited = response.headers.get("Preference-Applied", "").startswith("wait=")
    return waited and response.status in {200, 201}


def _tell_answered(
    request: web.Request, route: Route, response: web.StreamResponse, *, began_s: float
) -> None:
    """Tell dashboards that a question was answered: what kind, and how long it took."""
    announcer = request.app[GATEWAY].store.announcer
    if announcer.leaves_out():
        return
    found = request.match_info
    kind = found.get("mode") or found.get("action") or route.name
    took_s = stopwatch() - began_s
    announcer.tell(
        QueryComplete(kind=kind, latency_ms=round(took_s * 1_000, 3), status=response.status)
    )


def _options(methods: list[str]) -> Handler:
    allowed = ", ".join(sorted(methods))

    async def tell_methods(request: web.Request) -> web.StreamResponse:
        headers = request.app[GATEWAY].browsers.preflight(request, allowed)
        return web.Response(status=204, headers={"Allow": allowed, **headers})

    return tell_methods
