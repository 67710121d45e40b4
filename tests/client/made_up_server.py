"""A server whose every answer the test writes: what contextd says only in bad weather."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field

import orjson
from aiohttp import web

Reply = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class MadeUpServer:
    """Gives the next of `replies` to whatever is asked; the last one again and again."""

    replies: list[Reply]
    asked: list[Asked] = field(default_factory=list[Asked])

    @contextlib.asynccontextmanager
    async def served(self) -> AsyncGenerator[str, None]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._reply)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()

    async def _reply(self, request: web.Request) -> web.StreamResponse:
        headers = dict(request.headers)
        self.asked.append(Asked(request.method, request.path_qs, headers, await request.read()))
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        return await reply(request)


def says(status: int, body: object, **headers: str) -> Reply:
    """An answer of JSON; header names have underscores for dashes."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    async def reply(_request: web.Request) -> web.StreamResponse:
        return web.Response(
            status=status,
            body=orjson.dumps(body),
            headers=named,
            content_type="application/json" if status < 400 else "application/problem+json",
        )

    return reply


def problem(status: int, name: str, **more: object) -> Reply:
    """A problem as contextd words them."""
    document = {"type": f"/problems/{name}", "title": "No", "status": status, "detail": "No."}
    return says(status, {**document, **more})


def state(**more: object) -> dict[str, object]:
    """A context's state, as far as clients need it."""
    return {"id": "c1", "status": "idle", "version": 1, "cursor": "1.1.0", **more}


def acted(**more: object) -> Reply:
    """An action was applied."""
    action = {"id": "c1.1", "result": "applied", "version": 1}
    return says(200, {"context": state(**more), "action": action})


async def cut(request: web.Request) -> web.StreamResponse:
    """No answer: the connection is cut."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def streams(*frames: bytes, hangs: bool = False) -> Reply:
    """A stream of these frames, which ends, or says nothing more."""

    async def reply(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"".join(frames))
        if hangs:
            await asyncio.Event().wait()  # until the server ends
        return response

    return reply


def frame(event: str, data: object, *, id: str = "") -> bytes:  # noqa: A002 - its name in SSE
    """One server-sent event."""
    head = f"id: {id}\n" if id else ""
    return f"{head}event: {event}\ndata: {orjson.dumps(data).decode()}\n\n".encode()


HELLO = frame("hello", {"epoch": "1", "cursor": "1.1.0", "resumed": True})
SNAPSHOT = frame("snapshot", state(), id="1.1.0")
