"""MCP servers as the file of `mcp_servers` declares them.

The file has the shape that other clients of the Model Context Protocol read, with a few keys
more. What it says in `env` and `headers` is secret and shown nowhere.

    BadServers       the file cannot be used; the message says where and why
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    SecretStr,
    StringConstraints,
    Tag,
    ValidationError,
)

from fsm import ToolEffect

SECRET_CHARS_MIN: Final = 12
"""Shorter words of `env` and `headers` (`1`, `debug`) are found in answers by chance."""
_PROBLEMS_MAX: Final = 5
_VARIABLE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class BadServers(Exception):
    """The file that declares MCP servers cannot be used."""


def _filled(secret: SecretStr) -> SecretStr:
    """Put variables of this process in the place of each `${NAME}`."""

    def value(match: re.Match[str]) -> str:
        found = os.environ.get(match[1])
        if found is None:
            raise ValueError(f"the variable {match[1]} is not set")
        return found

    return SecretStr(_VARIABLE.sub(value, secret.get_secret_value()))


_Secret: TypeAlias = Annotated[SecretStr, AfterValidator(_filled)]


class _Server(BaseModel):
    """What may be said of any server."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    roles: frozenset[str] = frozenset()
    """Which contexts are offered its tools, by their `config.role`; empty: all."""
    approval: Literal["ask", "always"] = "ask"
    """`ask`: as the context's policy says. `always`: each call waits for a person."""
    effect: ToolEffect | None = None
    """What running its tools twice would do; None: what the server says of each."""
    timeout_s: Annotated[float, Field(gt=0, le=3_600)] = 30.0
    """Longest run of one call."""
    trusted: bool = False
    """Whether what its tools return is not the words of strangers."""
    tools: frozenset[str] | None = None
    """Those that are taken, by the names that the server gives them; None: all."""


class StdioServer(_Server):
    """A program that a worker starts and talks to over its standard input and output."""

    type: Literal["stdio"] = "stdio"
    command: Annotated[str, StringConstraints(min_length=1)]
    args: tuple[str, ...] = ()
    env: Mapping[str, _Secret] = {}
    """Its environment, besides PATH, HOME, USER, LOGNAME, SHELL and TERM."""
    cwd: Path | None = None


class HttpServer(_Server):
    """A server that is there already, spoken to over streamable HTTP."""

    type: Literal["http", "streamable-http"] = "http"
    url: Annotated[str, StringConstraints(pattern=r"^https?://.")] = Field(repr=False)
    headers: Mapping[str, _Secret] = {}


def secrets_of(server: "McpServer") -> tuple[str, ...]:
    """The words of `env` and `headers` that must be shown nowhere, the longest first."""
    declared = server.env if isinstance(server, StdioServer) else server.headers
    words = {word for value in declared.values() for word in value.get_secret_value().split()}
    return tuple(
        sorted((word for word in words if len(word) >= SECRET_CHARS_MIN), key=len, reverse=True)
    )


def _transport(server: object) -> str:
    return "http" if isinstance(server, dict) and "url" in server else "stdio"


McpServer: TypeAlias = Annotated[
    Annotated[StdioServer, Tag("stdio")] | Annotated[HttpServer, Tag("http")],
    Discriminator(_transport),
]

_Name: TypeAlias = Annotated[
    str,
    # No `__`: it parts the server's name from the tool's, so no two servers' names meet.
    StringConstraints(pattern=r"^[a-zA-Z0-9]+([_-][a-zA-Z0-9]+)*$", max_length=32),
]


class _File(BaseModel):
    """The file. Other clients' keys beside `mcpServers` are passed over."""

    model_config = ConfigDict(frozen=True)

    servers: Mapping[_Name, McpServer] = Field(alias="mcpServers")


def read_servers(path: Path | None) -> Mapping[str, McpServer]:
    """Return the servers that a file declares, by name; None declares none.

    Raises:
        BadServers: The file cannot be read, or says something that is not understood.
    """
    if path is None:
        return {}
    try:
        return _File.model_validate_json(path.read_bytes()).servers
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise BadServers(f"The MCP servers' file {path} cannot be read: {reason}.") from None
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False, include_context=False)
        told = [
            f"{'.'.join(map(str, problem['loc'])) or 'the file'}: {problem['msg']}"
            for problem in problems[:_PROBLEMS_MAX]
        ]
        raise BadServers(f"The MCP servers' file {path}: {'; '.join(told)}.") from None
