"""Every channel of the gateway, and the webhook, as AsyncAPI describes them."""

from typing import Final

from fsm import EVENT_TYPES
from gateway.bodies import Ask, SocketAction
from gateway.channel import Channel, Envelope, Message
from gateway.openapi import OWN_FRAMES
from gateway.parameters import CONTEXTS, DELTAS, KINDS_SHOWN, RESUME, TICKET
from gateway.stream_views import ByeData, ChatChunk, HellosData, SocketResult, WebhookEvent
from gateway.views import ChatAnswer, ProblemDocument

_RESUMING: Final = (
    "`id` is a cursor: a stream that is opened again with it, on any gateway, shows what has "
    "come since, or one `reset` with the whole state. Ignore kinds that you do not know."
)
_SHOWN: Final = (RESUME, KINDS_SHOWN, DELTAS, TICKET)


def _frames(envelope: Envelope) -> tuple[Message, ...]:
    """What a context's viewers are shown."""
    return (
        *(Message(kind, view, envelope) for kind, view in OWN_FRAMES.items()),
        *(Message(kind, event, envelope) for kind, event in EVENT_TYPES.items()),
    )


def _of_many() -> tuple[Message, ...]:
    """As the frames of one context, but for those that are about the stream."""
    return (
        Message("hello", HellosData, "event"),
        Message("bye", ByeData, "event"),
        *(one for one in _frames("event-of-many") if one.name not in {"hello", "bye"}),
    )


CHANNELS: Final = (
    Channel(
        *("contextEvents", "/api/contexts/{id}/events", "The stream of a context"),
        f"Server-sent events. {_RESUMING}",
        _frames("event"),
        query=_SHOWN,
    ),
    Channel(
        *("manyEvents", "/api/events", "The stream of several contexts"),
        "Server-sent events; `id` holds the cursors of all contexts, in the order asked for.",
        _of_many(),
        query=(CONTEXTS, KINDS_SHOWN, DELTAS, TICKET),
    ),
    Channel(
        *("contextSocket", "/api/contexts/{id}/ws", "The WebSocket of a context"),
        f"The same as JSON messages, and actions on the way back. {_RESUMING}",
        (
            *_frames("frame"),
            Message("action-result", SocketResult, "frame"),
            Message("action", SocketAction, by_client=True),
        ),
        protocol="ws",
        query=_SHOWN,
    ),
    Channel(
        *("chat", "/api/chat/deep/stream", "The answer to a question, as it is made"),
        "Server-sent events without ids: any number of `chunk`, then `done` or `error`.",
        (
            Message("question", Ask, by_client=True),
            Message("chunk", ChatChunk, "event"),
            Message("done", ChatAnswer, "event"),
            Message("error", ProblemDocument, "event"),
        ),
        method="POST",
    ),
    Channel(
        *("webhook", None, "The webhook"),
        "A POST to the operator's address for each event that it wants to hear of: at least "
        "once, in order for each context. Headers are those of Standard Webhooks.",
        (Message("event", WebhookEvent),),
        method="POST",
        is_guarded=False,
    ),
)
