"""The WebSocket of a context: the frames of its stream, and actions on it."""

import asyncio
import contextlib
import zlib
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import cast

import aiohttp
import orjson
import pytest
from aiohttp import web

from gateway.sockets import SocketViewer
from gateway.stream import Frame, Wanted
from gateway.stream_views import SocketResult
from tests.gateway.bare import raw
from tests.support.service import Client, Json, serving

WITHIN_S = 15.0


@dataclass
class Socket:
    """A socket whose messages are read one by one."""

    socket: aiohttp.ClientWebSocketResponse
    results: list[Json] = field(default_factory=list[Json])

    async def next(self, within_s: float = WITHIN_S) -> Json:
        """The next message; None once it is closed."""
        async with asyncio.timeout(within_s):
            message = await self.socket.receive()
        if message.type in {aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED}:
            return None
        told: Json = orjson.loads(message.data)
        if told["event"] == "action-result":
            SocketResult.model_validate_json(orjson.dumps(told["data"]))
        return told

    async def until(self, enough: Callable[[Json], bool]) -> list[Json]:
        """Every message up to the one that is wanted."""
        taken: list[Json] = []
        while not taken or not enough(taken[-1]):
            message = await self.next()
            assert message is not None, taken
            taken.append(message)
        return taken

    async def act(self, action: str, body: Json = None, **more: Json) -> Json:
        """Send an action; its result."""
        asked: Json = {"action": action, "body": body or {}, "ref": action, **more}
        await self.socket.send_str(orjson.dumps(asked).decode())
        taken = await self.until(lambda one: one["event"] == "action-result")
        return taken[-1]["data"]


@contextlib.asynccontextmanager
async def open_socket(
    client: Client, context_id: str, query: str = ""
) -> AsyncGenerator[Socket, None]:
    """A socket of a context."""
    url = f"{client.url}/api/contexts/{context_id}/ws{query}"
    async with client.session.ws_connect(url) as socket:
        yield Socket(socket)


async def test_a_socket_shows_what_a_stream_shows(store_url: str) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        async with (
            client.stream(context_id) as stream,
            open_socket(client, context_id) as socket,
        ):
            await stream.take("snapshot")
            hello, snapshot = await socket.next(), await socket.next()
            assert (hello["event"], snapshot["event"]) == ("hello", "snapshot")
            assert snapshot["data"] == await client.state(context_id)
            await client.say(context_id, "/chunks 9 1")
            frames = await stream.take("reply-ended")
            shown = await socket.until(lambda one: one["event"] == "reply-ended")
        assert shown == [
            {"id": frame.id, "event": frame.event, "data": frame.data} for frame in frames
        ]


async def test_a_socket_resumes_in_the_middle_of_a_reply_on_another_gateway(
    store_url: str,
) -> None:
    async with serving(store_url, gateways=2) as service:
        here, there = service.clients
        context_id = await here.create()
        async with open_socket(here, context_id) as socket:
            await socket.until(lambda one: one["event"] == "snapshot")
            await here.act(context_id, "send_message", {"content": "/chunks 30 5"})
            first = await socket.until(
                lambda one: one["event"] == "reply-delta" and one["data"]["n"] > 20
            )
        async with open_socket(there, context_id, f"?after={first[-1]['id']}") as socket:
            rest = await socket.until(lambda one: one["event"] == "reply-ended")
        texts = [one["data"]["text"] for one in first + rest if one["event"] == "reply-delta"]
        assert "".join(texts) == rest[-1]["data"]["text"]


async def test_actions_may_be_sent_on_a_socket(store_url: str) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        async with open_socket(client, context_id) as socket:
            result = await socket.act("rename", {"title": "by socket"})
            assert result == {
                "ref": "rename",
                "idempotency_key": None,
                "status": 200,
                "action": {
                    "id": service.action_id(context_id, 1),
                    "result": "applied",
                    "version": 2,
                },
                "repeated": False,
            }
            asked = await socket.act("send_message", {"content": "/tool clock {}"})
            assert asked["status"] == 200
            await client.until(context_id, "awaiting_tool_approval")
            (call,) = (await client.state(context_id))["pending_tool_calls"]
            await socket.act("approve_tools", {"tool_call_ids": [call["id"]]})
            await client.until(context_id, "idle")
        assert (await client.state(context_id))["title"] == "by socket"


