"""Logs that are kept short, over a store in memory, in virtual time."""

import asyncio

import pytest

from fsm import ContextState
from tests.support.clock import in_virtual_time
from tests.support.memory_store import Fault, MemoryStore
from tests.support.playbook import (
    CONTEXT_ID,
    rename,
    say,
)
from tests.workers.stage import POLL_S, Reply, Stage, open_stage


@in_virtual_time
async def test_a_long_log_is_compacted_when_its_context_is_passivated_and_no_other() -> None:
    async with open_stage(say("One"), linger_s=1.0) as stage:
        stage.store.config = stage.store.config.model_copy(update={"log_events_max": 6})
        await stage.pass_through()
        assert await stage.store.logs.first(CONTEXT_ID) == 1
        await stage.deliver(say("Two"))
        async with stage.running() as run:
            before = await until_said(stage, 4)
            assert await stage.store.logs.first(CONTEXT_ID) == 1
            assert await run.ended() == "idle"
        first = await stage.store.logs.first(CONTEXT_ID)
        assert first == before.version - 6 // 2 + 1
        assert await stage.store.logs.base(CONTEXT_ID) == before == await stage.state()


@in_virtual_time
@pytest.mark.parametrize("fault", ["lost", "unanswered", "refused"])
async def test_a_compaction_that_the_store_does_not_confirm_is_made_until_it_does(
    fault: Fault,
) -> None:
    async with open_stage(say("One"), linger_s=1.0) as stage:
        stage.store.config = stage.store.config.model_copy(update={"log_events_max": 2})
        stage.store.fail("compact", fault, fault)
        assert await stage.pass_through() == "idle"
        assert stage.store.steps.count("compact") == 3
        state = await stage.state()
        assert await stage.store.logs.base(CONTEXT_ID) == state
        assert await stage.store.logs.first(CONTEXT_ID) == state.version


@in_virtual_time
@pytest.mark.parametrize("executed", [False, True])
async def test_a_worker_that_dies_while_it_compacts_has_lost_nothing(executed: bool) -> None:
    async with open_stage(say("One"), linger_s=1.0) as stage:
        stage.store.config = stage.store.config.model_copy(update={"log_events_max": 2})
        hold = stage.store.hold_answer if executed else stage.store.hold
        gate = hold("compact")
        async with stage.running() as run:
            await gate.reached.wait()
            before = await stage.state()
            run.task.cancel()
        await stage.die()
        assert (await stage.store.logs.first(CONTEXT_ID) > 1) is executed
        other = Stage(stage.store, worker_id="w2", settings={"linger_s": 1.0})
        await stage.deliver(say("Two"))
        assert await other.pass_through() == "idle"
        after = await stage.state()
        assert after.messages[: len(before.messages)] == before.messages
        assert len(after.messages) == len(before.messages) + 2
        assert await stage.store.logs.base(CONTEXT_ID) == after


@in_virtual_time
@pytest.mark.parametrize("active", [False, True])
async def test_a_log_is_compacted_as_somebody_has_wished_and_the_wish_is_gone(
    active: bool,
) -> None:
    async with open_stage(say("One"), linger_s=1.0) as stage:
        if active:
            async with stage.running() as run:
                before = await until_said(stage, 2)
                assert await stage.store.logs.shorten(CONTEXT_ID, keep=2) == "owned"
                assert await run.ended() == "idle"
        else:
            await stage.pass_through()
            before = await stage.state()
            assert await stage.store.logs.shorten(CONTEXT_ID, keep=2) == "asked"
            assert await stage.pass_through() == "idle"
        assert await stage.store.logs.first(CONTEXT_ID) == before.version - 1
        assert await stage.store.logs.base(CONTEXT_ID) == before == await stage.state()
        assert await stage.store.logs.wished_length(CONTEXT_ID) is None
        assert stage.store.steps.count("compact") == 1


@in_virtual_time
async def test_a_log_that_was_shortened_by_wish_is_not_too_long_any_more() -> None:
    async with open_stage(say("One"), linger_s=1.0) as stage:
        async with stage.running() as run:
            before = await until_said(stage, 2)
            events_max = before.version + 1
            limits = {"log_events_max": events_max}
            stage.store.config = stage.store.config.model_copy(update=limits)
            assert await stage.store.logs.shorten(CONTEXT_ID, keep=2) == "owned"
            await asyncio.sleep(1.5)
            assert await stage.store.logs.first(CONTEXT_ID) == before.version - 1
            await stage.deliver_all(rename("Another"), rename("Again"))
            assert await run.ended() == "idle"
        assert (await stage.state()).version > events_max
        assert stage.store.steps.count("compact") == 1


@in_virtual_time
async def test_a_log_that_an_earlier_owner_has_shortened_is_not_too_long() -> None:
    async with open_stage(say("One"), linger_s=1.0) as stage:
        stage.store.config = stage.store.config.model_copy(update={"log_events_max": 3})
        await stage.pass_through()
        assert stage.store.steps.count("compact") == 1
        await stage.deliver(rename("Another"))
        await stage.pass_through()
        assert stage.store.steps.count("compact") == 1


@in_virtual_time
async def test_a_wish_for_a_shorter_log_waits_for_the_turn_and_outlives_the_worker() -> None:
    async with open_stage(say("One"), linger_s=1.0) as stage:
        stage.performer.replies.append(Reply(hangs=True))
        async with stage.running():
            await stage.until_phase("streaming_llm_response")
            assert await stage.store.logs.shorten(CONTEXT_ID, keep=1) == "owned"
            await asyncio.sleep(5)
            assert await stage.store.logs.first(CONTEXT_ID) == 1
        await stage.die()
        other = Stage(stage.store, worker_id="w2", settings={"linger_s": 1.0})
        assert await other.pass_through() == "idle"
        state = await stage.state()
        assert await stage.store.logs.first(CONTEXT_ID) == state.version
        assert len(state.messages) == 2


async def until_said(stage: Stage[MemoryStore], count: int) -> ContextState:
    """The context, once it rests with so many messages."""
    while True:
        state = await stage.until_phase("idle")
        if len(state.messages) == count:
            return state
        await asyncio.sleep(POLL_S)
