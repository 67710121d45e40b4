"""Bare connections: bytes that no client would send, and what is answered to them."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator

import orjson

from tests.support.service import Service

ENDED_S_MAX = 10.0

Raw = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@contextlib.asynccontextmanager
async def raw(service: Service, *, buffer_bytes: int = 0) -> AsyncGenerator[Raw, None]:
    """A bare connection, perhaps one that takes little at a time."""
    connection = socket.socket()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # piece by piece
    if buffer_bytes:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
    connection.setblocking(False)
    port = int(service.client.url.rpartition(":")[2])
    await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", port))
    limit = buffer_bytes or 65_536
    reader, writer = await asyncio.open_connection(sock=connection, limit=limit)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def rest(reader: asyncio.StreamReader) -> bytes:
    """All that comes until the server ends the connection."""
    async with asyncio.timeout(ENDED_S_MAX):
        with contextlib.suppress(ConnectionError):
            return await reader.read()
        return b""


def problem_in(answer: bytes) -> tuple[int, str]:
    """Status and problem of an answer's bytes."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head, answer
    document = orjson.loads(body)
    assert document["status"] == int(head.split(b" ")[1])
    return document["status"], document["type"].removeprefix("/problems/")
