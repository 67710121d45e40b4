"""What of a server's tools can be offered, and what arguments their schemas take."""

import gc
import json
import socket
from collections.abc import Mapping
from typing import Any, TypeAlias

import pytest
from mcp.types import Tool as ListedTool

from workers.tools import Registry, ToolCallContext, ToolConfig, ToolError
from workers.tools.declaration import PROBLEMS_MAX
from workers.tools.mcp_servers import StdioServer
from workers.tools.mcp_tools import tool_of

Json: TypeAlias = Any
"""Schemas and arguments, as a server has written them."""


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

    gc.collect()  # what other tests have left is not let go of at the end of the stack
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
