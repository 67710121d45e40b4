"""The rules that concern the context as a whole, whatever its turn is doing."""

import itertools
from collections.abc import Sequence

from fsm.configuring import check_patch
from fsm.effects import MakeTitle, StopEffect
from fsm.events import (
    Action,
    ContextConfigured,
    ContextCreated,
    ContextDeleted,
    ContextPinned,
    ContextRenamed,
    MessagesRecorded,
    RecordedMessage,
    TitleMade,
    TurnRequested,
)
from fsm.history import branch_messages
from fsm.state import ContextState, Message, Phase, Turn
from fsm.steps import Inapplicable, Step, Unchanged, answered, issue, stop_all, with_
from fsm.tree import append, append_copies, check_count, derive_id, head, move_head
from fsm.turns import prepare, title_of


def open_context(event: ContextCreated) -> ContextState:
    """The state after the first event of a log."""
    return ContextState(
        id=event.context_id,
        owner=event.owner,
        origins=event.origins,
        title=event.title,
        labels=event.labels,
        expires_ms=event.expires_ms,
        version=1,
        created_at_ms=event.at_ms,
        updated_at_ms=event.at_ms,
        config=event.config,
    )


def configure(state: ContextState, event: ContextConfigured) -> Step:
    """Merge the patch into the configuration; in force from the next model call on."""
    merged = check_patch(state.config, event.patch)
    # Compared as JSON: to Python, 1, 1.0 and True are the same value.
    if merged.to_json() == state.config.to_json():
        raise Unchanged
    return Step(with_(state, config=merged))


def rename(state: ContextState, event: ContextRenamed) -> Step:
    """Give the context another title."""
    if event.title == state.title:
        raise Unchanged
    return Step(with_(state, title=event.title))


def request_title(state: ContextState, _event: Action) -> Step:
    """Ask for a title, unless that is being done."""
    if any(isinstance(effect, MakeTitle) for effect in state.pending.values()):
        raise Unchanged
    return issue(state, MakeTitle(effect_id=f"{state.version}.0", replaces=state.title))


def take_title(state: ContextState, event: TitleMade) -> Step:
    """The title is there."""
    return Step(with_(answered(state, event.effect_id), title=event.title))


def pin(state: ContextState, event: Action) -> Step:
    """Keep the context from retention, or do so no longer."""
    pinned = isinstance(event, ContextPinned)
    if state.pinned == pinned:
        raise Unchanged
    return Step(with_(state, pinned=pinned))


def record(state: ContextState, event: MessagesRecorded) -> Step:
    """Append what was said elsewhere, as it was; no turn begins."""
    if not event.messages:
        raise Unchanged
    return Step(_append_recorded(state, event.messages))


def request_turn(state: ContextState, event: TurnRequested) -> Step:
    """Append what was said elsewhere and have the model answer it.

    Calls of the turn before that nobody has answered stay so: the model is told.
    """
    if not event.messages:
        raise Inapplicable("unknown-message", "There is nothing to answer: no messages.")
    if stop_all(state).effects:
        raise Inapplicable("turn-running", "Tools of the running turn have not ended.")
    before = head(state)
    if event.follows is not None:
        if all(message.id != event.follows for message in state.messages):
            raise Inapplicable("unknown-message", f"There is no message {event.follows}.")
        state = move_head(state, event.follows)
    if event.patch:
        state = with_(state, config=check_patch(state.config, event.patch))
    state = _append_recorded(state, event.messages)
    turn = Turn(id=state.messages[-1].id, started_at_ms=state.updated_at_ms, rollback_to=before)
    return prepare(with_(state, turn=turn, failure=None))


def _append_recorded(state: ContextState, messages: Sequence[RecordedMessage]) -> ContextState:
    check_count(messages)
    ids = itertools.count()
    for said in messages:
        state = _record(state, said, ids)
    title = state.title
    if not title:
        first = next((m.content for m in branch_messages(state) if m.role == "user"), "")
        title = title_of(first)
    return with_(state, title=title)


def _record(
    state: ContextState, said: RecordedMessage, ids: "itertools.count[int]"
) -> ContextState:
    """One message; in another's place, what followed that one follows it, too, as copies."""
    followers: Sequence[Message] = ()
    if said.replaces is not None:
        line = branch_messages(state)
        at = next((i for i, m in enumerate(line) if m.id == said.replaces), None)
        if at is None or line[at].role != said.role:
            detail = f"The branch has no {said.role} message {said.replaces}."
            raise Inapplicable("unknown-message", detail)
        followers = line[at + 1 :]
        state = move_head(state, line[at].parent_id)
    message = Message(
        id=derive_id(state, next(ids)),
        seq=len(state.messages) + 1,
        parent_id=head(state),
        role=said.role,
        content=said.content,
        parts=said.parts,
        tool_calls=said.tool_calls,
        tool_call_id=said.tool_call_id,
        created_at_ms=state.updated_at_ms if said.created_at_ms is None else said.created_at_ms,
        status=said.status,
        finish_reason=said.finish_reason,
        client_message_id=said.client_message_id,
        model=said.model,
        usage=said.usage,
        metadata=said.metadata,
        replaces=said.replaces,
    )
    return append_copies(append(state, message), followers, ids)


def delete(state: ContextState, _event: ContextDeleted) -> Step:
    """Stop everything; the last transition there is."""
    stops = tuple(StopEffect(effect_id=key) for key in state.pending)
    gone = with_(
        state, phase=Phase.DELETED, turn=None, queue=(), scheduled=(), failure=None, pending={}
    )
    return Step(gone, stops)
