"""What is told as it happens: on streams and sockets, to polls for events, to the webhook.

As with other answers (`gateway/views.py`), a test holds what is really sent to these models.
"""

from collections.abc import Mapping
from typing import Literal

from pydantic import JsonValue

from fsm import Phase
from gateway.views import ActionView, ContextView, ProblemDocument, View


class EventFrame(View):
    """One event as the streams show it."""

    id: str
    event: str
    data: Mapping[str, JsonValue]


class EventsPage(View):
    """The events since a cursor."""

    events: tuple[EventFrame, ...]
    cursor: str
    status: Phase
    version: int


class HelloData(View):
    """First event of a stream; it has no id."""

    epoch: str
    cursor: str
    resumed: bool


class ReplyDeltaData(View):
    """Some more text of a reply, which has `n` characters with it."""

    message_id: str
    n: int
    text: str


class ResetData(View):
    """The stream could not go on from the cursor: the whole state instead."""

    reason: str
    context: ContextView


class HellosData(View):
    """First event of a stream of several contexts."""

    contexts: Mapping[str, HelloData]
    """By id."""


class ByeData(View):
    """Last event of a stream that the gateway ends; connect again after `retry_ms`."""

    reason: str
    retry_ms: int


class ChatChunk(View):
    """Some more text of an answer that is arriving; another id begins the text anew."""

    message_id: str
    text: str


class SocketResult(View):
    """What became of an action that has come on a WebSocket."""

    ref: str | None
    idempotency_key: str | None
    status: int
    """The status that an HTTP answer would have; 202: it is not applied yet."""
    action: ActionView | None = None
    repeated: bool | None = None
    """Whether the key was seen before."""
    problem: ProblemDocument | None = None
    """Why it was refused."""


class WebhookData(View):
    """What has happened to a context."""

    context_id: str
    owner: str
    version: int
    status: Phase
    """After the event."""
    occasions: tuple[str, ...]
    """What filters select by: the event's kind, then what became of the turn."""
    event: Mapping[str, JsonValue]
    """The event, as the log has it, but for what the operator has blanked out."""


class WebhookEvent(View):
    """A CloudEvent 1.0, as the webhook gets it."""

    specversion: Literal["1.0"]
    id: str
    """`<context id>.<version>`; the same in every repetition."""
    source: str
    """Address of the context."""
    type: str
    """`contextd.` and the event's kind."""
    time: str
    datacontenttype: Literal["application/json"]
    data: WebhookData
