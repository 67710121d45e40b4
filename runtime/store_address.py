"""Where the embedded store's files are, and that nobody else can reach them.

The socket is `<data>/store.sock`. Unix socket paths end at 104 bytes (macOS), so under a
long data folder the socket lies in a checked private folder and `<data>/store.sock` is a
link to it. Everything is 0700: who reaches the socket owns every context.
"""

import errno
import hashlib
import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

SOCKET_PATH_BYTES_MAX = 100
AOF_FOLDER = "appendonlydir"
"""In the data folder: what the store keeps."""
AOF_MANIFEST = "appendonly.aof.manifest"
"""In that one; without it a server begins with nothing."""
_LOCK = "store.lock"


class BadDataFolder(Exception):
    """The data folder cannot be used; the message says why and what to do."""


class DataFolderLost(BadDataFolder):
    """What a store ran in was taken away; the message says so, and what to do."""


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """Paths of one embedded store. All absolute."""

    data: Path
    socket: Path
    """What the server binds; short enough for the kernel."""

    @property
    def url(self) -> str:
        """What clients take as CONTEXTD_REDIS_URL."""
        return f"unix://{quote(str(self.socket))}"

    @property
    def lock(self) -> Path:
        """The lock file: held by the server while it lives, and by a process that starts it."""
        return self.data / _LOCK

    @property
    def log(self) -> Path:
        """What the server writes."""
        return self.data / "store.log"


def prepare_data(data: Path) -> StoreAddress:
    """Make the data folder and say where the store's files are. Repeating is harmless.

    Raises:
        BadDataFolder: It is somebody else's, open to others, or cannot be made.
    """
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        data = data.resolve()
        if _is_to_be_closed(data):
            data.chmod(0o700)
        in_data = data / "store.sock"
        if len(os.fsencode(in_data)) <= SOCKET_PATH_BYTES_MAX:
            return StoreAddress(data, in_data)
        return StoreAddress(data, _linked_socket(data, in_data))
    except OSError as error:
        raise _unusable(data, error) from None


def check_data(data: Path) -> None:
    """Look at a data folder that is there; changes nothing.

    Raises:
        BadDataFolder: `prepare_data` would refuse it.
    """
    try:
        if not data.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        _is_to_be_closed(data)
    except OSError as error:
        raise _unusable(data, error) from None


def folder_id(data: Path) -> tuple[int, int]:
    """Device and inode of a data folder: the same as long as it is, also when it was moved.

    Raises:
        OSError: It is not there, or cannot be looked at.
    """
    status = data.stat()
    return status.st_dev, status.st_ino


def see_it_is_not_lost(data: Path, known_id: tuple[int, int]) -> None:
    """See that a data folder is the one that a store ran in, with what was kept in it.

    Raises:
        DataFolderLost: It is not.
    """
    try:
        if folder_id(data) != known_id:
            what = "is another folder than the one that the store ran in, or a copy of it"
        elif not (data / AOF_FOLDER / AOF_MANIFEST).exists():
            what = "has lost what the store kept in it"
        else:
            return
    except OSError as error:
        what = f"is away ({error.strerror})"
    raise DataFolderLost(
        f"The data folder {data} {what}. Put it back, and the service goes on by itself; to "
        "begin without it, stop contextd and start it again."
    )


def _unusable(data: Path, error: OSError) -> BadDataFolder:
    return BadDataFolder(
        f"The data folder {data} cannot be used: {error.strerror}. Name another with "
        "--data or CONTEXTD_DATA."
    )


def _is_to_be_closed(data: Path) -> bool:
    """Whether others could enter a folder that is ours alone.

    Raises:
        BadDataFolder: It is somebody else's, or others may write to what is not ours alone.
    """
    status = data.stat()
    if status.st_uid != os.geteuid():
        raise BadDataFolder(
            f"The data folder {data} belongs to another user. Name another with --data or "
            "CONTEXTD_DATA."
        )
    if not status.st_mode & 0o077:
        return False
    if (data / _LOCK).exists() or not any(data.iterdir()):
        return True
    if status.st_mode & 0o022:
        raise BadDataFolder(
            f"The data folder {data} holds other files and others may write to it. Name a "
            "folder of its own with --data or CONTEXTD_DATA."
        )
    return False


def _linked_socket(data: Path, in_data: Path) -> Path:
    """A short socket path; `in_data` becomes a link to it."""
    if in_data.is_symlink():
        # The process that started the store may have had another XDG_RUNTIME_DIR.
        target = in_data.readlink()
        if target.is_absolute() and target.is_socket() and _is_private(target.parent):
            return target
    name = hashlib.sha256(os.fsencode(data)).hexdigest()[:16] + ".sock"
    socket = _runtime_folder() / name
    link = in_data.with_name(f"store.sock.{os.getpid()}")
    link.unlink(missing_ok=True)
    link.symlink_to(socket)
    link.replace(in_data)
    return socket


def _runtime_folder() -> Path:
    """A short folder that only this user can enter."""
    candidates = [Path(tempfile.gettempdir()), Path("/tmp")]  # noqa: S108 - checked below
    if "XDG_RUNTIME_DIR" in os.environ:
        candidates.insert(0, Path(os.environ["XDG_RUNTIME_DIR"]))
    for parent in candidates:
        folder = parent / f"contextd-{os.geteuid()}"
        if len(os.fsencode(folder)) > SOCKET_PATH_BYTES_MAX - len("/0123456789abcdef.sock"):
            continue
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
        except OSError:
            continue
        if _is_private(folder):
            return folder
    raise BadDataFolder(
        "The path of the data folder is too long for a socket, and no private folder for one "
        "could be made. Name a shorter path with --data or CONTEXTD_DATA."
    )


def _is_private(folder: Path) -> bool:
    """Whether it is a real folder that only this user may enter."""
    status = folder.lstat()
    return (
        stat.S_ISDIR(status.st_mode)
        and status.st_uid == os.geteuid()
        and not status.st_mode & 0o077
    )
