"""Spans by OpenTelemetry, where the environment asks for them and `contextd[otel]` is there.

What to do with them is said by the standard variables (OTEL_EXPORTER_OTLP_ENDPOINT,
OTEL_TRACES_SAMPLER, OTEL_SERVICE_NAME, ...), which the SDK reads. Without them nothing of it
is imported. Spans leave in batches, from a thread of the SDK's own that waits for nobody: what
cannot be sent is lost. The provider stays ours, so that what other libraries call by the name
of spans does not get into the traces; what is open is the standard's context all the same, so
that the MCP client hands it on.
"""

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncGenerator, Generator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import structlog

from runtime.version import own_version
from storage import NO_TRACES, Attributes, Span, Tracer

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span as OtelSpan, SpanKind

log = structlog.get_logger(__name__)

WANTED_BY: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
"""Variables that say where spans go."""
END_S_MAX: Final = 2.0
"""How long a process that ends may go on sending spans."""


def traces_wanted(environment: Mapping[str, str]) -> bool:
    """Whether the standard variables ask for spans to be sent."""
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    exporter = environment.get("OTEL_TRACES_EXPORTER", "")
    return exporter == "otlp" or (
        exporter == "" and any(environment.get(name) for name in WANTED_BY)
    )


@contextlib.asynccontextmanager
async def tracing(role: str) -> AsyncGenerator[Tracer, None]:
    """The tracer for the length of a block; spans that wait are sent at its end."""
    if not traces_wanted(os.environ):
        yield NO_TRACES
        return
    try:
        provider = _provider(role)
    except ImportError as missing:
        log.warning(
            "traces are wanted, and what makes them is not installed",
            missing=missing.name,
            install="contextd[otel]",
        )
        yield NO_TRACES
        return
    log.info("traces are sent", role=role)
    try:
        yield OpenTelemetry(provider)
    finally:
        # A collector that is away would hold up the end: the thread is left behind.
        thread = threading.Thread(target=provider.shutdown, name="traces end", daemon=True)
        thread.start()
        await asyncio.to_thread(thread.join, END_S_MAX)


def _provider(role: str) -> "TracerProvider":
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    named = "OTEL_SERVICE_NAME" in os.environ
    attributes = {} if named else {"service.name": "contextd"}
    resource = Resource.create(
        {
            **attributes,
            "service.version": own_version(),
            "service.instance.id": f"{os.uname().nodename}-{os.getpid()}",
            "contextd.role": role,
        }
    )
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


class _Span:
    """A span that is sent somewhere."""

    def __init__(self, span: "OtelSpan") -> None:
        context = span.get_span_context()
        self._span = span
        self.has_failed = False
        self.traceparent: str | None = (
            f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
        )

    def note(self, attributes: Attributes) -> None:
        self._span.set_attributes(attributes)

    def failed(self, error_type: str) -> None:
        from opentelemetry.trace import StatusCode

        self.has_failed = True
        self._span.set_attribute("error.type", error_type)
        self._span.set_status(StatusCode.ERROR)


class OpenTelemetry:
    """Makes the spans of a provider, and adds their ids to log lines."""

    def __init__(self, provider: "TracerProvider") -> None:
        from opentelemetry import trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._trace = trace
        self._tracer = provider.get_tracer("contextd", own_version())
        self._header = TraceContextTextMapPropagator()

    @contextlib.contextmanager
    def _open(
        self, name: str, attributes: Attributes, traceparent: str | None, kind: "SpanKind"
    ) -> Generator["_Span", None, None]:
        """A span; below `traceparent`, else inside what is open."""
        parent = None
        if traceparent is not None:
            parent = self._header.extract({"traceparent": traceparent})
        with self._tracer.start_as_current_span(
            name,
            context=parent,
            kind=kind,
            attributes=attributes,
            record_exception=False,  # its text may be what somebody has said
            set_status_on_exception=False,
        ) as opened:
            span = _Span(opened)
            context = opened.get_span_context()
            with structlog.contextvars.bound_contextvars(
                trace_id=f"{context.trace_id:032x}", span_id=f"{context.span_id:016x}"
            ):
                try:
                    yield span
                except Exception as error:
                    if not span.has_failed:
                        span.failed(type(error).__qualname__)
                    raise

    def child(
        self, name: str, attributes: Attributes = MappingProxyType({})
    ) -> contextlib.AbstractContextManager[Span]:
        """A span inside the one that is open in this task; the first one begins a trace."""
        return self._open(name, attributes, None, self._trace.SpanKind.PRODUCER)

    def continued(
        self,
        traceparent: str | None,
        name: str,
        attributes: Attributes = MappingProxyType({}),
    ) -> contextlib.AbstractContextManager[Span]:
        """A span inside one that was handed on; none where nothing was."""
        if traceparent is None:
            return NO_TRACES.continued(None, name)
        return self._open(name, attributes, traceparent, self._trace.SpanKind.INTERNAL)

    def trace_id(self) -> str | None:
        """Trace id of the span that is open in this task."""
        context = self._trace.get_current_span().get_span_context()
        return f"{context.trace_id:032x}" if context.is_valid else None

    def request(
        self, traceparent: str | None, name: str, attributes: Attributes
    ) -> contextlib.AbstractContextManager[Span]:
        """A span of a request, in the trace that it came with."""
        return self._open(name, attributes, traceparent, self._trace.SpanKind.SERVER)
