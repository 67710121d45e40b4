"""Attempts that come to nothing are counted, and dead letters are kept until dropped."""

import pytest

from storage import (
    DeadLetter,
    DeadLetters,
    Fenced,
    Notice,
    Owned,
    Place,
    Sought,
    Store,
    keys,
)
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
from tests.workers.stage import nth_id

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
    return await store.ownership.activate(CONTEXT_ID, heir)


async def test_an_owner_hears_who_had_the_context_and_how_often_nothing_came_of_it(
    store: Store,
) -> None:
    await create(store)
    first = await own(store)
    assert (first.attempts, first.before) == (0, "")
    second = await taken_over(store, "w1", "w2")
    assert (second.attempts, second.before) == (1, "w1")
    await store.ownership.count_attempt(second, 2)
    third = await taken_over(store, "w2", "w3")
    assert (third.attempts, third.before) == (2, "w2")


async def test_a_commit_and_a_passivation_take_the_count_back(store: Store) -> None:
    book = Playbook()
    await create(store, book.log[0])
    owned = await own(store)
    await store.ownership.commit(next_commit(book.given(say()), owned, base=1))
    assert (await taken_over(store, "w1", "w2")).attempts == 0
    third = await taken_over(store, "w2", "w3")
    assert third.attempts == 1
    assert await store.ownership.passivate(CONTEXT_ID, third.token, "w3", version=2)
    last = await own(store, "w4")
    assert (last.attempts, last.before) == (0, "")


async def test_a_commit_without_progress_leaves_the_count(store: Store) -> None:
    book = Playbook()
    await create(store, book.log[0])
    owned = await own(store)
    await deliver(store)
    await store.ownership.commit(next_commit(book.given(say()), owned, base=1, progress=False))
    assert (await taken_over(store, "w1", "w2")).attempts == 1


async def test_only_the_newest_owner_counts(store: Store) -> None:
    await create(store)
    owned = await own(store)
    await store.ownership.activate(CONTEXT_ID, "w1")
    with pytest.raises(Fenced):
        await store.ownership.count_attempt(owned, 2)


async def test_a_letter_is_written_with_its_commit_and_lives_until_dropped(
    store: Store,
) -> None:
    letters = DeadLetters(store.link, store.sealer)
    book = Playbook()
    await create(store, book.log[0])
    owned = await own(store)
    commit = next_commit(book.given(abandoned()), owned, base=1, letter=LETTER)
    await store.ownership.commit(commit)
    await store.ownership.commit(commit)
    assert (await letters.page(10)).letters == [LETTER]
    assert await letters.count() == 1
    assert await letters.one(LETTER.id) == LETTER
    assert await letters.one(f"{CONTEXT_ID}.3") is None
    assert await letters.drop(LETTER.id)
    assert not await letters.drop(LETTER.id)
    assert (await letters.page(10)).letters == []
    assert await letters.count() == 0


async def test_the_newest_letters_come_first(store: Store) -> None:
    letters = DeadLetters(store.link, store.sealer)
    book = Playbook()
    await create(store, book.log[0])
    owned = await own(store)
    for n in range(3):
        letter = LETTER.model_copy(update={"id": f"{CONTEXT_ID}.{n}", "at_ms": BEGAN_MS - n})
        base = book.state.version
        await store.ownership.commit(
            next_commit(book.given(abandoned()), owned, base=base, letter=letter)
        )
    assert [letter.id[-1] for letter in (await letters.page(2)).letters] == ["0", "1"]


NOTICE = Notice(version=9, at_ms=1, owner="ada", status="idle", occasions=("x",), event={})


async def bury(store: Store, number: int, **fields: object) -> DeadLetter:
    """A letter as a commit leaves it."""
    given = {"id": f"{CONTEXT_ID}.{number}", "at_ms": BEGAN_MS + number, **fields}
    letter = LETTER.model_copy(update=given)
    context_id = letter.id.partition(".")[0]
    (dead,) = keys.of_context(context_id, "dead")
    sealed = store.sealer.seal("letter", context_id, letter.model_dump_json())
    await store.link.call("HSET", dead, letter.id, sealed)
    await store.link.call("ZADD", keys.DEAD, letter.at_ms, letter.id)
    return letter


