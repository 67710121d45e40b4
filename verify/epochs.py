"""Checks the epochs that clients were told of.

Invariant: an epoch begins only after the store may have lost something, and none comes back.
"""

from collections.abc import Iterable
from typing import NamedTuple

from verify.findings import Findings
from verify.records import Losses, Violation, epoch_number


class EpochSeen(NamedTuple):
    """An epoch that an answer named."""

    called_s: float
    returned_s: float
    epoch: str
    context_id: str


def check_epochs(seen: Iterable[EpochSeen], losses: Losses) -> tuple[Violation, ...]:
    """Epochs without a loss, and answers of an epoch after a later one had been seen."""
    found = Findings()
    by_call = sorted(seen)
    first_seen_s: dict[str, float] = {}
    for one in by_call:
        before_s = first_seen_s.get(one.epoch, one.returned_s)
        first_seen_s[one.epoch] = min(one.returned_s, before_s)
    for epoch in losses.unexplained(first_seen_s):
        text = f"Epoch {epoch} has begun without a loss."
        found.add("epoch-without-loss", "", text, first_seen_s=first_seen_s[epoch])
    if len(first_seen_s) > 1:
        _check_order(by_call, found)
    return found.violations()


def _check_order(by_call: list[EpochSeen], found: Findings) -> None:
    by_return = sorted(by_call, key=lambda one: one.returned_s)
    newest, index = by_return[0], 0
    for one in by_call:
        while index < len(by_return) and by_return[index].returned_s < one.called_s:
            returned = by_return[index]
            if epoch_number(returned.epoch) > epoch_number(newest.epoch) or index == 0:
                newest = returned
            index += 1
        if index and epoch_number(one.epoch) < epoch_number(newest.epoch):
            text = f"Epoch {one.epoch} was shown after {newest.epoch} had been seen."
            found.add("epoch-went-back", one.context_id, text, before=newest, after=one)
