"""Decides whether one order of its operations explains what clients saw of a context.

The search is that of Wing and Gong (1993) with Lowe's memory of what was tried (2017): take
any operation that no other must precede, ask the model whether it can have had the result it
had, go on from there, and go back where nothing fits. A set of operations taken so far and the
model's state behind them are tried once.

Invariant 1: contexts are independent, so each is searched by itself.
Invariant 2: an operation with an unknown outcome may take effect at any time after it was
called, or never; a refused one never does.
Invariant 3: an accepted action (202) has its place among the actions from then on, but may be
applied at any time before the context rests.
"""

import sys
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final as Constant, Protocol, TypeVar

from verify.findings import Findings
from verify.keys import doubt_refusals
from verify.models import ContextModel, Record, is_straight
from verify.records import Final, Operation, Outcome, Read, Violation

STATES_MAX: Constant = 2_000_000
"""Sets of operations that are tried before a search gives up."""
SHOWN_MAX: Constant = 12
"""Operations of an explanation that evidence shows, the last ones."""
_NEVER: Constant = float("inf")
_AT_REST: Constant = sys.float_info.max
"""Before anything that is read at the end."""

S = TypeVar("S", bound=Hashable)


class Undecided(Exception):
    """The history has more overlaps than the search may try; it is not known to be wrong."""


class Model(Protocol[S]):
    """What a context does when its operations come one after the other."""

    def begin(self) -> S:
        """The state before all operations."""
        ...

    def step(self, state: S, record: Record) -> S | None:
        """The state after an operation, or None if it cannot have had its result here."""
        ...


@dataclass(frozen=True, slots=True)
class Entry:
    """An operation as the search sees it."""

    record: Record
    called_s: float
    returned_s: float
    """From when on everything that is called comes after it."""
    delivered_s: float
    """From when on every *action* that is called comes after it: earlier for a 202."""
    certain: bool
    """Whether it must have happened."""


@dataclass(frozen=True, slots=True)
class Explained:
    """An order that explains a history."""

    order: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class Stuck:
    """There is no such order; this is as far as one gets."""

    order: tuple[Record, ...]
    state: Hashable
    """Of the model behind it."""
    refused: tuple[Record, ...]
    """Whatever could come next, and cannot."""


def check_linearizability(
    operations: Iterable[Operation],
    reads: Iterable[Read],
    finals: Iterable[Final] = (),
    *,
    accepted_may_be_refused: bool = False,
    decided_once: bool = True,
    pauses_hold: bool = True,
    states_max: int = STATES_MAX,
) -> tuple[Violation, ...]:
    """One violation for each context whose history no order of its operations explains.

    For runs in which the store loses nothing: a loss is no operation of anybody. Contexts whose
    messages are rearranged are left out: their log is their order (`verify/logs.py`).

    Args:
        operations: Of all clients, in any order.
        reads: Of all clients, in any order.
        finals: Contexts as they were once all was over; each counts as the last read.
        accepted_may_be_refused: Whether a 202 may have come to nothing.
        decided_once: Whether a tool call is decided on once; False where the outcome of a tool
            may become unknown, so that a person is asked again.
        pauses_hold: Whether nothing but a client ends a pause; False where work was given up,
            since a context whose work ends workers fails, paused or not.
        states_max: How much to try per context.

    Raises:
        Undecided: A history overlaps too much.
    """
    found = Findings()
    by_context: dict[str, list[Operation]] = defaultdict(list)
    for operation in operations:
        by_context[operation.context_id].append(operation)
    histories: dict[str, list[Record]] = defaultdict(list)
    for context_id, acted in by_context.items():
        histories[context_id] += doubt_refusals(acted)
    for read in reads:
        if not read.stale:
            histories[read.context_id].append(read)
    for final in finals:
        histories[final.context_id].append(_last_read(final))
    for context_id, history in histories.items():
        if not is_straight(by_context[context_id]):
            continue
        model = ContextModel.for_history(
            history, decided_once=decided_once, pauses_hold=pauses_hold
        )
        entries = arrange(history, accepted_may_be_refused=accepted_may_be_refused)
        answer = linearize(model, entries, states_max=states_max)
        if isinstance(answer, Stuck):
            entries = smallest_stuck(model, entries, states_max=states_max)
            stuck = linearize(model, entries, states_max=states_max)
            assert isinstance(stuck, Stuck), "the prefix was found because it is stuck"
            found.add(
                "not-linearizable",
                context_id,
                "No order of the operations explains what clients saw.",
                operations=len(entries),
                explained_last=stuck.order[-SHOWN_MAX:],
                state=repr(stuck.state),
                cannot_come_next=stuck.refused,
            )
    return found.violations()


