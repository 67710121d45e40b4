"""`contextd backup` and `contextd restore`: the store as one file, and back.

- A backup is the store as of one moment, taken while everything runs. What is encrypted stays
  so; keys to it, `owner.key` and JSON snapshots (a cache) are not in it.
- A restored store lacks what was answered since: it begins a new epoch, so every stream that
  resumes gets a reset, and no earlier fencing token is valid.
- What is restored was loaded by a server, and opened with our keys, before it takes anybody's
  place. A data folder changes by one rename; in a server, keys are written one by one.
"""

import asyncio
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Generator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from runtime.archive import About, ArchiveWriter, BadBackup, Origin, extract, sync_folder
from runtime.audit import record
from runtime.embedded import EmbeddedStore, StoreFailed, try_lock
from runtime.leaves import leaves
from runtime.settings import Settings
from runtime.store_address import AOF_FOLDER, AOF_MANIFEST, BadDataFolder, prepare_data
from runtime.store_binary import NoStoreBinary
from runtime.version import own_version
from storage import (
    StorageError,
    connect,
    dump,
    product_of,
    replace_contents,
    unix_ms,
)

_BASE: Final = "appendonly.aof.1.base.rdb"
_FURTHER: Final = "appendonly.aof.1.incr.aof"


class _Refused(Exception):
    """Nothing was done or changed; the message says why."""


@dataclass(frozen=True, slots=True)
class _Restored:
    about: About
    contexts: int


async def run_backup(settings: Settings, url: str, file: Path) -> int:
    """Write a backup of a store that may be in use; the exit code."""
    about: About | None = None
    try:
        with ArchiveWriter(file) as archive:
            async with connect(url, settings) as store:
                await record(store, "backup", str(file))
                server, epoch = await product_of(store.link), store.epoch
            made_at = _now()
            async with contextlib.aclosing(dump(url)) as parts:
                async for part in parts:
                    await asyncio.to_thread(archive.add, part)
            origin = Origin(made_at=made_at, contextd=own_version(), server=server, epoch=epoch)
            about = await asyncio.to_thread(archive.finish, origin)
    except* (StorageError, OSError) as failed:
        _say_why(failed, f"no backup was made of the store in {file}")
    if about is None:
        return 1
    sys.stdout.write(f"{file}: {about.rdb_bytes:,} bytes of {about.origin.server}.\n")
    return 0


async def run_restore(settings: Settings, file: Path, *, force: bool) -> int:
    """Put a backup into an empty store that nobody uses; the exit code.

    Args:
        settings: With `redis_url` it goes into that server, else into the data folder.
        file: The backup.
        force: Also where something is; a data folder's contents are set aside.
    """
    restored: _Restored | None = None
    try:
        if settings.redis_url is None:
            restored = await _into_folder(settings, file, force=force)
        else:
            url = settings.redis_url.get_secret_value()
            restored = await _into_server(settings, url, file, force=force)
    except* (StorageError, StoreFailed, BadDataFolder, NoStoreBinary) as failed:
        _say_why(failed, "it was not restored")
    except* (BadBackup, OSError, _Refused) as failed:
        _say_why(failed, "nothing was restored")
    if restored is None:
        return 1
    origin = restored.about.origin
    sys.stdout.write(
        f"Restored: {restored.contexts:,} contexts as of {origin.made_at}. What was answered "
        "since is gone; keys that were revoked since then open again.\n"
    )
    return 0


async def _into_folder(settings: Settings, file: Path, *, force: bool) -> _Restored:
    address = prepare_data(settings.data)
    with _locked(address.lock):
        present = address.data / AOF_FOLDER
        if present.exists() and not force:
            raise _Refused(f"{address.data} holds a store; --force sets it aside")
        with tempfile.TemporaryDirectory(prefix="restore-", dir=address.data) as scratch:
            async with _loaded(settings, file, Path(scratch)) as (url, about):
                contexts = await _begin_anew(settings, url, file)
            if present.exists():
                kept = present.with_name(f"{AOF_FOLDER}.before-{unix_ms()}")
                present.rename(kept)
                sys.stdout.write(f"What was there is in {kept}.\n")
            (Path(scratch) / AOF_FOLDER).rename(present)
            sync_folder(address.data)
    return _Restored(about, contexts)


async def _into_server(settings: Settings, url: str, file: Path, *, force: bool) -> _Restored:
    with tempfile.TemporaryDirectory(prefix="contextd-restore-") as scratch:
        async with _loaded(settings, file, Path(scratch)) as (source_url, about):
            async with connect(source_url, _own_store(settings)):
                pass  # whether our keys open it
            await replace_contents(url, source_url, settings, force=force)
        return _Restored(about, await _begin_anew(settings, url, file))


@contextlib.asynccontextmanager
async def _loaded(
    settings: Settings, file: Path, folder: Path
) -> AsyncGenerator[tuple[str, About], None]:
    """A store of its own that has loaded a backup: its URL, and what the backup says."""
    aof = folder / AOF_FOLDER
    aof.mkdir(mode=0o700)
    about = await asyncio.to_thread(extract, file, aof / _BASE)
    (aof / _FURTHER).touch(mode=0o600)
    (aof / AOF_MANIFEST).write_text(
        f"file {_BASE} seq 1 type b\nfile {_FURTHER} seq 1 type i\n", encoding="ascii"
    )
    sync_folder(aof)
    store = EmbeddedStore(settings.model_copy(update={"data": folder}))
    try:
        await store.start()
    except StoreFailed as error:
        await store.stop()
        raise StoreFailed(
            f"{error}\nThe backup is of {about.origin.server}; CONTEXTD_STORE_BINARY names a "
            "server that can read it"
        ) from None
    try:
        yield store.url, about
    finally:
        await store.stop()


async def _begin_anew(settings: Settings, url: str, file: Path) -> int:
    """Begin a new epoch on a restored store; returns how many contexts it has."""
    async with connect(url, _own_store(settings)) as store:
        await store.begin_epoch(now_ms=unix_ms())
        await record(store, "restore", str(file))
        return await store.context_count()


def _own_store(settings: Settings) -> Settings:
    """Settings for a look at a store that no replica follows yet."""
    return settings.model_copy(update={"store_replicas_min": 0})


@contextlib.contextmanager
def _locked(path: Path) -> Generator[None]:
    """Hold a data folder, so that no server starts in it."""
    lock = try_lock(path)
    if lock is None:
        raise _Refused(f"a store runs in {path.parent}; stop contextd first")
    try:
        yield
    finally:
        os.close(lock)


def _now() -> str:
    at = datetime.fromtimestamp(time.time_ns() / 1e9, UTC)
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")


def _say_why(failed: BaseExceptionGroup[Exception], outcome: str) -> None:
    for error in leaves(failed):
        reason = str(error)
        if isinstance(error, OSError) and error.filename:
            reason = f"{error.filename}: {error.strerror}"
        sys.stderr.write(f"contextd: {outcome}: {reason.removesuffix('.')}.\n")
