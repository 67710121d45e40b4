"""The gateway: what handlers share, and the one place that turns errors into answers."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog
from aiohttp import web
from uuid_utils import uuid7

from gateway.config import GatewayConfig
from gateway.directory import Directory
from gateway.problems import Problem, problem_of, render_problem
from gateway.sse import Viewers
from storage import Store

log = structlog.get_logger(__name__)

OWNER = "local"
"""Whose contexts these are. Everybody who reaches the loopback address is this owner."""

Clock = Callable[[], int]
"""Unix time in milliseconds."""


@dataclass
class Gateway:
    """What one gateway process has."""

    config: GatewayConfig
    store: Store
    directory: Directory
    clock: Clock
    stopping: asyncio.Event

    def __post_init__(self) -> None:
        self.viewers = Viewers(self)

    def owner_of(self, _request: web.Request) -> str:
        """Who asks."""
        return OWNER


GATEWAY: web.AppKey[Gateway] = web.AppKey("gateway", Gateway)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer what a handler raises as problem+json; the unforeseen is logged, once."""
    try:
        return await handler(request)
    except Exception as error:
        problem = problem_of(error)
        if problem is None and isinstance(error, web.HTTPException):
            raise
        request_id = str(uuid7())
        if problem is None:
            log.exception("request failed", request_id=request_id, path=request.path)
            problem = Problem("internal", "This is our fault; the log has the request id.")
        return render_problem(problem, request_id)
