"""A body takes nothing that its description refuses."""

from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, Final

import pytest
from pydantic import ValidationError

from gateway.bodies import Body
from gateway.openai.bodies import ChatRequest, ResponseRequest

VALUES: Final[tuple[object, ...]] = (
    *(True, False, None),
    *(0, 1, -1, 1.0, 1.5, 1e300, 2**70),
    *("", "1", "x", "true", "2026-01-31T12:00:00Z"),
    *([], ["x"], [1], [True]),
    *({}, {"x": 1}, {"x": True}, {"x": "1"}),
)


def bodies(base: type[Body] = Body) -> Iterator[type[Body]]:
    """Every body that some address takes."""
    for body in base.__subclasses__():
        yield body
        yield from bodies(body)


BODIES: Final = sorted({*bodies(), ChatRequest, ResponseRequest}, key=repr)


def takes(body: type[Body], name: str, value: object) -> bool:
    """Whether a field takes a value, whatever else is missing."""
    try:
        body.model_validate({name: value})
    except ValidationError as refused:
        return all(error["loc"][:1] != (name,) for error in refused.errors())
    return True


_validator: Callable[..., Any] = import_module("jsonschema").Draft202012Validator


@pytest.mark.parametrize("body", BODIES)
def test_a_body_takes_nothing_that_its_description_refuses(body: type[Body]) -> None:
    described = body.model_json_schema()
    shared = {"$defs": described.get("$defs", {})}
    for name, schema in described["properties"].items():
        description = _validator({**schema, **shared})
        for value in VALUES:
            assert not takes(body, name, value) or description.is_valid(value), (name, value)
