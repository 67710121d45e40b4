"""Sentinels, by the URL that names them.

`redis+sentinel://[user:password@]host[:port],host[:port].../service`: user and password are
those of the data servers; the Sentinels are asked without.
"""

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote, urlsplit

SENTINEL_SCHEME: Final = "redis+sentinel"
PORT_DEFAULT: Final = 26_379


@dataclass(slots=True)
class Sentinels:
    """Who can be asked for the primary of a service."""

    hosts: tuple[tuple[str, int], ...]
    service: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    _turn: int = 0

    def in_turn(self) -> tuple[tuple[str, int], ...]:
        """All of them, each time beginning with the next one."""
        first = self._turn % len(self.hosts)
        self._turn += 1
        return self.hosts[first:] + self.hosts[:first]


def parse_sentinels(url: str) -> Sentinels | None:
    """The Sentinels that a URL names; None where it is another kind of URL.

    Raises:
        ValueError: It should name Sentinels and does not, or is no URL at all; the message
            has no secrets.
    """
    try:
        parts = urlsplit(url)
        if parts.scheme != SENTINEL_SCHEME:
            _ = parts.port
            return None
    except ValueError:
        # Its own words would be of what stands where the port should: a piece of a password.
        raise ValueError(
            "it is no URL of a store (in a password, / is written %2F, # %23 and ? %3F)"
        ) from None
    shape = f"{SENTINEL_SCHEME}://host:26379,host:26379/service"
    credentials, _, hosts = parts.netloc.rpartition("@")
    service = unquote(parts.path.removeprefix("/"))
    if not service or "/" in service or parts.query or parts.fragment:
        raise ValueError(f"the address of Sentinels ends in the service's name: {shape}")
    found: list[tuple[str, int]] = []
    for host in hosts.split(","):
        one = urlsplit(f"//{host}")
        try:
            port = one.port
        except ValueError:
            port = 0
        if not one.hostname or port == 0:
            raise ValueError(f"one of the Sentinels is no host:port; it looks like {shape}")
        found.append((one.hostname, port or PORT_DEFAULT))
    username, _, password = credentials.partition(":")
    return Sentinels(
        tuple(found), service, unquote(username) or None, unquote(password) or None
    )
