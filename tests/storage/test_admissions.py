"""What clients do to a store: create, deliver, and ask what became of it."""

import asyncio

import pytest

from fsm import MessageReceived, replay
from storage import (
    ContextMissing,
    Delivered,
    KeyReused,
    Mail,
    MailboxFull,
    Receipt,
    Store,
    feed,
    keys,
    worker_mail,
)
from tests.storage.arranging import (
    APPLIED,
    create,
    created,
    deliver,
    die,
    kept,
    listening,
    next_commit,
    own,
    ready,
    say_mail,
)
from tests.storage.conftest import Backend
from tests.support.playbook import BEGAN_MS, CONTEXT_ID, DELETE, Playbook, say

OTHER_ID = "01932c5e-7a10-7c3b-9d2e-5f6071829305"


# create


async def test_a_created_context_is_its_first_event(store: Store) -> None:
    assert await store.admissions.create(created(), first=None, key="", digest="") == (
        CONTEXT_ID,
        False,
    )
    reading = await store.read(CONTEXT_ID, "ada")
    assert reading.view is not None
    assert reading.view.state == replay([created()])
    assert (reading.version, reading.n, reading.mail_seq) == (1, 0, 0)
    assert await ready(store) == []


async def test_a_creation_key_makes_one_context_however_often_it_is_sent(store: Store) -> None:
    first = await store.admissions.create(created(), first=say_mail(), key="k", digest="d")
    again = await store.admissions.create(
        created(OTHER_ID), first=say_mail(), key="k", digest="d"
    )
    assert (first, again) == ((CONTEXT_ID, False), (CONTEXT_ID, True))
    with pytest.raises(ContextMissing):
        await store.read(OTHER_ID, "ada")
    assert [item.seq for item in await store.undelivered(CONTEXT_ID)] == [1]


async def test_a_name_is_of_one_context_until_that_is_deleted(store: Store) -> None:
    first = await store.admissions.create(
        created(), first=say_mail(), key="", digest="", name="n"
    )
    again = await store.admissions.create(
        created(OTHER_ID), first=say_mail(), key="", digest="", name="n"
    )
    assert (first, again) == ((CONTEXT_ID, False), (CONTEXT_ID, True))
    with pytest.raises(ContextMissing):
        await store.read(OTHER_ID, "ada")
    assert [item.seq for item in await store.undelivered(CONTEXT_ID)] == [1]
    assert await store.named("ada", "n") == CONTEXT_ID
    with pytest.raises(ContextMissing):
        await store.named("bob", "n")
    book = Playbook().given(DELETE)
    await store.ownership.delete(next_commit(book, await own(store), base=1), "w1")
    with pytest.raises(ContextMissing):
        await store.named("ada", "n")
    made = await store.admissions.create(
        created(OTHER_ID), first=None, key="", digest="", name="n"
    )
    assert made == (OTHER_ID, False)


async def test_the_same_name_of_two_owners_is_two_contexts(store: Store) -> None:
    await store.admissions.create(created(), first=None, key="", digest="", name="n")
    bobs = created(OTHER_ID, owner="bob")
    made = await store.admissions.create(bobs, first=None, key="", digest="", name="n")
    assert made == (OTHER_ID, False)
    assert await store.named("bob", "n") == OTHER_ID


async def test_a_creation_that_is_executed_twice_names_one_context(store: Store) -> None:
    for _ in range(2):
        made = await store.admissions.create(
            created(), first=say_mail(), key="", digest="", name="n"
        )
        assert made == (CONTEXT_ID, False)
    assert [item.seq for item in await store.undelivered(CONTEXT_ID)] == [1]


async def test_a_creation_key_that_comes_with_another_request_is_refused(store: Store) -> None:
    await store.admissions.create(created(), first=None, key="k", digest="d")
    with pytest.raises(KeyReused):
        await store.admissions.create(created(OTHER_ID), first=None, key="k", digest="other")


async def test_creation_keys_are_each_owners_own_and_end(store: Store) -> None:
    await store.admissions.create(created(), first=None, key="k", digest="d")
    bobs = created(OTHER_ID, owner="bob")
    assert await store.admissions.create(bobs, first=None, key="k", digest="d") == (
        OTHER_ID,
        False,
    )
    ttl_s = await store.link.call("TTL", keys.creation("ada", "k"))
    assert isinstance(ttl_s, int)
    assert 0 < ttl_s <= store.config.creation_key_s


async def test_a_creation_that_is_repeated_without_a_key_changes_nothing(store: Store) -> None:
    await create(store, first=say_mail())
    await deliver(store, "second")
    await create(store, first=say_mail())
    assert [item.seq for item in await store.undelivered(CONTEXT_ID)] == [1, 2]


