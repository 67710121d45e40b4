"""A process dies at any step of writing a snapshot: the next one loads a whole generation.

Each step of the file system is made once to die before and once after it. What dies is not
cleaned up behind: the error is none that anybody handles.
"""

import asyncio
import io
import os
import pathlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from fsm import ContextState
from storage import StoreUnavailable
from storage.sealing import Sealer
from storage.snapshots import LEFT_S, JsonSnapshots
from tests.support.playbook import CONTEXT_ID, Playbook, say

EPOCH = "1"
STEPS_MIN = 6
"""Open, write, fsync of the file, two renames, fsync of the folder."""


class Died(BaseException):
    """Nothing of the process runs any more."""


Call = Callable[..., Any]


class Steps:
    """Counts the steps that a process takes in the file system, and ends it at one."""

    def __init__(self, patch: pytest.MonkeyPatch, *, die_before: int, die_after: int) -> None:
        self.taken: list[str] = []
        self._die_before, self._die_after = die_before, die_after
        for owner, name in (
            (pathlib.Path, "open"),
            (pathlib.Path, "mkdir"),
            (pathlib.Path, "replace"),
            (pathlib.Path, "unlink"),
            (os, "fsync"),
            (os, "open"),
        ):
            patch.setattr(owner, name, self._counted(getattr(owner, name), name))

    def _counted(self, call: Call, name: str) -> Call:
        def step(*args: Any, **kwargs: Any) -> Any:
            self.taken.append(name)
            number = len(self.taken)
            if number == self._die_before:
                raise Died
            done = call(*args, **kwargs)
            if number == self._die_after:
                close(done)
                raise Died
            return done

        return step


def close(opened: object) -> None:
    """What the kernel does with the files of a process that dies."""
    if isinstance(opened, io.IOBase):
        opened.close()
    elif isinstance(opened, int):
        os.close(opened)


def generations() -> list[ContextState]:
    """Three states of one context."""
    book = Playbook()
    first = book.state
    second = Playbook.at(book).given(say("one")).state
    return [first, second, second.model_copy(update={"version": second.version + 1})]


def save_and_die(
    files: JsonSnapshots, state: ContextState, *, die_before: int = 0, die_after: int = 0
) -> list[str]:
    """Save, dying on the way; the steps that were begun."""
    with pytest.MonkeyPatch.context() as patch:
        steps = Steps(patch, die_before=die_before, die_after=die_after)
        try:
            files.save(state, EPOCH)
        except Died:
            pass
        else:
            assert die_before == die_after == 0
        return steps.taken


def all_steps(folder: pathlib.Path) -> int:
    files = JsonSnapshots(folder, Sealer(None))
    first, second, third = generations()
    files.save(first, EPOCH)
    files.save(second, EPOCH)
    return len(save_and_die(files, third))


@pytest.mark.parametrize("before", [True, False])
def test_a_death_at_any_step_of_a_save_leaves_a_whole_generation(
    tmp_path: pathlib.Path, before: bool
) -> None:
    count = all_steps(tmp_path / "counted")
    assert count >= STEPS_MIN
    seen: set[int] = set()
    first, second, third = generations()
    for number in range(1, count + 1):
        files = JsonSnapshots(tmp_path / str(number), Sealer(None))
        files.save(first, EPOCH)
        files.save(second, EPOCH)
        if before:
            save_and_die(files, third, die_before=number)
        else:
            save_and_die(files, third, die_after=number)
        with capture_logs() as logs:
            loaded = JsonSnapshots(files.folder, Sealer(None)).load(CONTEXT_ID, EPOCH)
        assert loaded is not None
        assert loaded in (second, third), number
        assert logs == []
        seen.add(loaded.version)
        # The next process goes on as if nothing had been.
        later = JsonSnapshots(files.folder, Sealer(None))
        later.save(third, EPOCH)
        assert later.load(CONTEXT_ID, EPOCH) == third
    assert seen == {second.version, third.version}


def test_a_death_at_any_step_of_the_first_save_leaves_that_or_nothing(
    tmp_path: pathlib.Path,
) -> None:
    first, *_ = generations()
    count = len(save_and_die(JsonSnapshots(tmp_path / "counted", Sealer(None)), first))
    for number in range(1, count + 1):
        files = JsonSnapshots(tmp_path / str(number), Sealer(None))
        save_and_die(files, first, die_after=number)
        with capture_logs() as logs:
            assert JsonSnapshots(files.folder, Sealer(None)).load(CONTEXT_ID, EPOCH) in (
                None,
                first,
            )
        assert logs == []


def test_a_generation_that_a_power_cut_left_empty_is_said_aloud_and_the_one_before_used(
    tmp_path: pathlib.Path,
) -> None:
    """What a file system may do to a rename that was not synced."""
    files = JsonSnapshots(tmp_path, Sealer(None))
    first, second, _ = generations()
    files.save(first, EPOCH)
    files.save(second, EPOCH)
    files.path(CONTEXT_ID).write_bytes(b"")
    with capture_logs() as logs:
        assert files.load(CONTEXT_ID, EPOCH) == first
    assert [entry["log_level"] for entry in logs] == ["error"]


