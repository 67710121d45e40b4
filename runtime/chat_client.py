"""contextd over HTTP, for the terminal: actions that may be repeated, streams that resume.

An action carries an idempotency key and is sent again with the same key until there is an
answer, so a lost connection never sends a message twice. A stream is opened again from
the last cursor, so no event is missed, and none comes twice.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Mapping
from typing import Literal, TypeVar
from urllib.parse import quote

import aiohttp
import uuid_utils
from pydantic import BaseModel, ConfigDict, JsonValue, TypeAdapter, ValidationError

from contextd_client.sse import Frame, FrameParser

T = TypeVar("T")
FRAME_BYTES_MAX = 16_777_216
"""A `reset` holds a whole context."""
_ANSWER_S_MAX = 30.0
_SILENCE_S_MAX = 45.0
"""The server sends a comment every 15 s; three missed ones mean that it is gone."""
_BACKOFF_S_BASE = 0.2
_BACKOFF_S_MAX = 5.0
_TRIES_MAX = 8
_AGAIN = frozenset({429, 502, 503, 504})


class Wire(BaseModel):
    """Base of what the server says; fields that we do not know are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class ToolCallView(Wire):
    """A tool call that waits for a person."""

    id: str
    name: str
    arguments: str | dict[str, JsonValue]


class MessageView(Wire):
    """One message of the conversation."""

    id: str
    role: Literal["system", "user", "assistant", "tool"]
    content: str
    status: str = "complete"
    client_message_id: str | None = None


class DraftView(Wire):
    """The part of a reply that has arrived."""

    message_id: str
    n: int
    text: str


class ErrorView(Wire):
    """Why a context is in a failed state."""

    code: str
    detail: str


class ContextView(Wire):
    """The state of a context."""

    id: str
    title: str
    status: str
    cursor: str
    messages: tuple[MessageView, ...] = ()
    draft: DraftView | None = None
    pending_tool_calls: tuple[ToolCallView, ...] = ()
    error: ErrorView | None = None


class ActionResponse(Wire):
    """The answer to an action and to a poll."""

    context: ContextView


class Problem(Wire):
    """An error of the server (RFC 9457)."""

    title: str = ""
    detail: str = ""
    status: int = 0


class Summary(Wire):
    """One line of a list of contexts."""

    id: str


class ContextList(Wire):
    """A page of contexts, newest first."""

    contexts: tuple[Summary, ...]


RESPONSE: TypeAdapter[ActionResponse] = TypeAdapter(ActionResponse)


