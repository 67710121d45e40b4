"""Keeps the declared MCP servers attached to a worker.

The code that speaks the protocol is imported only where a server is declared, and in a
thread: it takes a second that the loop does not have.
"""

import asyncio
import os
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from workers.tools.config import ToolConfig
from workers.tools.mcp_servers import McpServer, read_servers
from workers.tools.registry import Registry

if TYPE_CHECKING:
    from workers.tools.mcp_connection import McpConnection


@asynccontextmanager
async def attached(config: ToolConfig, registry: Registry) -> AsyncGenerator[None]:
    """Keep the declared servers connected and their tools registered, for a block.

    Waits for none of them: their tools are there once they have answered. What is offered
    to a model waits for that, up to `mcp_wait_s` from here. At the end each connection is
    closed, which takes a few seconds at most.

    Raises:
        BadServers: As of `read_servers`.
    """
    servers = read_servers(config.mcp_servers)
    if not servers:
        yield
        return
    for name, server in servers.items():
        registry.expect(name, roles=server.roles)
    async with asyncio.TaskGroup() as group:
        keeping = group.create_task(_keep(servers, registry, config), name="mcp servers")
        patience = asyncio.get_running_loop().call_later(
            config.mcp_wait_s, _pass_over, servers, registry
        )
        try:
            yield
        finally:
            patience.cancel()
            keeping.cancel()


def _pass_over(servers: Iterable[str], registry: Registry) -> None:
    for name in servers:
        registry.pass_over(name)


async def _keep(
    servers: Mapping[str, McpServer], registry: Registry, config: ToolConfig
) -> None:
    connection = await asyncio.to_thread(_connection)
    # What a server writes to its standard error may be anything; `contextd doctor` shows it.
    with _nowhere() as nowhere:
        async with asyncio.TaskGroup() as group:
            for name, server in servers.items():
                kept = connection(
                    name, server, registry=registry, config=config, complaints=nowhere
                )
                group.create_task(kept.keep(), name=f"mcp server {name}")


def _connection() -> type["McpConnection"]:
    from workers.tools.mcp_connection import McpConnection

    return McpConnection


def _nowhere() -> TextIO:
    return Path(os.devnull).open("w")
