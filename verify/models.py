"""A model of a context, in the few facts that clients can see from outside.

The model is not the machine: it was written from the promises alone, holds less than the
machine does, and shares no code with it. What it does not know (replies, timings, tools) it
takes as possible.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final as Constant, Self, TypeAlias

from verify.records import Operation, Outcome, Read

Record: TypeAlias = Operation | Read

APPROVED: Constant = "approved"
DENIED: Constant = "denied"
MAY_CHANGE_NOTHING: Constant = frozenset(
    {
        *("answer", "approve_tools", "configure", "generate_title", "merge_branch"),
        *("pin", "rename", "switch_branch", "unpin", "update_queue"),
    }
)
"""Actions that are applied without a version of their own where they ask for what is so."""
REARRANGES: Constant = frozenset(
    {
        *("edit_message", "merge_branch", "record_messages", "regenerate"),
        *("switch_branch", "update_queue"),
    }
)
"""Actions after which the messages shown are not those before and one more."""
KEEPS_ORDER: Constant = frozenset({None, "enqueue", "merge", "reject"})
"""Policies of messages that stand where they were sent."""


def is_straight(operations: Iterable[Operation]) -> bool:
    """Whether a context only ever shows more messages, in the order in which they came.

    Of others a list of messages says little: `verify/logs.py` holds them to their log.
    """
    return not any(
        one.kind in REARRANGES or one.policy not in KEEPS_ORDER or one.later
        for one in operations
        if one.outcome is not Outcome.REFUSED
    )


@dataclass(frozen=True, slots=True)
class Keyed:
    """What became of an operation with an Idempotency-Key."""

    key: str
    asked: tuple[object, ...]
    """What it asked for: another operation under this key must ask for the same."""
    version: int | None
    action_id: str | None
    """As far as one of its clients was told."""

    def matches(self, operation: Operation) -> bool:
        """Whether an operation was given the same answer, as far as both were told."""
        return (
            self.asked == asked_for(operation)
            and (None in (self.version, operation.version) or self.version == operation.version)
            and (
                None in (self.action_id, operation.action_id)
                or self.action_id == operation.action_id
            )
        )


@dataclass(frozen=True, slots=True)
class ContextFacts:
    """A context as its clients can know it."""

    said: tuple[str, ...] = ()
    version: int = 0
    """The newest that anybody was told of."""
    cancelled: int = 0
    """Turns: each begins with a message and is cancelled once at most."""
    paused: bool = False
    deleted: bool = False
    decided: tuple[tuple[str, str], ...] = ()
    """Tool calls, with what was decided on each first; sorted."""
    keyed: tuple[Keyed, ...] = ()
    """Sorted by key; only keys that more than one operation has."""


class ContextModel:
    """Messages in order, tool calls decided on once, pauses, keys and a version that grows."""

    def __init__(
        self,
        *,
        order: tuple[str, ...] = (),
        shared_keys: frozenset[str] = frozenset(),
        unseen: frozenset[str] = frozenset(),
        decided_once: bool = True,
        pauses_hold: bool = True,
    ) -> None:
        """Take what the history tells about itself, so that less has to be tried.

        Args:
            order: Messages as some read shows them: no other order can explain that read.
            shared_keys: Keys that several operations have.
            unseen: Messages that nobody has ever seen and nobody was told of: they change
                nothing for anybody, so they need not have happened.
            decided_once: Whether a tool call is decided on once.
            pauses_hold: Whether nothing but a client ends a pause.
        """
        self._order = order
        self._shared_keys = shared_keys
        self._unseen = unseen
        self._decided_once = decided_once
        self._pauses_hold = pauses_hold

    @classmethod
    def for_history(
        cls, history: Iterable[Record], *, decided_once: bool = True, pauses_hold: bool = True
    ) -> Self:
        """A model that knows the longest list of messages and the keys of a history."""
        records = list(history)
        reads = [record for record in records if isinstance(record, Read) and record.found]
        sends = [one for one in records if isinstance(one, Operation)]
        keys = Counter(one.key for one in sends if one.key is not None)
        shared_keys = frozenset(key for key, count in keys.items() if count > 1)
        shown = {content for read in reads for content in read.said}
        # A message that nobody saw may yet have begun a turn that somebody cancelled.
        cancels = any(one.kind == "cancel" for one in sends)
        unseen = frozenset(
            one.content
            for one in sends
            if one.content is not None
            and one.content not in shown
            and not cancels
            and one.outcome is Outcome.UNKNOWN
        )
        order = max((read.said for read in reads), key=len, default=())
        return cls(
            order=order,
            shared_keys=shared_keys,
            unseen=unseen,
            decided_once=decided_once,
            pauses_hold=pauses_hold,
        )

    def begin(self) -> ContextFacts:
        """An empty context."""
        return ContextFacts()

    def step(self, state: ContextFacts, record: Record) -> ContextFacts | None:
        """See `verify.linearizability.Model`."""
        if isinstance(record, Read):
            return self._read(state, record)
        if record.key in self._shared_keys:
            before = next((one for one in state.keyed if one.key == record.key), None)
            if before is not None:
                return self._repeat(state, before, record)
        elif record.outcome is Outcome.UNKNOWN and record.content in self._unseen:
            return None
        if state.deleted:
            return None
        version = self._version_after(state, record)
        if version is None:
            return None
        after = self._apply(state, record)
        if after is None:
            return None
        return replace(after, version=version, keyed=self._remember(after, record))

    def _read(self, state: ContextFacts, read: Read) -> ContextFacts | None:
        if not read.found or state.deleted:
            return state if read.found != state.deleted else None
        fits = (
            read.said == state.said
            and read.version >= state.version
            and (not self._pauses_hold or (read.status == "paused") == state.paused)
        )
        return replace(state, version=read.version) if fits else None

    def _repeat(
        self, state: ContextFacts, before: Keyed, operation: Operation
    ) -> ContextFacts | None:
        if not before.matches(operation):
            # Nothing but "unknown" can come of a key that was used for something else.
            return None
        told = replace(
            before,
            version=before.version if before.version is not None else operation.version,
            action_id=before.action_id or operation.action_id,
        )
        if told.version is not None and operation.version is not None:
            state = replace(state, version=max(state.version, told.version))
        others = [one for one in state.keyed if one.key != before.key]
        keyed = sorted([*others, told], key=lambda one: one.key)
        return replace(state, keyed=tuple(keyed))

    def _remember(self, state: ContextFacts, operation: Operation) -> tuple[Keyed, ...]:
        if operation.key is None or operation.key not in self._shared_keys:
            return state.keyed
        made = Keyed(
            operation.key, asked_for(operation), operation.version, operation.action_id
        )
        return tuple(sorted([*state.keyed, made], key=lambda one: one.key))

    def _version_after(self, state: ContextFacts, operation: Operation) -> int | None:
        """The version it was applied as, or at least how many there are; None: impossible."""
        may_be_same = operation.kind in MAY_CHANGE_NOTHING
        least = state.version if may_be_same else state.version + 1
        if operation.version is None:
            return least
        return operation.version if operation.version >= least else None

    def _apply(self, state: ContextFacts, operation: Operation) -> ContextFacts | None:
        match operation.kind:
            case "send_message":
                return self._send(state, operation.content or "")
            case "approve_tools":
                return self._decide(state, operation)
            case "cancel" if state.cancelled < len(state.said):
                return replace(state, cancelled=state.cancelled + 1)
            case "pause" | "resume" | "retry" | "reset" if not self._pauses_hold:
                return state
            case "pause" if not state.paused:
                return replace(state, paused=True)
            case "resume" if state.paused:
                return replace(state, paused=False)
            case "retry" | "reset" if not state.paused:
                return state
            case "delete":
                return replace(state, deleted=True)
            case "cancel" | "pause" | "resume" | "retry" | "reset":
                return None
            case _:
                return state

    def _send(self, state: ContextFacts, content: str) -> ContextFacts | None:
        place = len(state.said)
        if place < len(self._order) and self._order[place] != content:
            return None
        return replace(state, said=(*state.said, content))

    def _decide(self, state: ContextFacts, operation: Operation) -> ContextFacts | None:
        if not self._decided_once:
            return state
        decided = dict(state.decided)
        asked = {
            **dict.fromkeys(operation.tool_call_ids, APPROVED),
            **dict.fromkeys(operation.denied_ids, DENIED),
        }
        fresh = {call: what for call, what in asked.items() if call not in decided}
        if not fresh and any(decided[call] != what for call, what in asked.items()):
            return None
        return replace(state, decided=tuple(sorted({**decided, **fresh}.items())))


def asked_for(operation: Operation) -> tuple[object, ...]:
    """What an operation asks for: its action and body, as far as records tell."""
    return (
        operation.kind,
        operation.content,
        operation.takes,
        operation.policy,
        operation.later,
        operation.tool_call_ids,
        operation.denied_ids,
    )
