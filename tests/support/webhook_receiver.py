"""A webhook's other end on a real socket: it checks every signature and keeps what it took.

It knows none of the product's code: what it checks is what Standard Webhooks and CloudEvents
say.
"""

import asyncio
import base64
import contextlib
import hashlib
import hmac
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import orjson
from aiohttp import web

Json: TypeAlias = Any
"""What was sent: it is asserted on, key by key."""

KEY: Final = bytes(range(32))
SECRET: Final = f"whsec_{base64.b64encode(KEY).decode()}"
HEARD_S_MAX: Final = 20.0


@dataclass(frozen=True, slots=True)
class Delivery:
    """One request."""

    id: str
    at_s: int
    body: bytes
    status: int
    """What it was answered with."""

    @property
    def event(self) -> Json:
        return orjson.loads(self.body)

    @property
    def kind(self) -> str:
        name: str = self.event["type"]
        return name.removeprefix("contextd.")


@dataclass
class Receiver:
    """Takes webhooks; answers 204 but for the statuses that a test has put down."""

    port: int
    statuses: deque[int] = field(default_factory=deque[int])
    usual: int = 204
    """Once `statuses` are used up."""
    hangs: bool = False
    deliveries: list[Delivery] = field(default_factory=list[Delivery])
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def taken(self) -> list[Delivery]:
        """What was answered 2xx, in order."""
        return [one for one in self.deliveries if 200 <= one.status < 300]

    def taken_of(self, context_id: str) -> list[Delivery]:
        """What was taken of one context."""
        return [one for one in self.taken if one.id.startswith(context_id)]

    async def until(self, count: int, *, taken: bool = True) -> list[Delivery]:
        """Wait for so many requests, those alone that were taken unless told."""
        async with asyncio.timeout(HEARD_S_MAX):
            while len(found := self.taken if taken else self.deliveries) < count:
                self._changed.clear()
                await self._changed.wait()
        return found

    async def until_kinds(self, context_id: str, *kinds: str) -> list[Delivery]:
        """Wait until so many kinds were taken of a context, and hold them to these."""
        async with asyncio.timeout(HEARD_S_MAX):
            while len(found := self.taken_of(context_id)) < len(kinds):
                self._changed.clear()
                await self._changed.wait()
        assert [one.kind for one in found] == [*kinds]
        return found

    async def _take(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if self.hangs:
            await asyncio.Event().wait()
        status = self.statuses.popleft() if self.statuses else self.usual
        delivery = Delivery(
            request.headers["webhook-id"],
            int(request.headers["webhook-timestamp"]),
            body,
            status,
        )
        signed = f"{delivery.id}.{delivery.at_s}.".encode() + body
        mac = base64.b64encode(hmac.digest(KEY, signed, hashlib.sha256)).decode()
        assert request.headers["webhook-signature"] == f"v1,{mac}"
        assert request.content_type == "application/cloudevents+json"
        event = delivery.event
        assert (event["specversion"], event["id"]) == ("1.0", delivery.id)
        assert event["source"].startswith("/api/contexts/")
        self.deliveries.append(delivery)
        self._changed.set()
        headers = {"Location": "/elsewhere"} if 300 <= status < 400 else {}
        return web.Response(status=status, headers=headers)

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncGenerator["Receiver", None]:
        """Listen for the length of a block; afterwards connections are refused."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._take)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.port, reuse_address=True).start()
        try:
            yield self
        finally:
            await runner.cleanup()
