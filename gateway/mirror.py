"""The gateway's copy of one context, and its form on the wire.

A mirror is a fold of the log, never a source: it may be dropped at any time. What was
encoded once (a message, the whole context at a version) is sent to everybody who asks.
"""

from collections.abc import Iterable, Sequence

import orjson

from fsm import (
    CallStatus,
    ContextState,
    Message,
    branch_messages,
    decode_event,
    drafting,
    transition,
)
from storage import View, rfc3339


class Mirror:
    """One context as of a version and a position in its draft."""

    __slots__ = (
        "_children",
        "_config",
        "_config_json",
        "_counted",
        "_fragments",
        "_has_siblings",
        "_whole",
        "_whole_at",
        "epoch",
        "view",
    )

    def __init__(self, view: View, epoch: str) -> None:
        self.view = view
        self.epoch = epoch
        """Epoch of the store when it was read: what it shows is true of that epoch alone."""
        self._fragments: dict[str, bytes] = {}
        self._children: dict[str | None, list[str]] = {}
        self._counted = 0
        self._has_siblings = False
        self._config: object = None
        self._config_json = b""
        self._whole = b""
        self._whole_at = (-1, -1)

    @property
    def version(self) -> int:
        """How many events are folded into it."""
        return self.view.state.version

    @property
    def head(self) -> tuple[int, int]:
        """Its version, and how many characters of the draft it has."""
        return self.version, self.view.n

    @property
    def cursor(self) -> str:
        """The cursor of a reader who has seen all of it."""
        return cursor(self.epoch, *self.head)

    def apply(self, events: Iterable[bytes], begun_draft: str) -> None:
        """Fold a commit's events; `begun_draft` is the text of a draft that it began."""
        state = self.view.state
        before = drafting(state)
        for raw in events:
            state = transition(state, decode_event(raw)).state
        reply_id = drafting(state)
        if reply_id is None:
            self.view = View(state, 0, "")
        elif reply_id != before:
            self.view = View(state, len(begun_draft), begun_draft)
        else:
            self.view = View(state, self.view.n, self.view.draft)

    def append_draft(self, text: str) -> None:
        """Take a draft frame that continues what is here."""
        view = self.view
        self.view = View(view.state, view.n + len(text), view.draft + text)

    def context_json(self, messages_max: int | None = None) -> bytes:
        """The state view of API.md, with the last `messages_max` messages of the branch."""
        if messages_max is None and self._whole_at == self.head:
            return self._whole
        encoded = self._encode(messages_max)
        if messages_max is None:
            self._whole, self._whole_at = encoded, self.head
        return encoded

    def _encode(self, messages_max: int | None) -> bytes:
        state, view = self.view.state, self.view
        shown = branch_messages(state, messages_max)
        turn, failure = state.turn, state.failure
        reply_id = drafting(state)
        if self._config is not state.config:
            self._config, self._config_json = (
                state.config,
                state.config.to_json(),
            )
        return orjson.dumps(
            {
                "id": state.id,
                "owner": state.owner,
                "title": state.title,
                "labels": state.labels,
                "pinned": state.pinned,
                "expires_at": _time(state.expires_ms),
                "origins": [origin.model_dump() for origin in state.origins],
                "status": state.phase.value,
                "version": state.version,
                "cursor": self.cursor,
                "created_at": rfc3339(state.created_at_ms),
                "updated_at": rfc3339(state.updated_at_ms),
                "config": orjson.Fragment(self._config_json),
                "active_branch": state.active_branch,
                "branches": {
                    name: {"head": branch.head, "system_prompt": branch.system_prompt}
                    for name, branch in state.branches.items()
                },
                "alternatives": self._alternatives(state, shown),
                "messages": orjson.Fragment(
                    b"[%s]" % b",".join([self._fragment(message) for message in shown])
                ),
                "message_count": len(state.messages),
                "draft": reply_id
                and {
                    "message_id": reply_id,
                    "n": view.n,
                    "text": view.draft,
                    "attempt": turn.attempt if turn else 1,
                },
                "queue": [
                    {
                        "id": waiting.id,
                        "content": waiting.content,
                        "policy": waiting.policy,
                        "client_message_id": waiting.client_message_id,
                        "not_before": _time(waiting.not_before_ms),
                    }
                    for waiting in (*state.queue, *state.scheduled)
                ],
                "pending_tool_calls": [
                    {
                        "id": call.id,
                        "name": call.name,
                        "arguments": call.arguments,
                        "digest": call.digest,
                        "expires_at": _time(call.expires_ms),
                        "approval_status": call.status.value,
                    }
                    for call in (turn.calls if turn else ())
                    if call.status in _OPEN
                ],
                "pending_questions": [
                    {
                        "id": call.id,
                        "name": call.name,
                        "arguments": call.arguments,
                        "expires_at": _time(call.expires_ms),
                    }
                    for call in (turn.calls if turn else ())
                    if call.status is CallStatus.ASKED
                ],
                "turn_id": turn and turn.id,
                "turn_attempt": turn and turn.attempt,
                "error": failure
                and {
                    "code": failure.code,
                    "detail": failure.detail,
                    "retryable": failure.retryable,
                    "attempts": failure.attempts,
                    "retry_at": _time(failure.due_ms),
                },
                "usage": state.usage.model_dump(),
            }
        )

    def _alternatives(
        self, state: ContextState, shown: Sequence[Message]
    ) -> dict[str, list[str]]:
        """The siblings of each message shown that has some: other versions of it."""
        # The tree only grows: what was counted before stays as it is.
        for message in state.messages[self._counted :]:
            beside = self._children.setdefault(message.parent_id, [])
            beside.append(message.id)
            self._has_siblings = self._has_siblings or len(beside) > 1
        self._counted = len(state.messages)
        if not self._has_siblings:
            return {}
        children = self._children
        return {m.id: beside for m in shown if len(beside := children[m.parent_id]) > 1}

    def _fragment(self, message: Message) -> bytes:
        encoded = self._fragments.get(message.id)
        if encoded is None:
            encoded = self._fragments[message.id] = message_json(message)
        return encoded


_OPEN = {CallStatus.PENDING, CallStatus.OUTCOME_UNKNOWN, CallStatus.APPROVED}


def message_json(message: Message) -> bytes:
    """A message on the wire: as in the state, its time in RFC 3339."""
    encoded = message.to_json(exclude={"created_at_ms"})
    return b'%s,"created_at":"%s"}' % (encoded[:-1], rfc3339(message.created_at_ms).encode())


def _time(at_ms: int | None) -> str | None:
    return None if at_ms is None else rfc3339(at_ms)


def cursor(epoch: str, version: int, n: int) -> str:
    """Where a reader is: `<epoch>.<version>.<n>`, n being characters of the draft."""
    return f"{epoch}.{version}.{n}"
