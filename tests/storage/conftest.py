"""The stores that the contract is run over: a fake one per test, and a real server's."""

# pyright: reportUnknownMemberType=false
# redis-py leaves keyword arguments, and so every second method, partly untyped.

import contextlib
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, field

import pytest
from fakeredis import FakeServer
from redis import Redis

from storage import StorageConfig, Store, connect
from tests.storage.fake_store import fake_pool
from tests.support.store_server import StoreServer


@dataclass
class Backend:
    """Something that stores can be opened on, empty when the test begins."""

    server: StoreServer | None
    """None for a fake one."""
    fake: FakeServer = field(default_factory=FakeServer)
    run_id: str = "r1"
    """Of the fake one."""

    @contextlib.asynccontextmanager
    async def connect(self, **settings: object) -> AsyncGenerator[Store, None]:
        """A store of its own connections; settings are those of StorageConfig."""
        config = StorageConfig.model_validate(settings)
        url = self.server.url if self.server else "redis://fake"
        pool = None if self.server else fake_pool(self.fake, run_id=self.run_id)
        async with connect(url, config, pool=pool) as store:
            yield store


@pytest.fixture(scope="session")
def server() -> Iterator[StoreServer]:
    """The real server of the whole suite."""
    with StoreServer() as server:
        yield server


@pytest.fixture
def client(server: StoreServer) -> Iterator[Redis]:
    """To do things to the store behind the link's back; it is put right again."""
    client = server.client()
    client.flushall()
    yield client
    server.resume()
    client.config_set("maxmemory", 0)
    client.close()


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.real_only)])
def backend(request: pytest.FixtureRequest) -> Backend:
    """Once a fake server, once the real one."""
    if request.param == "fake":
        return Backend(None)
    return real_backend_of(request.getfixturevalue("server"))


@pytest.fixture
def real_backend(server: StoreServer) -> Backend:
    """The real server only."""
    return real_backend_of(server)


def real_backend_of(server: StoreServer) -> Backend:
    client = server.client()
    client.flushall()
    client.close()
    return Backend(server)


@pytest.fixture
async def store(backend: Backend) -> AsyncGenerator[Store, None]:
    """An open store, with small bounds."""
    async with backend.connect(mailbox_max=4, results_max=6) as store:
        yield store
