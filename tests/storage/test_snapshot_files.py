"""Snapshots as files: damaged, misplaced, late, away; the log says more than they do."""

# pyright: reportPrivateUsage=false
# Some tests wait for what only the inside shows.

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Final

import pytest
from pydantic_core import from_json
from structlog.testing import capture_logs

from fsm import ContextState
from storage import StoreUnavailable, keys
from storage.sealing import Sealer
from storage.snapshots import JsonSnapshots
from tests.storage.arranging import create, die, live, next_commit
from tests.storage.conftest import Backend
from tests.storage.saving import (
    ODD,
    WRITTEN_S_MAX,
    Kept,
    folder_of,
    left_in,
    opened,
    play,
    settled,
)
from tests.support.playbook import CONTEXT_ID, DELETE, STARTED, Playbook, rename, replied, say

OTHER_ID: Final = "01932c5e-ffff-7c3b-9d2e-5f6071829300"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "snapshots"


@pytest.fixture
def files(folder: Path) -> JsonSnapshots:
    return JsonSnapshots(folder, Sealer(None))


@contextlib.asynccontextmanager
async def two_generations(
    backend: Backend, folder: Path
) -> AsyncGenerator[tuple[Kept, Playbook, JsonSnapshots], None]:
    """A context whose files hold versions 2 and 3, and whose log ends with 4."""
    book = Playbook()
    async with opened(backend, f"json:{folder}") as kept:
        await create(kept.store, book.log[0])
        owned = await kept.store.ownership.activate(CONTEXT_ID, "w1")
        for event in (say(), STARTED):
            await play(kept.store, owned, book, event)
            await kept.writes()
        await play(kept.store, owned, book, replied("Hi"), snapshot=False)
        files = kept.store.files
        assert files is not None
        yield kept, book, files


def become_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


Damage = Callable[[Path], object]


DAMAGES: Final[dict[str, Damage]] = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-20]),
    "zeros": lambda path: path.write_bytes(b"\0" * 4096),
    "no object": lambda path: path.write_bytes(b"[]"),
    "no fields": lambda path: path.write_bytes(b"{}"),
    "edited": lambda path: path.write_bytes(path.read_bytes().replace(b"Hello", b"Hullo")),
    "other format": lambda path: path.write_bytes(
        path.read_bytes().replace(b'"format": 1', b'"format": 2')
    ),
    "unreadable": become_folder,
}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_damaged_file_is_said_aloud_and_the_one_before_it_used(
    backend: Backend, folder: Path, damage: str
) -> None:
    async with two_generations(backend, folder) as (kept, book, files):
        newest = files.path(CONTEXT_ID)
        DAMAGES[damage](newest)
        with capture_logs() as logs:
            owned = await kept.store.ownership.activate(CONTEXT_ID, "w1")
        assert (owned.state, owned.snapshot_version) == (book.state, 2)
        (entry,) = logs
        assert entry["log_level"] == "error"
        assert entry["event"] == "snapshot damaged, using the one before it or the log"
        assert (entry["context_id"], entry["file"]) == (CONTEXT_ID, newest.name)
        DAMAGES[damage](newest.with_suffix(".previous"))
        with capture_logs() as logs:
            owned = await kept.store.ownership.activate(CONTEXT_ID, "w1")
        assert (owned.state, owned.snapshot_version) == (book.state, 0)
        assert [entry["log_level"] for entry in logs] == ["error"] * 2


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_makes_way_for_one_of_the_same_generation(
    files: JsonSnapshots, damage: str
) -> None:
    state = Playbook().given(say()).state
    files.save(state, "1")
    DAMAGES[damage](files.path(CONTEXT_ID))
    files.save(state, "1")
    with capture_logs() as logs:
        assert files.load(CONTEXT_ID, "1") == state
    assert logs == []


def test_what_cannot_be_removed_is_said_and_hinders_nobody(files: JsonSnapshots) -> None:
    files.save(Playbook().state, "1")
    become_folder(files.path(CONTEXT_ID))
    files._mark(OTHER_ID).mkdir(parents=True)
    with capture_logs() as logs:
        files.delete(CONTEXT_ID)
        files.remove_leftovers()
    said = [entry["event"] for entry in logs]
    assert said == ["snapshot not deleted", "leftovers not removed"]