async def test_p2_an_action_on_a_socket_is_done_once_under_its_key_on_any_transport(
    store_url: str,
) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        body = {"content": "once"}
        async with open_socket(client, context_id) as socket:
            first = await socket.act("send_message", body, idempotency_key="k")
            again = await socket.act("send_message", body, idempotency_key="k")
            assert (again["repeated"], again["action"]) == (True, first["action"])
            other = await socket.act("send_message", {"content": "x"}, idempotency_key="k")
            assert other["problem"]["type"] == "/problems/key-reused"
        sent = await client.send(
            "POST",
            f"/api/contexts/{context_id}/actions/send_message",
            raw=orjson.dumps(body),
            headers={"Idempotency-Key": "k", "Content-Type": "application/json"},
        )
        assert sent.headers["Idempotent-Replayed"] == "true"
        said = (await client.until(context_id, "idle"))["messages"]
        assert [m["content"] for m in said if m["role"] == "user"] == ["once"]


@pytest.mark.parametrize(
    ("asked", "status", "problem"),
    [
        ({"action": "resume"}, 409, "illegal-in-phase"),
        ({"action": "fly"}, 404, "not-found"),
        ({"action": "rename", "body": {}}, 422, "invalid-body"),
        (
            {"action": "rename", "body": {"title": "x"}, "if_version": 9},
            412,
            "version-mismatch",
        ),
        ({"body": {}}, 422, "invalid-body"),
        ([], 422, "invalid-body"),
    ],
)
async def test_what_is_refused_is_told_on_the_socket_which_stays_open(
    store_url: str, asked: Json, status: int, problem: str
) -> None:
    async with serving(store_url) as service:
        context_id = await service.client.create()
        async with open_socket(service.client, context_id) as socket:
            await socket.socket.send_str(orjson.dumps(asked).decode())
            told = await socket.until(lambda one: one["event"] == "action-result")
            data = told[-1]["data"]
            assert (data["status"], data["problem"]["type"]) == (status, f"/problems/{problem}")
            assert (await socket.act("rename", {"title": "still open"}))["status"] == 200


@pytest.mark.parametrize(
    ("asked", "ref", "key"),
    [
        ({"action": "pin", "if_version": -1, "ref": "v"}, "v", None),
        ({"action": "pin", "idempotency_key": "", "ref": "v"}, "v", None),
        ({"action": "", "idempotency_key": "k", "ref": "v"}, "v", "k"),
        ({"action": "pin", "idempotency_key": "k", "ref": 1}, None, "k"),
        ({"action": "pin", "ref": "v" * 256}, None, None),
        ({"ref": "v", "more": 1}, "v", None),
    ],
)
async def test_what_is_refused_is_told_with_the_names_it_came_with(
    store_url: str, asked: Json, ref: str | None, key: str | None
) -> None:
    async with serving(store_url) as service:
        context_id = await service.client.create()
        async with open_socket(service.client, context_id) as socket:
            await socket.socket.send_str(orjson.dumps(asked).decode())
            told = await socket.until(lambda one: one["event"] == "action-result")
            data = told[-1]["data"]
            assert (data["status"], data["ref"], data["idempotency_key"]) == (422, ref, key)


@pytest.mark.parametrize("text", ["", "{", "NaN", '{"action":"a","action":"b"}', "\u0000"])
async def test_what_is_no_json_is_told_so(store_url: str, text: str) -> None:
    async with serving(store_url) as service:
        context_id = await service.client.create()
        async with open_socket(service.client, context_id) as socket:
            await socket.socket.send_str(text)
            told = await socket.until(lambda one: one["event"] == "action-result")
            assert told[-1]["data"]["status"] in {400, 422}
            await socket.socket.send_bytes(b"\x00")
            told = await socket.until(lambda one: one["event"] == "action-result")
            assert told[-1]["data"]["problem"]["type"] == "/problems/malformed-json"


