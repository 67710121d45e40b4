"""Tools of MCP servers as tools of a worker: names, checks of arguments, results as text.

What a server says is a stranger's: a tool that does not fit is left out, and a schema is
never followed to where it points outside of itself. What a schema could make endless has a
bound (steps) or is left to the server (regular expressions, comparing all items).
"""

import contextlib
import re
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from functools import cache, partial
from importlib import import_module
from operator import attrgetter
from typing import Any, Final, TypeAlias

import orjson
from jsonschema import Draft202012Validator
from jsonschema.protocols import Validator
from jsonschema.validators import validator_for
from mcp.types import (
    AudioContent,
    CallToolResult,
    ContentBlock,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
    TextResourceContents,
    Tool as ListedTool,
    ToolAnnotations,
)
from pydantic import JsonValue
from pydantic_core import from_json, to_json
from referencing import Registry as Schemas

from fsm import ToolEffect
from workers.tools.declaration import NAME, PROBLEMS_MAX, Tool, ToolCallContext, ToolError
from workers.tools.mcp_servers import McpServer
from workers.tools.registry import SEPARATOR

Call: TypeAlias = Callable[[dict[str, JsonValue], ToolCallContext], Awaitable[str]]
_Schema: TypeAlias = Any  # JSON, as jsonschema's annotations have it
_Check: TypeAlias = Callable[..., _Schema]
_created: Callable[..., type[Validator]] = import_module("jsonschema.validators").create
"""Found by name, because its annotations say nothing at all."""

_DEFINITION_BYTES_MAX: Final = 65_536
"""Of one tool's description and schema: they go into every request to the model."""
_PROBLEM_CHARS_MAX: Final = 200
_STEPS_MAX: Final = 80_000
"""Of one check, some 5 us each. Holding a value against a schema takes two, each keyword in
there one, and one for each 32 entries that the keyword or the value has."""
_ENTRIES_A_STEP: Final = 32
_REFERENCE_STEPS: Final = 12
_REFERENCES: Final = ("$ref", "$dynamicRef", "$recursiveRef")
_LEFT_TO_THE_SERVER: Final = (
    "format",
    "pattern",
    "patternProperties",
    "unevaluatedItems",
    "unevaluatedProperties",
    "uniqueItems",
)

_steps_left: ContextVar[list[int]] = ContextVar("steps_left")


def tool_of(server_name: str, server: McpServer, listed: ListedTool, call: Call) -> Tool:
    """Return a listed tool as one that can be offered.

    Args:
        server_name: As it was declared; the tool's name begins with it.
        server: What was declared.
        listed: What the server says of the tool.
        call: Runs it.

    Raises:
        ValueError: It cannot be offered; the message says why.
    """
    name = f"{server_name}{SEPARATOR}{re.sub(r'[^a-zA-Z0-9_-]', '_', listed.name)}"
    if not NAME.fullmatch(name):
        raise ValueError("its name is over 64 characters with the server's")
    description = listed.description or listed.title or ""
    schema: dict[str, JsonValue] = listed.input_schema
    try:
        encoded = orjson.dumps(schema)  # as requests to the model are
    except orjson.JSONEncodeError:
        raise ValueError(
            "its schema holds what no request can: over 64 bits, or deep"
        ) from None
    if len(encoded) + len(description.encode(errors="replace")) > _DEFINITION_BYTES_MAX:
        raise ValueError(f"its description and schema are over {_DEFINITION_BYTES_MAX} bytes")
    return Tool(
        name=name,
        description=description,
        function=call,
        parsed=partial(_parsed, _validator(schema)),
        parameters=schema,
        context_parameter="context",
        is_async=True,
        effect=server.effect or _effect(listed.annotations),
        dangerous=server.approval == "always",
        timeout_s=server.timeout_s,
        untrusted=not server.trusted,
        roles=server.roles,
    )


def text_of(result: CallToolResult) -> str:
    """Return a result as text; what is no text is named in brackets."""
    text = "\n".join(_told(block) for block in result.content)
    structure: JsonValue = result.structured_content
    if structure is None or _is_told(structure, text):
        return text
    return "\n".join(filter(None, (text, to_json(structure).decode())))


def _is_told(structure: JsonValue, text: str) -> bool:
    """Whether the text repeats the structured result, as it should for older clients."""
    said: JsonValue = text
    with contextlib.suppress(ValueError):
        said = from_json(text)
    # A value that is no object stands under this name.
    return structure in (said, {"result": said}, {"result": text})


def _told(block: ContentBlock) -> str:
    match block:
        case TextContent():
            return block.text
        case ImageContent() | AudioContent():
            return f"[{block.type} {block.mime_type}, {len(block.data) * 3 // 4} bytes]"
        case ResourceLink():
            return f"[resource {block.name}: {block.uri}]"
        case EmbeddedResource(resource=TextResourceContents() as resource):
            return f"[resource {resource.uri}]\n{resource.text}"
        case EmbeddedResource():
            return f"[resource {block.resource.uri}]"