async def test_the_file_of_another_context_is_not_taken_for_ones_own(
    files: JsonSnapshots,
) -> None:
    book = Playbook()
    files.save(book.state, "1")
    stray = files.path(OTHER_ID)
    misplace(files.path(CONTEXT_ID), stray)
    with capture_logs() as logs:
        assert files.load(OTHER_ID, "1") is None
    assert len(logs) == 1


async def test_a_crash_between_the_two_renames_loses_nothing(
    backend: Backend, folder: Path
) -> None:
    async with two_generations(backend, folder) as (kept, book, files):
        files.path(CONTEXT_ID).unlink()
        with capture_logs() as logs:
            owned = await kept.store.ownership.activate(CONTEXT_ID, "w1")
        assert (owned.state, owned.snapshot_version) == (book.state, 2)
        assert logs == []


async def test_a_file_that_is_newer_than_the_log_is_not_used(
    backend: Backend, folder: Path
) -> None:
    async with two_generations(backend, folder) as (kept, book, files):
        ahead = Playbook.at(book).given(say("lost"), STARTED, replied("lost"))
        files.save(ahead.state, kept.store.epoch)
        owned = await kept.store.ownership.activate(CONTEXT_ID, "w1")
        assert (owned.state, owned.snapshot_version) == (book.state, 0)


async def test_a_file_of_commits_that_the_store_may_have_lost_is_not_used(
    backend: Backend, folder: Path
) -> None:
    # The log went on from where it was cut: the file is not ahead of it, but beside it.
    async with two_generations(backend, folder) as (kept, book, files):
        beside = Playbook()
        for n in range(book.state.version - 1):
            beside.given(rename(f"lost {n}"))
        files.save(beside.state, str(int(kept.store.epoch) - 1))
        files.path(CONTEXT_ID).with_suffix(".previous").unlink()
        assert beside.state.version == book.state.version
        with capture_logs() as logs:
            owned = await kept.store.ownership.activate(CONTEXT_ID, "w1")
        assert (owned.state, owned.snapshot_version) == (book.state, 0)
        assert [entry["log_level"] for entry in logs] == ["info"]


async def test_a_file_that_was_read_before_a_new_epoch_began_is_not_used(
    backend: Backend, folder: Path
) -> None:
    async with two_generations(backend, folder) as (kept, book, files):
        beside = Playbook()
        for n in range(book.state.version - 1):
            beside.given(rename(f"lost {n}"))
        files.save(beside.state, kept.store.epoch)
        # As where the call has waited for the store to come up again.
        await kept.store.link.call("HINCRBY", keys.EPOCH, "n", 1)
        owned = await kept.store.ownership.activate(CONTEXT_ID, "w1")
        assert (owned.state, owned.snapshot_version) == (book.state, 0)


async def test_a_file_is_readable_json_and_keeps_the_generation_before(
    files: JsonSnapshots,
) -> None:
    first = Playbook().given(ODD)
    second = Playbook.at(first).given(STARTED)
    files.save(first.state, "7")
    files.save(second.state, "7")
    path = files.path(CONTEXT_ID)
    text = path.read_text()
    envelope = from_json(text)
    assert list(envelope) == [
        *("format", "context_id", "epoch", "generation", "checksum", "state")
    ]
    assert (envelope["context_id"], envelope["epoch"]) == (CONTEXT_ID, "7")
    assert envelope["generation"] == envelope["state"]["version"] == 3
    assert "\n" in text
    assert "☕" in text
    assert ContextState.model_validate(envelope["state"]) == second.state
    before = from_json(path.with_suffix(".previous").read_text())
    assert ContextState.model_validate(before["state"]) == first.state
    assert files.load(CONTEXT_ID, "7") == second.state


def misplace(path: Path, stray: Path) -> None:
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(path.read_bytes())


@pytest.mark.parametrize("context_id", ["../../etc/x", "/abs", "a\0b", "..", "", "a" * 9_000])
async def test_no_input_becomes_a_name(files: JsonSnapshots, context_id: str) -> None:
    state = Playbook().state.model_copy(update={"id": context_id})
    files.save(state, "1")
    (path,) = (path for path in files.folder.rglob("*") if path.is_file())
    assert path == files.path(context_id)
    assert path.parent.parent == files.folder
    assert set(path.stem + path.parent.name) <= set("0123456789abcdef")


