"""A store that answers and takes no writes: said, nothing half taken, over when it is over."""

# pyright: reportUnknownMemberType=false
# redis-py leaves keyword arguments, and so every second method, partly untyped.

import asyncio
import contextlib
from collections.abc import Iterator

import pytest

from storage import Store, StoreRefusedWrite, StoreUnavailable, keys
from storage.durability import why_no_writes
from tests.storage.arranging import create, deliver
from tests.storage.conftest import Backend
from tests.support.playbook import CONTEXT_ID
from tests.support.service_processes import free_port
from tests.support.store_faults import REFUSALS
from tests.support.store_server import StoreServer

pytestmark = pytest.mark.real_only

RETURN_S_MAX = 5.0
"""P15: service resumes so soon after the fault's end."""

REASONS = {
    "memory full": "memory is full",
    "read-only": "read-only replica",
    "too few replicas": "too few replicas",
    "disk full": "disk full",
}


@pytest.fixture
def own_server() -> Iterator[StoreServer]:
    """A server that goes on answering when its disk is full."""
    with StoreServer(appendfsync="everysec") as server:
        yield server


async def delivered(store: Store, key: str) -> int:
    """Deliver until it is taken; its number in the mailbox."""
    async with asyncio.timeout(RETURN_S_MAX):
        while True:
            try:
                return await deliver(store, key=key)
            except (StoreRefusedWrite, StoreUnavailable):
                await asyncio.sleep(0.01)


async def refused(store: Store, key: str) -> None:
    """Deliver until it is refused: with everysec the first writes may still be taken."""
    async with asyncio.timeout(RETURN_S_MAX):
        while True:
            try:
                await deliver(store, key=key)
            except StoreRefusedWrite:
                return
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("fault", REFUSALS)
async def test_p12_p15_a_store_that_takes_no_writes_says_why_and_takes_nothing_by_half(
    own_server: StoreServer, fault: str
) -> None:
    backend = Backend(own_server)
    (kept,) = keys.of_context(CONTEXT_ID, "keys")
    with own_server.client() as client:
        async with backend.connect(durability="standard") as store:
            await create(store)
            first = await delivered(store, "before")
            assert await why_no_writes(store.link) is None
            with REFUSALS[fault](client, own_server.process_id):
                await refused(store, "before disk errors are noticed")
                before = client.hgetall(kept)
                for key in ("one", "two"):
                    with pytest.raises(StoreRefusedWrite):
                        await deliver(store, key=key)
                assert client.hgetall(kept) == before
                waiting = await store.undelivered(CONTEXT_ID)
                assert [mail.seq for mail in waiting] == [*range(first, first + len(waiting))]
                assert REASONS[fault] in (await why_no_writes(store.link) or "")
            second = await delivered(store, "one")
            assert second == first + len(waiting)
            assert await delivered(store, "one") == second
            assert await why_no_writes(store.link) is None


@pytest.mark.parametrize("fault", REFUSALS)
async def test_p15_a_store_that_takes_no_writes_can_be_connected_to_and_read(
    own_server: StoreServer, fault: str
) -> None:
    backend = Backend(own_server)
    with own_server.client() as client:
        async with backend.connect(durability="standard", store_call_s_max=2.0) as store:
            await create(store)
            with REFUSALS[fault](client, own_server.process_id):
                await refused(store, "any")
                async with backend.connect(
                    durability="standard", store_call_s_max=2.0
                ) as later:
                    assert (await later.read(CONTEXT_ID, "ada")).version == 1
                    assert later.epoch == store.epoch


async def test_a_call_that_waits_in_a_server_that_becomes_a_replica_is_unknown(
    own_server: StoreServer,
) -> None:
    async with Backend(own_server).connect(durability="standard") as store:
        await store.link.call("PING")
        waiting = store.link.call("BLMOVE", "none", "none", "RIGHT", "RIGHT", 0)
        with own_server.client() as client:
            async with asyncio.timeout(RETURN_S_MAX):
                while client.info("clients")["blocked_clients"] == 0:  # noqa: ASYNC110 - it is another process
                    await asyncio.sleep(0.01)
            client.replicaof("127.0.0.1", "1")
            with pytest.raises(StoreUnavailable):
                await waiting


async def test_a_replica_that_was_promoted_gets_a_new_epoch_even_in_strict() -> None:
    """What its primary had answered last may not have reached it."""
    port = str(free_port())
    with StoreServer(port=port, bind="127.0.0.1") as primary, StoreServer() as replica:
        async with Backend(primary).connect() as store:
            await create(store)
            first = store.epoch
        with replica.client() as client, contextlib.ExitStack() as stack:
            client.replicaof("127.0.0.1", port)
            async with asyncio.timeout(RETURN_S_MAX * 2):
                while not client.exists("epoch"):  # noqa: ASYNC110 - it is another process
                    await asyncio.sleep(0.01)
            replica.pause()
            stack.callback(replica.resume)
            async with Backend(primary).connect() as store:
                await deliver(store, key="lost")
            primary.kill()
            replica.resume()
            client.replicaof("NO", "ONE")
            async with Backend(replica).connect() as store:
                assert int(store.epoch) > int(first)
                second = store.epoch
            replica.restart()
            async with Backend(replica).connect() as store:
                assert store.epoch == second
