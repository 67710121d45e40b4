"""Each way in which a tool declared `once` can be run wrongly is called by its name."""

from pathlib import Path

import pytest

from verify.chaos import witness
from verify.chaos.witnessing import check_witness
from verify.records import Json


def state(told: str | None) -> Json:
    """A context in which the model has asked for one stamp."""
    call: Json = {"id": "call-1", "name": witness.NAME, "arguments": '{"text": "a"}'}
    messages: list[Json] = [{"role": "assistant", "tool_calls": [call], "content": ""}]
    if told is not None:
        messages.append(
            {"role": "tool", "tool_calls": [], "tool_call_id": "call-1", "content": told}
        )
    return {"id": "context", "messages": messages}


@pytest.mark.parametrize(
    ("stamps", "consented", "told", "expected"),
    [
        ("", set[str](), None, []),
        ("a\n", {"a"}, witness.DONE, []),
        ("a\n", {"a"}, "Denied: It may have run.", []),
        ("", {"a"}, "Denied: It may have run.", []),
        ("a\nb\na\n", {"a"}, witness.DONE, ["ran-twice"]),
        ("a\n", set[str](), witness.DONE, ["ran-unasked"]),
        ("b\n", {"a"}, witness.DONE, ["not-run"]),
        ("a\na\n", set[str](), None, ["ran-twice", "ran-unasked"]),
    ],
)
def test_traces_are_held_against_consent_and_against_what_was_told(
    tmp_path: Path, stamps: str, consented: set[str], told: str | None, expected: list[str]
) -> None:
    traces = tmp_path / "traces"
    if stamps:
        traces.write_text(stamps)
    found = check_witness(traces, consented=consented, states=[state(told)])
    assert [violation.check for violation in found] == expected
