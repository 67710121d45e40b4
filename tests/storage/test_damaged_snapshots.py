"""A snapshot in the store that was changed there: the log has all that it had."""

from collections.abc import AsyncGenerator

import pytest
from structlog.testing import capture_logs

from fsm import ContextState
from storage import ContextUnreadable, Owned, Store, StoreUnavailable, keys
from tests.storage.arranging import create, live, own
from tests.storage.conftest import Backend
from tests.storage.saving import play
from tests.support.playbook import CONTEXT_ID, STARTED, Playbook, rename, replied, say

CHANGED = b"\xffchanged"
SAID = "snapshot damaged, using the log"


@pytest.fixture
async def store(real_backend: Backend) -> AsyncGenerator[Store, None]:
    async with real_backend.connect() as store:
        await live(store, "w1")
        yield store


async def saved(store: Store, book: Playbook, *, compacted: bool) -> Owned:
    """A context with a snapshot, and an event behind it."""
    await create(store, book.log[0])
    owned = await own(store)
    await play(store, owned, book, say(), STARTED, replied("Hi"))
    if compacted:
        await store.logs.compact(owned.token, book.state, first=book.state.version)
    await play(store, await own(store), book, rename("Tea"))
    owned = await own(store)
    await play(store, owned, book, rename("Coffee"), snapshot=False)
    return owned


async def change(store: Store, part: str) -> None:
    snap, msgs = keys.of_context(CONTEXT_ID, "snap", "msgs")
    if part == "head":
        await store.link.call("HSET", snap, "head", CHANGED)
    else:
        await store.link.call("LSET", msgs, 1, CHANGED)


async def read(store: Store) -> ContextState:
    reading = await store.read(CONTEXT_ID, "ada")
    assert reading.view is not None
    return reading.view.state


@pytest.mark.parametrize("compacted", [False, True])
@pytest.mark.parametrize("part", ["head", "message"])
async def test_a_damaged_snapshot_costs_a_reading_of_the_log_until_the_next_is_written(
    store: Store, part: str, *, compacted: bool
) -> None:
    book = Playbook()
    await saved(store, book, compacted=compacted)
    await change(store, part)
    with capture_logs() as told:
        assert await read(store) == book.state
        owned = await own(store)
    assert owned.state == book.state
    assert [entry["event"] for entry in told] == [SAID, SAID]
    await play(store, owned, book, rename("Water"))
    with capture_logs() as told:
        assert await read(store) == book.state
        assert (await own(store)).state == book.state
    assert told == []


@pytest.mark.parametrize("part", ["log", "base", "mail", "draft"])
async def test_what_is_nowhere_else_cannot_be_opened_and_the_owner_may_delete_it(
    store: Store, part: str
) -> None:
    book = Playbook()
    await saved(store, book, compacted=part == "base")
    await change(store, "head")
    (where,) = keys.of_context(CONTEXT_ID, part)
    match part:
        case "log":
            await store.link.call("DEL", where)
            for version in range(1, book.state.version + 1):
                await store.link.call("XADD", where, f"{version}-0", "e", CHANGED)
        case "base":
            await store.link.call("HSET", where, "state", CHANGED)
        case "mail":
            await store.link.call("XADD", where, "9-0", "m", CHANGED)
        case _:
            await store.link.call("SET", where, CHANGED)
    with pytest.raises(ContextUnreadable) as unreadable:
        await own(store)
    assert unreadable.value.remains is not None
    assert unreadable.value.remains.version == book.state.version


async def test_a_log_that_is_shortened_meanwhile_is_asked_for_again(store: Store) -> None:
    book = Playbook()
    await saved(store, book, compacted=False)
    await change(store, "head")
    (log,) = keys.of_context(CONTEXT_ID, "log")
    await store.link.call("XTRIM", log, "MAXLEN", 2)
    with pytest.raises(StoreUnavailable):
        await store.read(CONTEXT_ID, "ada")
    with pytest.raises(StoreUnavailable):
        await own(store)
