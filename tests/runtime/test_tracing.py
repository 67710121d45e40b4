"""Spans of the rooms as OpenTelemetry has them, in one process."""

import base64
import contextlib
from collections.abc import AsyncGenerator, Iterator, Sequence
from pathlib import Path

import pytest
import structlog
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased

from gateway import Extension
from runtime.request_traces import trace_requests
from runtime.tracing import OpenTelemetry, traces_wanted
from storage import NO_TRACES
from tests.support.service import Client, eventually, serving
from tests.support.store_server import StoreServer

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE_ID}-00f067aa0ba902b7-01"
UNSAMPLED = TRACEPARENT[:-1] + "0"


class Traced:
    """A service of which every span is kept."""

    def __init__(self, client: Client, exporter: InMemorySpanExporter) -> None:
        self.client = client
        self._exporter = exporter

    @property
    def spans(self) -> Sequence[ReadableSpan]:
        return self._exporter.get_finished_spans()

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.spans if span.name == name]

    def trace_of(self, action: str) -> int:
        """Of the request that has sent an action."""
        (span,) = self.named(f"POST actions/{action}")
        assert span.context is not None
        return int(span.context.trace_id)


@pytest.fixture
def store_url() -> Iterator[str]:
    """Of a store of its own."""
    with StoreServer() as server:
        yield server.url


@contextlib.asynccontextmanager
async def traced(
    store_url: str, *, provider: TracerProvider | None = None, **storage: object
) -> AsyncGenerator[Traced, None]:
    exporter = InMemorySpanExporter()
    provider = provider or TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = OpenTelemetry(provider)
    async with serving(
        store_url,
        storage=storage,
        tracer=tracer,
        extensions=lambda _: (Extension(middlewares=(trace_requests(tracer),)),),
    ) as service:
        yield Traced(service.client, exporter)


def trace_id(span: ReadableSpan) -> int:
    assert span.context is not None
    return int(span.context.trace_id)


async def test_a_queued_message_s_turn_belongs_to_the_request_that_has_brought_it(
    store_url: str,
) -> None:
    async with traced(store_url) as service:
        client = service.client
        context_id = await client.create()
        await client.act(context_id, "send_message", {"content": "/chunks 30 10"})
        first = service.trace_of("send_message")
        headers = {"traceparent": TRACEPARENT, "Prefer": "wait=30"}
        await client.send(
            *("POST", f"/api/contexts/{context_id}/actions/send_message"),
            {"content": "Next"},
            headers=headers,
        )

        async def all_are_there() -> bool:
            return len(service.named("model call")) == 2

        await eventually(all_are_there)
        called = [trace_id(span) for span in service.named("model call")]
        assert called == [first, int(TRACE_ID, 16)]


async def test_a_pause_or_a_rename_takes_no_turn_into_its_own_trace(store_url: str) -> None:
    async with traced(store_url) as service:
        client = service.client
        context_id = await client.create()
        await client.act(context_id, "send_message", {"content": "/chunks 30 10"})
        await client.act(context_id, "rename", {"title": "T"})
        await client.until(context_id, "idle")
        (called,) = service.named("model call")
        assert trace_id(called) == service.trace_of("send_message")
        assert trace_id(called) != service.trace_of("rename")
        last = max(service.named("commit"), key=lambda span: span.start_time or 0)
        assert trace_id(last) == trace_id(called)


async def test_the_first_message_of_a_new_context_is_in_the_trace_of_its_creation(
    store_url: str,
) -> None:
    async with traced(store_url) as service:
        context_id = await service.client.create(message={"content": "Hello"})
        await service.client.until(context_id, "idle")
        (asked,) = service.named("POST /api/contexts")
        (called,) = service.named("model call")
        assert trace_id(called) == trace_id(asked)


async def test_a_trace_goes_through_an_encrypted_mailbox(
    store_url: str, tmp_path: Path
) -> None:
    path = tmp_path / "keys"
    path.write_text(f"k {base64.b64encode(bytes(range(32))).decode()}\n")
    async with traced(store_url, encryption=f"file:{path}") as service:
        context_id = await service.client.create()
        await service.client.say(context_id, "Hello")
        (called,) = service.named("model call")
        assert trace_id(called) == service.trace_of("send_message")