async def test_the_first_mail_is_there_with_the_context(store: Store) -> None:
    await create(store, first=say_mail("first"))
    assert await store.undelivered(CONTEXT_ID) == [Delivered(1, say_mail("first"))]
    assert await ready(store) == [CONTEXT_ID]
    assert await deliver(store, "second") == 2
    assert (await store.read(CONTEXT_ID, "ada")).mail_seq == 2


async def test_a_context_that_is_to_expire_is_claimed_then_if_nothing_else_happens(
    store: Store,
) -> None:
    expires_ms = BEGAN_MS + 5_000
    await create(store, created().model_copy(update={"expires_ms": expires_ms}))
    assert await store.ownership.claim(now_ms=expires_ms - 1, overdue_ms=1_000) == []
    assert await store.ownership.claim(now_ms=expires_ms, overdue_ms=1_000) == [CONTEXT_ID]


# deliver


async def test_mail_is_numbered_in_order_and_the_context_gets_ready(store: Store) -> None:
    await create(store)
    receipts = [
        await store.admissions.deliver(CONTEXT_ID, "ada", say_mail(text), key="", digest="")
        for text in ("a", "b")
    ]
    assert receipts == [Receipt(1, False, False, None), Receipt(2, False, False, None)]
    mail = await store.undelivered(CONTEXT_ID)
    assert mail == [Delivered(1, say_mail("a")), Delivered(2, say_mail("b"))]
    assert await ready(store) == [CONTEXT_ID]


async def test_further_mail_makes_a_context_wait_no_longer(store: Store) -> None:
    await create(store)
    for after_ms in (0, 900):
        event = MessageReceived(at_ms=BEGAN_MS + after_ms, content="Hello")
        await store.admissions.deliver(CONTEXT_ID, "ada", Mail(event=event), key="", digest="")
    assert await store.ownership.claim(now_ms=BEGAN_MS + 1_000, overdue_ms=1_000) == [
        CONTEXT_ID
    ]


async def test_mail_for_an_unknown_or_a_foreign_context_is_refused_alike(store: Store) -> None:
    await create(store)
    before = await kept(store)
    for context_id, owner in ((OTHER_ID, "ada"), (CONTEXT_ID, "bob"), (CONTEXT_ID, "")):
        with pytest.raises(ContextMissing):
            await store.admissions.deliver(context_id, owner, say_mail(), key="k", digest="d")
    assert await kept(store) == before


async def test_a_key_adds_its_action_once(store: Store) -> None:
    await create(store)
    sent = [
        await store.admissions.deliver(CONTEXT_ID, "ada", say_mail(), key="k", digest="d")
        for _ in range(3)
    ]
    assert sent == [Receipt(1, False, False, None), *[Receipt(1, True, False, None)] * 2]
    assert len(await store.undelivered(CONTEXT_ID)) == 1


async def test_a_key_that_comes_with_another_body_is_refused(store: Store) -> None:
    await create(store)
    await deliver(store, "a", key="k")
    with pytest.raises(KeyReused):
        await deliver(store, "b", key="k")
    assert len(await store.undelivered(CONTEXT_ID)) == 1


async def test_fifty_who_send_one_key_at_once_add_one_action(backend: Backend) -> None:
    async with backend.connect() as one, backend.connect() as other:
        await create(one)
        async with asyncio.TaskGroup() as group:
            sent = [
                group.create_task(deliver(store, key="k"))
                for _ in range(25)
                for store in (one, other)
            ]
        assert {task.result() for task in sent} == {1}
        assert len(await one.undelivered(CONTEXT_ID)) == 1


async def test_a_repeated_key_gets_the_result_once_there_is_one(store: Store) -> None:
    book = Playbook()
    await create(store, book.log[0])
    seq = await deliver(store, key="k")
    owned = await own(store)
    commit = next_commit(
        book.given(say()), owned, base=1, acknowledged=seq, results={seq: APPLIED}
    )
    await store.ownership.commit(commit)
    receipt = await store.admissions.deliver(
        CONTEXT_ID, "ada", say_mail(), key="k", digest="d-Hello"
    )
    assert receipt == Receipt(seq, repeated=True, active=True, result=APPLIED)
    assert (await store.read(CONTEXT_ID, "ada", seq=seq)).result == APPLIED


async def test_a_full_mailbox_takes_no_more_and_repeats_still_work(store: Store) -> None:
    await create(store)
    for n in range(store.config.mailbox_max):
        await deliver(store, key=f"k{n}")
    before = await kept(store)
    with pytest.raises(MailboxFull):
        await deliver(store, key="one-more")
    assert await deliver(store, key="k0") == 1
    assert await kept(store) == before
    assert (await store.read(CONTEXT_ID, "ada")).mail_seq == store.config.mailbox_max


