"""The embedded store: one real server per data folder, started, joined and watched.

- The server holds an flock on `<data>/store.lock` for as long as it lives (it inherits
  the descriptor), so two servers never write one append-only file, whoever is killed.
- Racing starters: one gets the lock and starts the server, the others join it.
- Every write is on disk before it is answered (`appendfsync always`), or within a second
  where durability is `standard`. The server has no TCP port. It dies with the process that
  started it; its folder survives.
- Once it has run it is started in that same folder only: one that was taken away is waited
  for, since a server in a new one would answer as if nothing had ever been there.
- It is started without our variables: the secrets among them are none of its business.
"""

import asyncio
import contextlib
import errno
import fcntl
import logging
import os
import signal
import sys
from pathlib import Path

from runtime import tether
from runtime.child import stopped_for
from runtime.config import RuntimeConfig
from runtime.store_address import (
    AOF_FOLDER,
    StoreAddress,
    folder_id,
    prepare_data,
    see_it_is_not_lost,
)
from runtime.store_binary import StoreBinary, find_store_binary

_log = logging.getLogger(__name__)
_PING_S_MAX = 0.5
_POLL_S = 0.01
_LOG_TAIL_LINES = 5
_PROCESS_ID_WIDTH = 10
_ROOM_BYTES = 65_536
"""On the disk. Without it no server is started: it would end at one of its first writes."""
_KILLS_MAX = 5
"""Starts in a row that a signal may end before it is taken for a lasting problem."""
_AFTER_KILL_S = 0.2
_INHERITED = ("HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "TMPDIR", "TZ")


class StoreFailed(Exception):
    """The embedded store did not come up; the message says why and where to look."""


class _StoreKilled(StoreFailed):
    """A signal has ended the server: its folder is fine, and starting can be tried again."""


class EmbeddedStore:
    """The server of one data folder, ours or joined."""

    def __init__(self, config: RuntimeConfig, *, strict: bool = True) -> None:
        """Make its folder, if it is missing; nothing is started yet.

        Args:
            config: The folder, the program and the bounds.
            strict: Whether the server that we start has writes on disk before it answers them.
                One that is joined is held against `durability` at every connection.

        Raises:
            BadDataFolder: The data folder cannot be used.
        """
        self._config = config
        self._strict = strict
        self._process: asyncio.subprocess.Process | None = None
        self._ran_in: tuple[int, int] | None = None
        """Device and inode of the folder, once the server has answered."""
        self.address: StoreAddress = prepare_data(config.data)
        self.binary: StoreBinary | None = None
        """The program that we started; None while joined to a server that was there."""

    @property
    def url(self) -> str:
        """What clients connect to."""
        return self.address.url

    async def start(self) -> None:
        """Start the server, or join the one that runs; returns once it answers.

        Cancelled, it may leave a server behind: `stop` ends it.

        Raises:
            BadDataFolder: The data folder cannot be used.
            DataFolderLost: It is not the one, or not all of it, in which the server ran before.
            NoStoreBinary: There is no server to start.
            StoreFailed: The server ended at once, did not answer in time, or one of its files
                cannot be used.
        """
        if self._ran_in is not None:
            see_it_is_not_lost(self.address.data, self._ran_in)
        self.address = address = prepare_data(self.address.data)
        if self._process is None or self._process.returncode is not None:
            self._process = self.binary = None
        try:
            found = folder_id(address.data)
            async with asyncio.timeout(self._config.store_start_s_max):
                await self._join_or_launch(address)
            self._ran_in = found
        except TimeoutError:
            raise StoreFailed(
                f"The store in {address.data} did not answer within "
                f"{self._config.store_start_s_max:g} s ({_holder(address.lock)}). See "
                f"{address.log}; CONTEXTD_STORE_START_S_MAX gives it longer."
            ) from None
        except OSError as error:
            what = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
            raise StoreFailed(
                f"The store in {address.data} cannot be started ({what}). Mend that, or name "
                "another folder with --data or CONTEXTD_DATA."
            ) from None

    async def gone(self) -> None:
        """Wait until the server is gone, ours or joined.

        Ours is killed once a signal has stopped it for `loop_stall_s_max`: nobody else could
        take its place, and it has answered nothing that `durability` does not cover.
        """
        if (process := self._process) is not None:
            async with asyncio.TaskGroup() as group:
                look = group.create_task(self._kill_if_stopped(process), name="look")
                await process.wait()
                look.cancel()
            return
        # A joined server is not our child: its end is the end of a connection to it.
        try:
            reader, writer = await asyncio.open_unix_connection(self.address.socket)
        except OSError:
            return
        with contextlib.suppress(OSError):
            await reader.read()
        writer.close()

    async def _kill_if_stopped(self, process: asyncio.subprocess.Process) -> None:
        await stopped_for(process.pid, self._config.loop_stall_s_max)
        _log.warning("the store was stopped by a signal for too long, killed")
        with contextlib.suppress(ProcessLookupError):
            process.kill()

    async def stop(self) -> None:
        """End the server if it is ours; one that was joined goes on."""
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(self._config.store_stop_s_max):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _join_or_launch(self, address: StoreAddress) -> None:
        kills = 0
        while not await _answers(address.socket):
            lock = try_lock(address.lock)
            if lock is None:
                await asyncio.sleep(_POLL_S)
                continue
            try:
                await self._launch(address, lock)
            except _StoreKilled:
                kills += 1
                if kills == _KILLS_MAX:
                    raise
                _log.warning("the store was killed while it started")
                await asyncio.sleep(_AFTER_KILL_S)
            finally:
                os.close(lock)

    async def _launch(self, address: StoreAddress, lock: int) -> None:
        """Run the server, which inherits the lock, and wait until it answers."""
        binary = find_store_binary(self._config.store_binary)
        _see_room(lock)
        _see_access(address.data)
        _set_aside(address.log, bytes_max=self._config.store_log_bytes_max)
        arguments = _arguments(address, strict=self._strict)
        with address.log.open("ab") as log:
            # The address of the log is opened here too: complaints about the arguments
            # come before the server opens it.
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", tether.__file__, str(os.getpid())),
                *(str(binary.path), *arguments),
                env={name: os.environ[name] for name in _INHERITED if name in os.environ},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(lock,),
                start_new_session=True,
            )
        self._process = process
        self.binary = binary
        # Of one width, so that no reader finds it empty while it is replaced.
        os.pwrite(lock, f"{process.pid:<{_PROCESS_ID_WIDTH}}\n".encode(), 0)
        while not await _answers(address.socket):
            if process.returncode is not None:
                raise _failure(f"The store ({binary.path})", process.returncode, address.log)
            await asyncio.sleep(_POLL_S)
        _log.debug("store started", extra={"process_id": process.pid})


