"""MCP servers as sources of tools: real processes, real pipes and sockets."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from mcp.types import Tool as ListedTool
from structlog.testing import capture_logs

from tests.runtime.support import alive, until
from tests.support.service_processes import free_port, tethered
from workers.tools import Registry, ToolCallContext, ToolConfig, ToolError, tool
from workers.tools.declaration import PROBLEMS_MAX
from workers.tools.mcp_attachment import attached
from workers.tools.mcp_servers import BadServers, StdioServer, read_servers
from workers.tools.mcp_tools import tool_of

Json: TypeAlias = Any
"""Declarations and what a server has written down; asserted on key by key."""

pytestmark = pytest.mark.timeout(240)

CONTEXT = ToolCallContext(owner="o", context_id="c1", effect_id="3.0", call_id="x")
PLAIN = Path(__file__).with_name("mcp_plain_server.py")
SDK = Path(__file__).with_name("mcp_sdk_server.py")
PLAIN_TOOLS = tuple(
    f"plain__{name}"
    for name in (
        *("babble", "break", "die", "echo", "environment", "grow", "hang"),
        *("odd_name", "puzzle", "refuse", "reveal", "scream", "shout", "shriek", "wait"),
    )
)


class Trace:
    """What a plain server has written down."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __iter__(self) -> Iterator[Json]:
        if self.file.exists():
            yield from map(json.loads, self.file.read_text().splitlines())

    @property
    def process_ids(self) -> list[int]:
        return [entry["process_id"] for entry in self if "process_id" in entry]

    def params(self, method: str) -> list[Json]:
        return [entry["params"] for entry in self if entry.get("method") == method]


@pytest.fixture
def trace(tmp_path: Path) -> Trace:
    return Trace(tmp_path / "trace")


def plain(trace: Trace, *, env: Mapping[str, str] | None = None, **declared: Json) -> Json:
    """A declaration of the plain server."""
    return {
        "command": sys.executable,
        "args": ["-I", "-S", str(PLAIN)],
        "env": {"TRACE": str(trace.file), **(env or {})},
        **declared,
    }


@contextlib.asynccontextmanager
async def offering(
    folder: Path, servers: Json, registry: Registry | None = None, **config: Json
) -> AsyncGenerator[Registry]:
    """A registry with servers attached; entered at once, whatever they do."""
    file = folder / "mcp.json"
    file.write_text(json.dumps({"mcpServers": servers}))
    settings = ToolConfig.model_validate({"mcp_servers": file, "mcp_pause_s": 0.05, **config})
    registry = registry or Registry((), settings)
    async with attached(settings, registry):
        yield registry


async def failure(tools: Registry, name: str, arguments: str = "{}") -> ToolError:
    with pytest.raises(ToolError) as caught:
        await tools.run(name, arguments, CONTEXT)
    return caught.value


async def answer(tools: Registry, name: str, arguments: str = "{}") -> str:
    """The result of a call that is made again for as long as its server is away."""
    async with asyncio.timeout(100):
        while True:
            try:
                return await tools.run(name, arguments, CONTEXT)
            except ToolError as error:
                if error.code != "unavailable":
                    raise
                await asyncio.sleep(0.02)


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


async def never(_arguments: Json, _context: ToolCallContext) -> str:
    raise AssertionError("it is not run")


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"type": "string"}, "its arguments are no JSON object"),
        ({"type": "object", "required": 1}, "its arguments' schema is no JSON Schema"),
        ({"type": "object", "$schema": []}, "its arguments' schema is no JSON Schema"),
        (
            {"type": "object", "not": {"$schema": "http://json-schema.org/draft-07/schema#"}},
            "parts of its arguments' schema are of another draft",
        ),
        (
            {"type": "object", "allOf": [{}, {"$schema": "http://json-schema.org/schema#"}]},
            "parts of its arguments' schema are of another draft",
        ),
        ({"type": "object", "title": "x" * 70_000}, "its description and schema are over"),
        ({"type": "object", "maxProperties": 2**64}, "its schema holds what no request can"),
    ],
)
def test_a_tool_that_does_not_fit_is_refused_with_the_reason(schema: Json, reason: str) -> None:
    listed = ListedTool(name="t", input_schema=schema)
    with pytest.raises(ValueError, match=reason):
        tool_of("s", StdioServer(command="c"), listed, never)


