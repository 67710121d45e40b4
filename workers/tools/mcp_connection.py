"""One MCP server: its connection, which is made again whenever it ends, and its tools.

A server that dies, hangs or talks nonsense costs nobody but those who call it: its tools
stay known, and calls fail with a `ToolError`. One task owns a connection from beginning to
end; whatever the SDK or the server raises ends that connection and nothing else.

    ServerLost       a connection has ended, or none could be made; `str` says why
"""

import asyncio
import contextlib
import logging
import math
from collections.abc import AsyncGenerator, Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Final, Self, TextIO, TypeAlias, cast

import anyio
import httpx2
import structlog
from mcp import Client, MCPError, StdioServerParameters, stdio_client
from mcp.client import IncomingMessage
from mcp.client.streamable_http import streamable_http_client
from mcp.client.subscriptions import ListenNotSupportedError, SubscriptionLost
from mcp.shared.message import SessionMessage
from mcp.types import (
    CONNECTION_CLOSED,
    CallToolRequest,
    CallToolRequestParams,
    CallToolResult,
    Implementation,
    JSONRPCResponse,
    ListToolsResult,
    Tool as ListedTool,
    ToolListChangedNotification,
)
from mcp.types.methods import validate_server_result
from pydantic import JsonValue, ValidationError
from typing_extensions import override

from workers.tools.config import ToolConfig
from workers.tools.declaration import Tool, ToolCallContext, ToolError
from workers.tools.mcp_servers import HttpServer, McpServer, StdioServer, secrets_of
from workers.tools.mcp_tools import text_of, tool_of
from workers.tools.mcp_transport import PinnedTransport
from workers.tools.registry import Registry

log = structlog.get_logger(__name__)

IDEMPOTENCY_KEY: Final = "contextd/idempotency-key"
"""Name in a call's `_meta`."""
CLOSING_S_MAX: Final = 8.0
"""The SDK itself ends a process within some 5 s; the rest is for a server that hangs."""
_READ_S_MIN: Final = 300.0
"""A stream on which changes are told may be silent for long."""
_NAME_CHARS_MAX: Final = 64
"""Of what is no tool, in the log."""
_QUIET: Final = ("mcp", "client", "httpx2", "httpcore2")
"""Their lines hold what was said, and a server that prints junk fills the log with them."""

_Stream: TypeAlias = Any  # the SDK keeps the types of its streams to itself


class ServerLost(Exception):
    """There is no connection any more; the message says why."""


