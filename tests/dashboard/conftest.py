"""One real store server for all tests of this room; each brings its own gateways to it."""

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
