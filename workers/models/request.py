"""The model call that a context's state asks for.

The message tree only grows and a message never changes, so what was encoded for the last
call is still right for the next: only the messages after it are encoded. What is cached
is a pure function of the state; losing it costs time and nothing else. It is known by the very
message that was encoded last: of use to one activation, and to be forgotten with it.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import orjson

from fsm import CallModel, ContextState, Message, branch_messages, line_to, summary_of
from workers.models.protocol import ModelRequest, WireObject
from workers.models.wire import wire_message, wire_no_result, wire_system_message

ASIDE_S_MAX: Final = 60.0
"""Longest wait for a summary or a title, in seconds."""
_ORDERS: Final = {
    "summary": "Summarise the conversation below for yourself: you will go on with it and see "
    "only your summary. Keep names, numbers, decisions, open questions and what the user "
    "wants. At most 400 words.",
    "title": "Give the conversation below a title of at most six words, in its language. "
    "Answer with the title alone.",
}
_TITLE_MESSAGES_MAX: Final = 6
_TITLE_CHARS_MAX: Final = 2_000
"""Characters of each message that the title is made from."""
_ENTRY_BYTES: Final = 500
"""What a cache entry takes beside its encoded messages, about."""


@dataclass(frozen=True, slots=True)
class _Conversation:
    """The messages from the root, or behind a summary, to `head`, encoded."""

    after: str | None
    """Id of the last message that a summary stands for; None: they begin at the root."""
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
        """Memory that the remembered conversations take, about."""
        self._conversations: OrderedDict[str, _Conversation] = OrderedDict()

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
        own_prompt = state.branches[state.active_branch].system_prompt
        prompt = state.config.system_prompt if own_prompt is None else own_prompt
        summary = summary_of(state)
        if prompt or references or summary:
            system = wire_system_message(prompt, references, summary.text if summary else None)
            pieces += (orjson.dumps(system), b",")
        known = self._conversations.get(state.id)
        after = summary.through_id if summary else None
        if known is not None and known.after != after:
            known = None
        conversation = _conversation(state, known, after)
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

    def _keep(self, context_id: str, conversation: _Conversation) -> None:
        self.forget(context_id)
        self._conversations[context_id] = conversation
        self._bytes += len(conversation.encoded) + _ENTRY_BYTES
        while self._bytes > self._bytes_max:
            self.forget(next(iter(self._conversations)))

    def forget(self, context_id: str) -> None:
        """Keep nothing of a context: its activation is over."""
        if (conversation := self._conversations.pop(context_id, None)) is not None:
            self._bytes -= len(conversation.encoded) + _ENTRY_BYTES


def _conversation(
    state: ContextState, known: _Conversation | None, after: str | None
) -> _Conversation | None:
    """Encode the active branch behind `after`, going on from `known` where that lies on it."""
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
            if message.id == after:
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
    return _Conversation(
        after=after, head=new[-1], encoded=b"".join(pieces), open_calls=open_calls
    )


def summary_request(state: ContextState, through_id: str, *, effect_id: str) -> ModelRequest:
    """Build the request for a summary of the conversation up to a message.

    A summary that exists already stands for the messages that it covers.
    """
    summary = summary_of(state)
    line = line_to(state, through_id)
    told = [f"Summary of what came before:\n{summary.text}"] if summary else []
    covered = [message.id for message in line]
    start = covered.index(summary.through_id) + 1 if summary else 0
    told += [f"{m.role}: {m.content}" for m in line[start:] if m.content]
    return _plain_request(state, "summary", "\n\n".join(told), effect_id=effect_id)


def title_request(state: ContextState, *, effect_id: str) -> ModelRequest:
    """Build the request for a title of the active branch."""
    line = branch_messages(state)[:_TITLE_MESSAGES_MAX]
    told = [f"{m.role}: {m.content[:_TITLE_CHARS_MAX]}" for m in line if m.content]
    return _plain_request(state, "title", "\n\n".join(told), effect_id=effect_id)


def _plain_request(
    state: ContextState, purpose: Literal["summary", "title"], text: str, *, effect_id: str
) -> ModelRequest:
    messages = [
        {"role": "system", "content": _ORDERS[purpose]},
        {"role": "user", "content": text},
    ]
    return ModelRequest(
        model=state.config.model,
        messages_json=orjson.dumps(messages),
        tools=(),
        parameters={},
        idempotency_key=f"{state.id}:{effect_id}",
        timeout_s=ASIDE_S_MAX,
        purpose=purpose,
    )


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
    return [orjson.dumps(wire_no_result(call)) + b"," for call in open_calls]
