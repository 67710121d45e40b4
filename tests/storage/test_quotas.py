"""Quotas: what an owner or a context has too much of is refused before anything is taken."""

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import pytest
from uuid_utils import uuid7

from fsm import (
    BranchMerged,
    BranchSwitched,
    ContextRenamed,
    Event,
    MessageEdited,
    MessagesRecorded,
    RecordedMessage,
    RegenerateRequested,
    RetryRequested,
    TurnRequested,
)
from storage import Commit, Fenced, Listener, Mail, Owned, QuotaExceeded, Store, keys, usage_of
from storage.quotas import demand_of
from tests.storage.arranging import create, created, next_commit, own, say_mail
from tests.storage.conftest import Backend
from tests.support.playbook import (
    BEGAN_MS,
    CONTEXT_ID,
    STARTED,
    Playbook,
    replied,
    say as say_event,
)

OTHER_ID = "01890a5d-ac96-774b-bcce-b302099a8058"


async def make(store: Store, context_id: str = "", *, key: str = "") -> str:
    """A context with its first message."""
    made, _ = await store.admissions.create(
        created(context_id or str(uuid7())), first=say_mail(), key=key, digest="d"
    )
    return made


async def say(store: Store, context_id: str = CONTEXT_ID, *, key: str = "") -> int:
    receipt = await store.admissions.deliver(context_id, "ada", say_mail(), key=key, digest="d")
    return receipt.seq


def rename() -> Mail:
    return Mail(event=ContextRenamed(at_ms=BEGAN_MS, title="t"))


async def rest(store: Store, owned: Owned, *, base: int, seq: int) -> Commit:
    """The mail up to `seq` is done with, and the context rests."""
    book = Playbook()
    while book.state.version <= base:
        book.given(ContextRenamed(at_ms=BEGAN_MS, title=f"t{book.state.version}"))
    commit = next_commit(book, owned, base=base, acknowledged=seq)
    await store.ownership.commit(commit)
    return commit


@pytest.mark.parametrize(
    ("demand", "event"),
    [
        ("begins", say_event()),
        ("begins", MessageEdited(at_ms=BEGAN_MS, message_id="m", content="c")),
        ("begins", RegenerateRequested(at_ms=BEGAN_MS)),
        ("begins", TurnRequested(at_ms=BEGAN_MS, messages=())),
        ("begins", RetryRequested(at_ms=BEGAN_MS)),
        ("adds", MessagesRecorded(at_ms=BEGAN_MS, messages=())),
        ("adds", BranchMerged(at_ms=BEGAN_MS, source="b")),
        ("", BranchSwitched(at_ms=BEGAN_MS, name="b")),
        ("", ContextRenamed(at_ms=BEGAN_MS, title="t")),
    ],
)
def test_what_begins_a_turn_and_what_adds_messages_are_asked_about(
    demand: str, event: Event
) -> None:
    assert demand_of(Mail.model_validate({"event": event})) == demand


async def test_an_owner_has_no_more_contexts_than_one_may_have(backend: Backend) -> None:
    async with backend.connect(contexts_per_owner_max=2) as store:
        first = await make(store, key="k")
        await make(store)
        with pytest.raises(QuotaExceeded) as refused:
            await make(store)
        error = refused.value
        assert (error.quota, error.most, error.used, error.again_s) == ("contexts", 2, 2, None)
        assert await make(store, key="k") == first, "what was made already is no new one"
        await store.admissions.create(created(owner="eve"), first=None, key="", digest="")


async def test_of_many_who_create_at_the_edge_no_more_succeed(backend: Backend) -> None:
    async with (
        backend.connect(contexts_per_owner_max=5) as one,
        backend.connect(contexts_per_owner_max=5) as other,
    ):
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(_succeeds(store), name=f"create {n}")
                for n, store in zip(range(24), itertools.cycle((one, other)), strict=False)
            ]
        assert sum(task.result() for task in tasks) == 5
        assert (await usage_of(one.link, "ada")).contexts == 5


async def _succeeds(store: Store) -> bool:
    try:
        await make(store)
    except QuotaExceeded:
        return False
    return True


