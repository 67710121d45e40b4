"""`/v1/responses`: a response is a turn, and the context it is made in goes on.

The log is all that is kept of a response: its id names context and request, and what it
says back of its request stands beside the message that asked.
"""

import contextlib
from collections.abc import AsyncGenerator

from aiohttp import web
from pydantic import JsonValue

from fsm import ContextState
from gateway.answers import json_response
from gateway.app import GATEWAY, Gateway
from gateway.delivery import digest_of, forget
from gateway.headers import read_key
from gateway.openai.asking import (
    Ask,
    begin,
    check_model,
    check_serving,
    going_on,
    overdue,
    told_once,
    watching,
)
from gateway.openai.bodies import ConversationRef, ResponseRequest, read_request
from gateway.openai.ids import (
    new_request,
    pair_id,
    read_conversation_id,
    read_response_id,
    unknown_response,
)
from gateway.openai.kept import find_response, response_as_told
from gateway.openai.messages import marked, read_items, read_tools
from gateway.openai.response import (
    RESPONSES_DOOR,
    Asked,
    asked_with,
    response_object,
    streaming,
    write_events,
)
from gateway.openai.transcript import request_of
from gateway.openai.watch import TurnWatch
from gateway.problems import Problem
from storage import ContextMissing


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
    ask = _ask(body, key=read_key(request), digest=digest_of(RESPONSES_DOOR, raw))
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
        if shown is None and body.background and _continues(body):
            shown = await _waiting(gateway, owner, body, ask)
        if shown is None or not ask.kept:
            raise overdue(gateway, repeatable=ask.repeatable) from None
    return json_response(shown)


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
        labels={"door": RESPONSES_DOOR},
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
    with told_once(ask):
        made = await begin(gateway, owner, ask)
        try:
            async with watching(gateway, owner, made, ask.request) as watch:
                yield made, watch
        finally:
            if body.store is False:
                await forget(gateway, owner, made)


async def _waiting(
    gateway: Gateway, owner: str, body: ResponseRequest, ask: Ask
) -> dict[str, object] | None:
    """The response to a request that waits where it goes on; None: it does not."""
    context_id, _ = await _where(gateway, owner, body)
    try:
        found = await find_response(gateway, owner, pair_id("resp", context_id, ask.request))
    except Problem:
        return None
    return await response_as_told(gateway, *found)


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
    async with (
        streaming(gateway, request, repeatable=ask.repeatable) as stream,
        _turn(gateway, owner, body, ask) as (context_id, watch),
    ):
        asked = _asked(ask, gateway.clock())
        await write_events(stream, context_id, asked, watch, after=-1)
    return await stream.end()
