"""Browsers: whose pages may ask, and what browsers are told to do with the answers.

A page may ask if it is the gateway's own, or if its origin is on `cors_origins`. Every
other request that a page makes is refused before its address is looked at, WebSockets too,
for which browsers leave that to the server. Who is no browser sends no `Origin`.

Where nobody is asked for a key, the name that the gateway is asked under must be one of its
own: a page whose name is made to mean this machine (DNS rebinding) is its own origin.
"""

import ipaddress
from collections.abc import Mapping
from typing import Final

from aiohttp import web
from multidict import CIMultiDict

from gateway.config import GatewayConfig, is_loopback, named
from gateway.problems import Problem

SERVER: Final = "contextd"
"""What we call ourselves; the version is nobody's business."""
PROTECTIVE: Final[Mapping[str, str]] = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Headers of every answer."""
_POLICY: Final = "default-src 'none'; frame-ancestors 'none'"
"""For what is no page; a page brings its own."""
_HSTS: Final = "max-age=31536000"
_ASKING: Final[Mapping[str, str]] = {
    # Any header, but that one has to be named.
    "Access-Control-Allow-Headers": "Authorization, *",
    "Access-Control-Max-Age": "7200",
}
"""What a page may send; browsers remember it for no longer than two hours anyway."""


class Browsers:
    """What one gateway has to do with browsers."""

    def __init__(self, config: GatewayConfig) -> None:
        self._origins = frozenset(named(config.cors_origins))
        self._hosts = frozenset(named(config.public_hosts))
        self._knows_its_names = bool(self._hosts) or config.auth == "off"
        fixed = {"Server": SERVER, **PROTECTIVE}
        if config.tls_cert is not None and not is_loopback(config.host):
            fixed["Strict-Transport-Security"] = _HSTS
        self._fixed = CIMultiDict(fixed)

    def check(self, request: web.Request) -> None:
        """Refuse requests under a name that is not ours, and those of pages that may not ask.

        Raises:
            Problem: misdirected, origin-not-allowed.
        """
        headers = request.headers
        host = headers.get("Host")
        if self._knows_its_names and host is not None and not self._is_ours(host):
            detail = (
                "This server is not known by the name in Host; `public_hosts` has its names."
            )
            raise Problem("misdirected", detail)
        origin = headers.get("Origin")
        if origin is None or self._allows(origin):
            return
        if headers.get("Sec-Fetch-Site") == "same-origin":  # no page can set it
            return
        if not self._is_own(origin, host or ""):
            detail = f"The origin {origin[:200]!r} is not on the server's `cors_origins`."
            raise Problem("origin-not-allowed", detail)

    async def protect(self, request: web.Request, response: web.StreamResponse) -> None:
        """Add the headers that tell browsers what to do with an answer."""
        headers = response.headers
        headers.update(self._fixed)
        headers.setdefault("Content-Security-Policy", _POLICY)
        headers.setdefault("Cache-Control", "no-store")
        if not self._origins:
            return
        if "*" in self._origins:
            headers["Access-Control-Allow-Origin"] = "*"
        else:
            vary = headers.get("Vary")
            headers["Vary"] = "Origin" if vary is None else f"{vary}, Origin"
            origin = request.headers.get("Origin")
            if origin not in self._origins:
                return
            headers["Access-Control-Allow-Origin"] = origin
        headers["Access-Control-Expose-Headers"] = "*"

    def preflight(self, request: web.Request, methods: str) -> dict[str, str]:
        """Headers that answer a CORS preflight; none for a page that may not ask."""
        asks = "Access-Control-Request-Method" in request.headers
        if not asks or not self._allows(request.headers.get("Origin", "")):
            return {}
        return {"Access-Control-Allow-Methods": methods, **_ASKING}

    def _allows(self, origin: str) -> bool:
        return origin in self._origins or "*" in self._origins

    def _is_own(self, origin: str, host: str) -> bool:
        """Whether an origin is the gateway's own, whatever its scheme.

        The scheme is not known behind a proxy that ends TLS.
        """
        where = origin.partition("://")[2]
        return bool(where) and (where == host.lower() or _name_of(where) in self._hosts)

    def _is_ours(self, host: str) -> bool:
        """Whether a Host is ours. Every address is: DNS rebinding works with names only."""
        name = _name_of(host.lower())
        if name == "localhost" or name in self._hosts:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def _name_of(host: str) -> str:
    """A host without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
