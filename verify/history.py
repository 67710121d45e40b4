"""Judges many clients' operations on many contexts against what the contexts hold at the end.

Everything here is O(n log n) in the number of records: it is made for hours of operations,
where `verify/linearizability.py` is made for small histories and finds more.

Invariant 1: only what was certainly so is held against the service: an operation whose outcome
is unknown may have happened or not, at any time after it was called.
Invariant 2: "before" means that one had returned when the other was called. Operations that
overlap may have happened in either order.
Invariant 3: which messages are shown, and in what order, is judged here only of contexts that
show more and more of them; of the others their log has to tell (`verify/logs.py`).
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Final as Constant, NamedTuple

from verify.epochs import EpochSeen, check_epochs
from verify.findings import Findings
from verify.keys import doubt_refusals, merge_keys
from verify.models import MAY_CHANGE_NOTHING, is_straight
from verify.records import (
    NO_LOSSES,
    Final,
    Losses,
    Operation,
    Outcome,
    Read,
    Violation,
    epoch_number,
)

_NEVER: Constant = float("inf")


def check_history(
    operations: Iterable[Operation],
    reads: Iterable[Read],
    finals: Iterable[Final],
    *,
    losses: Losses = NO_LOSSES,
    accepted_may_be_refused: bool = False,
) -> tuple[Violation, ...]:
    """All that is wrong with a run, as far as its clients' records show.

    Args:
        operations: Of all clients on all contexts, in any order.
        reads: Of all clients, in any order.
        finals: Every context once all faults are over and it rests.
        losses: What the run did to the store.
        accepted_may_be_refused: Whether a send that was answered with 202, its end not seen,
            may be missing: queues were full, or the context was not always in a phase that
            takes messages.
    """
    found = Findings()
    contexts: dict[str, _Records] = defaultdict(_Records)
    for operation in operations:
        contexts[operation.context_id].operations.append(operation)
    for read in reads:
        contexts[read.context_id].reads.append(read)
    for final in finals:
        contexts[final.context_id].final = final
    sent = {
        operation.content: context_id
        for context_id, records in contexts.items()
        for operation in records.operations
        if operation.content is not None
    }
    for context_id, records in contexts.items():
        context = _Context(context_id, records, losses, found)
        if context.is_straight:
            context.check_kept(sent, accepted_may_be_refused=accepted_may_be_refused)
            context.check_order()
        context.check_versions()
        context.check_reads()
        context.check_deletion()
    epochs = (seen for records in contexts.values() for seen in _epochs_of(records))
    return (*check_epochs(epochs, losses), *found.violations())


@dataclass(slots=True)
class _Records:
    operations: list[Operation] = field(default_factory=list[Operation])
    reads: list[Read] = field(default_factory=list[Read])
    final: Final | None = None


@dataclass(frozen=True, slots=True)
class _Seen:
    """A version that a context had at a moment between a call and its return."""

    called_s: float
    returned_s: float
    epoch: int
    version: int
    begins: bool
    """Whether the version is new with this very operation: nobody can have seen it before."""
    record: Operation | Read


@dataclass(frozen=True, slots=True)
class _Lineage:
    """The messages of a context under one epoch, or under all where no data can be lost."""

    said: tuple[str, ...]
    place: Mapping[str | None, int]


class _Context:
    """One context's records, indexed."""

    def __init__(
        self, context_id: str, records: _Records, losses: Losses, found: Findings
    ) -> None:
        self._id = context_id
        self._losses = losses
        self._found = found
        self._operations = merge_keys(doubt_refusals(records.operations), found)
        self.is_straight = is_straight(self._operations)
        self._final = records.final
        self._reads = sorted(
            (read for read in records.reads if read.found),
            key=lambda read: (epoch_number(read.epoch), read.version, read.n),
        )
        self._misses = [read for read in records.reads if not read.found]
        self._sends = {
            operation.content: operation
            for operation in self._operations
            if operation.content is not None
        }
        self._delete_called_s = min(
            (
                operation.called_s
                for operation in self._operations
                if operation.kind == "delete" and operation.outcome is not Outcome.REFUSED
            ),
            default=_NEVER,
        )
        self._lineages = self._trace()

    def _trace(self) -> dict[str, _Lineage]:
        """The longest list of each lineage; reads are checked to be prefixes of it."""
        longest = {self._lineage_of(read.epoch): read.said for read in self._reads}
        if self._final is not None and self._final.found:
            longest[self._lineage_of(self._final.epoch)] = self._final.said
        return {
            name: _Lineage(said, {content: index for index, content in enumerate(said)})
            for name, said in longest.items()
        }

    def _lineage_of(self, epoch: str | None) -> str:
        return (epoch or "") if self._losses.data_lost else ""

    def _add(self, check: str, text: str, **evidence: object) -> None:
        self._found.add(check, self._id, text, **evidence)

    # What is there at the end

    def check_kept(self, sent: dict[str, str], *, accepted_may_be_refused: bool) -> None:
        """Nothing acknowledged is gone, nothing is there twice or was never sent."""
        for lineage in self._lineages.values():
            for content, times in Counter(lineage.said).items():
                send = self._sends.get(content)
                if times > 1:
                    self._add("duplicated", f"{times} times there.", content=content, send=send)
                if send is None:
                    where = sent.get(content)
                    text = f"It was sent to {where}." if where else "Nobody has sent it."
                    self._add("phantom", text, content=content)
                elif send.outcome is Outcome.REFUSED:
                    self._add("refused-but-applied", "It was refused and is there.", send=send)
        final = self._final
        if final is None or not final.found:
            return
        kept = self._lineages[self._lineage_of(final.epoch)].place
        for content, send in self._sends.items():
            if content in kept or not send.outcome.is_acked:
                continue
            if send.outcome is Outcome.ACCEPTED and accepted_may_be_refused:
                continue
            if self._excused(send, final):
                continue
            self._add("lost", "It was acknowledged and is not there.", send=send)

    def _excused(self, send: Operation, final: Final) -> bool:
        """Whether it may be lost: a loss may have taken its call or its answer."""
        moments = [at_s for at_s in (send.called_s, send.returned_s) if at_s is not None]
        return send.epoch != final.epoch and any(map(self._losses.excuse, moments))

    def check_order(self) -> None:
        """Real-time order: what had returned before another was called stands before it."""
        for lineage in self._lineages.values():
            present = [self._sends[one] for one in lineage.said if one in self._sends]
            latest: Operation | None = None
            for send in present:
                settled = send.outcome.is_acked and send.returned_s is not None
                if latest is None or (self._losses.data_lost and send.epoch != latest.epoch):
                    pass  # what was lost may come again, by a request that was on its way
                elif settled and latest.called_s > (send.returned_s or 0):
                    text = "What was sent later stands before what was acknowledged earlier."
                    self._add("reordered", text, stands_first=latest, sent_first=send)
                if latest is None or send.called_s > latest.called_s:
                    latest = send
        for name, lineage in self._lineages.items():
            numbered = [
                send
                for send in (self._sends.get(one) for one in lineage.said)
                if send is not None
                and send.version is not None
                and self._lineage_of(send.epoch) == name
            ]
            for first, second in pairwise(numbered):
                if (first.version or 0) > (second.version or 0):
                    text = "The order of the messages is not that of their versions."
                    self._add("version-order", text, stands_first=first, stands_second=second)

    # Versions

    def check_versions(self) -> None:
        """Versions never go back, and no two operations were applied at the same one."""
        at_version: dict[tuple[str, int], Operation] = {}
        by_action: dict[str, Operation] = {}
        for operation in self._operations:
            if operation.action_id is not None:
                other = by_action.setdefault(operation.action_id, operation)
                if other is not operation and not self._losses.data_lost:
                    text = "Two operations were given the same action id."
                    self._add("same-action", text, first=other, second=operation)
            if operation.outcome is not Outcome.APPLIED or operation.version is None:
                continue
            seen = operation.seen_version
            if seen is not None and seen < operation.version:
                text = "The answer to an action shows a state from before it."
                self._add("answer-behind", text, operation=operation)
            if operation.kind in MAY_CHANGE_NOTHING:
                continue
            at = (self._lineage_of(operation.epoch), operation.version)
            other = at_version.setdefault(at, operation)
            if other is not operation:
                text = f"Two operations were both applied as version {operation.version}."
                self._add("same-version", text, first=other, second=operation)
        moments = [*self._seen()]
        self._check_monotone(moments)
        final = self._final
        if final is None or not final.found:
            return
        for one in moments:
            if self._lineage_of(str(one.epoch)) != self._lineage_of(final.epoch):
                continue
            if one.version > final.version:
                text = f"Version {one.version} was seen; at the end there is {final.version}."
                self._add("went-back", text, seen=one.record, final=final)

    def _check_monotone(self, seen: Sequence[_Seen]) -> None:
        returned = sorted(seen, key=lambda one: one.returned_s)
        newest: _Seen | None = None
        index = 0
        for later in sorted(seen, key=lambda one: one.called_s):
            while index < len(returned) and returned[index].returned_s < later.called_s:
                earlier = returned[index]
                if newest is None or self._rank(earlier) > self._rank(newest):
                    newest = earlier
                index += 1
            if newest is None or _is_stale(later.record):
                continue
            if self._rank(later) < self._rank(newest):
                check = "stale-read" if isinstance(later.record, Read) else "went-back"
                text = (
                    f"Version {later.version} was shown after {newest.version} had been seen."
                )
                self._add(check, text, seen_before=newest.record, seen_after=later.record)
            elif later.begins and self._rank(later) == self._rank(newest):
                text = f"Version {later.version} was seen before what made it was sent."
                self._add("went-back", text, seen=newest.record, made=later.record)

    def _rank(self, seen: _Seen) -> tuple[int, int]:
        # Where nothing can be lost, versions do not begin again with an epoch.
        if self._losses.data_lost:
            return seen.epoch, seen.version
        return 0, seen.version

    def _seen(self) -> Iterator[_Seen]:
        for read in self._reads:
            epoch = epoch_number(read.epoch)
            yield _Seen(read.called_s, read.returned_s, epoch, read.version, False, read)
        for one in self._operations:
            if one.returned_s is None or one.epoch is None or one.outcome is Outcome.UNKNOWN:
                continue
            epoch = epoch_number(one.epoch)
            if one.outcome is Outcome.APPLIED and one.version is not None:
                begins = one.kind not in MAY_CHANGE_NOTHING
                yield _Seen(one.called_s, one.returned_s, epoch, one.version, begins, one)
            if one.seen_version is not None:
                yield _Seen(one.called_s, one.returned_s, epoch, one.seen_version, False, one)

    # Reads

    def check_reads(self) -> None:
        """A read shows what was applied before it was called; a version is one state."""
        for read in self._reads:
            if read.n != len(read.draft or ""):
                self._add("torn-read", "The cursor does not fit the draft.", read=read)
        for first, second in pairwise(self._reads):
            if (first.epoch, first.version) == (second.epoch, second.version):
                same = first.said == second.said and first.status == second.status
                if not same or (first.n == second.n and first.draft != second.draft):
                    text = f"Version {first.version} was shown in two forms."
                    self._add("two-states", text, first=first, second=second)
        if not self.is_straight:
            return
        for name, lineage in self._lineages.items():
            reads = [read for read in self._reads if self._lineage_of(read.epoch) == name]
            if reads:
                self._check_lineage(lineage, reads, name)

    def _check_lineage(self, lineage: _Lineage, reads: Sequence[Read], name: str) -> None:
        sends = [
            send
            for send in self._sends.values()
            if send.outcome is Outcome.APPLIED and self._lineage_of(send.epoch) == name
        ]
        numbered = [send for send in sends if send.version is not None]
        by_ack = _Ranked(sends, lambda send: send.returned_s or _NEVER, lineage.place)
        by_version = _Ranked(numbered, lambda send: send.version or 0, lineage.place)
        called = (
            self._sends[one].called_s if one in self._sends else 0 for one in lineage.said
        )
        youngest_s = [*accumulate(called, max)]
        for read in reads:
            length = len(read.said)
            if lineage.said[:length] != read.said:
                text = "A read shows what is no prefix of what was shown later."
                self._add("history-changed", text, read=read, later=lineage.said)
                continue
            if length and youngest_s[length - 1] > read.returned_s:
                text = "A read shows a message that was sent only after it."
                self._add("from-the-future", text, read=read)
            acked = by_ack.last_below(read.called_s)
            if acked and acked.place >= length and not read.stale:
                text = "A read lacks a message that was acknowledged before it was called."
                self._add("stale-read", text, read=read, send=acked.send)
            applied = by_version.last_below(read.version + 1)
            if applied and applied.place >= length:
                text = f"A read of version {read.version} lacks a message applied by then."
                self._add("torn-read", text, read=read, send=applied.send)
            later = by_version.first_from(read.version + 1)
            if later and later.place < length:
                text = f"A read of version {read.version} shows a message of a later one."
                self._add("torn-read", text, read=read, send=later.send)

    # Deletion

    def check_deletion(self) -> None:
        """Nothing is gone that nobody deleted, nothing lives on that was deleted."""
        for miss in self._misses:
            if miss.returned_s < self._delete_called_s:
                text = "A context was not found though nobody had deleted it."
                self._add("vanished", text, read=miss)
        gone = self._final is not None and not self._final.found
        if gone and self._delete_called_s == _NEVER:
            self._add(
                "vanished", "The context is gone and nobody deleted it.", final=self._final
            )
        deleted = [
            operation
            for operation in self._operations
            if operation.kind == "delete" and operation.outcome is Outcome.APPLIED
        ]
        if not deleted or self._losses.data_lost:
            return
        if self._final is not None and self._final.found:
            self._add("undead", "A deleted context is there.", deletion=deleted[0])
        over_s = min(operation.returned_s or _NEVER for operation in deleted)
        acted = [one for one in self._operations if one.outcome is Outcome.APPLIED]
        answered: list[Read | Operation] = [*self._reads, *acted]
        for record in answered:
            if record.called_s > over_s and not _is_stale(record):
                text = "A deleted context has answered."
                self._add("undead", text, deletion=deleted[0], later=record)


