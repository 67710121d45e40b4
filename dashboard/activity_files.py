"""Records as JSON lines in files that are set aside before they grow too large.

- A line is there whole or not at all, for `jq` too: what was written of one when the disk was
  full, or when the process was killed, is taken away again. (The standard library's rotating
  handler leaves halves behind.)
- Gateways of one machine share a folder, each with files of its own: `activity-0.jsonl`
  (the newest), `activity-0.jsonl.1`, ... of the first, `activity-1.jsonl` of the second.
- A thread writes. If the disk hangs, the process ends without it.
"""

import asyncio
import contextlib
import errno
import fcntl
import io
import os
import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dashboard.activity_config import ActivityConfig

PLACES_MAX: Final = 256
"""Gateways that share a folder."""
END_S_MAX: Final = 1.0
"""How long a gateway that ends waits for its files."""
_CHUNK_BYTES: Final = 65_536


class BadActivityFolder(Exception):
    """No files can be written where the settings say."""


def check_activity_folder(folder: Path) -> None:
    """Refuse a folder that no file can be made in; makes it where it is missing.

    Raises:
        BadActivityFolder: It says why.
    """
    probe = folder / f".probe-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise BadActivityFolder(
            f"activity_folder: no file can be made in {folder}: {reason}"
        ) from None


@dataclass(frozen=True, slots=True)
class _Batch:
    """Lines to be written, and who waits for it."""

    lines: Sequence[bytes]
    written: asyncio.Future[int]
    loop: asyncio.AbstractEventLoop

    def settle(self, count: int) -> None:
        """Tell how many were written, unless nobody waits any more."""
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self.loop.call_soon_threadsafe(self._set, count)

    def _set(self, count: int) -> None:
        if not self.written.done():
            self.written.set_result(count)


class ActivityFiles:
    """The files of one gateway."""

    def __init__(self, config: ActivityConfig, folder: Path) -> None:
        self._bytes_max = config.activity_file_bytes_max
        self._files_max = config.activity_files_max
        self._folder = folder
        self._place: io.BufferedWriter | None = None
        """Locked, for as long as the files are ours."""
        self._path = folder
        self._file: io.FileIO | None = None
        self._batches: queue.SimpleQueue[_Batch | None] = queue.SimpleQueue()
        """Holds one at most: whoever writes waits for it."""
        self._thread = threading.Thread(target=self._work, name="activity files", daemon=True)

    async def append(self, lines: Sequence[bytes]) -> int:
        """Write lines; returns how many of them are in the files.

        Cancelled, they may be written all the same.
        """
        loop = asyncio.get_running_loop()
        batch = _Batch(lines, loop.create_future(), loop)
        if not self._thread.is_alive():
            self._thread.start()
        self._batches.put(batch)
        return await batch.written

    def close(self) -> None:
        """Leave the files to another gateway, once what was appended is written."""
        if self._thread.is_alive():
            self._batches.put(None)
            self._thread.join(END_S_MAX)

    def _work(self) -> None:
        while (batch := self._batches.get()) is not None:
            written = 0
            with contextlib.suppress(OSError):
                self._take_place()
                for line in batch.lines:
                    self._put(line + b"\n")
                    written += 1
            self._close()  # somebody may move it away meanwhile
            batch.settle(written)
        if self._place is not None:
            self._place.close()

    def _take_place(self) -> None:
        """Take the first file in the folder that no other gateway writes.

        Raises:
            OSError: There is none.
        """
        if self._place is not None:
            return
        for number in range(PLACES_MAX):
            path = self._folder / f"activity-{number}.jsonl"
            place = path.with_suffix(".lock").open("ab")
            try:
                fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _mend(path)
            except BlockingIOError:
                place.close()
            except OSError:
                place.close()
                raise
            else:
                self._place, self._path = place, path
                return
        raise OSError(errno.EBUSY, f"{PLACES_MAX} gateways write in {self._folder}")

    def _put(self, line: bytes) -> None:
        """Write a line, whole or not at all.

        Raises:
            OSError: Not at all.
        """
        file = self._file or self._open()
        size = file.seek(0, os.SEEK_END)
        if size and size + len(line) > self._bytes_max:
            self._set_aside()
            file, size = self._open(), 0
        written = 0
        try:
            written = file.write(line)
        finally:
            if written < len(line):
                file.truncate(size)
        if written < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _open(self) -> io.FileIO:
        self._file = self._path.open("ab", buffering=0)
        return self._file

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):
                file.close()

    def _set_aside(self) -> None:
        self._close()
        for number in range(self._files_max - 1, 0, -1):
            older = self._aside(number - 1) if number > 1 else self._path
            with contextlib.suppress(FileNotFoundError):
                older.replace(self._aside(number))

    def _aside(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


def _mend(path: Path) -> None:
    """Take away a line that was not written to its end."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        while end > 0:
            begin = max(0, end - _CHUNK_BYTES)
            file.seek(begin)
            newline = file.read(end - begin).rfind(b"\n")
            if newline >= 0:
                file.truncate(begin + newline + 1)
                return
            end = begin
        file.truncate(0)
