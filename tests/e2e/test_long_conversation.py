"""Two hundred turns with tools, a model server over real sockets, the SDK as referee."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
from openai.types.chat.completion_create_params import CompletionCreateParamsStreaming
from pydantic import TypeAdapter
from pydantic_core import to_jsonable_python

from tests.support.http_client import HttpClient, Json
from tests.support.invariants import stream_faults, text_faults
from tests.support.model_server import Script, ScriptedCall
from tests.support.service_processes import Service, run_module

pytestmark = pytest.mark.timeout(240)

TURNS = 200
PARAMETERS: TypeAdapter[CompletionCreateParamsStreaming] = TypeAdapter(
    CompletionCreateParamsStreaming
)
MESSAGE: TypeAdapter[ChatCompletionMessageParam] = TypeAdapter(ChatCompletionMessageParam)
TOOL: TypeAdapter[ChatCompletionToolParam] = TypeAdapter(ChatCompletionToolParam)


@pytest.fixture
def model_url(tmp_path: Path) -> Iterator[str]:
    """Base URL of a model server that records, in a process of its own."""
    with run_module("tests.e2e.recording_model", folder=tmp_path) as (_, base_url):
        yield base_url


def question(turn: int) -> tuple[str, list[str]]:
    """What turn number `turn` says, and what its answers must be."""
    if turn % 3 == 1:
        call = ScriptedCall(name="calculator", arguments=f'{{"expression": "{turn} * 2"}}')
        script = Script(tool_calls=(call,))
        return script.in_message(), [str(turn * 2), f"The tool said {turn * 2}"]
    if turn % 3 == 2 and turn % 2:
        calls = tuple(
            ScriptedCall(name="calculator", arguments=f'{{"expression": "{turn} + {more}"}}')
            for more in (1, 2)
        )
        script = Script(tool_calls=calls, text=f"Wait, {turn}.", chunks=2)
        return script.in_message(), [f"Wait, {turn}.", str(turn + 1), str(turn + 2)]
    script = Script(text=f"Answer {turn}.", chunks=4)
    return script.in_message(), [f"Answer {turn}."]


@pytest.mark.slow  # two hundred turns, one after another
async def test_200_turns_with_tools_over_two_gateways_and_three_workers(model_url: str) -> None:
    with Service(workers=3, model_base_url=model_url, model="mock", linger_s=0) as service:
        second = f"http://127.0.0.1:{service.join_gateway()}"
        async with HttpClient(service.url, second, model_url.removesuffix("/v1")) as client:
            policy = {"tool_policy": {"mode": "auto_loop"}, "system_prompt": "Be brief."}
            context_id = await client.create(config=policy)
            async with client.watching(context_id, gateways=(1,)) as seen:
                await seen.until(lambda stream: stream.of("snapshot"))
                for turn in range(TURNS):
                    reply = await client.send(
                        context_id, question(turn)[0], prefer="wait=30", gateway=turn % 2
                    )
                    assert (reply.status, reply.context["status"]) == (200, "idle"), reply
                final = await client.state(context_id)
                await seen.until(lambda stream: stream.cursor == final["cursor"])
            activations = activations_by_worker(service)
            requests: list[Json] = (await client.request("GET", "/requests", gateway=2)).body

    turns = turns_of(final)
    assert [said["content"] for said, _ in turns] == [
        question(turn)[0] for turn in range(TURNS)
    ]
    for turn, (_, answers) in enumerate(turns):
        expected = question(turn)[1]
        shown = [message["content"] for message in answers if message["content"]]
        assert sorted(shown[: len(expected)]) == sorted(expected)
        assert answers[-1]["role"] == "assistant"
        assert answers[-1]["status"] == "complete"
        asked = [call["id"] for answer in answers for call in answer["tool_calls"]]
        answered = [answer["tool_call_id"] for answer in answers if answer["role"] == "tool"]
        assert sorted(asked) == sorted(answered)
    calls = [call["id"] for _, answers in turns for a in answers for call in a["tool_calls"]]
    assert len(calls) == len(set(calls)) > TURNS / 3
    assert final["usage"] == summed_usage(final)
    assert stream_faults(seen.frames) == []
    assert text_faults(seen.frames, final) == []
    assert_sdk_parses(requests)
    replies = [m for m in final["messages"] if m["role"] == "assistant"]
    assert len(requests) == len(replies)
    print(f"activations by worker: {activations}")  # noqa: T201 - a number to report
    assert sum(activations) > TURNS / 2
    assert sum(count > 0 for count in activations) >= 2


def activations_by_worker(service: Service) -> list[int]:
    """How often each worker has had a context, as rq counts its finished jobs."""
    with service.store() as store:
        workers = store.smembers("rq:workers")
        return [int(store.hget(key, "successful_job_count") or 0) for key in workers]


def turns_of(context: Json) -> list[tuple[Json, list[Json]]]:
    """Each user message with everything up to the next."""
    turns: list[tuple[Json, list[Json]]] = []
    for message in context["messages"]:
        if message["role"] == "user":
            turns.append((message, []))
        else:
            turns[-1][1].append(message)
    return turns


def summed_usage(context: Json) -> Json:
    """The usage that the replies add up to."""
    total: Counter[str] = Counter()
    for message in context["messages"]:
        total.update(message["usage"] or {})
    return dict(total)


def assert_sdk_parses(requests: list[Json]) -> None:
    """Every request, whole: its envelope, its tools, and each of its messages."""
    for body in requests:
        assert body["stream"] is True
        assert PARAMETERS.validate_python(body).keys() == body.keys()
        for tool in body["tools"]:
            assert whole(TOOL.validate_python(tool)) == tool
    # Each request repeats the conversation so far: the longest has all there is, and the
    # others must be beginnings of it (a context has one history).
    longest: list[Json] = max((body["messages"] for body in requests), key=len)
    for message in longest:
        assert whole(MESSAGE.validate_python(message)) == message
    for body in requests:
        assert body["messages"] == longest[: len(body["messages"])]


def whole(value: object) -> Json:
    """What pydantic has parsed; the SDK's types say Iterable, which is checked only now."""
    return to_jsonable_python(value, fallback=list)
