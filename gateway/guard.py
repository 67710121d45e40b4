"""Authentication and scopes: who asks, and whether that one may.

Default deny: a route that names no scope is public on purpose (`gateway/routes.py`), every
other one is reached with a credential alone. A credential is an API key, a token of the
configured issuer, or a ticket where the browser's API can set no header.
"""

import asyncio
import contextlib
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aiohttp import web
from multidict import MultiMapping

from gateway.config import GatewayConfig
from gateway.parameters import TICKET
from gateway.problems import Problem, unauthorized
from storage import (
    KEY_PREFIX,
    SCOPES,
    Access,
    ApiKey,
    Grant,
    Scope,
    StorageError,
    Store,
    StoreUnavailable,
)

if TYPE_CHECKING:
    from gateway.tokens import Tokens

OWNER: Final = "local"
"""Owner of all contexts where nobody is asked for a key, and of those of the first key."""
_KNOWN_MAX: Final = 10_000
"""Keys that a gateway remembers."""


@dataclass(frozen=True, slots=True)
class Principal:
    """The one who asks, once authenticated."""

    grant: Grant
    credential: str
    """Id of the key that it comes from; "" of a token, which cannot be revoked here."""

    @property
    def owner(self) -> str:
        """The owner whose contexts it sees."""
        return self.grant.owner

    def check(self, scope: Scope) -> None:
        """Raise unless it has the scope.

        Raises:
            Problem: forbidden.
        """
        if not self.grant.opens(scope):
            listed = ", ".join(sorted(self.grant.scopes)) or "none"
            detail = f"This needs the scope {scope}; the key has: {listed}."
            raise Problem("forbidden", detail)


PRINCIPAL: Final = web.RequestKey("principal", Principal)
_ANYBODY: Final = Principal(Grant(OWNER, frozenset(SCOPES)), "")


class Guard:
    """The door of one gateway."""

    def __init__(self, config: GatewayConfig, store: Store, clock: Callable[[], int]) -> None:
        """Make the guard of one gateway.

        Args:
            config: Who may come in.
            store: Where the keys are.
            clock: Unix time in milliseconds.
        """
        self._config = config
        self._access = Access(store.link)
        self._clock = clock
        self._tokens = _read_tokens(config, clock)
        self._known: OrderedDict[bytes, tuple[ApiKey, float]] = OrderedDict()
        """Keys by a digest of their text, and when they were read."""
        self._streams: dict[asyncio.Transport, Principal] = {}
        """By connection: each has one at a time."""

    async def admit(
        self, request: web.Request, scope: Scope | None, *, takes_ticket: bool
    ) -> Principal:
        """Authenticate a request, and check that its principal may do what it asks.

        Args:
            request: What is asked.
            scope: What that takes; None: any credential.
            takes_ticket: Whether a ticket does, too: it is seen in addresses, hence in logs.

        Raises:
            Problem: unauthorized, forbidden.
            StoreUnavailable: The store does not say whether the key is one.
        """
        if self._config.auth == "off":
            return _ANYBODY
        ticket = request.query.get(TICKET.name) if takes_ticket else None
        principal = await self._identify(request.headers, ticket)
        if scope is not None:
            principal.check(scope)
        return principal

    async def _identify(self, headers: MultiMapping[str], ticket: str | None) -> Principal:
        given = headers.getall("Authorization", [])
        if len(given) > 1 or (given and ticket is not None):
            raise unauthorized("Send one credential.")
        if ticket is not None:
            return await self._redeem(ticket)
        if not given:
            raise unauthorized("Send an API key: `Authorization: Bearer ctxd_...`.")
        kind, _, text = given[0].partition(" ")
        if kind.lower() != "bearer":
            raise unauthorized("Authorization takes `Bearer` and an API key.")
        text = text.strip()
        if self._tokens is not None and not text.startswith(KEY_PREFIX):
            return Principal(await self._tokens.read(text), "")
        key = await self._key(text)
        if key is None or not key.is_valid(self._clock()):
            raise unauthorized("That is no key of ours, or not any more.")
        return Principal(Grant(key.owner, frozenset(key.scopes), key.expires_at_ms), key.id)

    async def _key(self, text: str) -> ApiKey | None:
        name = hashlib.blake2b(text.encode(errors="replace"), digest_size=32).digest()
        now_s = asyncio.get_running_loop().time()
        known = self._known.get(name)
        if known is not None and now_s - known[1] < self._config.access_check_s:
            return known[0]
        try:
            async with asyncio.timeout(self._config.stale_after_s):
                key = await self._access.find(text)
        except (StoreUnavailable, TimeoutError):
            if known is None:
                raise StoreUnavailable("nobody knows whether the key is one") from None
            return known[0]  # what can be read all the same is not withheld
        if key is None:
            self._known.pop(name, None)
            return None
        self._known[name] = key, now_s
        self._known.move_to_end(name)
        if len(self._known) > _KNOWN_MAX:
            self._known.popitem(last=False)
        return key

    async def _redeem(self, ticket: str) -> Principal:
        found = await self._access.redeem(ticket)
        if found is None:
            raise unauthorized("The ticket was used, or is too old; ask for another one.")
        principal = Principal(*found)
        if not await self._is_still_valid(principal):
            raise unauthorized("The key that the ticket came from is not valid any more.")
        return principal

    async def issue(self, principal: Principal) -> str:
        """Make a ticket for a principal.

        Raises:
            StoreUnavailable, StoreRefusedWrite: No ticket was made.
        """
        return await self._access.issue(
            principal.grant, credential=principal.credential, lives_s=self._config.ticket_s
        )

    @contextlib.contextmanager
    def opened(self, request: web.Request, principal: Principal) -> Generator[None, None, None]:
        """Have a stream's credential checked again and again, for the length of a block."""
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client has gone")
        self._streams[transport] = principal
        try:
            yield
        finally:
            del self._streams[transport]

    async def check_streams(self) -> None:
        """Cut off the streams whose credential is not valid any more, until cancelled."""
        while True:
            await asyncio.sleep(self._config.stream_check_s)
            streams = list(self._streams.items())
            for principal in {principal for _, principal in streams}:
                if await self._is_still_valid(principal):
                    continue
                for transport, whose in streams:
                    if whose == principal:
                        transport.close()  # who comes back is told why

    async def _is_still_valid(self, principal: Principal) -> bool:
        expires_at_ms = principal.grant.expires_at_ms
        if expires_at_ms is not None and expires_at_ms <= self._clock():
            return False
        if not principal.credential:
            return True
        try:
            key = await self._access.get(principal.credential)
        except StorageError:
            return True  # nobody knows; it is asked again
        return key is not None and key.is_valid(self._clock())


def _read_tokens(config: GatewayConfig, clock: Callable[[], int]) -> "Tokens | None":
    """The reader of tokens, if they are accepted; imported here, because it loads slowly."""
    if not config.jwt_issuer:
        return None
    from gateway.tokens import Tokens

    return Tokens(config, clock)
