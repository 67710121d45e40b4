"""A reply put together from the bytes of a chat completion stream.

Synchronous and without I/O: all that one read brought is taken in one call, and its text
comes out as one delta. A failure is kept until the text that came before it is out.
"""

import re
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import orjson

from fsm import Usage
from workers.models.config import ModelConfig
from workers.models.failures import failure_in_stream
from workers.models.protocol import ModelError, ModelToolCall, ReplyFinished
from workers.models.sse import EventTooLong, SseParser

if TYPE_CHECKING:
    from pydantic import JsonValue

ForeignJson: TypeAlias = Any  # what another server sent; a type is checked where it is used

_NAME_CHARS_MAX: Final = 200
"""Longest id, model name or finish reason that is kept of what a server sends."""
_TOKENS_MAX: Final = 1_000_000_000
"""Most that one reply counts for, far over any window: the store adds up in 64 bits, and what
does not fit there fails in the middle of a commit."""


class _Call:
    """A tool call whose pieces are arriving."""

    __slots__ = ("arguments", "id", "index", "name")

    def __init__(self, index: int) -> None:
        self.index = index
        self.id = ""
        self.name = ""
        self.arguments: list[str] = []


class ReplyAssembly:
    """One reply in the making."""

    def __init__(
        self, config: ModelConfig, *, idempotency_key: str, api_key: str | None = None
    ) -> None:
        self._config = config
        self._idempotency_key = idempotency_key
        self._api_key = api_key
        self._parser = SseParser(event_bytes_max=config.model_event_bytes_max)
        self._texts: list[str] = []
        self._reply_bytes = 0
        self._calls: list[_Call] = []
        self._finish_reason: str | None = None
        self._usage: Usage | None = None
        self._model: str | None = None
        self._metadata: dict[str, JsonValue] = {}
        self._choice_seen = False
        self._done = False
        self._failure: ModelError | None = None

    @property
    def over(self) -> bool:
        """Nothing more needs to be read."""
        return self._done or self._failure is not None

    @property
    def whole(self) -> bool:
        """What may still come is its usage and the mark of the stream's end."""
        return self._finish_reason is not None

    def feed(self, data: bytes) -> str:
        """Take bytes of a stream and return the text that they complete."""
        try:
            events = self._parser.feed(data)
        except EventTooLong:
            self._fail("The model server sent an event larger than is taken.")
            return ""
        texts: list[str] = []
        for event in events:
            if event == b"[DONE]":
                self._done = True
                break
            self._take_json(event, texts)
            if self._failure is not None:
                break
        return self._keep(texts)

    def feed_whole(self, body: bytes) -> str:
        """Take the answer of a server that does not stream, and return its text."""
        texts: list[str] = []
        self._take_json(body, texts)
        self._done = True
        return self._keep(texts)

    def finished(self) -> ReplyFinished:
        """Return the finished reply.

        Raises:
            ModelError: The reply failed, or was cut before its end.
        """
        if self._failure is not None:
            raise self._failure
        if not self._done and self._finish_reason is None:
            raise ModelError("stream_cut", "The model server's reply broke off.", True)
        if not self._choice_seen:
            raise ModelError("bad_response", "The model server's reply is empty.", True)
        in_order = sorted(self._calls, key=lambda call: call.index)
        calls = tuple(self._finished_call(call) for call in in_order)
        return ReplyFinished(
            text="".join(self._texts),
            tool_calls=calls,
            finish_reason=self._finish_reason or ("tool_calls" if calls else "stop"),
            usage=self._usage,
            model=self._model,
            metadata=self._metadata,
        )

    def _keep(self, texts: list[str]) -> str:
        if not texts:
            return ""
        text = texts[0] if len(texts) == 1 else "".join(texts)
        self._texts.append(text)
        self._count(text)
        return text

    def _count(self, text: str) -> None:
        # Characters, at four bytes each where they are not ASCII: an upper bound that
        # costs no encoding.
        self._reply_bytes += len(text) if text.isascii() else 4 * len(text)
        if self._reply_bytes > self._config.model_reply_bytes_max and self._failure is None:
            self._failure = ModelError(
                "content_too_long", "The model's reply is longer than is taken.", False
            )

    def _fail(self, detail: str) -> None:
        self._failure = ModelError("bad_response", detail, True)

    def _take_json(self, event: bytes, texts: list[str]) -> None:
        try:
            chunk: ForeignJson = orjson.loads(event)
        except orjson.JSONDecodeError:
            self._fail("The model server sent something that is not JSON.")
            return
        try:
            self._take_chunk(chunk, texts)
        except (AttributeError, KeyError, TypeError):
            self._fail("The model server sent something that is not a chat completion.")

    def _take_chunk(self, chunk: ForeignJson, texts: list[str]) -> None:
        error = chunk.get("error")
        if choices := chunk.get("choices"):
            choice = choices[0]
            error = error or choice.get("error")  # OpenRouter tells it in either place
            if choice.get("index"):
                return  # another alternative than the first was not asked for
            if not self._choice_seen:
                self._begin(chunk)
            delta = choice.get("delta")
            if delta is None:
                delta = choice.get("message")  # of a server that does not stream
            if delta:
                content = delta.get("content")
                if content:
                    texts.append(content if type(content) is str else _joined_text(content))
                if calls := delta.get("tool_calls"):
                    self._take_calls(calls)
                if refusal := delta.get("refusal"):
                    self._metadata["refusal"] = True
                    texts.append(_string(refusal))
            if reason := choice.get("finish_reason"):
                self._finish_reason = _string(reason)[:_NAME_CHARS_MAX]
        elif chunk.get("object") == "error":
            error = chunk  # vLLM
        if error:
            self._failure = failure_in_stream(error, api_key=self._api_key)
            return
        if usage := chunk.get("usage"):
            self._usage = _usage(usage)

    def _begin(self, chunk: ForeignJson) -> None:
        self._choice_seen = True
        if isinstance(model := chunk.get("model"), str):
            self._model = model[:_NAME_CHARS_MAX]
        if isinstance(response_id := chunk.get("id"), str) and response_id:
            self._metadata["response_id"] = response_id[:_NAME_CHARS_MAX]

    def _take_calls(self, pieces: ForeignJson) -> None:
        for piece in pieces:
            call = self._call_of(piece)
            if call_id := piece.get("id"):
                call.id = _string(call_id)[:_NAME_CHARS_MAX]
            function: ForeignJson = piece.get("function") or {}
            if name := function.get("name"):
                call.name = _string(name)[:_NAME_CHARS_MAX]
            if arguments := function.get("arguments"):
                # Some servers send an object where the protocol has its text.
                text = arguments if type(arguments) is str else orjson.dumps(arguments).decode()
                call.arguments.append(text)
                self._count(text)

    def _call_of(self, piece: ForeignJson) -> _Call:
        """Find the call that a piece belongs to.

        Some servers leave the index out, and some (Ollama) give all calls the same: then a call
        begins where there is another id with a name.
        """
        index, call_id = piece.get("index"), piece.get("id")
        if isinstance(index, int):
            known = next((call for call in reversed(self._calls) if call.index == index), None)
        else:
            known = self._calls[-1] if self._calls else None
        if known is not None:
            function: ForeignJson = piece.get("function") or {}
            named_again = bool(known.name and function.get("name"))
            other_id = bool(call_id) and call_id != known.id
            if isinstance(index, int):
                begins = other_id and named_again
            else:
                begins = other_id or (named_again and not call_id)
            if not begins:
                return known
        if not isinstance(index, int):
            index = 0 if known is None else known.index + 1
        call = _Call(index)
        self._calls.append(call)
        if len(self._calls) > self._config.model_tool_calls_max:
            self._fail("The model asked for more tool calls than are taken.")
        return call

    def _finished_call(self, call: _Call) -> ModelToolCall:
        if not call.name:
            raise ModelError("bad_response", "The model asked for a tool without a name.", True)
        made_up = f"call_{self._idempotency_key}_{call.index}"
        return ModelToolCall(
            id=call.id or re.sub(r"[^A-Za-z0-9]+", "_", made_up),
            name=call.name,
            arguments="".join(call.arguments).strip() or "{}",
        )


def _string(value: ForeignJson) -> str:
    if type(value) is not str:
        raise TypeError("a string was expected")
    return value


def _joined_text(parts: ForeignJson) -> str:
    """Join the text of typed content parts, which a few servers stream."""
    return "".join(_string(part["text"]) for part in parts if part["type"] == "text")


def _usage(usage: ForeignJson) -> Usage:
    prompt = _tokens(usage.get("prompt_tokens"), 0)
    completion = _tokens(usage.get("completion_tokens"), 0)
    total = _tokens(usage.get("total_tokens"), prompt + completion)
    return Usage(prompt_tokens=prompt, completion_tokens=completion, total_tokens=total)


def _tokens(count: ForeignJson, otherwise: int) -> int:
    return min(max(count if isinstance(count, int) else otherwise, 0), _TOKENS_MAX)
