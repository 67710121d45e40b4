"""Whose address a request counts for, with and without proxies."""

from typing import Final

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict
from pydantic import ValidationError

from gateway.clients import PROXIES, client_address, read_proxies
from gateway.config import GatewayConfig

TRUSTED: Final = "10.0.0.0/8, 192.0.2.1, fd00::/8"
CLIENT: Final = "203.0.113.9"


def address(remote: str, *forwarded: str, trusted: str = TRUSTED, **others: str) -> str:
    """The address that a request counts for.

    Args:
        remote: Of the connection.
        forwarded: Lines of X-Forwarded-For.
        trusted: As configured.
        others: Other headers.
    """
    app = web.Application()
    app[PROXIES] = read_proxies(trusted)
    headers = CIMultiDict([("X-Forwarded-For", line) for line in forwarded])
    headers.update(others)
    request = make_mocked_request("GET", "/", headers=headers, app=app)
    return client_address(request.clone(remote=remote))


def test_without_proxies_nobody_is_believed() -> None:
    assert address("10.1.1.1", CLIENT, trusted="") == "10.1.1.1"
    assert address(CLIENT, "198.51.100.7") == CLIENT


@pytest.mark.parametrize(
    ("forwarded", "told"),
    [
        ((CLIENT,), CLIENT),
        (("198.51.100.7, " + CLIENT,), CLIENT),
        (("198.51.100.7, 10.9.9.9, " + CLIENT,), CLIENT),
        ((f"198.51.100.7, {CLIENT}, 10.2.2.2, 192.0.2.1",), CLIENT),
        (("198.51.100.7", CLIENT, "10.2.2.2"), CLIENT),
        ((f" {CLIENT}:4711 ",), CLIENT),
        (("[2001:db8::1]:4711",), "2001:db8::1"),
        (("2001:db8::1, fd00::7",), "2001:db8::1"),
        ((f"::ffff:{CLIENT}",), CLIENT),
        (("10.3.3.3, 10.2.2.2",), "10.3.3.3"),
    ],
)
def test_of_what_proxies_say_the_last_that_is_no_proxy_counts(
    forwarded: tuple[str, ...], told: str
) -> None:
    assert address("10.1.1.1", *forwarded) == told
    assert address("::ffff:10.1.1.1", *forwarded) == told


@pytest.mark.parametrize(
    "forwarded",
    ["", "unknown", "_hidden", "localhost", CLIENT + ", x", "1.2.3", "\u0661.2.3.4"],
)
def test_where_a_proxy_says_no_address_its_own_counts(forwarded: str) -> None:
    assert address("10.1.1.1", forwarded) == "10.1.1.1"
    assert address("10.1.1.1") == "10.1.1.1"


def test_no_other_header_is_believed() -> None:
    others = {"Forwarded": "for=198.51.100.7", "X-Real-IP": "198.51.100.7"}
    assert address("10.1.1.1", CLIENT, **others) == CLIENT
    assert address("10.1.1.1", **others) == "10.1.1.1"


@pytest.mark.parametrize("trusted", ["10.0.0.1/8", "proxy.example", "*", "10.0.0.0/33"])
def test_proxies_that_are_no_addresses_are_refused_at_the_start(trusted: str) -> None:
    with pytest.raises(ValidationError, match="trusted_proxies: "):
        GatewayConfig(trusted_proxies=trusted)
