"""What tests are sent, held to what AsyncAPI says of it."""

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import aiohttp
import jsonschema_rs
import orjson
from typing_extensions import override

from dashboard.sockets import PERSONAL
from gateway.asyncapi import describe_channels
from gateway.channels import CHANNELS
from runtime.dashboard import SOCKET_PATH
from runtime.dashboard_channel import dashboard_channel

Json: TypeAlias = Any
"""What was sent; the schema knows what it is."""

DESCRIBED: Final = (*CHANNELS, dashboard_channel(SOCKET_PATH))
_CHANNELS: Final = tuple(
    (channel.name, re.compile(re.sub(r"\{\w+\}", "[^/]+", channel.address)))
    for channel in DESCRIBED
    if channel.address is not None
)
_ALIASES: Final = (("/v1/contexts", "/api/contexts"), ("/admin/ws", "/api/v1/ws"))


@functools.cache
def _document() -> Mapping[str, Json]:
    return describe_channels(DESCRIBED)


@functools.cache
def _holds(channel: str, message: str, part: str) -> Callable[[Json], None]:
    """What fails unless a part of a message is what is described."""
    messages = _document()["channels"][channel]["messages"]
    assert message in messages, f"{channel} does not tell of {message}"
    if part not in messages[message]:
        return lambda _: None
    pointer = f"#/channels/{channel}/messages/{message}/{part}"
    schema = {**_document(), "allOf": [{"$ref": pointer}]}
    return jsonschema_rs.Draft7Validator(schema).validate


def hold_message(channel: str, message: str, payload: Json) -> None:
    """Fail unless a message is as its channel says."""
    _holds(channel, message, "payload")(payload)


def hold_event(path: str, fields: Mapping[str, str], data: Json) -> None:
    """Fail unless a server-sent event of an address of ours is described."""
    if (channel := _channel_at(path)) is not None:
        hold_message(channel, fields["event"], data)
        _holds(channel, fields["event"], "headers")(
            {name: value for name, value in fields.items() if name != "data"}
        )


def hold_frame(path: str, frame: Json) -> None:
    """Fail unless a WebSocket message from an address of ours is described."""
    channel = _channel_at(path)
    if channel == "contextSocket":
        hold_message(channel, frame["event"], frame)
    elif channel is not None:
        kind, data = frame["type"], frame["data"]
        name = f"{kind}-{data['kind']}" if kind == PERSONAL else kind
        hold_message(channel, name, frame)


def _channel_at(path: str) -> str | None:
    """The channel of an address, or of an alias; others' formats are not ours."""
    for alias, address in _ALIASES:
        if path.startswith(alias):
            path = address + path.removeprefix(alias)
    names = (name for name, address in _CHANNELS if address.fullmatch(path))
    return next(names, None)


class DescribedSocket(aiohttp.ClientWebSocketResponse):
    """A WebSocket whose every message is held to its description."""

    @override
    async def receive(self, timeout: float | None = None) -> aiohttp.WSMessage:
        message = await super().receive(timeout)
        if message.type is aiohttp.WSMsgType.TEXT:
            hold_frame(self._response.url.path, orjson.loads(message.data))
        return message