async def test_a_folder_that_goes_away_costs_no_data_and_files_come_back(
    backend: Backend, folder: Path
) -> None:
    async with two_generations(backend, folder) as (kept, book, files):
        hide(folder)
        with capture_logs() as logs:
            owned = await kept.store.ownership.activate(CONTEXT_ID, "w1")
            assert owned.state == book.state
            await play(kept.store, owned, book, rename("one"))
            await settled(lambda: any(e["event"] == "snapshot not written" for e in logs))
        assert {entry["log_level"] for entry in logs} == {"error"}
        show(folder)
        owned = await kept.store.ownership.activate(CONTEXT_ID, "w1")
        assert owned.state == book.state
        await play(kept.store, owned, book, rename("two"))
        await kept.writes()
        owned = await kept.store.ownership.activate(CONTEXT_ID, "w1")
        assert (owned.state, owned.snapshot_version) == (book.state, book.state.version)
        await kept.store.ownership.delete(
            next_commit(book, owned, base=book.state.version), "w1"
        )
        assert not files.path(CONTEXT_ID).exists()


def hide(folder: Path) -> None:
    """Put a file in its place: nobody can write there, not even root."""
    folder.rename(folder.with_name("away"))
    folder.write_text("in the way")


def show(folder: Path) -> None:
    folder.unlink()


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes to read-only folders")
async def test_a_folder_that_cannot_be_written_costs_no_data(
    backend: Backend, folder: Path
) -> None:
    async with two_generations(backend, folder) as (kept, book, files):
        inner = files.path(CONTEXT_ID).parent
        inner.chmod(0o500)
        with capture_logs() as logs:
            owned = await kept.store.ownership.activate(CONTEXT_ID, "w1")
            await play(kept.store, owned, book, rename("one"))
            await settled(lambda: bool(logs))
        inner.chmod(0o700)
        await play(kept.store, owned, book, rename("two"))
        await kept.writes()
        owned = await kept.store.ownership.activate(CONTEXT_ID, "w1")
        assert (owned.state, owned.snapshot_version) == (book.state, book.state.version)