def arrange(
    history: Iterable[Record], *, accepted_may_be_refused: bool = False
) -> tuple[Entry, ...]:
    """The operations that may have happened, in the order of their calls."""
    entries = [
        entry
        for record in history
        if (entry := _entry(record, accepted_may_be_refused=accepted_may_be_refused))
    ]
    return tuple(sorted(entries, key=lambda entry: (entry.called_s, entry.returned_s)))


def _entry(record: Record, *, accepted_may_be_refused: bool) -> Entry | None:
    called_s = record.called_s
    if isinstance(record, Read):
        return Entry(record, called_s, record.returned_s, record.returned_s, certain=True)
    returned_s = _NEVER if record.returned_s is None else record.returned_s
    match record.outcome:
        case Outcome.REFUSED:
            return None
        case Outcome.APPLIED:
            return Entry(record, called_s, returned_s, returned_s, certain=True)
        case Outcome.ACCEPTED if not accepted_may_be_refused:
            return Entry(record, called_s, _AT_REST, returned_s, certain=True)
        case Outcome.ACCEPTED | Outcome.UNKNOWN:
            # What may never happen cannot hold up what comes after it.
            return Entry(record, called_s, _NEVER, _NEVER, certain=False)


def linearize(
    model: Model[S], entries: Sequence[Entry], *, states_max: int = STATES_MAX
) -> Explained | Stuck:
    """Search for an order; `entries` are in the order of their calls.

    Raises:
        Undecided: `states_max` were tried.
    """
    certain = sum(1 << index for index, entry in enumerate(entries) if entry.certain)
    begun = model.begin()
    tried: set[tuple[int, S]] = {(0, begun)}
    path: list[tuple[int, S, Iterator[int]]] = [(0, begun, _next(entries, 0))]
    order: list[int] = []
    furthest = Stuck((), begun, ())
    reached = -1
    while path:
        done, state, candidates = path[-1]
        if done & certain == certain:
            return Explained(tuple(entries[index].record for index in order))
        for index in candidates:
            after = model.step(state, entries[index].record)
            if after is None:
                continue
            at = (done | 1 << index, after)
            if at in tried:
                continue
            if len(tried) >= states_max:
                raise Undecided(f"{len(entries)} operations, {states_max} states tried")
            tried.add(at)
            order.append(index)
            path.append((*at, _next(entries, at[0])))
            break
        else:
            if (progress := (done & certain).bit_count()) > reached:
                reached = progress
                furthest = Stuck(
                    tuple(entries[index].record for index in order),
                    state,
                    tuple(
                        entries[index].record
                        for index in _next(entries, done)
                        if model.step(state, entries[index].record) is None
                    ),
                )
            path.pop()
            if order:
                order.pop()
    return furthest


def smallest_stuck(
    model: Model[S], entries: Sequence[Entry], *, states_max: int = STATES_MAX
) -> tuple[Entry, ...]:
    """The shortest beginning of a stuck history that is stuck itself.

    What had not returned by then counts as unknown, what had not been called does not count.
    """
    ends = sorted({entry.returned_s for entry in entries})

    def stuck(end_s: float) -> bool:
        return isinstance(
            linearize(model, _until(entries, end_s), states_max=states_max), Stuck
        )

    # Every beginning of an explainable history is explainable, so a binary search finds it.
    at = bisect_left(ends, True, key=stuck)
    return _until(entries, ends[min(at, len(ends) - 1)])


def _until(entries: Iterable[Entry], end_s: float) -> tuple[Entry, ...]:
    return tuple(
        entry
        if entry.returned_s <= end_s
        else Entry(entry.record, entry.called_s, _NEVER, entry.delivered_s, certain=False)
        for entry in entries
        if entry.called_s <= end_s
    )


def _next(entries: Sequence[Entry], done: int) -> Iterator[int]:
    """Those not done that nothing else not done must precede."""
    returned_s = delivered_s = _NEVER
    first = (~done & (done + 1)).bit_length() - 1
    for index in range(first, len(entries)):
        if done >> index & 1:
            continue
        entry = entries[index]
        if entry.called_s > returned_s:
            return
        if entry.called_s <= delivered_s or isinstance(entry.record, Read):
            yield index
        returned_s = min(returned_s, entry.returned_s)
        delivered_s = min(delivered_s, entry.delivered_s)


def _last_read(final: Final) -> Read:
    return Read(
        client="at rest",
        context_id=final.context_id,
        called_s=_NEVER,
        returned_s=_NEVER,
        found=final.found,
        epoch=final.epoch,
        version=final.version,
        messages=final.said,
        status=final.status,
    )
