"""A store that is full, read-only, killed or empty: what is lost, and that service resumes."""

# pyright: reportUnknownMemberType=false
# redis-py leaves keyword arguments, and so every second method, partly untyped.

import asyncio
import contextlib
from collections.abc import AsyncGenerator

import pytest
from redis import Redis

from storage import (
    Draft,
    NoScript,
    Store,
    StoreRefusedWrite,
    StoreUnavailable,
)
from tests.storage.arranging import append, create, deliver, next_commit, own
from tests.storage.conftest import Backend
from tests.storage.test_link import CALL_S_MAX, RETURN_S_MAX, until
from tests.support.playbook import CONTEXT_ID, STARTED, Playbook, say
from tests.support.store_server import StoreServer

pytestmark = pytest.mark.real_only


@pytest.fixture
async def store(real_backend: Backend, client: Redis) -> AsyncGenerator[Store, None]:
    async with real_backend.connect(store_call_s_max=CALL_S_MAX) as store:
        yield store


async def test_a_script_flush_costs_a_round_trip(store: Store, client: Redis) -> None:
    book = Playbook()
    await create(store, book.log[0])
    client.script_flush()
    async with asyncio.TaskGroup() as group:
        sent = [group.create_task(deliver(store, f"{n}")) for n in range(20)]
    assert sorted(task.result() for task in sent) == list(range(1, 21))
    owned = await own(store)
    book.given(say(), STARTED)
    await store.ownership.commit(next_commit(book, owned, base=1, draft=Draft("start")))
    client.script_flush()
    with pytest.raises(NoScript):
        await append(store, owned, 0, "a", version=3)
    await store.reload_scripts()
    assert await append(store, owned, 0, "a", version=3) == b"appended"


async def test_a_full_store_admits_nothing_and_lets_what_is_there_be_done(
    store: Store, client: Redis
) -> None:
    book = Playbook()
    await create(store, book.log[0])
    owned = await own(store)
    await deliver(store, "before")
    client.config_set("maxmemory", 1)
    with pytest.raises(StoreRefusedWrite):
        await deliver(store, "while full")
    with pytest.raises(StoreRefusedWrite):
        await create(
            store,
            Playbook()
            .log[0]
            .model_copy(update={"context_id": "01932c5e-ffff-7c3b-9d2e-5f6071829300"}),
        )
    await store.ownership.commit(
        next_commit(
            book.given(say(), STARTED),
            owned,
            base=1,
            acknowledged=1,
            draft=Draft("start"),
            snapshot=True,
        )
    )
    assert await append(store, owned, 0, "a", version=3) == b"appended"
    assert (await store.read(CONTEXT_ID, "ada")).version == 3
    assert await store.ownership.passivate(CONTEXT_ID, owned.token, "w1", version=3)
    owned = await own(store, "w2")
    assert owned.state == book.state
    client.config_set("maxmemory", 0)
    assert await deliver(store, "after") == 2


async def test_a_full_store_is_opened_again(real_backend: Backend, client: Redis) -> None:
    client.script_flush()
    client.config_set("maxmemory", 1)
    async with real_backend.connect() as store:
        with pytest.raises(StoreRefusedWrite):
            await create(store)


async def test_a_read_only_store_refuses_writes_and_answers_reads(
    store: Store, client: Redis
) -> None:
    await create(store)
    client.replicaof("127.0.0.1", "1")
    try:
        with pytest.raises(StoreRefusedWrite):
            await deliver(store)
        assert (await store.read(CONTEXT_ID, "ada")).version == 1
    finally:
        client.replicaof("NO", "ONE")
    assert await deliver(store) == 1


async def test_a_replica_that_has_lost_its_primary_is_unavailable(
    store: Store, client: Redis
) -> None:
    await create(store)
    client.config_set("replica-serve-stale-data", "no")
    client.replicaof("127.0.0.1", "1")
    try:
        with pytest.raises(StoreUnavailable, match="MASTERDOWN"):
            await store.link.call("GET", "x")
    finally:
        client.replicaof("NO", "ONE")
        client.config_set("replica-serve-stale-data", "yes")
    assert await deliver(store) == 1


async def test_acknowledged_mail_survives_kill_dash_nine_of_the_store(
    store: Store, server: StoreServer, client: Redis
) -> None:
    await create(store)
    acked: list[int] = []

    async def send() -> None:
        for n in range(200):
            try:
                acked.append(await deliver(store, key=f"k{n}"))
            except StoreUnavailable:
                return

    async with asyncio.TaskGroup() as group:
        group.create_task(send())
        await until(lambda: len(acked) > 50)
        server.kill()
    server.start()
    async with asyncio.timeout(RETURN_S_MAX):
        while True:
            with contextlib.suppress(StoreUnavailable):
                kept = [item.seq for item in await store.undelivered(CONTEXT_ID)]
                break
    assert kept[: len(acked)] == acked
    assert len(kept) - len(acked) in {0, 1}


async def test_a_store_that_is_not_there_is_unavailable_when_it_is_opened(
    real_backend: Backend,
) -> None:
    assert real_backend.server is not None
    real_backend.server.kill()
    try:
        with pytest.raises(ExceptionGroup) as caught:
            async with real_backend.connect(store_call_s_max=0.3):
                pytest.fail("it is not there")
        assert caught.group_contains(StoreUnavailable)
    finally:
        real_backend.server.start()
