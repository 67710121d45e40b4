"""A model server that answers as the scripted model does, and writes down what it was asked.

Now and then, by a seed, it is as servers of models are: it refuses a call, or hangs up in the
middle of a reply.
"""

import contextlib
import random
import time
from collections.abc import AsyncGenerator
from typing import Final

import orjson
from aiohttp import web

from verify.chaos.service import free_port
from verify.records import Json, ModelCall
from workers.models.config import ModelConfig
from workers.models.protocol import ModelRequest, ReplyItem, TextDelta
from workers.models.scripted import ScriptedModel

REFUSES_RATE: Final = 0.03
CUTS_RATE: Final = 0.03
"""Of calls: those whose reply ends before its end."""
CUT_RATE: Final = 0.3
"""Of the pieces of a reply that is cut: where it ends."""
CHUNK_MS: Final = 2
"""Between two words of a reply that says nothing else."""
REPLY_S_MAX: Final = 60.0


class ModelServer:
    """One server. Made by `open_model`."""

    def __init__(self, seed: int) -> None:
        self.calls: list[ModelCall] = []
        """In the order of arrival."""
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/v1"
        """Where workers find it (CONTEXTD_MODEL_BASE_URL)."""
        self._draw = random.Random(f"model {seed}")
        self._model = ScriptedModel(ModelConfig(scripted_chunk_ms=CHUNK_MS))

    def taken(self) -> list[ModelCall]:
        """The calls since this was asked for the last time."""
        calls, self.calls = self.calls, []
        return calls

    async def complete(self, request: web.Request) -> web.StreamResponse:
        """Answer one call with the events of a stream."""
        key = request.headers["Idempotency-Key"]
        body = await request.json(loads=orjson.loads)
        context_id, _, effect_id = key.partition(":")
        self.calls.append(
            ModelCall(
                context_id=context_id,
                effect_id=effect_id,
                messages=body["messages"],
                at_s=time.monotonic(),
            )
        )
        fate = self._draw.random()
        if fate < REFUSES_RATE:
            raise web.HTTPServiceUnavailable
        asked = ModelRequest(
            model=None,
            messages_json=orjson.dumps(body["messages"]),
            tools=tuple(body.get("tools", ())),
            parameters={},
            idempotency_key=key,
            timeout_s=REPLY_S_MAX,
        )
        response = web.StreamResponse()
        response.content_type = "text/event-stream"
        cut = fate < REFUSES_RATE + CUTS_RATE
        with contextlib.suppress(ConnectionResetError):  # who asked is gone
            await response.prepare(request)
            async with contextlib.aclosing(self._model.stream(asked)) as items:
                async for item in items:
                    if cut and self._draw.random() < CUT_RATE:
                        assert request.transport is not None
                        request.transport.abort()
                        return response
                    await response.write(b"data: %b\n\n" % orjson.dumps(_chunk(item)))
            await response.write(b"data: [DONE]\n\n")
        return response


def _chunk(item: ReplyItem) -> Json:
    """A piece of a reply as the OpenAI chat protocol has it."""
    if isinstance(item, TextDelta):
        return {"choices": [{"index": 0, "delta": {"content": item.text}}]}
    calls = [
        {
            "index": index,
            "id": call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
        }
        for index, call in enumerate(item.tool_calls)
    ]
    choice = {"index": 0, "delta": {"tool_calls": calls}, "finish_reason": item.finish_reason}
    return {"model": item.model, "choices": [choice]}


@contextlib.asynccontextmanager
async def open_model(seed: int) -> AsyncGenerator[ModelServer, None]:
    """A model server for the length of a block."""
    server = ModelServer(seed)
    app = web.Application()
    app.router.add_post("/v1/chat/completions", server.complete)
    runner = web.AppRunner(
        app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", server.port).start()
        yield server
    finally:
        await runner.cleanup()
