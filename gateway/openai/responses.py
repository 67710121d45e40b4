"""`/v1/responses`: a response is a turn, and the context it is made in goes on.

The log is all that is kept of a response: its id names context and request, and what it
says back of its request stands beside the message that asked.
"""

import contextlib
from collections.abc import AsyncGenerator
from typing import Final

import orjson
from aiohttp import web
from pydantic import JsonValue

from fsm import CancelRequested, ContextState, TurnRequested
from gateway.app import GATEWAY, Gateway
from gateway.headers import read_key
from gateway.mirror import Mirror
from gateway.openai.asking import (
    Ask,
    act,
    begin,
    check_model,
    check_serving,
    delete_context_of,
    digest_of,
    forget,
    going_on,
    overdue,
    watching,
)
from gateway.openai.bodies import ConversationRef, ResponseRequest, read_request
from gateway.openai.errors import ONCE
from gateway.openai.ids import (
    conversation_id,
    new_request,
    read_conversation_id,
    read_response_id,
    unknown_response,
)
from gateway.openai.items import page_of, read_items_query
from gateway.openai.messages import items_of, marked, read_items, read_tools
from gateway.openai.response import Asked, ResponseEvents, asked_with, response_object
from gateway.openai.sse import HEARTBEAT, EventStream
from gateway.openai.transcript import Transcript, request_of
from gateway.openai.watch import TurnWatch, replayed
from gateway.parameters import read_flag, read_whole
from gateway.problems import Problem
from storage import ContextMissing, StorageError

DOOR: Final = "responses"


async def create_response(request: web.Request) -> web.StreamResponse:
    """Have a response made: waited for, streamed, or in the background."""
    gateway = request.app[GATEWAY]
    owner = gateway.owner_of(request)
    body, raw = await read_request(request, ResponseRequest)
    check_serving(gateway)
    check_model(gateway, body.model)
    if body.store is False and (body.background or _continues(body)):
        detail = "store: false keeps nothing: no background, and nothing to go on from."
        raise Problem("invalid-body", detail, {"param": "store"})
    ask = _ask(body, key=read_key(request), digest=digest_of(DOOR, raw))
    if body.stream:
        return await _stream_new(request, gateway, owner, body, ask)
    wait_s = gateway.config.openai_wait_s_max
    if body.background:
        wait_s = gateway.config.applied_s_max
    shown: dict[str, object] | None = None
    try:
        async with (
            gateway.waiting(wait_s),
            _turn(gateway, owner, body, ask) as (context_id, watch),
            contextlib.aclosing(watch.happenings()) as pages,
        ):
            asked = _asked(ask, gateway.clock())
            shown = response_object(context_id, asked, watch.transcript)
            async for _ in pages:
                shown = response_object(context_id, asked, watch.transcript)
                if body.background and watch.transcript.begun:
                    break
    except TimeoutError:
        if shown is None or not ask.kept:
            raise overdue(gateway, repeatable=ask.repeatable) from None
    return _json(shown)


def _continues(body: ResponseRequest) -> bool:
    return body.previous_response_id is not None or body.conversation is not None


def _ask(body: ResponseRequest, *, key: str, digest: str) -> Ask:
    if body.previous_response_id is not None and body.conversation is not None:
        detail = "previous_response_id: a conversation goes on where it is; send one of them."
        raise Problem("invalid-body", detail, {"param": "previous_response_id"})
    request = new_request("" if body.store is False else key)
    messages = read_items(body.input, "input")
    return Ask(
        request=request,
        messages=marked(messages, request, _note(body)),
        model=body.model,
        tools=read_tools(body.tools),
        parameters=_parameters(body),
        system_prompt=body.instructions,
        key="" if body.store is False else key,
        digest=digest,
        labels={"door": DOOR},
        kept=body.store is not False,
    )


def _parameters(body: ResponseRequest) -> dict[str, JsonValue]:
    """What goes to the model server, in the words of chat completions."""
    asked: dict[str, JsonValue] = {
        "temperature": body.temperature,
        "top_p": body.top_p,
        "max_tokens": body.max_output_tokens,
        "parallel_tool_calls": body.parallel_tool_calls,
        "reasoning_effort": body.reasoning.effort if body.reasoning else None,
        "verbosity": body.text.verbosity if body.text else None,
        "response_format": _response_format(body),
        "tool_choice": _tool_choice(body),
    }
    return {name: value for name, value in asked.items() if value is not None}


