"""What the tests of the runtime room share: real processes, waited for, never slept for."""

import asyncio
import os
import socket
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import uvloop

from runtime.store_binary import NoStoreBinary, find_store_binary

T = TypeVar("T")
DEADLINE_S = 40.0


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run on uvloop, as the product does."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_bounded(work))


async def _bounded(work: Coroutine[Any, Any, T]) -> T:
    async with asyncio.timeout(55):
        return await work


async def until(true: Callable[[], object], *, within_s: float = DEADLINE_S) -> None:
    """Poll until `true()` holds."""
    async with asyncio.timeout(within_s):
        while not true():  # noqa: ASYNC110 - what is waited for happens in another process
            await asyncio.sleep(0.01)


def until_now(true: Callable[[], object], *, within_s: float = DEADLINE_S) -> None:
    """Poll until `true()` holds, outside of a loop."""
    due_s = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < due_s, "did not happen in time"
        time.sleep(0.01)


def alive(process_id: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        state = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def store_command(path: Path, *words: str) -> bytes:
    """The first line that the server at `path` answers."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(str(path))
        parts = [f"*{len(words)}\r\n".encode()]
        parts += [f"${len(word.encode())}\r\n{word}\r\n".encode() for word in words]
        connection.sendall(b"".join(parts))
        return connection.makefile("rb").readline().strip()


def store_config(path: Path, name: str) -> str:
    """One value of the server's CONFIG."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(str(path))
        connection.sendall(f"CONFIG GET {name}\r\n".encode())
        lines = connection.makefile("rb")
        return [lines.readline().strip().decode() for _ in range(5)][4]


def has_store_binary() -> bool:
    """Whether this machine can run an embedded store."""
    try:
        find_store_binary()
    except NoStoreBinary:
        return False
    return True


def processes_of(parent_id: int) -> list[int]:
    """Living children of a process."""
    children = Path(f"/proc/{parent_id}/task/{parent_id}/children")
    if not children.exists():
        return []
    return [int(word) for word in children.read_text().split() if alive(int(word))]


def own_id() -> int:
    """This process."""
    return os.getpid()