class McpConnection:
    """Keeps one server connected and its tools in the registry."""

    def __init__(
        self,
        name: str,
        server: McpServer,
        *,
        registry: Registry,
        config: ToolConfig,
        complaints: TextIO,
    ) -> None:
        """Take a declared server; nothing is started yet.

        Args:
            name: As it was declared.
            server: What was declared.
            registry: Gets its tools.
            config: The bounds.
            complaints: Gets what a process that we start writes to its standard error.
        """
        self._name = name
        self._server = server
        self._secrets = secrets_of(server)
        self._registry = registry
        self._config = config
        self._complaints = complaints
        self._client: Client | None = None
        self._listed: list[ListedTool] | None = None
        self.left_out: dict[str, str] = {}
        """Tools that it has told but that cannot be offered, and why."""
        self._misfits: list[str] = []
        """What the present connection has listed and is no tool, as the protocol has it."""
        self._asked_under: str | None = None
        """Version of the protocol under which the server is being asked for its tools."""
        self._answered = False
        """Whether the present connection has ever told its tools."""
        self._doubted = asyncio.Event()
        """Something has happened after which the server is asked for its tools again."""
        self._calls = 0
        self._places = asyncio.Semaphore(config.mcp_calls_max)
        for quiet in _QUIET:
            logging.getLogger(quiet).setLevel(logging.CRITICAL)

    @override
    def __repr__(self) -> str:
        state = "connected" if self._client else "not connected"
        return f"<McpConnection {self._name} {state} calls={self._calls}>"

    async def keep(self) -> None:
        """Connect, and again whenever the connection ends, until cancelled."""
        loop = asyncio.get_running_loop()
        pause_s = self._config.mcp_pause_s
        told = False
        while True:
            began_s = loop.time()
            reason = "it has ended"
            try:
                await self._connect(staying=True)
            except ServerLost as lost:
                reason = str(lost)
                self._registry.pass_over(self._name)
            if self._answered or not told:  # it may be away for days
                log.warning("mcp server lost", server=self._name, reason=reason)
            told = True
            if self._answered and loop.time() - began_s > self._config.mcp_pause_s_max:
                pause_s = self._config.mcp_pause_s
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, self._config.mcp_pause_s_max)

    async def look(self) -> None:
        """Connect, take the server's tools into the registry, and leave.

        Raises:
            ServerLost: It did not answer as it should.
        """
        await self._connect(staying=False)

    async def _connect(self, *, staying: bool) -> None:
        self._answered = False
        self._doubted.clear()
        scope = anyio.CancelScope()
        try:
            async with asyncio.TaskGroup() as group:
                task = group.create_task(
                    self._connected(scope, staying=staying), name=f"mcp connection {self._name}"
                )
                try:
                    await asyncio.wait((task,))
                finally:
                    # A task that is cancelled while it ends a process leaves that behind; its
                    # scope knows which of the SDK's steps are to be finished.
                    scope.cancel()
                    await asyncio.wait((task,), timeout=CLOSING_S_MAX)
        except ExceptionGroup as ended:
            if (task_here := asyncio.current_task()) and task_here.cancelling():
                raise asyncio.CancelledError from ended
            raise ServerLost(self._shown(_reason(ended))) from ended

    async def _connected(self, scope: anyio.CancelScope, *, staying: bool) -> None:
        """One connection, from beginning to end."""
        loop = asyncio.get_running_loop()
        scope.deadline = loop.time() + self._config.mcp_connect_s
        with scope:
            async with self._session() as client:
                try:
                    await self._list(client)
                    self._answered = True
                    if staying:
                        scope.deadline = math.inf
                        self._client = client
                        await self._stay(client)
                finally:
                    self._client = None
                    # The SDK says goodbye to a server that may not listen.
                    scope.deadline = min(scope.deadline, loop.time() + CLOSING_S_MAX)
        if not self._answered:
            raise TimeoutError

    def _session(self) -> Client:
        return Client(
            self._transport(),
            message_handler=self._hear,
            client_info=Implementation(name="contextd", version="0"),
            cache=None,
        )

    @contextlib.asynccontextmanager
    async def _transport(self) -> AsyncGenerator[tuple[_Stream, _Stream]]:
        server = self._server
        match server:
            case StdioServer():
                parameters = StdioServerParameters(
                    command=server.command,
                    args=list(server.args),
                    env={name: value.get_secret_value() for name, value in server.env.items()},
                    cwd=server.cwd,
                    encoding_error_handler="replace",
                )
                async with stdio_client(parameters, errlog=self._complaints) as (read, write):
                    yield _Watched(read, self._doubted.set, self._without_misfits), write
            case HttpServer():
                headers = {n: value.get_secret_value() for n, value in server.headers.items()}
                read_s = max(_READ_S_MIN, server.timeout_s + self._config.mcp_answer_s)
                async with (
                    httpx2.AsyncClient(
                        headers=headers,
                        timeout=httpx2.Timeout(self._config.mcp_answer_s, read=read_s),
                        transport=PinnedTransport(),
                        trust_env=False,
                    ) as http,
                    streamable_http_client(server.url, http_client=http) as (read, write),
                ):
                    yield _Watched(read, self._doubted.set, self._without_misfits), write

    async def _stay(self, client: Client) -> None:
        """Ask for the tools whenever there is reason to, until there is no answer."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._subscribe(client), name=f"mcp changes {self._name}")
            while True:
                try:
                    async with asyncio.timeout(self._config.mcp_check_s):
                        await self._doubted.wait()
                except TimeoutError:
                    if self._calls:
                        continue  # a server that works on one may have no time for us
                self._doubted.clear()
                async with asyncio.timeout(self._config.mcp_answer_s):
                    await self._list(client)

    async def _subscribe(self, client: Client) -> None:
        """Have the server tell changes, where it does so on request only."""
        while True:
            try:
                async with client.listen(tools_list_changed=True) as changes:
                    async for _ in changes:
                        self._doubted.set()
            except (ListenNotSupportedError, MCPError):
                return
            except SubscriptionLost:
                pass
            self._doubted.set()
            await asyncio.sleep(self._config.mcp_pause_s_max)

    async def _hear(self, message: IncomingMessage) -> None:
        if isinstance(message, ToolListChangedNotification):
            self._doubted.set()

    async def _list(self, client: Client) -> None:
        """Ask for the tools, and have them in the registry."""
        self._misfits.clear()
        self._asked_under = client.protocol_version
        try:
            page = await client.list_tools()
            listed = list(page.tools)
            while page.next_cursor is not None and len(listed) < self._config.mcp_tools_max:
                page = await client.list_tools(cursor=page.next_cursor)
                listed += page.tools
        finally:
            self._asked_under = None
        if listed == self._listed:
            return
        self._listed = listed
        self._register(listed)

    def _without_misfits(self, message: object) -> None:
        """Take out of a list of tools what would have the SDK refuse all of it."""
        version = self._asked_under
        match message:
            case SessionMessage(
                message=JSONRPCResponse(result={"tools": list()} as result)
            ) if version is not None:
                listed = cast("list[JsonValue]", result["tools"])
                fitting: list[JsonValue] = []
                for number, one in enumerate(listed, start=1):
                    if _is_tool(one, result, version):
                        fitting.append(one)
                        continue
                    name = one.get("name") if isinstance(one, dict) else None
                    told = name if isinstance(name, str) else f"number {number}"
                    self._misfits.append(told[:_NAME_CHARS_MAX])
                result["tools"] = fitting
            case _:
                pass

    def _register(self, listed: Sequence[ListedTool]) -> None:
        tools: list[Tool] = []
        self.left_out = dict.fromkeys(self._misfits, "the protocol knows no such tool")
        allowed = self._server.tools
        wanted = [one for one in listed if allowed is None or one.name in allowed]
        for one in wanted[: self._config.mcp_tools_max]:
            try:
                tools.append(
                    tool_of(self._name, self._server, one, partial(self._call, one.name))
                )
            except ValueError as error:
                self.left_out[one.name] = str(error)
        if over := len(wanted[self._config.mcp_tools_max :]):
            self.left_out[f"{over} more"] = "there are over `mcp_tools_max`"
        for taken in self._registry.replace(self._name, tools):
            self.left_out[taken] = "another tool has its name"
        log.info("mcp server listed", server=self._name, tools=len(tools))
        for tool, reason in self.left_out.items():
            log.warning("mcp tool left out", server=self._name, tool=tool, reason=reason)

    async def _call(
        self, tool: str, arguments: dict[str, JsonValue], context: ToolCallContext
    ) -> str:
        """Run a tool. Cancelling tells the server that nobody waits any more.

        Raises:
            ToolError: It failed, or the server is away.
        """
        async with self._places:
            client = self._client
            if client is None:
                raise ToolError("unavailable", f"The server {self._name} is not connected.")
            self._calls += 1
            answered = False
            try:
                # `Client.call_tool` would check the result by the server's own schema, whose
                # regular expressions can take for ever, and say back what does not fit.
                result = await client.session.send_request(
                    _request(tool, arguments, context), CallToolResult
                )
                answered = True
            except ValidationError:
                detail = f"The answer of the server {self._name} is no result of a tool."
                raise ToolError("raised", detail) from None
            except MCPError as error:
                if error.code != CONNECTION_CLOSED:
                    raise ToolError("raised", self._shown(error.message)) from error
                detail = f"The server {self._name} has gone; whether {tool} ran is not known."
                raise ToolError("unavailable", detail) from error
            finally:
                self._calls -= 1
                if not answered:
                    self._doubted.set()
        text = self._shown(text_of(result))
        if result.is_error:
            raise ToolError("raised", text)
        return text

    def _shown(self, text: str) -> str:
        """What a server says, without the secrets that it was given."""
        for secret in self._secrets:
            text = text.replace(secret, "[removed]")
        return text


class _Watched:
    """The stream of a server's messages; calls `heard` with each, `ended` after the last."""

    def __init__(
        self, messages: _Stream, ended: Callable[[], None], heard: Callable[[object], None]
    ) -> None:
        self._messages = messages
        self._ended = ended
        self._heard = heard

    async def receive(self) -> object:
        return await self._messages.receive()

    async def aclose(self) -> None:
        await self._messages.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> object:
        try:
            message: object = await self._messages.__anext__()
        except StopAsyncIteration:
            self._ended()
            raise
        self._heard(message)
        return message

    async def __aenter__(self) -> Self:
        await self._messages.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._messages.__aexit__(kind, error, trace)


