"""Merges the operations that were sent under one Idempotency-Key into one.

Invariant: whoever repeats a request under its key, and through whichever gateway, there is one
effect and one answer.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final as Constant

from verify.findings import Findings
from verify.models import asked_for
from verify.records import Operation, Outcome

_CERTAINTY: Constant = (
    Outcome.APPLIED,
    Outcome.ACCEPTED,
    Outcome.UNKNOWN,
    Outcome.REFUSED,
)
"""Outcomes, the most certain first."""
_NEVER: Constant = float("inf")


def doubt_refusals(operations: Iterable[Operation]) -> list[Operation]:
    """One context's operations, with a 404 that a deletion may explain as of unknown outcome.

    What was applied and then deleted with its context is answered so, too: there is nothing
    left that could tell.
    """
    operations = list(operations)
    deleted_s = min(
        (
            one.called_s
            for one in operations
            if one.kind == "delete" and one.outcome is not Outcome.REFUSED
        ),
        default=_NEVER,
    )
    return [
        replace(one, outcome=Outcome.UNKNOWN)
        if one.code == "not-found" and (one.returned_s or _NEVER) > deleted_s
        else one
        for one in operations
    ]


def merge_keys(operations: Iterable[Operation], found: Findings) -> tuple[Operation, ...]:
    """One context's operations, those of one key and one body being one."""
    merged: list[Operation] = []
    by_key: dict[str, list[Operation]] = defaultdict(list)
    for operation in operations:
        if operation.key is None:
            merged.append(operation)
        else:
            by_key[operation.key].append(operation)
    for same_key in by_key.values():
        if len(same_key) == 1:
            merged += same_key
            continue
        by_request: dict[tuple[object, ...], list[Operation]] = defaultdict(list)
        for operation in same_key:
            by_request[asked_for(operation)].append(operation)
        taken = [_merge(same, found) for same in by_request.values()]
        acked = [one for one in taken if one.outcome in _CERTAINTY[:2]]
        if len(acked) > 1:
            text = "Two different requests were taken under one key."
            found.add("key-reused", acked[0].context_id, text, first=acked[0], second=acked[1])
        merged += taken
    return tuple(merged)


def _merge(same: Sequence[Operation], found: Findings) -> Operation:
    ordered = sorted(same, key=lambda one: _NEVER if one.returned_s is None else one.returned_s)
    told = min(ordered, key=lambda one: _CERTAINTY.index(one.outcome))
    for other in ordered:
        if other.outcome is not told.outcome:
            continue
        answers = [(one.action_id, one.version) for one in (told, other)]
        if any(None not in pair and pair[0] != pair[1] for pair in zip(*answers, strict=True)):
            text = "One request under one key was given two answers."
            found.add("key-differs", told.context_id, text, first=told, second=other)
    return replace(told, called_s=min(one.called_s for one in same))