class _Placed(NamedTuple):
    """The position of a send in a list of messages; behind its end if it is not there."""

    place: int
    send: Operation


class _Ranked:
    """Sends in the order of some number of theirs, and where they stand."""

    def __init__(
        self,
        sends: Iterable[Operation],
        number: Callable[[Operation], float],
        place: Mapping[str | None, int],
    ) -> None:
        ordered = sorted(sends, key=number)
        placed = [_Placed(place.get(one.content, len(place)), one) for one in ordered]
        self._numbers = [number(one) for one in ordered]
        self._last = [*accumulate(placed, _later)]
        self._placed = placed

    def last_below(self, number: float) -> _Placed | None:
        """Who of those with a smaller number stands last."""
        count = bisect_left(self._numbers, number)
        return self._last[count - 1] if count else None

    def first_from(self, number: float) -> _Placed | None:
        """Who is the first of those with this number or a greater one."""
        count = bisect_left(self._numbers, number)
        return self._placed[count] if count < len(self._placed) else None


def _later(first: _Placed, second: _Placed) -> _Placed:
    return second if second.place > first.place else first


def _is_stale(record: Operation | Read) -> bool:
    return isinstance(record, Read) and record.stale


def _epochs_of(records: _Records) -> Iterator[EpochSeen]:
    for read in records.reads:
        if read.found and not read.stale:
            yield EpochSeen(read.called_s, read.returned_s, read.epoch, read.context_id)
    for one in records.operations:
        if one.returned_s is not None and one.epoch is not None:
            yield EpochSeen(one.called_s, one.returned_s, one.epoch, one.context_id)
