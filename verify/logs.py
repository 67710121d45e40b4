"""Judges a context's log, as the service shows it at the end, against what clients were told.

The log is the one order in which everything has happened, so nothing has to be searched for:
each answer names its place in it, each read is of one version. This is what holds contexts
whose messages are edited, moved, dropped and brought elsewhere.

Invariant 1: the log alone says nothing. Whatever it holds has to be what somebody has sent,
once, and whatever somebody was told has to be in it, where real time allows it to be.
Invariant 2: what a version looks like is the fold of the log by the machine; what becomes of a
message that was taken is judged without it, by the few ways in which one may go.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final as Constant

import orjson
from pydantic import ValidationError

from fsm import (
    ContextState,
    Refusal,
    StaleAnswer,
    branch_messages,
    decode_event,
    drafting,
    replay,
)
from verify.findings import Findings
from verify.keys import doubt_refusals, merge_keys
from verify.models import MAY_CHANGE_NOTHING
from verify.records import (
    Cursor,
    Final,
    Json,
    Log,
    Operation,
    Outcome,
    Read,
    StreamRecording,
    Violation,
)

ACTION_OF: Constant = {
    "answer-given": "answer",
    "approval-given": "approve_tools",
    "branch-created": "create_branch",
    "branch-merged": "merge_branch",
    "branch-switched": "switch_branch",
    "cancel-requested": "cancel",
    "context-configured": "configure",
    "context-deleted": "delete",
    "context-pinned": "pin",
    "context-renamed": "rename",
    "context-unpinned": "unpin",
    "message-edited": "edit_message",
    "message-received": "send_message",
    "messages-recorded": "record_messages",
    "pause-requested": "pause",
    "queue-updated": "update_queue",
    "regenerate-requested": "regenerate",
    "reset-requested": "reset",
    "resume-requested": "resume",
    "retry-requested": "retry",
    "title-requested": "generate_title",
    "turn-requested": "request_turn",
}
"""Which action an event is, by its kind; what else is in a log nobody has asked for."""
_NO_EVENTS: Constant = frozenset({"hello", "snapshot", "reply-delta", "reset", "bye"})
"""What streams show besides the events of the log."""


def check_logs(
    operations: Iterable[Operation],
    reads: Iterable[Read],
    recordings: Iterable[StreamRecording],
    finals: Iterable[Final],
    logs: Iterable[Log],
    *,
    accepted_may_be_refused: bool = False,
) -> tuple[Violation, ...]:
    """What is wrong with logs, and with what was told of them.

    For runs in which the store loses nothing.

    Args:
        operations: Of all clients, in any order.
        reads: Of all clients, in any order.
        recordings: Of all subscribers.
        finals: Every context once all faults are over and it rests.
        logs: Of contexts that are there at the end.
        accepted_may_be_refused: Whether what was answered with 202 may be missing.
    """
    found = Findings()
    acted: dict[str, list[Operation]] = defaultdict(list)
    for operation in operations:
        acted[operation.context_id].append(operation)
    seen: dict[str, list[Read | Final]] = defaultdict(list)
    for read in reads:
        if read.found:
            seen[read.context_id].append(read)
    for final in finals:
        if final.found:
            seen[final.context_id].append(final)
    shown: dict[str, list[StreamRecording]] = defaultdict(list)
    for recording in recordings:
        shown[recording.context_id].append(recording)
    for log in logs:
        context_id = log.context_id
        folded = _fold(log, found)
        if folded is None:
            continue
        context = _Context(log, folded, acted[context_id], found)
        context.check_answers()
        context.check_senders(accepted_may_be_refused=accepted_may_be_refused)
        context.check_order(seen[context_id])
        context.check_shown(seen[context_id], shown[context_id])
        context.check_kept()
    return found.violations()


def _fold(log: Log, found: Findings) -> Sequence[ContextState] | None:
    """The state at each version; None if the events are no log."""
    states: list[ContextState] = []
    for version, event in enumerate(log.events, start=1):
        try:
            decoded = decode_event(orjson.dumps(event))
            states.append(replay([decoded], states[-1] if states else None))
        except (Refusal, StaleAnswer, ValidationError, ValueError) as error:
            text = f"Version {version} cannot follow: {error!r}"
            found.add("log-does-not-replay", log.context_id, text, event=event)
            return None
        if states[-1].version != version:
            text = f"The event of version {version} changes nothing."
            found.add("log-does-not-replay", log.context_id, text, event=event)
            return None
    return states


def texts_of(event: Json) -> tuple[str, ...]:
    """What an event says for the first time."""
    match event["kind"]:
        case "message-received" | "message-edited":
            return (event["content"],)
        case "messages-recorded":
            return tuple(m["content"] for m in event["messages"] if m["role"] == "user")
        case "queue-updated":
            return tuple(event["edit"].values())
        case _:
            return ()


@dataclass(frozen=True, slots=True)
class _Said:
    """A text where the log has it first."""

    version: int
    event: Json


class _Context:
    """One context's log, and what its clients have written down."""

    def __init__(
        self,
        log: Log,
        states: Sequence[ContextState],
        operations: Sequence[Operation],
        found: Findings,
    ) -> None:
        self._id = log.context_id
        self._events = log.events
        self._states = states
        self._found = found
        self._operations = merge_keys(doubt_refusals(operations), found)
        self._said: dict[str, list[_Said]] = defaultdict(list)
        for version, event in enumerate(log.events, start=1):
            for text in texts_of(event):
                self._said[text].append(_Said(version, event))

    def _add(self, check: str, text: str, **evidence: object) -> None:
        self._found.add(check, self._id, text, **evidence)

    def _event(self, version: int | None) -> Json | None:
        if version is None or not 1 <= version <= len(self._events):
            return None
        return self._events[version - 1]

    def _is(self, operation: Operation, event: Json) -> bool:
        """Whether an event may be what an operation has done."""
        if ACTION_OF.get(event["kind"]) != operation.kind:
            return False
        return operation.content is None or operation.content in texts_of(event)

    # What was answered is in the log

    def check_answers(self) -> None:
        """What was applied is the event of the version that its client was told."""
        for operation in self._operations:
            if operation.outcome is not Outcome.APPLIED or operation.version is None:
                continue
            event = self._event(operation.version)
            if event is None:
                text = f"Version {operation.version} was answered and is not in the log."
                self._add("log-lacks", text, operation=operation)
            elif not self._is(operation, event) and not _may_be_nothing(operation):
                text = f"Version {operation.version} is something else than was answered."
                self._add("log-lacks", text, operation=operation, event=event)

    # What is in the log was sent

    def check_senders(self, *, accepted_may_be_refused: bool) -> None:
        """Every action of the log was sent by somebody, and is there once."""
        by_text = {one.content: one for one in self._operations if one.content is not None}
        for text, places in self._said.items():
            operation = by_text.get(text)
            if len(places) > 1:
                times = f"It is in the log {len(places)} times."
                self._add("duplicated", times, content=text, operation=operation)
            if operation is None or not self._is(operation, places[0].event):
                self._add("phantom", "Nobody has said this so.", event=places[0].event)
            elif operation.outcome is Outcome.REFUSED:
                self._add("refused-but-applied", "It was refused.", operation=operation)
        for text, operation in by_text.items():
            certain = operation.outcome is Outcome.APPLIED or (
                operation.outcome is Outcome.ACCEPTED and not accepted_may_be_refused
            )
            if text not in self._said and certain:
                self._add("lost", "It was acknowledged and is not there.", operation=operation)
        self._check_wordless()

    def _check_wordless(self) -> None:
        """Of actions without words of their own there are no more than were sent."""
        told: dict[int, Operation] = {}
        untold: Counter[str] = Counter()
        for operation in self._operations:
            if operation.content is not None or operation.outcome is Outcome.REFUSED:
                continue
            event = self._event(operation.version)
            if operation.outcome is not Outcome.APPLIED or operation.version is None:
                untold[operation.kind] += 1
            elif event is not None and self._is(operation, event):
                told.setdefault(operation.version, operation)
        for version, event in enumerate(self._events, start=1):
            kind = ACTION_OF.get(event["kind"])
            if kind is None or texts_of(event) or version in told:
                continue
            untold[kind] -= 1
            if untold[kind] < 0:
                self._add("phantom", "Nobody has asked for it.", version=version, event=event)

    # Real time

    def check_order(self, seen: Iterable[Read | Final]) -> None:
        """Who had returned before another was called stands first in the log.

        And who named a version stands right behind it.
        """
        placed = sorted(self._placed(), key=lambda one: one[1].called_s)
        for version, operation in placed:
            if operation.if_version not in {None, version - 1}:
                text = f"Version {version} was to follow version {operation.if_version}."
                self._add("condition-ignored", text, operation=operation)
        moments: list[tuple[float, int, Read | Operation]] = [
            (one.returned_s, one.version, one)
            for one in seen
            if isinstance(one, Read) and not one.stale
        ]
        moments += [
            (one.returned_s, version, one)
            for version, one in placed
            if one.outcome.is_acked and one.returned_s is not None
        ]
        moments.sort(key=lambda moment: moment[0])
        newest, before, index = 0, None, 0
        for version, operation in placed:
            while index < len(moments) and moments[index][0] < operation.called_s:
                if moments[index][1] > newest:
                    _, newest, before = moments[index]
                index += 1
            if version <= newest:
                text = f"Version {version} was sent after version {newest} had been seen."
                self._add("reordered", text, seen=before, sent_later=operation)

    def _placed(self) -> Iterator[tuple[int, Operation]]:
        """Operations that have a version of their own, whether or not they were told."""
        for operation in self._operations:
            places = self._said.get(operation.content or "", [])
            if len(places) == 1 and operation.content is not None:
                yield places[0].version, operation
            elif operation.version is not None and not _may_be_nothing(operation):
                yield operation.version, operation

    # What was shown is what the log makes

    def check_shown(
        self, seen: Iterable[Read | Final], recordings: Iterable[StreamRecording]
    ) -> None:
        """A read is the fold of the log up to its version; a frame is the log's event."""
        for one in seen:
            if not 1 <= one.version <= len(self._states):
                text = f"Version {one.version} was shown and is not in the log."
                self._add("read-differs", text, read=one)
                continue
            folded = _shown(self._states[one.version - 1])
            messages = (
                one.messages
                if isinstance(one, Read)
                else tuple(m.content for m in one.messages if m.role == "user")
            )
            if (messages, one.queued, one.status) != (folded[0], folded[1], folded[2]):
                text = f"Version {one.version} was shown otherwise than the log has it."
                self._add("read-differs", text, read=one, folded=folded)
            elif one.draft is not None and not folded[3]:
                text = f"Version {one.version} was shown with a draft that it has not."
                self._add("read-differs", text, read=one)
        for recording in recordings:
            for frame in recording.frames:
                if frame.event in _NO_EVENTS:
                    continue
                if self._event(Cursor.parse(frame.id).version) != frame.data:
                    text = "A stream has shown an event that is not the log's."
                    self._add("log-differs", text, frame=frame)

    # What becomes of what was said

    def check_kept(self) -> None:
        """Each text is in one place at the end, unless something has dropped it."""
        state = self._states[-1]
        there = Counter(
            m.content for m in state.messages if m.role == "user" and m.copy_of is None
        )
        waiting = Counter(said.content for said in (*state.queue, *state.scheduled))
        taken = {
            text
            for operation in self._operations
            if operation.kind == "update_queue" and operation.outcome is not Outcome.REFUSED
            for text in operation.takes
        }
        for text, places in self._said.items():
            times = there[text] + waiting[text]
            if times > 1:
                self._add("duplicated", f"It is there {times} times.", content=text)
            elif times == 0 and text not in taken and not self._dropped(places[0]):
                self._add("lost", "It is neither said nor waits.", event=places[0].event)

    def _dropped(self, said: _Said) -> bool:
        """Whether a message may have waited when one came that takes the place of all.

        Or, where it was put in the place of other words, when somebody who had still read
        those named it.
        """
        put: set[str] = {*said.event.get("edit", ())}
        if any(put & {*event["remove"], *event["edit"]} for event in self._updates(said)):
            return True
        return said.event["kind"] in {"message-received", "queue-updated"} and any(
            event["kind"] == "message-received"
            and event["policy"] == "latest"
            and (version > said.version or event["not_before_ms"] is not None)
            for version, event in enumerate(self._events, start=1)
        )

    def _updates(self, said: _Said) -> Iterator[Json]:
        """Changes of the queue that came after a text."""
        for event in self._events[said.version :]:
            if event["kind"] == "queue-updated":
                yield event


def _may_be_nothing(operation: Operation) -> bool:
    """Whether it may have been applied without an event of its own."""
    return operation.content is None and operation.kind in MAY_CHANGE_NOTHING


def _shown(state: ContextState) -> tuple[tuple[str, ...], tuple[str, ...], str, bool]:
    """What a read tells of a state: what was said, what waits, the status, a draft."""
    return (
        tuple(m.content for m in branch_messages(state) if m.role == "user"),
        tuple(said.content for said in (*state.queue, *state.scheduled)),
        state.phase.value,
        drafting(state) is not None,
    )
