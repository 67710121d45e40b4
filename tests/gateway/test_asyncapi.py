"""What AsyncAPI says of streams, sockets and webhooks is complete, well-formed and true.

Every event and frame that any test of the gateway is sent is held to it (tests/support/).
"""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import jsonschema_rs
import orjson
import pytest
from pydantic import BaseModel

from fsm import EVENT_TYPES
from gateway import Channel, Extension, Message
from gateway.bodies import SocketAction
from gateway.channels import CHANNELS
from gateway.openai.errors import speaks_openai
from gateway.routes import ROUTES
from runtime.dashboard import SOCKET_PATH, dashboard
from runtime.settings import load_settings
from tests.support.described import DESCRIBED, hold_event, hold_frame, hold_message
from tests.support.service import WITHIN_S, Json, serving
from tests.support.service_processes import ROOT, free_port
from tests.support.webhook_receiver import SECRET, Receiver

OFFICIAL = "node_modules/@asyncapi/specs/schemas/3.0.0-without-$id.json"
OWN_FRAMES = {"hello", "snapshot", "reply-delta", "reset", "bye"}
CURSOR = "1.2.0"


async def fetch(store_url: str, *extensions: Extension) -> Json:
    async with serving(store_url, workers=0, extensions=lambda _: extensions) as service:
        answer = await service.client.get("/asyncapi.json")
        assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
        again = await service.client.get("/asyncapi.json", If_None_Match=answer.headers["ETag"])
        assert (again.status, again.body) == (304, b"")
        return answer.json


def references(part: Json) -> Iterator[str]:
    """Every `$ref` in a document."""
    items: Json = part
    if isinstance(part, dict):
        for name, value in cast("dict[str, Json]", part).items():
            if name == "$ref":
                yield value
            else:
                yield from references(value)
    elif isinstance(part, list):
        for value in items:
            yield from references(value)


def found(document: Json, reference: str) -> Json:
    """What a reference leads to."""
    for name in reference.removeprefix("#/").split("/"):
        document = document[name]
    return document


async def test_it_is_asyncapi_3_and_all_that_it_refers_to_is_there(store_url: str) -> None:
    document = await fetch(store_url)
    assert document["asyncapi"] == "3.0.0"
    assert document.keys() == {
        *("asyncapi", "info", "defaultContentType", "channels", "operations", "components")
    }
    for reference in references(document):
        assert isinstance(found(document, reference), dict), reference
    assert "discriminator" not in orjson.dumps(document).decode(), "OpenAPI's is another"
    for name in (*document["channels"], *document["operations"]):
        assert re.fullmatch(r"[A-Za-z0-9_.-]+", name)
    for channel in document["channels"].values():
        parameters = set(re.findall(r"{(\w+)}", channel["address"] or ""))
        assert parameters == channel.get("parameters", {}).keys()


async def test_it_is_what_the_official_schema_of_asyncapi_takes(store_url: str) -> None:
    official = next(iter([*ROOT.glob(OFFICIAL), *ROOT.glob(f"*/*/{OFFICIAL}")]), None)
    if official is None:
        pytest.skip("@asyncapi/specs is not installed: npm install --no-save @asyncapi/specs")
    schema = orjson.loads(official.read_bytes())
    jsonschema_rs.Draft7Validator(schema).validate(await fetch(store_url))


async def test_every_message_belongs_to_one_operation_in_its_direction(store_url: str) -> None:
    document = await fetch(store_url)
    listed = [
        (operation["action"], message["$ref"])
        for operation in document["operations"].values()
        for message in operation["messages"]
    ]
    expected = [
        (
            "receive" if each.by_client else "send",
            f"#/channels/{channel.name}/messages/{each.name}",
        )
        for channel in CHANNELS
        for each in channel.messages
    ]
    assert sorted(listed) == sorted(expected)


def test_every_stream_that_is_ours_is_a_channel_and_takes_what_its_route_does() -> None:
    streams = {
        route.paths[0]: {each.name for each in route.query}
        for route in ROUTES
        if route.is_stream and not speaks_openai(route.paths[0])
    }
    described = {
        channel.address: {each.name for each in channel.query}
        for channel in CHANNELS
        if channel.address
    }
    assert described == streams


def test_viewers_of_contexts_are_told_of_every_event_and_frame_there_is() -> None:
    for name in ("contextEvents", "manyEvents", "contextSocket"):
        (channel,) = [each for each in CHANNELS if each.name == name]
        told = {each.name for each in channel.messages if each.model is not SocketAction}
        assert told - {"action-result"} == {*EVENT_TYPES, *OWN_FRAMES}


