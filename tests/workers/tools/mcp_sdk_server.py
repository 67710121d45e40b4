"""An MCP server as the SDK makes one: over its standard input, or `PORT` of the loopback."""

import sys

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import (
    CallToolResult,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
    TextResourceContents,
    ToolAnnotations,
)

server = MCPServer("sdk")


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@server.tool()
def people() -> dict[str, int]:
    """Who is how old."""
    return {"Ada": 36}


@server.tool()
def fail() -> str:
    """Fail."""
    raise ToolError("It is not to be.")


@server.tool()
def show() -> CallToolResult:
    """Give something of each kind."""
    return CallToolResult(
        content=[
            TextContent(type="text", text="Look:"),
            ImageContent(type="image", data="AAAA", mime_type="image/png"),
            ResourceLink(type="resource_link", name="a", uri="file:///a"),
            EmbeddedResource(
                type="resource",
                resource=TextResourceContents(uri="file:///b", text="What is in b."),
            ),
        ]
    )


@server.tool()
async def grow(context: Context) -> str:
    """Offer one more tool."""
    server.add_tool(add, name="grown")
    await context.notify_tools_changed()
    return "It has grown."


if __name__ == "__main__":
    if len(sys.argv) > 1:
        server.run("streamable-http", port=int(sys.argv[1]))
    else:
        server.run("stdio")
