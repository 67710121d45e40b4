"""Chores that a host does beside its contexts."""

import asyncio

import pytest
from structlog.testing import capture_logs

from storage import StoreUnavailable
from tests.support.clock import in_virtual_time, until
from tests.support.playbook import CONTEXT_ID, say
from tests.workers.hosting import hosting, note_counts, open_world
from tests.workers.stage import nth_id
from workers.dequeue import Chore


@in_virtual_time
async def test_chores_work_beside_turns_and_no_more_at_once_than_there_are_places() -> None:
    async with (
        open_world(CONTEXT_ID) as world,
        hosting(world.store, chores_max=2, linger_s=0) as hosted,
    ):
        chores = [Chore("webhooks", nth_id(number)) for number in range(5)]
        for chore in [*chores, chores[0]]:
            hosted.jobs.waiting.put_nowait(chore)
        await until(lambda: hosted.chores.working == 2)
        await world.deliver(say())
        hosted.jobs.waiting.put_nowait(CONTEXT_ID)
        await until(lambda: hosted.jobs.finished == [(CONTEXT_ID, False)])
        assert (await world.state()).messages[-1].content == "Hi."
        assert (hosted.chores.working, hosted.jobs.ended) == (2, [])
        hosted.chores.let_go.set()
        await until(lambda: len(hosted.jobs.ended) == 5)
        assert sorted(hosted.jobs.ended, key=str) == [(chore, None) for chore in chores]


@in_virtual_time
@pytest.mark.parametrize("broken", [RuntimeError("a bug"), StoreUnavailable("away")])
async def test_a_chore_that_breaks_fails_alone(
    broken: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_world(CONTEXT_ID) as world, hosting(world.store) as hosted:
        counted = note_counts(world.store, monkeypatch)
        hosted.chores.breaks = broken
        hosted.jobs.waiting.put_nowait(Chore("retention", ""))
        with capture_logs() as logs:
            await until(lambda: bool(hosted.jobs.ended))
        error = f"{type(broken).__name__}: {broken}"
        assert hosted.jobs.ended == [(Chore("retention", ""), error)]
        assert [line["event"] for line in logs if line["log_level"] == "error"] == [
            "chore failed"
        ]
        assert counted.count("errors:chore-failed") == 1
        await world.deliver(say())
        hosted.jobs.waiting.put_nowait(CONTEXT_ID)
        await until(lambda: len(hosted.performer.performed) == 1)


@in_virtual_time
async def test_a_draining_host_leaves_its_chores_to_others() -> None:
    async with open_world() as world, hosting(world.store) as hosted:
        hosted.jobs.waiting.put_nowait(Chore("retention", ""))
        await until(lambda: hosted.chores.working == 1)
        beats = hosted.chores.beats
        hosted.stop.set()
        await asyncio.wait((hosted.task,))
        assert hosted.jobs.ended == [(Chore("retention", ""), None)]
        assert hosted.chores.beats == beats


@in_virtual_time
async def test_chores_are_asked_for_again_and_again_also_while_the_store_is_away() -> None:
    async with open_world() as world, hosting(world.store, worker_heartbeat_s=1.0) as hosted:
        await until(lambda: hosted.chores.beats == 2)
        hosted.chores.away = True
        with capture_logs() as logs:
            await until(lambda: hosted.chores.beats == 4)
        assert "chores wait" in [line["event"] for line in logs]
        assert not hosted.outcome


@in_virtual_time
async def test_a_chore_that_comes_again_while_its_job_is_ended_is_done_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chore = Chore("retention", "")
    async with open_world() as world, hosting(world.store) as hosted:
        reached, opened = asyncio.Event(), asyncio.Event()
        end_chore = hosted.jobs.end_chore

        async def held(chore: Chore, error: str | None) -> None:
            reached.set()
            await opened.wait()
            await end_chore(chore, error)

        monkeypatch.setattr(hosted.jobs, "end_chore", held)
        hosted.chores.let_go.set()
        hosted.jobs.waiting.put_nowait(chore)
        await reached.wait()
        hosted.jobs.waiting.put_nowait(chore)
        await until(hosted.jobs.waiting.empty)
        opened.set()
        await until(lambda: len(hosted.jobs.ended) == 2)
