"""How a worker gets a context, and how it is given back, taken over or deleted."""

from dataclasses import replace
from typing import cast

import pytest

from fsm import MessageReceived, replay
from storage import (
    Commit,
    CommitFrame,
    ContextBusy,
    ContextMissing,
    Delivered,
    Draft,
    Fenced,
    Mail,
    Owned,
    Store,
    WorkerBuried,
    keys,
    worker_mail,
)
from tests.storage.arranging import (
    APPLIED,
    append,
    create,
    created,
    deliver,
    die,
    kept,
    listening,
    live,
    next_commit,
    own,
    ready,
    say_mail,
)
from tests.support.playbook import BEGAN_MS, CONTEXT_ID, DELETE, STARTED, Playbook, replied, say

OTHER_ID = "01932c5e-7a10-7c3b-9d2e-5f6071829305"


async def contexts_of(store: Store, worker_id: str) -> set[bytes]:
    found = await store.link.call("SMEMBERS", keys.worker_contexts(worker_id))
    return set(cast("list[bytes]", found))


def after(owned: Owned) -> str:
    """The token of the next activation."""
    epoch, _, number = owned.token.rpartition(".")
    return f"{epoch}.{int(number) + 1}"


# activate


async def test_an_owner_gets_all_there_is_in_one_step(store: Store) -> None:
    book = Playbook()
    await create(store, book.log[0])
    first = await own(store)
    book.given(say(), STARTED, replied("Hi"), say("More"))
    await store.ownership.commit(next_commit(book, first, base=1, snapshot=True))
    at, messages = book.state.version, len(book.state.messages)
    book.given(STARTED)
    await store.ownership.commit(
        next_commit(book, first, base=at, draft=Draft("start", 2, "Gu"))
    )
    await append(store, first, 2, "ten", version=at + 1)
    await deliver(store, "a")
    await deliver(store, "b")
    assert await store.ownership.activate(CONTEXT_ID, "w1") == Owned(
        context_id=CONTEXT_ID,
        token=after(first),
        state=book.state,
        mail=[Delivered(1, say_mail("a")), Delivered(2, say_mail("b"))],
        draft="Guten",
        messages_saved=messages,
        snapshot_version=at,
        before="w1",
    )
    assert await contexts_of(store, "w1") == {CONTEXT_ID.encode()}


async def test_a_context_that_is_not_there_cannot_be_owned_and_is_forgotten(
    store: Store,
) -> None:
    await live(store, "w1")
    await store.link.call("ZADD", keys.READY, 0, CONTEXT_ID)
    with pytest.raises(ContextMissing):
        await store.ownership.activate(CONTEXT_ID, "w1")
    assert await ready(store) == []
    assert await contexts_of(store, "w1") == set()


async def test_a_living_worker_keeps_its_contexts(store: Store) -> None:
    book = Playbook()
    await create(store, book.log[0])
    owned = await own(store)
    await live(store, "w2")
    async with listening(store, worker_mail("w1")) as ear:
        with pytest.raises(ContextBusy):
            await store.ownership.activate(CONTEXT_ID, "w2")
        # It may have missed what the other one has heard of.
        assert await ear.hears(1) == [f"{CONTEXT_ID}\n0\n".encode()]
    await store.ownership.commit(next_commit(book.given(say()), owned, base=1))


async def test_the_contexts_of_a_dead_worker_are_taken_over(store: Store) -> None:
    book = Playbook()
    await create(store, book.log[0])
    first = await own(store)
    await store.ownership.commit(next_commit(book.given(say()), first, base=1))
    await die(store, "w1")
    second = await own(store, "w2")
    assert (second.token, second.state) == (after(first), book.state)
    assert await contexts_of(store, "w1") == set()
    assert await contexts_of(store, "w2") == {CONTEXT_ID.encode()}


async def test_a_worker_without_a_session_owns_nothing(store: Store) -> None:
    await create(store)
    with pytest.raises(WorkerBuried):
        await store.ownership.activate(CONTEXT_ID, "w1")
    assert (await own(store, "w2")).token == f"{store.epoch}.1"


async def test_the_token_grows_with_every_activation_also_of_the_same_worker(
    store: Store,
) -> None:
    book = Playbook()
    await create(store, book.log[0])
    first = await own(store)
    second = await store.ownership.activate(CONTEXT_ID, "w1")
    await store.ownership.passivate(
        CONTEXT_ID, second.token, "w1", version=second.state.version
    )
    third = await own(store, "w2")
    assert [first.token, second.token, third.token] == [f"{store.epoch}.{n}" for n in (1, 2, 3)]
    with pytest.raises(Fenced):
        await store.ownership.commit(next_commit(book.given(say()), first, base=1))


async def test_an_activation_without_mail_leaves_the_ready_contexts(store: Store) -> None:
    await create(store)
    await own(store)
    await store.sessions.bury("w1")
    assert await ready(store) == [CONTEXT_ID]
    await own(store, "w2")
    assert await ready(store) == []


