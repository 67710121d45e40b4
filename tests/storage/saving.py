"""What the tests of snapshots share: a store in one of the modes, and what it has written."""

# pyright: reportPrivateUsage=false
# Some tests wait for what only the inside shows.

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from fsm import Event, MessageReceived
from storage import Owned, Store, keys
from tests.storage.arranging import live, next_commit
from tests.storage.conftest import Backend
from tests.support.playbook import BEGAN_MS, CONTEXT_ID, Playbook

WRITTEN_S_MAX: Final = 10.0
ODD: Final = MessageReceived(
    at_ms=BEGAN_MS,
    content='NUL \0, line \u2028, ☕, 🜁, \u200f, \\ and "',
    metadata={
        "big": 10**30,
        "negative": -(10**30),
        "floats": [0.1, 1e300, 1.0, -0.0, 5e-324, 1 / 3],
        "null": None,
        "\0": {"☕": [True, {}]},
    },
)


@dataclass
class Kept:
    """A store in one of the modes, and how often it wrote a snapshot."""

    store: Store
    mode: str

    async def writes(self) -> int:
        files = self.store.files
        if files is not None:
            await settled(lambda: not files._due and not files._changing_files.locked())
            return files.writes
        (snap,) = keys.of_context(CONTEXT_ID, "snap")
        return int(
            cast("bytes | None", await self.store.link.call("HGET", snap, "writes")) or 0
        )


async def settled(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WRITTEN_S_MAX):
        while not condition():  # noqa: ASYNC110 - threads and files ring no bell
            await asyncio.sleep(0.002)


@contextlib.asynccontextmanager
async def opened(backend: Backend, mode: str) -> AsyncGenerator[Kept, None]:
    async with backend.connect(snapshots=mode) as store:
        await live(store, "w1")
        yield Kept(store, mode)


async def play(
    store: Store, owned: Owned, book: Playbook, *events: Event, snapshot: bool = True
) -> None:
    """Commit what happens, as one step."""
    base = book.state.version
    book.given(*events)
    saved = owned.messages_saved
    await store.ownership.commit(
        next_commit(book, owned, base=base, snapshot=snapshot, messages_saved=saved)
    )


def left_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def folder_of(mode: str) -> Path:
    return Path(mode.removeprefix("json:"))
