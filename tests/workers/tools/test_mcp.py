"""MCP servers as sources of tools: real processes, real pipes and sockets."""

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.runtime.support import alive, until
from tests.support.service_processes import free_port, tethered
from tests.workers.tools.attaching import (
    CONTEXT,
    PLAIN_TOOLS,
    SDK,
    Trace,
    answer,
    failure,
    offering,
    plain,
)
from workers.tools import Registry, ToolConfig, tool
from workers.tools.mcp_servers import read_servers

pytestmark = pytest.mark.timeout(240)


# What is offered


async def test_tools_are_offered_under_the_name_of_their_server(
    tmp_path: Path, trace: Trace
) -> None:
    async with offering(tmp_path, {"plain": plain(trace)}) as tools:
        await until(lambda: tools.names)
        # Left out: a name that is too long, and a schema that is none.
        assert tools.names == PLAIN_TOOLS
        (offered,) = tools.offered(("plain__echo",))
        assert offered["function"] == {
            "name": "plain__echo",
            "description": "Say it back.",
            "parameters": {
                "type": "object",
                "properties": {"text": {"type": "string", "maxLength": 10}},
                "required": ["text"],
                "additionalProperties": False,
            },
        }


async def test_what_running_a_tool_means_comes_from_its_annotations_and_its_declaration(
    tmp_path: Path, trace: Trace
) -> None:
    servers = {
        "a": plain(trace),
        "b": plain(trace, effect="once", approval="always", trusted=True, timeout_s=3),
    }
    async with offering(tmp_path, servers) as tools:
        await until(lambda: len(tools.names) == 2 * len(PLAIN_TOOLS))
        effects = [tools.describe(f"a__{n}").effect for n in ("environment", "shout", "echo")]
        assert effects == ["none", "idempotent", "once"]
        echo, other = tools.describe("a__echo"), tools.describe("b__shout")
        assert (echo.dangerous, echo.untrusted, echo.timeout_s) == (False, True, 30)
        assert (other.dangerous, other.untrusted, other.timeout_s) == (True, False, 3)
        assert other.effect == "once"


async def test_only_contexts_with_a_role_of_the_declaration_are_offered_its_tools(
    tmp_path: Path, trace: Trace
) -> None:
    async with offering(tmp_path, {"plain": plain(trace, roles=["ops"])}) as tools:
        await until(lambda: tools.names)
        assert len(tools.offered(None, role="ops")) == len(PLAIN_TOOLS)
        assert tools.offered(None, role="sales") == tools.offered(None) == ()
        assert tools.offered(("plain__echo",)) == ()
        arguments = '{"text": "hi"}'
        unknown = "There is no tool called 'plain__echo'."
        assert tools.problem(name="plain__echo", arguments_json=arguments) == unknown
        allowed = tools.problem(name="plain__echo", arguments_json=arguments, role="ops")
        assert allowed is None
        assert (await failure(tools, "plain__echo", arguments)).code == "unknown_tool"
        assert await tools.run("plain__echo", arguments, CONTEXT, role="ops") == "hi"


async def test_only_listed_tools_are_taken_and_no_more_than_the_bound(
    tmp_path: Path, trace: Trace
) -> None:
    servers = {
        "few": plain(trace, tools=["echo", "shout", "of another"]),
        "many": plain(trace),
    }
    async with offering(tmp_path, servers, mcp_tools_max=3) as tools:
        await until(lambda: len(tools.names) == 5)
        assert tools.names == (
            *("few__echo", "few__shout", "many__echo", "many__environment", "many__shout"),
        )


async def test_what_is_no_tool_is_left_out_alone(tmp_path: Path, trace: Trace) -> None:
    servers = {"plain": plain(trace, env={"MISFITS": "1"})}
    with capture_logs() as logs:
        async with offering(tmp_path, servers) as tools:
            await until(lambda: tools.names)
            assert tools.names == PLAIN_TOOLS
            assert await tools.run("plain__echo", '{"text": "hi"}', CONTEXT) == "hi"
    told = [entry for entry in logs if entry["event"] == "mcp tool left out"]
    reason = "the protocol knows no such tool"
    left_out = [entry["tool"] for entry in told if entry["reason"] == reason]
    assert left_out == ["untyped", "mute", "number 4", "number 5"]
    assert "mcp server lost" not in [entry["event"] for entry in logs]


async def test_a_tool_whose_name_is_taken_is_left_out(tmp_path: Path, trace: Trace) -> None:
    @tool(effect="none", name="plain__echo")
    async def ours() -> str:
        return "ours"

    registry = Registry((ours,), ToolConfig())
    async with offering(tmp_path, {"plain": plain(trace)}, registry) as tools:
        await until(lambda: len(tools.names) > 1)
        assert tools.describe("plain__echo") is ours
        assert tools.names == PLAIN_TOOLS


async def test_a_server_that_tells_of_a_change_is_asked_again(
    tmp_path: Path, trace: Trace
) -> None:
    async with offering(tmp_path, {"plain": plain(trace)}) as tools:
        assert await answer(tools, "plain__grow") == "It has grown."
        await until(lambda: "plain__grown" in tools.names)
        shown = [offer["function"] for offer in tools.offered(("plain__grown",))]
        assert len(shown) == 1