def test_a_file_is_synced_before_it_is_renamed_and_its_folder_after(
    tmp_path: pathlib.Path,
) -> None:
    files = JsonSnapshots(tmp_path, Sealer(None))
    first, second, _ = generations()
    files.save(first, EPOCH)
    taken = [step for step in save_and_die(files, second) if step in {"fsync", "replace"}]
    assert taken == ["fsync", "replace", "replace", "fsync"]


def test_what_a_dead_process_left_is_removed_and_what_a_living_one_writes_is_not(
    tmp_path: pathlib.Path,
) -> None:
    files = JsonSnapshots(tmp_path, Sealer(None))
    first, second, third = generations()
    files.save(first, EPOCH)
    dead = JsonSnapshots(tmp_path, Sealer(None))
    save_and_die(dead, second, die_after=2)
    (left,) = tmp_path.glob("??/*.new")
    os.utime(left, (0, left.stat().st_mtime - LEFT_S - 1))
    save_and_die(JsonSnapshots(tmp_path, Sealer(None)), third, die_after=2)
    written = set(tmp_path.glob("??/*.new")) - {left}
    files.remove_leftovers()
    assert set(tmp_path.glob("??/*")) == {files.path(CONTEXT_ID), *written}
    assert len(written) == 1


def test_what_was_left_of_a_context_goes_with_it(tmp_path: pathlib.Path) -> None:
    files = JsonSnapshots(tmp_path, Sealer(None))
    first, second, third = generations()
    other = first.model_copy(update={"id": "another"})
    files.save(other, EPOCH)
    files.save(first, EPOCH)
    files.save(second, EPOCH)
    save_and_die(JsonSnapshots(tmp_path, Sealer(None)), third, die_after=3)
    files.delete(CONTEXT_ID)
    assert list(tmp_path.glob("??/*")) == [files.path(other.id)]


def test_two_writers_of_one_context_do_not_meet_in_one_file(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that was taken over writes late; in containers both have the same process id."""
    late, newer = (JsonSnapshots(tmp_path, Sealer(None)) for _ in range(2))
    first, second, _ = generations()
    fsync = os.fsync

    def overtaken(file: int) -> None:
        monkeypatch.setattr(os, "fsync", fsync)
        newer.save(second, EPOCH)
        fsync(file)

    monkeypatch.setattr(os, "fsync", overtaken)
    late.save(first, EPOCH)
    assert newer.load(CONTEXT_ID, EPOCH) == second
    assert files_in(tmp_path) == {newer.path(CONTEXT_ID)}


async def test_a_death_before_anybody_looked_leaves_no_file_of_a_context_that_is_gone(
    tmp_path: pathlib.Path,
) -> None:
    files = JsonSnapshots(tmp_path, Sealer(None))
    gone, there, _ = generations()
    there = there.model_copy(update={"id": "another"})

    async def unheard(_: str) -> bool:
        raise StoreUnavailable("and here it dies")

    async def exists(context_id: str) -> bool:
        return context_id == there.id

    written = {files.path(state.id) for state in (gone, there)}
    async with asyncio.TaskGroup() as group:
        for state in (gone, there):
            files.save_later(state, EPOCH)
        dying = group.create_task(files.run(unheard))
        await asyncio.sleep(0)
        dying.cancel()
    unlooked = files_in(tmp_path) - written
    assert len(unlooked) == 2
    await look(tmp_path, exists, leaves={files.path(there.id), *unlooked})  # it might live
    for mark in unlooked:
        os.utime(mark, (0, 0))
    await look(tmp_path, exists, leaves={files.path(there.id)})


async def test_a_writer_that_looked_leaves_the_file_alone(tmp_path: pathlib.Path) -> None:
    files = JsonSnapshots(tmp_path, Sealer(None))
    state, _, _ = generations()

    async def exists(_: str) -> bool:
        return True

    files.save_later(state, EPOCH)
    await look(tmp_path, exists, leaves={files.path(state.id)}, files=files)


def test_a_generation_that_comes_late_does_not_take_the_place_of_a_newer_one(
    tmp_path: pathlib.Path,
) -> None:
    slow, quick = (JsonSnapshots(tmp_path, Sealer(None)) for _ in range(2))
    first, second, third = generations()
    quick.save(third, EPOCH)
    slow.save(first, EPOCH)
    slow.save(second, EPOCH)
    assert quick.load(CONTEXT_ID, EPOCH) == third
    slow.save(first, "2")  # the store has lost the others
    assert quick.load(CONTEXT_ID, "2") == first


def files_in(folder: pathlib.Path) -> set[pathlib.Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


async def look(
    folder: pathlib.Path,
    exists: Callable[[str], Awaitable[bool]],
    *,
    leaves: set[pathlib.Path],
    files: JsonSnapshots | None = None,
) -> None:
    """A process that writes these files runs until only these are left."""
    files = files or JsonSnapshots(folder, Sealer(None))
    async with asyncio.TaskGroup() as group, asyncio.timeout(10):
        running = group.create_task(files.run(exists))
        while files_in(folder) != leaves:  # noqa: ASYNC110 - files ring no bell
            await asyncio.sleep(0.002)
        running.cancel()
