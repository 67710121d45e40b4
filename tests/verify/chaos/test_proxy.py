"""The proxy loses nothing by itself, and each of its faults is the one that it is called."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

import pytest

from verify.chaos.polling import until
from verify.chaos.proxy import Proxy, is_scripts, open_proxy

SOON_S = 5.0


@dataclass
class Echo:
    """A store that answers what it is told, and remembers it."""

    heard: bytes = b""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while chunk := await reader.read(1_000):
                self.heard += chunk
                writer.write(chunk)
        writer.close()


@contextlib.asynccontextmanager
async def between() -> AsyncGenerator[tuple[Echo, Proxy]]:
    echo = Echo()
    with tempfile.TemporaryDirectory(prefix="proxy-") as folder:
        path = Path(folder)
        async with asyncio.TaskGroup() as group:

            def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                group.create_task(echo.serve(reader, writer))

            server = await asyncio.start_unix_server(accept, path / "store.sock")
            async with open_proxy(path / "proxy.sock", path / "store.sock", seed=1) as proxy:
                yield echo, proxy
            server.close()


def command(*words: str) -> bytes:
    parts = "".join(f"${len(word)}\r\n{word}\r\n" for word in words)
    return f"*{len(words)}\r\n{parts}".encode()


STEP = command("EVALSHA", "digest", "0", "value\r\n*1")


@pytest.mark.parametrize(
    ("chunk", "expected"),
    [
        (STEP, True),
        (STEP * 3, True),
        (STEP[:-1], False),
        (STEP[3:], False),
        (command("PING"), False),
        (STEP + command("BLMOVE", "a"), False),
        (b"", False),
        (b"*9\r\n", False),
    ],
)
def test_only_whole_protocol_steps_are_taken_for_such(chunk: bytes, expected: bool) -> None:
    assert is_scripts(chunk) is expected


async def test_without_a_fault_bytes_come_through_in_order() -> None:
    async with between() as (echo, proxy):
        reader, writer = await asyncio.open_unix_connection(proxy.path)
        sent = b"".join(b"%d," % number for number in range(5_000))
        writer.write(sent)
        assert await reader.readexactly(len(sent)) == sent
        assert echo.heard == sent
        writer.close()


async def test_a_duplicate_is_executed_twice_and_answered_once() -> None:
    async with between() as (echo, proxy):
        proxy.duplicate_rate = 1.0
        reader, writer = await asyncio.open_unix_connection(proxy.path)
        writer.write(STEP)
        assert await reader.readexactly(len(STEP)) == STEP
        assert await until(lambda: echo.heard == STEP * 2, within_s=SOON_S)
        proxy.flow()
        writer.write(b"end")
        assert await reader.readexactly(3) == b"end"
        writer.close()


async def test_what_is_late_is_executed_after_its_connection_was_cut() -> None:
    async with between() as (echo, proxy):
        reader, writer = await asyncio.open_unix_connection(proxy.path)
        writer.write(b"x")
        await reader.readexactly(1)
        async with asyncio.TaskGroup() as group:
            group.create_task(proxy.late(0.05))
            await asyncio.sleep(0)  # the fault begins
            writer.write(STEP)
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
            assert echo.heard == b"x"
        assert await until(lambda: echo.heard == b"x" + STEP, within_s=SOON_S)
        writer.close()


async def test_a_black_hole_keeps_everything_back_until_it_is_over() -> None:
    async with between() as (echo, proxy):
        reader, writer = await asyncio.open_unix_connection(proxy.path)
        proxy.black_hole = True
        writer.write(b"held")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await reader.read(1)
        assert echo.heard == b""
        proxy.flow()
        assert await reader.readexactly(4) == b"held"
        writer.close()


async def test_a_half_closed_connection_executes_and_answers_nothing() -> None:
    async with between() as (echo, proxy):
        reader, writer = await asyncio.open_unix_connection(proxy.path)
        writer.write(b"x")
        await reader.readexactly(1)
        proxy.half_close()
        writer.write(b"heard")
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        assert await until(lambda: echo.heard == b"xheard", within_s=SOON_S)
        writer.close()


async def test_a_reset_cuts_every_connection() -> None:
    async with between() as (_, proxy):
        ends = [await asyncio.open_unix_connection(proxy.path) for _ in range(3)]
        for reader, writer in ends:
            writer.write(b"x")
            await reader.readexactly(1)
        proxy.reset()
        for reader, writer in ends:
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
            writer.close()