async def test_a_write_that_fails_leaves_the_newest_generation_and_no_rest(
    files: JsonSnapshots, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = Playbook()
    files.save(book.state, "1")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            files.save(Playbook.at(book).given(say()).state, "1")
    assert files.load(CONTEXT_ID, "1") == book.state
    assert [path for path in files.folder.rglob("*") if path.is_file()] == [
        files.path(CONTEXT_ID)
    ]


async def test_folders_that_are_not_shared_cost_a_replay_and_keep_what_was_deleted(
    backend: Backend, tmp_path: Path
) -> None:
    book, (here, there) = Playbook(), (f"json:{tmp_path}/{name}" for name in ("a", "b"))
    async with opened(backend, here) as one, opened(backend, there) as other:
        await create(one.store, book.log[0])
        owned = await one.store.ownership.activate(CONTEXT_ID, "w1")
        await play(one.store, owned, book, say(), STARTED)
        await one.writes()
        await die(one.store, "w1")
        await live(other.store, "w2")
        taken = await other.store.ownership.activate(CONTEXT_ID, "w2")
        assert (taken.state, taken.snapshot_version) == (book.state, 0)
        base = book.state.version
        await other.store.ownership.delete(
            next_commit(book.given(DELETE), taken, base=base), "w2"
        )
    assert (len(left_in(folder_of(here))), left_in(folder_of(there))) == (1, [])


@pytest.mark.parametrize("ends", [False, True])
async def test_a_snapshot_that_was_written_late_does_not_outlive_its_context(
    backend: Backend, folder: Path, ends: bool
) -> None:
    book, mode = Playbook(), f"json:{folder}"
    async with opened(backend, mode) as other, opened(backend, mode) as one:
        files = one.store.files
        assert files is not None
        await create(one.store, book.log[0])
        owned = await one.store.ownership.activate(CONTEXT_ID, "w1")
        with files._changing_files:  # as in a process that was stopped
            await play(one.store, owned, book, say(), STARTED)
            await die(one.store, "w1")
            await live(other.store, "w2")
            taken = await other.store.ownership.activate(CONTEXT_ID, "w2")
            base = book.state.version
            await other.store.ownership.delete(
                next_commit(book.given(DELETE), taken, base=base), "w2"
            )
        await settled(lambda: ends or (files.writes == 1 and not left_in(folder)))
    assert left_in(folder) == []


async def test_of_many_states_of_a_context_only_the_newest_is_written(
    files: JsonSnapshots,
) -> None:
    book = Playbook()
    for n in range(5):
        files.save_later(book.given(rename(f"{n}")).state, "1")
    files.save_later(other_state(), "1")
    async with asyncio.TaskGroup() as group:
        task = group.create_task(files.run(there))
        await settled(lambda: files.writes == 2)
        task.cancel()
    assert files.load(CONTEXT_ID, "1") == book.state


async def there(_: str) -> bool:
    return True


def other_state() -> ContextState:
    return Playbook().state.model_copy(update={"id": OTHER_ID})


async def test_what_is_due_is_written_before_the_end(files: JsonSnapshots) -> None:
    book = Playbook()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(files.run(there))
        await asyncio.sleep(0)
        files.save_later(book.state, "1")
        files.save_later(other_state(), "1")
        task.cancel()
    assert files.load(CONTEXT_ID, "1") == book.state
    assert files.load(OTHER_ID, "1") == other_state()


async def test_what_has_been_due_for_longest_is_written_first(
    files: JsonSnapshots, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[str] = []

    def save(_: JsonSnapshots, state: ContextState, epoch: str) -> None:
        saved.append(state.id)

    monkeypatch.setattr(JsonSnapshots, "save", save)
    for state in (Playbook().state, other_state(), Playbook().given(say()).state):
        files.save_later(state, "1")
    async with asyncio.TaskGroup() as group:
        saving = group.create_task(files.run(there))
        await asyncio.sleep(0)
        saving.cancel()
    assert saved == [CONTEXT_ID, OTHER_ID]


async def test_what_is_due_of_a_deleted_context_is_not_written(files: JsonSnapshots) -> None:
    files.save_later(Playbook().state, "1")
    files.delete(CONTEXT_ID)
    async with asyncio.TaskGroup() as group:
        saving = group.create_task(files.run(there))
        await asyncio.sleep(0)
        saving.cancel()  # which writes what is due
    assert not files.path(CONTEXT_ID).exists()


async def test_a_store_that_does_not_answer_for_one_file_is_not_asked_about_the_next(
    files: JsonSnapshots,
) -> None:
    asked: list[str] = []

    async def away(context_id: str) -> bool:
        asked.append(context_id)
        raise StoreUnavailable("it is away")

    files.save_later(Playbook().state, "1")
    files.save_later(other_state(), "1")
    async with asyncio.TaskGroup() as group:
        saving = group.create_task(files.run(away))
        await asyncio.sleep(0)
        saving.cancel()
    assert (files.writes, len(asked)) == (2, 1)


async def test_who_stops_while_a_file_is_deleted_waits_for_that(
    files: JsonSnapshots, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, goes_on, delete = threading.Event(), threading.Event(), JsonSnapshots.delete

    def delete_slowly(kept: JsonSnapshots, context_id: str) -> None:
        begun.set()
        assert goes_on.wait(WRITTEN_S_MAX)
        delete(kept, context_id)

    async def gone(_: str) -> bool:
        return False

    monkeypatch.setattr(JsonSnapshots, "delete", delete_slowly)
    files.save_later(Playbook().state, "1")
    async with asyncio.TaskGroup() as group:
        saving = group.create_task(files.run(gone))
        await settled(begun.is_set)
        saving.cancel()
        asyncio.get_running_loop().call_later(0.05, goes_on.set)
    assert left_in(files.folder) == []


async def test_what_is_due_does_not_come_back_after_a_delete(files: JsonSnapshots) -> None:
    files._changing_files.acquire()  # somebody is writing
    async with asyncio.TaskGroup() as group:
        saving = group.create_task(files.run(there))
        files.save_later(Playbook().state, "1")
        deleting = group.create_task(asyncio.to_thread(files.delete, CONTEXT_ID))
        await asyncio.sleep(0)
        files._changing_files.release()
        await deleting
        await settled(lambda: not files._due)
        saving.cancel()
    assert not files.path(CONTEXT_ID).exists()
