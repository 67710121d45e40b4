"""Requests to one contextd, each sent until it is answered.

Every request here may be sent again: it reads, or it carries an Idempotency-Key, under which
the server does it once. A repeat has the same bytes as the first.
"""

import asyncio
import contextlib
import io
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

import aiohttp
from pydantic import ValidationError

from contextd_client.limits import ClientLimits, Draw, Sleep, pause_s
from contextd_client.problems import NotUnderstood, Problem, Unreachable, problem_of
from contextd_client.views import View

V = TypeVar("V", bound=View)

_CUT: Final = (aiohttp.ClientError, OSError)
"""Errors of a request that got no answer, time-outs among them."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that is no problem."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def read(self, model: type[V]) -> V:
        """The body as a value of `model`.

        Raises:
            NotUnderstood: The body is no such value.
        """
        try:
            return model.model_validate_json(self.body)
        except ValidationError:
            raise NotUnderstood("The answer is none of contextd's.") from None


class Connection:
    """One contextd. Made within a running loop; to be closed."""

    def __init__(
        self, url: str, *, key: str | None, limits: ClientLimits, sleep: Sleep, draw: Draw
    ) -> None:
        self.limits = limits
        self._url = url.rstrip("/")
        self._sleep = sleep
        self._draw = draw
        self._answered = False
        self.is_closed = False
        self._asking: set[asyncio.Timeout] = set()
        """Of each request that has no answer yet."""
        self._reading: set[aiohttp.ClientResponse] = set()
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=limits.connections_max),
            headers=headers,
            middlewares=(self._send,),
        )

    async def close(self) -> None:
        """Close everything that is open: streams end, and requests are `Unreachable`.

        The session alone would close their connections and leave them waiting.
        """
        self.is_closed = True
        for asking in self._asking:
            asking.reschedule(0)  # over since the loop began
        for response in self._reading:
            response.close()
        await self._session.close()

    async def ask(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        wait_s: int = 0,
    ) -> Answer:
        """Send a request until there is an answer that a repeat would not change.

        Cancelled, it leaves nothing open; whether the server has done it is unknown then.

        Raises:
            Unreachable: There was no answer.
            Problem: The server refuses, or has stayed unavailable.
            NotUnderstood: The answer is too large.
        """
        answer_s_max = self.limits.answer_s_max + wait_s
        tries = 1
        while True:
            try:
                async with self.open(
                    method,
                    path,
                    body=body,
                    headers=headers or {},
                    answer_s_max=answer_s_max,
                    tries=tries,
                ) as response:
                    return Answer(response.status, response.headers, await self._read(response))
            except (Unreachable, Problem) as error:
                self.check(error, failures=tries)
                asked_s = error.retry_after_s
            await self.pause(failures=tries, asked_s=asked_s)
            tries += 1

    @contextlib.asynccontextmanager
    async def open(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        answer_s_max: float | None = None,
        tries: int = 1,
    ) -> AsyncGenerator[aiohttp.ClientResponse, None]:
        """Send a request once, for as long as its answer is read.

        Args:
            method: Of the request.
            path: With its query.
            headers: Besides those of every request.
            body: JSON.
            answer_s_max: Bound for the whole answer; None: none, while it is not silent.
            tries: What `Problem.tries` is to say.

        Raises:
            Unreachable: There is no answer, or it breaks off.
            Problem: The server refuses.
        """
        limits = self.limits
        timeout = aiohttp.ClientTimeout(
            total=answer_s_max,
            sock_connect=limits.connect_s_max,
            sock_read=limits.silence_s_max if answer_s_max is None else None,
        )
        sent = {**headers, "Content-Type": "application/json"} if body is not None else headers
        try:
            if self.is_closed:
                raise aiohttp.ClientConnectionError("The client is closed.")
            async with asyncio.timeout(None) as asking:
                self._asking.add(asking)
                try:
                    response = await self._session.request(
                        method,
                        self._url + path,
                        # aiohttp writes a stream piece by piece; bytes would hold the loop.
                        data=None if body is None else io.BytesIO(body),
                        headers=sent,
                        allow_redirects=False,
                        timeout=timeout,
                    )
                finally:
                    self._asking.discard(asking)
            async with response:
                self._answered = True
                self._reading.add(response)
                try:
                    if response.status >= 300 and response.status != 304:
                        raw = await self._read(response)
                        asked = response.headers.get("Retry-After", "")
                        raise problem_of(response.status, raw, retry_after=asked, tries=tries)
                    yield response
                finally:
                    self._reading.discard(response)
        except _CUT as error:
            raise Unreachable(self._url, error) from error

    async def _send(
        self, request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        # A GET that is cut, aiohttp would send again by itself, beyond `tries_max`.
        try:
            return await send(request)
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
            raise Unreachable(self._url, error) from error

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        body = bytearray()
        async for piece in response.content.iter_any():
            body += piece
            if len(body) > self.limits.context_bytes_max:
                raise NotUnderstood(f"An answer of over {self.limits.context_bytes_max} bytes.")
        return bytes(body)

    def check(self, error: Unreachable | Problem, *, failures: int) -> None:
        """Raise `error` unless another try makes sense after so many failures.

        Raises:
            Unreachable: `error`, which would come again.
            Problem: The same.
        """
        limits = self.limits
        if isinstance(error, Problem):
            may_pass = error.passes and error.retry_after_s <= limits.retry_after_s_max
            tries_max = limits.tries_max if may_pass else 0
        else:
            tries_max = limits.tries_max if self._answered else limits.first_tries_max
        if failures >= tries_max or self.is_closed:
            raise error

    async def pause(self, *, failures: int, asked_s: float) -> None:
        """Wait before the next try, at least as long as the server asks."""
        waits_s = pause_s(self.limits, failures=failures, asked_s=asked_s, drawn=self._draw())
        await self._sleep(waits_s)
