"""The store that jobs are looked at in."""

# pyright: reportUnknownMemberType=false
# redis-py leaves keyword arguments, and so every second method, partly untyped.

from collections.abc import Iterator

import pytest
from redis import Redis

from tests.support.store_server import StoreServer


@pytest.fixture
def store(server: StoreServer) -> Iterator[Redis]:
    """An empty store, to arrange and to look at."""
    client = server.client()
    client.flushall()
    yield client
    client.close()