# Calls


async def test_a_call_carries_its_arguments_and_its_idempotency_key(
    tmp_path: Path, trace: Trace
) -> None:
    async with offering(tmp_path, {"plain": plain(trace)}) as tools:
        assert await tools.run("plain__echo", '{"text": "hi"}', CONTEXT) == "hi"
        (params,) = trace.params("tools/call")
        assert (params["name"], params["arguments"]) == ("echo", {"text": "hi"})
        assert params["_meta"]["contextd/idempotency-key"] == "c1:3.0"


async def test_arguments_are_checked_by_the_tools_own_schema_before_it_is_asked(
    tmp_path: Path, trace: Trace
) -> None:
    async with offering(tmp_path, {"plain": plain(trace)}) as tools:
        await until(lambda: tools.names)
        for arguments, told in [
            ("{", "arguments: Invalid JSON"),
            ("[]", "arguments: This is no JSON object."),
            ("", "arguments: 'text' is a required property"),
            ('{"text": 1}', "text: 1 is not of type 'string'"),
            ('{"text": "hi", "to": "me"}', "arguments: Additional properties are not allowed"),
            ('{"text": NaN}', "arguments: Invalid JSON"),
        ]:
            problem = tools.problem(name="plain__echo", arguments_json=arguments)
            assert problem is not None
            assert problem.startswith(told)
            failed = await failure(tools, "plain__echo", arguments)
            assert (failed.code, failed.detail) == ("bad_arguments", problem)
        assert tools.problem(name="plain__echo", arguments_json='{"text": "hi"}') is None
        assert trace.params("tools/call") == []


async def test_errors_of_a_tool_and_of_its_server_are_told(
    tmp_path: Path, trace: Trace
) -> None:
    async with offering(tmp_path, {"plain": plain(trace)}) as tools:
        refused = await failure(tools, "plain__refuse")
        assert (refused.code, refused.detail) == ("raised", "It is not to be.")
        broken = await failure(tools, "plain__break")
        assert (broken.code, broken.detail) == ("raised", "That is not done here.")


async def test_what_a_server_was_given_is_said_back_to_nobody(
    tmp_path: Path, trace: Trace
) -> None:
    declared = plain(trace, env={"KEY": "Bearer s3cret-of-the-server"})
    async with offering(tmp_path, {"plain": declared}) as tools:
        assert await tools.run("plain__reveal", "{}", CONTEXT) == "It is Bearer [removed]."
        assert (await failure(tools, "plain__shriek")).detail == "It is Bearer [removed]."
        assert (await failure(tools, "plain__babble")).detail == (
            "The answer of the server plain is no result of a tool."
        )


async def test_a_result_is_not_held_to_the_schema_of_a_stranger(
    tmp_path: Path, trace: Trace
) -> None:
    # Its pattern would hold the worker up for hours.
    async with offering(tmp_path, {"plain": plain(trace)}) as tools:
        told = await tools.run("plain__puzzle", "{}", CONTEXT)
    assert told == f'Guess.\n{{"a":"{"a" * 40}b"}}'


async def test_long_results_and_errors_are_cut(tmp_path: Path, trace: Trace) -> None:
    registry = Registry((), ToolConfig(tool_result_bytes_max=300))
    async with offering(tmp_path, {"plain": plain(trace)}, registry) as tools:
        text = await tools.run("plain__shout", "{}", CONTEXT)
        failed = await failure(tools, "plain__scream")
        for long in (text, failed.detail):
            assert len(long) == 300
            assert long.endswith("\n[cut: 5000 bytes]")


async def test_a_call_that_takes_too_long_is_taken_back(tmp_path: Path, trace: Trace) -> None:
    async with offering(tmp_path, {"plain": plain(trace, timeout_s=1.0)}) as tools:
        failed = await failure(tools, "plain__wait")
        assert (failed.code, failed.detail) == (
            "timeout",
            "plain__wait did not finish within 1 s.",
        )
        await until(lambda: trace.params("notifications/cancelled"))
        # The server itself is well, and stays.
        assert await tools.run("plain__echo", '{"text": "hi"}', CONTEXT) == "hi"
        assert len(trace.process_ids) == 1


async def test_cancelling_takes_the_call_back(tmp_path: Path, trace: Trace) -> None:
    async with offering(tmp_path, {"plain": plain(trace)}) as tools:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(tools.run("plain__wait", "{}", CONTEXT), name="tool")
            await until(lambda: trace.params("tools/call"))
            task.cancel()
        assert task.cancelled()
        await until(lambda: trace.params("notifications/cancelled"))