def _is_tool(one: JsonValue, result: dict[str, Any], version: str) -> bool:
    """Whether the SDK would take a list of this entry alone."""
    alone = {**result, "tools": [one]}
    try:
        with contextlib.suppress(KeyError):  # as the SDK: a version that says nothing of lists
            validate_server_result("tools/list", version, alone)
        ListToolsResult.model_validate(alone, by_name=False)
    except ValidationError:
        return False
    return True


def _request(
    tool: str, arguments: dict[str, JsonValue], context: ToolCallContext
) -> CallToolRequest:
    meta = {IDEMPOTENCY_KEY: context.idempotency_key}
    said = {"name": tool, "arguments": arguments, "_meta": meta}
    return CallToolRequest(params=CallToolRequestParams.model_validate(said))


def _reason(error: BaseException) -> str:
    """Why a connection has ended, without what was said on it."""
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    match error:
        case TimeoutError():
            return "it did not answer in time"
        case MCPError(code=code) if code == CONNECTION_CLOSED:
            return "it has closed the connection"
        case MCPError(message=message):
            return message
        case OSError() | httpx2.ConnectError():
            return str(error)
        case httpx2.HTTPStatusError(response=response):
            return f"it answers {response.status_code}"  # its text may hold the address
        case _:
            return type(error).__name__