def test_a_tool_may_not_be_long_in_its_description_and_its_schema_together() -> None:
    listed = ListedTool(
        name="t",
        description="x" * 40_000,
        input_schema={"type": "object", "title": "x" * 40_000},
    )
    with pytest.raises(ValueError, match="its description and schema are over"):
        tool_of("s", StdioServer(command="c"), listed, never)


def test_no_more_than_a_few_problems_of_arguments_are_told() -> None:
    schema = {"type": "object", "required": [f"p{n}" for n in range(2 * PROBLEMS_MAX)]}
    listed = ListedTool(name="t", input_schema=schema)
    declared = tool_of("s", StdioServer(command="c"), listed, never)
    with pytest.raises(ToolError) as refused:
        declared.parsed("{}")
    told = refused.value.detail.split("; ")
    assert told == [f"arguments: 'p{n}' is a required property" for n in range(PROBLEMS_MAX)]


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        ({"pattern": "^(a+)+$"}, None),
        ({"$ref": "#/$defs/nowhere"}, "The tool's own schema cannot be followed."),
        ({"allOf": [{"$ref": "#/properties/a"}]}, "The tool's own schema cannot be followed."),
        ({"$ref": "#/$defs/40"}, "The tool's own schema cannot be followed."),
    ],
)
def test_a_schema_is_not_followed_for_ever(schema: Json, problem: str | None) -> None:
    # Followed to its end, each of these would be looked at twice as often as the next.
    twice = {str(n): {"allOf": [{"$ref": f"#/$defs/{n - 1}"}] * 2} for n in range(1, 41)}
    listed = ListedTool(
        name="t",
        input_schema={
            "type": "object",
            "properties": {"a": schema},
            "patternProperties": {"^(b+)+$": False},
            "additionalProperties": False,
            "$defs": {"0": {}, **twice},
        },
    )
    tools = Registry((tool_of("s", StdioServer(command="c"), listed, never),), ToolConfig())
    arguments = json.dumps({"a": "a" * 40 + "b", "b" * 40 + "c": 1})
    assert tools.problem(name="s__t", arguments_json=arguments) == problem


def test_a_schema_is_not_held_against_many_arguments_for_ever() -> None:
    choices: Json = {"items": {"anyOf": [{"const": number} for number in range(1_000)]}}
    listed = ListedTool(
        name="t", input_schema={"type": "object", "properties": {"a": choices, "b": choices}}
    )
    declared = tool_of("s", StdioServer(command="c"), listed, never)
    assert declared.parsed(json.dumps({"a": [999] * 10, "b": [0] * 500}))
    with pytest.raises(ToolError, match="cannot be followed"):
        declared.parsed(json.dumps({"a": [999] * 1_000}))


LARGE: Mapping[str, Json] = {
    "choices": {"enum": ["0", *range(5_000)]},
    "nothing": {"allOf": [{}] * 1_000},
}


@pytest.mark.parametrize(
    ("schema", "few", "many"),
    [
        ({"items": {}}, [0] * 50, [0] * 500),
        ({"items": True}, [0] * 50, [0] * 10_000),
        ({"additionalProperties": {}}, {}, dict.fromkeys(map(str, range(500)), 0)),
        ({"if": {"type": "string"}, "then": {"$ref": "#/$defs/choices"}}, 0, "0"),
        ({"if": {"type": "string"}, "then": {"$ref": "#/$defs/nothing"}}, 0, "0"),
    ],
)
def test_what_is_large_is_not_looked_at_again_and_again(
    schema: Json, few: Json, many: Json
) -> None:
    schema = {"type": "object", "properties": {"a": {"allOf": [schema] * 500}}, "$defs": LARGE}
    listed = ListedTool(name="t", input_schema=schema)
    declared = tool_of("s", StdioServer(command="c"), listed, never)
    assert declared.parsed(json.dumps({"a": few}))
    with pytest.raises(ToolError, match="cannot be followed"):
        declared.parsed(json.dumps({"a": many}))


