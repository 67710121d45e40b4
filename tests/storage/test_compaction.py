"""A state takes the place of the events that led to it; versions and all else stay the same."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from fsm import ContextState, decode_event, replay
from storage import ContextMissing, Fenced, Owned, Store, VersionConflict
from tests.storage.arranging import create, created, die, kept, live, logged, next_commit, own
from tests.storage.conftest import Backend
from tests.storage.test_late_calls import Recording, late
from tests.support.playbook import CONTEXT_ID, DELETE, STARTED, Playbook, rename, replied, say

KEPT = 3
"""Events that the tests' logs keep."""
COPY_ID = "01932c5e-7a10-7c3b-9d2e-5f6071829399"


async def talk(store: Store, book: Playbook, *, snapshot: bool = True) -> Owned:
    """A context with some turns in its log."""
    await create(store, book.log[0])
    owned = await own(store)
    base = book.state.version
    for number in range(3):
        book.given(say(f"Question {number}"), STARTED, replied(f"Answer {number}"))
    await store.ownership.commit(next_commit(book, owned, base=base, snapshot=snapshot))
    return owned


async def compact(store: Store, owned: Owned, state: ContextState) -> None:
    await store.logs.compact(owned.token, state, first=state.version - KEPT + 1)


async def read(store: Store) -> ContextState:
    reading = await store.read(CONTEXT_ID, "ada")
    assert reading.view is not None
    return reading.view.state


async def state_of(store: Store) -> tuple[ContextState, ContextState]:
    """The context as a reader and as a new owner see it."""
    return await read(store), (await own(store)).state


@pytest.fixture(params=["store", "json", "none"])
async def kept_in(
    request: pytest.FixtureRequest, backend: Backend, tmp_path: Path
) -> AsyncGenerator[tuple[Store, bool], None]:
    """A store, and whether snapshots are written: in it, in files, or nowhere."""
    place = f"json:{tmp_path}" if request.param == "json" else "store"
    async with backend.connect(snapshots=place) as store:
        yield store, request.param != "none"


async def test_the_state_is_the_same_and_the_log_is_short(kept_in: tuple[Store, bool]) -> None:
    store, snapshot = kept_in
    book = Playbook()
    owned = await talk(store, book, snapshot=snapshot)
    for _ in range(2):  # again, it changes nothing
        await compact(store, owned, book.state)
        version = book.state.version
        assert await store.logs.first(CONTEXT_ID) == version - KEPT + 1
        assert await store.logs.base(CONTEXT_ID) == book.state
        newest = list(await store.logs.events(CONTEXT_ID, after=0, until=version))
        assert newest == logged(book)[-KEPT:]
        assert await read(store) == book.state
    assert await state_of(store) == (book.state, book.state)


async def test_the_context_goes_on_from_its_base(kept_in: tuple[Store, bool]) -> None:
    store, snapshot = kept_in
    book = Playbook()
    owned = await talk(store, book, snapshot=snapshot)
    await compact(store, owned, book.state)
    base = book.state.version
    owned = await own(store)
    assert owned.log_first == base - KEPT + 1
    book.given(say("One more"), STARTED, replied("And its answer"))
    await store.ownership.commit(next_commit(book, owned, base=base))
    assert await state_of(store) == (book.state, book.state)
    found = await store.logs.base(CONTEXT_ID)
    events = await store.logs.events(CONTEXT_ID, after=base, until=book.state.version)
    assert replay(map(decode_event, events), found) == book.state
    owned = await own(store)
    await compact(store, owned, book.state)
    assert await state_of(store) == (book.state, book.state)


async def test_a_reader_that_has_an_old_version_gets_all_and_a_newer_one_what_is_new(
    store: Store,
) -> None:
    book = Playbook()
    await create(store, book.log[0])
    old = await store.read(CONTEXT_ID, "ada")
    owned = await own(store)
    book.given(say(), STARTED, replied(), rename("Tea"))
    await store.ownership.commit(next_commit(book, owned, base=1))
    known = await store.read(CONTEXT_ID, "ada")
    before = book.state.version
    book.given(rename("Coffee"))
    await store.ownership.commit(next_commit(book, owned, base=before))
    await compact(store, owned, book.state)
    assert old.view is not None
    assert known.view is not None
    late_one = await store.read(CONTEXT_ID, "ada", known=old.view)
    assert late_one.view is not None
    assert late_one.view.state == book.state
    assert len(late_one.events) != late_one.version - old.version  # the caller can tell
    new_one = await store.read(CONTEXT_ID, "ada", known=known.view)
    assert new_one.view is not None
    assert (new_one.view.state, list(new_one.events)) == (book.state, logged(book)[-1:])


async def test_a_file_that_is_older_than_the_log_is_not_used(
    real_backend: Backend, tmp_path: Path
) -> None:
    book = Playbook()
    async with real_backend.connect(snapshots=f"json:{tmp_path}") as store:
        await create(store, book.log[0])
        owned = await own(store)
        assert store.files is not None
        store.files.save(book.state, store.epoch)
        book.given(say(), STARTED, replied(), rename("Tea"))
        await store.ownership.commit(next_commit(book, owned, base=1))
        await compact(store, owned, book.state)
        assert (await own(store)).state == book.state


