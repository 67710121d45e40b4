"""Snapshots as one readable JSON file per context (`CONTEXTD_SNAPSHOTS=json:DIR`).

The log is the truth: a file may lag it and never leads it, because it is written after the
commit it shows, and counts only in the epoch of that commit (in a later one the store may
have lost it). A file is written whole beside the old one, synced and renamed, so a reader
sees the old generation or the new one. Its name is a hash: no input becomes a path. Where
contents are sealed, its state is, and can be read by nobody else. Whoever has written one looks
whether its context is still there: another process may have deleted it meanwhile. A mark that
is made before says that nobody has looked yet: where a writer died, the next that starts looks.
"""

import asyncio
import contextlib
import hashlib
import os
import secrets
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog
from pydantic_core import from_json, to_json

from fsm import ContextState
from storage.errors import CannotOpen, StorageError
from storage.sealing import Sealer
from storage.times import unix_ms

log = structlog.get_logger(__name__)

FORMAT = 1
NEW = ".new"
"""Ends the name of a file that is being written."""
UNSEEN = ".unseen"
"""Ends the name of a mark, which holds the id of a context that nobody has looked for yet."""
LEFT_S = 3_600
"""Seconds without a write after which whoever wrote such a file is taken for dead."""


class JsonSnapshots:
    """The snapshot files of one folder."""

    def __init__(self, folder: Path, sealer: Sealer) -> None:
        self.folder = folder
        self._sealer = sealer
        self.writes = 0
        """Files written by this process."""
        self._due: OrderedDict[str, tuple[ContextState, str]] = OrderedDict()
        self._written: set[str] = set()
        """Contexts of which nobody has looked yet whether they are there still."""
        self._work = asyncio.Event()
        self._changing_files = threading.Lock()
        writer = secrets.token_hex(8)
        """In containers that share a folder all process ids are the same."""
        self._new, self._unseen = f".{writer}{NEW}", f"-{writer}{UNSEEN}"

    def path(self, context_id: str) -> Path:
        """Where the newest generation of a context is; the one before ends in `.previous`."""
        name = hashlib.blake2b(context_id.encode(), digest_size=16).hexdigest()
        return self.folder / name[:2] / f"{name}.json"

    def save_later(self, state: ContextState, epoch: str) -> None:
        """Have a state written soon; a newer one of the same context takes its place."""
        self._due[state.id] = state, epoch
        self._work.set()

    async def run(self, exists: Callable[[str], Awaitable[bool]]) -> None:
        """Write what is due, one file at a time in a thread; on cancellation, all of it.

        Args:
            exists: Whether the context of that id is there; may raise StorageError, then it is
                asked again after the next file.
        """
        try:
            await asyncio.to_thread(self.remove_leftovers)
            await self._remove_deleted(exists)
            while True:
                await self._work.wait()
                self._work.clear()
                while await asyncio.to_thread(self._save_next):
                    await self._remove_deleted(exists)
        finally:
            while self._save_next():
                pass
            await self._remove_deleted(exists)

    async def _remove_deleted(self, exists: Callable[[str], Awaitable[bool]]) -> None:
        for context_id in tuple(self._written):
            try:
                is_there = await exists(context_id)
            except StorageError:
                return
            await asyncio.to_thread(self._end_look, context_id, is_there=is_there)
            # Not before: who is cancelled here does not wait for the thread, and looks again.
            self._written.discard(context_id)

    def _save_next(self) -> bool:
        """Write what has been due longest; False where nothing was.

        A snapshot that cannot be written costs time at the next activation, no data.
        """
        with self._changing_files:
            try:
                context_id, (state, epoch) = self._due.popitem(last=False)
            except KeyError:
                return False
            self._written.add(context_id)
            try:
                mark = self._mark(context_id)
                mark.parent.mkdir(parents=True, exist_ok=True)
                mark.write_bytes(context_id.encode())
                self.save(state, epoch)
            except OSError as error:
                log.exception("snapshot not written", context_id=context_id, error=str(error))
            return True

    def save(self, state: ContextState, epoch: str) -> None:
        """Write a state and keep the generation before it. Blocks; raises OSError.

        One that comes late, after another process has written a newer one, is given up.
        """
        path = self.path(state.id)
        path.parent.mkdir(parents=True, exist_ok=True)
        sealed = self._sealer.seal("snapshot", state.id, state.model_dump_json())
        content = sealed.decode("latin-1") if isinstance(sealed, bytes) else from_json(sealed)
        envelope = {
            "format": FORMAT,
            "context_id": state.id,
            "epoch": epoch,
            "generation": state.version,
            "checksum": _checksum(to_json(content)),
            "state": content,
        }
        new = path.with_suffix(self._new)
        try:
            with new.open("wb") as file:
                file.write(to_json(envelope, indent=2))
                file.flush()
                os.fsync(file.fileno())
            if path.exists():
                if _generation(path, epoch) > state.version:
                    new.unlink()
                    return
                path.replace(path.with_suffix(".previous"))
            new.replace(path)
        except OSError:
            new.unlink(missing_ok=True)
            raise
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self.writes += 1

    def remove_leftovers(self) -> None:
        """Remove what was left by writers that died while they wrote. Blocks.

        Those that had not looked yet may live: `run` looks, too.
        """
        left_s = unix_ms() / 1_000 - LEFT_S
        try:
            for file in self.folder.glob(f"??/*{NEW}"):
                with contextlib.suppress(FileNotFoundError):
                    if file.stat().st_mtime < left_s:
                        file.unlink()
            for mark in self.folder.glob(f"??/*{UNSEEN}"):
                with contextlib.suppress(FileNotFoundError):
                    self._written.add(mark.read_bytes().decode())
                    if mark.stat().st_mtime < left_s:
                        mark.unlink()
        except OSError as error:
            log.exception("leftovers not removed", error=str(error))

    def load(self, context_id: str, epoch: str) -> ContextState | None:
        """The newest readable generation of this epoch, or None. Blocks."""
        path = self.path(context_id)
        for candidate in (path, path.with_suffix(".previous")):
            try:
                return self._decode(candidate.read_bytes(), context_id, epoch)
            except FileNotFoundError:
                continue
            except _OtherEpoch as other:
                log.info(
                    "snapshot of another epoch is not used",
                    context_id=context_id,
                    file=candidate.name,
                    epoch=str(other),
                )
            except (OSError, ValueError, KeyError, TypeError, CannotOpen) as error:
                log.exception(
                    "snapshot damaged, using the one before it or the log",
                    context_id=context_id,
                    file=candidate.name,
                    error=str(error),
                )
        return None

    def delete(self, context_id: str) -> None:
        """Remove both generations, what was left of others, and what is due. Blocks."""
        path = self.path(context_id)
        with self._changing_files:
            self._due.pop(context_id, None)
            try:
                for file in path.parent.glob(f"{path.stem}.*"):
                    file.unlink(missing_ok=True)
            except OSError as error:
                log.exception("snapshot not deleted", context_id=context_id, error=str(error))

    def _mark(self, context_id: str) -> Path:
        """Says that this writer has not looked yet; `delete` leaves it alone."""
        path = self.path(context_id)
        return path.with_name(path.stem + self._unseen)

    def _end_look(self, context_id: str, *, is_there: bool) -> None:
        if not is_there:
            self.delete(context_id)
        with contextlib.suppress(OSError):  # the next that starts looks once more
            self._mark(context_id).unlink(missing_ok=True)

    def _decode(self, raw: bytes, context_id: str, epoch: str) -> ContextState:
        envelope = from_json(raw)
        content = to_json(envelope["state"])
        if envelope["format"] != FORMAT or envelope["context_id"] != context_id:
            raise ValueError("another format, or another context's")
        if envelope["checksum"] != _checksum(content):
            raise ValueError("the checksum does not match")
        if envelope["epoch"] != epoch:
            raise _OtherEpoch(envelope["epoch"])
        if isinstance(envelope["state"], str):
            content = envelope["state"].encode("latin-1")
        opened = self._sealer.open("snapshot", context_id, content)
        return ContextState.model_validate_json(opened)


class _OtherEpoch(Exception):
    """The store may have lost the commit that the file shows."""


def _generation(path: Path, epoch: str) -> int:
    """That of a file; 0 where it is of another epoch, or cannot be read."""
    try:
        envelope = from_json(path.read_bytes())
        return int(envelope["generation"]) if envelope["epoch"] == epoch else 0
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _checksum(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()