def test_what_is_not_described_is_noticed() -> None:
    path = "/api/contexts/c/events"
    delta = {"message_id": "m", "n": 2, "text": "Hi"}
    hold_event(path, {"event": "reply-delta", "id": CURSOR}, delta)
    with pytest.raises(AssertionError, match="does not tell of"):
        hold_event(path, {"event": "reply-omega", "id": CURSOR}, delta)
    with pytest.raises(jsonschema_rs.ValidationError):
        hold_event(path, {"event": "reply-delta", "id": CURSOR}, {**delta, "n": "2"})
    with pytest.raises(jsonschema_rs.ValidationError):
        hold_event("/api/events", {"event": "reply-delta", "id": CURSOR}, delta)
    frame = {"id": CURSOR, "event": "reply-started", "data": delta}
    with pytest.raises(jsonschema_rs.ValidationError):
        hold_message("contextSocket", "reply-delta", frame)


def test_a_client_s_action_is_described() -> None:
    hold_message("contextSocket", "action", {"action": "rename", "body": {"title": "T"}})
    with pytest.raises(jsonschema_rs.ValidationError):
        hold_message("contextSocket", "action", {"body": {}})


async def test_every_webhook_is_what_is_described(store_url: str) -> None:
    receiver = Receiver(free_port())
    webhook = {
        "webhook_url": receiver.url,
        "webhook_secret": SECRET,
        "webhook_events": ",".join(EVENT_TYPES),
    }
    async with receiver.serving(), serving(store_url, storage=webhook) as service:
        client = service.client
        context_id = await client.create(title="T")
        await client.say(context_id, "Hello")
        await client.say(context_id, "/fail bad_request 1")
        await client.act(context_id, "reset")
        asking = await client.say(context_id, '/tool notes {"action": "add", "text": "milk"}')
        ids = [call["id"] for call in asking.context["pending_tool_calls"]]
        await client.act(context_id, "approve_tools", {"tool_call_ids": ids}, Prefer="wait=20")
        await client.act(context_id, "create_branch", {"name": "b"})
        version = (await client.state(context_id))["version"]
        await receiver.until(version)
    kinds = {delivery.kind for delivery in receiver.taken}
    assert {"context-created", "reply-ended", "tool-returned", "branch-created"} <= kinds
    for delivery in receiver.taken:
        hold_message("webhook", "event", delivery.event)


async def test_every_message_to_a_dashboard_is_what_is_described(store_url: str) -> None:
    settings = load_settings({"stats_every_s": 0.1})
    async with serving(store_url, extensions=lambda s: (dashboard(settings, s),)) as service:
        client = service.client
        context_id = await client.create()
        address = f"{client.url}{SOCKET_PATH}"
        async with client.session.ws_connect(address) as socket:
            asked: list[Json] = [
                {"type": "ping", "ref": "r"},
                {"type": "resume", "seq": 0},
                {"type": "subscribe", "types": ["turn_started", "turn_ended", "stats_update"]},
            ]
            for message in asked:
                hold_message("dashboard", message["type"], message)
            for message in ({"type": "nonsense"}, *asked):
                await socket.send_json(message)
            await client.say(context_id, "Hello")
            seen: set[str] = set()
            async with asyncio.timeout(WITHIN_S):
                while not {"connection_ack", "personal", "stats_update", "turn_ended"} <= seen:
                    seen.add((await socket.receive_json())["type"])


def test_a_message_to_a_dashboard_that_is_not_described_is_noticed() -> None:
    pong = {
        "type": "personal",
        "data": {"kind": "pong", "ref": None},
        "timestamp": "",
        "seq": 0,
    }
    hold_frame(SOCKET_PATH, pong)
    with pytest.raises(jsonschema_rs.ValidationError):
        hold_frame("/admin/ws/dashboard", {**pong, "seq": "0"})
    with pytest.raises(jsonschema_rs.ValidationError):
        hold_frame(SOCKET_PATH, {**pong, "data": {"kind": "pong", "ref": None, "more": 1}})


class Tick(BaseModel):
    """What another room sends."""

    at_ms: int


async def test_what_other_rooms_send_is_described_with_it(store_url: str) -> None:
    ticking = Channel(
        *("ticks", "/api/v1/ws/ticks", "Ticks", "One a second."),
        (Message("tick", Tick),),
        protocol="ws",
    )
    document = await fetch(store_url, Extension(channels=(ticking,)))
    assert document["channels"]["ticks"]["address"] == "/api/v1/ws/ticks"
    payload = document["channels"]["ticks"]["messages"]["tick"]["payload"]
    assert found(document, payload["$ref"])["required"] == ["at_ms"]
    assert document["operations"]["show.ticks"]["action"] == "send"


def test_the_page_about_it_names_every_channel() -> None:
    page = (Path(__file__).parents[2] / "docs" / "asyncapi.md").read_text()
    for channel in DESCRIBED:
        assert f"`{channel.name}`" in page
