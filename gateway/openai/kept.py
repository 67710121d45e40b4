"""Responses that were made before: read, resumed, cancelled, deleted."""

import contextlib

from aiohttp import web

from fsm import CancelRequested, ContextState, TurnRequested
from gateway.answers import json_response
from gateway.app import GATEWAY, Gateway
from gateway.delivery import deliver
from gateway.mirror import Mirror
from gateway.openai.asking import check_serving, delete_context_of, watching
from gateway.openai.errors import ONCE
from gateway.openai.ids import conversation_id, read_response_id, unknown_response
from gateway.openai.items import page_of, read_items_query
from gateway.openai.messages import items_of
from gateway.openai.response import (
    RESPONSES_DOOR,
    Asked,
    asked_with,
    response_object,
    streaming,
    write_events,
)
from gateway.openai.transcript import asked_by, request_of
from gateway.openai.watch import begun, replayed
from gateway.parameters import read_flag, read_whole
from gateway.problems import Problem
from gateway.stream import HEARTBEAT
from storage import ContextMissing


async def get_response(request: web.Request) -> web.StreamResponse:
    """A response as it is now; with `stream=true` its events, from any number on."""
    gateway = request.app[GATEWAY]
    owner = gateway.owner_of(request)
    streamed = read_flag(request, "stream")
    after = read_whole(request, "starting_after")
    context_id, asked, mirror = await find_response(
        gateway, owner, request.match_info["response_id"]
    )
    if not streamed:
        return json_response(await response_as_told(gateway, context_id, asked, mirror))
    check_serving(gateway)
    async with (
        streaming(gateway, request) as stream,
        watching(gateway, owner, context_id, asked.request) as watch,
    ):
        if after is not None and watch.transcript.told:
            detail = (
                "starting_after: the log of the context was compacted, and with it the "
                "numbers. Stream the response from its beginning, or read it at once."
            )
            raise Problem("compacted", detail, {"param": "starting_after"})
        await stream.write(HEARTBEAT)
        seen = -1 if after is None else after
        await write_events(stream, context_id, asked, watch, after=seen)
    return await stream.end()


async def find_response(
    gateway: Gateway, owner: str, response_id: str
) -> tuple[str, Asked, Mirror]:
    """A response's context, its request, and the context as it is.

    Raises:
        Problem: not-found; also of what belongs to somebody else.
    """
    context_id, request = read_response_id(response_id)
    try:
        mirror = await gateway.directory.read(context_id, owner)
        asked = _asked_in(mirror.view.state, request)
        if asked is None:
            # Not applied yet, perhaps; or applied while we looked.
            asked = await _waiting(gateway, context_id, request)
            mirror = await gateway.directory.read(context_id, owner)
            asked = _asked_in(mirror.view.state, request) or asked
    except ContextMissing:
        raise unknown_response(response_id) from None
    if asked is None:
        raise unknown_response(response_id)
    return context_id, asked, mirror


def _asked_in(state: ContextState, request: str) -> Asked | None:
    for message in reversed(state.messages):
        if request_of(message.client_message_id) == request:
            return asked_with(message, message.created_at_ms)
    return None


async def _waiting(gateway: Gateway, context_id: str, request: str) -> Asked | None:
    """A request that waits in the mailbox."""
    for delivered in await gateway.store.undelivered(context_id):
        event = delivered.mail.event
        if isinstance(event, TurnRequested):
            asked = asked_with(event.messages[-1], event.at_ms)
            if asked is not None and asked.request == request:
                return asked
    return None


async def response_as_told(
    gateway: Gateway, context_id: str, asked: Asked, mirror: Mirror
) -> dict[str, object]:
    """A response as the log tells it, up to a mirror."""
    view, epoch = mirror.view, mirror.epoch
    transcript = await begun(gateway.store, asked.request, view, epoch)
    async with contextlib.aclosing(replayed(gateway.store, transcript, view, epoch)) as pages:
        async for _ in pages:
            pass
    return response_object(context_id, asked, transcript)


async def cancel_response(request: web.Request) -> web.StreamResponse:
    """Stop the turn that makes a response; what has ended stays as it is."""
    gateway = request.app[GATEWAY]
    owner = gateway.owner_of(request)
    response_id = request.match_info["response_id"]
    context_id, asked, _ = await find_response(gateway, owner, response_id)
    try:
        async with (
            gateway.waiting(None),
            watching(gateway, owner, context_id, asked.request) as watch,
            contextlib.aclosing(watch.happenings()) as pages,
        ):
            async for _ in pages:
                if watch.transcript.begun:
                    break
            if watch.transcript.over is None:
                turn_id = watch.transcript.asked[-1].id
                event = CancelRequested(at_ms=gateway.clock(), turn_id=turn_id)
                with contextlib.suppress(Problem):  # it has ended meanwhile
                    await deliver(gateway, watch.feed, owner, event)
    except TimeoutError:
        raise Problem(
            "store-unavailable",
            "No worker has taken the request yet; send it again.",
            {"retry_after_s": 1},
        ) from None
    _, asked, mirror = await find_response(gateway, owner, response_id)
    return json_response(await response_as_told(gateway, context_id, asked, mirror))


async def delete_response(request: web.Request) -> web.StreamResponse:
    """Delete a response and the context that was made for it, where nothing goes on from it."""
    gateway = request.app[GATEWAY]
    owner = gateway.owner_of(request)
    response_id = request.match_info["response_id"]
    context_id, asked, mirror = await find_response(gateway, owner, response_id)
    state = mirror.view.state
    said = [m for m in state.messages if m.role == "user" or m.client_message_id is not None]
    requests = {request_of(message.client_message_id) for message in said}
    if state.labels.get("door") != RESPONSES_DOOR or requests != {asked.request}:
        detail = (
            f"It is a part of {conversation_id(context_id)}, where more was said; delete that."
        )
        raise Problem("in-use", detail, {}, ONCE)
    await delete_context_of(gateway, owner, context_id)
    return json_response({"id": response_id, "object": "response", "deleted": True})


async def list_input_items(request: web.Request) -> web.StreamResponse:
    """What a response was asked with."""
    gateway = request.app[GATEWAY]
    query = read_items_query(request)
    _, asked, mirror = await find_response(
        gateway, gateway.owner_of(request), request.match_info["response_id"]
    )
    return json_response(page_of(items_of(asked_by(mirror.view.state, asked.request)), query))
