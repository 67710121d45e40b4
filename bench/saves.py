"""Counts snapshot writes from outside: what the store and the file system saw.

contextd's own counters could be wrong in the same way as the code they count, so these
look at key-space notifications and at renames (inotify). Both cost the server something:
they run in scenarios of their own, never beside a measurement of speed.
"""

import ctypes
import os
import select
import socket as sockets
import struct
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from typing_extensions import override

_PATTERN = b"__keyspace@*__:ctx:*:snap\r\n"
_LINES_OF_MESSAGE = 8  # four times a length and a value
_WRITE = b"hset"
"""A commit that saves sets version and head of `ctx:{id}:snap` in one such command."""
_POLL_S = 0.1
_IN_MOVED_TO = 0x80
_EVENT = struct.Struct("iIII")


class _Watch:
    """A thread that counts while the `with` block runs."""

    def __init__(self) -> None:
        self.count: int = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="saves", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        raise NotImplementedError


class StoreSaves(_Watch):
    """Writes of the snapshot keys, by key-space notification."""

    def __init__(self, socket: Path) -> None:
        super().__init__()
        self._store = sockets.socket(sockets.AF_UNIX)
        self._store.connect(str(socket))
        self._store.settimeout(_POLL_S)
        # Inline commands; each pushed message is one array of four: the last is the event.
        self._store.sendall(b"CONFIG SET notify-keyspace-events KA\r\nPSUBSCRIBE " + _PATTERN)
        self._unread = b""

    @override
    def _run(self) -> None:
        with self._store:
            while not self._stop.is_set():
                try:
                    self._unread += self._store.recv(65_536)
                except TimeoutError:
                    continue
                # `*4` begins the next message, so the last one is whole only with its CRLF.
                *whole, self._unread = self._unread.split(b"*4\r\n")
                if _whole(self._unread):
                    whole, self._unread = [*whole, self._unread], b""
                else:
                    self._unread = b"*4\r\n" + self._unread
                self.count += sum(_is_write(message) for message in whole)


def _whole(message: bytes) -> bool:
    return message.count(b"\r\n") >= _LINES_OF_MESSAGE


def _is_write(message: bytes) -> bool:
    lines = message.split(b"\r\n")
    return b"pmessage" in lines and lines[_LINES_OF_MESSAGE - 1] == _WRITE


class FileSaves(_Watch):
    """Files renamed into place below a folder of JSON snapshots."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._inotify = self._libc.inotify_init1(os.O_CLOEXEC)
        if self._inotify < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        # Made here, all 256, before any is needed: a folder that is watched only after its
        # first rename would lose that one.
        for number in range(256):
            inside = folder / f"{number:02x}"
            inside.mkdir(parents=True, exist_ok=True)
            if (
                self._libc.inotify_add_watch(self._inotify, os.fsencode(inside), _IN_MOVED_TO)
                < 0
            ):
                raise OSError(ctypes.get_errno(), f"inotify_add_watch: {inside}")

    @override
    def _run(self) -> None:
        while not self._stop.is_set():
            if not select.select([self._inotify], [], [], _POLL_S)[0]:
                continue
            data, at = os.read(self._inotify, 65_536), 0
            while at < len(data):
                _watch, _mask, _cookie, length = _EVENT.unpack_from(data, at)
                name = data[at + _EVENT.size :][:length].rstrip(b"\0")
                at += _EVENT.size + length
                # The generation before is renamed too, to another suffix.
                self.count += name.endswith(b".json")
        os.close(self._inotify)
