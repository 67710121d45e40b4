"""Commits: all that belongs to a step becomes visible together, or nothing does."""

from dataclasses import replace

import pytest

from fsm import ContextState
from storage import (
    CommitFrame,
    ContextMissing,
    Draft,
    Fenced,
    Result,
    Store,
    VersionConflict,
    keys,
)
from tests.storage.arranging import (
    APPLIED,
    append,
    create,
    deliver,
    kept,
    listening,
    logged,
    next_commit,
    own,
    ready,
)
from tests.support.playbook import (
    BEGAN_MS,
    CONTEXT_ID,
    STARTED,
    Playbook,
    rename,
    replied,
    say,
)

REFUSED = Result(
    outcome="refused",
    version=3,
    code="illegal-in-phase",
    detail="retry is not possible\nwhile idle ☕.",
    phase="idle",
    allowed_actions=("send_message",),
)


async def everything(store: Store) -> dict[str, object]:
    """All that is kept, to be compared."""
    found: dict[str, object] = {}
    reads = {
        "hash": ("HGETALL",),
        "string": ("GET",),
        "set": ("SMEMBERS",),
        "list": ("LRANGE", 0, -1),
        "zset": ("ZRANGE", 0, -1, "WITHSCORES"),
        "stream": ("XRANGE", "-", "+"),
    }
    for key in await kept(store):
        kind = await store.link.call("TYPE", key)
        assert isinstance(kind, bytes)
        command, *rest = reads[kind.decode()]
        found[key] = await store.link.call(command, key, *rest)
    return found


async def test_a_commit_is_one_step_that_everybody_sees(store: Store) -> None:
    book = Playbook()
    await create(store, book.log[0])
    owned = await own(store)
    for text in ("a", "b", "c"):
        await deliver(store, text)
    book.given(say("a"), STARTED)
    async with listening(store) as ear:
        commit = next_commit(
            book,
            owned,
            base=1,
            acknowledged=2,
            results={1: APPLIED, 2: REFUSED},
            draft=Draft("start", 3, 'H"\n'),
        )
        await store.ownership.commit(commit)
        (frame,) = await ear.frames(1)
    assert list(await store.logs.events(CONTEXT_ID, after=0, until=9)) == logged(book)
    assert [item.seq for item in await store.undelivered(CONTEXT_ID)] == [3]
    assert await ready(store) == [CONTEXT_ID]
    reading = await store.read(CONTEXT_ID, "ada", seq=2)
    assert (reading.version, reading.n, reading.result) == (3, 3, REFUSED)
    assert frame == CommitFrame(
        epoch=store.epoch,
        base=1,
        events=logged(book)[1:],
        n=3,
        draft='H"\n',
        rests=False,
        phase="streaming_llm_response",
        results={1: APPLIED, 2: REFUSED},
    )


async def test_the_last_acknowledgement_ends_being_ready(store: Store) -> None:
    await create(store)
    owned = await own(store)
    await deliver(store)
    await store.ownership.commit(next_commit(Playbook(), owned, base=1, acknowledged=1))
    assert await ready(store) == []
    assert not any(key.endswith(":mail") for key in await kept(store))
    assert await deliver(store) == 2
    assert await ready(store) == [CONTEXT_ID]


async def test_a_commit_without_events_tells_what_was_refused(store: Store) -> None:
    book = Playbook()
    await create(store, book.log[0])
    owned = await own(store)
    await deliver(store)
    async with listening(store) as ear:
        commit = next_commit(book, owned, base=1, acknowledged=1, results={1: REFUSED})
        await store.ownership.commit(commit)
        await store.ownership.commit(commit)
        frame, again = await ear.frames(2)
    assert isinstance(frame, CommitFrame)
    assert (frame.base, frame.events, frame.rests) == (1, [], True)
    assert frame.results == {1: REFUSED}
    assert again == frame
    assert (await store.read(CONTEXT_ID, "ada")).version == 1
    ((_, summary),) = await store.contexts("ada", limit=1, after=None)
    assert summary is not None
    assert summary.version == 1


async def test_a_repeated_commit_changes_nothing_more(store: Store) -> None:
    book = Playbook()
    await create(store, book.log[0])
    owned = await own(store)
    await deliver(store)
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
    async with listening(store) as ear:
        await store.ownership.commit(commit)
        await append(store, owned, 1, "b", version=3)
        before = await everything(store)
        await store.ownership.commit(commit)
        assert await everything(store) == before
        await append(store, owned, 2, "c", version=3)
        frames = await ear.frames(3)
    assert [type(frame).__name__ for frame in frames] == [
        "CommitFrame",
        "DraftFrame",
        "DraftFrame",
    ]


async def test_the_commit_of_an_owner_that_was_changes_nothing(store: Store) -> None:
    book = Playbook()
    await create(store, book.log[0])
    owned = await own(store)
    await deliver(store)
    await store.ownership.activate(CONTEXT_ID, "w1")
    before = await everything(store)
    commit = next_commit(
        book.given(say()), owned, base=1, acknowledged=1, results={1: APPLIED}, snapshot=True
    )
    with pytest.raises(Fenced):
        await store.ownership.commit(commit)
    assert await everything(store) == before


@pytest.mark.parametrize("base", [0, 1, 3, 7])
async def test_a_commit_on_another_version_changes_nothing(store: Store, base: int) -> None:
    book = Playbook()
    await create(store, book.log[0])
    owned = await own(store)
    await store.ownership.commit(next_commit(book.given(say()), owned, base=1))
    await deliver(store)
    before = await everything(store)
    wrong = next_commit(
        book.given(STARTED, replied("a"), say()),
        owned,
        base=base,
        acknowledged=1,
        draft=Draft("clear"),
        snapshot=True,
    )
    with pytest.raises(VersionConflict) as caught:
        await store.ownership.commit(wrong)
    assert (caught.value.expected, caught.value.found) == (base, 2)
    assert await everything(store) == before