def _effect(annotations: ToolAnnotations | None) -> ToolEffect:
    if annotations is not None and annotations.read_only_hint:
        return "none"
    if annotations is not None and annotations.idempotent_hint:
        return "idempotent"
    return "once"


def _parsed(validator: Validator, arguments_json: str) -> dict[str, object]:
    """Check arguments by a tool's own schema; what its `Call` takes.

    Raises:
        ToolError: `bad_arguments`.
    """
    try:
        arguments: JsonValue = from_json(arguments_json or "{}", allow_inf_nan=False)
    except ValueError as error:
        raise ToolError("bad_arguments", f"arguments: Invalid JSON: {error}") from None
    if not isinstance(arguments, dict):
        raise ToolError("bad_arguments", "arguments: This is no JSON object.")
    told: list[str] = []
    _steps_left.set([_STEPS_MAX])
    try:
        for problem in validator.iter_errors(arguments):
            where = ".".join(map(str, problem.absolute_path)) or "arguments"
            told.append(f"{where}: {problem.message[:_PROBLEM_CHARS_MAX]}")
            if len(told) == PROBLEMS_MAX:
                break
    except BaseException as error:
        # References that lead nowhere, in circles, or to what is no schema; numbers over all
        # bounds. In a circle `rpds`, which holds the references, may panic: no `Exception`.
        detail = "The tool's own schema cannot be followed."
        raise ToolError("bad_arguments", detail) from error
    if told:
        raise ToolError("bad_arguments", "; ".join(told))
    return {"arguments": arguments}


def _validator(schema: dict[str, JsonValue]) -> Validator:
    if schema.get("type") != "object":
        raise ValueError("its arguments are no JSON object")
    try:
        kind = validator_for(schema, default=Draft202012Validator)
        kind.check_schema(schema)
    except BaseException as error:  # see _parsed
        raise ValueError("its arguments' schema is no JSON Schema") from error
    # Where a part names a draft, jsonschema goes on with that draft's own validator.
    parts = {key: part for key, part in schema.items() if key != "$schema"}
    if _names_a_draft(parts):
        raise ValueError("parts of its arguments' schema are of another draft")
    _steps_left.set([_STEPS_MAX])
    return _bounded(kind)(parts, registry=Schemas())


def _names_a_draft(schema: JsonValue) -> bool:
    if isinstance(schema, list):
        return any(map(_names_a_draft, schema))
    return isinstance(schema, dict) and (
        isinstance(schema.get("$schema"), str) or any(map(_names_a_draft, schema.values()))
    )


@cache
def _bounded(kind: type[Validator]) -> type[Validator]:
    """A validator of this kind, whose checks end whatever the schema says."""
    others: Mapping[str, _Check] = kind.VALIDATORS
    keywords_of: _Check = attrgetter("_APPLICABLE_VALIDATORS")(kind)
    id_of: _Check = attrgetter("ID_OF")(kind)

    def looked_at(schema: _Schema) -> _Schema:
        _spend(1)  # jsonschema asks twice for each value
        return keywords_of(schema)

    def counted(check: _Check, steps: int) -> _Check:
        def checked(
            validator: Validator, keyword: _Schema, value: _Schema, schema: _Schema
        ) -> _Schema:
            _spend(steps + (_entries(keyword) + _entries(value)) // _ENTRIES_A_STEP)
            return check(validator, keyword, value, schema)

        return checked

    def additional(
        validator: Validator, allowed: _Schema, instance: _Schema, schema: _Schema
    ) -> _Schema:
        # Which properties are additional would depend on regular expressions.
        if "patternProperties" in schema:
            return ()
        return others["additionalProperties"](validator, allowed, instance, schema)

    def passed_over(*_: _Schema) -> _Schema:
        return ()

    left: dict[str, _Check] = dict.fromkeys(_LEFT_TO_THE_SERVER, passed_over)
    checks: dict[str, _Check] = {
        **others,
        **left,
        "additionalProperties": additional,
    }
    return _created(
        kind.META_SCHEMA,
        {
            key: counted(check, _REFERENCE_STEPS if key in _REFERENCES else 1)
            for key, check in checks.items()
        },
        type_checker=kind.TYPE_CHECKER,
        format_checker=kind.FORMAT_CHECKER,
        id_of=id_of,
        applicable_validators=looked_at,
    )


def _spend(steps: int) -> None:
    left = _steps_left.get()
    left[0] -= steps
    if left[0] < 0:
        raise RecursionError


def _entries(value: _Schema) -> int:
    return len(value) if type(value) in {list, dict} else 0