async def test_no_more_calls_than_the_bound_are_made_at_once(
    tmp_path: Path, trace: Trace
) -> None:
    async with offering(tmp_path, {"plain": plain(trace)}, mcp_calls_max=1) as tools:
        await until(lambda: tools.names)
        async with asyncio.TaskGroup() as group:
            wait = group.create_task(tools.run("plain__wait", "{}", CONTEXT), name="wait")
            await until(lambda: trace.params("tools/call"))
            echo = group.create_task(
                tools.run("plain__echo", '{"text": "hi"}', CONTEXT), name="echo"
            )
            await asyncio.wait((echo,), timeout=0.05)
            wait.cancel()
        assert echo.result() == "hi"
        told = [entry["method"] for entry in trace if "method" in entry]
        about_calls = [method for method in told if method.startswith(("tools/call", "notif"))]
        assert about_calls == [
            *("notifications/initialized", "tools/call", "notifications/cancelled"),
            "tools/call",
        ]


# What a server gets, and what is left of it


async def test_a_process_gets_a_small_environment_and_what_is_declared(
    tmp_path: Path, trace: Trace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONTEXTD_MODEL_API_KEY", "sesame")
    monkeypatch.setenv("ITS_KEY", "mustard")
    servers = {"plain": plain(trace, env={"KEY": "key=${ITS_KEY}"})}
    async with offering(tmp_path, servers) as tools:
        names = set((await tools.run("plain__environment", "{}", CONTEXT)).split())
        assert {"TRACE", "KEY", "PATH"} <= names
        assert not {"CONTEXTD_MODEL_API_KEY", "ITS_KEY"} & names
    (server,) = read_servers(tmp_path / "mcp.json").values()
    assert "mustard" not in f"{server!r} {server} {server.model_dump_json()}"


async def test_no_process_is_left_after_the_block(tmp_path: Path, trace: Trace) -> None:
    async with offering(tmp_path, {"plain": plain(trace)}) as tools:
        await until(lambda: tools.names)
        assert alive(trace.process_ids[0])
    assert not alive(trace.process_ids[0])


async def test_a_process_that_is_slow_to_end_is_ended_though_the_block_ends_meanwhile(
    tmp_path: Path, trace: Trace
) -> None:
    servers = {"plain": plain(trace, timeout_s=0.2)}
    async with offering(tmp_path, servers, mcp_answer_s=0.2) as tools:
        detail = (await failure(tools, "plain__hang")).detail
        async with asyncio.timeout(10):
            while detail != "The server plain is not connected.":
                detail = (await failure(tools, "plain__wait")).detail
        assert alive(trace.process_ids[0])
    assert not any(map(alive, trace.process_ids))


async def test_an_error_of_the_block_ends_the_servers_too(tmp_path: Path, trace: Trace) -> None:
    async def fail_in_the_block() -> None:
        async with offering(tmp_path, {"plain": plain(trace)}) as tools:
            await until(lambda: tools.names)
            raise LookupError

    with pytest.raises(ExceptionGroup) as caught:
        await fail_in_the_block()
    assert caught.group_contains(LookupError)
    assert not alive(trace.process_ids[0])


# Servers that the SDK makes


async def test_results_of_each_kind_become_text(tmp_path: Path) -> None:
    servers = {"sdk": {"command": sys.executable, "args": [str(SDK)]}}
    async with offering(tmp_path, servers) as tools:
        await until(lambda: tools.names)
        assert tools.names == (
            *("sdk__add", "sdk__fail", "sdk__grow", "sdk__people", "sdk__show"),
        )
        assert tools.describe("sdk__add").effect == "none"
        assert await tools.run("sdk__add", '{"a": 2, "b": 3}', CONTEXT) == "5"
        assert json.loads(await tools.run("sdk__people", "{}", CONTEXT)) == {"Ada": 36}
        shown = await tools.run("sdk__show", "{}", CONTEXT)
        assert shown == (
            "Look:\n[image image/png, 3 bytes]\n[resource a: file:///a]\n"
            "[resource file:///b]\nWhat is in b."
        )
        failed = await failure(tools, "sdk__fail")
        assert (failed.code, "It is not to be." in failed.detail) == ("raised", True)
        # Servers of this era tell changes to those who have asked for them.
        await tools.run("sdk__grow", "{}", CONTEXT)
        await until(lambda: "sdk__grown" in tools.names)


@contextlib.contextmanager
def served(port: int) -> Generator[None]:
    """The SDK's server on a port of the loopback; killed at the end."""
    command = tethered(sys.executable, str(SDK), str(port))
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield
        finally:
            process.kill()


async def test_a_server_is_reached_over_http_and_again_after_it_was_away(
    tmp_path: Path,
) -> None:
    port = free_port()
    servers = {"far": {"url": f"http://127.0.0.1:{port}/mcp"}}
    async with offering(tmp_path, servers, mcp_pause_s_max=0.2, mcp_check_s=0.2) as tools:
        with served(port):
            assert await answer(tools, "far__add", '{"a": 2, "b": 3}') == "5"
            await tools.run("far__grow", "{}", CONTEXT)
            await until(lambda: "far__grown" in tools.names)
        away = await failure(tools, "far__add", '{"a": 2, "b": 3}')
        assert away.code == "unavailable"
        assert "far__grown" in tools.names
        with served(port):
            assert await answer(tools, "far__add", '{"a": 4, "b": 3}') == "7"
            await until(lambda: "far__grown" not in tools.names)
