"""Fixtures of this room: a real server for each file, and a store to look into."""

# pyright: reportUnknownMemberType=false
# redis-py and rq leave keyword arguments, and so every second method, partly untyped.

from collections.abc import Iterator

import pytest
from redis import Redis

from storage import keys
from tests.support.store_server import StoreServer


@pytest.fixture(scope="module")
def server() -> Iterator[StoreServer]:
    with StoreServer() as server:
        yield server


@pytest.fixture
def store(server: StoreServer) -> Iterator[Redis]:
    """An empty store with two living workers, to arrange and to look at."""
    client = server.client()
    client.flushall()
    for worker_id in ("w1", "w2"):
        client.set(keys.session(worker_id), 1)
    yield client
    client.close()