async def test_a_commit_that_comes_late_once_more_changes_nothing(store: Store) -> None:
    book = Playbook()
    await create(store, book.log[0])
    owned = await own(store)
    late = next_commit(book.given(say()), owned, base=1, snapshot=True)
    await store.ownership.commit(late)
    await store.ownership.commit(next_commit(book.given(STARTED, replied("Hi")), owned, base=2))
    before = await everything(store)
    with pytest.raises(VersionConflict):
        await store.ownership.commit(late)
    assert await everything(store) == before


async def test_nothing_is_committed_to_a_context_that_is_not_there(store: Store) -> None:
    book = Playbook()
    await create(store, book.log[0])
    owned = await own(store)
    await store.link.call("FLUSHALL")
    with pytest.raises(ContextMissing):
        await store.ownership.commit(
            next_commit(book.given(say()), owned, base=1, snapshot=True)
        )
    assert await kept(store) == set()


async def test_a_draft_is_begun_kept_and_cleared(store: Store) -> None:
    book = Playbook()
    await create(store, book.log[0])
    owned = await own(store)
    book.given(say(), STARTED)
    await store.ownership.commit(
        next_commit(book, owned, base=1, draft=Draft("start", 2, "é☕"))
    )
    seen = [await draft_of(store)]
    book.given(say("queued"))
    await store.ownership.commit(next_commit(book, owned, base=3, draft=Draft("keep", 2)))
    seen.append(await draft_of(store))
    book.given(replied("Hi"))
    await store.ownership.commit(next_commit(book, owned, base=4, draft=Draft("clear")))
    seen.append(await draft_of(store))
    assert await store.link.call("EXISTS", *keys.of_context(CONTEXT_ID, "draft")) == 0
    book.given(STARTED)
    await store.ownership.commit(next_commit(book, owned, base=5, draft=Draft("start", 0, "")))
    seen.append(await draft_of(store))
    assert await append(store, owned, 0, "new", version=6) == b"appended"
    seen.append(await draft_of(store))
    assert seen == [(2, "é☕"), (2, "é☕"), (0, ""), (0, ""), (3, "new")]


async def draft_of(store: Store) -> tuple[int, str]:
    view = (await store.read(CONTEXT_ID, "ada")).view
    assert view is not None
    return view.n, view.draft


async def test_snapshots_grow_by_the_new_messages_and_equal_the_state(store: Store) -> None:
    book, saved = Playbook(), 0
    await create(store, book.log[0])
    owned = await own(store)
    for n in range(4):
        base = book.state.version
        book.given(say(f"question {n}"), STARTED, replied(f"answer {n}"))
        commit = next_commit(book, owned, base=base, snapshot=True, messages_saved=saved)
        await store.ownership.commit(commit)
        saved = len(book.state.messages)
        assert await snapshot_of(store) == book.state
    assert saved == 8
    # A snapshot that was taken over counts again from what the store holds.
    owned = await store.ownership.activate(CONTEXT_ID, "w1")
    assert (owned.messages_saved, owned.snapshot_version) == (8, book.state.version)
    book.given(say("once more"), STARTED, replied("yes"))
    base = owned.state.version
    await store.ownership.commit(
        next_commit(book, owned, base=base, snapshot=True, messages_saved=8)
    )
    assert await snapshot_of(store) == book.state


async def test_a_snapshot_replaces_messages_behind_those_it_builds_on(store: Store) -> None:
    book = Playbook()
    await create(store, book.log[0])
    owned = await own(store)
    book.given(say(), STARTED, replied("Hi"))
    await store.ownership.commit(next_commit(book, owned, base=1, snapshot=True))
    base = book.state.version
    book.given(say("More"))
    await store.ownership.commit(
        next_commit(book, owned, base=base, snapshot=True, messages_saved=1)
    )
    assert await snapshot_of(store) == book.state


async def snapshot_of(store: Store) -> ContextState:
    """The state that the snapshot alone holds, each of its messages once."""
    (snap,) = keys.of_context(CONTEXT_ID, "snap")
    version = await store.link.call("HGET", snap, "version")
    assert isinstance(version, bytes)
    head = await store.link.call("HGET", snap, "head")
    assert isinstance(head, bytes)
    assert ContextState.model_validate_json(head).messages == ()
    reading = await store.read(CONTEXT_ID, "ada")
    assert reading.events == []
    assert reading.view is not None
    assert reading.view.state.version == int(version)
    return reading.view.state


async def test_a_context_is_claimed_when_the_time_comes_that_its_last_commit_gave(
    store: Store,
) -> None:
    book = Playbook()
    await create(store, book.log[0])
    owned = await own(store)
    due_ms = BEGAN_MS + 5_000
    for wake_ms in (due_ms - 1, due_ms, -1):  # -1: as before
        base = book.state.version
        commit = next_commit(book.given(rename(f"Title {base}")), owned, base=base)
        await store.ownership.commit(replace(commit, wake_ms=wake_ms))
    assert await store.ownership.claim(now_ms=due_ms - 1, overdue_ms=1_000) == []
    assert await store.ownership.claim(now_ms=due_ms, overdue_ms=1_000) == [CONTEXT_ID]
    last = next_commit(book.given(rename("Last")), owned, base=4)
    await store.ownership.commit(replace(last, wake_ms=None))
    assert await store.ownership.claim(now_ms=due_ms + 9_000, overdue_ms=1_000) == []
