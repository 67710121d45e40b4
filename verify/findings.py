"""How checkers gather what they found, and show it small enough for a person to read.

Invariant: evidence can be written as JSON as it stands.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import cast

from verify.records import Json, Violation

LEFT_OUT = "…"
TEXT_CHARS_MAX = 160
"""Of any text that evidence quotes."""
ITEMS_MAX = 20
"""Of any list that evidence quotes; the middle is left out."""
VIOLATIONS_MAX = 3
"""Of one check in one context that are kept."""


class Findings:
    """Violations as a checker finds them, so many of each check and context at most."""

    def __init__(self, *, most: int = VIOLATIONS_MAX) -> None:
        """Take how many to keep of one check in one context; more of them tell nothing new."""
        self._most = most
        self._found: dict[tuple[str, str], list[Violation]] = {}

    def add(self, check: str, context_id: str, text: str, **evidence: Json) -> None:
        """Take a violation; `evidence` are records, or what JSON can hold."""
        found = self._found.setdefault((check, context_id), [])
        if len(found) < self._most:
            shown = {name: as_json(value) for name, value in evidence.items()}
            found.append(Violation(check, context_id, text, shown))

    def violations(self) -> tuple[Violation, ...]:
        """What was found, in the order of finding per check and context."""
        return tuple(one for found in self._found.values() for one in found)


def as_json(value: Json) -> Json:
    """Records as evidence shows them: fields that say nothing left out, long ones cut."""
    if is_dataclass(value) and not isinstance(value, type):
        told = {field.name: getattr(value, field.name) for field in fields(value)}
        return {name: as_json(one) for name, one in told.items() if one not in (None, ())}
    if isinstance(value, str):
        return shorten(value)
    if isinstance(value, Mapping):
        by_name = cast("Mapping[object, Json]", value)
        return {str(name): as_json(one) for name, one in by_name.items()}
    if isinstance(value, Sequence):
        shown = [as_json(one) for one in cast("Sequence[object]", value)]
        if len(shown) <= ITEMS_MAX:
            return shown
        half = ITEMS_MAX // 2
        return [*shown[:half], f"{LEFT_OUT} {len(shown) - 2 * half} more", *shown[-half:]]
    return value


def shorten(text: str) -> str:
    """A text as evidence quotes it."""
    return text if len(text) <= TEXT_CHARS_MAX else text[: TEXT_CHARS_MAX - 1] + LEFT_OUT
