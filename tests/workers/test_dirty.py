"""In each phase: a transition saves, and reads and refused actions write nothing."""

from collections.abc import Mapping
from typing import Final

import pytest
from pydantic import JsonValue

from fsm import RESTING, Event, Phase, allowed_actions, rests
from storage import ContextMissing, keys
from tests.support.clock import in_virtual_time, settled, until
from tests.support.memory_store import MemoryStore
from tests.support.playbook import CONTEXT_ID, DELETE, PAUSE, RESUME, RETRY, rename, say, wants
from tests.workers.hosting import note_counts
from tests.workers.stage import OWNER, Reply, Stage, now_ms, open_stage

LIMITS: Final[Mapping[str, JsonValue]] = {"backoff_ms_base": 60_000, "backoff_ms_max": 60_000}
CONFIGS: Final[Mapping[Phase, dict[str, JsonValue]]] = {
    Phase.PREPARING_REQUEST: {"retrieval": ["notes"]},
    Phase.EXECUTING_TOOLS: {"tool_policy": {"mode": "auto_loop"}},
    Phase.TRANSIENT_FAILURE: {"limits": dict(LIMITS)},
    Phase.FAILED: {"limits": {"attempts_max": 1}},
}
REPLIES: Final[Mapping[Phase, Reply]] = {
    Phase.AWAITING_LLM_RESPONSE: Reply((), hangs=True),
    Phase.STREAMING_LLM_RESPONSE: Reply(("Hel",), hangs=True),
    Phase.AWAITING_TOOL_APPROVAL: Reply((), calls=(wants("c1"),)),
    Phase.AWAITING_ANSWER: Reply((), calls=(wants("c1", question=True),)),
    Phase.EXECUTING_TOOLS: Reply((), calls=(wants("c1"),)),
    Phase.TRANSIENT_FAILURE: Reply((), fails="overloaded"),
    Phase.FAILED: Reply(("Hel",), fails="overloaded"),
}
ALIVE: Final = [phase for phase in Phase if phase is not Phase.DELETED]


async def bring_to(stage: Stage[MemoryStore], phase: Phase) -> None:
    """With an activation running: play until the phase is reached."""
    stage.performer.usual = REPLIES.get(phase, Reply())
    stage.performer.retrieval_hangs = stage.performer.tool_hangs = True
    if phase is Phase.PAUSED:
        await stage.deliver(PAUSE)
    elif phase is not Phase.IDLE:
        await stage.deliver(say())
    await stage.until_phase(phase.value)
    await settled()


def refused_in(phase: Phase) -> Event:
    """An action that this phase does not allow."""
    return RETRY if phase is Phase.PAUSED else RESUME


@in_virtual_time
@pytest.mark.parametrize("phase", ALIVE)
async def test_a_transition_is_saved_and_snapshotted_where_the_context_rests(
    phase: Phase,
) -> None:
    async with open_stage(config=CONFIGS.get(phase)) as stage, stage.running():
        await bring_to(stage, phase)
        log, writes = await stage.log(), await stage.snapshot_writes()
        seq = await stage.deliver(rename("Another"))
        await until(lambda: stage.store.commits and stage.store.commits[-1].acknowledged == seq)
        await settled()
        state = await stage.state()
        assert (state.phase, state.title, state.version) == (phase, "Another", len(log) + 1)
        assert len(await stage.log()) == len(log) + 1
        assert await stage.snapshot_writes() == writes + rests(state)


@in_virtual_time
@pytest.mark.parametrize("phase", ALIVE)
async def test_reads_write_nothing(phase: Phase) -> None:
    async with open_stage(config=CONFIGS.get(phase)) as stage, stage.running():
        await bring_to(stage, phase)
        before, steps = await stage.dump(), len(stage.store.steps)
        reading = await stage.store.read(CONTEXT_ID, OWNER, seq=1)
        assert reading.view is not None
        await stage.store.read(CONTEXT_ID, OWNER, known=reading.view)
        at = stage.store.peeked(CONTEXT_ID, await stage.store.peek(CONTEXT_ID, OWNER))
        assert at == (reading.version, reading.n)
        await stage.store.logs.events(CONTEXT_ID, after=0, until=reading.version)
        await stage.store.contexts(OWNER, limit=10, after=None)
        await settled()
        assert await stage.dump() == before
        assert len(stage.store.steps) == steps


@in_virtual_time
@pytest.mark.parametrize("phase", ALIVE)
async def test_a_refused_action_leaves_the_context_as_it_was(phase: Phase) -> None:
    async with open_stage(config=CONFIGS.get(phase)) as stage, stage.running():
        await bring_to(stage, phase)
        state, writes = await stage.state(), await stage.snapshot_writes()
        before, performed = await stage.dump(), len(stage.performer.performed)
        action = refused_in(phase)
        seq = await stage.deliver(action)
        await until(lambda: stage.store.commits and stage.store.commits[-1].acknowledged == seq)
        await settled()
        result = await stage.result(seq)
        assert result is not None
        assert (result.outcome, result.phase, result.version) == (
            *("refused", phase.value, state.version),
        )
        assert result.allowed_actions == allowed_actions(state)
        after = await stage.dump()
        for name in ("log", "draft", "snap", "msgs"):
            assert after[name] == before[name], name
        assert await stage.state() == state
        assert await stage.snapshot_writes() == writes
        assert len(stage.performer.performed) == performed
        assert await stage.waiting_mail() == []


@in_virtual_time
@pytest.mark.parametrize("phase", sorted(RESTING - {Phase.DELETED}))
async def test_an_activation_without_anything_to_do_writes_nothing(phase: Phase) -> None:
    async with open_stage(config=CONFIGS.get(phase)) as stage:
        async with stage.running() as run:
            await bring_to(stage, phase)
            await run.ended()
        before = await stage.dump()
        commits, writes = len(stage.store.commits), await stage.snapshot_writes()
        assert await stage.pass_through() == "idle"
        assert len(stage.store.commits) == commits
        assert await stage.snapshot_writes() == writes
        after = await stage.dump()
        for name in ("log", "draft", "snap", "msgs", "mail", "results", "keys"):
            assert after[name] == before[name], name


@in_virtual_time
async def test_what_writes_nothing_is_counted_as_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_stage(rename("one"), RETRY) as stage:
        counted = note_counts(stage.store, monkeypatch)
        async with stage.running() as run:
            await until(lambda: stage.store.commits)
            await stage.deliver(RETRY)
            await run.ended()
        # A commit of nothing but a refusal, and the passivation.
        assert [name for name in counted if name == "saves:clean"] == ["saves:clean"] * 2


@in_virtual_time
async def test_a_context_whose_snapshot_lags_is_not_counted_as_clean(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_stage(rename("one")) as stage:
        await stage.pass_through()
        await stage.store.link.call("DEL", *keys.of_context(CONTEXT_ID, "snap", "msgs"))
        counted = note_counts(stage.store, monkeypatch)
        assert await stage.pass_through() == "idle"
        assert "saves:clean" not in counted


@in_virtual_time
async def test_of_a_deleted_context_nothing_is_left_to_read_or_to_write() -> None:
    async with open_stage(say(), DELETE) as stage:
        assert await stage.pass_through() == "deleted"
        with pytest.raises(ContextMissing):
            await stage.state()
        with pytest.raises(ContextMissing):
            await stage.deliver(rename("Another"))
        assert await stage.store.contexts(OWNER, limit=10, after=None) == []
        assert set((await stage.dump()).values()) == {None}
        claimed = await stage.store.ownership.claim(now_ms=now_ms() + 10_000, overdue_ms=0)
        assert claimed == []
