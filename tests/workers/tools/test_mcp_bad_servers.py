"""MCP servers that are no good: they die, hang, babble, and cost nobody more than a bound."""

import asyncio
import os
import signal
import socket
from pathlib import Path

import pytest

from tests.runtime.support import alive, until
from tests.workers.tools.attaching import (
    CONTEXT,
    PLAIN_TOOLS,
    Trace,
    answer,
    failure,
    offering,
    plain,
)
from workers.tools import Registry, ToolConfig

pytestmark = pytest.mark.timeout(240)


async def test_a_server_that_dies_in_a_call_is_started_again_and_its_tools_stay_known(
    tmp_path: Path, trace: Trace
) -> None:
    async with offering(tmp_path, {"plain": plain(trace)}) as tools:
        failed = await failure(tools, "plain__die")
        assert (failed.code, failed.detail) == (
            "unavailable",
            "The server plain has gone; whether die ran is not known.",
        )
        assert tools.names == PLAIN_TOOLS
        assert await answer(tools, "plain__echo", '{"text": "hi"}') == "hi"
        assert len(trace.process_ids) == 2


async def test_a_server_that_dies_between_calls_is_started_again(
    tmp_path: Path, trace: Trace
) -> None:
    async with offering(tmp_path, {"plain": plain(trace)}) as tools:
        await until(lambda: tools.names)
        os.kill(trace.process_ids[0], signal.SIGKILL)
        await until(lambda: len(trace.process_ids) == 2)
        assert await answer(tools, "plain__echo", '{"text": "hi"}') == "hi"


async def test_a_server_that_hangs_is_started_again(tmp_path: Path, trace: Trace) -> None:
    servers = {"plain": plain(trace, timeout_s=0.2)}
    async with offering(tmp_path, servers, mcp_answer_s=0.2) as tools:
        assert (await failure(tools, "plain__hang")).code == "timeout"
        await until(lambda: len(trace.process_ids) == 2)
        assert await answer(tools, "plain__echo", '{"text": "hi"}') == "hi"
        assert not alive(trace.process_ids[0])


async def test_lines_that_are_no_messages_are_passed_over_and_logged_nowhere(
    tmp_path: Path, trace: Trace, caplog: pytest.LogCaptureFixture
) -> None:
    async with offering(tmp_path, {"plain": plain(trace, env={"JUNK": "1"})}) as tools:
        assert await tools.run("plain__echo", '{"text": "hi"}', CONTEXT) == "hi"
        assert len(trace.process_ids) == 1
    assert "Starting up" not in caplog.text


async def test_nothing_waits_for_a_slow_server_but_calls_of_its_tools(
    tmp_path: Path, trace: Trace
) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    async with offering(tmp_path, {"plain": plain(trace, env={"GATE": str(gate)})}) as tools:
        await until(lambda: trace.process_ids)
        assert tools.names == ()
        assert (await failure(tools, "plain")).code == "unknown_tool"
        async with asyncio.TaskGroup() as group:
            # Approved before a restart, say: the worker knows of the tool only by its name.
            call = group.create_task(
                tools.run("plain__echo", '{"text": "hi"}', CONTEXT), name="tool"
            )
            gate.write_text("go")
        assert call.result() == "hi"


async def test_first_replies_wait_for_the_tools_of_servers_that_are_meant(
    tmp_path: Path, trace: Trace
) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    servers = {"plain": plain(trace, env={"GATE": str(gate)}, roles=["ops"])}
    async with (
        asyncio.timeout(20),
        offering(tmp_path, servers, mcp_wait_s=60) as tools,
        asyncio.TaskGroup() as group,
    ):
        waiting = [
            group.create_task(tools.all_told(names, role="ops", within_s=60), name="offer")
            for names in (None, ("clock", "plain__echo"))
        ]
        await until(lambda: trace.process_ids)
        # Its tools could not be offered here, so nobody waits; the last one has no time.
        await tools.all_told(None, role="sales", within_s=60)
        await tools.all_told(("clock", "plainer__echo"), role="ops", within_s=60)
        await tools.all_told(None, role="ops", within_s=0.01)
        assert not any(task.done() for task in waiting)
        gate.write_text("go")
        await asyncio.wait(waiting)
        assert tools.names == PLAIN_TOOLS


async def test_replies_wait_for_no_server_that_has_failed_or_takes_too_long(
    tmp_path: Path, trace: Trace
) -> None:
    missing = {"missing": {"command": str(tmp_path / "nothing")}}
    async with asyncio.timeout(20), offering(tmp_path, missing, mcp_wait_s=60) as tools:
        await tools.all_told(None, role=None, within_s=60)
    silent = {"plain": plain(trace, env={"SILENT": "1"})}
    async with asyncio.timeout(20), offering(tmp_path, silent, mcp_wait_s=0.2) as tools:
        await tools.all_told(None, role=None, within_s=60)
        assert tools.names == ()


async def test_a_server_that_never_answers_costs_its_callers_a_bounded_wait(
    tmp_path: Path, trace: Trace
) -> None:
    registry = Registry((), ToolConfig(mcp_connect_s=2.0))
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        servers = {
            "silent": plain(trace, env={"SILENT": "1"}),
            "missing": {"command": str(tmp_path / "nothing")},
            "deaf": {"url": f"http://127.0.0.1:{deaf.getsockname()[1]}/mcp"},
        }
        async with offering(tmp_path, servers, registry, mcp_connect_s=2.0) as tools:
            await until(lambda: trace.process_ids)
            for name in servers:
                failed = await failure(tools, f"{name}__echo", '{"text": "hi"}')
                assert (failed.code, failed.detail) == (
                    "unavailable",
                    f"{name} has not told its tools yet.",
                )
            # Each is tried again and again, and what was started before has ended.
            await until(lambda: len(trace.process_ids) > 1)
            assert not alive(trace.process_ids[0])
            assert tools.offered(None) == ()
        assert not any(map(alive, trace.process_ids))
