"""Snapshots, in the store and as files: faster ways to the state that the log says."""

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Final

import pytest

from fsm import Event
from storage import Draft
from tests.storage.arranging import create, die, live, next_commit
from tests.storage.conftest import Backend
from tests.storage.saving import ODD, Kept, folder_of, left_in, opened, play
from tests.support.playbook import (
    CONTEXT_ID,
    DELETE,
    PAUSE,
    RESUME,
    STARTED,
    Playbook,
    configure,
    rename,
    replied,
    returned,
    say,
    wants,
)

HISTORIES: Final[dict[str, list[Event]]] = {
    "fresh": [],
    "one turn": [say(), STARTED, replied("Hi")],
    "in a reply": [say(), STARTED],
    "tools": [
        configure(tool_policy={"mode": "auto"}),
        say(),
        STARTED,
        replied("Let me see.", wants("c1"), wants("c2", name="calculator")),
        returned("noon"),
        returned("42"),
        replied("It is noon."),
    ],
    "waiting": [say(), say("again"), PAUSE, say("more"), RESUME],
    "odd values": [ODD, rename("NUL \0 ☕"), STARTED, replied("\0"), configure(role="\u2028")],
}


@pytest.fixture(params=["store", "json"])
def mode(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"json:{tmp_path}/snapshots" if request.param == "json" else "store"


@pytest.fixture
async def kept(backend: Backend, mode: str) -> AsyncGenerator[Kept, None]:
    async with opened(backend, mode) as kept:
        yield kept


@pytest.mark.parametrize("every", [1, 2, 3])
@pytest.mark.parametrize("history", HISTORIES)
async def test_the_state_that_is_loaded_is_the_one_that_the_log_says(
    backend: Backend, mode: str, history: str, every: int
) -> None:
    book = Playbook()
    async with opened(backend, mode) as kept:
        await create(kept.store, book.log[0])
        for event in HISTORIES[history]:
            owned = await kept.store.ownership.activate(CONTEXT_ID, "w1")
            assert owned.state == book.state
            due = (book.state.version + 1) % every == 0
            await play(kept.store, owned, book, event, snapshot=due)
            await kept.writes()
    async with opened(backend, mode) as kept:
        owned = await kept.store.ownership.activate(CONTEXT_ID, "w1")
    assert owned.state == book.state
    assert owned.state.model_dump_json() == book.state.model_dump_json()
    saved = [v for v in range(2, book.state.version + 1) if v % every == 0]
    assert owned.snapshot_version == max(saved, default=0)


async def test_clean_contexts_are_not_written(kept: Kept) -> None:
    book = Playbook()
    await create(kept.store, book.log[0])
    owned = await kept.store.ownership.activate(CONTEXT_ID, "w1")
    await play(kept.store, owned, book, say(), snapshot=False)
    await kept.store.ownership.commit(next_commit(book, owned, base=2, acknowledged=1))
    assert await kept.writes() == 0
    await play(kept.store, owned, book, STARTED, replied("Hi"))
    assert await kept.writes() == 1
    for n in range(3):
        owned = await kept.store.ownership.activate(CONTEXT_ID, "w1")
        await kept.store.ownership.passivate(
            CONTEXT_ID, owned.token, "w1", version=owned.state.version
        )
        assert (await kept.writes(), owned.token.endswith(f".{n + 2}")) == (1, True)


async def test_a_reply_of_many_frames_is_one_write(kept: Kept) -> None:
    book = Playbook()
    await create(kept.store, book.log[0])
    owned = await kept.store.ownership.activate(CONTEXT_ID, "w1")
    await play(kept.store, owned, book, say(), snapshot=False)
    book.given(STARTED)
    await kept.store.ownership.commit(next_commit(book, owned, base=2, draft=Draft("start")))
    for n in range(50):
        answer = kept.store.ownership.append_draft(
            CONTEXT_ID, owned.token, began=3, version=3, n_before=n, message_id="m", text="a"
        )
        assert await answer == b"appended"
    await play(kept.store, owned, book, replied("a" * 50))
    assert await kept.writes() == 1


async def test_a_commit_that_is_refused_writes_no_snapshot(kept: Kept) -> None:
    book = Playbook()
    await create(kept.store, book.log[0])
    owned = await kept.store.ownership.activate(CONTEXT_ID, "w1")
    await kept.store.ownership.activate(CONTEXT_ID, "w1")
    with pytest.raises(Exception, match=CONTEXT_ID):
        await play(kept.store, owned, book, say())
    assert await kept.writes() == 0


async def test_a_deleted_context_leaves_no_snapshot(backend: Backend, mode: str) -> None:
    book = Playbook()
    async with opened(backend, mode) as kept:
        await create(kept.store, book.log[0])
        owned = await kept.store.ownership.activate(CONTEXT_ID, "w1")
        for event in (say(), say("more"), STARTED):
            await play(kept.store, owned, book, event)
        base = book.state.version
        commit = next_commit(book.given(DELETE), owned, base=base)
        await kept.store.ownership.delete(commit, "w1")
    if mode != "store":
        assert left_in(folder_of(mode)) == []


async def test_a_takeover_loads_what_another_process_has_saved(
    backend: Backend, mode: str
) -> None:
    book = Playbook()
    async with opened(backend, mode) as one, opened(backend, mode) as other:
        await create(one.store, book.log[0])
        owned = await one.store.ownership.activate(CONTEXT_ID, "w1")
        await play(one.store, owned, book, say(), STARTED)
        await one.writes()
        await play(one.store, owned, book, replied("Hi"), snapshot=False)
        await die(one.store, "w1")
        await live(other.store, "w2")
        taken = await other.store.ownership.activate(CONTEXT_ID, "w2")
    assert (taken.state, taken.snapshot_version) == (book.state, 3)


async def test_the_mode_can_be_changed_between_two_lives(
    backend: Backend, tmp_path: Path
) -> None:
    book = Playbook()
    modes = ["store", f"json:{tmp_path}", "store", f"json:{tmp_path}"]
    for life, mode in enumerate(modes):
        async with opened(backend, mode) as kept:
            if life == 0:
                await create(kept.store, book.log[0])
            owned = await kept.store.ownership.activate(CONTEXT_ID, "w1")
            assert owned.state == book.state
            await play(kept.store, owned, book, rename(f"life {life}"), say(f"{life}"))
            await kept.writes()
