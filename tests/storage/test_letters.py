"""Attempts that come to nothing are counted, and dead letters are kept until dropped."""

import pytest

from storage import DeadLetter, DeadLetters, Fenced, Owned, Store
from tests.storage.arranging import (
    create,
    deliver,
    die,
    kept,
    live,
    next_commit,
    own,
    say_mail,
)
from tests.support.playbook import BEGAN_MS, CONTEXT_ID, DELETE, Playbook, abandoned, say

LETTER = DeadLetter(
    id=f"{CONTEXT_ID}.2",
    context_id=CONTEXT_ID,
    owner="ada",
    at_ms=BEGAN_MS,
    cause="Worker w1 died.",
    mail=say_mail(),
)


async def taken_over(store: Store, worker_id: str, heir: str) -> Owned:
    await die(store, worker_id)
    await live(store, heir)
    return await store.activate(CONTEXT_ID, heir)


async def test_an_owner_hears_who_had_the_context_and_how_often_nothing_came_of_it(
    store: Store,
) -> None:
    await create(store)
    first = await own(store)
    assert (first.attempts, first.before) == (0, "")
    second = await taken_over(store, "w1", "w2")
    assert (second.attempts, second.before) == (1, "w1")
    await store.count_attempt(second, 2)
    third = await taken_over(store, "w2", "w3")
    assert (third.attempts, third.before) == (2, "w2")


async def test_a_commit_and_a_passivation_take_the_count_back(store: Store) -> None:
    book = Playbook()
    await create(store, book.log[0])
    owned = await own(store)
    await store.commit(next_commit(book.given(say()), owned, base=1))
    assert (await taken_over(store, "w1", "w2")).attempts == 0
    third = await taken_over(store, "w2", "w3")
    assert third.attempts == 1
    assert await store.passivate(CONTEXT_ID, third.token, "w3", version=2)
    last = await own(store, "w4")
    assert (last.attempts, last.before) == (0, "")


async def test_a_commit_without_progress_leaves_the_count(store: Store) -> None:
    book = Playbook()
    await create(store, book.log[0])
    owned = await own(store)
    await deliver(store)
    await store.commit(next_commit(book.given(say()), owned, base=1, progress=False))
    assert (await taken_over(store, "w1", "w2")).attempts == 1


async def test_only_the_newest_owner_counts(store: Store) -> None:
    await create(store)
    owned = await own(store)
    await store.activate(CONTEXT_ID, "w1")
    with pytest.raises(Fenced):
        await store.count_attempt(owned, 2)


async def test_a_letter_is_written_with_its_commit_and_lives_until_dropped(
    store: Store,
) -> None:
    letters = DeadLetters(store.link, store.sealer)
    book = Playbook()
    await create(store, book.log[0])
    owned = await own(store)
    commit = next_commit(book.given(abandoned()), owned, base=1, letter=LETTER)
    await store.commit(commit)
    await store.commit(commit)
    assert await letters.newest(10) == [LETTER]
    assert await letters.count() == 1
    assert await letters.one(LETTER.id) == LETTER
    assert await letters.one(f"{CONTEXT_ID}.3") is None
    assert await letters.drop(LETTER.id)
    assert not await letters.drop(LETTER.id)
    assert await letters.newest(10) == []


async def test_the_newest_letters_come_first(store: Store) -> None:
    letters = DeadLetters(store.link, store.sealer)
    book = Playbook()
    await create(store, book.log[0])
    owned = await own(store)
    for n in range(3):
        letter = LETTER.model_copy(update={"id": f"{CONTEXT_ID}.{n}", "at_ms": BEGAN_MS + n})
        base = book.state.version
        await store.commit(
            next_commit(book.given(abandoned()), owned, base=base, letter=letter)
        )
    assert [letter.id[-1] for letter in await letters.newest(2)] == ["2", "1"]


async def test_a_deleted_context_leaves_no_letter(store: Store) -> None:
    book = Playbook()
    await live(store, "w1")
    before = await kept(store)
    await create(store, book.log[0])
    owned = await own(store)
    await store.commit(next_commit(book.given(abandoned()), owned, base=1, letter=LETTER))
    await store.delete(next_commit(book.given(DELETE), owned, base=2), "w1")
    assert await kept(store) - {"totals"} == before
