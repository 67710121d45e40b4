"""What a tool is: a Python function, its JSON Schema and what running it means.

The schema comes from the signature, and the same pydantic model checks the arguments: what
the model was told and what is accepted cannot differ. (A schema validator beside it would
be a second truth, and the arguments must become Python values anyway.) Tools of MCP servers
(`mcp_tools.py`) come with a schema instead, and are checked by that.

    ToolError        a tool call that has no result; `code` says why
"""

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal, TypeAlias, get_type_hints

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError, create_model

from fsm import ToolEffect

ToolErrorCode: TypeAlias = Literal[
    "unknown_tool", "bad_arguments", "digest_mismatch", "timeout", "raised", "unavailable"
]

ToolFunction: TypeAlias = Callable[..., Any]  # any signature: it is read, and then obeyed

NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
"""What the OpenAI protocol takes as a function's name."""

PROBLEMS_MAX: Final = 5
"""How many wrong arguments are told at once."""


class ToolError(Exception):
    """A tool call has failed. The detail is told to the model."""

    def __init__(self, code: ToolErrorCode, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code: ToolErrorCode = code
        self.detail = detail


@dataclass(frozen=True, slots=True)
class ToolCallContext:
    """Who asks and under which key; a tool gets it through a parameter of this type."""

    owner: str
    context_id: str
    effect_id: str
    """The same on every attempt to run this call; unique in its context."""
    call_id: str

    @property
    def idempotency_key(self) -> str:
        """A key that is the same on every attempt and unique among all contexts."""
        return f"{self.context_id}:{self.effect_id}"


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that a model may ask for."""

    name: str
    description: str
    function: ToolFunction
    parsed: Callable[[str], dict[str, object]]
    """Checks arguments (JSON text) and returns them as the function takes them; raises
    ToolError `bad_arguments`, with a sentence for each of the first few problems."""
    parameters: Mapping[str, JsonValue]
    """JSON Schema of the arguments."""
    context_parameter: str | None
    """Name of the parameter that takes the ToolCallContext."""
    is_async: bool
    effect: ToolEffect
    """What running it twice would do."""
    dangerous: bool
    """Waits for a person whatever the policy says."""
    timeout_s: float
    untrusted: bool = False
    """What it returns comes from strangers; afterwards, what has effects is asked about."""
    question: bool = False
    """It is not run: the person answers."""

    roles: frozenset[str] = frozenset()
    """Which contexts are offered it, by their `config.role`; empty: all."""

    def is_for(self, role: str | None) -> bool:
        """Whether a context of this role may use it."""
        return not self.roles or role in self.roles


def tool(
    *,
    effect: ToolEffect,
    dangerous: bool = False,
    untrusted: bool = False,
    question: bool = False,
    timeout_s: float = 30.0,
    name: str | None = None,
) -> Callable[[ToolFunction], Tool]:
    """Declare a function as a tool.

    Its docstring up to the first section is the description; a parameter is described by
    `Annotated[..., Field(description=...)]`. A parameter of type `ToolCallContext` is
    filled in and not shown to the model.

    Args:
        effect: What running it twice would do: `none`, `idempotent` (nothing, under the
            same key), or `once` (harm).
        dangerous: A person must approve each call, whatever the policy.
        untrusted: What it returns comes from strangers (the web, mail): after it, calls that
            have effects wait for a person, whatever the policy.
        question: The function is never run; the call is put to the person, whose answer is
            its result.
        timeout_s: Longest run. An async function is then cancelled, and left to itself if it
            goes on; one that is not runs in a thread, which cannot be stopped, and is left
            to itself.
        name: What the model calls it; the function's own name by default.
    """

    def declare(function: ToolFunction) -> Tool:
        return _declared(
            function,
            name=name or function.__name__,
            effect=effect,
            dangerous=dangerous,
            untrusted=untrusted,
            question=question,
            timeout_s=timeout_s,
        )

    return declare


def _declared(
    function: ToolFunction,
    *,
    name: str,
    effect: ToolEffect,
    dangerous: bool,
    untrusted: bool,
    question: bool,
    timeout_s: float,
) -> Tool:
    if not NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name for a tool: 1 to 64 of a-z A-Z 0-9 _ -")
    hints = get_type_hints(function, include_extras=True)
    fields: dict[str, Any] = {}  # what create_model takes: an annotation and a default
    context_parameter: str | None = None
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind not in {parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY}:
            raise ValueError(f"tool {name}: {parameter} cannot be given by name")
        if parameter.name not in hints:
            raise ValueError(f"tool {name}: parameter {parameter.name} has no type")
        if hints[parameter.name] is ToolCallContext:
            context_parameter = parameter.name
            continue
        required = parameter.default is parameter.empty
        fields[parameter.name] = (hints[parameter.name], ... if required else parameter.default)
    arguments = create_model(
        name, __config__=ConfigDict(extra="forbid", allow_inf_nan=False), **fields
    )
    return Tool(
        name=name,
        description=_description(function),
        function=function,
        parsed=partial(_parsed, arguments),
        parameters=_schema(arguments),
        context_parameter=context_parameter,
        is_async=inspect.iscoroutinefunction(function),
        effect=effect,
        dangerous=dangerous,
        untrusted=untrusted,
        question=question,
        timeout_s=timeout_s,
    )


def _parsed(arguments: type[BaseModel], arguments_json: str) -> dict[str, object]:
    """Check arguments with the model whose fields are the function's parameters.

    Raises:
        ToolError: `bad_arguments`.
    """
    try:
        parsed = arguments.model_validate_json(arguments_json or "{}", strict=True)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False, include_context=False)
        told = [
            f"{'.'.join(map(str, problem['loc'])) or 'arguments'}: {problem['msg']}"
            for problem in problems[:PROBLEMS_MAX]
        ]
        raise ToolError("bad_arguments", "; ".join(told)) from None
    return {name: getattr(parsed, name) for name in arguments.model_fields}


def _description(function: ToolFunction) -> str:
    text = inspect.getdoc(function) or ""
    return re.split(r"\n\s*(?:Args|Arguments|Returns|Raises|Yields|Examples?):", text)[
        0
    ].strip()


def _schema(arguments: type[BaseModel]) -> dict[str, JsonValue]:
    """Return the JSON Schema without the titles that pydantic makes up of the names."""
    schema = arguments.model_json_schema()
    untitled = _untitled(schema)
    assert isinstance(untitled, dict)
    return untitled


def _untitled(schema: JsonValue) -> JsonValue:
    if isinstance(schema, list):
        return [_untitled(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    result: dict[str, JsonValue] = {}
    for key, value in schema.items():
        if key == "title" and isinstance(value, str):
            continue
        if key in {"properties", "$defs"} and isinstance(value, dict):
            # Their keys are names, and `title` may be one.
            result[key] = {name: _untitled(item) for name, item in value.items()}
        elif key in {"default", "enum", "const", "examples"}:
            result[key] = value
        else:
            result[key] = _untitled(value)
    return result
