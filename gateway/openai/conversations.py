"""`/v1/conversations`: contexts, whoever has made them, as lists of items."""

import contextlib

from aiohttp import web
from uuid_utils import uuid7

from fsm import Config, ContextCreated, MessagesRecorded, branch_messages
from gateway.answers import json_response
from gateway.app import GATEWAY, Gateway
from gateway.delivery import digest_of
from gateway.headers import read_key
from gateway.mirror import Mirror
from gateway.openai.asking import delete_context_of
from gateway.openai.bodies import ConversationRequest, read_request
from gateway.openai.ids import conversation_id, read_conversation_id
from gateway.openai.items import page_of, read_items_query
from gateway.openai.messages import items_of, read_items
from gateway.problems import Problem
from storage import ContextMissing, Mail


async def create_conversation(request: web.Request) -> web.StreamResponse:
    """Make a context, perhaps of what was said elsewhere; metadata becomes its labels."""
    gateway = request.app[GATEWAY]
    owner = gateway.owner_of(request)
    body, raw = await read_request(request, ConversationRequest)
    at_ms = gateway.clock()
    event = ContextCreated(
        at_ms=at_ms,
        context_id=str(uuid7()),
        owner=owner,
        labels=body.metadata or {},
        config=Config(tools=()),
    )
    first = None
    if body.items:
        messages = tuple(read_items(body.items, "items"))
        first = Mail(event=MessagesRecorded(at_ms=at_ms, messages=messages))
    context_id, repeated = await gateway.store.admissions.create(
        event, first=first, key=read_key(request), digest=digest_of("conversations", raw)
    )
    if first is not None and not repeated:
        await gateway.store.queue.enqueue(context_id, owner=owner)
        with contextlib.suppress(TimeoutError):
            async with (
                gateway.waiting(None),
                gateway.directory.follow(context_id, owner) as feed,
            ):
                await feed.wait_until(lambda mirror: mirror.version > 1)
    return json_response(
        _conversation(await _mirror(gateway, owner, conversation_id(context_id)))
    )


async def get_conversation(request: web.Request) -> web.StreamResponse:
    """A context as a conversation."""
    gateway = request.app[GATEWAY]
    mirror = await _mirror(gateway, gateway.owner_of(request), _named(request))
    return json_response(_conversation(mirror))


async def list_items(request: web.Request) -> web.StreamResponse:
    """What was said on the active branch of a context."""
    gateway = request.app[GATEWAY]
    query = read_items_query(request)
    mirror = await _mirror(gateway, gateway.owner_of(request), _named(request))
    return json_response(page_of(items_of(branch_messages(mirror.view.state)), query))


async def delete_conversation(request: web.Request) -> web.StreamResponse:
    """Delete a context and all that is kept of it."""
    gateway = request.app[GATEWAY]
    owner, named = gateway.owner_of(request), _named(request)
    await _mirror(gateway, owner, named)
    await delete_context_of(gateway, owner, read_conversation_id(named))
    return json_response({"id": named, "object": "conversation.deleted", "deleted": True})


def _named(request: web.Request) -> str:
    return request.match_info["conversation_id"]


async def _mirror(gateway: Gateway, owner: str, named: str) -> Mirror:
    try:
        return await gateway.directory.read(read_conversation_id(named), owner)
    except ContextMissing:
        raise Problem("not-found", f"There is no conversation {named[:80]!r}.") from None


def _conversation(mirror: Mirror) -> dict[str, object]:
    state = mirror.view.state
    return {
        "id": conversation_id(state.id),
        "object": "conversation",
        "created_at": state.created_at_ms // 1_000,
        "metadata": dict(state.labels),
    }
