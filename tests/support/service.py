"""Gateways and workers in this process over a real store, for the length of a block.

Each has a store connection of its own, as separate processes would. The scripted model
answers. Every answer that a `Client` gets is held to the models of `gateway/views.py`.
"""

import asyncio
import contextlib
import functools
import re
import socket
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field

import aiohttp
import orjson
from aiohttp import hdrs
from pydantic import BaseModel, JsonValue

from gateway import GatewayConfig, serve as serve_gateway
from gateway.views import (
    ActionResponse,
    ActionStatus,
    ContextList,
    EventsPage,
    Liveness,
    ProblemDocument,
    ProblemTypeView,
    Readiness,
)
from storage import StorageConfig, Store, connect
from workers import WorkerConfig, serve as serve_worker

Options = Mapping[str, object]
WITHIN_S = 10.0

_CONTEXTS = "/(?:api|v1)/contexts"
_VIEWS: tuple[tuple[str, tuple[type[BaseModel], ...]], ...] = (
    (f"GET {_CONTEXTS}", (ContextList,)),
    (f"GET {_CONTEXTS}/[^/]+/state", (ActionResponse, EventsPage)),
    (f"(?:GET|POST|DELETE) {_CONTEXTS}.*", (ActionResponse,)),
    ("GET /api/actions/[^/]+", (ActionStatus,)),
    ("GET /healthz?", (Liveness,)),
    ("GET /readyz", (Readiness,)),
    ("GET /problems/[^/]+", (ProblemTypeView,)),
)


def hold_to_views(method: str, path: str, status: int, content_type: str, body: bytes) -> None:
    """Fail unless an answer is what OpenAPI says it is, no field more or less."""
    if status in {204, 304} or method == "HEAD":
        assert body == b""
        return
    if content_type == "application/problem+json":
        problem = ProblemDocument.model_validate_json(body)
        assert problem.status == status
        return
    assert status < 400 or path == "/readyz", (status, body[:500])
    if content_type != "application/json" or path == "/openapi.json":
        return
    models = next(models for shape, models in _VIEWS if re.fullmatch(shape, f"{method} {path}"))
    page = len(models) > 1 and b'"events"' in body[:10]
    models[-1 if page else 0].model_validate_json(body, strict=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, JsonValue]:
        """The body, which must be a JSON object."""
        value: dict[str, JsonValue] = orjson.loads(self.body)
        return value

    @property
    def context(self) -> "Context":
        """The state in an ActionResponse."""
        return ActionResponse.model_validate_json(self.body).context or _no_context()

    @property
    def problem(self) -> str:
        """Name of the problem's type."""
        assert self.headers["Content-Type"] == "application/problem+json", self
        return ProblemDocument.model_validate_json(self.body).type.removeprefix("/problems/")


@dataclass(frozen=True, slots=True)
class SseFrame:
    """One server-sent event, and its bytes."""

    id: str
    event: str
    data: JsonValue
    raw: bytes
