"""The tests' model server as a process that tells what it was asked (`GET /requests`).

A round of tool results is answered with text, so that a conversation with tools ends as
one with a real model does. Run as `python -m tests.e2e.recording_model`.
"""

import asyncio
import sys

import orjson
import uvloop
from aiohttp import web
from pydantic import JsonValue
from typing_extensions import override

from tests.support.model_server import ModelServer, Script


class RecordingModel(ModelServer):
    """Keeps every request, and knows when the tools have answered."""

    @override
    def application(self) -> web.Application:
        application = super().application()
        application.router.add_get("/requests", self._recorded)
        return application

    async def _recorded(self, _request: web.Request) -> web.Response:
        bodies = [received.body for received in self.requests]
        return web.Response(body=orjson.dumps(bodies), content_type="application/json")

    @override
    def _script(self, request: web.Request, body: dict[str, JsonValue]) -> Script:
        messages = body["messages"]
        assert isinstance(messages, list)
        match messages[-1]:
            case {"role": "tool", "content": str(content)}:
                return Script(text=f"The tool said {content}", chunks=3)
            case _:
                return super()._script(request, body)


async def _serve() -> None:
    async with RecordingModel().running() as base_url:
        sys.stdout.write(f"{base_url}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_serve())
