"""The client against a server of its own, over real sockets."""

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncGenerator

import pytest
from pydantic import JsonValue, SecretStr, ValidationError

from fsm import Usage
from storage import describe
from tests.support.model_server import ModelServer, Script, ScriptedCall
from tests.workers.models.calling import TOOL, call, request
from workers.models import (
    ModelConfig,
    ModelToolCall,
    OpenAIModel,
    ReplyItem,
    ScriptedModel,
    TextDelta,
    open_model,
)


@contextlib.asynccontextmanager
async def calling(
    server: ModelServer | None = None, **config: JsonValue
) -> AsyncGenerator[tuple[OpenAIModel, ModelServer]]:
    server = server or ModelServer()
    async with server.running() as base_url:
        values = {"model_base_url": base_url, "model": "mock", **config}
        model = OpenAIModel(ModelConfig.model_validate(values))
        try:
            yield model, server
        finally:
            await model.close()


async def test_a_reply_streams_and_ends_with_all_of_it() -> None:
    async with calling() as (model, _):
        called = await call(model, request(Script(chunks=5, text="Zwölf Boxkämpfer 🥊 jagen")))
    assert called.text == "Zwölf Boxkämpfer 🥊 jagen" == called.reply.text
    assert called.reply.finish_reason == "stop"
    assert called.reply.usage == Usage(prompt_tokens=7, completion_tokens=5, total_tokens=12)
    assert called.reply.model == "mock"


async def test_chunks_of_one_read_are_one_delta_and_late_chunks_come_alone() -> None:
    async with calling() as (model, _):
        at_once = await call(model, request(Script(chunks=50)))
        spread = await call(model, request(Script(chunks=3, delay_ms=300)))
    assert len(at_once.deltas) < 5
    assert spread.deltas == ["w1 ", "w2 ", "w3 "]


