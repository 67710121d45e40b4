"""The model call that a context's state asks for.

The message tree only grows and a message never changes, so what was encoded for the last
call is still right for the next: only the messages after it are encoded. What is cached
is a pure function of the state; losing it costs time and nothing else.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from fsm import CallModel, ContextState, Message
from workers.models.protocol import ModelRequest, WireObject
from workers.models.wire import wire_message, wire_not_run, wire_system_message

_ENTRY_BYTES: Final = 500
"""What a cache entry takes beside its encoded messages, about."""


@dataclass(frozen=True, slots=True)
class _Conversation:
    """The messages from the root to `head`, encoded."""

    head: Message
    encoded: bytes
    """Wire messages, each with a comma after it."""
    open_calls: tuple[str, ...]
    """Ids of the last reply's tool calls that no message up to `head` answers."""


class RequestBuilder:
    """Builds model requests and remembers each context's conversation in wire form."""

    def __init__(self, *, cache_bytes_max: int) -> None:
        self._bytes_max = cache_bytes_max
        self._bytes = 0
        self._conversations: OrderedDict[str, _Conversation] = OrderedDict()

    @property
    def cached_bytes(self) -> int:
        """Memory that the remembered conversations take, about."""
        return self._bytes

    def build(
        self,
        state: ContextState,
        effect: CallModel,
        tools: Sequence[WireObject],
        *,
        now_ms: int,
    ) -> ModelRequest:
        """Return the request that `effect` stands for in `state`.

        Args:
            state: A state in which `effect` is pending.
            effect: The model call.
            tools: What the registry offers; used only where the effect wants tools.
            now_ms: The present time; the effect's `due_ms` is counted from it.
        """
        pieces = [b"["]
        references = (state.turn.references if state.turn else None) or ()
        if state.config.system_prompt or references:
            system = wire_system_message(state.config.system_prompt, references)
            pieces += (orjson.dumps(system), b",")
        known = self._conversations.get(state.id)
        conversation = _conversation(state, known)
        if conversation is not None:
            if conversation is not known:
                self._keep(state.id, conversation)
            pieces.append(conversation.encoded)
            pieces += _stubs(conversation.open_calls)
        pieces[-1] = pieces[-1].removesuffix(b",")
        pieces.append(b"]")
        return ModelRequest(
            model=state.config.model,
            messages_json=b"".join(pieces),
            tools=tuple(tools) if effect.with_tools else (),
            parameters=state.config.parameters,
            idempotency_key=f"{state.id}:{effect.effect_id}",
            timeout_s=max(effect.due_ms - now_ms, 0) / 1000,
            attempt=effect.attempt,
        )

    def forget(self, context_id: str) -> None:
        """Drop what is remembered of a context, as when it is passivated."""
        if (conversation := self._conversations.pop(context_id, None)) is not None:
            self._bytes -= len(conversation.encoded) + _ENTRY_BYTES

    def _keep(self, context_id: str, conversation: _Conversation) -> None:
        self.forget(context_id)
        self._conversations[context_id] = conversation
        self._bytes += len(conversation.encoded) + _ENTRY_BYTES
        while self._bytes > self._bytes_max:
            self.forget(next(iter(self._conversations)))


def build_request(
    state: ContextState, effect: CallModel, tools: Sequence[WireObject], *, now_ms: int
) -> ModelRequest:
    """Return the request that `effect` stands for in `state`, remembering nothing."""
    return RequestBuilder(cache_bytes_max=0).build(state, effect, tools, now_ms=now_ms)


def _conversation(state: ContextState, known: _Conversation | None) -> _Conversation | None:
    """Encode the active branch, going on from `known` where that lies on it."""
    wanted = state.branches[state.active_branch].head
    new: list[Message] = []
    base: _Conversation | None = None
    # Parents stand before their children, so one pass backwards is the walk to the root.
    for message in reversed(state.messages):
        if message.id == wanted:
            # The same object, not the same id: a context deleted and imported again may
            # bring an old id with other words.
            if known is not None and message is known.head:
                base = known
                break
            new.append(message)
            wanted = message.parent_id
            if wanted is None:
                break
    if not new:
        return base
    new.reverse()
    pieces = [base.encoded] if base else []
    open_calls = base.open_calls if base else ()
    for message in new:
        open_calls = _append(pieces, message, open_calls)
    return _Conversation(head=new[-1], encoded=b"".join(pieces), open_calls=open_calls)


def _append(
    pieces: list[bytes], message: Message, open_calls: tuple[str, ...]
) -> tuple[str, ...]:
    if message.role == "tool":
        if message.tool_call_id not in open_calls:
            # Answers nothing that is still open (it was answered by a stub, or twice):
            # one such message makes a provider refuse the whole request.
            return open_calls
        still_open = tuple(call for call in open_calls if call != message.tool_call_id)
    else:
        pieces += _stubs(open_calls)
        still_open = tuple(call.id for call in message.tool_calls)
    if (wire := wire_message(message)) is not None:
        pieces += (orjson.dumps(wire), b",")
    return still_open


def _stubs(open_calls: tuple[str, ...]) -> list[bytes]:
    return [orjson.dumps(wire_not_run(call)) + b"," for call in open_calls]
