"""What OpenAPI says about these doors, by the name of the route."""

from collections.abc import Mapping
from typing import Final

from gateway.openai.bodies import ChatRequest, ConversationRequest, ResponseRequest
from gateway.openai.chat import CONTEXT_HEADER
from gateway.openai.errors import REQUEST_ID_HEADER
from gateway.openai.views import (
    ChatCompletion,
    ConversationView,
    Deleted,
    ItemList,
    ModelList,
    ModelView,
    ResponseView,
)
from gateway.operation import Answer, Header, Operation
from gateway.operations import KEY, QUOTA
from gateway.views import View

_CONTEXT: Final = Header(
    CONTEXT_HEADER,
    "Id of the context that the chat goes on in; what is new in `messages` is said there.",
    {"type": "string"},
)
REQUEST_ID: Final = Header(
    REQUEST_ID_HEADER, "The request's id, as log and activity have it.", {"type": "string"}
)
_STORE: Final = ("store-unavailable",)
_FOUND: Final = ("not-found", *_STORE)
_ASKED: Final = (
    *("malformed-json", "invalid-header", "body-too-large", "unsupported-media-type"),
    *("invalid-body", "key-reused", "request-timeout", "not-found", "illegal-in-phase"),
    *("turn-running", "unknown-message", "invalid-config", "action-abandoned", "mailbox-full"),
    *("answer-late", "draining", "compacted", *QUOTA, *_STORE),
)


def _answer(description: str, view: type[View], *, streams: bool = False) -> Answer:
    return Answer(description, (view,), (REQUEST_ID,), streams=streams)


_RESPONSE: Final = _answer("The response.", ResponseView)
_STREAMED: Final = _answer("The response, or its events.", ResponseView, streams=True)

OPENAI_OPERATIONS: Final[Mapping[str, Operation]] = {
    "list_models": Operation("The models", {200: _answer("All.", ModelList)}),
    "get_model": Operation(
        "One model", {200: _answer("It.", ModelView)}, problems=("not-found",)
    ),
    "complete_chat": Operation(
        "Complete a chat, in a context or without one",
        {200: _answer("The reply, or its chunks.", ChatCompletion, streams=True)},
        (KEY, _CONTEXT),
        body=ChatRequest,
        problems=(*_ASKED, "model-busy", "unknown-model", "model-refused", "model-unavailable"),
        description="Without a context nothing is kept. `metadata.context_id` does as the "
        "header does.",
    ),
    "create_response": Operation(
        "Have a response made: waited for, streamed, or in the background",
        {200: _STREAMED},
        (KEY,),
        body=ResponseRequest,
        problems=_ASKED,
    ),
    "get_response": Operation(
        "A response; with `stream=true` its events, from any number on",
        {200: _STREAMED},
        problems=(*_FOUND, "compacted", "answer-late", "draining"),
    ),
    "cancel_response": Operation(
        "Stop the turn that makes a response",
        {200: _RESPONSE},
        problems=(*_FOUND, "compacted", "mailbox-full"),
    ),
    "delete_response": Operation(
        "Delete a response, with the context that was made for it",
        {200: _answer("Gone.", Deleted)},
        problems=(*_FOUND, "in-use", "mailbox-full", "answer-late", "draining"),
        description="Where others go on from it: 409. Delete the conversation then.",
    ),
    "list_input_items": Operation(
        "What a response was asked with",
        {200: _answer("A page.", ItemList)},
        problems=_FOUND,
    ),
    "create_conversation": Operation(
        "Make a conversation: a context",
        {200: _answer("Made.", ConversationView)},
        (KEY,),
        body=ConversationRequest,
        problems=(
            *("malformed-json", "invalid-header", "body-too-large", "unsupported-media-type"),
            *("invalid-body", "key-reused", "request-timeout", *_FOUND),
        ),
    ),
    "get_conversation": Operation(
        "A context as a conversation",
        {200: _answer("It.", ConversationView)},
        problems=_FOUND,
    ),
    "list_conversation_items": Operation(
        "What was said in a conversation",
        {200: _answer("A page.", ItemList)},
        problems=_FOUND,
    ),
    "delete_conversation": Operation(
        "Delete a conversation: its context",
        {200: _answer("Gone.", Deleted)},
        problems=(*_FOUND, "mailbox-full", "answer-late", "draining"),
    ),
}
"""By route."""
