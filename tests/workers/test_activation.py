"""One activation over a store in memory, in virtual time."""

import asyncio
import gc
import weakref

import pytest

from fsm import CallModel, ContextRenamed, Phase, RetryDue
from storage import ContextMissing, Fenced, VersionConflict, keys
from tests.support.clock import in_virtual_time, now_s, settled, until
from tests.support.memory_store import Fault, MemoryStore
from tests.support.playbook import (
    CONTEXT_ID,
    DELETE,
    PAUSE,
    RETRY,
    TITLE,
    approve,
    cancel,
    rename,
    say,
    wants,
)
from tests.workers.stage import Bug, Reply, Stage, now_ms, open_stage, taken_over

# Transition, commit, perform


@in_virtual_time
async def test_an_activation_that_has_ended_is_freed_without_the_garbage_collector() -> None:
    async with open_stage(say()) as stage:
        gc.disable()
        try:
            async with stage.running() as run:
                activation = weakref.ref(run.activation)
                assert await run.ended() == "idle"
            del run
            stage.forget_runs()
            assert activation() is None
        finally:
            gc.enable()


@pytest.mark.parametrize("fails", [False, True])
@in_virtual_time
async def test_what_is_performed_for_a_context_is_forgotten_with_its_activation(
    *, fails: bool
) -> None:
    async with open_stage(say()) as stage:
        stage.performer.usual = Reply(bug=fails)
        async with stage.running() as run:
            await asyncio.wait((run.outcome,))
            assert stage.performer.forgotten == [CONTEXT_ID]
            assert (run.outcome.exception() is not None) == fails


@in_virtual_time
async def test_nothing_is_performed_before_its_state_is_committed() -> None:
    async with open_stage(say()) as stage:
        commit = stage.store.hold("commit")
        async with stage.running() as run:
            await commit.reached.wait()
            await settled()
            assert stage.performer.kinds == []
            assert await stage.kinds() == ["context-created"]
            commit.opened.set()
            assert await run.ended() == "idle"
        assert stage.performer.kinds == ["call-model"]
        assert await stage.said() == [
            ("user", "Hello", "complete"),
            ("assistant", "Hi.", "complete"),
        ]


@in_virtual_time
async def test_nothing_is_performed_for_a_commit_that_was_refused() -> None:
    async with open_stage(say()) as stage:
        commit = stage.store.hold("commit")
        async with stage.running() as run:
            await commit.reached.wait()
            await taken_over(stage)
            commit.opened.set()
            with pytest.RaisesGroup(Fenced):
                await run.ended()
        assert stage.performer.kinds == []
        assert await stage.kinds() == ["context-created"]
        assert await stage.waiting_mail() == [1]


@in_virtual_time
async def test_what_arrives_during_a_commit_is_committed_together_by_the_next() -> None:
    async with open_stage(rename("one")) as stage:
        commit = stage.store.hold("commit")
        async with stage.running() as run:
            await commit.reached.wait()
            seqs = await stage.deliver_all(rename("two"), say(), rename("three"), RETRY)
            await settled()
            commit.opened.set()
            await run.ended()
        first, second, *_ = stage.store.commits
        assert len(first.events) == 1
        assert (len(second.events), second.acknowledged) == (3, seqs[-1])
        assert [result.outcome for result in second.results.values()] == [
            *("applied", "applied", "applied", "refused")
        ]
        assert (await stage.state()).title == "three"


@in_virtual_time
async def test_a_commit_takes_no_more_events_than_it_may() -> None:
    async with open_stage(
        *(rename(f"title {n}") for n in range(10)), commit_events_max=4
    ) as stage:
        await stage.pass_through()
        assert [len(commit.events) for commit in stage.store.commits] == [4, 4, 2]
        assert [commit.acknowledged for commit in stage.store.commits] == [4, 8, 10]


@in_virtual_time
@pytest.mark.parametrize("fault", ["lost", "unanswered", "refused"])
async def test_a_commit_that_was_not_confirmed_is_repeated_with_the_same_content(
    fault: Fault,
) -> None:
    async with open_stage(say()) as stage:
        stage.performer.usual = Reply(("Hel", "lo."), pause_s=1)
        stage.store.fail("commit", fault, fault)
        async with stage.running() as run:
            await until(lambda: stage.performer.kinds)
            assert now_s() == pytest.approx(0.3, abs=0.05)
            stage.store.fail("commit", fault)  # the one that begins the draft
            await run.ended()
        one, two, three, four, five, *_ = stage.store.commits
        assert one == two == three
        assert four == five
        assert four.draft.text == "Hel"
        assert await stage.kinds() == [
            *("context-created", "message-received", "reply-started", "reply-ended")
        ]
        assert stage.performer.kinds == ["call-model"]


