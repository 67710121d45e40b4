"""A contextd of one context whose replies the test writes: the wire, without the machine."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

Json = dict[str, Any]  # the wire, as the test writes it


@dataclass(slots=True)
class FakeContextd:
    """Serves `log` to anybody, from any cursor, and cuts streams where `cuts` says."""

    view: Json = field(
        default_factory=lambda: {
            "id": "c1",
            "title": "",
            "status": "idle",
            "version": 1,
            "cursor": "e.0.0",
            "messages": [],
            "draft": None,
            "pending_tool_calls": [],
            "error": None,
        }
    )
    log: list[tuple[str, Json]] = field(default_factory=list[tuple[str, Json]])
    """Event and data; the cursor is the number of frames."""
    cuts: set[int] = field(default_factory=set[int])
    """The stream is cut, once each, after so many frames of the log."""
    actions: list[tuple[str, str, Json]] = field(default_factory=list[tuple[str, str, Json]])
    """Action, idempotency key, body."""
    resumed_from: list[str] = field(default_factory=list[str])
    fail_next: list[int] = field(default_factory=list[int])
    """Status codes for the next actions: answered after the action was taken."""
    keys: list[str | None] = field(default_factory=list[str | None])
    grown: asyncio.Condition = field(default_factory=asyncio.Condition)
    on_message: "list[list[tuple[str, Json]]]" = field(
        default_factory=list[list[tuple[str, Json]]]
    )
    """What each next message leads to."""

    def app(self) -> web.Application:
        app = web.Application()
        app.add_routes(
            [
                web.post("/api/contexts", self._state),
                web.get("/api/contexts", self._list),
                web.get("/api/contexts/{id}/state", self._state),
                web.post("/api/contexts/{id}/actions/{action}", self._act),
                web.get("/api/contexts/{id}/events", self._events),
            ]
        )
        return app

    @asynccontextmanager
    async def served(self) -> AsyncGenerator[str, None]:
        runner = web.AppRunner(self.app(), shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()

    async def happen(self, event: str, data: Json) -> None:
        async with self.grown:
            self.log.append((event, data))
            self.grown.notify_all()

    async def _state(self, request: web.Request) -> web.Response:
        self.keys.append(request.headers.get("Authorization"))
        return self._answer()

    def _said(self, message_id: str, data: Json) -> None:
        message = {"id": message_id, "role": "user", "content": data["content"]}
        ours = data.get("client_message_id")
        self.view["messages"].append({**message, "client_message_id": ours})

    def _answer(self) -> web.Response:
        body = {"context": self.view, "status": self.view["status"], "version": 1, "new": 1}
        return web.Response(body=orjson.dumps(body), content_type="application/json")

    async def _list(self, _request: web.Request) -> web.Response:
        return web.json_response({"contexts": [{"id": "c1", "title": "x"}]})

    async def _act(self, request: web.Request) -> web.Response:
        action, key = request.match_info["action"], request.headers["Idempotency-Key"]
        body: Json = orjson.loads(await request.read())
        repeated = any(key == known for _, known, _ in self.actions)
        self.actions.append((action, key, body))
        if not repeated and action == "send_message":
            self._said(f"u{len(self.actions)}", body)
        if not repeated and action in {"send_message", "approve_tools", "answer", "retry"}:
            self.view["status"] = "streaming_llm_response"
            self.view["cursor"] = f"e.{len(self.log)}.0"
            for event, data in self.on_message.pop(0):
                if event == "view":
                    self.view |= data
                else:
                    await self.happen(event, data)
        if self.fail_next:
            status = self.fail_next.pop(0)
            problem = {"title": "no", "detail": "Not now.", "status": status}
            return web.json_response(problem, status=status)
        return self._answer()

    async def _events(self, request: web.Request) -> web.StreamResponse:
        cursor = request.headers["Last-Event-ID"]
        self.resumed_from.append(cursor)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"retry: 10\n\n")
        sent = int(cursor.split(".")[1])
        while True:
            async with self.grown:
                await self.grown.wait_for(lambda: len(self.log) > sent)  # noqa: B023 - asked at once
            while sent < len(self.log):
                event, data = self.log[sent]
                sent += 1
                shown = orjson.dumps({"at_ms": 0, **data}).decode()
                frame = f"id: e.{sent}.0\nevent: {event}\ndata: {shown}\n\n"
                await response.write(frame.encode())
                if sent in self.cuts:
                    self.cuts.discard(sent)
                    assert request.transport is not None
                    request.transport.abort()
                    return response
                if event == "message-received":
                    self._said(f"log-{sent}", data)
                if event == "reply-ended":
                    self.view["status"] = data.get("then", "idle")
                    message = {"id": data["message_id"], "content": data["text"]}
                    self.view["messages"].append({**message, "role": "assistant"})
