"""Fixtures: one real store server for all tests of a room, emptied before each test.

A room's conftest imports both. What is killed or misconfigured is the test's own server.
"""

from collections.abc import Iterator

import pytest

from tests.gateway.arrivals import tell_store
from tests.support.store_server import StoreServer


@pytest.fixture(scope="session")
def shared_store() -> Iterator[StoreServer]:
    """A server that lives for the whole session."""
    with StoreServer() as server:
        yield server


@pytest.fixture
def store_url(shared_store: StoreServer) -> str:
    """Url of an empty store."""
    tell_store(shared_store, "FLUSHALL")
    return shared_store.url
