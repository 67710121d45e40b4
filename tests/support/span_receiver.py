"""A collector's other end on a real socket: it takes spans by OTLP over HTTP and keeps them."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

HEARD_S_MAX = 20.0
Value: TypeAlias = str | int | float | bool | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TakenSpan:
    """A span as it was sent."""

    trace_id: str
    span_id: str
    parent_id: str
    """Empty of the first one."""
    name: str
    attributes: dict[str, Value]
    resource: dict[str, Value]
    began_ns: int
    ended_ns: int
    has_failed: bool


@dataclass
class SpanReceiver:
    """Takes spans."""

    port: int
    spans: list[TakenSpan] = field(default_factory=list[TakenSpan])
    bodies: list[bytes] = field(default_factory=list[bytes])
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        """What OTEL_EXPORTER_OTLP_ENDPOINT is to be."""
        return f"http://127.0.0.1:{self.port}"

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncGenerator["SpanReceiver", None]:
        """Take spans for the length of a block."""
        application = web.Application(client_max_size=16_777_216)
        application.router.add_post("/v1/traces", self._take)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.port).start()
        try:
            yield self
        finally:
            await runner.cleanup()

    async def until(self, enough: Callable[[Sequence[TakenSpan]], bool]) -> Sequence[TakenSpan]:
        """Wait until what was taken is enough."""
        async with asyncio.timeout(HEARD_S_MAX):
            while not enough(self.spans):
                self._changed.clear()
                await self._changed.wait()
        return self.spans

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.bodies.append(body)
        exported = ExportTraceServiceRequest.FromString(body)
        for resource in exported.resource_spans:
            told = {each.key: _value(each.value) for each in resource.resource.attributes}
            for scope in resource.scope_spans:
                for span in scope.spans:
                    taken = TakenSpan(
                        trace_id=span.trace_id.hex(),
                        span_id=span.span_id.hex(),
                        parent_id=span.parent_span_id.hex(),
                        name=span.name,
                        attributes={each.key: _value(each.value) for each in span.attributes},
                        resource=told,
                        began_ns=span.start_time_unix_nano,
                        ended_ns=span.end_time_unix_nano,
                        has_failed=span.status.code == span.status.STATUS_CODE_ERROR,
                    )
                    self.spans.append(taken)
        self._changed.set()
        body = ExportTraceServiceResponse().SerializeToString()
        return web.Response(body=body, content_type="application/x-protobuf")


def _value(value: AnyValue) -> Value:
    match value.WhichOneof("value"):
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case "int_value":
            return value.int_value
        case "double_value":
            return value.double_value
        case "array_value":
            return tuple(each.string_value for each in value.array_value.values)
        case other:
            raise AssertionError(other)
