"""Which addresses are connected to for an operator's URL.

A URL is the operator's; what its host's name stands for is the say of whoever answers for
the name. So a name is looked up by us, what it must not stand for is refused, and the very
address that was looked at is the one that is connected to. An address in a URL is taken as
it was written.

    AddressRefused   a name stands for nothing that is connected to; `str` says for what
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
"""Where clouds tell a machine its secrets, outside of the link-local networks."""


class AddressRefused(OSError):
    """What a name stands for is not connected to."""


class CheckedResolver(aiohttp.ThreadedResolver):
    """Looks names up for aiohttp, which connects to what comes out of here and nothing else."""

    @override
    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return what a name stands for, as far as that is connected to.

        Raises:
            AddressRefused: Nothing of it is.
            OSError: The name stands for nothing.
        """
        found = await super().resolve(host, port, family)
        taken = [one for one in found if not _is_refused(one["host"], of=host)]
        if not taken:
            addresses = ", ".join(one["host"] for one in found)
            raise AddressRefused(
                f"The name {host} stands for {addresses}, which no name may stand for here."
            )
        return taken


async def addresses_of(host: str, port: int) -> tuple[str, ...]:
    """What is connected to for the host of a URL, in the order in which to try it.

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
    """The IPv4 address that an IPv6 one leads to, where it does."""
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return ipaddress.IPv4Address(address.packed[-4:])
        return address.ipv4_mapped or address.sixtofour or address
    return address
