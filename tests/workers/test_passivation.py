"""When an activation gives its context back, and what it has saved by then."""

import asyncio

import pytest

import tests.workers.stage
from fsm import Phase, ToolFailed
from storage import Fenced
from tests.support.clock import in_virtual_time, now_s, settled, until
from tests.support.memory_store import Fault
from tests.support.playbook import (
    CONTEXT_ID,
    PAUSE,
    rename,
    say,
    wants,
)
from tests.workers.stage import Reply, now_ms, open_stage, taken_over


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


@pytest.mark.parametrize("due_s", [90, 150])
@in_virtual_time
async def test_what_comes_due_begins_the_linger_anew(due_s: int) -> None:
    """Also in the moment in which it would be passivated."""
    later = say("later", not_before_ms=now_ms() + due_s * 1_000)
    async with open_stage(later, linger_s=150) as stage:
        await stage.pass_through()
        assert now_s() == pytest.approx(due_s + 150, abs=0.1)
        assert (await stage.said())[-1] == ("assistant", "Hi.", "complete")


@in_virtual_time
async def test_what_a_clock_that_has_jumped_makes_due_is_told_within_a_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ahead_ms = 0
    monkeypatch.setattr(tests.workers.stage, "now_ms", lambda: now_ms() + ahead_ms)
    later = say("later", not_before_ms=now_ms() + 86_400_000)
    async with open_stage(later, linger_s=1_000) as stage, stage.running():
        await asyncio.sleep(100)
        ahead_ms = 86_400_000
        await asyncio.sleep(60)
        assert (await stage.said())[0] == ("user", "later", "complete")


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
async def test_a_context_is_not_passivated_while_a_tool_goes_on_that_was_answered_for() -> None:
    async with open_stage(say(), config={"tool_policy": {"mode": "auto_loop"}}) as stage:
        stage.performer.tool_hangs = True
        stage.performer.replies.append(Reply((), calls=(wants("c1"),)))
        async with stage.running() as run:
            await stage.until_phase("executing_tools")
            await until(lambda: stage.performer.kinds == ["call-model", "run-tool"])
            tool = stage.performer.performed[-1]
            failed = ToolFailed(
                at_ms=now_ms(), effect_id=tool.effect_id, code="timeout", detail="It goes on."
            )
            run.activation.post(failed)
            await stage.until_phase("idle")
            await asyncio.sleep(100)
            assert await stage.owner_of() == "w1"
            await stage.deliver(rename("heard"))
            await settled()
            assert await stage.titles() == ["heard"]
            assert stage.performer.stopped == []


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
        assert await stage.titles() == ["one", "two"]
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
