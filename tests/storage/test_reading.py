"""What readers see of a context: all of it, what has changed, or that nothing has."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from fsm import decode_event, replay
from storage import (
    ContextGone,
    ContextMissing,
    Draft,
    LogCompacted,
    Reading,
    Store,
    StoreUnavailable,
    View,
)
from storage.link import Argument, Link, Reply
from tests.storage.arranging import append, create, logged, next_commit, own
from tests.storage.conftest import Backend
from tests.storage.saving import opened, play
from tests.support.playbook import CONTEXT_ID, DELETE, STARTED, Playbook, replied, say


async def peek(store: Store, owner: str = "ada") -> tuple[int, int]:
    return store.peeked(CONTEXT_ID, await store.peek(CONTEXT_ID, owner))


async def test_a_reader_from_nothing_gets_the_state_and_the_draft(store: Store) -> None:
    book = Playbook()
    await create(store, book.log[0])
    owned = await own(store)
    book.given(say(), STARTED)
    await store.ownership.commit(
        next_commit(book, owned, base=1, draft=Draft("start", 2, "Gu"))
    )
    await append(store, owned, 2, "ten ☕", version=3)
    reading = await store.read(CONTEXT_ID, "ada")
    assert reading == Reading(
        version=3,
        n=7,
        mail_seq=0,
        result=None,
        view=View(book.state, 7, "Guten ☕"),
        events=logged(book),
    )


async def test_a_reader_who_has_it_all_gets_nothing_again(store: Store) -> None:
    book = Playbook()
    await create(store, book.log[0])
    known = View(book.state, 0, "")
    assert await store.read(CONTEXT_ID, "ada", known=known) == Reading(1, 0, 0, None, None)


async def test_a_reader_gets_what_came_since_its_view(store: Store) -> None:
    book = Playbook()
    await create(store, book.log[0])
    owned = await own(store)
    known = View(book.given(say()).state, 0, "")
    await store.ownership.commit(next_commit(book, owned, base=1, snapshot=True))
    book.given(STARTED)
    await store.ownership.commit(next_commit(book, owned, base=2, draft=Draft("start", 1, "H")))
    reading = await store.read(CONTEXT_ID, "ada", known=known)
    assert reading.events == logged(book)[2:]
    assert reading.view == View(book.state, 1, "H")


async def test_a_reader_is_told_nothing_by_a_store_that_was_restarted_meanwhile(
    store: Store,
) -> None:
    book = Playbook()
    await create(store, book.log[0])
    known = View(book.state, 0, "")
    with pytest.RaisesGroup(StoreUnavailable):
        async with asyncio.TaskGroup() as group:
            group.create_task(store.read(CONTEXT_ID, "ada", known=known))
            await asyncio.sleep(0)
            store.epoch += "1"


async def test_a_reader_is_shown_no_file_by_a_store_that_was_restarted_meanwhile(
    backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(backend, f"json:{tmp_path}") as kept:
        store, book = kept.store, Playbook()
        await create(store, book.log[0])
        await play(store, await own(store), book, say())
        await kept.writes()
        run = store.scripts.run

        async def restarted(
            link: Link, name: str, where: Sequence[Argument], *args: Argument
        ) -> Reply:
            store.epoch += "1"
            return await run(link, name, where, *args)

        monkeypatch.setattr(store.scripts, "run", restarted)
        with pytest.raises(StoreUnavailable):
            await store.read(CONTEXT_ID, "ada")
        monkeypatch.undo()
        reading = await store.read(CONTEXT_ID, "ada")  # the file is of another epoch by now
        assert reading.view == View(book.state, 0, "")


async def test_a_reader_is_shown_a_file_behind_which_nothing_has_happened(
    backend: Backend, tmp_path: Path
) -> None:
    async with opened(backend, f"json:{tmp_path}") as kept:
        store, book = kept.store, Playbook()
        await create(store, book.log[0])
        await play(store, await own(store), book, say(), STARTED, replied("So."))
        await kept.writes()
        reading = await store.read(CONTEXT_ID, "ada")
        assert (reading.view, reading.events) == (View(book.state, 0, ""), [])


async def test_a_reader_sees_the_draft_behind_a_file(backend: Backend, tmp_path: Path) -> None:
    async with opened(backend, f"json:{tmp_path}") as kept:
        store, book = kept.store, Playbook()
        await create(store, book.log[0])
        owned = await own(store)
        book.given(say(), STARTED)
        start = Draft("start", 1, "H")
        await store.ownership.commit(
            next_commit(book, owned, base=1, draft=start, snapshot=True)
        )
        await kept.writes()
        reading = await store.read(CONTEXT_ID, "ada")
        assert reading.view == View(book.state, 1, "H")
        with pytest.raises(ContextMissing):
            await store.read(CONTEXT_ID, "bob")


async def test_a_draft_that_has_grown_is_a_change(store: Store) -> None:
    book = Playbook()
    await create(store, book.log[0])
    owned = await own(store)
    book.given(say(), STARTED)
    await store.ownership.commit(next_commit(book, owned, base=1, draft=Draft("start", 1, "H")))
    known = View(book.state, 1, "H")
    assert await peek(store) == (3, 1)
    await append(store, owned, 1, "i", version=3)
    assert await peek(store) == (3, 2)
    reading = await store.read(CONTEXT_ID, "ada", known=known)
    assert (reading.view, reading.events) == (View(book.state, 2, "Hi"), [])
    await store.ownership.commit(
        next_commit(book.given(replied("Hi")), owned, base=3, draft=Draft("clear"))
    )
    assert await peek(store) == (4, 0)


async def test_a_reader_whose_view_is_ahead_of_the_log_is_put_right(store: Store) -> None:
    book = Playbook()
    await create(store, book.log[0])
    lost = View(Playbook.at(book).given(say(), STARTED).state, 3, "abc")
    reading = await store.read(CONTEXT_ID, "ada", known=lost)
    assert (reading.version, reading.view) == (1, View(book.state, 0, ""))


@pytest.mark.parametrize("snapshots_at", [(), (2,), (2, 4), (4,)])
async def test_the_view_is_the_replay_of_the_log_wherever_the_snapshot_is(
    store: Store, snapshots_at: tuple[int, ...]
) -> None:
    book = Playbook()
    await create(store, book.log[0])
    owned, saved = await own(store), 0
    for event in (say(), STARTED, replied("Hi"), say("More")):
        base = book.state.version
        snapshot = base + 1 in snapshots_at
        commit = next_commit(
            book.given(event), owned, base=base, snapshot=snapshot, messages_saved=saved
        )
        await store.ownership.commit(commit)
        saved = len(book.state.messages) if snapshot else saved
    reading = await store.read(CONTEXT_ID, "ada")
    assert reading.view == View(book.state, 0, "")
    log = await store.logs.events(CONTEXT_ID, after=0, until=100)
    assert replay(map(decode_event, log)) == book.state


async def test_nobody_sees_another_owners_context(store: Store) -> None:
    await create(store)
    for owner in ("bob", "Ada", "ada "):
        with pytest.raises(ContextMissing):
            await store.read(CONTEXT_ID, owner)
        with pytest.raises(ContextMissing):
            await peek(store, owner)
    with pytest.raises(ContextMissing):
        await store.read("unknown", "ada")
    assert store.peeked(CONTEXT_ID, await store.peek(CONTEXT_ID, "ada")) == (1, 0)


async def test_events_are_those_behind_one_version_up_to_another(store: Store) -> None:
    book = Playbook().given(say(), STARTED, replied("Hi"))
    await create(store, book.log[0])
    await store.ownership.commit(next_commit(book, await own(store), base=1))
    log = logged(book)
    assert list(await store.logs.events(CONTEXT_ID, after=0, until=4)) == log
    assert list(await store.logs.events(CONTEXT_ID, after=1, until=3)) == log[1:3]
    assert list(await store.logs.events(CONTEXT_ID, after=3, until=9)) == log[3:]
    assert list(await store.logs.events(CONTEXT_ID, after=4, until=4)) == []


async def test_a_log_is_read_whole_or_it_is_said_why_not(backend: Backend) -> None:
    book = Playbook().given(say(), STARTED, replied("Hi"))
    async with backend.connect(tombstones=True) as store:

        async def log(after: int, until: int, *, epoch: str = store.epoch) -> list[bytes]:
            return list(
                await store.read_log(CONTEXT_ID, "ada", after=after, until=until, epoch=epoch)
            )

        await create(store, book.log[0])
        owned = await own(store)
        await store.ownership.commit(next_commit(book, owned, base=1))
        assert await log(1, 4) == logged(book)[1:]
        assert await log(4, 4) == []
        with pytest.raises(StoreUnavailable):
            await log(1, 4, epoch="0")
        await store.logs.compact(owned.token, book.state, first=3)
        assert await log(2, 4) == logged(book)[2:]
        with pytest.raises(LogCompacted) as compacted:
            await log(1, 4)
        assert compacted.value.first == 3
        with pytest.raises(StoreUnavailable):
            await log(1, 4, epoch="0")
        book.given(DELETE)
        await store.ownership.delete(next_commit(book, owned, base=4), "w1")
        with pytest.raises(ContextGone):
            await log(1, 4)
        with pytest.raises(ContextMissing) as missing:
            await store.read_log(CONTEXT_ID, "eve", after=1, until=4, epoch=store.epoch)
        assert type(missing.value) is ContextMissing
