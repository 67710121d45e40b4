"""What OpenAPI says about one operation."""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import BaseModel, JsonValue

Schema = Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True)
class Header:
    """A request or response header."""

    name: str
    description: str
    schema: Schema


@dataclass(frozen=True, slots=True)
class Answer:
    """One kind of success."""

    description: str
    models: tuple[type[BaseModel], ...] = ()
    """None: no body. Several: one of them."""
    headers: tuple[Header, ...] = ()
    content_type: str = "application/json"
    stream: str = "EventStream"
    """Name of the schema, where it is a stream."""
    streams: bool = False
    """Or server-sent events, where the request asks for them."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation."""

    summary: str
    answers: Mapping[int, Answer]
    headers: tuple[Header, ...] = ()
    body: type[BaseModel] | None = None
    problems: tuple[str, ...] = ()
    """Problem types besides `invalid-parameter` and `internal`."""
    description: str = ""