def _tool_choice(body: ResponseRequest) -> JsonValue:
    match body.tool_choice:
        case {"type": "function", "name": str(name)}:
            return {"type": "function", "function": {"name": name}}
        case choice:
            return choice


def _response_format(body: ResponseRequest) -> JsonValue:
    wanted = body.text.format if body.text else None
    if wanted is None or wanted.get("type") == "text":
        return None
    if wanted.get("type") != "json_schema":
        return wanted
    schema = {name: value for name, value in wanted.items() if name != "type"}
    return {"type": "json_schema", "json_schema": schema}


def _note(body: ResponseRequest) -> dict[str, JsonValue]:
    """What the response says back; the names are those of its fields."""
    conversation = body.conversation
    if isinstance(conversation, ConversationRef):
        conversation = conversation.id
    return {
        "background": bool(body.background),
        "conversation": None if conversation is None else {"id": conversation},
        "instructions": body.instructions,
        "max_output_tokens": body.max_output_tokens,
        "metadata": dict(body.metadata or {}),
        "model": body.model,
        "parallel_tool_calls": body.parallel_tool_calls is not False,
        "previous_response_id": body.previous_response_id,
        "reasoning": {"effort": body.reasoning.effort if body.reasoning else None},
        "store": body.store is not False,
        "temperature": body.temperature,
        "text": {"format": (body.text and body.text.format) or {"type": "text"}},
        "tool_choice": body.tool_choice or "auto",
        "top_p": body.top_p,
        "truncation": "disabled",
    }


def _asked(ask: Ask, at_ms: int) -> Asked:
    asked = asked_with(ask.messages[-1], at_ms)
    assert asked is not None, "its last message has the note"
    return asked


@contextlib.asynccontextmanager
async def _turn(
    gateway: Gateway, owner: str, body: ResponseRequest, ask: Ask
) -> AsyncGenerator[tuple[str, TurnWatch], None]:
    """The context where the response is made, and its turn."""
    if _continues(body):
        context_id, follows = await _where(gateway, owner, body)
        async with going_on(gateway, owner, context_id, ask, follows) as watch:
            yield context_id, watch
        return
    made = await begin(gateway, owner, ask)
    try:
        async with watching(gateway, owner, made, ask.request) as watch:
            yield made, watch
    finally:
        if body.store is False:
            await forget(gateway, owner, made)


async def _where(gateway: Gateway, owner: str, body: ResponseRequest) -> tuple[str, str | None]:
    """The context that goes on, and the message from which it does; None: its last."""
    if body.previous_response_id is None:
        conversation = body.conversation
        if isinstance(conversation, ConversationRef):
            conversation = conversation.id
        return read_conversation_id(conversation or ""), None
    context_id, request = read_response_id(body.previous_response_id)
    try:
        mirror = await gateway.directory.read(context_id, owner)
    except ContextMissing:
        raise unknown_response(body.previous_response_id) from None
    last = _last_of(mirror.view.state, request)
    if last is None:
        raise unknown_response(body.previous_response_id)
    return context_id, last


def _last_of(state: ContextState, request: str) -> str | None:
    """Id of the last message of a request's turn; None: it has none."""
    at: str | None = None
    for message in state.messages:
        if request_of(message.client_message_id) == request or (
            at is not None
            and message.parent_id == at
            and message.role in {"assistant", "tool"}
            and message.client_message_id is None
        ):
            at = message.id
    return at


async def _stream_new(
    request: web.Request, gateway: Gateway, owner: str, body: ResponseRequest, ask: Ask
) -> web.StreamResponse:
    stream = EventStream(request)
    try:
        async with (
            gateway.waiting(gateway.config.openai_wait_s_max),
            _turn(gateway, owner, body, ask) as (context_id, watch),
        ):
            asked = _asked(ask, gateway.clock())
            await _write_events(stream, context_id, asked, watch, after=-1)
    except TimeoutError:
        if not stream.begun:
            raise overdue(gateway, repeatable=ask.repeatable) from None
    except (StorageError, ConnectionResetError):
        if not stream.begun:
            raise
    return await stream.end()


async def _write_events(
    stream: EventStream, context_id: str, asked: Asked, watch: TurnWatch, *, after: int
) -> None:
    """Write a response's events up to its last.

    A stream that ends without one is not a response that has ended: the client resumes.
    """
    events = ResponseEvents(context_id, asked, watch.transcript, after=after)
    async with contextlib.aclosing(watch.happenings()) as pages:
        async for happenings in pages:
            if shown := events.encode(happenings):
                await stream.write(shown)
            elif stream.begun:
                await stream.write(HEARTBEAT)


