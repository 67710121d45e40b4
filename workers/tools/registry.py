"""The tools of a worker, by name.

What is offered to a model, what is approved and what is run is found here under one name;
two tools of one name are refused. Tools that a source may change at any time (an MCP server)
are named `<source>__<tool>`. What a tool gives, a result or an error, is text, bounded, and
always valid Unicode.
"""

import asyncio
import contextlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import entry_points
from typing import Final, TypeAlias

from pydantic import JsonValue
from pydantic_core import PydanticSerializationError, to_json

from workers.tools.config import ToolConfig
from workers.tools.declaration import Tool, ToolCallContext, ToolError, ToolFunction
from workers.tools.threads import BlockingCalls

ENTRY_POINT_GROUP: Final = "contextd.tools"

SEPARATOR: Final = "__"
"""Between the names of a source and of its tool."""

_OFFERS_MAX: Final = 256
"""Selections of tools whose wire form is kept; owners choose them, so they are bounded."""

_DETAIL_CHARS_MAX: Final = 1_000

_Selection: TypeAlias = tuple[tuple[str, ...] | None, str | None]
"""Names that a context asks for, and its role."""


def installed_tools() -> tuple[Tool, ...]:
    """Load the tools that installed packages name in the entry point group.

    Raises:
        TypeError: An entry point names something that is not declared with `@tool`.
    """
    found: list[Tool] = []
    for entry_point in entry_points(group=ENTRY_POINT_GROUP):
        loaded: object = entry_point.load()
        if not isinstance(loaded, Tool):
            raise TypeError(
                f"{entry_point.value} in {ENTRY_POINT_GROUP} is no tool: decorate it with @tool"
            )
        found.append(loaded)
    return tuple(found)


@dataclass(eq=False, slots=True)
class _Expected:
    """A source that has still to tell its tools."""

    roles: frozenset[str]
    told: asyncio.Event = field(default_factory=asyncio.Event)
    passed: asyncio.Event = field(default_factory=asyncio.Event)
    """Offers wait for it no longer: it has told them, it has failed, or it took too long."""