async def test_the_oldest_results_and_keys_make_room(store: Store) -> None:
    await create(store)
    owned = await own(store)
    book, kept_max = Playbook(), store.config.results_max
    for n in range(1, kept_max + 3):
        assert await deliver(store, key=f"k{n}" if n > 1 else "") == n
        await store.ownership.commit(
            next_commit(book, owned, base=1, acknowledged=n, results={n: APPLIED})
        )
    where = keys.of_context(CONTEXT_ID, "keys", "results")
    fields = [await store.link.call("HLEN", key) for key in where]
    assert fields == [2 * kept_max, kept_max]
    assert (await store.read(CONTEXT_ID, "ada", seq=2)).result is None
    assert (await store.read(CONTEXT_ID, "ada", seq=3)).result == APPLIED
    assert await deliver(store, key="k3") == 3
    assert await deliver(store, key="k2") == kept_max + 3


async def test_a_living_worker_is_told_of_the_mail_for_its_contexts(store: Store) -> None:
    await create(store)
    await own(store)
    async with listening(store, worker_mail("w1")) as ear:
        receipt = await store.admissions.deliver(
            CONTEXT_ID, "ada", say_mail(), key="k", digest="d"
        )
        (message,) = await ear.hears(1)
    assert receipt == Receipt(1, repeated=False, active=True, result=None)
    context_id, seq, mail = message.split(b"\n")
    assert (context_id.decode(), seq) == (CONTEXT_ID, b"1")
    assert mail.decode() == say_mail().model_dump_json()


async def test_mail_for_the_context_of_a_dead_worker_is_not_taken_for_told(
    store: Store,
) -> None:
    await create(store)
    await own(store)
    await die(store, "w1")
    receipt = await store.admissions.deliver(CONTEXT_ID, "ada", say_mail(), key="", digest="")
    assert not receipt.active


async def test_nobody_is_told_of_mail_that_was_refused(store: Store) -> None:
    await create(store)
    await own(store)
    async with listening(store, worker_mail("w1")) as ear:
        await deliver(store, "a", key="k")
        with pytest.raises(KeyReused):
            await deliver(store, "b", key="k")
        await deliver(store, "a", key="k")
        await deliver(store, "last")
        heard = await ear.hears(2)
    assert [message.split(b"\n")[1] for message in heard] == [b"1", b"2"]


# undelivered, events, lists, and looks that load nothing


async def test_undelivered_mail_is_what_no_commit_has_acknowledged(store: Store) -> None:
    await create(store)
    owned = await own(store)
    for text in ("a", "b", "c"):
        await deliver(store, text)
    await store.ownership.commit(next_commit(Playbook(), owned, base=1, acknowledged=2))
    assert await store.undelivered(CONTEXT_ID) == [Delivered(3, say_mail("c"))]
    assert await store.undelivered(OTHER_ID) == []


async def test_contexts_are_listed_newest_first_page_by_page(store: Store) -> None:
    ids = [f"01932c5e-7a10-7c3b-9d2e-5f607182930{n}" for n in range(5)]
    for context_id in (*ids[::2], *ids[1::2]):
        await create(store, created(context_id))
    await create(store, created("01932c5e-ffff-7c3b-9d2e-5f6071829300", owner="bob"))
    pages: list[list[str]] = []
    after = None
    while page := await store.contexts("ada", limit=2, after=after):
        pages.append([context_id for context_id, _ in page])
        after = pages[-1][-1]
    assert pages == [ids[4:2:-1], ids[2:0:-1], ids[:1]]
    assert await store.contexts("nobody", limit=2, after=None) == []


async def test_a_page_of_contexts_is_full_though_some_are_deleted_while_it_is_read(
    store: Store,
) -> None:
    ids = [f"01932c5e-7a10-7c3b-9d2e-5f607182930{n}" for n in range(6)]
    for context_id in ids:
        await create(store, created(context_id))
    for gone in (ids[4], ids[5]):  # behind the answer that had their ids
        await store.link.call("DEL", keys.meta(gone))
    page = await store.contexts("ada", limit=3, after=None)
    assert [context_id for context_id, _ in page] == [ids[3], ids[2], ids[1]]
    page = await store.contexts("ada", limit=3, after=ids[1])
    assert [context_id for context_id, _ in page] == [ids[0]]


async def test_the_list_shows_the_newest_summary(store: Store) -> None:
    book = Playbook(title="Tea")
    await create(store, book.log[0])
    owned = await own(store)
    await store.ownership.commit(next_commit(book.given(say()), owned, base=1))
    ((context_id, summary),) = await store.contexts("ada", limit=10, after=None)
    assert summary is not None
    assert context_id == CONTEXT_ID
    assert summary.model_dump() == {
        "title": "Tea",
        "status": book.state.phase.value,
        "version": 2,
        "created_at_ms": BEGAN_MS,
        "updated_at_ms": book.state.updated_at_ms,
        "pinned": False,
    }


async def test_channels_are_each_contexts_own(store: Store) -> None:
    assert feed("a") != feed("b")
    assert worker_mail("a") != worker_mail("b")
