"""How an activation takes mail, in order and once, and what becomes of what it refuses."""

import asyncio

import pytest

from storage import VersionConflict, keys
from tests.support.clock import in_virtual_time, settled, until
from tests.support.playbook import (
    CONTEXT_ID,
    DELETE,
    RETRY,
    rename,
    say,
)
from tests.workers.stage import Reply, open_stage


@in_virtual_time
async def test_a_hole_in_the_mail_is_read_up_in_order() -> None:
    async with open_stage(rename("one")) as stage:
        async with stage.running() as run:
            await until(lambda: stage.store.commits)
            stage.deaf = True
            await stage.deliver(rename("two"))
            await settled()
            stage.deaf = False
            await stage.deliver(rename("three"))
            await settled()
            assert stage.store.steps.count("undelivered") == 1
            await run.ended()
        assert await stage.titles() == ["one", "two", "three"]


@in_virtual_time
async def test_mail_that_comes_twice_is_applied_once() -> None:
    async with open_stage(rename("one"), rename("two")) as stage:
        waiting = await stage.store.undelivered(CONTEXT_ID)
        async with stage.running() as run:
            for item in (*waiting, *waiting):
                run.activation.deliver(item)
            await until(lambda: stage.store.commits)
            run.activation.deliver(waiting[1])
            await run.ended()
        assert await stage.titles() == ["one", "two"]


@in_virtual_time
async def test_mail_that_is_pushed_while_the_mailbox_is_read_is_kept() -> None:
    async with open_stage(rename("one")) as stage, stage.running() as run:
        await until(lambda: stage.store.commits)
        read = stage.store.hold_answer("undelivered")
        run.activation.check_mail()
        await read.reached.wait()
        await stage.deliver(rename("two"))
        await settled()
        read.opened.set()
        await settled()
        assert await stage.titles() == ["one", "two"]
        await run.ended()


@in_virtual_time
async def test_answers_that_came_before_the_mailbox_was_read_are_applied_before_its_mail() -> (
    None
):
    async with open_stage(say()) as stage, stage.running() as run:
        stage.performer.usual = Reply(pause_s=1)
        await stage.until_phase("awaiting_llm_response")
        stage.deaf = True
        await stage.deliver(rename("later"))
        read = stage.store.hold_answer("undelivered")
        run.activation.check_mail()
        await read.reached.wait()
        await asyncio.sleep(2)
        read.opened.set()
        await run.ended()
        assert await stage.kinds() == [
            *("context-created", "message-received"),
            *("reply-started", "reply-ended", "context-renamed"),
        ]


@in_virtual_time
async def test_mail_behind_the_deletion_of_its_context_is_not_answered() -> None:
    async with open_stage(DELETE, rename("late")) as stage:
        assert await stage.pass_through() == "deleted"
        (commit,) = stage.store.commits
        assert (commit.acknowledged, [*commit.results]) == (1, [1])


@in_virtual_time
async def test_the_first_mail_of_an_activation_without_any_is_not_taken_for_the_oldest() -> (
    None
):
    async with open_stage(rename("zero")) as stage:
        await stage.pass_through()
        async with stage.running() as run:
            stage.deaf = True
            await stage.deliver(rename("one"))
            await settled()
            stage.deaf = False
            await stage.deliver(rename("two"))
            await run.ended()
        assert await stage.titles() == ["zero", "one", "two"]


@in_virtual_time
async def test_late_copies_of_mail_that_was_done_with_before_are_dropped() -> None:
    async with open_stage(rename("one")) as stage:
        (old,) = await stage.store.undelivered(CONTEXT_ID)
        await stage.pass_through()
        async with stage.running() as run:
            run.activation.deliver(old)
            assert await run.ended() == "idle"
        assert await stage.titles() == ["one"]


@in_virtual_time
async def test_a_full_inbox_drops_nothing_for_good() -> None:
    async with open_stage(rename("zero"), inbox_max=2) as stage:
        commit = stage.store.hold("commit")
        async with stage.running() as run:
            await commit.reached.wait()
            await stage.deliver_all(*(rename(f"{n}") for n in range(6)))
            await settled()
            assert ", 2 waiting" in repr(run.activation)
            commit.opened.set()
            await settled()
            assert await stage.titles() == ["zero", *"012345"]
            assert not run.task.done()


@in_virtual_time
async def test_the_mailbox_is_read_again_while_the_store_does_not_answer() -> None:
    async with open_stage(rename("one")) as stage, stage.running() as run:
        await until(lambda: stage.store.commits)
        stage.deaf = True
        await stage.deliver(rename("two"))
        stage.store.fail("undelivered", "lost", "unanswered")
        run.activation.check_mail()
        await settled()
        assert await stage.titles() == ["one"]
        await asyncio.sleep(0.3)
        assert await stage.titles() == ["one", "two"]
        await run.ended()


@in_virtual_time
async def test_an_activation_whose_mailbox_was_set_back_ends_and_is_loaded_anew() -> None:
    async with open_stage(rename("one"), rename("two")) as stage:
        waiting = await stage.store.undelivered(CONTEXT_ID)
        async with stage.running() as run:
            await until(lambda: stage.store.commits)
            (mail,) = keys.of_context(CONTEXT_ID, "mail")
            await stage.store.link.call(
                "XADD", mail, "2-0", "m", waiting[1].mail.model_dump_json()
            )
            run.activation.check_mail()
            with pytest.RaisesGroup(VersionConflict):
                await run.ended()


# Actions that are refused


@in_virtual_time
async def test_an_action_for_another_version_is_refused_and_changes_nothing() -> None:
    async with open_stage(rename("one")) as stage:
        stale = await stage.deliver(rename("two"), if_version=1)
        exact = await stage.deliver(rename("three"), if_version=2)
        await stage.pass_through()
        assert await stage.titles() == ["one", "three"]
        refused = await stage.result(stale)
        assert refused is not None
        assert (refused.outcome, refused.code, refused.version) == (
            *("refused", "version-mismatch", 2),
        )
        assert refused.detail == "The context is at version 2."
        applied = await stage.result(exact)
        assert applied is not None
        assert (applied.outcome, applied.version) == ("applied", 3)


@in_virtual_time
async def test_a_refusal_is_acknowledged_and_writes_no_version_and_no_snapshot() -> None:
    async with open_stage(RETRY) as stage:
        assert await stage.pass_through() == "idle"
        refused = await stage.result(1)
        assert refused is not None
        assert (refused.outcome, refused.code, refused.phase, refused.version) == (
            *("refused", "illegal-in-phase", "idle", 1),
        )
        assert "send_message" in refused.allowed_actions
        assert await stage.waiting_mail() == []
        assert await stage.kinds() == ["context-created"]
        assert await stage.snapshot_writes() == 0


@in_virtual_time
async def test_asking_for_what_is_so_already_is_applied_and_changes_nothing() -> None:
    async with open_stage(rename("one"), rename("one")) as stage:
        await stage.pass_through()
        results = [await stage.result(seq) for seq in (1, 2)]
        assert [result.version for result in results if result] == [2, 2]
        assert await stage.titles() == ["one"]
