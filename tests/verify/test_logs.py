"""The checker of logs accepts what a context did, and refuses what tells otherwise."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from fsm import EVENT_TYPES, Action, branch_messages, replay
from tests.support.playbook import (
    BEGAN_MS,
    PIN,
    STARTED,
    TIME,
    Playbook,
    branch as create,
    edit,
    merge,
    record,
    regenerate,
    rename,
    replied,
    say,
    switch,
    update_queue,
)
from tests.verify.histories import CONTEXT, EPOCH
from verify.history import check_history
from verify.linearizability import check_linearizability
from verify.logs import ACTION_OF, check_logs, texts_of
from verify.records import (
    Connection,
    Final,
    Json,
    Log,
    Message,
    Operation,
    Outcome,
    Read,
    StreamFrame,
    StreamRecording,
)


def story() -> Playbook:
    """A context in which everything happens that moves messages."""
    book = Playbook().given(say("one", policy="enqueue"), STARTED)  # versions 2, 3
    book.given(say("two", policy="interrupt", partial="Hel"), replied("2"))  # 4, 5
    book.given(edit(book.branch[0].id, "uno"), say("a", policy="merge"))  # 6, 7
    book.given(say("b", policy="merge"))  # 8
    a, b = (said.id for said in book.state.queue)
    book.given(update_queue(edit={a: "A"}, move={b: 0}), replied("1"), replied("a b"))  # 11
    book.given(create("other"), record(("user", "kept"), ("assistant", "so")))  # 13
    book.given(switch("other"), merge("main", accept=True), regenerate(), PIN)  # 17
    book.given(say("gone"), say("x", policy="latest"), replied("again"))  # 20
    book.given(say("y", policy="rollback"), replied("y"))  # 22
    book.given(say("later", not_before_ms=BEGAN_MS + 60_000), rename("end"))  # 24
    return book.later(seconds=60).given(TIME, replied("now"))  # 26


@dataclass(frozen=True, slots=True)
class Told:
    """What the clients of a context have written down."""

    operations: tuple[Operation, ...]
    reads: tuple[Read, ...]
    recordings: tuple[StreamRecording, ...]
    finals: tuple[Final, ...]
    logs: tuple[Log, ...]


def told_of(book: Playbook) -> Told:
    """Everything there is to tell; each version comes about at that second."""
    events: list[Json] = [event.model_dump(mode="json") for event in book.log]
    versions = range(1, len(events) + 1)
    frames = [
        StreamFrame(f"{EPOCH}.{version}.0", event["kind"], event, version, 0)
        for version, event in zip(versions, events, strict=True)
    ]
    reads = tuple(read_at(book, version) for version in versions)
    messages = tuple(
        Message(id=m.id, role=m.role, content=m.content) for m in branch_messages(book.state)
    )
    end = Final(
        context_id=CONTEXT,
        epoch=EPOCH,
        version=book.state.version,
        status=reads[-1].status,
        messages=messages,
        queued=reads[-1].queued,
    )
    connections = [Connection(opened_s=0)]
    recording = StreamRecording(
        subscriber="eve", context_id=CONTEXT, frames=frames, connections=connections
    )
    operations = tuple(
        operation_of(event, version)
        for version, event in zip(versions, events, strict=True)
        if event["kind"] in ACTION_OF
    )
    log = Log(context_id=CONTEXT, events=tuple(events))
    return Told(operations, reads, (recording,), (end,), (log,))


def told_of_story() -> Told:
    """What was told of the story; who edited the queue knows what it took."""
    return operation(9, takes=("a",))(told_of(story()))


def operation_of(event: Json, version: int) -> Operation:
    """What the client that sent an event was told."""
    return Operation(
        client="ann",
        context_id=CONTEXT,
        kind=ACTION_OF[event["kind"]],
        content=next(iter(texts_of(event)), None),
        policy=event.get("policy"),
        called_s=version - 0.4,
        returned_s=version + 0.1,
        outcome=Outcome.APPLIED,
        version=version,
        epoch=EPOCH,
    )


def read_at(book: Playbook, version: int) -> Read:
    """A poll of a version."""
    state = replay(book.log[:version])
    said = tuple(m.content for m in branch_messages(state) if m.role == "user")
    return Read(
        client="bob",
        context_id=CONTEXT,
        called_s=version + 0.2,
        returned_s=version + 0.3,
        epoch=EPOCH,
        version=version,
        messages=said,
        queued=tuple(one.content for one in (*state.queue, *state.scheduled)),
        status=state.phase.value,
    )


def checks(told: Told, *, accepted_may_be_refused: bool = False) -> set[str]:
    """Names of the checks that refuse what was told."""
    found = check_logs(
        told.operations,
        told.reads,
        told.recordings,
        told.finals,
        told.logs,
        accepted_may_be_refused=accepted_may_be_refused,
    )
    return {violation.check for violation in found}


def test_what_a_context_did_is_accepted_by_every_checker() -> None:
    told = told_of_story()
    assert checks(told) == set()
    assert check_history(told.operations, told.reads, told.finals) == ()
    assert check_linearizability(told.operations, told.reads, told.finals) == ()


def at(version: int, change: Callable[[Json], Json | None]) -> Callable[[Told], Told]:
    """Another log: one event is another one, or none."""

    def damage(told: Told) -> Told:
        events = list(told.logs[0].events)
        changed = change(events[version - 1])
        events[version - 1 : version] = [] if changed is None else [changed]
        return replace(told, logs=(replace(told.logs[0], events=tuple(events)),))

    return damage


def operation(applied_as: int, **changes: Json) -> Callable[[Told], Told]:
    """Another operation than that which was applied as a version."""

    def damage(told: Told) -> Told:
        changed = tuple(
            replace(one, **changes) if one.version == applied_as else one
            for one in told.operations
        )
        return replace(told, operations=changed)

    return damage


def poll(shown: int, **changes: Json) -> Callable[[Told], Told]:
    """Another read of a version."""

    def damage(told: Told) -> Told:
        changed = tuple(
            replace(one, **changes) if one.version == shown else one for one in told.reads
        )
        return replace(told, reads=changed)

    return damage


def without_operation(version: int) -> Callable[[Told], Told]:
    """Nobody has sent it."""
    return lambda told: replace(
        told, operations=tuple(one for one in told.operations if one.version != version)
    )


def of_another_stream(told: Told) -> Told:
    """A stream has shown something else."""
    (recording,) = told.recordings
    frames = list(recording.frames)
    frames[4] = replace(frames[4], data={**frames[4].data, "text": "two"})
    return replace(told, recordings=(replace(recording, frames=frames),))


WRONG: dict[str, tuple[str, Callable[[Told], Told]]] = {
    "an event is missing": ("log-does-not-replay", at(24, lambda _: None)),
    "the last event is missing": ("read-differs", at(26, lambda _: None)),
    "what was answered is beyond the end": ("log-lacks", operation(24, version=99)),
    "what was answered is something else": ("log-lacks", operation(17, kind="create_branch")),
    "a message has other words": ("lost", at(18, lambda event: {**event, "content": "gene"})),
    "it was said by nobody": ("phantom", without_operation(12)),
    "a message was said by nobody": ("phantom", without_operation(18)),
    "an edit was made by nobody": ("phantom", without_operation(9)),
    "it was refused": ("refused-but-applied", operation(2, outcome=Outcome.REFUSED)),
    "an accepted message is gone": (
        "lost",
        operation(2, content="never", outcome=Outcome.ACCEPTED, version=None),
    ),
    "it was sent only after it was seen": (
        "reordered",
        operation(8, called_s=30, returned_s=31),
    ),
    "an accepted one was overtaken by what was sent later": (
        "reordered",
        lambda told: operation(8, called_s=1.2, returned_s=1.3, outcome=Outcome.ACCEPTED)(
            operation(2, called_s=1.5)(told)
        ),
    ),
    "it came later than at the version that it named": (
        "condition-ignored",
        operation(18, if_version=16),
    ),
    "a read shows another branch": ("read-differs", poll(14, messages=("two",))),
    "a read shows another queue": ("read-differs", poll(9, queued=("A", "b"))),
    "a read shows another status": ("read-differs", poll(9, status="idle")),
    "a read shows a draft that there is not": ("read-differs", poll(4, draft="Hel")),
    "a read shows what the log does not reach": ("read-differs", poll(9, version=90)),
    "a stream shows another event": ("log-differs", of_another_stream),
    "an event cannot follow": (
        "log-does-not-replay",
        at(5, lambda event: {**event, "effect_id": "9.9"}),
    ),
    "an event changes nothing": (
        "log-does-not-replay",
        at(24, lambda event: {**event, "title": "one"}),
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_log_is_refused_for_its_reason(name: str) -> None:
    check, damage = WRONG[name]
    assert check in checks(damage(told_of_story()))


def test_what_named_a_version_may_follow_it() -> None:
    assert checks(operation(18, if_version=17)(told_of_story())) == set()


def test_a_message_that_vanishes_from_the_queue_is_lost_unless_somebody_took_it() -> None:
    book = Playbook().given(say("one", policy="enqueue"), say("two", policy="enqueue"))
    (two,) = (said.id for said in book.state.queue)
    book.given(update_queue(remove=(two,)), replied())
    told = told_of(book)
    assert checks(told) == {"lost"}
    assert checks(operation(4, takes=("two",))(told)) == set()


def test_a_message_that_takes_the_place_of_all_drops_what_waits() -> None:
    book = Playbook().given(say("one", policy="enqueue"), say("two", policy="enqueue"))
    book.given(say("three", policy="latest"), replied(), replied())
    assert checks(told_of(book)) == set()


def test_what_was_accepted_may_be_missing_only_where_queues_were_full() -> None:
    told = told_of_story()
    late = replace(told.operations[0], content="never", outcome=Outcome.ACCEPTED, version=None)
    told = replace(told, operations=(*told.operations, late))
    assert checks(told) == {"lost"}
    assert checks(told, accepted_may_be_refused=True) == set()


def test_the_checker_knows_which_events_are_actions() -> None:
    actions = {
        kind: event.action for kind, event in EVENT_TYPES.items() if issubclass(event, Action)
    }
    assert actions == ACTION_OF
