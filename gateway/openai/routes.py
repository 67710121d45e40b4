"""The addresses of these doors."""

from typing import Final

from aiohttp.typedefs import Handler

from gateway.openai.chat import complete_chat
from gateway.openai.conversations import (
    create_conversation,
    delete_conversation,
    get_conversation,
    list_items,
)
from gateway.openai.items import AFTER, INCLUDE, LIMIT, ORDER
from gateway.openai.kept import (
    cancel_response,
    delete_response,
    get_response,
    list_input_items,
)
from gateway.openai.models import get_model, list_models
from gateway.openai.responses import create_response
from gateway.parameters import WHOLE, Parameter
from gateway.route import Route

_STREAM: Final = Parameter(
    "stream", {"enum": ["true", "false"], "type": "string"}, "The events, not the response."
)
_STARTING_AFTER: Final = Parameter(
    "starting_after", WHOLE, "With `stream=true`: only events behind this sequence number."
)
_INCLUDE_OBFUSCATION: Final = Parameter(
    "include_obfuscation", {"type": "string"}, "It changes nothing: nothing is padded here."
)


def _route(
    name: str,
    method: str,
    path: str,
    handler: Handler,
    *query: Parameter,
    has_head: bool = False,
    is_stream: bool = False,
) -> Route:
    return Route(
        name,
        method,
        f"/v1{path}",
        handler,
        query,
        under_contexts=False,
        has_head=has_head,
        is_stream=is_stream,
        is_query=name in {"complete_chat", "create_response"},
    )


def _items(name: str, path: str, handler: Handler) -> Route:
    return _route(name, "GET", path, handler, LIMIT, ORDER, AFTER, INCLUDE, has_head=True)


_RESPONSE: Final = "/responses/{response_id}"
_CONVERSATION: Final = "/conversations/{conversation_id}"

OPENAI_ROUTES: Final = (
    _route("list_models", "GET", "/models", list_models, has_head=True),
    _route("get_model", "GET", "/models/{model}", get_model, has_head=True),
    _route("complete_chat", "POST", "/chat/completions", complete_chat, is_stream=True),
    _route("create_response", "POST", "/responses", create_response, is_stream=True),
    _route(
        *("get_response", "GET", _RESPONSE, get_response),
        *(_STREAM, _STARTING_AFTER, INCLUDE, _INCLUDE_OBFUSCATION),
        is_stream=True,
    ),
    _route("delete_response", "DELETE", _RESPONSE, delete_response),
    _route("cancel_response", "POST", f"{_RESPONSE}/cancel", cancel_response),
    _items("list_input_items", f"{_RESPONSE}/input_items", list_input_items),
    _route("create_conversation", "POST", "/conversations", create_conversation),
    _route("get_conversation", "GET", _CONVERSATION, get_conversation, has_head=True),
    _route("delete_conversation", "DELETE", _CONVERSATION, delete_conversation),
    _items("list_conversation_items", f"{_CONVERSATION}/items", list_items),
)