async def test_the_request_is_what_was_asked_for() -> None:
    async with calling(model_api_key="sk-test") as (model, server):
        parameters: dict[str, JsonValue] = {
            "temperature": 0.5,
            "n": 4,
            "stream": False,
            "messages": [],
            "tool_choice": "auto",
        }
        await call(model, request("hi", tools=(TOOL,), parameters=parameters, key="c9:1.0"))
        await call(model, request("hi", parameters=parameters, model="other"))
    with_tools, without = server.requests
    assert with_tools.body == {
        "temperature": 0.5,
        "tool_choice": "auto",
        "model": "mock",
        "messages": [{"role": "user", "content": "hi"}],
        "tools": [TOOL],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert with_tools.headers["Authorization"] == "Bearer sk-test"
    assert with_tools.headers["Idempotency-Key"] == "c9:1.0"
    assert without.body["model"] == "other"
    assert "tools" not in without.body
    assert "tool_choice" not in without.body


async def test_without_a_key_none_is_sent() -> None:
    async with calling() as (model, server):
        await call(model, request())
    assert "Authorization" not in server.requests[0].headers


async def test_a_server_that_knows_no_stream_options_is_not_sent_any() -> None:
    async with calling(model_include_usage=False) as (model, server):
        called = await call(model, request())
    assert "stream_options" not in server.requests[0].body
    assert called.reply.usage is None


async def test_parameters_that_are_no_json_are_a_bad_request() -> None:
    async with calling() as (model, server):
        called = await call(model, request(parameters={"seed": 10**30}))
    assert (called.failure.code, called.failure.retryable) == ("bad_request", False)
    assert not server.requests


async def test_tool_calls_are_put_together() -> None:
    calls = (
        ScriptedCall(name="clock", arguments='{"zone": "Asia/Tokyo"}', id="a"),
        ScriptedCall(name="clock", id="b"),
    )
    async with calling() as (model, _):
        called = await call(model, request(Script(tool_calls=calls, text="Let me see.")))
    assert called.reply.text == "Let me see."
    assert called.reply.finish_reason == "tool_calls"
    assert called.reply.tool_calls == (
        ModelToolCall("a", "clock", '{"zone": "Asia/Tokyo"}'),
        ModelToolCall("b", "clock", "{}"),
    )


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("delay_ms", [0, 1])
async def test_every_line_end_is_understood(line_end: str, delay_ms: int) -> None:
    script = Script.model_validate({"chunks": 3, "line_end": line_end, "delay_ms": delay_ms})
    async with calling() as (model, _):
        assert (await call(model, request(script))).reply.text == "w1 w2 w3 "


async def test_connections_are_used_again() -> None:
    async with calling() as (model, server):
        for script in (Script(), Script(end_delay_ms=30), Script(status=429), Script()):
            await call(model, request(script))
    assert len(server.requests) == 4
    assert len({received.peer for received in server.requests}) == 1


async def test_a_connection_whose_reply_does_not_end_is_given_up() -> None:
    async with calling(model_drain_s=0.05) as (model, server):
        assert (await call(model, request(Script(end_delay_ms=60_000)))).reply.text == "w1 "
        await server.requests[0].abandoned.wait()


@pytest.mark.parametrize(
    ("script", "code", "retryable", "retry_after_ms"),
    [
        (Script(status=429, retry_after="3"), "rate_limited", True, 3_000),
        (Script(status=500), "overloaded", True, None),
        (Script(status=502), "overloaded", True, None),
        (Script(status=503, retry_after="1"), "overloaded", True, 1_000),
        (Script(status=529), "overloaded", True, None),
        (Script(status=400), "bad_request", False, None),
        (
            Script(status=400, error_code="context_length_exceeded"),
            "content_too_long",
            False,
            None,
        ),
        (Script(status=413), "content_too_long", False, None),
        (Script(status=422), "bad_request", False, None),
        (Script(status=403), "unauthorized", False, None),
        (Script(status=404), "not_found", False, None),
        (Script(status=307), "bad_response", False, None),
        (Script(content_type="text/html"), "bad_response", False, None),
    ],
)
async def test_refusals_are_told_apart(
    script: Script, code: str, retryable: bool, retry_after_ms: int | None
) -> None:
    async with calling() as (model, server):
        failure = (await call(model, request(script))).failure
    assert (failure.code, failure.retryable) == (code, retryable)
    assert failure.retry_after_ms == retry_after_ms
    assert len(server.requests) == 1, "the model itself repeats nothing"


async def test_a_refused_key_is_not_said_back() -> None:
    async with calling(ModelServer(api_key="right"), model_api_key="wrong-key") as (model, _):
        failure = (await call(model, request())).failure
        assert failure.code == "unauthorized"
        assert "wrong-key" not in str(failure)
        assert "wrong-key" not in repr(model)
    said = Script(error_after=0, message="No wrong-key here.")
    async with calling(model_api_key="wrong-key") as (model, _):
        failure = (await call(model, request(said))).failure
        assert failure.detail.endswith("It says: No [removed] here.")


@pytest.mark.parametrize(
    ("script", "code", "text"),
    [
        (Script(chunks=4, cut_after=2), "stream_cut", "w1 w2 "),
        (Script(chunks=4, end_after=2), "stream_cut", "w1 w2 "),
        (Script(chunks=4, malformed_after=2), "bad_response", "w1 w2 "),
        (Script(chunks=4, error_after=2), "bad_response", "w1 w2 "),
        (
            Script(chunks=4, error_after=2, error_code="rate_limit_exceeded"),
            "rate_limited",
            "w1 w2 ",
        ),
        (Script(chunks=4, cut_after=0), "stream_cut", ""),
    ],
)
async def test_a_reply_that_breaks_keeps_what_had_arrived(
    script: Script, code: str, text: str
) -> None:
    # A pause, so that the text has left the server before its connection is reset.
    paced = script.model_copy(update={"delay_ms": 20})
    async with calling() as (model, _):
        called = await call(model, request(paced))
    assert (called.failure.code, called.failure.retryable) == (code, True)
    assert text.startswith(called.text) if code == "stream_cut" else called.text == text


async def test_a_finish_reason_without_done_is_an_end() -> None:
    async with calling() as (model, _):
        assert (await call(model, request(Script(done=False)))).reply.text == "w1 "


@pytest.mark.parametrize("timeout_s", [0.3, 30.0])
async def test_a_whole_reply_whose_stream_stays_open_is_not_lost(timeout_s: float) -> None:
    script = Script(done=False, end_delay_ms=60_000)
    async with calling(model_between_chunks_s=0.3) as (model, server):
        called = await call(model, request(script, timeout_s=timeout_s))
        await server.requests[0].abandoned.wait()
    assert (called.reply.text, called.reply.finish_reason) == ("w1 ", "stop")


async def test_a_server_that_does_not_stream_is_understood() -> None:
    answer = (
        b'{"id":"r","model":"m","choices":[{"index":0,"finish_reason":"stop",'
        b'"message":{"role":"assistant","content":"all at once"}}],'
        b'"usage":{"prompt_tokens":1,"completion_tokens":3,"total_tokens":4}}'
    )
    async with raw_server(b"application/json", answer) as model:
        called = await call(model, request())
    assert called.deltas == ["all at once"]
    assert called.reply.usage == Usage(prompt_tokens=1, completion_tokens=3, total_tokens=4)


async def test_a_whole_answer_that_is_too_long_or_too_late_is_told() -> None:
    answer = b'{"choices":[{"message":{"content":"%b"}}]}' % (b"x" * 1_024)
    async with raw_server(
        b"application/json", answer, length=10**12, model_reply_bytes_max=1_024
    ) as model:
        failure = (await call(model, request())).failure
        assert (failure.code, failure.retryable) == ("content_too_long", False)
    half = answer[:100]
    async with raw_server(
        b"application/json", half, length=len(answer), model_first_byte_s=0.2
    ) as model:
        failure = (await call(model, request())).failure
        assert (failure.code, failure.retryable) == ("timeout", True)
        failure = (await call(model, request(timeout_s=0.1))).failure
        assert (failure.code, failure.retryable) == ("timeout", False)


async def test_a_server_that_cannot_be_trusted_is_not_asked_again() -> None:
    async with calling() as (plain, server):
        url = str(plain).split()[1].replace("http://", "https://")
        values = {"model_base_url": url.removesuffix("/chat/completions>")}
        model = OpenAIModel(ModelConfig.model_validate(values))
        failure = (await call(model, request())).failure
        await model.close()
    assert (failure.code, failure.retryable) == ("connection", False)
    assert not server.requests


@contextlib.asynccontextmanager
async def raw_server(
    content_type: bytes, body: bytes, *, length: int | None = None, **config: float
) -> AsyncGenerator[OpenAIModel]:
    """A model in front of a server that answers everything with the same bytes.

    Where it says that they are more (`length`), it waits for ever behind them.
    """

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if content_type:
            head = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n"
            writer.write(head % (content_type, length or len(body)))
        writer.write(body)
        await writer.drain()
        if length:
            await reader.read()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        values = {"model_base_url": f"http://127.0.0.1:{port}/v1", **config}
        model = OpenAIModel(ModelConfig.model_validate(values))
        try:
            yield model
        finally:
            await model.close()


@pytest.mark.parametrize(
    ("body", "code"), [(b"SSH-2.0-nonsense\r\n\r\n", "bad_response"), (b"", "connection")]
)
async def test_what_is_no_http_and_what_hangs_up_are_told_apart(body: bytes, code: str) -> None:
    async with raw_server(b"", body) as model:
        failure = (await call(model, request())).failure
    assert (failure.code, failure.retryable) == (code, True)
    assert "nonsense" not in describe(failure.__cause__ or failure)


async def test_a_refused_connection_is_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody else gets the port
        base_url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        model = OpenAIModel(ModelConfig(model_base_url=base_url))
        failure = (await call(model, request())).failure
        await model.close()
    assert (failure.code, failure.retryable) == ("connection", True)
    assert base_url.removeprefix("http://").removesuffix("/v1") in str(failure.__cause__)


async def test_what_failures_name_is_the_server_and_the_model_and_no_secret() -> None:
    async with calling(model_api_key="sk-test") as (model, _):
        assert re.fullmatch(
            r"\(Asked: 127\.0\.0\.1:\d+; the configured model is 'mock'\.\)", model.label
        )
    async with calling(model=None) as (model, _):
        assert model.label.endswith("; no model is configured.)")
    assert "scripted model answers" in ScriptedModel(ModelConfig()).label


async def test_no_free_connection_is_a_timeout() -> None:
    async with (
        calling(model_connections_max=1, model_connect_s=0.5) as (model, _),
        contextlib.aclosing(model.stream(request(Script(hang_after=1)))) as items,
    ):
        await anext(items)
        failure = (await call(model, request())).failure
    assert (failure.code, failure.retryable) == ("timeout", True)
    assert "connection" in failure.detail


async def test_a_server_that_does_not_begin_is_a_timeout() -> None:
    async with calling(model_first_byte_s=0.05) as (model, server):
        for hang_after in (-1, 0):
            failure = (await call(model, request(Script(hang_after=hang_after)))).failure
            assert (failure.code, failure.retryable) == ("timeout", True)
            assert "begin" in failure.detail
            await server.requests[-1].abandoned.wait()


async def test_a_server_that_falls_silent_is_a_timeout() -> None:
    async with calling(model_between_chunks_s=1.0) as (model, _):
        called = await call(model, request(Script(chunks=9, hang_after=2, delay_ms=20)))
    assert called.text == "w1 w2 "
    assert (called.failure.code, called.failure.retryable) == ("timeout", True)
    assert "silent" in called.failure.detail


async def test_a_slow_reply_outlasts_the_silence_allowed_between_its_chunks() -> None:
    async with calling(model_between_chunks_s=1.0, model_first_byte_s=1.0) as (model, _):
        called = await call(model, request(Script(chunks=6, delay_ms=250)))
    assert called.reply.text == "w1 w2 w3 w4 w5 w6 "


async def test_a_slow_reader_is_not_taken_for_a_silent_server() -> None:
    async with calling(model_between_chunks_s=0.5) as (model, _):
        texts: list[str] = []
        # Longer than the reader takes for two deltas, so that it must read a third time.
        script = Script(chunks=40, delay_ms=80)
        async with contextlib.aclosing(model.stream(request(script))) as items:
            async for item in items:
                texts.append(item.text)
                await asyncio.sleep(1.2)  # more than twice the silence allowed
    assert texts[0] == "w1 "
    assert texts[-1] == "".join(texts[:-1]) == script.whole_text


async def test_the_end_of_the_turns_time_ends_the_call_and_is_not_retried() -> None:
    async with calling() as (model, _):
        called = await call(model, request(Script(chunks=99, delay_ms=20), timeout_s=1.0))
    assert (called.failure.code, called.failure.retryable) == ("timeout", False)
    assert called.text.startswith("w1 ")


async def test_no_time_left_is_a_timeout() -> None:
    async with calling() as (model, _):
        assert (await call(model, request(timeout_s=0.0))).failure.code == "timeout"


async def read_on(items: AsyncGenerator[ReplyItem, None], begun: asyncio.Event) -> None:
    async with contextlib.aclosing(items):
        async for _ in items:
            begun.set()


async def test_cancelling_the_reader_closes_the_connection() -> None:
    async with calling() as (model, server), asyncio.timeout(10):
        for hang_after in (0, 1):
            begun = asyncio.Event()
            async with asyncio.TaskGroup() as group:
                items = model.stream(request(Script(hang_after=hang_after)))
                task = group.create_task(read_on(items, begun), name="reader")
                received = await server.received(hang_after + 1)
                if hang_after:
                    await begun.wait()
                task.cancel()
            assert task.cancelled()
            await received.abandoned.wait()
        # and the model is as good as before
        assert (await call(model, request())).reply.text == "w1 "


async def test_closing_the_stream_closes_the_connection() -> None:
    async with calling() as (model, server), asyncio.timeout(10):
        items = model.stream(request(Script(hang_after=1)))
        assert await anext(items) == TextDelta("w1 ")
        await items.aclose()
        await server.requests[-1].abandoned.wait()


async def test_a_closed_model_answers_with_an_error() -> None:
    async with calling() as (model, _):
        await model.close()
        assert (await call(model, request())).failure.code == "connection"


async def test_five_hundred_streams_at_once_all_finish() -> None:
    async with calling() as (model, _), asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(
                call(model, request(Script(chunks=5, delay_ms=10), key=f"c{number}:1.0")),
                name=f"call {number}",
            )
            for number in range(500)
        ]
    assert {task.result().reply.text for task in tasks} == {"w1 w2 w3 w4 w5 "}