def _failure(who: str, code: int, log: Path) -> StoreFailed:
    """Why a server has ended that should have come up."""
    end = f"The end of {log}:\n{_tail(log)}"
    if code >= 0:
        return StoreFailed(f"{who} ended with code {code}. {end}")
    return _StoreKilled(f"{who} was ended by signal {-code} ({signal.strsignal(-code)}). {end}")


def _arguments(address: StoreAddress, *, strict: bool) -> tuple[str, ...]:
    options = {
        "port": "0",
        "unixsocket": str(address.socket),
        "unixsocketperm": "700",
        "dir": str(address.data),
        "logfile": str(address.log),
        "daemonize": "no",
        "appendonly": "yes",
        "appendfsync": "always" if strict else "everysec",
        "aof-load-truncated": "yes",
        "save": "",
        "maxmemory-policy": "noeviction",
        # Only a backup asks for a copy, so there is no second one to wait for.
        "repl-diskless-sync-delay": "0",
    }
    return tuple(word for name, value in options.items() for word in (f"--{name}", value))


async def _answers(socket: Path) -> bool:
    """Whether a server at `socket` answers PING with PONG; False while it loads."""
    try:
        async with asyncio.timeout(_PING_S_MAX):
            reader, writer = await asyncio.open_unix_connection(socket)
            try:
                writer.write(b"PING\r\n")
                return await reader.readline() == b"+PONG\r\n"
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False


def try_lock(path: Path) -> int | None:
    """The locked file's descriptor, or None while a server or a starter holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _see_room(lock: int) -> None:
    """See that the disk of the lock takes what a start writes.

    Raises:
        OSError: It does not.
    """
    size = os.fstat(lock).st_size
    end = size + _ROOM_BYTES
    try:
        while size < end:  # where there is some room, so much is written, and no error
            size += os.pwrite(lock, b" " * (end - size), size)
    finally:
        os.ftruncate(lock, end - _ROOM_BYTES)


def _see_access(data: Path) -> None:
    """See that the server may read and write what is in the folder.

    Raises:
        OSError: It may not; names the file.
    """
    written = data / AOF_FOLDER
    for path in (data, written, *written.glob("*")):
        if path.exists() and not os.access(path, os.R_OK | os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


def _holder(lock: Path) -> str:
    process_id = lock.read_text().strip() if lock.exists() else ""
    return f"process {process_id} holds it" if process_id else "nobody is known to hold it"


def _set_aside(log: Path, *, bytes_max: int) -> None:
    if log.exists() and log.stat().st_size > bytes_max:
        log.replace(log.with_suffix(".log.1"))


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:]
    return "\n".join(f"  {line}" for line in lines)
