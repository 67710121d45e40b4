"""Between what the scripts take and give, and the contract's types."""

from collections.abc import Sequence
from typing import TypeAlias, cast

from fsm import ContextState, Message, decode_event, replay
from storage.contract import MAIL, RESULT, Delivered, Owned, Result, Summary

_Activated: TypeAlias = tuple[
    bytes, int, int, bytes, list[bytes], list[bytes], list[int | bytes], bytes, int, bytes, int
]


def read_result(raw: bytes) -> Result | None:
    """What became of an action; None while nothing has."""
    return RESULT.validate_json(raw) if raw else None


def write_summary(state: ContextState) -> str:
    """What lists show of a context."""
    return Summary(
        title=state.title,
        status=state.phase.value,
        version=state.version,
        created_at_ms=state.created_at_ms,
        updated_at_ms=state.updated_at_ms,
        pinned=state.pinned,
    ).model_dump_json()


def write_head(state: ContextState) -> str:
    """A snapshot without its messages, which are kept one by one."""
    return state.model_copy(update={"messages": ()}).model_dump_json()


def read_snapshot(head: bytes, messages: Sequence[bytes]) -> ContextState | None:
    """The state that a snapshot or a base holds; None where there is none.

    A base has its messages in the state, a snapshot beside it.
    """
    if not head:
        return None
    state = ContextState.model_validate_json(head)
    if not messages:
        return state
    return state.model_copy(
        update={"messages": tuple(Message.model_validate_json(raw) for raw in messages)}
    )


def read_owned(context_id: str, saved: ContextState | None, reply: Sequence[object]) -> Owned:
    """What activate.lua has answered, folded; `saved` is a snapshot that the caller has."""
    (token, version, known, head, messages, events, mail, draft, attempts, before, first) = (
        cast("_Activated", tuple(reply))
    )
    base = saved if saved is not None and saved.version == known else None
    base = base or read_snapshot(head, messages)
    state = replay(map(decode_event, events), base)
    assert state.version == version, (context_id, state.version, version)
    delivered = [
        Delivered(cast("int", seq), MAIL.validate_json(cast("bytes", raw)))
        for seq, raw in zip(mail[::2], mail[1::2], strict=True)
    ]
    return Owned(
        context_id=context_id,
        token=token.decode(),
        state=state,
        mail=delivered,
        draft=draft.decode(),
        messages_saved=len(messages),
        snapshot_version=known,
        attempts=attempts,
        before=before.decode(),
        log_first=first,
    )
