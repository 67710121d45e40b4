"""One client's connection: how long each part of an exchange may take, and how many there are.

A client that is slow on purpose costs a connection for a bounded time and never a handler:

- the head of a request is there within `head_s_max`, and no more of it is waited for than
  `head_bytes_max`; its body is there within `body_s_max` (`gateway/reading.py`); a connection
  without a request ends after `idle_s_max`;
- an answer that the client does not take is given up after `answer_stalled_s_max`; streams
  watch that themselves (`gateway/sse.py`);
- beyond `connections_max`, and `connections_per_address_max` of one address, a client is told
  to come again, and costs no handler at all.

aiohttp has none of these but the idle time (its default is an hour); its handler calls
what is overridden here at every event of a connection.
"""

import asyncio
import contextlib
import http
import resource
from collections import Counter
from collections.abc import Generator
from typing import TYPE_CHECKING, Final, cast

import structlog
from aiohttp import HttpVersion10, HttpVersion11, web
from aiohttp.http_exceptions import LineTooLong
from typing_extensions import override
from uuid_utils import uuid7

from gateway.browsers import PROTECTIVE, SERVER
from gateway.clients import network_of
from gateway.config import GatewayConfig
from gateway.problems import Problem, problem_body, render_problem

if TYPE_CHECKING:
    import logging

log = structlog.get_logger(__name__)

LINGER_S: Final = 1.0
"""How long the rest of an unwanted body is read and dropped before the connection ends."""
ANSWER_BYTES_S_MIN: Final = 1_024
"""A client that takes less than that on average is stalled."""
FILES_RESERVED: Final = 64
"""Open files of the process that are no connections of clients: store, logs, libraries."""
REFUSALS_MAX: Final = 32
"""Connections at once that are told why they are not served; more are closed without."""
REFUSAL_S_MAX: Final = 2.0
"""How long a connection that is not served has to send something and take the answer."""

_FULL: Final = "This gateway serves as many clients as it can."
_FULL_OF_ADDRESS: Final = "Your address has as many as one may have."
_VERSIONS: Final = (HttpVersion11, HttpVersion10)
_TOO_MANY_LINES: Final = "Too many headers received"
"""aiohttp's words for it; it has no type."""
_NO_ACCESS_LOG: Final = cast("logging.Logger", None)
"""aiohttp takes None for this; its annotation does not say so."""


