from datetime import date
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field

from workers.tools import ToolCallContext, ToolError, tool


class Place(BaseModel, frozen=True, extra="forbid"):
    title: str
    height_m: int = 0


@tool(effect="once", dangerous=True, timeout_s=7)
async def book(
    place: Place,
    day: Annotated[date, Field(description="When.")],
    context: ToolCallContext,
    kind: Literal["room", "table"] = "room",
    guests: Annotated[int, Field(ge=1, le=9)] = 1,
) -> str:
    """Book a place.

    Only once a day.

    Args:
        place: Not told to the model from here.
    """
    return f"{kind} at {place.title} on {day} for {guests}, {context.owner}"


def test_a_declaration_says_what_the_tool_is() -> None:
    assert book.name == "book"
    assert book.description == "Book a place.\n\nOnly once a day."
    assert (book.effect, book.dangerous, book.timeout_s) == ("once", True, 7)
    assert (book.untrusted, book.question, book.roles) == (False, False, frozenset())
    assert book.context_parameter == "context"
    assert book.is_async


def test_the_schema_comes_from_the_signature() -> None:
    assert book.parameters == {
        "type": "object",
        "properties": {
            "place": {"$ref": "#/$defs/Place"},
            "day": {"type": "string", "format": "date", "description": "When."},
            "kind": {"type": "string", "enum": ["room", "table"], "default": "room"},
            "guests": {"type": "integer", "minimum": 1, "maximum": 9, "default": 1},
        },
        "required": ["place", "day"],
        "additionalProperties": False,
        "$defs": {
            "Place": {
                "type": "object",
                "properties": {
                    "title": {"type": "string"},
                    "height_m": {"type": "integer", "default": 0},
                },
                "required": ["title"],
                "additionalProperties": False,
            }
        },
    }


def test_arguments_become_what_the_function_takes() -> None:
    parsed = book.parsed('{"place": {"title": "Inn"}, "day": "2026-05-01", "guests": 2}')
    assert parsed == {
        "place": Place(title="Inn"),
        "day": date(2026, 5, 1),
        "kind": "room",
        "guests": 2,
    }


GOOD = '"place": {"title": "Inn"}, "day": "2026-05-01"'


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("{", "arguments: Invalid JSON"),
        ("[]", "arguments: "),
        ("null", "arguments: "),
        ("{}", "place: Field required; day: Field required"),
        (f'{{{GOOD}, "guests": 10}}', "guests: Input should be less than or equal to 9"),
        (f'{{{GOOD}, "guests": "2"}}', "guests: Input should be a valid integer"),
        (f'{{{GOOD}, "guests": true}}', "guests: Input should be a valid integer"),
        (f'{{{GOOD}, "kind": "car"}}', "kind: Input should be 'room' or 'table'"),
        (f'{{{GOOD}, "price": 0}}', "price: Extra inputs are not permitted"),
        (f'{{{GOOD}, "context": {{}}}}', "context: Extra inputs are not permitted"),
        ('{"place": {"title": 5}, "day": "2026-05-01"}', "place.title: Input should be"),
        ("[" * 10_000, "arguments: Invalid JSON"),
    ],
)
def test_wrong_arguments_are_told_where_and_why(arguments: str, told: str) -> None:
    with pytest.raises(ToolError) as caught:
        book.parsed(arguments)
    assert caught.value.code == "bad_arguments"
    assert caught.value.detail.startswith(told)


def test_no_arguments_at_all_are_an_empty_object() -> None:
    @tool(effect="none")
    def ping() -> str:
        return "pong"

    assert ping.parsed("") == {}
    assert ping.description == ""
    assert not ping.is_async


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_json_does_not_know_are_refused(number: str) -> None:
    @tool(effect="none")
    def half(of: float) -> float:
        return of / 2

    with pytest.raises(ToolError):
        half.parsed(f'{{"of": {number}}}')


def test_a_parameter_may_be_called_title() -> None:
    @tool(effect="none")
    def rename(title: Annotated[str, Field(examples=[{"title": "A"}])]) -> str:
        return title

    assert rename.parameters["properties"] == {
        "title": {"type": "string", "examples": [{"title": "A"}]}
    }


def test_functions_that_no_model_can_call_are_refused_at_once() -> None:
    def starred(*numbers: int) -> int:
        return sum(numbers)

    def positional(number: int, /) -> int:
        return number

    for function in (starred, positional):
        with pytest.raises(ValueError, match="cannot be given by name"):
            tool(effect="none")(function)
    with pytest.raises(ValueError, match="is no name for a tool"):
        tool(effect="none", name="two words")(starred)


def test_the_key_of_a_call_is_unique_among_contexts() -> None:
    assert ToolCallContext("o", "c1", "3.0", "x").idempotency_key == "c1:3.0"
