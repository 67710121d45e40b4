"""Snapshots as one readable JSON file per context (`CONTEXTD_SNAPSHOTS=json:DIR`).

The log is the truth: a file may lag it and never leads it, because it is written after the
commit it shows. A file is written whole beside the old one, synced and renamed, so a
reader sees the old generation or the new one. Its name is a hash: no input becomes a path.
"""

import asyncio
import hashlib
import os
from collections import OrderedDict
from pathlib import Path

import orjson
import structlog
from pydantic import ValidationError

from fsm import ContextState

log = structlog.get_logger(__name__)

FORMAT = 1


class JsonSnapshots:
    """The snapshot files of one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.writes = 0
        """Files written by this process."""
        self._due: OrderedDict[str, ContextState] = OrderedDict()
        self._work = asyncio.Event()

    def path(self, context_id: str) -> Path:
        """Where the newest generation of a context is; the one before ends in `.previous`."""
        name = hashlib.blake2b(context_id.encode(), digest_size=16).hexdigest()
        return self.folder / name[:2] / f"{name}.json"

    def save_later(self, state: ContextState) -> None:
        """Have a state written soon; a newer one of the same context takes its place."""
        self._due[state.id] = state
        self._work.set()

    async def run(self) -> None:
        """Write what is due, one file at a time in a thread; on cancellation, all of it."""
        try:
            while True:
                await self._work.wait()
                self._work.clear()
                while self._due:
                    _, state = self._due.popitem(last=False)
                    await asyncio.to_thread(self._save_or_log, state)
        finally:
            for state in self._due.values():
                self._save_or_log(state)

    def _save_or_log(self, state: ContextState) -> None:
        """A snapshot that cannot be written costs time at the next activation, no data."""
        try:
            self.save(state)
        except OSError as error:
            log.exception("snapshot not written", context_id=state.id, error=str(error))

    def save(self, state: ContextState) -> None:
        """Write a state and keep the generation before it. Blocks; raises OSError."""
        path = self.path(state.id)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = orjson.dumps(state.model_dump(mode="json"))
        envelope = {
            "format": FORMAT,
            "context_id": state.id,
            "generation": state.version,
            "checksum": hashlib.blake2b(content, digest_size=16).hexdigest(),
            "state": orjson.Fragment(content),
        }
        whole = orjson.dumps(orjson.loads(orjson.dumps(envelope)), option=orjson.OPT_INDENT_2)
        new = path.with_suffix(f".{os.getpid()}.new")
        with new.open("wb") as file:
            file.write(whole)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            path.replace(path.with_suffix(".previous"))
        new.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self.writes += 1

    def load(self, context_id: str) -> ContextState | None:
        """The newest readable generation, or None. Blocks."""
        path = self.path(context_id)
        for candidate in (path, path.with_suffix(".previous")):
            try:
                envelope = orjson.loads(candidate.read_bytes())
                content = orjson.dumps(envelope["state"])
                checksum = hashlib.blake2b(content, digest_size=16).hexdigest()
                if envelope["format"] != FORMAT or envelope["checksum"] != checksum:
                    raise ValueError("checksum or format")
                return ContextState.model_validate_json(content)
            except FileNotFoundError:
                continue
            except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
                log.error(
                    "snapshot damaged, using the one before it or the log",
                    context_id=context_id,
                    file=candidate.name,
                    error=str(error),
                )
        return None

    def delete(self, context_id: str) -> None:
        """Remove both generations. Blocks."""
        self._due.pop(context_id, None)
        path = self.path(context_id)
        path.unlink(missing_ok=True)
        path.with_suffix(".previous").unlink(missing_ok=True)
