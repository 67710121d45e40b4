"""What a language model looks like from inside a worker.

A stream is any number of `TextDelta` and then exactly one `ReplyFinished`; whatever else
happens is a `ModelError`. The deltas' texts, joined, are the finished reply's text. The
detail of an error is a sentence that may be shown to the context's owner: it never holds
a key or a whole body.
"""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

import orjson
from pydantic import JsonValue

from fsm import Usage

WireObject: TypeAlias = Mapping[str, JsonValue]
"""A JSON object as the OpenAI chat protocol has it."""

ModelErrorCode: TypeAlias = Literal[
    "rate_limited",
    "overloaded",
    "bad_request",
    "unauthorized",
    "not_found",
    "timeout",
    "connection",
    "stream_cut",
    "bad_response",
    "content_too_long",
]


class ModelError(Exception):
    """A model call has failed; the one error that `Model.stream` raises.

    What it is raised from is logged: nothing that quotes a prompt or an answer.
    """

    def __init__(
        self,
        code: ModelErrorCode,
        detail: str,
        retryable: bool,
        retry_after_ms: int | None = None,
    ) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.retryable = retryable
        """Whether the same call may succeed later."""
        self.retry_after_ms = retry_after_ms
        """What the provider asked us to wait."""


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One call of a model."""

    model: str | None
    """None: the configured default."""
    messages_json: bytes = field(repr=False)
    """A JSON array of chat messages, in wire form; encoded once, sent as it stands."""
    tools: tuple[WireObject, ...]
    parameters: Mapping[str, JsonValue]
    """Passed on (temperature, max_tokens, ...); what the call itself decides wins."""
    idempotency_key: str
    timeout_s: float
    """What is left of the turn's time."""
    attempt: int = 1
    """Counted from 1."""
    purpose: Literal["reply", "summary", "title"] = "reply"
    """What for; a model server is not told."""
    traceparent: str | None = None
    """The span that it is made in (W3C Trace Context), if there is one."""

    @property
    def messages(self) -> tuple[WireObject, ...]:
        """The chat messages, decoded anew on each access."""
        return tuple(orjson.loads(self.messages_json))


@dataclass(frozen=True, slots=True)
class TextDelta:
    """Text that has arrived; never empty."""

    text: str


@dataclass(frozen=True, slots=True)
class ModelToolCall:
    """A tool call, as the model wrote it."""

    id: str
    name: str
    arguments: str
    """JSON text, unchecked; `{}` where the model wrote nothing."""


@dataclass(frozen=True, slots=True)
class ReplyFinished:
    """The end of a reply, and all of it."""

    text: str
    tool_calls: tuple[ModelToolCall, ...]
    finish_reason: str
    usage: Usage | None
    model: str | None
    """What the server says has answered."""
    metadata: Mapping[str, JsonValue]


ReplyItem: TypeAlias = TextDelta | ReplyFinished


class Model(Protocol):
    """Something that answers: an OpenAI-compatible server, or the scripted model."""

    @property
    def label(self) -> str:
        """A sentence for failures: which server is asked, and which models are configured."""
        ...

    def stream(self, request: ModelRequest) -> AsyncGenerator[ReplyItem, None]:
        """Ask for a reply.

        Closing the generator or cancelling its reader ends the call at once and leaves
        nothing running; read it under `contextlib.aclosing`.

        Raises:
            ModelError: The call failed; items that came before stay valid.
        """
        ...

    async def close(self) -> None:
        """Give connections back. Streams that are still open end in a ModelError."""
        ...
