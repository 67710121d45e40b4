"""What becomes of a context whose worker died, in virtual time."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

import pytest
from pydantic import JsonValue

from fsm import AwaitRetry, CallModel, CallStatus, Phase, ReplyRestarted, RunTool, ToolRestarted
from storage import DeadLetter, DeadLetters
from tests.support.clock import in_virtual_time, now_s
from tests.support.memory_store import MemoryStore
from tests.support.playbook import CONTEXT_ID, approve, cancel, say, wants
from tests.workers.stage import Reply, Stage, now_ms, open_stage

LOOPING: JsonValue = {"mode": "auto_loop"}


@contextlib.asynccontextmanager
async def killed_in(
    phase: str,
    *replies: Reply,
    config: dict[str, JsonValue] | None = None,
    tool_hangs: bool = False,
) -> AsyncGenerator[tuple[Stage[MemoryStore], Stage[MemoryStore]], None]:
    """A stage whose worker was killed in a phase, and the one of its successor."""
    async with open_stage(say(), config=config) as dead:
        dead.performer.replies.extend(replies)
        dead.performer.tool_hangs = tool_hangs
        await kill_in(dead, phase)
        yield dead, Stage(dead.store, worker_id="w2")


async def kill_in(stage: Stage[MemoryStore], phase: str) -> None:
    async with stage.running():
        await stage.until_phase(phase)
        await stage.send_drafts()
        await asyncio.sleep(1)
        await stage.send_drafts()
    await stage.die()


HALF = Reply(("Hel", "lo ", "you"), pause_s=0.2, hangs=True)


@in_virtual_time
async def test_a_reply_is_asked_for_again_under_its_effect_id_as_the_next_attempt() -> None:
    async with killed_in("streaming_llm_response", HALF) as (dead, heir):
        assert await heir.draft() == "Hello you"
        heir.performer.usual = Reply(("Good ", "day."), pause_s=1)
        async with heir.running() as run:
            await heir.until_phase("awaiting_llm_response")
            assert await heir.draft() == ""
            await heir.until_phase("streaming_llm_response")
            assert await heir.draft() == "Good "
            await run.ended()
        assert await heir.kinds() == [
            *("context-created", "message-received", "reply-started"),
            *("reply-restarted", "reply-started", "reply-ended"),
        ]
        assert await heir.said() == [
            ("user", "Hello", "complete"),
            ("assistant", "Good day.", "complete"),
        ]
        first, again = dead.performer.performed[0], heir.performer.performed[0]
        assert isinstance(first, CallModel)
        assert isinstance(again, CallModel)
        assert (first.effect_id, first.attempt) == ("2.0", 1)
        assert (again.effect_id, again.attempt) == ("2.0", 2)


@in_virtual_time
async def test_a_reply_that_had_not_begun_is_asked_for_again_too() -> None:
    async with killed_in("awaiting_llm_response", Reply((), hangs=True)) as (_, heir):
        await heir.pass_through()
        restarted = [e for e in await heir.log() if isinstance(e, ReplyRestarted)]
        assert [event.partial for event in restarted] == [""]
        assert (await heir.said())[-1] == ("assistant", "Hi.", "complete")


@in_virtual_time
async def test_with_keep_the_text_that_readers_had_stays_as_interrupted() -> None:
    keep: dict[str, JsonValue] = {"on_takeover": "keep"}
    async with killed_in("streaming_llm_response", HALF, config=keep) as (_, heir):
        await heir.pass_through()
        assert heir.performer.kinds == []
        assert await heir.said() == [
            ("user", "Hello", "complete"),
            ("assistant", "Hello you", "interrupted"),
        ]
        assert await heir.draft() == ""


@in_virtual_time
async def test_cancel_that_came_in_between_finds_the_reply_restarted() -> None:
    async with killed_in("streaming_llm_response", HALF) as (_, heir):
        await heir.deliver(cancel())
        await heir.pass_through()
        assert heir.performer.kinds == []
        assert await heir.kinds() == [
            *("context-created", "message-received", "reply-started"),
            *("reply-restarted", "cancel-requested"),
        ]
        assert (await heir.state()).phase is Phase.IDLE


@in_virtual_time
async def test_what_waited_in_the_queue_is_answered_by_the_heir() -> None:
    async with open_stage(say("one"), say("two")) as dead:
        dead.performer.usual = HALF
        await kill_in(dead, "streaming_llm_response")
        heir = Stage(dead.store, worker_id="w2")
        await heir.deliver(say("three"))
        await heir.pass_through()
        assert [content for _, content, _ in await heir.said()] == [
            *("one", "Hi.", "two", "Hi.", "three", "Hi.")
        ]


@in_virtual_time
@pytest.mark.parametrize("effect", ["none", "idempotent"])
async def test_a_harmless_tool_runs_again_under_the_same_effect_id(effect: str) -> None:
    calls = (wants("c1", effect="none" if effect == "none" else "idempotent"),)
    async with killed_in(
        "executing_tools",
        Reply((), calls=calls),
        config={"tool_policy": LOOPING},
        tool_hangs=True,
    ) as (dead, heir):
        await heir.pass_through()
        first, again = dead.performer.performed[1], heir.performer.performed[0]
        assert isinstance(first, RunTool)
        assert again == first.model_copy(update={"attempt": 2})
        assert [role for role, _, _ in await heir.said()] == [
            *("user", "assistant", "tool", "assistant")
        ]


@in_virtual_time
async def test_tools_that_ran_side_by_side_are_restarted_in_their_order() -> None:
    calls = tuple(wants(f"c{number}", effect="idempotent") for number in range(3))
    async with killed_in(
        "executing_tools",
        Reply((), calls=calls),
        config={"tool_policy": LOOPING},
        tool_hangs=True,
    ) as (dead, heir):
        await heir.pass_through()
        restarted = [e.effect_id for e in await heir.log() if isinstance(e, ToolRestarted)]
        assert len(restarted) == 3
        assert restarted == [ran.effect_id for ran in dead.performer.performed[1:]]


@in_virtual_time
async def test_a_tool_that_may_run_once_only_waits_for_a_person() -> None:
    calls = (wants("c1", effect="once"),)
    async with killed_in(
        "executing_tools",
        Reply((), calls=calls),
        config={"tool_policy": LOOPING},
        tool_hangs=True,
    ) as (_, heir):
        await heir.pass_through()
        assert heir.performer.kinds == []
        state = await heir.state()
        assert state.phase is Phase.AWAITING_TOOL_APPROVAL
        assert state.turn is not None
        assert [call.status for call in state.turn.calls] == [CallStatus.OUTCOME_UNKNOWN]
        await heir.deliver(approve("c1"))
        await heir.pass_through()
        assert heir.performer.kinds == ["run-tool", "call-model"]
        assert heir.performer.performed[0].effect_id != "4.0"


@in_virtual_time
async def test_a_back_off_goes_on_where_it_was() -> None:
    limits: dict[str, JsonValue] = {"limits": {"backoff_ms_base": 40_000}}
    async with killed_in("transient_failure", Reply((), fails="overloaded"), config=limits) as (
        dead,
        heir,
    ):
        async with heir.running() as run:
            await asyncio.sleep(1)
            await run.ended()
        waiting, call = heir.performer.performed
        assert waiting == dead.performer.performed[1]
        assert isinstance(waiting, AwaitRetry)
        assert now_ms() == pytest.approx(waiting.due_ms + 5_000, abs=50)
        assert isinstance(call, CallModel)
        assert call.attempt == 2
        assert "reply-restarted" not in await heir.kinds()


@in_virtual_time
async def test_retrievers_are_asked_again() -> None:
    async with open_stage(say(), config={"retrieval": ["notes"]}) as dead:
        dead.performer.retrieval_hangs = True
        await kill_in(dead, "preparing_request")
        heir = Stage(dead.store, worker_id="w2")
        await heir.pass_through()
        assert heir.performer.performed[0] == dead.performer.performed[0]
        assert (await heir.said())[-1] == ("assistant", "Hi.", "complete")


@in_virtual_time
async def test_a_call_that_kills_its_worker_each_time_fails_the_turn() -> None:
    async with open_stage(say()) as stage:
        stage.performer.usual = HALF
        for number in range(4):
            stage.worker_id = f"w{number}"
            await kill_in(stage, "streaming_llm_response")
        stage.worker_id = "w9"
        assert await stage.pass_through() == "idle"
        state = await stage.state()
        assert state.phase is Phase.FAILED
        assert state.failure is not None
        assert (state.failure.code, state.failure.attempts) == ("attempts_exhausted", 4)
        assert len(stage.performer.performed) == 4
        assert await stage.said() == [
            ("user", "Hello", "complete"),
            ("assistant", "Hello you", "interrupted"),
        ]


@in_virtual_time
async def test_p11_a_tool_that_kills_three_workers_leaves_a_dead_letter() -> None:
    async with open_stage(say(), config={"tool_policy": LOOPING}) as stage:
        stage.performer.replies.append(Reply((), calls=(wants("c1"),)))
        stage.performer.tool_hangs = True
        for number in range(3):
            stage.worker_id = f"w{number}"
            await kill_in(stage, "executing_tools")
        stage.worker_id = "w9"
        await stage.pass_through()
        assert stage.performer.kinds == ["call-model", *["run-tool"] * 3]
        assert [status for _, _, status in await stage.said()] == [
            *("complete", "complete", "failed")
        ]
        state = await stage.state()
        assert state.failure is not None
        (letter,) = (await DeadLetters(stage.store.link, stage.store.sealer).page(10)).letters
        assert letter == DeadLetter(
            id=f"{CONTEXT_ID}.{state.version}",
            context_id=CONTEXT_ID,
            owner=state.owner,
            at_ms=letter.at_ms,
            cause="clock was started 3 times, and each time its worker died.",
        )


@in_virtual_time
async def test_an_activation_of_the_same_worker_takes_over_from_its_own_crash() -> None:
    async with open_stage(say()) as stage:
        stage.performer.replies.append(Reply(("Hel",), bug=True))
        async with stage.running() as run:
            with pytest.RaisesGroup(Exception):
                await run.ended()
            token = run.activation.token
        async with stage.running() as run:
            assert run.activation.token == token.removesuffix(".1") + ".2"
            await run.ended()
        assert (await stage.said())[-1] == ("assistant", "Hi.", "complete")
        assert now_s() < 60
