"""Old log entries, read with today's meaning.

An event whose meaning or fields change gets an upcaster here: a function that recognises
the old JSON object, returns today's, and leaves every other object as it is. Golden
histories in `tests/fsm/golden/` hold logs as they were written and never change. No event
of a release has changed its meaning yet.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from pydantic_core import from_json

from fsm.events import EVENT, AnyEvent

JsonObject = dict[str, Any]
"""A decoded JSON object: its values are whatever an older version wrote."""

Upcaster = Callable[[JsonObject], JsonObject]

UPCASTERS: Final[Sequence[Upcaster]] = ()
"""Oldest first; each gets what the one before it returned."""


def decode_event(raw: bytes | str, upcasters: Sequence[Upcaster] = UPCASTERS) -> AnyEvent:
    """Read one log entry.

    Raises:
        pydantic.ValidationError: It is no event, even after upcasting.
    """
    if not upcasters:
        return EVENT.validate_json(raw)
    entry: JsonObject = from_json(raw)
    for upcast in upcasters:
        entry = upcast(entry)
    return EVENT.validate_python(entry)