@in_virtual_time
async def test_a_fenced_activation_stops_its_effects_and_commits_nothing_more() -> None:
    async with open_stage(say()) as stage:
        stage.performer.usual = Reply(("Hel",), hangs=True)
        async with stage.running() as run:
            await stage.until_phase("streaming_llm_response")
            await taken_over(stage)
            run.activation.check_mail()
            await stage.deliver(rename("mine"))
            with pytest.RaisesGroup(Fenced):
                await run.ended()
        assert stage.performer.stopped == ["2.0"]
        assert (await stage.kinds())[-1] == "reply-started"
        assert await stage.waiting_mail() == [2]


@in_virtual_time
async def test_a_bug_in_a_performer_ends_the_activation_and_stops_the_other_effects() -> None:
    calls = (wants("c1"), wants("c2"))
    async with open_stage(say(), config={"tool_policy": {"mode": "auto_loop"}}) as stage:
        stage.performer.replies.append(Reply(calls=calls))
        stage.performer.tool_bug, stage.performer.tool_hangs = "c2", True
        async with stage.running() as run:
            with pytest.RaisesGroup(Bug):
                await run.ended()
        assert stage.performer.stopped == ["4.0"]
        assert (await stage.state()).phase is Phase.EXECUTING_TOOLS


@in_virtual_time
async def test_an_effect_that_ends_without_an_answer_is_a_failure_not_a_hang() -> None:
    async with open_stage(say()) as stage:
        stage.performer.usual = Reply(("Hel",), pause_s=1, silent=True)
        async with stage.running() as run:
            with pytest.RaisesGroup(pytest.RaisesExc(RuntimeError, match=r"2\.0")):
                await run.ended()
        assert now_s() < 2


@in_virtual_time
async def test_an_answer_to_an_effect_that_is_no_longer_pending_is_dropped() -> None:
    async with open_stage(say()) as stage:
        async with stage.running() as run:
            await until(lambda: stage.performer.kinds)
            await stage.until_phase("idle")
            version = (await stage.state()).version
            commits = len(stage.store.commits)
            run.activation.post(RetryDue(at_ms=now_ms(), effect_id="2.0"))
            assert await run.ended() == "idle"
        assert len(stage.store.commits) == commits
        assert (await stage.state()).version == version


@in_virtual_time
async def test_a_deleted_context_is_gone_and_its_effects_are_stopped() -> None:
    async with open_stage(say()) as stage:
        stage.performer.usual = Reply(("Hel",), hangs=True)
        stage.store.fail("delete", "lost", "unanswered")
        async with stage.running() as run:
            await stage.until_phase("streaming_llm_response")
            await stage.deliver(DELETE)
            assert await run.ended() == "deleted"
        assert stage.performer.stopped == ["2.0"]
        with pytest.raises(ContextMissing):
            await stage.state()
        assert set((await stage.dump()).values()) == {None}


# Mail


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
        assert await titles(stage) == ["one", "two", "three"]


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
        assert await titles(stage) == ["one", "two"]


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
        assert await titles(stage) == ["one", "two"]
        await run.ended()


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
        assert await titles(stage) == ["zero", "one", "two"]


@in_virtual_time
async def test_late_copies_of_mail_that_was_done_with_before_are_dropped() -> None:
    async with open_stage(rename("one")) as stage:
        (old,) = await stage.store.undelivered(CONTEXT_ID)
        await stage.pass_through()
        async with stage.running() as run:
            run.activation.deliver(old)
            assert await run.ended() == "idle"
        assert await titles(stage) == ["one"]


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
            assert await titles(stage) == ["zero", *"012345"]
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
        assert await titles(stage) == ["one"]
        await asyncio.sleep(0.3)
        assert await titles(stage) == ["one", "two"]
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


async def titles(stage: Stage[MemoryStore]) -> list[str]:
    """Every title that the context has had."""
    return [event.title for event in await stage.log() if isinstance(event, ContextRenamed)]


# Actions that are refused


