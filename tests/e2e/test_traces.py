"""One trace shows one turn: from the request over the mailbox to model and tools, and on."""

import asyncio
import subprocess
import sys
from collections.abc import Sequence

import pytest

from tests.e2e.recording_model import RecordingModel
from tests.support.http_client import HttpClient, Json, Reply
from tests.support.service_processes import ROOT, Service, free_port, kill
from tests.support.span_receiver import SpanReceiver, TakenSpan

pytestmark = pytest.mark.timeout(240)

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER_ID = "00f067aa0ba902b7"
APPROVE = "POST actions/approve_tools"
TRACEPARENT = f"00-{TRACE_ID}-{CALLER_ID}-01"


@pytest.fixture
def collected(monkeypatch: pytest.MonkeyPatch) -> SpanReceiver:
    """A collector that all processes of a service are told of."""
    receiver = SpanReceiver(free_port())
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
    return receiver


def named(spans: Sequence[TakenSpan], name: str) -> list[TakenSpan]:
    """The spans of a name, in the order in which they began."""
    found = [span for span in spans if span.name == name]
    return sorted(found, key=lambda span: span.began_ns)


async def send(client: HttpClient, context_id: str, content: str) -> Json:
    """Send a message in the caller's trace, and wait until the turn rests."""
    reply = await client.request(
        "POST",
        f"/api/contexts/{context_id}/actions/send_message",
        {"content": content},
        headers={"traceparent": TRACEPARENT, "Prefer": "wait=20"},
    )
    assert reply.status == 200, reply.body
    return reply.context


def only(spans: Sequence[TakenSpan], name: str) -> TakenSpan:
    (span,) = named(spans, name)
    return span


async def test_one_send_gives_one_trace_from_the_request_to_model_and_tool(
    collected: SpanReceiver,
) -> None:
    model = RecordingModel()
    async with model.running() as model_url:
        with Service(model_base_url=model_url, model="m-1") as service:
            async with HttpClient(service.url) as client, collected.serving():
                context_id = await client.create()
                script = '{"tool_calls": [{"name": "clock", "arguments": "{}"}]}'
                asking = await send(client, context_id, f"kestrel !mock {script}")
                (call,) = asking["pending_tool_calls"]
                approval = {"tool_call_ids": [call["id"]]}
                await client.act(context_id, "approve_tools", approval, prefer="wait=20")
                refused = await client.act(context_id, "approve_tools", approval)
                polled = await client.state(context_id)
                assert polled["status"] == "idle"
                await collected.until(lambda spans: len(named(spans, "model call")) == 2)
                await collected.until(lambda spans: len(named(spans, APPROVE)) == 2)
            _one_trace(collected.spans, context_id, model)
            _named_in_problem_and_log(collected.spans, refused, service)
            assert not any(b"kestrel" in body for body in collected.bodies)
            # The collector is gone by now: that is no reason to fail, or not to end.
            async with HttpClient(service.url) as client:
                await send(client, context_id, "Hello")
            service.up.terminate()
            assert service.up.wait() == 0


def _one_trace(taken: Sequence[TakenSpan], context_id: str, model: RecordingModel) -> None:
    spans = [span for span in taken if span.trace_id == TRACE_ID]
    asked = only(spans, "POST actions/send_message")
    assert asked.parent_id == CALLER_ID
    assert asked.attributes == {
        "http.request.method": "POST",
        "http.route": "/api/contexts/{id}/actions/{action}",
        "http.response.status_code": 200,
    }
    delivered, applied = only(spans, "deliver"), only(spans, "apply")
    assert delivered.parent_id == asked.span_id
    assert applied.parent_id == delivered.span_id
    assert asked.resource["contextd.role"] == delivered.resource["contextd.role"] == "gateway"
    assert applied.resource["contextd.role"] == "worker"
    assert applied.attributes["contextd.outcome"] == "applied"
    below = [*named(spans, "commit"), *named(spans, "model call"), only(spans, "tool clock")]
    assert {span.parent_id for span in below} == {applied.span_id}
    assert {span.attributes.get("gen_ai.conversation.id", context_id) for span in below} == {
        context_id
    }
    first, second = named(spans, "model call")  # the approval's own trace has neither
    assert first.attributes["gen_ai.response.finish_reasons"] == ("tool_calls",)
    assert second.attributes["gen_ai.response.finish_reasons"] == ("stop",)
    assert second.attributes["gen_ai.operation.name"] == "chat"
    assert second.attributes["gen_ai.response.model"] == "mock"
    assert int(str(second.attributes["gen_ai.usage.output_tokens"])) > 0
    assert only(spans, "tool clock").attributes["gen_ai.tool.name"] == "clock"
    # What the provider is told is the call's own span.
    told = [received.headers["traceparent"] for received in model.requests]
    assert told == [f"00-{TRACE_ID}-{span.span_id}-01" for span in (first, second)]


def _named_in_problem_and_log(
    taken: Sequence[TakenSpan], refused: Reply, service: Service
) -> None:
    """Each request has a trace of its own; polls have none."""
    assert refused.status == 400
    traces = [span.trace_id for span in named(taken, APPROVE)]
    assert len({*traces, TRACE_ID}) == 3
    assert refused.body["trace_id"] == traces[1]
    lines = service.up.log.read_text().splitlines()
    (line,) = [line for line in lines if "action refused" in line]
    assert f'"trace_id":"{traces[1]}"' in line
    assert not [span for span in taken if span.name.startswith("GET")]


async def test_a_turn_that_another_worker_goes_on_with_stays_in_its_trace(
    collected: SpanReceiver, request: pytest.FixtureRequest
) -> None:
    if not request.config.getoption("--long"):
        pytest.skip("a takeover by killed processes takes 7 s; --long")
    async with collected.serving():
        with Service(workers=2) as service:
            async with HttpClient(service.url) as client:
                context_id = await client.create()
                async with asyncio.TaskGroup() as group:
                    said = send(client, context_id, "/chunks 20 100")
                    group.create_task(said, name="turn")
                    await collected.until(lambda spans: bool(named(spans, "apply")))
                    owner = only(collected.spans, "apply").resource["service.instance.id"]
                    kill(int(str(owner).rpartition("-")[2]))
            spans = await collected.until(lambda spans: bool(named(spans, "model call")))
    (call,) = named(spans, "model call")  # that of the dead one was never sent
    assert call.trace_id == TRACE_ID
    assert call.parent_id == only(spans, "apply").span_id
    assert call.resource["service.instance.id"] != owner


def test_nothing_that_sends_traces_is_loaded_where_nobody_asks_for_them() -> None:
    program = (
        "import asyncio, sys; from runtime.tracing import tracing; import gateway.serve\n"
        "import runtime.extensions\n"
        "async def main():\n"
        "    async with tracing('gateway'):\n"
        "        print('opentelemetry.exporter.otlp' in sys.modules)\n"
        "asyncio.run(main())"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program],
        env={"PATH": ""},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout == "False\n"
