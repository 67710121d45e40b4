"""Holds the traces of the tool declared `once` against what clients approved and were told."""

from collections.abc import Iterable, Set as AbstractSet
from pathlib import Path

from verify.chaos import witness
from verify.records import Json, Violation


def check_witness(
    traces: Path, *, consented: AbstractSet[str], states: Iterable[Json]
) -> list[Violation]:
    """A stamp at most once, never without consent, and exactly once where a context says so.

    Args:
        traces: What the tool has written.
        consented: Texts whose stamping somebody has approved.
        states: Contexts at rest, as the API gives them.
    """
    runs = witness.runs(traces)
    found: list[Violation] = []
    for state in states:
        context_id: str = state["id"]
        told = {
            message["tool_call_id"]: message["content"]
            for message in state["messages"]
            if message["role"] == "tool"
        }
        for call in (call for message in state["messages"] for call in message["tool_calls"]):
            text = witness.text_of(call["arguments"])
            count = runs[text]
            evidence = {"call": call["id"], "runs": count, "told": told.get(call["id"])}
            if count > 1:
                said = f"{text} was stamped {count} times"
                found.append(Violation("ran-twice", context_id, said, evidence))
            if count and text not in consented:
                said = f"{text} was stamped and not approved"
                found.append(Violation("ran-unasked", context_id, said, evidence))
            if told.get(call["id"]) == witness.DONE and count == 0:
                said = f"{text} is called stamped and was not"
                found.append(Violation("not-run", context_id, said, evidence))
    return found
