"""The file of a backup: a tar with the store's own dump, and a description of it.

- `tar xf` gives `store.rdb`, which a server loads as it is, and `backup.json`.
- The description comes last: a file that was cut off has no `backup.json`, and is no backup.
- A file gets its name only once it is whole and on the disk, and never replaces another.
"""

import errno
import hashlib
import os
import tarfile
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

_DUMP: Final = "store.rdb"
_ABOUT: Final = "backup.json"
_ABOUT_BYTES_MAX: Final = 65_536
_PART_BYTES: Final = 1_048_576
_ONLY_OURS: Final = 0o600


class BadBackup(Exception):
    """The file is no backup, or not what was written; the message says what it lacks."""


class Origin(BaseModel):
    """Where a backup comes from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    made_at: str
    contextd: str
    """Version of the one who has asked for it."""
    server: str
    """Product and version of the store, whose format the dump has."""
    epoch: str


class About(BaseModel):
    """What `backup.json` says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    origin: Origin
    rdb_bytes: int
    rdb_sha256: str


class ArchiveWriter:
    """Writes one file, for the length of a block; without `finish`, none is left."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._part = file.with_name(f"{file.name}.part")
        self._digest = hashlib.sha256()
        self._bytes = 0

    def __enter__(self) -> Self:
        if self._file.exists():
            raise FileExistsError(errno.EEXIST, "File exists", str(self._file))
        descriptor = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _ONLY_OURS)
        self._out = os.fdopen(descriptor, "wb")
        self._out.seek(tarfile.BLOCKSIZE)  # its head says how long it is, and comes last
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._out.close()  # what a full disk has not taken, it may not take now either
        finally:
            self._part.unlink(missing_ok=True)

    def add(self, part: bytes) -> None:
        """Add some more of the dump."""
        self._out.write(part)
        self._digest.update(part)
        self._bytes += len(part)

    def finish(self, origin: Origin) -> About:
        """Add the description, and give the file its name."""
        about = About(origin=origin, rdb_bytes=self._bytes, rdb_sha256=self._digest.hexdigest())
        told = about.model_dump_json(indent=2).encode() + b"\n"
        self._pad(self._bytes)
        self._out.write(_head(_ABOUT, len(told)) + told)
        self._pad(len(told))
        self._out.write(bytes(2 * tarfile.BLOCKSIZE))
        self._out.seek(0)
        self._out.write(_head(_DUMP, self._bytes))
        self._out.flush()
        os.fsync(self._out.fileno())
        os.link(self._part, self._file)  # fails where somebody was quicker
        sync_folder(self._file.parent)
        return about

    def _pad(self, written: int) -> None:
        self._out.write(bytes(-written % tarfile.BLOCKSIZE))


def extract(file: Path, into: Path) -> About:
    """Write the dump of a backup into a new file, and return what it is.

    Raises:
        BadBackup: The file is none, or not as it was written; `into` is not to be used.
        OSError: The file cannot be read, or `into` not written.
    """
    try:
        with tarfile.open(file, "r|") as archive, into.open("xb") as out:
            digest = _copy(_next(archive, _DUMP), out)
            about = About.model_validate_json(
                _next(archive, _ABOUT).read(_ABOUT_BYTES_MAX),
            )
            out.flush()
            os.fsync(out.fileno())
            length = out.tell()
    except tarfile.TarError as error:
        raise BadBackup(f"{file} is no whole backup: {error}") from None
    except ValidationError as error:
        raise BadBackup(f"{file} is no backup that this contextd knows: {error}") from None
    if (about.rdb_bytes, about.rdb_sha256) != (length, digest):
        raise BadBackup(f"{file} is damaged: its contents have another checksum.")
    return about


def sync_folder(folder: Path) -> None:
    """Sync a folder, so that the names in it are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _head(name: str, length: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = length
    info.mode = _ONLY_OURS
    return info.tobuf(tarfile.GNU_FORMAT)


def _next(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    """The next file in the archive, which has to have this name."""
    member = archive.next()
    content = archive.extractfile(member) if member and member.name == name else None
    if content is None:
        raise tarfile.ReadError(f"it has no {name} where that belongs")
    return content


def _copy(source: IO[bytes], out: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while part := source.read(_PART_BYTES):
        out.write(part)
        digest.update(part)
    return digest.hexdigest()