async def test_a_context_is_at_work_from_its_mail_until_it_rests(store: Store) -> None:
    await create(store)
    owned = await own(store)
    assert (await usage_of(store.link, "ada")).turns == 0
    seq = await say(store)
    assert (await usage_of(store.link, "ada")).turns == 1
    await say(store)
    await rest(store, owned, base=1, seq=seq)
    assert (await usage_of(store.link, "ada")).turns == 1, "there is mail that may begin one"
    await rest(store, owned, base=2, seq=seq + 1)
    assert (await usage_of(store.link, "ada")).turns == 0
    book = Playbook().given(ContextRenamed(at_ms=BEGAN_MS, title="t"))
    book.given(*(ContextRenamed(at_ms=BEGAN_MS, title=f"t{n}") for n in range(3)))
    await store.ownership.commit(replace(next_commit(book, owned, base=3), rests=False))
    assert (await usage_of(store.link, "ada")).turns == 1


async def test_a_turn_too_many_is_refused_and_one_that_waits_is_not(backend: Backend) -> None:
    async with backend.connect(turns_per_owner_max=1) as store:
        await create(store)
        await create(store, created(OTHER_ID))
        await say(store)
        with pytest.raises(QuotaExceeded) as refused:
            await say(store, OTHER_ID)
        assert (refused.value.quota, refused.value.again_s) == ("turns", 1)
        with pytest.raises(QuotaExceeded):
            await make(store)
        await say(store)  # it waits for its turn in a context that is at work already
        await store.admissions.deliver(OTHER_ID, "ada", rename(), key="", digest="")
        owned = await own(store)
        await rest(store, owned, base=1, seq=2)
        await say(store, OTHER_ID)


async def test_a_deleted_context_is_not_at_work(backend: Backend) -> None:
    async with backend.connect() as store:
        await make(store, CONTEXT_ID)
        owned = await own(store)
        await store.ownership.delete(
            next_commit(Playbook(), owned, base=1, acknowledged=1), "w1"
        )
        assert (await usage_of(store.link, "ada")).turns == 0


async def test_tokens_are_counted_once_with_their_commit(backend: Backend) -> None:
    async with backend.connect(tokens_per_owner_day_max=100) as store:
        await create(store)
        owned = await own(store)
        book = Playbook().given(ContextRenamed(at_ms=BEGAN_MS, title="t"))
        commit = replace(next_commit(book, owned, base=1), tokens=60)
        await store.ownership.commit(commit)
        await store.ownership.commit(commit)  # its answer was lost
        assert (await usage_of(store.link, "ada")).tokens == 60
        await say(store, key="k")
        again = await own(store, "w1")
        with pytest.raises(Fenced):
            await store.ownership.commit(commit)  # by a worker that does not know yet
        assert (await usage_of(store.link, "ada")).tokens == 60
        book.given(ContextRenamed(at_ms=BEGAN_MS, title="u"))
        await store.ownership.commit(replace(next_commit(book, again, base=2), tokens=60))
        with pytest.raises(QuotaExceeded) as refused:
            await say(store)
        error = refused.value
        assert (error.quota, error.most, error.used) == ("tokens", 100, 120)
        assert error.again_s == 86_400 - BEGAN_MS // 1_000 % 86_400
        assert await say(store, key="k") == 1, "what was delivered already is told again"
        await store.admissions.deliver(CONTEXT_ID, "ada", rename(), key="", digest="")
        with pytest.raises(QuotaExceeded):
            await make(store)


async def test_tokens_that_are_too_many_to_be_added_cost_no_part_of_a_commit(
    store: Store,
) -> None:
    await create(store)
    owned = await own(store)
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    listener = Listener(heard.put_nowait, lambda: None)
    await store.subscriber.subscribe(keys.feed(CONTEXT_ID), listener)
    book = Playbook()
    for base, tokens in ((1, 60), (2, 2**64 - 1), (3, 2**63 - 1)):
        book.given(ContextRenamed(at_ms=BEGAN_MS, title=f"t{base}"))
        await store.ownership.commit(
            replace(next_commit(book, owned, base=base), tokens=tokens)
        )
        async with asyncio.timeout(5):
            await heard.get()
    assert (await usage_of(store.link, "ada")).tokens == 60