async def test_the_configured_server_answers_else_the_script() -> None:
    scripted = open_model(ModelConfig())
    assert isinstance(scripted, ScriptedModel)
    served = open_model(ModelConfig(model_base_url="http://127.0.0.1:1/v1/"))
    assert isinstance(served, OpenAIModel)
    assert repr(served) == "<OpenAIModel http://127.0.0.1:1/v1/chat/completions>"
    await served.close()


@pytest.mark.parametrize(
    "base_url", ["ftp://127.0.0.1/v1", "127.0.0.1:80", "http://a:b@127.0.0.1", "http://h/?k=1"]
)
def test_an_address_that_is_none_or_holds_a_secret_is_refused(base_url: str) -> None:
    with pytest.raises(ValidationError):
        ModelConfig(model_base_url=base_url)


def test_the_key_is_not_in_the_configurations_text() -> None:
    assert "sk-1" not in repr(ModelConfig(model_api_key=SecretStr("sk-1")))


async def test_the_line_end_of_a_file_is_not_part_of_the_key() -> None:
    async with calling(model_api_key=" sk-1\r\n") as (model, server):
        assert (await call(model, request())).reply.text == "w1 "
    assert server.requests[0].headers["Authorization"] == "Bearer sk-1"


@pytest.mark.parametrize("key", ["sk-1\nsk-2", "sk\x00"])
def test_a_key_that_no_header_holds_is_refused_and_not_told(key: str) -> None:
    with pytest.raises(ValidationError, match="must be one line") as caught:
        ModelConfig(model_api_key=SecretStr(key))
    assert "sk" not in str(caught.value)
