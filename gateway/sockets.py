"""The WebSocket of a context: the frames of its stream, and actions on the same connection.

A message from the client is one action:

    {"action": "rename", "body": {...}, "idempotency_key": "k", "if_version": 7, "ref": "1"}

It is answered by an `action-result` with the same `ref` and `idempotency_key`. Actions of one
socket are delivered in the order in which they came.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Coroutine, Mapping, Sequence
from typing import ClassVar, Final, TypeAlias

import orjson
from aiohttp import WSCloseCode, WSMsgType, web
from pydantic import JsonValue
from uuid_utils import uuid7

from gateway.actions import late_reading, made_action
from gateway.answers import action_id
from gateway.app import GATEWAY, Gateway
from gateway.audit import actor_of, record_action
from gateway.bodies import SocketAction
from gateway.config import GatewayConfig
from gateway.delivery import digest_of, result_of, wake
from gateway.feed import Feed
from gateway.parameters import context_id_of
from gateway.problems import Problem, not_upgraded, problem_body, problem_of, refused
from gateway.reading import parse_json, validate
from gateway.resume import begin
from gateway.sse import FRAMES_HELD_MAX, Transport
from gateway.stream import Frame, Wanted
from gateway.streams import follow_now, read_wanted, resume_of
from storage import Mail, Receipt, Result, StorageError, stopwatch

ACTIONS_MAX: Final = 64
"""Actions of one socket that wait for their result at once."""


class SocketViewer:
    """One open socket. Frames wait in memory, within bounds, until the client takes them."""

    transport: ClassVar[Transport] = "websocket"

    def __init__(
        self, socket: web.WebSocketResponse, wanted: Wanted, *, bytes_max: int
    ) -> None:
        self._socket = socket
        self._wanted = wanted
        self._bytes_max = bytes_max
        self._excused_bytes = 0
        """Size of the backlog that it began with, or of the largest message since it had taken
        everything: a client may be behind by so much more."""
        self._held: list[Frame] | None = []
        self._waiting: deque[bytes] = deque()
        self.waiting_bytes = 0
        """Bytes that the client has not taken yet."""
        self._changed = asyncio.Event()
        self._code: int | None = None
        self._context_ended = False
        self._unanswered = 0

    def show(self, frames: Sequence[Frame]) -> None:
        """Take frames from the feed; they are held back until the backlog is sent."""
        wanted = [frame for frame in frames if self._wanted.takes(frame)]
        if self._held is not None:
            self._held += wanted
            if len(self._held) > FRAMES_HELD_MAX:
                self._end(WSCloseCode.TRY_AGAIN_LATER)
            return
        for frame in wanted:
            self.send(frame.json())

    def go_live(self, hello: Mapping[str, object], backlog: Sequence[Frame]) -> None:
        """Send the backlog and what was held back meanwhile, and hold nothing more."""
        held, self._held = self._held or [], None
        first = Frame("", "hello", orjson.dumps(hello))
        shown = [frame.json() for frame in (first, *backlog, *held)]
        self._excused_bytes = sum(map(len, shown))
        for text in shown:
            self.send(text)

    def send(self, text: bytes) -> None:
        """Send one message, or give the client up when too much waits already."""
        if self._code is not None:
            return
        self._waiting.append(text)
        self.waiting_bytes += len(text)
        self._excused_bytes = max(self._excused_bytes, len(text))
        if self.waiting_bytes > self._bytes_max + self._excused_bytes:
            self._waiting.clear()
            self._code = WSCloseCode.TRY_AGAIN_LATER
        self._changed.set()

    def close(self) -> None:
        """The context has ended: so does the socket, once it has answered what was asked."""
        self._context_ended = True
        self._changed.set()

    def begin_answer(self) -> None:
        """A message has come; whatever becomes of it, `end_answer` follows."""
        self._unanswered += 1

    def end_answer(self) -> None:
        """A message was answered."""
        self._unanswered -= 1
        self._changed.set()

    def keep_alive(self, now: float, config: GatewayConfig) -> None:
        """Nothing: aiohttp pings, and ends a socket that does not answer."""

    def say_bye(self, retry_ms: int, data: bytes) -> None:
        """Tell the client to go on elsewhere, and end the socket."""
        del retry_ms  # it is in the data
        self.send(Frame("", "bye", data).json())
        self._end(WSCloseCode.SERVICE_RESTART)

    def _end(self, code: int) -> None:
        if self._code is None:
            self._code = code
            self._changed.set()

    async def run(self) -> None:
        """Write what waits until the socket is to end, then close it."""
        while True:
            while self._waiting:
                text = self._waiting.popleft()
                self.waiting_bytes -= len(text)
                await self._socket.send_str(text.decode())
            self._excused_bytes = 0  # it has been taken
            if self._context_ended and not self._unanswered:
                self._end(WSCloseCode.OK)
            if self._code is not None:
                await self._socket.close(code=self._code)
                return
            self._changed.clear()
            await self._changed.wait()


async def open_socket(request: web.Request) -> web.StreamResponse:
    """The frames of a context as JSON messages, and actions from the client."""
    gateway = request.app[GATEWAY]
    context_id, owner = context_id_of(request), gateway.owner_of(request)
    wanted, resume = read_wanted(request), resume_of(request)
    config = gateway.config
    # Compressed, every viewer would cost a compressor, and take messages that unpack to more.
    socket = web.WebSocketResponse(
        heartbeat=config.sse_heartbeat_s, max_msg_size=config.body_bytes_max, compress=False
    )
    if not socket.can_prepare(request):
        raise not_upgraded()
    viewer = SocketViewer(socket, wanted, bytes_max=config.viewer_bytes_max)
    async with contextlib.AsyncExitStack() as stack:
        feed = await follow_now(gateway, stack, context_id, owner)
        gateway.viewers.check_room()
        feed.viewers.add(viewer)
        stack.callback(feed.viewers.discard, viewer)
        stack.enter_context(gateway.viewers.room_for(viewer))
        hello, backlog = await begin(gateway.store, feed, resume)
        await socket.prepare(request)
        viewer.go_live(hello, [frame for frame in backlog if wanted.takes(frame)])
        if feed.deleted:
            viewer.close()
        try:
            await _converse(request, socket, viewer, feed)
        except* ConnectionError:
            pass  # the client has gone in the middle of a message
    return socket


async def _converse(
    request: web.Request, socket: web.WebSocketResponse, viewer: SocketViewer, feed: Feed
) -> None:
    """Write frames and take actions until either side ends it."""
    room = asyncio.Semaphore(ACTIONS_MAX)

    def answered(_task: object = None) -> None:
        room.release()
        viewer.end_answer()

    async with asyncio.TaskGroup() as group:
        writing = group.create_task(viewer.run(), name=f"socket {feed.context_id}")
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                viewer.send(_failed(None, Problem("malformed-json", "Send text messages.")))
                continue
            viewer.begin_answer()
            await room.acquire()
            answering = await _act(request, viewer, feed, message.data)
            if answering is None:
                answered()
                continue
            task = group.create_task(answering, name=f"socket action {feed.context_id}")
            task.add_done_callback(answered)
        writing.cancel()


async def _act(
    request: web.Request, viewer: SocketViewer, feed: Feed, text: str
) -> "_Answering | None":
    """Deliver one action; what is left to do is to wait for its result."""
    gateway, actor = request.app[GATEWAY], actor_of(request)
    began_s = stopwatch()
    limits, owner = gateway.limits, actor.principal.owner
    asked: SocketAction | None = None
    try:
        value = parse_json(text.encode(), depth_max=gateway.config.json_depth_max)
        asked = _named(value)
        asked = validate(SocketAction, value)
        actor.principal.check("contexts:write")  # to look on, less was enough
        event = made_action(asked.action, asked.body, by=owner, at_ms=gateway.clock())
        limits.take_for_address(request, "actions")
        await limits.take_for_owner(request, "actions")
        await record_action(gateway, actor, feed.context_id, event)
        receipt = await gateway.store.admissions.deliver(
            feed.context_id,
            owner,
            Mail(event=event, if_version=asked.if_version),
            key=asked.idempotency_key or "",
            digest=digest_of(asked.action, orjson.dumps(asked.body)),
        )
        epoch = gateway.store.epoch
        await wake(gateway, feed.context_id, owner, receipt)
    except (Problem, StorageError) as error:
        viewer.send(_failed(asked, error))
        return None
    return _answer(gateway, viewer, feed, owner, asked, receipt, epoch, began_s)


def _named(value: Mapping[str, JsonValue]) -> SocketAction:
    """The `ref` and `idempotency_key` of a message, as far as they are well-formed."""
    named = SocketAction(action="unknown")
    for name in ("ref", "idempotency_key"):
        with contextlib.suppress(Problem):
            more = {**named.model_dump(), name: value.get(name)}
            named = validate(SocketAction, more)
    return named


_Answering: TypeAlias = Coroutine[object, object, None]


async def _answer(
    gateway: Gateway,
    viewer: SocketViewer,
    feed: Feed,
    owner: str,
    asked: SocketAction,
    receipt: Receipt,
    epoch: str,
    began_s: float,
) -> None:
    """Tell what became of an action, once that is known or its time is over."""
    result: Result | None
    try:
        try:
            async with gateway.waiting(None):
                result = await result_of(gateway, feed, owner, epoch, receipt)
        except TimeoutError:
            late = await late_reading(gateway, feed, receipt.seq, owner, epoch)
            result = late.result if late is not None else None
        gateway.store.meters.took("send", stopwatch() - began_s)
        if result is not None and result.outcome == "refused":
            raise refused(result)
    except (Problem, StorageError) as error:
        viewer.send(_failed(asked, error))
        return
    data: dict[str, object] = {
        "status": 202 if result is None else 200,
        "action": {
            "id": action_id(feed.context_id, receipt.seq, epoch=epoch),
            "result": result and result.outcome,
            "version": result and result.version,
        },
        "repeated": receipt.repeated,
    }
    viewer.send(_message(asked, data))


def _failed(asked: SocketAction | None, error: Exception) -> bytes:
    problem = problem_of(error)
    assert problem is not None, "each error of the store has one"
    status, body = problem_body(problem, str(uuid7()))
    return _message(asked, {"status": status, "problem": orjson.Fragment(body)})


def _message(asked: SocketAction | None, data: Mapping[str, object]) -> bytes:
    named = {
        "ref": asked and asked.ref,
        "idempotency_key": asked and asked.idempotency_key,
    }
    return Frame("", "action-result", orjson.dumps({**named, **data})).json()