async def test_an_activation_with_mail_stays_ready_until_it_is_done_with_it(
    store: Store,
) -> None:
    await create(store, first=say_mail())
    owned = await own(store)
    assert await ready(store) == [CONTEXT_ID]
    await store.ownership.commit(next_commit(Playbook(), owned, base=1, acknowledged=1))
    assert await ready(store) == []


# draft


async def test_a_draft_grows_and_its_frames_are_published(store: Store) -> None:
    book = Playbook()
    await create(store, book.log[0])
    owned = await own(store)
    book.given(say(), STARTED)
    async with listening(store) as ear:
        await store.ownership.commit(
            next_commit(book, owned, base=1, draft=Draft("start", 1, "é"))
        )
        assert await append(store, owned, 1, "a\nb", version=3) == b"appended"
        assert await append(store, owned, 4, "☕", version=3) == b"appended"
        _, *frames = await ear.hears(3)
    epoch = store.epoch.encode()
    assert frames == [b"d %s 3 1 4 m\na\nb" % epoch, b"d %s 3 4 5 m\n\xe2\x98\x95" % epoch]
    assert (await store.ownership.activate(CONTEXT_ID, "w1")).draft == "éa\nb☕"


async def test_a_repeated_draft_is_added_once_and_one_that_does_not_fit_never(
    store: Store,
) -> None:
    book = Playbook()
    await create(store, book.log[0])
    owned = await own(store)
    book.given(say(), STARTED)
    await store.ownership.commit(next_commit(book, owned, base=1, draft=Draft("start", 1, "a")))
    async with listening(store) as ear:
        answers = [
            await append(store, owned, n_before, text, version=3)
            for n_before, text in ((1, "bc"), (1, "bc"), (2, "c"), (7, "x"), (3, "d"))
        ]
        frames = await ear.hears(2)
    assert answers == [b"appended", b"repeated", b"repeated", b"conflict", b"appended"]
    epoch = store.epoch.encode()
    assert frames == [b"d %s 3 1 3 m\nbc" % epoch, b"d %s 3 3 4 m\nd" % epoch]
    assert (await store.ownership.activate(CONTEXT_ID, "w1")).draft == "abcd"


async def test_the_draft_of_an_owner_that_was_is_refused(store: Store) -> None:
    book = Playbook()
    await create(store, book.log[0])
    owned = await own(store)
    book.given(say(), STARTED)
    await store.ownership.commit(next_commit(book, owned, base=1, draft=Draft("start", 1, "a")))
    newer = await store.ownership.activate(CONTEXT_ID, "w1")
    assert await append(store, owned, 1, "b", version=3) == b"fenced"
    assert await append(store, newer, 1, "c", version=3) == b"appended"
    reading = await store.read(CONTEXT_ID, "ada")
    assert reading.view is not None
    assert reading.view.draft == "ac"


# passivate


async def test_a_passive_context_belongs_to_nobody(store: Store) -> None:
    await create(store)
    owned = await own(store)
    assert await store.ownership.passivate(
        CONTEXT_ID, owned.token, "w1", version=owned.state.version
    )
    assert await contexts_of(store, "w1") == set()
    receipt = await store.admissions.deliver(CONTEXT_ID, "ada", say_mail(), key="", digest="")
    assert not receipt.active
    assert (await own(store, "w2")).token == after(owned)


async def test_a_context_whose_mail_waits_is_not_given_back(store: Store) -> None:
    await create(store)
    owned = await own(store)
    await deliver(store)
    assert not await store.ownership.passivate(
        CONTEXT_ID, owned.token, "w1", version=owned.state.version
    )
    receipt = await store.admissions.deliver(CONTEXT_ID, "ada", say_mail(), key="", digest="")
    assert receipt.active
    assert await contexts_of(store, "w1") == {CONTEXT_ID.encode()}


async def test_a_repeated_passivation_is_one_whatever_came_in_between(store: Store) -> None:
    await create(store)
    owned = await own(store)
    assert await store.ownership.passivate(
        CONTEXT_ID, owned.token, "w1", version=owned.state.version
    )
    await deliver(store)
    assert await store.ownership.passivate(
        CONTEXT_ID, owned.token, "w1", version=owned.state.version
    )


async def test_only_the_newest_owner_gives_a_context_back(store: Store) -> None:
    await create(store)
    owned = await own(store)
    await store.ownership.activate(CONTEXT_ID, "w1")
    with pytest.raises(Fenced):
        await store.ownership.passivate(
            CONTEXT_ID, owned.token, "w1", version=owned.state.version
        )
    receipt = await store.admissions.deliver(CONTEXT_ID, "ada", say_mail(), key="", digest="")
    assert receipt.active


# delete