async def test_a_snapshot_of_before_the_base_is_not_used_and_the_next_one_is_whole(
    store: Store,
) -> None:
    book = Playbook()
    owned = await talk(store, book, snapshot=True)
    before = book.state.version
    book.given(say("More"), STARTED, replied("Yes"), rename("Tea"))
    await store.ownership.commit(next_commit(book, owned, base=before))
    await compact(store, owned, book.state)
    owned = await own(store)
    assert (owned.state, owned.messages_saved) == (book.state, 0)
    before = book.state.version
    book.given(rename("Coffee"))
    await store.ownership.commit(
        next_commit(book, owned, base=before, snapshot=True, messages_saved=0)
    )
    assert await state_of(store) == (book.state, book.state)


async def test_only_the_newest_owner_compacts_and_only_what_it_has_committed(
    store: Store,
) -> None:
    book = Playbook()
    owned = await talk(store, book)
    newer = await own(store)
    with pytest.raises(Fenced):
        await compact(store, owned, book.state)
    stale = book.state
    book.given(rename("Tea"))
    await store.ownership.commit(next_commit(book, newer, base=stale.version))
    with pytest.raises(VersionConflict, match=f"found {book.state.version}"):
        await compact(store, newer, stale)
    assert await store.logs.first(CONTEXT_ID) == 1
    assert list(await store.logs.events(CONTEXT_ID, after=0, until=99)) == logged(book)


async def test_a_compaction_that_is_executed_late_changes_nothing(store: Store) -> None:
    store.logs.scripts = recorded = Recording(store.scripts)
    book = Playbook()
    owned = await talk(store, book)
    await compact(store, owned, book.state)
    before = book.state.version
    book.given(rename("Tea"))
    await store.ownership.commit(next_commit(book, owned, base=before))
    assert await late(store, recorded, "compact") == [b"conflict", before + 1]
    newer = await own(store)
    assert await late(store, recorded, "compact") == b"fenced"
    assert newer.state == book.state == await read(store)


@pytest.mark.parametrize("dies", ["before", "after", "after, and it is repeated"])
async def test_a_worker_that_dies_around_a_compaction_has_lost_nothing(
    backend: Backend, dies: str
) -> None:
    async with backend.connect() as store:
        book = Playbook()
        owned = await talk(store, book, snapshot=False)
        if dies != "before":
            await compact(store, owned, book.state)
        if dies == "after, and it is repeated":
            await compact(store, owned, book.state)
        await store.sessions.bury("w1")
        await live(store, "w2")
        taken = await store.ownership.activate(CONTEXT_ID, "w2")
        assert taken.state == book.state
        before = book.state.version
        book.given(say("Still there?"), STARTED, replied("Yes"))
        await store.ownership.commit(next_commit(book, taken, base=before))
        assert await read(store) == book.state


async def test_a_copy_may_begin_with_a_base(backend: Backend) -> None:
    async with backend.connect() as store:
        book = Playbook()
        await talk(store, book)
        base = book.state.model_copy(update={"id": COPY_ID})
        event = created(COPY_ID)
        made, repeated = await store.admissions.create(
            event, first=None, key="", digest="", state=base, base=base
        )
        assert (made, repeated) == (COPY_ID, False)
        reading = await store.read(COPY_ID, "ada")
        assert reading.view is not None
        assert reading.view.state == base
        assert await store.logs.first(COPY_ID) == base.version + 1
        assert (await store.ownership.activate(COPY_ID, "w1")).state == base


async def test_nothing_is_left_of_a_deleted_context_that_was_compacted(store: Store) -> None:
    book = Playbook()
    before = await kept(store)
    owned = await talk(store, book)
    await compact(store, owned, book.state)
    version = book.state.version
    await store.ownership.delete(next_commit(book.given(DELETE), owned, base=version), "w1")
    await store.sessions.bury("w1")
    left = {key for key in await kept(store) - before if not key.startswith("rq:")}
    assert left == {"totals"}


# Wishes


async def test_a_wish_keeps_the_context_from_being_given_back_until_it_is_fulfilled(
    store: Store,
) -> None:
    book = Playbook()
    owned = await talk(store, book)
    version = book.state.version
    assert await store.logs.shorten(CONTEXT_ID, keep=KEPT) == "owned"
    assert await store.logs.shorten(CONTEXT_ID, keep=KEPT) == "owned"
    assert not await store.ownership.passivate(CONTEXT_ID, owned.token, "w1", version=version)
    assert await store.logs.wished_length(CONTEXT_ID) == KEPT
    # A log that is left longer than was wished for leaves the wish.
    await store.logs.compact(owned.token, book.state, first=version - KEPT)
    assert await store.logs.wished_length(CONTEXT_ID) == KEPT
    await compact(store, owned, book.state)
    assert await store.logs.wished_length(CONTEXT_ID) is None
    assert await store.ownership.passivate(CONTEXT_ID, owned.token, "w1", version=version)


async def test_a_log_that_is_short_enough_is_not_to_be_compacted(store: Store) -> None:
    book = Playbook()
    await talk(store, book)
    version = book.state.version
    assert await store.logs.shorten(CONTEXT_ID, keep=version - 1) == "owned"
    assert await store.logs.shorten(CONTEXT_ID, keep=version) == "short"
    assert await store.logs.wished_length(CONTEXT_ID) is None


async def test_nobody_who_lives_has_the_context_and_whoever_wishes_is_told_so(
    store: Store,
) -> None:
    with pytest.raises(ContextMissing):
        await store.logs.shorten(CONTEXT_ID, keep=1)
    await talk(store, Playbook())
    await die(store, "w1")
    assert await store.logs.shorten(CONTEXT_ID, keep=1) == "asked"
