"""A model server that speaks the OpenAI chat completions protocol and does as it is told.

What a request gets is its script: the JSON after `!mock ` in its last user message, else
the `Mock-Script` header, else the server's default. Run it alone with
`python -m tests.support.model_server --port 8009`.
"""

import argparse
import asyncio
import contextlib
import sys
from collections import Counter, deque
from collections.abc import AsyncGenerator, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

import orjson
import uvloop
from aiohttp import web
from pydantic import BaseModel, JsonValue

MARK = b"!mock "
REQUESTS_KEPT_MAX = 1_000
BODY_BYTES_MAX = 64 * 1024 * 1024


class ScriptedCall(BaseModel, frozen=True, extra="forbid"):
    name: str
    arguments: str = "{}"
    id: str | None = None


class Script(BaseModel, frozen=True, extra="forbid"):
    """What one request gets. Counts of chunks are counts of text chunks."""

    chunks: int = 1
    text: str | None = None
    """Split into `chunks` pieces; None: the words `w1 w2 ...`, one a chunk."""
    first_delay_ms: int = 0
    delay_ms: int = 0
    end_delay_ms: int = 0
    """Between `[DONE]` and the end of the body."""
    tool_calls: tuple[ScriptedCall, ...] = ()
    finish_reason: str | None = None
    """None: `tool_calls` where there are any, else `stop`."""
    status: int = 200
    retry_after: str | None = None
    message: str = "made to fail"
    error_code: str | None = None
    fail_times: int | None = None
    """`status` holds for the first so many requests under one Idempotency-Key only."""
    hang_after: int | None = None
    """Nothing more comes after so many chunks; -1: not even the head of the answer."""
    cut_after: int | None = None
    """The connection is reset."""
    end_after: int | None = None
    """The body ends as if all were well, but without a finish reason."""
    malformed_after: int | None = None
    error_after: int | None = None
    """An error object comes inside the stream."""
    done: bool = True
    """Whether `[DONE]` is sent."""
    line_end: Literal["\n", "\r\n", "\r"] = "\n"
    content_type: str = "text/event-stream"

    @property
    def pieces(self) -> tuple[str, ...]:
        if self.tool_calls and self.text is None:
            return ()
        if self.text is None:
            return tuple(f"w{number} " for number in range(1, self.chunks + 1))
        size = max(1, -(-len(self.text) // max(self.chunks, 1)))
        return tuple(self.text[at : at + size] for at in range(0, len(self.text), size))

    @property
    def whole_text(self) -> str:
        return "".join(self.pieces)

    @property
    def calls_finish_reason(self) -> str:
        return self.finish_reason or ("tool_calls" if self.tool_calls else "stop")

    @property
    def is_plain(self) -> bool:
        """The answer can be prepared and written at once."""
        breaks = (
            self.hang_after,
            self.cut_after,
            self.end_after,
            self.malformed_after,
            self.error_after,
        )
        return not (self.first_delay_ms or self.delay_ms or self.end_delay_ms) and breaks == (
            None,
        ) * len(breaks)

    def in_message(self) -> str:
        """Text of a user message that asks for this script."""
        return f"!mock {self.model_dump_json(exclude_defaults=True)}"


@dataclass(slots=True)
class Received:
    """One request, and whether its client went away before the answer's end."""

    headers: Mapping[str, str]
    body: dict[str, JsonValue]
    peer: tuple[str, int]
    """Address and port of the client: the same for requests on one connection."""
    abandoned: asyncio.Event = field(default_factory=asyncio.Event)
    answered: asyncio.Event = field(default_factory=asyncio.Event)


class ModelServer:
    """The server's application and what it has seen."""

    def __init__(
        self, default: Script | None = None, *, records: bool = True, api_key: str | None = None
    ) -> None:
        self.default = default or Script()
        self.requests: deque[Received] = deque(maxlen=REQUESTS_KEPT_MAX)
        self._records = records
        self._api_key = api_key
        self._failures: Counter[str] = Counter()
        self._arrived = asyncio.Event()

    async def received(self, count: int) -> Received:
        """Wait until `count` requests have arrived, and return the last of them."""
        while len(self.requests) < count:
            self._arrived.clear()
            await self._arrived.wait()
        return self.requests[count - 1]

    def application(self) -> web.Application:
        application = web.Application(client_max_size=BODY_BYTES_MAX)
        application.router.add_post("/v1/chat/completions", self._complete)
        application.router.add_get("/v1/models", self._models)
        return application

    @contextlib.asynccontextmanager
    async def running(self, *, host: str = "127.0.0.1", port: int = 0) -> AsyncGenerator[str]:
        """Serve, and give out the base URL (with `/v1`)."""
        runner = web.AppRunner(
            self.application(), access_log=None, handler_cancellation=True, shutdown_timeout=0.1
        )
        await runner.setup()
        try:
            site = web.TCPSite(runner, host, port)
            await site.start()
            yield f"http://{host}:{runner.addresses[0][1]}/v1"
        finally:
            await runner.cleanup()

    async def _models(self, request: web.Request) -> web.Response:
        if (refusal := self._unauthorized(request)) is not None:
            return refusal
        entry = {"id": "mock", "object": "model", "created": 0, "owned_by": "tests"}
        return _json({"object": "list", "data": [entry]})

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        if (refusal := self._unauthorized(request)) is not None:
            return refusal
        if not self._records and MARK not in raw and "Mock-Script" not in request.headers:
            # The cheap way, for benches: the body is not decoded.
            return await self._answer(
                request,
                self.default,
                streams=b'"stream":true' in raw,
                with_usage=b'"include_usage":true' in raw,
            )
        body: dict[str, JsonValue] = orjson.loads(raw)
        assert request.transport is not None
        peer: tuple[str, int] = request.transport.get_extra_info("peername")[:2]
        received = Received(request.headers.copy(), body, peer)
        if self._records:
            self.requests.append(received)
            self._arrived.set()
        script = self._script(request, body)
        key = request.headers.get("Idempotency-Key", "")
        if script.status != 200:
            self._failures[key] += 1
            if script.fail_times is None or self._failures[key] <= script.fail_times:
                return _failure(script)
        options = body.get("stream_options")
        with_usage = isinstance(options, dict) and options.get("include_usage") is True
        try:
            response = await self._answer(
                request, script, streams=body.get("stream") is True, with_usage=with_usage
            )
        except (asyncio.CancelledError, ConnectionError):
            received.abandoned.set()
            raise
        received.answered.set()
        return response

    def _unauthorized(self, request: web.Request) -> web.Response | None:
        given = request.headers.get("Authorization")
        if self._api_key is None or given == f"Bearer {self._api_key}":
            return None
        # Like the real ones, it says the key back.
        error = {"message": f"Incorrect API key: {given}", "code": "invalid_api_key"}
        return _json({"error": error}, status=401)

    def _script(self, request: web.Request, body: dict[str, JsonValue]) -> Script:
        said = _last_user_text(body).encode()
        if MARK in said:
            return Script.model_validate_json(said.partition(MARK)[2].splitlines()[0])
        if (header := request.headers.get("Mock-Script")) is not None:
            return Script.model_validate_json(header)
        return self.default

    async def _answer(
        self, request: web.Request, script: Script, *, streams: bool, with_usage: bool
    ) -> web.StreamResponse:
        if not streams:
            return _json(_completion(script))
        if script.is_plain:
            return web.Response(
                body=_prepared(script, with_usage), content_type=script.content_type
            )
        return await _stream(request, script, with_usage=with_usage)


async def _stream(
    request: web.Request, script: Script, *, with_usage: bool
) -> web.StreamResponse:
    """Answer piece by piece, with the pauses and accidents of the script."""
    if script.hang_after == -1:
        await asyncio.Event().wait()
    response = web.StreamResponse(headers={"Content-Type": script.content_type})
    await response.prepare(request)
    clock = asyncio.get_running_loop().time
    # Moments, not pauses: lateness must not add up.
    due_s = clock() + script.first_delay_ms / 1000
    frames = list(_text_frames(script))
    for number in range(len(frames) + 1):
        if number == script.hang_after:
            await asyncio.Event().wait()
        if number == script.cut_after:
            if request.transport is not None:
                request.transport.abort()
            return response
        if number == script.end_after:
            return response
        if number == script.malformed_after:
            await response.write(b'data: {"choices": [{"delta\n\n')
        if number == script.error_after:
            error = {"message": script.message, "code": script.error_code}
            await response.write(_frame({"error": error}, script))
            return response
        if number < len(frames):
            if (pause_s := due_s - clock()) > 0:
                await asyncio.sleep(pause_s)
            await response.write(frames[number])
            due_s += script.delay_ms / 1000
    for frame in _last_frames(script, with_usage=with_usage):
        await response.write(frame)
    await asyncio.sleep(script.end_delay_ms / 1000)
    await response.write_eof()
    return response


@lru_cache(maxsize=256)
def _prepared(script: Script, with_usage: bool) -> bytes:
    return b"".join([*_text_frames(script), *_last_frames(script, with_usage=with_usage)])


def _text_frames(script: Script) -> Iterator[bytes]:
    for number, piece in enumerate(script.pieces):
        delta: dict[str, JsonValue] = {"content": piece}
        if number == 0:
            delta["role"] = "assistant"
        yield _frame(_chunk([{"index": 0, "delta": delta, "finish_reason": None}]), script)


def _last_frames(script: Script, *, with_usage: bool) -> Iterator[bytes]:
    """Tool calls in pieces, the finish reason, the usage, and [DONE]."""
    for index, call in enumerate(script.tool_calls):
        half = len(call.arguments) // 2
        opened: dict[str, JsonValue] = {
            "index": index,
            "id": call.id or f"call_{index}",
            "type": "function",
            "function": {"name": call.name, "arguments": ""},
        }
        first: JsonValue = {"index": index, "function": {"arguments": call.arguments[:half]}}
        second: JsonValue = {"index": index, "function": {"arguments": call.arguments[half:]}}
        for piece in (opened, first, second):
            delta: dict[str, JsonValue] = {"tool_calls": [piece]}
            yield _frame(_chunk([{"index": 0, "delta": delta, "finish_reason": None}]), script)
    ended: dict[str, JsonValue] = {
        "index": 0,
        "delta": {},
        "finish_reason": script.calls_finish_reason,
    }
    yield _frame(_chunk([ended]), script)
    if with_usage:
        yield _frame({**_chunk([]), "usage": _usage(script)}, script)
    if script.done:
        yield f"data: [DONE]{script.line_end * 2}".encode()


def _frame(
    value: dict[str, JsonValue] | dict[str, dict[str, str | None]], script: Script
) -> bytes:
    end = script.line_end.encode()
    return b"data: " + orjson.dumps(value) + end + end


def _chunk(choices: list[dict[str, JsonValue]]) -> dict[str, JsonValue]:
    return {
        "id": "chatcmpl-mock",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": "mock",
        "choices": [*choices],
    }


def _usage(script: Script) -> dict[str, JsonValue]:
    count = len(script.pieces)
    return {"prompt_tokens": 7, "completion_tokens": count, "total_tokens": 7 + count}


def _completion(script: Script) -> dict[str, JsonValue]:
    calls: list[JsonValue] = [
        {
            "id": call.id or f"call_{index}",
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
        }
        for index, call in enumerate(script.tool_calls)
    ]
    message: dict[str, JsonValue] = {"role": "assistant", "content": script.whole_text or None}
    if calls:
        message["tool_calls"] = calls
    choice: dict[str, JsonValue] = {
        "index": 0,
        "message": message,
        "finish_reason": script.calls_finish_reason,
    }
    return {
        "id": "chatcmpl-mock",
        "object": "chat.completion",
        "created": 0,
        "model": "mock",
        "choices": [choice],
        "usage": _usage(script),
    }


def _failure(script: Script) -> web.Response:
    headers = {} if script.retry_after is None else {"Retry-After": script.retry_after}
    if 300 <= script.status <= 399:
        headers["Location"] = "/v1/models"
    error = {"message": script.message, "type": "mock", "code": script.error_code}
    return _json({"error": error}, status=script.status, headers=headers)


def _json(
    value: object, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    return web.Response(
        body=orjson.dumps(value),
        status=status,
        headers=headers,
        content_type="application/json",
    )


def _last_user_text(body: dict[str, JsonValue]) -> str:
    messages = body.get("messages")
    for message in reversed(messages if isinstance(messages, list) else []):
        match message:
            case {"role": "user", "content": str(content)}:
                return content
            case {"role": "user", "content": [{"type": "text", "text": str(text)}, *_]}:
                return text
            case _:
                continue
    return ""


async def _serve(arguments: argparse.Namespace) -> None:
    default = Script(
        chunks=arguments.chunks, delay_ms=arguments.delay_ms, first_delay_ms=arguments.delay_ms
    )
    server = ModelServer(default, records=False, api_key=arguments.api_key)
    async with server.running(host=arguments.host, port=arguments.port) as base_url:
        sys.stdout.write(f"{base_url}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any free one; it is printed")
    parser.add_argument("--chunks", type=int, default=1)
    parser.add_argument("--delay-ms", type=int, default=0, help="between two chunks")
    parser.add_argument("--api-key", default=None)
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()
