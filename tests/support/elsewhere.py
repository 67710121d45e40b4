"""Where nobody may be led to: a listener that counts who comes, and one that leads there."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass, field

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import ResolveResult

Answers = Sequence[str]


@dataclass
class Elsewhere:
    """A server on a port of the loopback."""

    port: int
    visits: list[bytes] = field(default_factory=list[bytes])
    """What each connection began with."""


@contextlib.asynccontextmanager
async def elsewhere() -> AsyncGenerator[Elsewhere, None]:
    """Listen for the length of a block."""
    there = Elsewhere(0)

    async def visited(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there.visits.append(await reader.read(1_024))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(visited, "127.0.0.1", 0)
    async with server:
        there.port = server.sockets[0].getsockname()[1]
        yield there


@contextlib.asynccontextmanager
async def leading_to(port: int) -> AsyncGenerator[int, None]:
    """A server that answers everything with a redirect to another port; its own port."""

    async def lead(request: web.Request) -> web.StreamResponse:
        await request.read()
        raise web.HTTPTemporaryRedirect(f"http://127.0.0.1:{port}{request.path_qs}")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", lead)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        own: int = runner.addresses[0][1]
        yield own
    finally:
        await runner.cleanup()


def names_stand_for(monkeypatch: pytest.MonkeyPatch, *answers: Answers) -> list[str]:
    """Have every name stand for these addresses, one answer after the other, then the last.

    Returns:
        The names that were asked for, as they are.
    """
    asked: list[str] = []
    left: Iterator[Answers] = iter(answers)

    async def resolve(
        _resolver: aiohttp.ThreadedResolver, host: str, port: int = 0, family: int = 0
    ) -> list[ResolveResult]:
        asked.append(host)
        found = next(left, answers[-1])
        return [
            ResolveResult(
                hostname=host, host=address, port=port, family=family, proto=0, flags=0
            )
            for address in found
        ]

    monkeypatch.setattr(aiohttp.ThreadedResolver, "resolve", resolve)
    return asked