def test_a_schema_that_goes_in_circles_ends_no_worker() -> None:
    circle: Json = {"type": "object", "properties": {"a": {"not": {"$ref": "#/properties/a"}}}}
    declared = tool_of(
        "s", StdioServer(command="c"), ListedTool(name="t", input_schema=circle), never
    )

    def look(frames: int) -> None:
        if frames:
            return look(frames - 1)
        with pytest.raises(ToolError, match="cannot be followed"):
            declared.parsed('{"a": 1}')
        return None

    # Where on the stack Python's limit is met decides what is raised.
    for frames in range(20):
        look(frames)


@pytest.mark.parametrize(
    ("schema", "number"),
    [
        ({"multipleOf": 0.01}, "1" + "0" * 400),
        ({"multipleOf": 0.01}, "1e400"),
        ({"$ref": "#/type"}, "1"),
        ({"$ref": "#/required/first"}, "1"),
        ({"$ref": "http://["}, "1"),
    ],
)
def test_arguments_that_cannot_be_checked_are_wrong(schema: Json, number: str) -> None:
    listed = ListedTool(
        name="t",
        input_schema={"type": "object", "properties": {"a": schema}, "required": ["a"]},
    )
    tools = Registry((tool_of("s", StdioServer(command="c"), listed, never),), ToolConfig())
    assert tools.problem(name="s__t", arguments_json=f'{{"a": {number}}}') == (
        "The tool's own schema cannot be followed."
    )


def test_a_schema_is_not_followed_out_of_itself() -> None:
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        url = f"http://127.0.0.1:{elsewhere.getsockname()[1]}/schema"
        schema = {"type": "object", "properties": {"a": {"$ref": url}}}
        listed = ListedTool(name="t", input_schema=schema)
        declared = tool_of("s", StdioServer(command="c"), listed, never)
        with pytest.raises(ToolError, match="cannot be followed"):
            declared.parsed('{"a": 1}')
        elsewhere.setblocking(False)
        with pytest.raises(BlockingIOError):
            elsewhere.accept()


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


# Servers that are no good


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


# The declarations


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "the file: Invalid JSON"),
        ("{}", "mcpServers: Field required"),
        ('{"mcpServers": {"a__b": {"command": "c"}}}', "mcpServers.a__b"),
        ('{"mcpServers": {"a": {}}}', "mcpServers.a.stdio.command: Field required"),
        ('{"mcpServers": {"a": {"url": "file:///b"}}}', "mcpServers.a.http.url"),
        ('{"mcpServers": {"a": {"url": "http://b", "type": "sse"}}}', "mcpServers.a.http.type"),
        ('{"mcpServers": {"a": {"command": "c", "role": "d"}}}', "mcpServers.a.stdio.role"),
        (
            '{"mcpServers": {"a": {"command": "c", "env": {"d": "${NO_SUCH}"}}}}',
            "mcpServers.a.stdio.env.d: Value error, the variable NO_SUCH is not set",
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_told_with_the_place(
    tmp_path: Path, text: str, told: str
) -> None:
    file = tmp_path / "mcp.json"
    file.write_text(text)
    with pytest.raises(BadServers) as caught:
        read_servers(file)
    assert str(caught.value).startswith(f"The MCP servers' file {file}: {told}")


def test_a_file_that_is_missing_is_told_and_none_declares_nothing(tmp_path: Path) -> None:
    with pytest.raises(BadServers, match="cannot be read: No such file"):
        read_servers(tmp_path / "mcp.json")
    assert read_servers(None) == {}


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