async def test_actions_of_one_socket_are_applied_in_their_order(store_url: str) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        async with open_socket(client, context_id) as socket:
            for number in range(50):
                asked = {"action": "rename", "body": {"title": str(number)}}
                await socket.socket.send_str(orjson.dumps(asked).decode())
            results: list[Json] = []
            while len(results) < 50:
                results += await socket.until(lambda one: one["event"] == "action-result")
                results = [one for one in results if one["event"] == "action-result"]
        versions = {one["data"]["action"]["version"] for one in results}
        assert versions == {*range(2, 52)}
        assert (await client.state(context_id))["title"] == "49"


async def test_a_stopping_gateway_says_bye_and_closes_its_sockets(store_url: str) -> None:
    async with serving(store_url, gateways=2) as service:
        context_id = await service.client.create()
        async with open_socket(service.client, context_id) as socket:
            await socket.until(lambda one: one["event"] == "snapshot")
            service.stop("gateway 0")
            bye = await socket.next()
            assert bye["event"] == "bye"
            assert bye["data"]["retry_ms"] >= 0
            assert await socket.next() is None
            assert socket.socket.close_code == aiohttp.WSCloseCode.SERVICE_RESTART


async def test_a_socket_ends_with_its_context(store_url: str) -> None:
    async with serving(store_url) as service:
        context_id = await service.client.create()
        async with open_socket(service.client, context_id) as socket:
            await socket.until(lambda one: one["event"] == "snapshot")
            await service.client.act(context_id, "delete")
            assert (await socket.next())["event"] == "context-deleted"
            assert await socket.next() is None
            assert socket.socket.close_code == aiohttp.WSCloseCode.OK


async def test_what_is_asked_behind_a_deletion_is_answered_before_the_socket_ends(
    store_url: str,
) -> None:
    async with serving(store_url, gateway={"applied_s_max": 300.0}) as service:
        context_id = await service.client.create()
        async with open_socket(service.client, context_id) as socket:
            await socket.until(lambda one: one["event"] == "snapshot")
            asked: list[tuple[str, Json]] = [
                ("delete", {}),
                ("rename", {"title": "x"}),
                ("fly", {}),
            ]
            for number, (action, body) in enumerate(asked):
                text = orjson.dumps({"action": action, "body": body, "ref": str(number)})
                await socket.socket.send_str(text.decode())
            told: dict[str, int] = {}
            while (message := await socket.next()) is not None:
                if message["event"] == "action-result":
                    told[message["data"]["ref"]] = message["data"]["status"]
            assert told == {"0": 200, "1": 404, "2": 404}
            assert socket.socket.close_code == aiohttp.WSCloseCode.OK


class Stuck:
    """A socket whose client takes nothing."""

    code: int | None = None

    async def send_str(self, _text: str) -> None:
        if self.code is None:
            await asyncio.Event().wait()

    async def close(self, *, code: int) -> None:
        self.code = code


async def test_p12_what_a_client_does_not_read_is_kept_within_bounds() -> None:
    socket = Stuck()
    viewer = SocketViewer(cast("web.WebSocketResponse", socket), Wanted(), bytes_max=4_096)
    viewer.go_live({}, [])
    async with asyncio.TaskGroup() as group:
        writing = group.create_task(viewer.run())
        for number in range(1_000):
            viewer.show([Frame(str(number), "context-renamed", b"{}")])
            await asyncio.sleep(0)
        assert viewer.waiting_bytes <= 4_096 + 200
        writing.cancel()
    await viewer.run()
    assert socket.code == aiohttp.WSCloseCode.TRY_AGAIN_LATER


async def test_who_reads_is_shown_a_message_of_any_size(store_url: str) -> None:
    async with serving(store_url, workers=1, gateway={"viewer_bytes_max": 4_096}) as service:
        context_id = await service.client.create()
        async with open_socket(service.client, context_id) as socket:
            await socket.until(lambda one: one["event"] == "snapshot")
            for text in ("x" * 20_000, "y" * 20_000):
                await service.client.say(context_id, text)
                shown = await socket.until(lambda one: one["event"] == "reply-ended")
                assert shown[0]["data"]["content"] == text


