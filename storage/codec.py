"""Converts between what the scripts take and return and the types of `storage/contract.py`."""

import contextlib
from collections.abc import Generator, Sequence
from typing import TypeAlias, cast

import orjson
from pydantic import ValidationError

from fsm import ContextState, Message, decode_event, replay
from storage.contract import (
    MAIL,
    RESULT,
    Delivered,
    Mail,
    Owned,
    Place,
    Remains,
    Result,
    Summary,
)
from storage.errors import CannotOpen, ContextUnreadable
from storage.sealing import Sealer

_Activated: TypeAlias = tuple[
    bytes,
    int,
    int,
    bytes,
    list[bytes],
    list[bytes],
    list[int | bytes],
    bytes,
    int,
    bytes,
    int,
    bytes,
    bytes,
]


@contextlib.contextmanager
def opening(context_id: str) -> Generator[None]:
    """Raise ContextUnreadable where something of a context cannot be opened, or is not it."""
    try:
        yield
    except (CannotOpen, ValidationError) as error:
        raise ContextUnreadable(context_id, error) from error


def read_places(reply: Sequence[bytes]) -> list[Place]:
    """Members of a sorted set, with their scores."""
    pairs = zip(reply[::2], reply[1::2], strict=True)
    return [(int(float(score)), member.decode()) for member, score in pairs]


def read_result(sealer: Sealer, context_id: str, raw: bytes) -> Result | None:
    """The stored result of an action; None while it waits."""
    return RESULT.validate_json(sealer.open("result", context_id, raw)) if raw else None


def write_result(sealer: Sealer, context_id: str, result: Result) -> str | bytes:
    """The result of an action, to be stored."""
    return sealer.seal("result", context_id, result.to_json(exclude_defaults=True))


def read_mail(sealer: Sealer, context_id: str, raw: bytes) -> Mail:
    """An action, as the mailbox and the worker's channel have it.

    Raises:
        CannotOpen, ValidationError: It is no mail of this context's.
    """
    return MAIL.validate_json(sealer.open("mail", context_id, raw))


def read_events(sealer: Sealer, context_id: str, raw: Sequence[bytes]) -> list[bytes]:
    """Events of a log as JSON."""
    return [sealer.open("event", context_id, event) for event in raw]


def read_summary(sealer: Sealer, context_id: str, raw: bytes) -> Summary:
    """The stored summary of a context.

    Raises:
        CannotOpen, ValidationError: It is none of this context's.
    """
    return Summary.model_validate_json(sealer.open("summary", context_id, raw))


def summary_if_readable(sealer: Sealer, context_id: str, raw: bytes) -> Summary | None:
    """The stored summary of a context; None: it cannot be read, and others can."""
    try:
        return read_summary(sealer, context_id, raw)
    except (CannotOpen, ValidationError):
        return None


def write_summary(sealer: Sealer, state: ContextState) -> str | bytes:
    """The summary of a context, to be stored."""
    summary = {
        "title": state.title,
        "status": state.phase.value,
        "version": state.version,
        "created_at_ms": state.created_at_ms,
        "updated_at_ms": state.updated_at_ms,
        "pinned": state.pinned,
    }
    return sealer.seal("summary", state.id, orjson.dumps(summary))


def write_state(sealer: Sealer, state: ContextState) -> str | bytes:
    """A whole state, to be stored."""
    return sealer.seal("state", state.id, state.to_json())


def read_state(sealer: Sealer, context_id: str, raw: bytes) -> ContextState:
    """A whole state that was stored."""
    return ContextState.model_validate_json(sealer.open("state", context_id, raw))


def write_head(sealer: Sealer, state: ContextState) -> str | bytes:
    """A snapshot without its messages, which are kept one by one."""
    return write_state(sealer, state.model_copy(update={"messages": ()}))


def read_snapshot(
    sealer: Sealer, context_id: str, head: bytes, messages: Sequence[bytes]
) -> ContextState | None:
    """The state that a snapshot or a base holds; None where there is none.

    A base has its messages in the state, a snapshot beside it.
    """
    if not head:
        return None
    state = read_state(sealer, context_id, head)
    if not messages:
        return state
    opened = (sealer.open("message", context_id, raw) for raw in messages)
    return state.model_copy(
        update={"messages": tuple(Message.model_validate_json(raw) for raw in opened)}
    )


def read_mailbox(sealer: Sealer, context_id: str, reply: object) -> list[Delivered]:
    """All entries of a mailbox, oldest first."""
    entries = cast("list[tuple[bytes, list[bytes]]]", reply)
    return [
        Delivered(int(entry_id.split(b"-")[0]), read_mail(sealer, context_id, fields[1]))
        for entry_id, fields in entries
    ]


def _readable_mail(
    sealer: Sealer, context_id: str, waiting: Sequence[tuple[int, bytes]]
) -> list[Delivered]:
    readable: list[Delivered] = []
    for seq, raw in waiting:
        with contextlib.suppress(CannotOpen, ValidationError):
            readable.append(Delivered(seq, read_mail(sealer, context_id, raw)))
    return readable


def read_owned(
    sealer: Sealer, context_id: str, saved: ContextState | None, reply: Sequence[object]
) -> Owned:
    """What activate.lua has answered; `saved`: a state that the caller has, if any.

    Raises:
        ContextUnreadable: It cannot be opened.
    """
    (
        token,
        version,
        known,
        head,
        messages,
        events,
        mail,
        draft,
        attempts,
        before,
        first,
        trace,
        owner,
    ) = cast("_Activated", tuple(reply))
    waiting = cast("list[tuple[int, bytes]]", list(zip(mail[::2], mail[1::2], strict=True)))
    try:
        if saved is not None and saved.version == version:
            state, messages = saved, []
        else:
            base = saved if saved is not None and saved.version == known else None
            base = base or read_snapshot(sealer, context_id, head, messages)
            state = replay(map(decode_event, read_events(sealer, context_id, events)), base)
        delivered = [Delivered(seq, read_mail(sealer, context_id, raw)) for seq, raw in waiting]
        partial = sealer.open("draft", context_id, draft).decode()
    except (CannotOpen, ValidationError) as error:
        readable = _readable_mail(sealer, context_id, waiting)
        remains = Remains(context_id, owner.decode(), token.decode(), version, readable)
        raise ContextUnreadable(context_id, error, remains=remains) from error
    assert state.version == version, (context_id, state.version, version)
    return Owned(
        context_id=context_id,
        token=token.decode(),
        state=state,
        mail=delivered,
        draft=partial,
        messages_saved=len(messages),
        snapshot_version=known,
        attempts=attempts,
        before=before.decode(),
        log_first=first,
        trace=trace.decode(),
    )
