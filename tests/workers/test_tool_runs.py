"""Runs of tools performed for real, in virtual time."""

import asyncio
import contextlib
from dataclasses import replace

import pytest

from fsm import ToolFailed, ToolReturned, call_digest
from tests.support.clock import in_virtual_time, now_s
from tests.support.playbook import replied, say, wants
from tests.workers.performing import run_tool, scene
from tests.workers.stage import now_ms
from workers.tools.declaration import tool


@tool(effect="none", timeout_s=5.0)
async def stubborn() -> str:
    """Go on, whatever happens."""
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(100)
    await asyncio.sleep(100)
    return "at last"


@in_virtual_time
async def test_a_tool_answers_and_knows_its_idempotency_key() -> None:
    async with scene(say(), replied("", wants("c1"))) as here:
        (returned,) = await here.perform(run_tool("echo", '{"text": "hi"}'))
        assert isinstance(returned, ToolReturned)
        assert returned.content == f"hi {here.book.state.id}:4.0"
        await asyncio.sleep(60)
        assert here.ear.heard == [returned]  # it is not answered for, too


@in_virtual_time
@pytest.mark.parametrize(
    ("name", "arguments", "code"),
    [
        ("broken", "{}", "raised"),
        ("nothing", "{}", "unknown_tool"),
        ("echo", "{}", "bad_arguments"),
        ("sleep", '{"seconds": 100}', "timeout"),
    ],
)
async def test_a_tool_that_fails_is_an_event(name: str, arguments: str, code: str) -> None:
    async with scene(say(), replied("", wants("c1"))) as here:
        (failed,) = await here.perform(run_tool(name, arguments))
        assert isinstance(failed, ToolFailed)
        assert (failed.code, failed.effect_id) == (code, "4.0")
        assert now_s() == pytest.approx(5 if code == "timeout" else 0, abs=0.1)


@in_virtual_time
async def test_other_arguments_than_those_approved_are_not_run() -> None:
    async with scene(say(), replied("", wants("c1"))) as here:
        approved = call_digest("sleep", '{"seconds": 1}')
        effect = run_tool("sleep", '{"seconds": 2}', digest=approved)
        (failed,) = await here.perform(effect)
        assert isinstance(failed, ToolFailed)
        assert failed.code == "digest_mismatch"
        assert now_s() == 0


@in_virtual_time
async def test_a_tool_gets_no_more_time_than_its_turn_has() -> None:
    async with scene(say(), replied("", wants("c1"))) as here:
        effect = run_tool("sleep", '{"seconds": 100}', due_ms=now_ms() + 2_000)
        (failed,) = await here.perform(effect)
        assert isinstance(failed, ToolFailed)
        assert failed.code == "timeout"
        assert now_s() == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize(("left_s", "answered_s"), [(300, 6), (2, 3)])
@in_virtual_time
async def test_a_tool_that_goes_on_though_it_was_cancelled_is_answered_for(
    left_s: int, answered_s: int
) -> None:
    for_ops = replace(stubborn, roles=frozenset({"ops"}))
    async with scene(say(), replied("", wants("c1")), tools=(for_ops,), role="ops") as here:
        effect = run_tool("stubborn", "{}", due_ms=now_ms() + 1_000 * left_s)
        began_ms = now_ms()
        failed, returned = await here.perform(effect)
        assert isinstance(failed, ToolFailed)
        assert (failed.code, failed.effect_id) == ("timeout", "4.0")
        assert failed.at_ms - began_ms == pytest.approx(1_000 * answered_s, abs=100)
        # It answers nothing any more; the machine drops it.
        assert isinstance(returned, ToolReturned)
