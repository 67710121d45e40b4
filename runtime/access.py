"""API keys: the first one of a data folder, and `contextd keys`."""

import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

import orjson

from gateway.config import is_loopback
from runtime.audit import record
from runtime.key_file import OWNER_KEY, NoKeys
from runtime.leaves import say_unusable
from runtime.settings import Settings
from storage import SCOPES, Access, ApiKey, Scope, StorageError, Store, connect, unix_ms

OWNER: Final = "local"
"""Whose contexts keys open that name no owner."""
DAY_MS: Final = 86_400_000
DEFAULT_SCOPES: Final[tuple[Scope, ...]] = ("contexts:read", "contexts:write")


async def ensure_owner_key(settings: Settings, url: str) -> str | None:
    """Make the first key of a data folder, unless a valid one exists; the new one, or None.

    Raises:
        StoreUnavailable, StoreRefusedWrite: There may be none.
        OSError: The file cannot be written.
    """
    path = settings.data / OWNER_KEY
    made: str | None = None
    async with connect(url, settings) as store:
        access = Access(store.link)
        text = path.read_text(errors="replace").strip() if path.exists() else ""
        known = await access.find(text)
        if known is None or not known.is_valid(unix_ms()):
            await record(store, "create_key", OWNER_KEY)
            create = partial(
                access.create, "first key", owner=OWNER, scopes=SCOPES, now_ms=unix_ms()
            )
            _, made = await _into_file(path, access, create)
    return made


async def check_keys(settings: Settings, store: Store) -> None:
    """Refuse to listen beyond this machine while there is no valid key.

    Raises:
        NoKeys: There is no valid key.
        StoreUnavailable: The store does not answer.
    """
    if is_loopback(settings.host):
        return
    keys = await Access(store.link).all()
    if not any(key.is_valid(unix_ms()) for key in keys):
        raise NoKeys(
            f"{settings.host} is reached by others, and there is no API key yet: make one with "
            "`contextd keys create NAME --scope ...`, or listen on 127.0.0.1."
        )


async def create_key(
    settings: Settings,
    url: str,
    *,
    name: str,
    owner: str,
    scopes: Sequence[Scope],
    days: int | None,
    file: Path | None,
) -> int:
    """Make a key and show it, once; the exit code.

    Args:
        settings: Of the store.
        url: Of the store.
        name: What it is for.
        owner: Whose contexts it opens.
        scopes: What it allows.
        days: For how many days it is valid; None: for ever.
        file: Write it there instead of showing it.
    """
    text = ""
    try:
        async with connect(url, settings) as store:
            now_ms = unix_ms()
            await record(store, "create_key", f"{owner} {','.join(sorted(scopes))} {name}")
            access = Access(store.link)
            create = partial(
                access.create,
                name,
                owner=owner,
                scopes=scopes,
                now_ms=now_ms,
                expires_at_ms=None if days is None else now_ms + days * DAY_MS,
            )
            try:
                key, text = await (
                    create() if file is None else _into_file(file, access, create)
                )
            except OSError as error:
                sys.stderr.write(f"contextd: {file} cannot be written: {error.strerror}.\n")
                return 1
            sys.stderr.write(f"Key {key.id}, of {owner}: {', '.join(key.scopes)}.\n")
    except* StorageError as failed:
        say_unusable(failed)
    if not text:
        return 1
    if file is None:
        sys.stdout.write(f"{text}\n")
        sys.stderr.write("It is shown only now: nobody can read it again.\n")
    return 0


async def list_keys(settings: Settings, url: str, *, as_json: bool) -> int:
    """Print what is kept of all keys; the exit code."""
    found: Sequence[ApiKey] | None = None
    try:
        async with connect(url, settings) as store:
            found = await Access(store.link).all()
    except* StorageError as failed:
        say_unusable(failed)
    if found is None:
        return 1
    if as_json:
        shown = [key.model_dump(mode="json", exclude={"digest"}) for key in found]
        sys.stdout.write(f"{orjson.dumps(shown, option=orjson.OPT_INDENT_2).decode()}\n")
        return 0
    for key in found:
        scopes = ", ".join(key.scopes)
        sys.stdout.write(f"{key.id}  {_state(key):<22}  {key.owner}  {scopes}  {key.name}\n")
    return 0


async def revoke_key(settings: Settings, url: str, key_id: str) -> int:
    """Make a key invalid; the exit code."""
    asked = False
    key: ApiKey | None = None
    try:
        async with connect(url, settings) as store:
            await record(store, "revoke_key", key_id)
            key = await Access(store.link).revoke(key_id, now_ms=unix_ms())
            asked = True
    except* StorageError as failed:
        say_unusable(failed)
    if not asked:
        return 1
    if key is None:
        sys.stderr.write(f"contextd: There is no key {key_id}; `contextd keys list` has all.\n")
        return 1
    sys.stdout.write(f"Key {key.id} ({key.name}) opens nothing any more.\n")
    return 0


def _state(key: ApiKey) -> str:
    if key.revoked_at_ms is not None:
        return f"revoked {_date(key.revoked_at_ms)}"
    if key.expires_at_ms is None:
        return "valid"
    ends = "until" if key.is_valid(unix_ms()) else "expired"
    return f"{ends} {_date(key.expires_at_ms)}"


async def _into_file(
    path: Path, access: Access, create: Callable[[], Awaitable[tuple[ApiKey, str]]]
) -> tuple[ApiKey, str]:
    """Make a key and write it into a file that only its owner may read, whole or not at all.

    Raises:
        OSError: The file cannot be written; no key is left that would open anything.
    """
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            key, text = await create()
            try:
                file.write(f"{text}\n")
                file.flush()
                new.replace(path)
            except OSError:
                await access.revoke(key.id, now_ms=unix_ms())
                raise
    finally:
        new.unlink(missing_ok=True)
    return key, text


def _date(at_ms: int) -> str:
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms)
    return at.date().isoformat()
