"""JSON Web Tokens of an external issuer, accepted as credentials.

Invariant: a token says neither which algorithms are good enough nor where its key is to be
found. Both are the operator's, and so is the issuer.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import aiohttp
import jwt
import orjson
import structlog
from cryptography.hazmat.primitives.asymmetric import rsa

from gateway.config import GatewayConfig
from gateway.problems import unauthorized
from storage import SCOPES, Grant, Scope

log = structlog.get_logger(__name__)

OWNER_PREFIX: Final = "jwt:"
"""Put before the subject, so that no token opens the contexts of an owner of API keys."""
_REQUIRED: Final = ["exp", "iss", "aud", "sub"]
_LEEWAY_S: Final = 5
_FETCH_S_MAX: Final = 5.0
_AGAIN_S: Final = 30.0
"""How long the keys are not asked for again, whatever a token needs."""
KEPT_S: Final = 600.0
"""How long they are used before they are: the issuer may have withdrawn one."""
_BYTES_MAX: Final = 1_048_576
_UNREADABLE: Final = (OSError, aiohttp.ClientError, TimeoutError, ValueError)
"""How reading the issuer's keys fails."""
_REASONS: Final[Sequence[tuple[type[Exception], str]]] = (
    (jwt.ExpiredSignatureError, "it has expired"),
    (jwt.ImmatureSignatureError, "it is not valid yet"),
    (jwt.InvalidAudienceError, "it is for another audience"),
    (jwt.InvalidIssuerError, "it is of another issuer"),
    (jwt.MissingRequiredClaimError, f"it must have {', '.join(_REQUIRED)}"),
    (jwt.InvalidAlgorithmError, "its algorithm is not accepted"),
    (jwt.InvalidSignatureError, "its signature is wrong"),
)

Claims = dict[str, Any]
"""Claims of a token: foreign JSON, each claim checked before it is used."""
Key = jwt.PyJWK | rsa.RSAPublicKey
"""What signatures are checked with; a bare one by whatever accepted algorithm is RSA's."""


class Tokens:
    """The tokens of one issuer. Made and used within one event loop."""

    def __init__(self, config: GatewayConfig, clock: Callable[[], int]) -> None:
        """Take whose tokens are good; nothing is fetched yet.

        Args:
            config: With `jwt_issuer`, `jwt_audience`, `jwt_keys` and `jwt_algorithms`.
            clock: Unix time in milliseconds.
        """
        self._config = config
        self._clock = clock
        self._algorithms = [name.strip() for name in config.jwt_algorithms.split(",")]
        self._keys: Mapping[str, Key] = {}
        self._fetched_s = float("-inf")
        self._fetching = asyncio.Lock()

    async def read(self, text: str) -> Grant:
        """What a token allows.

        Raises:
            Problem: unauthorized, and why: it is not signed by a key of the issuer's, is for
                somebody else, or is over.
        """
        try:
            header: Claims = jwt.get_unverified_header(text)
        except (jwt.PyJWTError, ValueError):
            raise unauthorized("That is neither a key of ours nor a token.") from None
        key_id = header.get("kid")
        try:
            claims = await self._claims(text, key_id if isinstance(key_id, str) else "")
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise unauthorized(f"The token is not valid: {_why(error)}.") from None
        said = _scopes(claims)
        scopes: frozenset[Scope] = frozenset(scope for scope in SCOPES if scope in said)
        expires_at_ms = int(claims["exp"]) * 1_000
        return Grant(f"{OWNER_PREFIX}{claims['sub']}", scopes, expires_at_ms)

    async def _claims(self, text: str, key_id: str) -> Claims:
        age_s = asyncio.get_running_loop().time() - self._fetched_s
        if key_id not in self._keys or age_s >= KEPT_S:
            await self._renew()
        key = self._keys.get(key_id)
        try:
            return self._decode(text, key)
        except jwt.InvalidSignatureError:
            # The issuer may have put another key in its place, under the same id or none.
            await self._renew()
            if self._keys.get(key_id) is key:
                raise
            return self._decode(text, self._keys.get(key_id))

    def _decode(self, text: str, key: Key | None) -> Claims:
        if key is None:
            raise unauthorized("The token is signed with a key that its issuer does not have.")
        return jwt.decode(
            text,
            key,
            algorithms=self._algorithms,
            audience=self._config.jwt_audience,
            issuer=self._config.jwt_issuer,
            leeway=_LEEWAY_S,
            options={"require": _REQUIRED, "strict_aud": False},
        )

    async def _renew(self) -> None:
        """Fetch the keys, or wait for who does, unless that was just now."""
        async with self._fetching:
            now_s = asyncio.get_running_loop().time()
            if now_s - self._fetched_s >= _AGAIN_S:
                self._fetched_s = now_s
                await self._fetch()

    async def _fetch(self) -> None:
        """Read the issuer's keys; those that were there stay if that fails."""
        try:
            self._keys = _keys_of(await self._read_keys(self._config.jwt_keys))
        except _UNREADABLE as error:
            log.warning("keys of the issuer cannot be read", error=repr(error))

    async def _read_keys(self, where: str) -> bytes:
        if "://" not in where:
            return await asyncio.to_thread(Path(where).read_bytes)
        timeout = aiohttp.ClientTimeout(total=_FETCH_S_MAX)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(where, allow_redirects=False) as response,
        ):
            if response.status != 200:
                raise ValueError(f"{where} answers {response.status}")
            raw = bytearray()
            async for piece in response.content.iter_any():
                raw += piece
                if len(raw) > _BYTES_MAX:
                    raise ValueError(f"{where} answers more than {_BYTES_MAX} bytes")
        return bytes(raw)


def _keys_of(raw: bytes) -> Mapping[str, Key]:
    """The keys of a set (RFC 7517) by their ids; what is of no use is passed over.

    Raises:
        ValueError: There is none, or it is no such set.
    """
    found: dict[str, Key] = {}
    match orjson.loads(raw):
        case {"keys": [*listed]}:
            for said in listed:
                with contextlib.suppress(jwt.PyJWTError, AttributeError, TypeError):
                    found |= _key_of(said)
        case _:
            pass
    if not found:
        raise ValueError("that is no set of keys, or none of them can be used")
    return found


def _key_of(said: Claims) -> Mapping[str, Key]:
    """A key by its id; nothing, if it is a shared secret."""
    key, key_id = jwt.PyJWK(said), str(said.get("kid") or "")
    if isinstance(key.key, rsa.RSAPublicKey) and not said.get("alg"):
        return {key_id: key.key}  # PyJWK would have it be of RS256
    return {} if key.key_type == "oct" else {key_id: key}


def _scopes(claims: Claims) -> frozenset[str]:
    """Of `scope` (RFC 9068: words), or of `scp`, a list."""
    match claims.get("scope", claims.get("scp")):
        case str() as words:
            return frozenset(words.split())
        case [*words]:
            return frozenset(word for word in words if isinstance(word, str))
        case _:
            return frozenset()


def _why(error: Exception) -> str:
    """In words of ours: the library's may quote the token."""
    said = (reason for kind, reason in _REASONS if isinstance(error, kind))
    return next(said, "it cannot be read")
