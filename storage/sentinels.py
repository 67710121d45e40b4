"""Sentinels, by the URL that names them.

`redis+sentinel://[user:password@]host[:port],host[:port].../service`: user and password are
those of the data servers; the Sentinels are asked without.
"""

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

_SCHEME: Final = "redis+sentinel"
_PORT_DEFAULT: Final = 26_379
_QUOTING: Final = "in a password, / is written %2F, # %23 and ? %3F"
_SCHEMES: Final = frozenset({"redis", "rediss", "unix"})
_OPTIONS: Final = frozenset({"db", "username", "password"})
TLS_OPTIONS: Final = frozenset(
    f"ssl_{name}"
    for name in (
        *("ca_certs", "ca_path", "certfile", "keyfile", "password"),
        *("cert_reqs", "check_hostname", "min_version", "ciphers"),
    )
)
"""What of redis-py's options an address may have. Others would win over what we ask of it: a
time-out of its own, answers that are decoded."""


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
        ValueError: It should name Sentinels and does not, is no URL at all, or asks of redis-py
            what is ours to say; the message has no secrets.
    """
    scheme, _, rest = url.partition("://")
    if scheme.lower() != _SCHEME:
        _check_other(url)
        return None
    shape = f"{_SCHEME}://host:26379,host:26379/service"
    # Not by urlsplit: it knows of one host, and later Pythons refuse [::1] among several.
    named = re.fullmatch(r"([^/?#]*)/([^/?#]+)", rest)
    if named is None:
        raise ValueError(f"the address of Sentinels ends in the service's name: {shape}")
    credentials, _, hosts = named[1].rpartition("@")
    service = unquote(named[2])
    found: list[tuple[str, int]] = []
    for host in hosts.split(","):
        try:
            one = urlsplit(f"//{host}")
            name, port = one.hostname, one.port
        except ValueError:
            name, port = None, None
        if not name or port == 0:
            raise ValueError(f"one of the Sentinels is no host:port; it looks like {shape}")
        found.append((name, port or _PORT_DEFAULT))
    username, _, password = credentials.partition(":")
    return Sentinels(
        tuple(found), service, unquote(username) or None, unquote(password) or None
    )


def _check_other(url: str) -> None:
    # No words of the URL are repeated: what stands where a port or an option should may be a
    # piece of a password.
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ValueError(f"it is no URL of a store ({_QUOTING})") from None
    if parts.scheme not in _SCHEMES:
        return  # redis-py refuses it
    known = _OPTIONS | TLS_OPTIONS if parts.scheme == "rediss" else _OPTIONS
    if not {name for name, _ in parse_qsl(parts.query, keep_blank_values=True)} <= known:
        listed = ", ".join(sorted(known))
        raise ValueError(f"its options are none but {listed} ({_QUOTING})")
    if parts.scheme != "unix" and not re.fullmatch(r"/?\d*/?", parts.path):
        raise ValueError("after the host comes the number of a database: redis://host:6379/0")
