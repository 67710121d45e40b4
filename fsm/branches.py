"""The rules of the message tree: other versions of a message, named lines, merges.

The tree only grows. An edit or another reply is a sibling of what it stands for; a merge
brings copies. What no branch leads through any more is still there, and can be returned to.
"""

import itertools
from collections.abc import Sequence

from fsm.events import (
    BranchCreated,
    BranchMerged,
    BranchSwitched,
    MessageEdited,
    RegenerateRequested,
)
from fsm.history import branch_messages, line_to
from fsm.state import Branch, Conflict, ContextState, Message, QueuedMessage, Turn
from fsm.steps import Inapplicable, Step, Unchanged, with_
from fsm.tree import append_copies, derive_id, head, move_head
from fsm.turns import begin_turn, prepare


def edit_message(state: ContextState, event: MessageEdited) -> Step:
    """The user says something else in a message's place; the model answers that."""
    edited = _message(state, event.message_id)
    if edited.role != "user":
        raise Inapplicable("unknown-message", f"{edited.id} is no message of the user.")
    said = QueuedMessage(
        id=derive_id(state),
        content=event.content,
        parts=event.parts,
        client_message_id=event.client_message_id,
        metadata=event.metadata,
        received_at_ms=event.at_ms,
    )
    before = head(state)
    return begin_turn(
        move_head(state, edited.parent_id),
        (said,),
        queue=state.queue,
        replaces=edited.id,
        rollback_to=before,
    )


def regenerate(state: ContextState, event: RegenerateRequested) -> Step:
    """Ask the model again for a reply, which becomes a sibling of the one there is."""
    reply = _to_regenerate(state, event.message_id)
    asked = next((m for m in reversed(line_to(state, reply.id)) if m.role == "user"), None)
    if asked is None or reply.role not in {"user", "assistant"}:
        raise Inapplicable("unknown-message", f"{reply.id} is no reply to the user.")
    before = head(state)
    is_reply = reply.role == "assistant"
    state = move_head(state, reply.parent_id if is_reply else reply.id)
    turn = Turn(
        id=asked.id,
        started_at_ms=state.updated_at_ms,
        replaces=reply.id if is_reply else None,
        rollback_to=before,
    )
    return prepare(with_(state, turn=turn, failure=None))


def _to_regenerate(state: ContextState, message_id: str | None) -> Message:
    if message_id is not None:
        return _message(state, message_id)
    line = branch_messages(state)
    last = next((m for m in reversed(line) if m.role in {"user", "assistant"}), None)
    if last is None:
        raise Inapplicable("unknown-message", "There is no reply yet.")
    return last


def _message(state: ContextState, message_id: str) -> Message:
    found = next((m for m in state.messages if m.id == message_id), None)
    if found is None:
        raise Inapplicable("unknown-message", f"There is no message {message_id}.")
    return found


def create_branch(state: ContextState, event: BranchCreated) -> Step:
    """Give a line through the tree a name. The active branch stays the active one."""
    if event.name in state.branches:
        raise Inapplicable("branch-exists", f"There is a branch {event.name} already.")
    most = state.config.limits.branches_max
    if len(state.branches) >= most:
        raise Inapplicable("branch-exists", f"There are {most} branches already.")
    at = head(state)
    if event.from_message_id is not None:
        at = _message(state, event.from_message_id).id
    branch = Branch(head=at, system_prompt=event.system_prompt)
    return Step(with_(state, branches={**state.branches, event.name: branch}))


def switch_branch(state: ContextState, event: BranchSwitched) -> Step:
    """Go on elsewhere: on another branch, or along another line on it."""
    name = event.name or state.active_branch
    if name not in state.branches:
        raise Inapplicable("unknown-branch", f"There is no branch {name}.")
    switched = with_(state, active_branch=name)
    if event.message_id is not None:
        through = _message(state, event.message_id)
        if all(message.id != through.id for message in branch_messages(switched)):
            switched = move_head(switched, _newest_below(state, through.id))
    if switched.active_branch == state.active_branch and head(switched) == head(state):
        raise Unchanged
    return Step(switched)


def _newest_below(state: ContextState, message_id: str) -> str:
    """The newest message of a subtree; nothing follows it, for what follows is newer."""
    below = {message_id}
    newest = message_id
    for message in state.messages:
        if message.parent_id in below:
            below.add(message.id)
            newest = message.id
    return newest


# Merging


def merge_branch(state: ContextState, event: BranchMerged) -> Step:
    """Bring to the active branch what another one has of its own.

    What was brought before is not brought again, so the same merge twice changes nothing.
    """
    if event.source not in state.branches:
        raise Inapplicable("unknown-branch", f"There is no branch {event.source}.")
    if event.source == state.active_branch:
        raise Unchanged
    ours, theirs = _apart(state, event.source)
    if event.strategy == "cherry_pick":
        theirs = _picked(theirs, event.message_ids)
    fresh = _not_yet(theirs, ours)
    if not fresh:
        raise Unchanged
    conflicts = _conflicts(state, event.source, ours, fresh)
    if conflicts and not event.accept_conflicts:
        detail = f"{len(conflicts)} conflicts; nothing was merged."
        raise Inapplicable("merge-conflict", detail, conflicts)
    if event.strategy == "rebase":
        state = move_head(state, state.branches[event.source].head)
        return Step(append_copies(state, _not_yet(ours, theirs), itertools.count()))
    return Step(append_copies(state, fresh, itertools.count()))


def _apart(state: ContextState, source: str) -> tuple[Sequence[Message], Sequence[Message]]:
    """What the active branch, and another one, have of their own."""
    ours, theirs = branch_messages(state), branch_messages(state, branch=source)
    shared = 0
    for mine, other in zip(ours, theirs, strict=False):
        if mine.id != other.id:
            break
        shared += 1
    return ours[shared:], theirs[shared:]


def _picked(theirs: Sequence[Message], wanted: Sequence[str]) -> Sequence[Message]:
    """The named messages; a reply that asked for tools comes with their results."""
    here = {message.id for message in theirs}
    if missing := [message_id for message_id in wanted if message_id not in here]:
        detail = f"Not on that branch alone: {', '.join(missing)}."
        raise Inapplicable("unknown-message", detail)
    answered = {message.tool_call_id for message in theirs if message.id in wanted}
    asking = [
        message
        for message in theirs
        if message.id in wanted or any(call.id in answered for call in message.tool_calls)
    ]
    named = {message.id for message in asking} | {*wanted}
    calls = {call.id for message in asking for call in message.tool_calls}
    return [m for m in theirs if m.id in named or m.tool_call_id in calls]


def _not_yet(wanted: Sequence[Message], there: Sequence[Message]) -> list[Message]:
    """Those that are not there, neither themselves nor as a copy."""
    brought = {message.copy_of or message.id for message in there}
    return [m for m in wanted if (m.copy_of or m.id) not in brought]


def _conflicts(
    state: ContextState, source: str, ours: Sequence[Message], theirs: Sequence[Message]
) -> list[Conflict]:
    by_id = {message.id: message for message in state.messages}

    def stands_for(message: Message) -> str:
        while message.replaces is not None:
            message = by_id[message.replaces]
        return message.id

    versions = {stands_for(message): message for message in ours}
    found = [
        Conflict(kind="alternatives", ours=versions[original].id, theirs=message.id)
        for message in theirs
        if (original := stands_for(message)) in versions
    ]
    mine = state.branches[state.active_branch].system_prompt or ""
    other = state.branches[source].system_prompt or ""
    if mine != other:
        found.append(Conflict(kind="system_prompt", ours=mine, theirs=other))
    return found
