"""Logs requests that were not let in: so many lines a minute, then how many more there were."""

import asyncio
from typing import Final

import structlog
from aiohttp import web

from gateway.clients import client_address
from gateway.problems import Problem

log = structlog.get_logger(__name__)

REFUSALS: Final = frozenset(
    {"unauthorized", "forbidden", "origin-not-allowed", "misdirected", "rate-limited"}
)
"""Types of the problems of requests that were not let in."""
LINES_MINUTE_MAX: Final = 60
"""Lines in a minute; more would let a client fill the disk."""


class Refusals:
    """The refusals of one gateway."""

    def __init__(self) -> None:
        self._minute = 0
        self._count = 0
        """Refusals in this minute."""

    def note(self, request: web.Request, problem: Problem, request_id: str) -> None:
        """Log a refusal, unless there were too many this minute."""
        minute = int(asyncio.get_running_loop().time() // 60)
        if minute != self._minute:
            if (unlogged := self._count - LINES_MINUTE_MAX) > 0:
                log.warning("more refused than logged", unlogged=unlogged)
            self._minute, self._count = minute, 0
        self._count += 1
        if self._count <= LINES_MINUTE_MAX:
            log.warning(
                "refused",
                problem=problem.type,
                reason=problem.detail,
                address=client_address(request),
                method=request.method,
                path=request.path,
                request_id=request_id,
            )
