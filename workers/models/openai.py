"""Any model server that speaks the OpenAI chat completions protocol.

One call is one request, never repeated in here: whether to try again is decided by the
machine, which counts attempts. A server that refuses `stream_options` is not guessed at:
`model_include_usage` turns that off.
"""

import asyncio
import math
import ssl
from collections.abc import AsyncGenerator
from typing import Final

import aiohttp
import orjson
from typing_extensions import override
from yarl import URL

from workers.deadline import Deadline
from workers.models.assembly import ReplyAssembly
from workers.models.config import ModelConfig
from workers.models.failures import failure_of_status
from workers.models.protocol import ModelError, ModelRequest, ReplyItem, TextDelta
from workers.outward import CheckedResolver, refusal_in

_OURS: Final = frozenset(
    {
        "model",
        "messages",
        "tools",
        "stream",
        "stream_options",
        "n",
        "functions",
        "function_call",
    }
)
"""Parameters that the call itself decides. Only one alternative is read, so no `n`."""

_THE_OPERATORS: Final = frozenset(
    {
        *("api_base", "base_url", "api_key", "api_version", "custom_llm_provider"),
        *("headers", "extra_headers", "extra_body", "extra_query", "vertex_credentials"),
    }
)
"""Parameters by which proxies of models (LiteLLM) are told where to go, and as whom."""

_WITH_TOOLS_ONLY: Final = frozenset({"tool_choice", "parallel_tool_calls"})
"""Parameters that servers refuse where no tools are offered."""