async def test_tokens_are_forgotten_with_their_day(store: Store) -> None:
    await create(store)
    owned = await own(store)
    book = Playbook().given(ContextRenamed(at_ms=BEGAN_MS, title="t"))
    await store.ownership.commit(replace(next_commit(book, owned, base=1), tokens=60))
    left_s = cast("int", await store.link.call("TTL", keys.owner_tokens("ada")))
    assert 0 < left_s <= 86_400


async def test_a_day_ends_at_the_next_midnight_of_the_stores_clock(store: Store) -> None:
    ends_at_ms = (await usage_of(store.link, "ada")).day_ends_at_ms
    now_s = int(cast("list[bytes]", await store.link.call("TIME"))[0])
    assert ends_at_ms % 86_400_000 == 0
    assert 0 <= ends_at_ms - now_s * 1_000 <= 86_400_000


async def test_another_day_begins_with_no_tokens(backend: Backend) -> None:
    async with backend.connect(tokens_per_owner_day_max=100) as store:
        await create(store)
        await store.link.call("HSET", keys.owner_tokens("ada"), "day", 1, "used", 100)
        await say(store)
        assert (await usage_of(store.link, "ada")).tokens == 0


async def test_messages_and_bytes_of_a_context_are_bounded(backend: Backend) -> None:
    async with backend.connect(messages_per_context_max=2, mailbox_max=9) as store:
        await create(store)
        await say(store)
        await say(store)
        with pytest.raises(QuotaExceeded) as refused:
            await say(store)
        assert (refused.value.quota, refused.value.used) == ("messages", 2)
        note = RecordedMessage(role="user", content="x")
        with pytest.raises(QuotaExceeded):
            await store.admissions.deliver(
                *(CONTEXT_ID, "ada"),
                Mail(event=MessagesRecorded(at_ms=BEGAN_MS, messages=(note,))),
                key="",
                digest="",
            )
        await store.admissions.deliver(CONTEXT_ID, "ada", rename(), key="", digest="")
    async with backend.connect(bytes_per_context_max=10) as store:
        with pytest.raises(QuotaExceeded) as refused:
            await say(store)
        assert refused.value.quota == "bytes"


async def test_messages_that_were_committed_count_as_those_that_wait(backend: Backend) -> None:
    async with backend.connect(messages_per_context_max=2) as store:
        book = Playbook()
        await create(store, book.log[0])
        owned = await own(store)
        book.given(say_event(), STARTED, replied())
        await store.ownership.commit(next_commit(book, owned, base=1))
        with pytest.raises(QuotaExceeded) as refused:
            await say(store)
        assert (refused.value.quota, refused.value.used) == ("messages", 2)


async def test_a_copy_may_have_as_much_as_a_context_may_and_no_more(backend: Backend) -> None:
    book = Playbook().given(say_event(), STARTED, replied())
    log = [event.model_dump_json().encode() for event in book.log]
    edges = {"messages": len(book.state.messages), "bytes": sum(map(len, log))}
    for quota, most in edges.items():
        async with backend.connect(**{f"{quota}_per_context_max": most - 1}) as store:
            with pytest.raises(QuotaExceeded) as refused:
                await _copy(store, book, log)
            assert (refused.value.quota, refused.value.used) == (quota, most)
    bounds = {f"{quota}_per_context_max": most for quota, most in edges.items()}
    async with backend.connect(**bounds) as store:
        await _copy(store, book, log)


async def _copy(store: Store, book: Playbook, log: Sequence[bytes]) -> None:
    await store.admissions.create(
        created(), first=None, key="", digest="", further=log[1:], state=book.state
    )


async def test_the_bytes_of_a_context_are_those_of_its_log(store: Store) -> None:
    await create(store)
    owned = await own(store)
    await rest(store, owned, base=1, seq=0)
    commit = await rest(store, owned, base=2, seq=0)
    log = await store.logs.events(CONTEXT_ID, after=0, until=9)
    assert await _bytes(store) == sum(map(len, log))
    await store.logs.compact(owned.token, commit.state, first=3)
    kept = await store.logs.events(CONTEXT_ID, after=0, until=9)
    base = commit.state.model_dump_json().encode()
    assert await _bytes(store) == len(base) + sum(map(len, kept))


async def _bytes(store: Store) -> int:
    return int(cast("bytes", await store.link.call("HGET", keys.meta(CONTEXT_ID), "bytes")))
