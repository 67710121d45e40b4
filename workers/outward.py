"""Which addresses are connected to for an operator's URL.

The operator chooses the URL, but whoever runs the name's DNS chooses the address. So names are
resolved here, addresses that must not be reached are refused, and the connection goes to the
very address that was checked. An address written into a URL is taken as it is.

    AddressRefused   a name resolves to no allowed address; `str` says to which it does
"""

import ipaddress
import socket
from typing import Final, TypeAlias

import aiohttp
from aiohttp.abc import ResolveResult
from typing_extensions import override

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_METADATA: Final = frozenset(
    ipaddress.ip_address(address)
    for address in (
        *("100.100.100.200", "168.63.129.16", "192.0.0.192"),
        *("fd00:ec2::254", "fd20:ce::254"),
    )
)
"""Metadata services of clouds, which hold secrets, outside of the link-local networks."""


class AddressRefused(OSError):
    """A name resolves only to addresses that must not be connected to."""


class CheckedResolver(aiohttp.ThreadedResolver):
    """Resolves names for aiohttp, which connects only to the addresses returned here."""

    @override
    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return those addresses of a name that may be connected to.

        Raises:
            AddressRefused: None may be, or it is no name.
            OSError: The name has no address.
        """
        try:
            found = await super().resolve(host, port, family)
        except UnicodeError:  # a label of it is empty, or too long
            raise AddressRefused(f"The host {host} is no name that can be looked up.") from None
        taken = [one for one in found if not _is_refused(one["host"], of=host)]
        if not taken:
            addresses = ", ".join(one["host"] for one in found)
            raise AddressRefused(
                f"The name {host} stands for {addresses}, which no name may stand for here."
            )
        return taken


async def addresses_of(host: str, port: int) -> tuple[str, ...]:
    """The allowed addresses for the host of a URL, in the order in which to try them.

    Raises:
        AddressRefused, OSError: As of `CheckedResolver.resolve`.
    """
    try:
        return (str(ipaddress.ip_address(host)),)
    except ValueError:
        found = await CheckedResolver().resolve(host, port, socket.AF_UNSPEC)
    return tuple(one["host"] for one in found)


def refusal_in(error: BaseException) -> AddressRefused | None:
    """The refusal that aiohttp has wrapped into an error of its own."""
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(
        error.os_error, AddressRefused
    ):
        return error.os_error
    return None


def _is_refused(address: str, *, of: str) -> bool:
    found = _unwrapped(ipaddress.ip_address(address.partition("%")[0]))
    if found.is_loopback:
        return of != "localhost" and not of.endswith(".localhost")
    return (
        found.is_link_local or found.is_multicast or found.is_unspecified or found in _METADATA
    )


def _unwrapped(address: _Address) -> _Address:
    """The IPv4 address that is embedded in an IPv6 one, if there is one; else the address."""
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return ipaddress.IPv4Address(address.packed[-4:])
        return address.ipv4_mapped or address.sixtofour or address
    return address