@in_virtual_time
async def test_an_action_for_another_version_is_refused_and_changes_nothing() -> None:
    async with open_stage(rename("one")) as stage:
        stale = await stage.deliver(rename("two"), if_version=1)
        exact = await stage.deliver(rename("three"), if_version=2)
        await stage.pass_through()
        assert await titles(stage) == ["one", "three"]
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
        assert await titles(stage) == ["one"]


# Effects


@in_virtual_time
async def test_an_effect_that_the_same_commit_stops_is_never_performed() -> None:
    async with open_stage(say(), cancel()) as stage:
        await stage.pass_through()
        assert stage.performer.kinds == []
        assert len(stage.store.commits) == 1


@in_virtual_time
async def test_a_whole_turn_with_approval_tool_and_second_reply() -> None:
    async with open_stage(say()) as stage:
        stage.performer.replies.append(Reply((), calls=(wants("c1"),)))
        async with stage.running() as run:
            await stage.until_phase("awaiting_tool_approval")
            await stage.deliver(approve("c1"))
            assert await run.ended() == "idle"
        assert stage.performer.kinds == ["call-model", "run-tool", "call-model"]
        assert [role for role, _, _ in await stage.said()] == [
            *("user", "assistant", "tool", "assistant")
        ]


@in_virtual_time
async def test_a_failed_call_is_made_again_after_the_back_off() -> None:
    limits = {"backoff_ms_base": 10_000}
    async with open_stage(say(), config={"limits": dict(limits)}) as stage:
        stage.performer.replies.append(Reply(("Hel",), fails="overloaded"))
        await stage.pass_through()
        assert stage.performer.kinds == ["call-model", "await-retry", "call-model"]
        first, again = (e for e in stage.performer.performed if isinstance(e, CallModel))
        assert (first.attempt, again.attempt) == (1, 2)
        assert now_s() == pytest.approx(5 + 5, abs=0.1)


# Passivation


@in_virtual_time
async def test_a_context_is_passivated_once_it_has_rested_for_the_linger() -> None:
    async with open_stage(say(), linger_s=7) as stage:
        stage.performer.usual = Reply(("Hi.",), pause_s=100)
        async with stage.running() as run:
            await asyncio.sleep(99)
            assert stage.store.steps.count("passivate") == 0
            await run.ended()
        assert now_s() == pytest.approx(107, abs=0.1)
        assert await stage.owner_of() == ""


@pytest.mark.parametrize("linger_s", [50, 60, 150])
@in_virtual_time
async def test_a_context_that_waits_for_a_time_is_passivated_as_well(linger_s: int) -> None:
    """However often it looks at the clock meanwhile."""
    async with open_stage(
        say("later", not_before_ms=now_ms() + 86_400_000), linger_s=linger_s
    ) as stage:
        await stage.pass_through()
        assert now_s() == pytest.approx(linger_s, abs=0.1)


@in_virtual_time
async def test_what_comes_due_begins_the_linger_anew() -> None:
    async with open_stage(say("later", not_before_ms=now_ms() + 90_000), linger_s=150) as stage:
        await stage.pass_through()
        assert now_s() == pytest.approx(90 + 150, abs=0.1)
        assert (await stage.said())[-1] == ("assistant", "Hi.", "complete")


@in_virtual_time
async def test_a_context_that_waits_for_a_person_is_passivated() -> None:
    async with open_stage(say()) as stage:
        stage.performer.usual = Reply((), calls=(wants("c1"),))
        await stage.pass_through()
        assert (await stage.state()).phase is Phase.AWAITING_TOOL_APPROVAL


@in_virtual_time
async def test_a_paused_context_is_not_passivated_while_a_tool_runs() -> None:
    async with open_stage(say(), config={"tool_policy": {"mode": "auto_loop"}}) as stage:
        stage.performer.tool_hangs = True
        stage.performer.usual = Reply((), calls=(wants("c1"),))
        async with stage.running() as run:
            await stage.until_phase("executing_tools")
            await stage.deliver(PAUSE)
            await asyncio.sleep(100)
            assert not run.task.done()
            assert (await stage.state()).phase is Phase.PAUSED
            assert await stage.owner_of() == "w1"


@in_virtual_time
async def test_a_context_that_is_due_is_told_so_before_it_is_passivated() -> None:
    # Given a message for later, and a worker that keeps nothing that rests
    async with open_stage(say("later", not_before_ms=now_ms() + 10_000), linger_s=0) as stage:
        await stage.pass_through()
        assert await stage.said() == []
        # When its time has come, and somebody activates the context for that
        await asyncio.sleep(10)
        await stage.pass_through()
        # Then it is taken up
        assert (await stage.said())[0] == ("user", "later", "complete")


