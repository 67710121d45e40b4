"""One activation over a store in memory, in virtual time."""

import asyncio
import gc
import weakref

import pytest

from fsm import CallModel, Phase, RetryDue
from storage import ContextMissing, Fenced
from tests.support.clock import in_virtual_time, now_s, settled, until
from tests.support.memory_store import Fault
from tests.support.playbook import (
    CONTEXT_ID,
    DELETE,
    RETRY,
    TITLE,
    approve,
    cancel,
    rename,
    say,
    wants,
)
from tests.workers.stage import Bug, Reply, now_ms, open_stage, taken_over

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
async def test_a_commit_answers_no_more_actions_than_it_may_also_where_it_refuses_them() -> (
    None
):
    async with open_stage(*[RETRY] * 5, commit_events_max=2) as stage:
        await stage.pass_through()
        assert [commit.acknowledged for commit in stage.store.commits] == [2, 4, 5]


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
async def test_an_activation_that_rests_sees_in_its_mailbox_that_it_was_fenced() -> None:
    # A heartbeat asks again and again: it would rest here while its turn waits to go on.
    async with open_stage(rename("one"), linger_s=1_000) as stage, stage.running() as run:
        await until(lambda: stage.store.commits)
        await taken_over(stage)
        run.activation.check_mail()
        with pytest.RaisesGroup(Fenced):
            await run.ended()
        assert now_s() < 1


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


@in_virtual_time
async def test_the_first_text_of_a_turn_is_timed_and_no_later_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_stage(say(), config={"tool_policy": {"mode": "auto_loop"}}) as stage:
        timed: list[float] = []

        def took(kind: str, seconds: float) -> None:
            if kind == "first_token":
                timed.append(seconds)

        monkeypatch.setattr(stage.store.meters, "took", took)
        stage.performer.usual = Reply(("Hel", "lo."), pause_s=3)
        # Given a turn of two rounds, and one whose first call has failed without a word
        stage.performer.replies += [
            Reply(("Look", "ing."), pause_s=2, calls=(wants("c1"),)),
            Reply(("Hel", "lo."), pause_s=3),
            Reply((), fails="overloaded"),
        ]
        async with stage.running() as run:
            await until(lambda: len(stage.performer.kinds) == 3)
            await stage.until_phase("idle")
            await stage.deliver(say("Again"))
            await run.ended()
        assert stage.performer.kinds.count("call-model") == 4
        # Then only what followed a message at once was timed
        assert timed == [pytest.approx(2)]


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
