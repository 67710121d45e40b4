"""The AsyncAPI 3.0 description, made of the channels and the models that senders use."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, cast

from pydantic.json_schema import JsonSchemaMode, JsonSchemaValue

from gateway.channel import Channel, Message
from gateway.openapi import Json, own_version, schemas_of
from gateway.parameters import CURSOR_SCHEMA, ID_SCHEMA

if TYPE_CHECKING:
    from pydantic import BaseModel

_INTRODUCTION: Final = (
    "What contextd sends by itself: server-sent events, WebSocket messages and webhooks. Seen "
    "from contextd: it sends what clients are shown, and receives what they say. /openapi.json "
    "describes requests and their answers."
)
_WEBHOOK_HEADERS: Final = ("webhook-id", "webhook-timestamp", "webhook-signature")


def describe_channels(channels: Sequence[Channel]) -> Json:
    """The document for these channels."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "contextd",
            "version": own_version(),
            "description": _INTRODUCTION,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {channel.name: _channel(channel) for channel in channels},
        "operations": {
            name: operation for channel in channels for name, operation in _operations(channel)
        },
        "components": {
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key, `ctxd_...` (`contextd keys create`).",
                }
            },
            "schemas": _schemas(channels),
        },
    }


def _channel(channel: Channel) -> Json:
    shown: Json = {
        "address": channel.address,
        "title": channel.title,
        "description": channel.description,
        "messages": {message.name: _message(channel, message) for message in channel.messages},
    }
    if channel.address is not None and "{id}" in channel.address:
        shown["parameters"] = {"id": {"description": "Id of the context."}}
    if channel.protocol == "ws":
        shown["bindings"] = {
            "ws": {
                "method": channel.method,
                "query": _query(channel),
                "bindingVersion": "0.1.0",
            }
        }
    return shown


def _operations(channel: Channel) -> Iterable[tuple[str, Json]]:
    """What contextd does there: an operation for each direction."""
    for verb, action, by_client in (("show", "send", False), ("hear", "receive", True)):
        names = [each.name for each in channel.messages if each.by_client is by_client]
        if not names:
            continue
        at = f"#/channels/{channel.name}"
        operation: Json = {
            "action": action,
            "channel": {"$ref": at},
            "title": channel.title,
            "messages": [{"$ref": f"{at}/messages/{name}"} for name in names],
        }
        if channel.is_guarded:
            operation["security"] = [{"$ref": "#/components/securitySchemes/key"}]
        if channel.protocol == "http":
            binding: Json = {"method": channel.method, "bindingVersion": "0.3.0"}
            if channel.query:
                binding["query"] = _query(channel)
            operation["bindings"] = {"http": binding}
        yield f"{verb}.{channel.name}", operation


def _message(channel: Channel, message: Message) -> Json:
    shown: Json = {
        "name": message.name,
        "contentType": "application/json",
        "payload": _payload(message),
    }
    if message.envelope in {"event", "event-of-many"}:
        shown["headers"] = _event_headers(message)
    if channel.address is None:
        shown["headers"] = _object({name: {"type": "string"} for name in _WEBHOOK_HEADERS})
    return shown


def _payload(message: Message) -> Json:
    data: Json = {"$ref": f"#/components/schemas/{message.model.__name__}"}
    kind: Json = {"const": message.kind}
    match message.envelope:
        case "none" | "event":
            return data
        case "event-of-many":
            return _object({"context_id": ID_SCHEMA, "cursor": CURSOR_SCHEMA, "data": data})
        case "frame":
            return _object({"id": {"type": "string"}, "event": kind, "data": data})
        case "numbered":
            numbered: Json = {"timestamp": {"type": "string"}, "seq": {"type": "integer"}}
            return _object({"type": kind, "data": data, **numbered})


def _event_headers(message: Message) -> Json:
    """The other fields of a server-sent event."""
    fields: Json = {"event": {"const": message.kind}, "id": {"type": "string"}}
    return {"type": "object", "properties": fields, "required": ["event"]}


def _object(properties: Json) -> Json:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _query(channel: Channel) -> Json:
    properties = {
        parameter.name: {**parameter.schema, "description": parameter.description}
        for parameter in channel.query
    }
    return {"type": "object", "properties": properties}


def _schemas(channels: Sequence[Channel]) -> Mapping[str, JsonSchemaValue]:
    modes: dict[type[BaseModel], JsonSchemaMode] = {
        message.model: "validation" if message.by_client else "serialization"
        for channel in channels
        for message in channel.messages
    }
    schemas = schemas_of(modes)
    for schema in schemas.values():
        for part in _parts(schema):
            part.pop("discriminator", None)  # OpenAPI's; AsyncAPI means a string by it
    return dict(sorted(schemas.items()))


def _parts(schema: object) -> Iterator[Json]:
    """A schema and all schemas in it."""
    if isinstance(schema, dict):
        found = cast("Json", schema)
        yield found
        for value in found.values():
            yield from _parts(value)
    elif isinstance(schema, list):
        for value in cast("list[object]", schema):
            yield from _parts(value)