class OpenAIModel:
    """Calls one server over one pool of kept connections. Make it inside a running loop."""

    def __init__(self, config: ModelConfig) -> None:
        if config.model_base_url is None:
            raise ValueError("model_base_url is not set")
        self._config = config
        self._api_key = (
            config.model_api_key.get_secret_value() if config.model_api_key else None
        )
        self._url = URL(f"{config.model_base_url}/chat/completions")
        headers = {
            "Accept": "text/event-stream, application/json",
            "Accept-Encoding": "identity",
            "Content-Type": "application/json",
            "User-Agent": "contextd",
        }
        if self._api_key:
            headers["Authorization"] = f"Bearer {self._api_key}"
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=config.model_connections_max,
                limit_per_host=0,
                resolver=CheckedResolver(),
                keepalive_timeout=config.model_keepalive_s,
            ),
            headers=headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(
                total=None,
                connect=config.model_connect_s,
                sock_connect=config.model_connect_s,
                sock_read=None,
            ),
            auto_decompress=False,
            trust_env=False,
        )

    @override
    def __repr__(self) -> str:
        return f"<OpenAIModel {self._url}>"

    @property
    def label(self) -> str:
        """A sentence for failures; the address as configured holds no secret."""
        model = self._config.model
        models = f"the configured model is {model!r}" if model else "no model is configured"
        return f"(Asked: {self._url.host}:{self._url.port}; {models}.)"

    async def close(self) -> None:
        """Close every connection; streams that are open end in a ModelError."""
        await self._session.close()

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ReplyItem, None]:
        """Ask for a reply; the deltas of one read come out as one.

        Cancelling or closing the stream closes its connection, which tells the server to
        stop.

        Raises:
            ModelError: The call failed; items that came before stay valid.
        """
        config = self._config
        body = self._encoded(request)
        clock = asyncio.get_running_loop().time
        started_s = clock()
        ends_s = started_s + request.timeout_s
        first_byte_s = started_s + config.model_first_byte_s
        response = await self._opened(body, request, min(ends_s, first_byte_s), ends_s)
        deadline = Deadline(response.close)
        try:
            deadline.move(min(ends_s, first_byte_s))
            if response.status != 200:
                deadline.move(min(ends_s, clock() + config.model_connect_s))
                raise await self._refusal(response)
            if response.content_type == "text/html":
                raise ModelError(
                    "bad_response",
                    "The model server answered with a web page; check CONTEXTD_MODEL_BASE_URL.",
                    False,
                )
            assembly = ReplyAssembly(
                config, idempotency_key=request.idempotency_key, api_key=self._api_key
            )
            if response.content_type == "application/json":
                whole = await _body(response, config.model_reply_bytes_max + 1)
                if deadline.passed:
                    raise self._too_late(over=clock() >= ends_s, first=True)
                if len(whole) > config.model_reply_bytes_max:
                    raise ModelError(
                        "content_too_long", "The model's reply is longer than is taken.", False
                    )
                if text := assembly.feed_whole(whole):
                    yield TextDelta(text)
            while not assembly.over:
                data = await _read(response)
                if not data:
                    if deadline.passed and not assembly.whole:
                        first = response.content.total_bytes == 0
                        raise self._too_late(over=clock() >= ends_s, first=first)
                    break
                if text := assembly.feed(data):
                    deadline.move(math.inf)  # the reader's time is not the server's
                    yield TextDelta(text)
                deadline.move(min(ends_s, clock() + config.model_between_chunks_s))
            deadline.cancel()
            yield assembly.finished()
            if not response.content.at_eof():
                await self._drain(response)
        finally:
            deadline.cancel()
            response.close()  # a body that was read to its end has given its connection back

    def _encoded(self, request: ModelRequest) -> bytes:
        unwanted = _OURS | _THE_OPERATORS
        if not request.tools:
            unwanted |= _WITH_TOOLS_ONLY
        body: dict[str, object] = {
            name: value for name, value in request.parameters.items() if name not in unwanted
        }
        model = request.model or self._config.model
        if model is not None:
            body["model"] = model
        body["messages"] = orjson.Fragment(request.messages_json)
        if request.tools:
            body["tools"] = request.tools
        body["stream"] = True
        if self._config.model_include_usage:
            body["stream_options"] = {"include_usage": True}
        try:
            return orjson.dumps(body)
        except orjson.JSONEncodeError:
            # Numbers above 64 bits, or text that is not Unicode, in the owner's parameters.
            raise ModelError(
                "bad_request", "The model parameters cannot be sent as JSON.", False
            ) from None

    async def _opened(
        self, body: bytes, request: ModelRequest, deadline_s: float, ends_s: float
    ) -> aiohttp.ClientResponse:
        """Send the request and wait for the head of its answer."""
        try:
            async with asyncio.timeout_at(deadline_s):
                return await self._session.post(
                    self._url,
                    data=body,
                    headers=_headers(request),
                    allow_redirects=False,
                )
        except aiohttp.ConnectionTimeoutError:
            raise ModelError(
                "timeout",
                "The model server did not accept a connection within "
                f"{self._config.model_connect_s:g} s.",
                True,
            ) from None
        except TimeoutError:
            raise self._too_late(over=deadline_s >= ends_s, first=True) from None
        except (ssl.SSLError, aiohttp.ClientSSLError) as error:
            raise ModelError(
                "connection", "No trusted connection to the model server could be made.", False
            ) from error
        except aiohttp.ClientResponseError:
            raise ModelError(
                "bad_response", "The model server's answer is not HTTP.", True
            ) from None
        except (aiohttp.ClientError, OSError) as error:
            if (refusal := refusal_in(error)) is not None:
                raise ModelError("connection", str(refusal), False) from error
            raise ModelError(
                "connection",
                "The model server could not be reached, or hung up before answering.",
                True,
            ) from error
        except RuntimeError as error:
            # What aiohttp says of a closed session.
            raise ModelError(
                "connection", "The model's connections are closed.", True
            ) from error

    async def _refusal(self, response: aiohttp.ClientResponse) -> ModelError:
        # A body that does not come, or breaks off, takes nothing away.
        body = await _body(response, self._config.model_error_bytes_max)
        return failure_of_status(
            response.status,
            response.headers,
            body,
            api_key=self._api_key,
            retry_after_ms_max=self._config.model_retry_after_ms_max,
        )

    def _too_late(self, *, over: bool, first: bool) -> ModelError:
        if over:
            return ModelError("timeout", "The time for this reply is over.", False)
        if first:
            waited_s = self._config.model_first_byte_s
            return ModelError(
                "timeout", f"The model server did not begin to answer in {waited_s:g} s.", True
            )
        silent_s = self._config.model_between_chunks_s
        return ModelError("timeout", f"The model server fell silent for {silent_s:g} s.", True)

    async def _drain(self, response: aiohttp.ClientResponse) -> None:
        """Wait a moment for the end of the body: only then is the connection kept."""
        try:
            async with asyncio.timeout(self._config.model_drain_s):
                while await _read(response):
                    pass
        except TimeoutError:
            return


def _headers(request: ModelRequest) -> dict[str, str]:
    """What differs from call to call."""
    headers = {"Idempotency-Key": request.idempotency_key}
    if request.traceparent is not None:
        headers["traceparent"] = request.traceparent
    return headers


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """Read what has arrived; empty at the end, and where the connection broke.

    Whether the reply was complete by then is for the assembly to say.
    """
    try:
        return await response.content.readany()
    except (aiohttp.ClientError, OSError):
        return b""


async def _body(response: aiohttp.ClientResponse, bytes_max: int) -> bytes:
    """Read a body that is not a stream, cut at `bytes_max`."""
    parts: list[bytes] = []
    left = bytes_max
    while left > 0 and (data := await _read(response)):
        parts.append(data[:left])
        left -= len(data)
    return b"".join(parts)