class Registry:
    """Tools by name."""

    def __init__(self, tools: Iterable[Tool], config: ToolConfig) -> None:
        self._config = config
        self._tools: dict[str, Tool] = {}
        for declared in tools:
            # The same tool twice is one: built in, and named by an entry point.
            if self._tools.get(declared.name, declared) is not declared:
                raise ValueError(f"two tools are called {declared.name}")
            self._tools[declared.name] = declared
        self._offers: dict[_Selection, tuple[dict[str, JsonValue], ...]] = {}
        self._sources: dict[str, tuple[str, ...]] = {}
        """The names of the tools that each source has now."""
        self._expected: dict[str, _Expected] = {}
        self._blocking_calls = BlockingCalls(threads_max=config.tool_threads_max)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all tools, sorted."""
        return tuple(sorted(self._tools))

    def expect(self, source: str, *, roles: frozenset[str] = frozenset()) -> None:
        """Have offers and calls wait for what a source tells first.

        Args:
            source: The tools' names begin with it.
            roles: Whom its tools are for; empty: all.
        """
        self._expected[source] = _Expected(roles)

    def pass_over(self, source: str) -> None:
        """Have offers wait no longer for an expected source; calls of its tools still do."""
        self._expected[source].passed.set()

    async def all_told(
        self, names: tuple[str, ...] | None, *, role: str | None, within_s: float
    ) -> None:
        """Wait until what is offered is complete, but for sources that were passed over.

        Args:
            names: As of `offered`; only sources that could be meant are waited for.
            role: As of `offered`.
            within_s: Longest wait.
        """
        waited = [
            expected.passed
            for source, expected in self._expected.items()
            if not expected.passed.is_set()
            and (not expected.roles or role in expected.roles)
            and (names is None or any(name.startswith(source + SEPARATOR) for name in names))
        ]
        if not waited:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                for passed in waited:
                    await passed.wait()

    def replace(self, source: str, tools: Iterable[Tool]) -> tuple[str, ...]:
        """Put tools in the place of those that the source had.

        Returns:
            The names that were taken already; those tools are left out.
        """
        for name in self._sources.pop(source, ()):
            del self._tools[name]
        taken: list[str] = []
        placed: list[str] = []
        for declared in tools:
            if declared.name in self._tools:
                taken.append(declared.name)
                continue
            self._tools[declared.name] = declared
            placed.append(declared.name)
        self._sources[source] = tuple(placed)
        self._offers.clear()
        if expected := self._expected.get(source):
            expected.told.set()
            expected.passed.set()
        return tuple(taken)

    def offered(
        self, names: tuple[str, ...] | None, *, role: str | None = None
    ) -> tuple[dict[str, JsonValue], ...]:
        """Return tools in wire form, sorted by name; the same object for the same question.

        Args:
            names: Which; names that no tool has are passed over. None: all.
            role: Of the context; tools that are not for it are passed over.
        """
        offer = self._offers.get((names, role))
        if offer is None:
            wanted = self.names if names is None else sorted(set(names) & self._tools.keys())
            found = (self._tools[name] for name in wanted)
            offer = tuple(_wire_tool(declared) for declared in found if declared.is_for(role))
            if len(self._offers) >= _OFFERS_MAX:
                self._offers.pop(next(iter(self._offers)))
            self._offers[names, role] = offer
        return offer

    def describe(self, name: str, *, role: str | None = None) -> Tool:
        """Return the tool of this name.

        Raises:
            ToolError: `unknown_tool`, also where it is not for this role.
        """
        declared = self._tools.get(name)
        if declared is None or not declared.is_for(role):
            raise ToolError("unknown_tool", f"There is no tool called {name[:64]!r}.")
        return declared

    def problem(self, *, name: str, arguments_json: str, role: str | None = None) -> str | None:
        """Say in a sentence why a call could not be run; None where it could."""
        try:
            self._parsed(self.describe(name, role=role), arguments_json)
        except ToolError as error:
            return error.detail
        return None

    async def run(
        self,
        name: str,
        arguments_json: str,
        context: ToolCallContext,
        *,
        role: str | None = None,
        timeout_s: float | None = None,
    ) -> str:
        """Run a tool and return its result as text, cut at `tool_result_bytes_max`.

        A result that is not a string becomes JSON. Cancelling cancels an async tool, and
        leaves one that runs in a thread to itself: it may still finish, and what it does
        then is not undone.

        Args:
            name: Which tool.
            arguments_json: As the model wrote them, or the person edited them.
            context: Who asks, and under which key.
            role: Of the context.
            timeout_s: What is left of the turn, where that is less than the tool's own.

        Raises:
            ToolError: There is no such tool, its arguments are wrong, it took too long or
                it raised.
        """
        timeout_s = await self._source_told(name, timeout_s)
        declared = self.describe(name, role=role)
        arguments = self._parsed(declared, arguments_json)
        if declared.context_parameter is not None:
            arguments[declared.context_parameter] = context
        limit_s = (
            declared.timeout_s if timeout_s is None else min(timeout_s, declared.timeout_s)
        )
        call = partial(declared.function, **arguments)
        scope = asyncio.timeout(limit_s)
        try:
            async with scope:
                if declared.is_async:
                    result: object = await _awaited(call)
                else:
                    result = await self._blocking_calls.run(call, name=f"tool {name}")
        except ToolError as error:
            raise ToolError(error.code, self._text(name, error.detail)) from error
        except Exception as error:
            if scope.expired():
                raise ToolError(
                    "timeout", f"{name} did not finish within {limit_s:g} s."
                ) from error
            raise ToolError("raised", _valid(_said(error)[:_DETAIL_CHARS_MAX])) from error
        return self._text(name, result)

    async def _source_told(self, name: str, timeout_s: float | None) -> float | None:
        """Wait for the first word of an expected source: an approval may be older than it.

        Returns:
            What is left of `timeout_s`.

        Raises:
            ToolError: `unavailable`.
        """
        source, separator, _ = name.partition(SEPARATOR)
        expected = self._expected.get(source) if separator else None
        if name in self._tools or expected is None or expected.told.is_set():
            return timeout_s
        loop = asyncio.get_running_loop()
        began_s, wait_s = loop.time(), self._config.mcp_connect_s
        try:
            async with asyncio.timeout(wait_s if timeout_s is None else min(wait_s, timeout_s)):
                await expected.told.wait()
        except TimeoutError:
            raise ToolError("unavailable", f"{source} has not told its tools yet.") from None
        return timeout_s and max(0.0, timeout_s - (loop.time() - began_s))

    def _parsed(self, declared: Tool, arguments_json: str) -> dict[str, object]:
        bytes_max = self._config.tool_arguments_bytes_max
        if (
            len(arguments_json) > bytes_max
            or len(arguments_json.encode(errors="replace")) > bytes_max
        ):
            raise ToolError("bad_arguments", f"The arguments are over {bytes_max} bytes.")
        return declared.parsed(arguments_json)

    def _text(self, name: str, result: object) -> str:
        if isinstance(result, str):
            encoded = result.encode(errors="replace")
        else:
            try:
                encoded = to_json(result)
            except (PydanticSerializationError, ValueError) as error:
                raise ToolError(
                    "raised", f"{name} returned {type(result).__name__}, which is not JSON."
                ) from error
        bytes_max = self._config.tool_result_bytes_max
        if len(encoded) <= bytes_max:
            return encoded.decode(errors="replace")
        mark = f"\n[cut: {len(encoded)} bytes]"
        return encoded[: bytes_max - len(mark)].decode(errors="ignore") + mark


async def _awaited(call: ToolFunction) -> object:
    """Return what an async tool returns, or raise what it raises but as what ends no worker.

    What extensions in Rust raise when they panic is no `Exception`, and libraries cancel what
    a tool waits for without anybody having asked.
    """
    try:
        return await call()
    except (Exception, GeneratorExit):
        raise
    except BaseException as raised:
        task = asyncio.current_task()
        if isinstance(raised, asyncio.CancelledError) and task and task.cancelling():
            raise
        raise RuntimeError(f"{raised!r} was raised") from raised


def _said(error: Exception) -> str:
    """What an exception is and, unless that fails, says."""
    said = ""
    with contextlib.suppress(Exception):
        said = str(error)
    return f"{type(error).__name__}: {said}".removesuffix(": ")


def _valid(text: str) -> str:
    """Replace lone surrogates, which no JSON encoder takes."""
    return text.encode(errors="replace").decode()


def _wire_tool(declared: Tool) -> dict[str, JsonValue]:
    return {
        "type": "function",
        "function": {
            "name": declared.name,
            "description": declared.description,
            "parameters": dict(declared.parameters),
        },
    }
