"""The WebSockets of dashboards: how many there may be, and what each is sent.

Close codes: 1001 made room for another one, 1008 sends too much, 1009 sends something too
long, 1012 the gateway stops (connect again, and resume), 1013 the store does not answer. Who
takes nothing is cut off.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Generator
from typing import Final

from aiohttp import WSCloseCode, WSMsgType, web
from pydantic import ValidationError
from uuid_utils import uuid7

from dashboard.config import DashboardConfig
from dashboard.hub import Hub, Shown
from dashboard.messages import (
    ASKED,
    STATS,
    TYPES,
    Complaint,
    ConnectionAck,
    Message,
    Missed,
    Ping,
    Pong,
    Renumbered,
    Resume,
    Resumed,
    Subscribe,
    Subscribed,
    message,
)
from storage import StorageError, StoreUnavailable, rfc3339

PERSONAL: Final = "personal"
ANSWERS_MAX: Final = 64
"""Answers that may wait for one dashboard; beyond, it is cut off."""
STORE_PAUSE_S: Final = 1.0
"""Pause before a dashboard that is behind asks a silent store again."""
CLOSE_S_MAX: Final = 1.0


class TooManyDashboards(Exception):
    """There is no room for one more."""


class DashboardsEnd(Exception):
    """The gateway stops: another one shows the same."""


class Connection:
    """One dashboard."""

    def __init__(
        self,
        socket: web.WebSocketResponse,
        transport: asyncio.Transport | None,
        hub: Hub,
        config: DashboardConfig,
        clock: Callable[[], int],
        address: str,
    ) -> None:
        self.id = str(uuid7())
        self.address = address
        self.heard_at_s = asyncio.get_running_loop().time()
        self._socket = socket
        self._transport = transport
        self._hub = hub
        self._config = config
        self._clock = clock
        self._wanted = frozenset(TYPES)
        self._seq = 0
        self._renumbered = 0
        self._stats_at = ""
        self._blind_since_s = 0.0
        """Since when the store has not answered; 0: it answers."""
        self._answers: deque[Message] = deque()
        self._code: int | None = None
        self._told = asyncio.Event()
        self._second = 0
        self._messages = 0
        """Messages of the client in this second."""

    @property
    def is_ending(self) -> bool:
        """Whether it is to be closed."""
        return self._code is not None

    def wake(self) -> None:
        """Have it look for what is new."""
        self._told.set()

    def end(self, code: int) -> None:
        """Close it, as soon as what is being sent has gone."""
        if self._code is None:
            self._code = code
            self._told.set()

    async def run(self) -> None:
        """Send and listen until either side ends it."""
        oldest = await self._oldest()
        self._seq, self._renumbered = self._hub.head, self._hub.renumbered
        ack = ConnectionAck(
            connection_id=self.id,
            seq=self._seq,
            oldest_seq=oldest,
            stats_every_s=self._config.stats_every_s,
            types=TYPES,
        )
        await self._send("connection_ack", ack)
        async with asyncio.TaskGroup() as group:
            writing = group.create_task(self._write(), name=f"dashboard {self.id}")
            try:
                async for heard in self._socket:
                    self._hear(heard.type, heard.data)
            finally:
                if not self.is_ending:  # else it is saying why
                    writing.cancel()

    async def _oldest(self) -> int:
        with contextlib.suppress(StorageError):
            return await self._hub.oldest()
        return 0

    # What the dashboard says

    def _hear(self, kind: WSMsgType, data: object) -> None:
        now_s = asyncio.get_running_loop().time()
        self.heard_at_s = now_s
        if int(now_s) != self._second:
            self._second, self._messages = int(now_s), 0
        self._messages += 1
        if self._messages > self._config.dashboard_messages_s_max:
            self.end(WSCloseCode.POLICY_VIOLATION)
            return
        if kind is not WSMsgType.TEXT or not isinstance(data, str):
            self._answer(Complaint(detail="Send text messages."))
            return
        try:
            asked = ASKED.validate_json(data)
        except ValidationError as error:
            found = error.errors(include_input=False, include_context=False, include_url=False)
            where = ".".join(map(str, found[0]["loc"]))
            self._answer(Complaint(detail=f"{where}: {found[0]['msg']}"))
            return
        match asked:
            case Ping():
                self._answer(Pong(ref=asked.ref))
            case Subscribe():
                self._subscribe(asked)
            case Resume():
                self._answer(Resumed(seq=min(asked.seq, self._hub.head)))

    def _subscribe(self, asked: Subscribe) -> None:
        if unknown := sorted(set(asked.types) - set(TYPES)):
            self._answer(Complaint(detail=f"There is no type {unknown[0][:64]!r}."))
            return
        self._wanted = frozenset(asked.types)
        self._answer(Subscribed(types=tuple(kind for kind in TYPES if kind in self._wanted)))

    def _answer(self, answer: Message) -> None:
        if len(self._answers) >= ANSWERS_MAX:
            self.end(WSCloseCode.POLICY_VIOLATION)
            return
        self._answers.append(answer)
        self._told.set()

    # What it is sent

    async def _write(self) -> None:
        try:
            while self._code is None:
                self._told.clear()
                if not await self._send_some():
                    await self._told.wait()
        except TimeoutError:
            if self._transport is not None:
                self._transport.abort()  # whoever takes nothing takes no farewell either
            return
        except ConnectionError:
            return  # the client has gone in the middle of a message
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(CLOSE_S_MAX):
                await self._socket.close(code=self._code or WSCloseCode.OK)

    async def _send_some(self) -> bool:
        """Send what there is of each kind; False: there was nothing."""
        sent = False
        while self._answers:
            answer = self._answers.popleft()
            if isinstance(answer, Resumed):
                self._seq = answer.seq
            await self._send(PERSONAL, answer)
            sent = True
        try:
            behind = await self._hub.after(self._seq)
        except StoreUnavailable:
            now_s = asyncio.get_running_loop().time()
            self._blind_since_s = self._blind_since_s or now_s
            if now_s - self._blind_since_s > self._config.dashboard_blind_s_max:
                self.end(WSCloseCode.TRY_AGAIN_LATER)
            else:
                await asyncio.sleep(STORE_PAUSE_S)
            return True
        self._blind_since_s = 0.0
        if self._renumbered != self._hub.renumbered:
            self._renumbered, self._seq = self._hub.renumbered, self._hub.head
            await self._send(PERSONAL, Renumbered(seq=self._seq))
            sent = True
        elif behind:
            await self._send_announced(behind)
            sent = True
        stats = self._hub.stats
        if stats is not None and stats.at != self._stats_at and STATS in self._wanted:
            self._stats_at = stats.at
            await self._put(message(STATS, stats.data, at=stats.at, seq=self._seq))
            sent = True
        return sent

    async def _send_announced(self, behind: list[Shown]) -> None:
        if behind[0].seq > self._seq + 1:
            missed = Missed(from_seq=self._seq + 1, to_seq=behind[0].seq - 1)
            self._seq = missed.to_seq
            await self._send(PERSONAL, missed)
        for shown in behind:
            self._seq = shown.seq
            if shown.kind in self._wanted and self._hub.may_send(shown):
                await self._put(shown.text)
            if self._code is not None or self._answers:
                return

    async def _send(self, kind: str, data: Message) -> None:
        text = data.model_dump_json().encode()
        await self._put(message(kind, text, at=rfc3339(self._clock()), seq=self._seq))

    async def _put(self, text: bytes) -> None:
        """Send one message.

        Raises:
            TimeoutError: The dashboard takes nothing.
            ConnectionError: It has gone.
        """
        async with asyncio.timeout(self._config.dashboard_stalled_s_max):
            await self._socket.send_str(text.decode())


class Dashboards:
    """All dashboards of one gateway."""

    def __init__(self, hub: Hub, config: DashboardConfig, clock: Callable[[], int]) -> None:
        """Take what it needs.

        Args:
            hub: What they are shown.
            config: How many there may be.
            clock: Unix time in milliseconds.
        """
        self._hub = hub
        self._config = config
        self._clock = clock
        self._open: set[Connection] = set()
        self._is_leaving = False

    def load(self) -> dict[str, int]:
        """How many are there."""
        return {"viewers_dashboard": len(self._open)}

    def say_bye(self) -> None:
        """End all of them, and take no more: the gateway stops, others go on."""
        self._is_leaving = True
        for connection in tuple(self._open):
            connection.end(WSCloseCode.SERVICE_RESTART)

    async def serve(self, request: web.Request, address: str) -> web.StreamResponse:
        """Show what happens until either side ends it.

        Args:
            request: An upgrade to a WebSocket.
            address: Whose it is.

        Raises:
            TooManyDashboards: There is no room.
            DashboardsEnd: The gateway stops, perhaps since a moment ago.
            StoreUnavailable: Nothing can be shown.
        """
        socket = web.WebSocketResponse(
            heartbeat=self._config.dashboard_heartbeat_s,
            max_msg_size=self._config.dashboard_message_bytes_max,
            compress=False,
        )
        connection = Connection(
            *(socket, request.transport, self._hub, self._config, self._clock, address),
        )
        with self._place(connection):
            async with self._hub.watched(connection.wake):
                if self._is_leaving:
                    raise DashboardsEnd
                await socket.prepare(request)
                try:
                    await connection.run()
                except* ConnectionError:
                    pass  # the client has gone in the middle of a message
        return socket

    @contextlib.contextmanager
    def _place(self, connection: Connection) -> Generator[None, None, None]:
        if len(self._open) >= self._config.dashboards_max:
            raise TooManyDashboards
        own = [
            each
            for each in self._open
            if each.address == connection.address and not each.is_ending
        ]
        if len(own) >= self._config.dashboards_per_address_max:
            if not self._config.dashboards_evict_idle:
                raise TooManyDashboards
            idlest = min(own, key=lambda each: each.heard_at_s)
            idlest.end(WSCloseCode.GOING_AWAY)
        self._open.add(connection)
        try:
            yield
        finally:
            self._open.discard(connection)