class ChatFailed(Exception):
    """The server refused, or cannot be reached; the message is for the person."""

    def __init__(self, message: str, *, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class ChatClient:
    """One contextd. Close it when done."""

    def __init__(self, url: str, *, key: str | None) -> None:
        self._url = url.rstrip("/")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        # No total time-out: streams are endless. Each request has one of its own.
        self._session = aiohttp.ClientSession(
            headers=headers, timeout=aiohttp.ClientTimeout(total=None, sock_connect=10)
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def create(self) -> ContextView:
        """A new context."""
        return await self._state("POST", "/api/contexts", {})

    async def newest_id(self) -> str | None:
        """The newest context of this owner, if there is one."""
        raw = await self._request("GET", "/api/contexts?limit=1")
        found = self._parsed(TypeAdapter(ContextList), raw).contexts
        return found[0].id if found else None

    async def state(self, context_id: str) -> ContextView:
        """The state of a context, now."""
        return await self._state("GET", f"{_path(context_id)}/state")

    async def act(
        self, context_id: str, action: str, body: Mapping[str, JsonValue]
    ) -> ContextView:
        """Have an action applied exactly once, and return the state after it."""
        return await self._state("POST", f"{_path(context_id)}/actions/{action}", body)

    async def frames(self, context_id: str, cursor: str) -> AsyncGenerator[Frame, None]:
        """What happens from the cursor on, over any number of connections.

        Raises:
            ChatFailed: The server refuses the stream, or stays away.
        """
        failures = 0
        while True:
            parser = FrameParser(frame_bytes_max=FRAME_BYTES_MAX)
            try:
                async with self._session.get(
                    f"{self._url}{_path(context_id)}/events",
                    headers={"Accept": "text/event-stream", "Last-Event-ID": cursor},
                    timeout=aiohttp.ClientTimeout(
                        total=None, sock_connect=10, sock_read=_SILENCE_S_MAX
                    ),
                ) as response:
                    if response.status != 200:
                        raise _failed(response.status, await response.read())
                    async for piece in response.content.iter_any():
                        failures = 0
                        for frame in parser.feed(piece):
                            cursor = frame.id or cursor
                            if frame.event != "bye":
                                yield frame
            except ChatFailed as error:
                if error.status not in _AGAIN or failures >= _TRIES_MAX:
                    raise
            except (aiohttp.ClientError, TimeoutError) as error:
                if failures >= _TRIES_MAX:
                    raise self._away(error) from None
            failures += 1
            asked_s = parser.retry_ms / 1000 if parser.retry_ms is not None else 0.0
            await asyncio.sleep(
                min(asked_s, _BACKOFF_S_MAX) if failures == 1 else _wait_s(failures)
            )

    async def _state(
        self, method: str, path: str, body: Mapping[str, JsonValue] | None = None
    ) -> ContextView:
        return self._parsed(RESPONSE, await self._request(method, path, body)).context

    async def _request(
        self, method: str, path: str, body: Mapping[str, JsonValue] | None = None
    ) -> bytes:
        headers = {"Idempotency-Key": str(uuid_utils.uuid7())} if method == "POST" else {}
        failures = 0
        while True:
            asked_s = 0.0
            try:
                async with self._session.request(
                    method,
                    self._url + path,
                    json=body,
                    headers=headers,
                    timeout=aiohttp.ClientTimeout(total=_ANSWER_S_MAX),
                ) as response:
                    raw = await response.read()
                    if response.status < 300:
                        return raw
                    asked = response.headers.get("Retry-After", "")
                    asked_s = float(asked) if asked.isdigit() else 0.0
                    raise _failed(response.status, raw)
            except ChatFailed as error:
                if error.status not in _AGAIN or failures >= _TRIES_MAX:
                    raise
            except (aiohttp.ClientError, TimeoutError) as error:
                # A first connection that is refused is most often a wrong address.
                refused = isinstance(error, aiohttp.ClientConnectorError) and failures >= 2
                if refused or failures >= _TRIES_MAX:
                    raise self._away(error) from None
            failures += 1
            await asyncio.sleep(max(min(asked_s, _BACKOFF_S_MAX), _wait_s(failures)))

    def _parsed(self, adapter: TypeAdapter[T], raw: bytes) -> T:
        try:
            return adapter.validate_json(raw)
        except ValidationError:
            raise ChatFailed(f"{self._url} does not answer like contextd.") from None

    def _away(self, error: Exception) -> ChatFailed:
        return ChatFailed(
            f"{self._url} cannot be reached ({type(error).__name__}). Is `contextd up` "
            "running? `contextd doctor` tells more."
        )


def _path(context_id: str) -> str:
    return f"/api/contexts/{quote(context_id, safe='')}"


def _wait_s(failures: int) -> float:
    """Full jitter: a thousand clients must not come back in the same instant."""
    longest_s: float = min(_BACKOFF_S_MAX, _BACKOFF_S_BASE * 2.0**failures)
    return random.uniform(0.05, longest_s)  # noqa: S311 - spreads load, guards nothing


def _failed(status: int, raw: bytes) -> ChatFailed:
    try:
        problem = Problem.model_validate_json(raw)
    except ValidationError:
        problem = Problem()
    if status == 401:
        return ChatFailed("The server wants a key: give its file with --key-file.", status=401)
    said = problem.detail or problem.title or "no reason given"
    return ChatFailed(f"{said} ({status})", status=status)
