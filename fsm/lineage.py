"""Copies of logs (fork, import): what a copy begins with, and how it is brought to rest.

Ids that the machine makes contain the id of their context. A copy keeps the ids that its log
had: its first event says from which context it was copied, and up to which version.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

from fsm.effects import MakeTitle
from fsm.events import (
    CancelRequested,
    ContextCreated,
    ContextDeleted,
    ContextRenamed,
    Event,
    QueueUpdated,
    TitleMade,
)
from fsm.history import message_tokens
from fsm.machine import ended, replay, rests, transition
from fsm.refusals import Refusal, StaleAnswer
from fsm.state import ContextState, Origin, Phase

VERSION_MAX: Final = 1_000_000_000_000
"""Highest version of a base: the store's scripts write whole numbers of up to 14 digits, and
the log has to be able to grow."""


@dataclass(frozen=True, slots=True)
class CopiedLog:
    """A copy of a log, which goes on independently of it."""

    base: ContextState | None
    """What it begins with, if the other was compacted; else with its first event."""
    events: Sequence[Event]
    state: ContextState
    """What all of it leads to."""


class BrokenLog(ValueError):
    """The events are not a log: the machine refuses one of them."""


def copy_log(
    events: Sequence[Event],
    *,
    context_id: str,
    owner: str,
    at_ms: int,
    base: ContextState | None = None,
    title: str | None = None,
    keeps_waiting: bool = True,
) -> CopiedLog:
    """The log of a context that goes on where another one is.

    Nothing is pending in the copy, so that nothing is done twice; nor does the copy expire.

    Args:
        events: All of the other's log behind its base, up to where the copy is made.
        context_id: Of the copy.
        owner: Of the copy.
        at_ms: Now.
        base: What the other's log begins with, if it was compacted.
        title: Of the copy; None: the other's.
        keeps_waiting: Whether messages that wait come along; they do not where the copy
            would begin their turn.

    Raises:
        BrokenLog: The events are no log, or end with the deletion of the context.
    """
    before = base.version if base else 0
    origin_version = before + len(events)
    copied = list(events)
    if base is not None:
        check_base(base)
        origins = _origins(base.origins, base.id, origin_version)
        begun = {"id": context_id, "owner": owner, "origins": origins}
        base = base.model_copy(update={**begun, "expires_ms": None})
        state = base
    else:
        if not events or not isinstance(first := events[0], ContextCreated):
            raise BrokenLog("event 1: a log begins with context-created")
        origins = _origins(first.origins, first.context_id, origin_version)
        begun = {"context_id": context_id, "owner": owner, "origins": origins}
        copied[0] = first.model_copy(update={**begun, "expires_ms": None})
        state = replay(copied[:1])
    for number, event in enumerate(copied[state.version - before :], start=state.version + 1):
        try:
            state = transition(state, event).state
        except (Refusal, StaleAnswer) as error:
            raise BrokenLog(f"event {number}: {error}") from None
        except ValidationError:
            raise BrokenLog(f"event {number}: it leads out of every range") from None
        if state.version != number:
            raise BrokenLog(f"event {number}: it changes nothing")
        if isinstance(event, ContextDeleted):
            raise BrokenLog(f"event {number}: the context was deleted")
    settling = _settling(state, at_ms=at_ms, keeps_waiting=keeps_waiting)
    state = replay(settling, state)
    if title is not None and title != state.title:
        renamed = ContextRenamed(at_ms=at_ms, title=title)
        settling.append(renamed)
        state = transition(state, renamed).state
    return CopiedLog(base, [*copied, *settling], state)


def _origins(further: Sequence[Origin], context_id: str, version: int) -> tuple[Origin, ...]:
    """Where a copy of a context's first versions comes from: of none more than is copied."""
    shared = (
        origin.model_copy(update={"version": min(origin.version, version)})
        for origin in further
    )
    return (*shared, Origin(context_id=context_id, version=version))


def check_base(base: ContextState) -> None:
    """Refuse a state that no log can have led to and that the machine could not go on with.

    Raises:
        BrokenLog: It does not rest, or its messages are not a tree.
    """
    if base.tokens != sum(message_tokens(message) for message in base.messages):
        raise BrokenLog("base: its messages have another number of tokens")
    known: set[str | None] = {None}
    for seq, message in enumerate(base.messages, start=1):
        if message.seq != seq or message.id in known or message.parent_id not in known:
            raise BrokenLog(f"base: message {seq} has no place in the tree")
        if message.replaces not in known or message.copy_of not in known:
            raise BrokenLog(f"base: message {seq} stands for one that was not there")
        known.add(message.id)
    if any(branch.head not in known for branch in base.branches.values()):
        raise BrokenLog("base: a branch leads to a message that is not there")
    if base.active_branch not in base.branches:
        raise BrokenLog("base: there is no active branch")
    if ended(base) or not rests(base):
        raise BrokenLog("base: a log begins with a context that rests")
    if not 1 <= base.version <= VERSION_MAX:
        raise BrokenLog(f"base: its version is not between 1 and {VERSION_MAX}")
    if base.phase in _OF_TURNS and base.turn is None:
        raise BrokenLog("base: nobody knows which turn waits")
    if base.turn is not None:
        waited_since_ms = base.updated_at_ms - base.turn.waited_ms
        if not base.turn.started_at_ms <= waited_since_ms:
            raise BrokenLog("base: its turn has waited for longer than it takes")


_OF_TURNS: Final = frozenset({Phase.AWAITING_TOOL_APPROVAL, Phase.AWAITING_ANSWER})


def _settling(state: ContextState, *, at_ms: int, keeps_waiting: bool) -> list[Event]:
    """Events that bring a context to rest, as its owner could have done it."""
    events: list[Event] = []
    waiting = () if keeps_waiting else (*state.queue, *state.scheduled)
    works = any(not isinstance(effect, MakeTitle) for effect in state.pending.values())
    if works and state.phase is not Phase.PAUSED:
        waiting = waiting or state.queue
    if waiting:
        events.append(QueueUpdated(at_ms=at_ms, remove=tuple(said.id for said in waiting)))
    if works:
        events.append(CancelRequested(at_ms=at_ms))
    events += [
        TitleMade(at_ms=at_ms, effect_id=effect_id, title=state.title)
        for effect_id, effect in state.pending.items()
        if isinstance(effect, MakeTitle)
    ]
    return events
