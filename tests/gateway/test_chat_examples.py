"""The examples of docs/chat-modes.md, in the order in which they stand there."""

import re
from pathlib import Path

import orjson
from pydantic import JsonValue

from tests.support.service import serving

PAGE = Path(__file__).parent.parent.parent / "docs" / "chat-modes.md"
EXAMPLE = re.compile(
    r"(?ms)^```http\n(\w+) (\S+)\n(?:(\{.*?\})\n)?\n(\d+)\n(?:(\{.*?\})\n)?```"
)
ANYTHING = "..."


def fits(told: JsonValue, shown: JsonValue) -> bool:
    """Whether an answer is as shown: `...` stands for any rest of a text, and fields that are
    not shown may be there.
    """
    if isinstance(shown, dict):
        return isinstance(told, dict) and all(
            name in told and fits(told[name], shown[name]) for name in shown
        )
    if isinstance(shown, list):
        if not isinstance(told, list) or len(told) != len(shown):
            return False
        return all(fits(one, other) for one, other in zip(told, shown, strict=True))
    if isinstance(shown, str) and shown.endswith(ANYTHING):
        return isinstance(told, str) and told.startswith(shown.removesuffix(ANYTHING))
    return bool(told == shown)


def test_what_does_not_fit_is_seen() -> None:
    assert fits({"a": [{"b": "text", "c": 1}]}, {"a": [{"b": "te..."}]})
    assert not fits({"a": [{"b": "text"}]}, {"a": [{"b": "tex"}]})
    assert not fits({"a": []}, {"a": [{}]})
    assert not fits({}, {"a": None})


async def test_the_examples_about_chat_modes_are_true(store_url: str) -> None:
    page = PAGE.read_text()
    examples = EXAMPLE.findall(page)
    assert len(examples) == page.count("```http") >= 8
    async with serving(store_url) as service:
        for method, path, body, status, shown in examples:
            answer = await service.client.send(method, path, raw=body.encode() or None)
            assert answer.status == int(status), (path, answer)
            if shown:
                assert fits(answer.json, orjson.loads(shown)), (path, answer.json)
