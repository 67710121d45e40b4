"""How the message tree grows: ids, the head of the active branch, copies."""

from collections.abc import Iterator, Sequence

from fsm.history import message_tokens
from fsm.state import Branch, ContextState, Message
from fsm.steps import Inapplicable, with_

MESSAGES_MAX = 4_000
"""Messages that one event may bring; `derive_id` has room for 4,096."""


def derive_id(state: ContextState, index: int = 0) -> str:
    """A UUIDv7 that is unique in the context and the same on every replay.

    Its 48 bits of time are those of the event, `rand_a` is the index within the version,
    and `rand_b` is that of the id of the context (or of the one that this version was copied
    from), its last 48 bits xored with the version.
    """
    made_in = state.id
    for origin in state.origins:
        if state.version <= origin.version:
            made_in = origin.context_id
            break
    if index > MESSAGES_MAX:
        raise Inapplicable("too-many-messages", f"At most {MESSAGES_MAX} messages at once.")
    tail = int(made_in[-12:], 16) ^ state.version
    at = f"{state.updated_at_ms & 0xFFFFFFFFFFFF:012x}"
    return f"{at[:8]}-{at[8:]}-7{index & 0xFFF:03x}-{made_in[19:23]}-{tail:012x}"


def check_count(messages: Sequence[object]) -> None:
    """Refuse more messages in one event than there are ids for."""
    if len(messages) > MESSAGES_MAX:
        detail = f"At most {MESSAGES_MAX} messages at once, not {len(messages)}."
        raise Inapplicable("too-many-messages", detail)


def head(state: ContextState) -> str | None:
    """Id of the last message of the active branch."""
    return state.branches[state.active_branch].head


def append(state: ContextState, message: Message) -> ContextState:
    """Grow the tree by one message at the head of the active branch."""
    return with_(
        state,
        messages=(*state.messages, message),
        tokens=state.tokens + message_tokens(message),
        branches=_ending_with(state, message.id),
    )


def move_head(state: ContextState, message_id: str | None) -> ContextState:
    """Let the active branch end with another message of the tree."""
    return with_(state, branches=_ending_with(state, message_id))


def _ending_with(state: ContextState, message_id: str | None) -> dict[str, Branch]:
    moved = state.branches[state.active_branch].model_copy(update={"head": message_id})
    return {**state.branches, state.active_branch: moved}


def append_copies(
    state: ContextState, messages: Sequence[Message], ids: Iterator[int]
) -> ContextState:
    """Grow the active branch by copies of messages that lie elsewhere in the tree."""
    check_count(messages)
    for message in messages:
        copy = message.model_copy(
            update={
                "id": derive_id(state, next(ids)),
                "seq": len(state.messages) + 1,
                "parent_id": head(state),
                "replaces": None,
                "copy_of": message.copy_of or message.id,
            }
        )
        state = append(state, copy)
    return state
