"""What nobody can open is deleted if that is asked for, and left alone else."""

import pytest
from structlog.testing import capture_logs

from fsm import Event
from storage import Result, keys
from tests.support.clock import in_virtual_time, until
from tests.support.memory_store import MemoryStore
from tests.support.playbook import CONTEXT_ID, DELETE, rename, say
from tests.workers.hosting import hosting, open_world
from tests.workers.stage import Stage

VERSION = 3


async def spoil(world: Stage[MemoryStore]) -> None:
    """The context is at VERSION, and its contents are changed in the store."""
    await world.deliver_all(rename("one"), rename("two"))
    await world.pass_through()
    await world.die()
    snapshot, log = keys.of_context(CONTEXT_ID, "snap", "log")
    await world.store.link.call("DEL", log, snapshot)
    for version in range(1, VERSION + 1):
        await world.store.link.call("XADD", log, f"{version}-0", "e", "changed")


@pytest.mark.parametrize("if_version", [None, VERSION])
@in_virtual_time
async def test_it_is_deleted_at_its_version_by_the_mail_that_asks_for_that(
    if_version: int | None,
) -> None:
    async with open_world() as world:
        await spoil(world)
        await world.deliver(say())
        asked = await world.deliver(DELETE, if_version=if_version)
        async with hosting(world.store, "w2") as one:
            one.jobs.waiting.put_nowait(CONTEXT_ID)
            await until(lambda: one.jobs.finished)
            assert one.jobs.failed == []
        commit = world.store.commits[-1]
        assert (commit.base, commit.acknowledged) == (VERSION, asked)
        assert commit.results == {asked: Result(outcome="applied", version=VERSION + 1)}
        assert await world.store.link.call("KEYS", f"ctx:{{{CONTEXT_ID}}}:*") == []


@pytest.mark.parametrize(
    ("action", "if_version"), [(say(), None), (rename("three"), VERSION), (DELETE, VERSION - 1)]
)
@in_virtual_time
async def test_it_stays_where_nobody_asks_for_the_deletion_of_just_this(
    action: Event, if_version: int | None
) -> None:
    async with open_world() as world:
        await spoil(world)
        seq = await world.deliver(action, if_version=if_version)
        commits = len(world.store.commits)
        async with hosting(world.store, "w2") as one:
            with capture_logs() as logs:
                one.jobs.waiting.put_nowait(CONTEXT_ID)
                await until(lambda: one.jobs.failed)
        assert "activation crashed" in [line["event"] for line in logs]
        assert await world.waiting_mail() == [seq]
        assert len(world.store.commits) == commits
