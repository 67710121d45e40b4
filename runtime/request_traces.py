"""A span for each request to a gateway that may begin something, or that comes in a trace.

Polls and streams are a hundred times as many, and show nothing that the counts do not.
"""

from typing import Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from gateway.kinds import KINDS
from runtime.tracing import OpenTelemetry
from storage import Attributes, Span

_READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


def trace_requests(tracer: OpenTelemetry) -> Middleware:
    """A middleware that opens a span for each such request."""

    @web.middleware
    async def trace(request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get("traceparent")
        if given is None and request.method in _READS:
            return await handler(request)
        name, attributes = _asked(request)
        with tracer.request(given, name, attributes) as span:
            try:
                response = await handler(request)
            except web.HTTPException as raised:
                _note_status(span, raised.status)
                raise
            _note_status(span, response.status)
            return response

    return trace


def _asked(request: web.Request) -> tuple[str, Attributes]:
    """Name and attributes of a request's span; none of them is text chosen by the client."""
    found = request.match_info
    resource = found.route.resource
    method = request.method if request.method in hdrs.METH_ALL else "_OTHER"
    if found.http_exception is not None or resource is None:
        return method, {"http.request.method": method}
    action = found.get("action")
    name = f"actions/{action}" if action in KINDS else resource.canonical
    attributes = {"http.request.method": method, "http.route": resource.canonical}
    return f"{method} {name}", attributes


def _note_status(span: Span, status: int) -> None:
    span.note({"http.response.status_code": status})
    if status >= 500:
        span.failed(str(status))
