"""The gateway: what handlers share, and the one place that turns errors into answers."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler
from uuid_utils import uuid7

from gateway.browsers import Browsers
from gateway.config import GatewayConfig
from gateway.connection import check_framing
from gateway.directory import Directory
from gateway.guard import PRINCIPAL, Guard
from gateway.limits import Limits
from gateway.openai.errors import REQUEST_ID_HEADER, render_error, speaks_openai
from gateway.problem_types import TYPES
from gateway.problems import Problem, problem_of, render_problem
from gateway.refusals import REFUSALS, Refusals
from gateway.sse import Viewers
from storage import ErrorSeen, Store

log = structlog.get_logger(__name__)

Clock = Callable[[], int]
"""Unix time in milliseconds."""
_OURS: Final = frozenset({500, 503})
"""Statuses that are no client's fault."""


@dataclass
class Gateway:
    """What one gateway process has."""

    config: GatewayConfig
    store: Store
    directory: Directory
    clock: Clock
    stopping: asyncio.Event

    def __post_init__(self) -> None:
        self.browsers = Browsers(self.config)
        self.guard = Guard(self.config, self.store, self.clock)
        self.limits = Limits(self.config, self.store)
        self.refusals = Refusals()
        self.viewers = Viewers(self.config, self.store)
        self._waits: set[asyncio.Timeout] = set()
        self.warned: set[str] = set()
        """Deprecated endpoints whose use was logged."""

    def owner_of(self, request: web.Request) -> str:
        """The owner whose contexts the request is about."""
        return request[PRINCIPAL].owner

    @contextlib.asynccontextmanager
    async def waiting(self, wait_s: float | None) -> AsyncGenerator[None, None]:
        """Bound a client's wait; None for the usual wait of an action.

        A wait that the client asked for ends early when the gateway stops: it is answered
        with what there is, and the client asks again elsewhere.

        Raises:
            TimeoutError: The time is over.
        """
        bound_s = self.config.applied_s_max if wait_s is None else wait_s
        if wait_s is not None and self.stopping.is_set():
            bound_s = 0
        async with asyncio.timeout(bound_s) as wait:
            if wait_s is not None:
                self._waits.add(wait)
            try:
                yield
            finally:
                self._waits.discard(wait)

    def load(self) -> Mapping[str, int]:
        """What it has at work."""
        return {
            **self.viewers.by_transport(),
            "viewers_long_poll": len(self._waits),
            "feeds": self.directory.feeds,
        }

    def end_waits(self) -> None:
        """End every wait that a client asked for."""
        now = asyncio.get_running_loop().time()
        for wait in self._waits:
            if not wait.expired():
                wait.reschedule(now)


GATEWAY: web.AppKey[Gateway] = web.AppKey("gateway", Gateway)
REQUEST_ID: web.RequestKey[str] = web.RequestKey("request_id", str)
"""A request's id: in its problem, in our log, and in every answer of OpenAI's doors."""


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer what a handler raises as problem+json; the unforeseen is logged, once."""
    request_id = request[REQUEST_ID] = str(uuid7())
    openai = speaks_openai(request.path)
    try:
        check_framing(request)
        request.app[GATEWAY].browsers.check(request)
        response = await handler(request)
    except ConnectionResetError:
        raise  # the client has gone: nobody is there to be answered, and nothing is wrong
    except Exception as error:
        problem = problem_of(error)
        if problem is None and isinstance(error, web.HTTPException):
            raise
        _tell(request.app[GATEWAY].store, problem, request_id)
        if problem is None:
            log.exception("request failed", request_id=request_id, path=request.path)
            problem = Problem("internal", "This is our fault; the log has the request id.")
        elif problem.type in REFUSALS:
            request.app[GATEWAY].refusals.note(request, problem, request_id)
        if (trace_id := request.app[GATEWAY].store.tracer.trace_id()) is not None:
            problem = problem.traced(trace_id)
        render = render_error if openai else render_problem
        response = render(problem, request_id)
        if problem.type == "malformed-request":
            response.force_close()  # nobody knows where the next request begins
        return response
    if openai and not response.prepared:
        response.headers[REQUEST_ID_HEADER] = request_id
    return response


def _tell(store: Store, problem: Problem | None, request_id: str) -> None:
    """Count what a request was refused with, and tell dashboards what is our fault."""
    error = problem.type if problem is not None else "internal"
    store.meters.count(f"errors:{error}")
    if problem is None or TYPES[error].status in _OURS:
        severity: Literal["warning", "error"] = "error" if problem is None else "warning"
        store.announcer.tell(ErrorSeen(error=error, severity=severity, request_id=request_id))