async def test_p12_a_large_beginning_does_not_widen_the_bounds_for_ever() -> None:
    socket = Stuck()
    socket.code = 0  # it takes what it begins with
    viewer = SocketViewer(cast("web.WebSocketResponse", socket), Wanted(), bytes_max=4_096)
    viewer.go_live({}, [Frame("1.1.0", "snapshot", b'"%s"' % (b"x" * 100_000))])
    async with asyncio.TaskGroup() as group:
        writing = group.create_task(viewer.run())
        await asyncio.sleep(0)
        writing.cancel()
    for number in range(1_000):
        viewer.show([Frame(str(number), "context-renamed", b"{}")])
    assert viewer.waiting_bytes <= 4_096 + 200


async def test_a_plain_request_is_told_to_upgrade(store_url: str) -> None:
    async with serving(store_url) as service:
        context_id = await service.client.create()
        for path in (f"/api/contexts/{context_id}/ws", "/api/v1/ws/dashboard"):
            answer = await service.client.get(path)
            assert (answer.status, answer.problem) == (426, "upgrade-required")
            told = [answer.headers.get(name) for name in ("Connection", "Upgrade")]
            assert told == ["Upgrade", "websocket"]
            assert answer.headers["Sec-WebSocket-Version"] == "13"


async def test_nobody_opens_a_socket_of_what_is_not_there(store_url: str) -> None:
    async with serving(store_url) as service:
        unknown = "01932c5e-7a10-7c3b-9d2e-5f6071829304"
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            async with open_socket(service.client, unknown):
                raise AssertionError("it is not there")
        assert caught.value.status == 404


async def test_p12_sockets_that_are_opened_at_once_are_no_more_than_there_may_be(
    store_url: str,
) -> None:
    async with serving(store_url, workers=0, gateway={"viewers_max": 2}) as service:
        context_id = await service.client.create()
        statuses: list[int] = []

        async def attempt(stack: contextlib.AsyncExitStack) -> None:
            try:
                await stack.enter_async_context(open_socket(service.client, context_id))
            except aiohttp.WSServerHandshakeError as error:
                statuses.append(error.status)

        async with contextlib.AsyncExitStack() as stack, asyncio.TaskGroup() as group:
            for _ in range(6):
                group.create_task(attempt(stack))
        assert statuses == [503] * 4


async def test_nothing_is_compressed_on_a_socket(store_url: str) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        url = f"{client.url}/api/contexts/{context_id}/ws"
        async with client.session.ws_connect(url, compress=15) as socket:
            assert socket.compress == 0
            await socket.receive()


def masked(first: int, payload: bytes) -> bytes:
    """A frame of a client, whose mask changes nothing."""
    size = len(payload)
    return bytes((first, 0x80 | 127)) + size.to_bytes(8) + bytes(4) + payload


WHOLE_TEXT = 0x81
COMPRESSED = 0xC1


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (masked(COMPRESSED, zlib.compress(b"x" * 60_000_000, wbits=-15)), 1_002),
        (masked(WHOLE_TEXT, b"x" * 70_000), 1_009),
        (masked(WHOLE_TEXT, b"")[:2] + (2**62).to_bytes(8) + bytes(4), 1_009),
        (masked(WHOLE_TEXT, b"\xff\xfe"), 1_007),
        (masked(0x83, b"{}"), 1_002),
        (masked(0x80, b"{}"), 1_002),
    ],
    ids=["a bomb", "too much", "far too much", "no text", "no known kind", "no beginning"],
)
async def test_a_message_that_breaks_the_rules_ends_its_socket_alone(
    store_url: str, frame: bytes, code: int
) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        path = f"/api/contexts/{context_id}/ws"
        async with open_socket(client, context_id) as other, raw(service) as (reader, writer):
            writer.write(
                f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
                "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Extensions: permessage-deflate\r\n"
                "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
            )
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 101 ")
            assert b"permessage-deflate" not in head
            writer.write(frame)
            async with asyncio.timeout(WITHIN_S):
                await reader.readuntil(b"\x88\x02" + code.to_bytes(2))
            assert (await other.act("rename", {"title": "honest"}))["status"] == 200
