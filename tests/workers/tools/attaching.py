"""What the tests of MCP servers share: servers to declare, and a registry that has them."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncGenerator, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from workers.tools import Registry, ToolCallContext, ToolConfig, ToolError
from workers.tools.mcp_attachment import attached

Json: TypeAlias = Any
"""Declarations and what a server has written down; asserted on key by key."""

CONTEXT = ToolCallContext(owner="o", context_id="c1", effect_id="3.0", call_id="x")
PLAIN = Path(__file__).with_name("mcp_plain_server.py")
SDK = Path(__file__).with_name("mcp_sdk_server.py")
PLAIN_TOOLS = tuple(
    f"plain__{name}"
    for name in (
        *("babble", "break", "die", "echo", "environment", "grow", "hang"),
        *("odd_name", "puzzle", "refuse", "reveal", "scream", "shout", "shriek", "wait"),
    )
)


class Trace:
    """What a plain server has written down."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __iter__(self) -> Iterator[Json]:
        if self.file.exists():
            yield from map(json.loads, self.file.read_text().splitlines())

    @property
    def process_ids(self) -> list[int]:
        return [entry["process_id"] for entry in self if "process_id" in entry]

    def params(self, method: str) -> list[Json]:
        return [entry["params"] for entry in self if entry.get("method") == method]


def plain(trace: Trace, *, env: Mapping[str, str] | None = None, **declared: Json) -> Json:
    """A declaration of the plain server."""
    return {
        "command": sys.executable,
        "args": ["-I", "-S", str(PLAIN)],
        "env": {"TRACE": str(trace.file), **(env or {})},
        **declared,
    }


@contextlib.asynccontextmanager
async def offering(
    folder: Path, servers: Json, registry: Registry | None = None, **config: Json
) -> AsyncGenerator[Registry]:
    """A registry with servers attached; entered at once, whatever they do."""
    file = folder / "mcp.json"
    file.write_text(json.dumps({"mcpServers": servers}))
    settings = ToolConfig.model_validate({"mcp_servers": file, "mcp_pause_s": 0.05, **config})
    registry = registry or Registry((), settings)
    async with attached(settings, registry):
        yield registry


async def failure(tools: Registry, name: str, arguments: str = "{}") -> ToolError:
    with pytest.raises(ToolError) as caught:
        await tools.run(name, arguments, CONTEXT)
    return caught.value


async def answer(tools: Registry, name: str, arguments: str = "{}") -> str:
    """The result of a call that is made again for as long as its server is away."""
    async with asyncio.timeout(100):
        while True:
            try:
                return await tools.run(name, arguments, CONTEXT)
            except ToolError as error:
                if error.code != "unavailable":
                    raise
                await asyncio.sleep(0.02)
