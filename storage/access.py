"""API keys, and tickets: credentials that stand in for a key once, for a short time.

Only their digests are stored. A key is 256 random bits, so one round of a keyed hash is all
that its digest needs.
"""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, cast, get_args

from pydantic import BaseModel, ConfigDict

import storage.keys as keys
from storage.link import Link

Scope: TypeAlias = Literal["contexts:read", "contexts:write", "dashboard", "admin"]
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
KEY_PREFIX: Final = "ctxd"
_ID_BYTES: Final = 10
_SECRET_BYTES: Final = 32
_KEY: Final = re.compile(
    rf"{KEY_PREFIX}_(?P<id>[a-z2-7]{{16}})_(?P<secret>[A-Za-z0-9_-]{{43}})"
)


class ApiKey(BaseModel):
    """What is kept of a key."""

    model_config = ConfigDict(frozen=True)

    id: str
    """Public: it is a part of the key, and what a key is revoked by."""
    name: str
    """What its maker called it: whose it is, or what it is for."""
    owner: str
    """The owner whose contexts it opens."""
    scopes: tuple[Scope, ...]
    digest: str
    created_at_ms: int
    expires_at_ms: int | None = None
    revoked_at_ms: int | None = None

    def is_valid(self, now_ms: int) -> bool:
        """Whether it opens anything at a time."""
        expired = self.expires_at_ms is not None and self.expires_at_ms <= now_ms
        return not expired and self.revoked_at_ms is None


@dataclass(frozen=True, slots=True)
class Grant:
    """What a credential allows."""

    owner: str
    scopes: frozenset[Scope]
    expires_at_ms: int | None = None

    def opens(self, scope: Scope) -> bool:
        """Whether it includes a scope; `admin` includes `dashboard`."""
        return scope in self.scopes or (scope == "dashboard" and "admin" in self.scopes)


class _Ticket(BaseModel):
    owner: str
    scopes: tuple[Scope, ...]
    expires_at_ms: int | None
    credential: str


@dataclass(frozen=True, slots=True)
class Access:
    """The keys and tickets of one store."""

    link: Link

    async def create(
        self,
        name: str,
        *,
        owner: str,
        scopes: Sequence[Scope],
        now_ms: int,
        expires_at_ms: int | None = None,
    ) -> tuple[ApiKey, str]:
        """Make a key.

        Returns:
            What is kept of it, and the key itself, which cannot be read again.

        Raises:
            StoreUnavailable, StoreRefusedWrite: There may be a key that was shown to nobody.
        """
        key_id = base64.b32encode(secrets.token_bytes(_ID_BYTES)).decode().lower()
        secret = secrets.token_urlsafe(_SECRET_BYTES)
        key = ApiKey(
            id=key_id,
            name=name,
            owner=owner,
            scopes=tuple(sorted(set(scopes))),
            digest=_digest(key_id, secret),
            created_at_ms=now_ms,
            expires_at_ms=expires_at_ms,
        )
        await self.link.call("HSET", keys.ACCESS_KEYS, key_id, key.model_dump_json())
        return key, f"{KEY_PREFIX}_{key_id}_{secret}"

    async def find(self, text: str) -> ApiKey | None:
        """What is kept of a key, valid or not; None: there is no such key.

        Raises:
            StoreUnavailable: The store does not answer.
        """
        parts = _KEY.fullmatch(text)
        key = await self.get(parts["id"]) if parts else None
        if parts is None or key is None:
            return None
        digest = _digest(parts["id"], parts["secret"])
        return key if hmac.compare_digest(key.digest, digest) else None

    async def get(self, key_id: str) -> ApiKey | None:
        """What is kept of a key, by its id."""
        raw = cast("bytes | None", await self.link.call("HGET", keys.ACCESS_KEYS, key_id))
        return None if raw is None else ApiKey.model_validate_json(raw)

    async def all(self) -> Sequence[ApiKey]:
        """Every key that there is or was, the oldest first."""
        found = cast("list[bytes]", await self.link.call("HVALS", keys.ACCESS_KEYS))
        read = [ApiKey.model_validate_json(raw) for raw in found]
        return sorted(read, key=lambda key: (key.created_at_ms, key.id))

    async def revoke(self, key_id: str, *, now_ms: int) -> ApiKey | None:
        """Make a key invalid; None: there is no such key."""
        key = await self.get(key_id)
        if key is not None and key.revoked_at_ms is None:
            key = key.model_copy(update={"revoked_at_ms": now_ms})
            await self.link.call("HSET", keys.ACCESS_KEYS, key_id, key.model_dump_json())
        return key

    async def issue(self, grant: Grant, *, credential: str, lives_s: float) -> str:
        """Make a ticket, which allows once what the grant allows, within `lives_s`.

        Args:
            grant: What it allows.
            credential: Id of the key that the grant comes from, which may be revoked meanwhile.
            lives_s: How long it can be used.
        """
        ticket = secrets.token_urlsafe(_SECRET_BYTES)
        kept = _Ticket(
            owner=grant.owner,
            scopes=tuple(sorted(grant.scopes)),
            expires_at_ms=grant.expires_at_ms,
            credential=credential,
        )
        await self.link.call(
            *("SET", keys.ticket(_ticket_digest(ticket)), kept.model_dump_json()),
            *("PX", round(lives_s * 1_000)),
        )
        return ticket

    async def redeem(self, ticket: str) -> tuple[Grant, str] | None:
        """Use a ticket up: what it allows, and its credential. None: it is not valid."""
        where = keys.ticket(_ticket_digest(ticket))
        raw = cast("bytes | None", await self.link.call("GETDEL", where))
        if raw is None:
            return None
        kept = _Ticket.model_validate_json(raw)
        grant = Grant(kept.owner, frozenset(kept.scopes), kept.expires_at_ms)
        return grant, kept.credential


def _digest(key_id: str, secret: str) -> str:
    hashed = hashlib.blake2b(secret.encode(), digest_size=32, key=key_id.encode())
    return hashed.hexdigest()


def _ticket_digest(ticket: str) -> str:
    return hashlib.blake2b(ticket.encode(), digest_size=32).hexdigest()