async def test_a_letter_whose_drop_broke_off_halfway_is_not_shown_and_can_be_dropped_again(
    store: Store,
) -> None:
    letters = DeadLetters(store.link, store.sealer)
    dropped, stays = await bury(store, 1), await bury(store, 2)
    (dead,) = keys.of_context(CONTEXT_ID, "dead")
    await store.link.call("HDEL", dead, dropped.id)
    assert (await letters.page(10)).letters == [stays]
    await letters.drop(dropped.id)
    assert await letters.count() == 1


@pytest.mark.parametrize("context_id", [None, CONTEXT_ID])
@pytest.mark.parametrize("oldest_first", [False, True])
async def test_pages_of_letters_have_each_once_also_where_the_last_one_was_dropped(
    store: Store, context_id: str | None, *, oldest_first: bool
) -> None:
    letters = DeadLetters(store.link, store.sealer)
    # As many of one moment as make several pages.
    made = [(await bury(store, n, at_ms=BEGAN_MS + n // 4)).id for n in range(11, 21)]
    wanted = Sought(context_id=context_id)
    seen: list[str] = []
    ended: Place | None = None
    while True:
        page = await letters.page(3, sought=wanted, after=ended, oldest_first=oldest_first)
        seen += [letter.id for letter in page.letters if letter.id not in seen]
        if (ended := page.ended) is None:
            break
        await letters.drop(page.letters[-1].id)
    assert seen == (made if oldest_first else made[::-1])


@pytest.mark.parametrize("context_id", [None, CONTEXT_ID])
@pytest.mark.parametrize("oldest_first", [False, True])
async def test_a_page_of_letters_begins_behind_the_one_before(
    store: Store, context_id: str | None, *, oldest_first: bool
) -> None:
    letters = DeadLetters(store.link, store.sealer)
    made = [(await bury(store, n, at_ms=BEGAN_MS + n // 4)).id for n in range(11, 18)]
    order = made if oldest_first else made[::-1]
    ended: Place | None = None
    for expected in (order[:3], order[3:6], order[6:]):
        page = await letters.page(
            3, sought=Sought(context_id=context_id), after=ended, oldest_first=oldest_first
        )
        assert [letter.id for letter in page.letters] == expected
        ended = page.ended
    assert ended is None


async def test_a_page_whose_letters_are_hard_to_find_says_where_to_go_on(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.letters.PAGE", 2)
    monkeypatch.setattr("storage.letters.LOOKS_MAX", 4)
    letters = DeadLetters(store.link, store.sealer)
    for n in range(11, 15):
        await bury(store, n)
    turn = await bury(store, 15, mail=None)
    sought = Sought(kind="turn")
    page = await letters.page(10, sought=sought, oldest_first=True)
    assert (page.letters, page.ended) == ([], (BEGAN_MS + 14, f"{CONTEXT_ID}.14"))
    page = await letters.page(10, sought=sought, after=page.ended, oldest_first=True)
    assert (page.letters, page.ended) == ([turn], None)


async def test_letters_are_sought_by_context_kind_and_cause(store: Store) -> None:
    letters = DeadLetters(store.link, store.sealer)
    action = await bury(store, 1)
    turn = await bury(store, 2, mail=None, cause="The machine was switched off.")
    webhook = await bury(store, 3, mail=None, notice=NOTICE)
    other = await bury(store, 4, id=f"{nth_id(7)}.4", context_id=nth_id(7))

    async def found(sought: Sought) -> list[DeadLetter]:
        return list((await letters.page(10, sought=sought, oldest_first=True)).letters)

    assert await found(Sought()) == [action, turn, webhook, other]
    assert await found(Sought(kind="action")) == [action, other]
    assert await found(Sought(kind="turn")) == [turn]
    assert await found(Sought(kind="webhook")) == [webhook]
    assert await found(Sought(cause="switched off")) == [turn]
    assert await found(Sought(context_id=nth_id(7))) == [other]
    assert await found(Sought(context_id=CONTEXT_ID, kind="action")) == [action]


async def test_a_deleted_context_leaves_no_letter(store: Store) -> None:
    book = Playbook()
    await live(store, "w1")
    before = await kept(store)
    await create(store, book.log[0])
    owned = await own(store)
    await store.ownership.commit(
        next_commit(book.given(abandoned()), owned, base=1, letter=LETTER)
    )
    await store.ownership.delete(next_commit(book.given(DELETE), owned, base=2), "w1")
    assert await kept(store) - {"totals"} == before
