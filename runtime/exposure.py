"""Rows of `contextd doctor`: who can reach the store, the gateways and the files."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit, urlunsplit

from redis.exceptions import RedisError, ResponseError

from gateway.config import is_loopback
from runtime.findings import Check, Level
from runtime.key_file import OWNER_KEY
from runtime.leaves import leaves
from runtime.settings import Settings
from storage import (
    Access,
    ApiKey,
    EncryptionMismatch,
    StorageError,
    connect,
    make_client,
    parse_sentinels,
    unix_ms,
)

_Client = Any
"""redis-py's annotations are partly missing, partly wrong; what comes out is checked here."""
_ANSWER_S_MAX: Final = 5.0
_SOON_DAYS: Final = 7
_DAY_MS: Final = 86_400_000
_NETWORK: Final = frozenset({"redis", "rediss"})
_UNCHECKED: Final = frozenset({"none", "optional", "false", "f", "no", "n", "0"})
"""Values of ssl_cert_reqs and ssl_check_hostname that redis-py takes for no check."""
_USERS: Final = "docs/redis-users.conf has a user for each role."


async def store_exposure(url: str) -> list[Check]:
    """Who else can reach a store that answers, and who could listen to its connections."""
    if (sentinels := parse_sentinels(url)) is not None:
        return [_named(sentinels.username), _tls(url)]
    parts = urlsplit(url)
    if parts.scheme not in _NETWORK:
        return [Check("store access", Level.OK, "a socket, which file permissions guard")]
    access = await asyncio.to_thread(_access, url)
    return [access] if is_loopback(parts.hostname or "") else [access, _tls(url)]


def _access(url: str) -> Check:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    client: _Client = make_client(
        urlunsplit(parts._replace(netloc=host)), call_s_max=_ANSWER_S_MAX
    )
    try:
        client.exists("")
    except (RedisError, OSError):
        return _named(parts.username)
    else:
        far = not is_loopback(parts.hostname or "") or _listens_far(client)
    finally:
        client.close()
    whoever = "whoever reaches it over the network" if far else "every user of this machine"
    advice = f"Set a password (`user default off` is better): {_USERS}"
    finding = f"it lets in {whoever}, without a password"
    return Check("store access", Level.FAIL if far else Level.WARN, finding, advice)


def _named(username: str | None) -> Check:
    if username in {None, "", "default"}:
        finding = "contextd comes in as `default`, who may usually do everything"
        return Check("store access", Level.WARN, finding, _USERS)
    return Check("store access", Level.OK, f"a password is asked for; contextd is {username}")


def _listens_far(client: _Client) -> bool:
    """Whether the server lets other machines in; False where it does not tell."""
    try:
        told = {**client.config_get("protected-mode"), **client.config_get("bind")}
    except ResponseError:
        return False
    bound = str(told.get("bind", "")).split()
    only_here = bool(bound) and all(is_loopback(one.removeprefix("-")) for one in bound)
    return told.get("protected-mode") == "no" and not only_here


def _tls(url: str) -> Check:
    if not url.startswith("rediss:"):
        finding = "what is said and the password cross the network readable"
        advice = "Take rediss://host:6379/0?ssl_ca_certs=FILE, or a network of their own."
        return Check("store tls", Level.WARN, finding, advice)
    asked = parse_qs(urlsplit(url).query)
    given = {*asked.get("ssl_cert_reqs", ()), *asked.get("ssl_check_hostname", ())}
    if {each.lower() for each in given} & _UNCHECKED:
        finding = "its certificate is not checked: anybody in between is taken for it"
        advice = "Name its CA instead: ssl_ca_certs=FILE."
        return Check("store tls", Level.FAIL, finding, advice)
    return Check("store tls", Level.OK, "its certificate is checked")


async def kept_exposure(settings: Settings, url: str) -> list[Check]:
    """Rows on API keys and on encryption at rest."""
    keys: Sequence[ApiKey] | None = None
    covers_all = False
    mismatch = failure = ""
    try:
        async with connect(url, settings) as store:
            covers_all = store.sealer.refuses_plain
            keys = await Access(store.link).all()
    except* EncryptionMismatch as failed:
        mismatch = str(next(leaves(failed)))
    except* StorageError as failed:
        failure = str(next(leaves(failed)))
    if mismatch:
        advice = "Set CONTEXTD_ENCRYPTION to the keys that it was encrypted with."
        return [Check("encryption", Level.FAIL, mismatch, advice)]
    if keys is None:
        return [Check("keys", Level.WARN, f"they cannot be read: {failure}")]
    return [
        _encryption(settings, covers_all=covers_all),
        _keys(settings, keys, now_ms=unix_ms()),
    ]


def _encryption(settings: Settings, *, covers_all: bool) -> Check:
    if settings.encryption is None:
        finding = "off: whoever reads the store's files reads what was said"
        return Check("encryption", Level.OK, finding, "CONTEXTD_ENCRYPTION=file:PATH seals it.")
    if settings.encryption.startswith("file:"):
        path = Path(settings.encryption.removeprefix("file:"))
        if path.stat().st_mode & 0o077:
            finding = f"others of this machine may open the keys in {path}"
            return Check("encryption", Level.FAIL, finding, f"chmod 600 {path}")
    if not covers_all:
        finding = "on; what this store may have held before is still readable"
        advice = "Export, delete and import old contexts, or let retention delete them."
        return Check("encryption", Level.WARN, finding, advice)
    return Check("encryption", Level.OK, "on, for all that was said")


def _keys(settings: Settings, keys: Sequence[ApiKey], *, now_ms: int) -> Check:
    if settings.auth == "off":
        finding = "auth is off: every user of this machine may do everything"
        return Check("keys", Level.WARN, finding, "CONTEXTD_AUTH=keys; `contextd keys create`.")
    valid = [key for key in keys if key.is_valid(now_ms)]
    if not valid and not settings.jwt_issuer:
        level = Level.WARN if is_loopback(settings.host) else Level.FAIL
        return Check("keys", level, "none is valid", "Make one: `contextd keys create NAME`.")
    soon_ms = now_ms + _SOON_DAYS * _DAY_MS
    ending = [key for key in valid if not key.is_valid(soon_ms)]
    if ending:
        named = ", ".join(f"{key.id} ({key.name})" for key in ending[:5])
        finding = f"{len(ending)} of {len(valid)} expire within {_SOON_DAYS} days: {named}"
        return Check("keys", Level.WARN, finding, "Make their successors in time.")
    return Check("keys", Level.OK, f"{len(valid)} valid")


def file_exposure(settings: Settings) -> list[Check]:
    """Files with secrets that other users of this machine can read."""
    if settings.redis_url is not None:
        return []
    found: list[Check] = []
    for path, wanted in ((settings.data, 0o700), (settings.data / OWNER_KEY, 0o600)):
        if path.exists() and path.stat().st_mode & 0o077:
            finding = f"others of this machine may open {path}"
            advice = f"chmod {wanted:o} {path}"
            found.append(Check("file access", Level.FAIL, finding, advice))
    return found
