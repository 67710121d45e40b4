"""An activation that is cancelled leaves no task and no half effect, wherever it is."""

import asyncio
from collections.abc import Sequence

import pytest
from pydantic import JsonValue

from fsm import Event, Phase
from tests.support.clock import in_virtual_time, settled
from tests.support.memory_store import MemoryStore, StoreStep
from tests.support.playbook import cancel, rename, say, wants
from tests.workers.stage import Reply, Stage, open_stage

LOOPING: JsonValue = {"mode": "auto_loop"}
TURN: Sequence[Reply] = (
    Reply(("Let ", "me see."), calls=(wants("c1", effect="idempotent"),)),
    Reply(("It is ", "noon.")),
)
STEPS_MAX = 400
"""Turns of the loop that the scenario takes at most."""


async def cancelled_after(loop_turns: int) -> tuple[bool, str]:
    """Cancel a turn with a tool after so many turns of the loop; finish it elsewhere.

    Returns:
        Whether the turn was over by then, and the last reply.
    """
    async with open_stage(say(), config={"tool_policy": LOOPING}, linger_s=0.0) as stage:
        stage.performer.replies.extend(TURN)
        others = asyncio.all_tasks()
        async with stage.running() as run:
            for _ in range(loop_turns):
                await asyncio.sleep(0)
                await stage.send_drafts()
            over = run.task.done()
            run.task.cancel()
            await asyncio.wait((run.task,))
            assert run.task.cancelled() or over
            assert asyncio.all_tasks() <= others
        await stage.die()
        commits = len(stage.store.commits)
        await settled()
        assert len(stage.store.commits) == commits
        heir = Stage(stage.store, worker_id="w2", settings={"linger_s": 0.0})
        heir.performer.usual = TURN[1]
        await heir.pass_through()
        return over, await checked(heir)


async def checked(stage: Stage[MemoryStore]) -> str:
    """What holds of the context whenever the worker was cancelled; the last reply."""
    state = await stage.state()
    await stage.log()
    assert state.phase is Phase.IDLE
    assert await stage.waiting_mail() == []
    assert await stage.draft() == ""
    said = await stage.said()
    assert [role for role, _, _ in said].count("user") == 1
    assert [message.seq for message in state.messages] == [*range(1, len(said) + 1)]
    return said[-1][1]


@in_virtual_time
async def test_a_turn_cancelled_at_any_await_is_finished_once_by_the_next_worker() -> None:
    for loop_turns in range(STEPS_MAX):
        over, reply = await cancelled_after(loop_turns)
        assert reply == "It is noon.", loop_turns
        if over:
            assert loop_turns >= 30
            return
    pytest.fail("the turn never ended")


@in_virtual_time
@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("commit", [rename("one")]),
        ("passivate", []),
        ("undelivered", []),
    ],
)
async def test_cancelled_in_a_call_of_the_store_it_makes_no_other(
    step: StoreStep, said: list[Event]
) -> None:
    async with open_stage(*said, linger_s=0.0 if step == "passivate" else 5.0) as stage:
        gate = stage.store.hold(step)
        async with stage.running() as run:
            if step == "undelivered":
                run.activation.check_mail()
            await gate.reached.wait()
            steps = len(stage.store.steps)
            run.task.cancel()
            await asyncio.wait((run.task,))
            assert run.task.cancelled()
        assert len(stage.store.steps) == steps
        assert await stage.kinds() == ["context-created"]


@in_virtual_time
async def test_cancelled_while_a_commit_is_tried_again_it_stops_trying() -> None:
    async with open_stage(rename("one")) as stage:
        for _ in range(100):
            stage.store.fail("commit", "lost")
        async with stage.running() as run:
            await asyncio.sleep(1)
            run.task.cancel()
            await asyncio.wait((run.task,))
        tries = len(stage.store.commits)
        assert tries == 4  # at 0, 0.1, 0.3 and 0.7 s
        await asyncio.sleep(2)
        assert len(stage.store.commits) == tries
        assert await stage.waiting_mail() == [1]


@in_virtual_time
async def test_cancelled_while_a_commit_is_answered_it_performs_nothing() -> None:
    async with open_stage(say()) as stage:
        answer = stage.store.hold_answer("commit")
        async with stage.running() as run:
            await answer.reached.wait()
            run.task.cancel()
            await asyncio.wait((run.task,))
        assert stage.performer.kinds == []
        assert (await stage.state()).phase is Phase.AWAITING_LLM_RESPONSE
        await stage.die()
        heir = Stage(stage.store, worker_id="w2")
        await heir.pass_through()
        assert await heir.said() == [
            ("user", "Hello", "complete"),
            ("assistant", "Hi.", "complete"),
        ]


@in_virtual_time
async def test_a_stopped_effect_that_takes_its_time_to_end_does_not_hold_up_the_next() -> None:
    async with open_stage(say("one"), say("two")) as stage:
        stage.performer.replies.append(Reply(("Hel",), hangs=True))
        stage.performer.stops_after_s = 3
        async with stage.running() as run:
            await stage.until_phase("streaming_llm_response")
            await stage.deliver(cancel())
            await stage.until_phase("idle")
            assert stage.performer.stopped == []
            await run.ended()
        assert stage.performer.stopped == ["2.0"]
        assert [content for _, content, _ in await stage.said()] == ["one", "Hel", "two", "Hi."]


@in_virtual_time
async def test_a_context_whose_stopped_tool_does_not_end_goes_on() -> None:
    async with open_stage(say("one"), config={"tool_policy": LOOPING}) as stage:
        stage.performer.replies.append(TURN[0])
        stage.performer.tool_hangs = True
        stage.performer.stops_after_s = 90
        async with stage.running() as run:
            await stage.until_phase("executing_tools")
            await stage.deliver(cancel())
            await stage.until_phase("idle")
            await asyncio.sleep(60)
            await stage.deliver(say("two"))
            await asyncio.sleep(1)
            assert [content for _, content, _ in await stage.said()][-1] == "Hi."
            assert await stage.waiting_mail() == []
            assert stage.performer.stopped == []
            await run.ended()