async def test_a_failed_call_says_by_what_and_not_what_was_said(store_url: str) -> None:
    async with traced(store_url) as service:
        context_id = await service.client.create()
        await service.client.say(context_id, "/fail bad_request 1 kestrel")
        (called,) = service.named("model call")
        assert called.attributes is not None
        assert called.attributes["error.type"] == "bad_request"
        assert not called.status.is_ok
        assert not called.status.is_unset
        assert [span.events for span in service.spans if span.events] == []
        assert "kestrel" not in "".join(span.to_json() for span in service.spans)


async def test_what_is_not_sampled_upstream_is_recorded_nowhere(store_url: str) -> None:
    async with traced(store_url) as service:
        context_id = await service.client.create()
        before = len(service.spans)
        answer = await service.client.send(
            *("POST", f"/api/contexts/{context_id}/actions/send_message"),
            {"content": "Hello"},
            headers={"traceparent": UNSAMPLED, "Prefer": "wait=20"},
        )
        assert answer.status == 200
        assert len(service.spans) == before


async def test_an_unsampled_trace_costs_no_request_anything(store_url: str) -> None:
    provider = TracerProvider(sampler=ParentBased(ALWAYS_OFF), shutdown_on_exit=False)
    async with traced(store_url, provider=provider) as service:
        context_id = await service.client.create()
        assert (await service.client.say(context_id, "Hello")).status == 200
        assert service.spans == ()


@pytest.mark.parametrize("given", ["nonsense", "00-0-0-01", "ff-" + TRACEPARENT[3:], ""])
async def test_a_traceparent_that_is_none_begins_a_trace(store_url: str, given: str) -> None:
    async with traced(store_url) as service:
        answer = await service.client.send(
            "POST", "/api/contexts", {}, headers={"traceparent": given}
        )
        assert answer.status == 201
        (asked,) = service.named("POST /api/contexts")
        assert asked.parent is None


async def test_polls_have_a_span_only_where_they_come_in_a_trace(store_url: str) -> None:
    async with traced(store_url) as service:
        context_id = await service.client.create()
        path = f"/api/contexts/{context_id}/state"
        await service.client.get(path)
        assert service.named("GET /api/contexts/{id}/state") == []
        await service.client.get(path, traceparent=TRACEPARENT)
        (polled,) = service.named("GET /api/contexts/{id}/state")
        assert trace_id(polled) == int(TRACE_ID, 16)


async def test_no_span_has_an_address_as_somebody_has_made_it_up(store_url: str) -> None:
    async with traced(store_url) as service:
        await service.client.send("POST", "/kestrel", {})
        context_id = await service.client.create()
        await service.client.act(context_id, "kestrel", {})
        assert [span.name for span in service.named("POST")] == ["POST"]
        assert "kestrel" not in "".join(span.to_json() for span in service.spans)


async def test_log_lines_inside_a_span_have_its_ids_and_those_outside_none() -> None:
    tracer = OpenTelemetry(TracerProvider(shutdown_on_exit=False))
    with tracer.child("outer") as outer:
        assert outer.traceparent is not None
        bound = structlog.contextvars.get_contextvars()
        with tracer.child("inner") as inner:
            assert inner.traceparent is not None
            within = structlog.contextvars.get_contextvars()
    for span, ids in ((outer, bound), (inner, within)):
        assert f"00-{ids['trace_id']}-{ids['span_id']}-" in str(span.traceparent)
    assert bound["trace_id"] == within["trace_id"]
    assert structlog.contextvars.get_contextvars() == {}


def test_nobody_listens_by_default() -> None:
    with NO_TRACES.child("a") as child, NO_TRACES.continued(TRACEPARENT, "b") as continued:
        child.note({"a": 1})
        child.failed("b")
        assert (child.traceparent, continued.traceparent) == (None, None)
        assert NO_TRACES.trace_id() is None


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}, False),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}, False),
    ],
)
def test_the_standard_variables_say_whether_traces_are_sent(
    environment: dict[str, str], wanted: bool
) -> None:
    assert traces_wanted(environment) is wanted