async def test_nothing_is_left_of_a_deleted_context(store: Store) -> None:
    book = Playbook()
    await live(store, "w1")
    await create(store, created(OTHER_ID, owner="bob"), first=say_mail())
    before = await kept(store)
    await create(store, book.log[0], first=say_mail())
    await deliver(store, key="k")
    owned = await store.ownership.activate(CONTEXT_ID, "w1")
    book.given(say(), STARTED)
    commit = next_commit(
        book,
        owned,
        base=1,
        acknowledged=1,
        results={1: APPLIED},
        draft=Draft("start", 1, "a"),
        snapshot=True,
    )
    await store.ownership.commit(replace(commit, wake_ms=BEGAN_MS))
    assert {key.split(":")[-1] for key in await kept(store) if key.startswith("ctx")} == {
        *("meta", "log", "mail", "draft", "keys", "results", "snap", "msgs")
    }
    async with listening(store) as ear:
        commit = next_commit(book.given(DELETE), owned, base=3, results={2: APPLIED})
        await store.ownership.delete(commit, "w1")
        (frame,) = await ear.frames(1)
    assert isinstance(frame, CommitFrame)
    assert await kept(store) == before
    assert await ready(store) == [OTHER_ID]
    assert (frame.events, frame.results, frame.phase, frame.rests) == (
        [book.log[-1].model_dump_json().encode()],
        {2: APPLIED},
        "deleted",
        True,
    )
    assert await store.contexts("ada", limit=10, after=None) == []


async def test_deleting_again_is_harmless_and_everything_else_finds_nothing(
    store: Store,
) -> None:
    book = Playbook()
    await create(store, book.log[0])
    owned = await own(store)
    commit = next_commit(book.given(DELETE), owned, base=1)
    await store.ownership.delete(commit, "w1")
    await store.ownership.delete(commit, "w1")
    with pytest.raises(ContextMissing):
        await store.ownership.commit(commit)
    with pytest.raises(ContextMissing):
        await store.read(CONTEXT_ID, "ada")
    with pytest.raises(ContextMissing):
        await deliver(store)
    with pytest.raises(ContextMissing):
        await store.ownership.activate(CONTEXT_ID, "w1")
    assert await append(store, owned, 0, "a", version=1) == b"fenced"
    with pytest.raises(Fenced):
        await store.ownership.passivate(
            CONTEXT_ID, owned.token, "w1", version=owned.state.version
        )


async def test_only_the_newest_owner_deletes(store: Store) -> None:
    book = Playbook()
    await create(store, book.log[0])
    owned = await own(store)
    newer = await store.ownership.activate(CONTEXT_ID, "w1")
    with pytest.raises(Fenced):
        await store.ownership.delete(next_commit(book.given(DELETE), owned, base=1), "w1")
    assert (await store.read(CONTEXT_ID, "ada")).version == 1
    await store.ownership.delete(next_commit(book, newer, base=1), "w1")


async def test_mail_is_what_it_was_when_it_was_sent(store: Store) -> None:
    mail = Mail(
        event=MessageReceived(
            at_ms=BEGAN_MS,
            content="a\0b\n\u2028 ☕",
            metadata={"big": 10**30, "float": 0.1, "null": None},
            parts=({"kind": "image", "nested": [{"deep": True}]},),
        ),
        if_version=3,
    )
    await create(store)
    await store.admissions.deliver(CONTEXT_ID, "ada", mail, key="", digest="")
    owned = await own(store)
    assert owned.mail == [Delivered(1, mail)]
    assert await store.undelivered(CONTEXT_ID) == [Delivered(1, mail)]
    assert await store.ownership.undelivered(CONTEXT_ID, owned.token) == [Delivered(1, mail)]


# fenced


async def is_refused(store: Store, owned: Owned, commit: Commit) -> None:
    """Whatever this owner still sends changes nothing."""
    with pytest.raises(Fenced):
        await store.ownership.commit(commit)
    with pytest.raises(Fenced):
        await store.ownership.count_attempt(owned, 2)
    with pytest.raises(Fenced):
        await store.ownership.undelivered(CONTEXT_ID, owned.token)
    with pytest.raises(Fenced):
        await store.ownership.passivate(CONTEXT_ID, owned.token, "w1", version=1)
    with pytest.raises(Fenced):
        await store.ownership.delete(commit, "w1")
    assert await append(store, owned, 0, "late", version=1) == b"fenced"


async def test_p10_a_commit_of_a_buried_worker_does_not_take_its_context_out_of_ready(
    store: Store,
) -> None:
    book = Playbook()
    await create(store, book.log[0])
    seq = await deliver(store)
    owned = await own(store)
    commit = next_commit(book.given(say()), owned, base=1, acknowledged=seq)
    await store.sessions.bury("w1")
    await is_refused(store, owned, commit)
    assert await ready(store) == [CONTEXT_ID]
    assert (await own(store, "w2")).state == replay(book.log[:1])


async def test_p4_an_owner_is_of_one_epoch_even_where_the_store_counts_again(
    store: Store,
) -> None:
    book = Playbook()
    await create(store, book.log[0])
    owned = await own(store)
    # As a store that was set back to this very moment, and opened again.
    await store.link.call("HSET", keys.EPOCH, "n", int(store.epoch) + 1)
    await is_refused(store, owned, next_commit(book.given(say()), owned, base=1))


async def test_an_activation_that_gave_its_context_back_is_no_attempt(store: Store) -> None:
    await create(store)
    owned = await own(store)
    assert await store.ownership.passivate(CONTEXT_ID, owned.token, "w1", version=1)
    assert (await own(store)).attempts == 0
