"""Who a request comes from, where proxies stand in between.

A proxy that is trusted adds the address of whoever has asked it at the end of
`X-Forwarded-For`. So the list is read from its end, and no further than the first address
that is not trusted: what stands before it is that client's own words. `Forwarded` is not
read: a proxy that writes the one header passes the other on as it has come.
"""

import functools
import ipaddress
from typing import Final, TypeAlias

from aiohttp import web

from gateway.config import named

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

PROXIES: Final = web.AppKey("proxies", tuple[Network, ...])
"""Those that are trusted."""
_NETWORK_BITS: Final = 64
"""Of an IPv6 address: what one subscriber has all of."""
_NETWORKS_MAX: Final = 16_384
"""Addresses whose network is remembered."""


def read_proxies(trusted: str) -> tuple[Network, ...]:
    """The networks of the setting `trusted_proxies`."""
    return tuple(ipaddress.ip_network(proxy) for proxy in named(trusted))


def client_address(request: web.Request) -> str:
    """Address of the client: of the connection, or what trusted proxies say of it.

    It is the last address that is certain: if a proxy has handed on what is no address, the
    proxy's own.
    """
    remote = request.remote or ""
    proxies = request.app[PROXIES]
    if not proxies:
        return remote
    found = _read(remote)
    hops = ",".join(request.headers.getall("X-Forwarded-For", [])).split(",")
    while found is not None and hops and _trusts(proxies, found):
        before = _read(hops.pop())
        if before is None:
            break
        found = before
    return remote if found is None else str(found)


@functools.lru_cache(_NETWORKS_MAX)
def network_of(address: str) -> str:
    """What stands for a client in counts: its IPv4 address, or the /64 of its IPv6 one."""
    found = _read(address)
    if isinstance(found, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((int(found), _NETWORK_BITS), strict=False))
    return address if found is None else str(found)


def _trusts(proxies: tuple[Network, ...], address: Address) -> bool:
    return any(address in network for network in proxies)


def _read(text: str) -> Address | None:
    """An address, perhaps with a port; IPv4 in the form of IPv6 is IPv4."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