async def get_response(request: web.Request) -> web.StreamResponse:
    """A response as it is now; with `stream=true` its events, from any number on."""
    gateway = request.app[GATEWAY]
    owner = gateway.owner_of(request)
    streamed = read_flag(request, "stream")
    after = read_whole(request, "starting_after")
    context_id, asked, mirror = await _found(gateway, owner, request.match_info["response_id"])
    if not streamed:
        return _json(await _shown(gateway, context_id, asked, mirror))
    check_serving(gateway)
    stream = EventStream(request)
    try:
        async with (
            gateway.waiting(gateway.config.openai_wait_s_max),
            watching(gateway, owner, context_id, asked.request) as watch,
        ):
            await stream.write(HEARTBEAT)
            seen = -1 if after is None else after
            await _write_events(stream, context_id, asked, watch, after=seen)
    except TimeoutError:
        if not stream.begun:
            raise overdue(gateway) from None
    except (StorageError, ConnectionResetError):
        if not stream.begun:
            raise
    return await stream.end()


async def _found(gateway: Gateway, owner: str, response_id: str) -> tuple[str, Asked, Mirror]:
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


async def _transcript(gateway: Gateway, request: str, mirror: Mirror) -> Transcript:
    transcript = Transcript(request, None)
    view, epoch = mirror.view, mirror.epoch
    async with contextlib.aclosing(replayed(gateway.store, transcript, view, epoch)) as pages:
        async for _ in pages:
            pass
    return transcript


async def _shown(
    gateway: Gateway, context_id: str, asked: Asked, mirror: Mirror
) -> dict[str, object]:
    transcript = await _transcript(gateway, asked.request, mirror)
    return response_object(context_id, asked, transcript)


async def cancel_response(request: web.Request) -> web.StreamResponse:
    """Stop the turn that makes a response; what has ended stays as it is."""
    gateway = request.app[GATEWAY]
    owner = gateway.owner_of(request)
    response_id = request.match_info["response_id"]
    context_id, asked, _ = await _found(gateway, owner, response_id)
    try:
        async with (
            gateway.waiting(None),
            watching(gateway, owner, context_id, asked.request) as watch,
            contextlib.aclosing(watch.happenings()) as pages,
        ):
            async for _ in pages:
                transcript = watch.transcript
                if transcript.begun:
                    break
            if watch.transcript.over is None:
                turn_id = watch.transcript.asked[-1].id
                event = CancelRequested(at_ms=gateway.clock(), turn_id=turn_id)
                await act(gateway, watch.feed, owner, event)
    except TimeoutError:
        raise Problem(
            "store-unavailable",
            "No worker has taken the request yet; send it again.",
            {"retry_after_s": 1},
        ) from None
    _, asked, mirror = await _found(gateway, owner, response_id)
    return _json(await _shown(gateway, context_id, asked, mirror))


async def delete_response(request: web.Request) -> web.StreamResponse:
    """Delete a response and the context that was made for it, where nothing goes on from it."""
    gateway = request.app[GATEWAY]
    owner = gateway.owner_of(request)
    response_id = request.match_info["response_id"]
    context_id, asked, mirror = await _found(gateway, owner, response_id)
    state = mirror.view.state
    said = [m for m in state.messages if m.role == "user" or m.client_message_id is not None]
    requests = {request_of(message.client_message_id) for message in said}
    if state.labels.get("door") != DOOR or requests != {asked.request}:
        detail = (
            f"It is a part of {conversation_id(context_id)}, where more was said; delete that."
        )
        raise Problem("in-use", detail, {}, ONCE)
    await delete_context_of(gateway, owner, context_id)
    return _json({"id": response_id, "object": "response", "deleted": True})


async def list_input_items(request: web.Request) -> web.StreamResponse:
    """What a response was asked with."""
    gateway = request.app[GATEWAY]
    query = read_items_query(request)
    _, asked, mirror = await _found(
        gateway, gateway.owner_of(request), request.match_info["response_id"]
    )
    transcript = await _transcript(gateway, asked.request, mirror)
    return _json(page_of(items_of(transcript.asked), query))


def _json(shown: object) -> web.Response:
    return web.Response(body=orjson.dumps(shown), content_type="application/json")
