from collections.abc import Mapping

import orjson
import pytest
from typing_extensions import override

from fsm import ContextCreated, ContextState, replay
from storage import Note, Notes
from tests.support.playbook import CONTEXT_ID
from workers.tools import (
    Registry,
    ToolCallContext,
    ToolConfig,
    ToolError,
    builtin_tools,
    notes_retriever,
)
from workers.tools.builtin import clock_tool
from workers.tools.retrieval import ranked


class KeptNotes(Notes):
    """Notes in memory."""

    kept: dict[str, dict[str, str]]

    def __init__(self) -> None:  # no link: there is no store
        object.__setattr__(self, "kept", {})  # Notes are frozen

    @override
    async def add(self, owner: str, key: str, text: str) -> Note:
        self.kept.setdefault(owner, {}).setdefault(key, text)
        return Note(key, 0, text)

    @override
    async def list(self, owner: str) -> Mapping[str, str]:
        return self.kept.get(owner, {})


def context(effect_id: str = "3.0", *, owner: str = "o") -> ToolCallContext:
    return ToolCallContext(owner=owner, context_id="c1", effect_id=effect_id, call_id="x")


def context_of(owner: str) -> ContextState:
    created = ContextCreated(at_ms=0, context_id=CONTEXT_ID, owner=owner)
    return replay([created])


def registry(notes: KeptNotes | None = None) -> Registry:
    return Registry(builtin_tools(notes or KeptNotes()), ToolConfig())


def test_none_of_the_built_in_tools_is_dangerous_or_runs_only_once() -> None:
    tools = registry()
    assert {name: tools.describe(name).effect for name in tools.names} == {
        "ask_person": "none",
        "calculator": "none",
        "clock": "none",
        "notes": "idempotent",
    }
    assert not any(tools.describe(name).dangerous for name in tools.names)
    assert all(tools.describe(name).description for name in tools.names)


async def test_the_clock_tells_the_time_in_a_zone() -> None:
    tools = Registry((clock_tool(lambda: 1_767_225_599.9),), ToolConfig())
    assert orjson.loads(await tools.run("clock", "{}", context())) == {
        "zone": "UTC",
        "time": "2025-12-31T23:59:59+00:00",
        "weekday": "Wednesday",
    }
    told = orjson.loads(await tools.run("clock", '{"zone": "Asia/Tokyo"}', context()))
    assert told["time"] == "2026-01-01T08:59:59+09:00"


@pytest.mark.parametrize(
    "zone", ["Mars/Base", "../../etc/passwd", "/etc/passwd", "America", "", "\x00", "a" * 65]
)
async def test_what_is_no_zone_is_told(zone: str) -> None:
    with pytest.raises(ToolError) as caught:
        await registry().run("clock", orjson.dumps({"zone": zone}).decode(), context())
    assert caught.value.code == "bad_arguments"


async def test_the_calculator_calculates_and_says_why_it_does_not() -> None:
    tools = registry()
    assert await tools.run("calculator", '{"expression": "6 * 7"}', context()) == "42"
    with pytest.raises(ToolError) as caught:
        await tools.run("calculator", '{"expression": "1 / 0"}', context())
    assert caught.value.detail == "BadExpression: division by zero"


async def test_a_note_is_kept_once_however_often_the_call_is_run() -> None:
    notes = KeptNotes()
    tools = registry(notes)
    for _ in range(2):
        told = await tools.run("notes", '{"action": "add", "text": "Milk"}', context("3.0"))
        assert told == "Noted."
    await tools.run("notes", '{"action": "add", "text": "Bread"}', context("9.1"))
    assert notes.kept == {"o": {"c1:3.0": "Milk", "c1:9.1": "Bread"}}
    listed = await tools.run("notes", '{"action": "list"}', context())
    assert orjson.loads(listed) == {"found": 2, "notes": ["Milk", "Bread"]}


async def test_notes_are_searched_and_are_the_owners_own() -> None:
    notes = KeptNotes()
    notes.kept.update({"o": {"1": "cats purr", "2": "dogs bark"}, "other": {"3": "cats bite"}})
    tools = registry(notes)
    search = '{"action": "search", "text": "What do cats do?"}'
    assert orjson.loads(await tools.run("notes", search, context())) == {
        "found": 1,
        "notes": ["cats purr"],
    }
    assert orjson.loads(
        await tools.run("notes", '{"action": "list"}', context(owner="stranger"))
    ) == {"found": 0, "notes": []}


@pytest.mark.parametrize("action", ["add", "search"])
async def test_a_note_needs_a_text(action: str) -> None:
    with pytest.raises(ToolError) as caught:
        await registry().run("notes", f'{{"action": "{action}", "text": " "}}', context())
    assert caught.value.code == "bad_arguments"


async def test_a_long_list_shows_the_newest() -> None:
    notes = KeptNotes()
    notes.kept.update({"o": {str(number): f"note {number}" for number in range(120)}})
    listed = orjson.loads(await registry(notes).run("notes", '{"action": "list"}', context()))
    assert listed["found"] == 120
    assert listed["notes"] == [f"note {number}" for number in range(70, 120)]


def test_ranking_goes_by_rare_words_and_keeps_the_order_of_equals() -> None:
    texts = {
        "1": "the weather in the north",
        "2": "the price of the boat",
        "3": "THE boat, in the north!",
        "4": "nothing",
        "5": "the boat",
    }
    assert ranked(texts, "the boat in the north") == ("3", "1", "2", "5")
    assert ranked(texts, "the") == ("1", "2", "3", "5")
    assert ranked(texts, "?!") == ()
    assert ranked({}, "boat") == ()


async def test_the_retriever_returns_the_five_best_notes_of_the_owner() -> None:
    notes = KeptNotes()
    notes.kept.update(
        {
            "o": {f"k{number}": f"cat number {number}\n" + "x" * 3_000 for number in range(9)},
            "other": {"z": "cat"},
        }
    )
    found = await notes_retriever(notes)(context_of("o"), "which cat is number 7")
    assert [reference.source for reference in found] == [
        "note k7",
        "note k0",
        "note k1",
        "note k2",
        "note k3",
    ]
    assert found[0].title == "cat number 7"
    assert len(found[0].text) == 2_000
    assert await notes_retriever(notes)(context_of("nobody"), "cat") == ()
