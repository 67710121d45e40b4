"""A dashboard as a program: what it is told, in order."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson
from pydantic import TypeAdapter

from dashboard.messages import ANNOUNCED, ConnectionAck, Personal
from dashboard.views import Stats
from tests.support.service import WITHIN_S, Client, Json

CLOSE = aiohttp.WSMsgType.CLOSE
PATH = "/api/v1/ws/dashboard"
_PERSONAL: TypeAdapter[object] = TypeAdapter(Personal)


@dataclass(slots=True)
class Viewer:
    """One connection."""

    socket: aiohttp.ClientWebSocketResponse
    taken: list[Json] = field(default_factory=list[Json])
    """All messages so far."""

    @property
    def announced(self) -> list[Json]:
        """Announcements so far."""
        return [message for message in self.taken if message["type"] in ANNOUNCED]

    async def say(self, **message: object) -> None:
        """Send a message."""
        await self.socket.send_str(orjson.dumps(message).decode())

    async def next(self) -> Json:
        """The next message, held to its model."""
        async with asyncio.timeout(WITHIN_S):
            received = await self.socket.receive()
        assert received.type is aiohttp.WSMsgType.TEXT, (received, self.socket.close_code)
        message: Json = orjson.loads(received.data)
        hold_to_model(message)
        self.taken.append(message)
        return message

    async def until(self, holds: Callable[[Json], bool]) -> Json:
        """The first message from now on that is what is waited for."""
        async with asyncio.timeout(WITHIN_S):
            while not holds(message := await self.next()):
                pass
        return message

    async def until_type(self, kind: str) -> Json:
        """The first message of a type from now on."""
        return await self.until(lambda message: message["type"] == kind)

    async def closed(self) -> int:
        """The code that the server closes it with, once it does."""
        async with asyncio.timeout(WITHIN_S):
            while (received := await self.socket.receive()).type is not CLOSE:
                assert received.type is aiohttp.WSMsgType.TEXT, received
        code: int = received.data
        return code


def private(owner: object, name: str) -> Any:
    """What only a test looks into."""
    return getattr(owner, name)


def hold_to_model(message: Json) -> None:
    """Fail unless a message is what its model says, no field more or less."""
    assert set(message) == {"type", "data", "timestamp", "seq"}, message
    kind, data = message["type"], orjson.dumps(message["data"])
    match kind:
        case "connection_ack":
            ConnectionAck.model_validate_json(data, strict=True)
        case "stats_update":
            Stats.model_validate_json(data, strict=True)
        case "personal":
            _PERSONAL.validate_json(data, strict=True)
        case _:
            ANNOUNCED[kind].model_validate_json(data, strict=True)
            assert "type" not in message["data"]


@contextlib.asynccontextmanager
async def watching(
    client: Client, *, path: str = PATH, resume: int | None = None, **headers: str
) -> AsyncGenerator[Viewer, None]:
    """A dashboard for the length of a block, acknowledged, perhaps resumed behind a number."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with client.session.ws_connect(
        client.url + path, headers={**client.credential, **named}, max_msg_size=0
    ) as socket:
        viewer = Viewer(socket)
        assert (await viewer.next())["type"] == "connection_ack"
        if resume is not None:
            await viewer.say(type="resume", seq=resume)
        yield viewer
