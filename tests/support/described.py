"""What tests are sent, held to what AsyncAPI says of it."""

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import aiohttp
import jsonschema_rs
import orjson
from typing_extensions import override

from gateway.asyncapi import describe_channels
from gateway.channels import CHANNELS

Json: TypeAlias = Any
"""What was sent; the schema knows what it is."""

_CHANNELS: Final = tuple(
    (channel.name, re.compile(re.sub(r"\{\w+\}", "[^/]+", channel.address)))
    for channel in CHANNELS
    if channel.address is not None
)


@functools.cache
def _document() -> Mapping[str, Json]:
    return describe_channels(CHANNELS)


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
    for channel, address in _CHANNELS:
        if address.fullmatch(path.replace("/v1/contexts", "/api/contexts")):
            hold_message(channel, fields["event"], data)
            _holds(channel, fields["event"], "headers")(
                {name: value for name, value in fields.items() if name != "data"}
            )


class DescribedSocket(aiohttp.ClientWebSocketResponse):
    """A WebSocket of a context whose every message is held to its description."""

    @override
    async def receive(self, timeout: float | None = None) -> aiohttp.WSMessage:
        message = await super().receive(timeout)
        if message.type is aiohttp.WSMsgType.TEXT:
            frame = orjson.loads(message.data)
            if "event" in frame:
                hold_message("contextSocket", frame["event"], frame)
        return message