def connections_allowed(config: GatewayConfig) -> int:
    """How many connections fit: `connections_max`, or what the system lets us open.

    Takes what the system allows, where it gives less at first (1,024 is usual).
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = config.connections_max + FILES_RESERVED
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return config.connections_max
    allowed = max(1, soft - FILES_RESERVED)
    log.warning("fewer connections than configured", allowed=allowed, files_max=soft)
    return allowed


def check_framing(request: web.Request) -> None:
    """Refuse a request whose end a proxy in between may see elsewhere than we do.

    aiohttp has refused what contradicts itself (two lengths, a length beside chunks, ...).

    Raises:
        Problem: malformed-request; the connection has to end with the answer.
    """
    if request.version not in _VERSIONS:
        raise Problem("malformed-request", "Speak HTTP/1.1.")
    coding = request.headers.get("Transfer-Encoding")
    if coding is None:
        return
    if request.version == HttpVersion10:
        raise Problem("malformed-request", "HTTP/1.0 has no Transfer-Encoding.")
    if coding.lower() != "chunked":
        raise Problem("malformed-request", "Of transfer codings `chunked` alone is known.")


class Connections:
    """Makes the protocol of each connection that is accepted, and counts them."""

    def __init__(self, server: web.Server, config: GatewayConfig) -> None:
        self._server = server
        self._config = config
        self._allowed = connections_allowed(config)
        self._loop = asyncio.get_running_loop()
        self.open = 0
        """Connections that are served."""
        self._of_address: Counter[str] = Counter()
        """The same by where they come from, as far as that is limited."""
        self.refusing = 0
        """Connections that are told that they are not."""
        self.refused = 0
        """How many connections were refused since the start."""

    def __call__(self) -> asyncio.Protocol:
        """The protocol for one more connection."""
        if self.open >= self._allowed:
            self.refused += 1
            return Refusal(self, _FULL)
        return Connection(self._server, self._config, self, self._loop)

    def enter(self, address: str) -> str | None:
        """Count a connection; or tell why there is no room, which none of it is counted for.

        Many may have been accepted, or be shaking hands, before the first of them is counted.
        """
        address_max = self._config.connections_per_address_max if address else 0
        reason: str | None = None
        if self.open >= self._allowed:
            reason = _FULL
        elif address_max and self._of_address[address] >= address_max:
            reason = _FULL_OF_ADDRESS
        if reason is not None:
            self.refused += 1
            return reason
        if address_max:
            self._of_address[address] += 1
        self.open += 1
        return None

    def leave(self, address: str) -> None:
        """A connection that was counted has ended."""
        self.open -= 1
        if address in self._of_address:
            self._of_address[address] -= 1
            if not self._of_address[address]:
                del self._of_address[address]


class Connection(web.RequestHandler):
    """aiohttp's side of a connection, with deadlines."""

    __slots__ = (
        "_address",
        "_config",
        "_connections",
        "_head_begun",
        "_head_bytes",
        "_head_timer",
        "_is_stream",
        "_stall_timer",
        "_untaken_bytes",
    )

    def __init__(
        self,
        server: web.Server,
        config: GatewayConfig,
        connections: Connections,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(
            server,
            loop=loop,
            keepalive_timeout=config.idle_s_max,
            access_log=_NO_ACCESS_LOG,
            lingering_time=LINGER_S,
            auto_decompress=False,
        )
        self._address = ""
        self._config = config
        self._connections = connections
        self._head_begun = False
        self._head_bytes = 0
        """Bytes received of a head that is not complete."""
        self._head_timer: asyncio.TimerHandle | None = None
        self._is_stream = False
        """Whether the answer under way is a stream, which checks by itself whether it is
        taken."""
        self._stall_timer: asyncio.TimerHandle | None = None
        self._untaken_bytes = 0
        """Bytes in the write buffer at the last look."""

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._address = _address_of(transport)
        if (reason := self._connections.enter(self._address)) is not None:
            refusal = Refusal(self._connections, reason)
            cast("asyncio.Transport", transport).set_protocol(refusal)
            refusal.connection_made(transport)
            return
        super().connection_made(transport)
        self._await_head()

    @override
    def connection_lost(self, exc: BaseException | None) -> None:
        self._connections.leave(self._address)
        self._cancel_timers()
        super().connection_lost(exc)

    # What the client sends

    @override
    def data_received(self, data: bytes) -> None:
        seen = self._request_count
        super().data_received(data)
        if self._request_count != seen:
            self._head_begun = False
            self._head_bytes = 0
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None
        elif self._awaits_request or self._head_timer is not None:
            # No request is under way: these bytes are a part of a head.
            self._head_begun = True
            self._head_bytes += len(data)
            if self._head_bytes > self._config.head_bytes_max:
                self._refuse_head("head-too-large", "The head of the request is too large.")
            elif self._head_timer is None:
                self._await_head()

    @property
    def _awaits_request(self) -> bool:
        """Whether none is under way; what ends the wait for one is there before it is begun."""
        return self._waiter is not None and not self._waiter.done()

    def _await_head(self) -> None:
        self._head_timer = self._loop.call_later(self._config.head_s_max, self._head_overdue)

    def _head_overdue(self) -> None:
        self._head_timer = None
        if self._head_begun:
            detail = "The head of the request did not come to its end."
            self._refuse_head("request-timeout", detail)
        else:
            self.force_close()

    def _refuse_head(self, problem: str, detail: str) -> None:
        if self.transport is not None:
            self.transport.write(bare_answer(problem, detail))
        self.force_close()

    # What the client takes

    @contextlib.contextmanager
    def left_to_stream(self) -> Generator[None, None, None]:
        """For the length of a block a stream watches by itself whether it is taken."""
        self._is_stream = True
        try:
            yield
        finally:
            self._is_stream = False
            self._watch_answer()

    @override
    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_answer()

    @override
    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None

    def _watch_answer(self) -> None:
        if self.writing_paused and not self._is_stream and self._stall_timer is None:
            self._look_at_answer_later()

    def _look_at_answer_later(self) -> None:
        transport = self.transport
        if transport is None:
            return
        self._untaken_bytes = transport.get_write_buffer_size()
        self._stall_timer = self._loop.call_later(
            self._config.answer_stalled_s_max, self._look_at_answer
        )

    def _look_at_answer(self) -> None:
        self._stall_timer = None
        transport = self.transport
        if transport is None or self._is_stream:
            return
        taken_bytes = self._untaken_bytes - transport.get_write_buffer_size()
        if taken_bytes < ANSWER_BYTES_S_MIN * self._config.answer_stalled_s_max:
            transport.abort()
        else:
            self._look_at_answer_later()

    def _cancel_timers(self) -> None:
        for timer in (self._head_timer, self._stall_timer):
            if timer is not None:
                timer.cancel()
        self._head_timer = self._stall_timer = None

    # What is no request

    @override
    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if isinstance(exc, ConnectionResetError):
            raise exc  # the client has gone: aiohttp ends the connection without a word
        if status != 400:
            return super().handle_error(request, status, exc, message)
        if isinstance(exc, LineTooLong):
            problem = Problem("head-too-large", "A line of the request's head is too long.")
        elif message == _TOO_MANY_LINES:
            problem = Problem("head-too-large", "The request's head has too many lines.")
        else:
            problem = Problem("malformed-request", "What came is no HTTP request.")
        response = render_problem(problem, str(uuid7()))
        response.headers.update({"Server": SERVER, **PROTECTIVE})
        response.force_close()
        return response


class Refusal(asyncio.Protocol):
    """A connection for which there is no room: it is told so once it has asked something."""

    def __init__(self, connections: Connections, detail: str) -> None:
        self._connections = connections
        self._detail = detail
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if self._connections.refusing >= REFUSALS_MAX:
            self._transport.abort()
            return
        self._connections.refusing += 1
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(REFUSAL_S_MAX, self._transport.abort)

    @override
    def data_received(self, data: bytes) -> None:
        # An answer before the question would be lost: closing then resets the connection.
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(
                bare_answer("too-many-connections", self._detail, retry_after_s=2)
            )
            self._transport.close()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._connections.refusing -= 1


def _address_of(transport: asyncio.BaseTransport) -> str:
    """Where a connection comes from; "" where that is no network."""
    match transport.get_extra_info("peername"):
        case (str() as address, *_):
            return network_of(address)
        case _:
            return ""


def bare_answer(problem: str, detail: str, *, retry_after_s: int | None = None) -> bytes:
    """A problem as the bytes of an HTTP answer that ends the connection."""
    extra = {} if retry_after_s is None else {"retry_after_s": retry_after_s}
    status, body = problem_body(Problem(problem, detail, extra), str(uuid7()))
    head = [
        f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}",
        "Content-Type: application/problem+json",
        *(f"{name}: {value}" for name, value in PROTECTIVE.items()),
        f"Content-Length: {len(body)}",
        *(() if retry_after_s is None else (f"Retry-After: {retry_after_s}",)),
        "Connection: close",
    ]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body