@in_virtual_time
async def test_mail_that_comes_with_the_passivation_is_not_lost() -> None:
    async with open_stage(rename("one")) as stage:
        stage.deaf = True
        passivation = stage.store.hold("passivate")
        async with stage.running() as run:
            await passivation.reached.wait()
            await stage.deliver(rename("two"))
            passivation.opened.set()
            assert await run.ended() == "idle"
        assert await titles(stage) == ["one", "two"]
        assert stage.store.steps.count("passivate") == 2


@in_virtual_time
@pytest.mark.parametrize("fault", ["lost", "unanswered", "refused"])
async def test_a_passivation_that_was_not_confirmed_is_tried_again(fault: Fault) -> None:
    async with open_stage(rename("one")) as stage:
        stage.store.fail("passivate", fault, fault)
        assert await stage.pass_through() == "idle"
        assert stage.store.steps.count("passivate") == 3
        assert await stage.owner_of() == ""


@in_virtual_time
async def test_passivation_of_a_context_that_was_taken_over_is_no_passivation() -> None:
    async with open_stage(rename("one")) as stage:
        async with stage.running() as run:
            await until(lambda: stage.store.commits)
            await taken_over(stage)
            with pytest.RaisesGroup(Fenced):
                await run.ended()
        assert await stage.owner_of() == "w2"


@in_virtual_time
async def test_a_worker_that_stops_passivates_at_once_what_rests() -> None:
    async with open_stage(rename("one"), linger_s=100) as stage:
        async with stage.running() as run:
            await until(lambda: stage.store.commits)
            run.activation.hurry()
            assert await run.ended() == "idle"
        assert now_s() < 1
        await stage.deliver(say())
        stage.performer.usual = Reply(("Hi.",), pause_s=10)
        async with stage.running() as run:
            await stage.until_phase("awaiting_llm_response")
            run.activation.hurry()
            assert await run.ended() == "idle"
        assert now_s() == pytest.approx(10, abs=0.1)
        assert (await stage.said())[-1] == ("assistant", "Hi.", "complete")


# Snapshots


@in_virtual_time
async def test_one_snapshot_is_written_a_reply_however_many_chunks_it_has() -> None:
    async with open_stage(say()) as stage:
        stage.performer.usual = Reply(("word ",) * 200, pause_s=0.01)
        async with stage.running() as run:
            await stage.until_phase("streaming_llm_response")
            while not run.task.done():
                await stage.send_drafts()
                await settled()
        assert stage.store.steps.count("draft") > 100
        assert await stage.snapshot_writes() == 1
        assert (await stage.said())[-1] == ("assistant", "word " * 200, "complete")


@in_virtual_time
async def test_a_context_that_does_not_come_to_rest_is_snapshotted_now_and_then() -> None:
    async with open_stage(say(), snapshot_events=10) as stage:
        stage.performer.usual = Reply((), hangs=True)
        async with stage.running():
            for n in range(25):
                await stage.deliver(rename(f"{n}"))
                await settled()
            assert await stage.snapshot_writes() == 2
            assert [c.state.version for c in stage.store.commits if c.snapshot] == [10, 20]


@in_virtual_time
async def test_a_snapshot_holds_only_the_messages_that_came_since_the_one_before() -> None:
    async with open_stage() as stage, stage.running():
        for n in range(3):
            await stage.deliver(say(f"{n}"))
            await asyncio.sleep(1)
        saved = [c.messages_saved for c in stage.store.commits if c.snapshot]
        assert saved == [0, 2, 4]


@in_virtual_time
async def test_what_was_snapshotted_loads_as_what_was_committed() -> None:
    async with open_stage() as stage:
        for n in range(4):
            await stage.deliver(say(f"{n}"))
            await stage.pass_through()
        owned = await stage.store.ownership.activate(CONTEXT_ID, "w1")
        assert owned.snapshot_version == owned.state.version == (await stage.state()).version
        assert owned.messages_saved == 8
        assert await stage.log()


# Titles


@in_virtual_time
async def test_a_title_that_somebody_gives_while_one_is_made_stays() -> None:
    async with open_stage(TITLE, rename("Mine")) as stage:
        await stage.pass_through()
        assert stage.performer.kinds == ["make-title"]
        assert (await stage.state()).title == "Mine"
        await stage.deliver(TITLE)
        await stage.pass_through()
        assert (await stage.state()).title == "A title"
