"""Chat modes: a question in, an answer with its sources out.

A mode is a choice of retrievers that a worker asks before the model; the rest is the same
machine as everywhere. See `gateway/exchange.py` for how a question gets there and back.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Final

import orjson
from aiohttp import web
from uuid_utils import uuid7

from fsm import (
    Config,
    ContextDeleted,
    ContextState,
    Edge,
    Graph,
    MakeTitle,
    MessageReceived,
    Node,
    Reference,
    TitleRequested,
    graph_around,
    title_of,
)
from gateway.answers import json_response
from gateway.app import GATEWAY, Gateway
from gateway.bodies import Ask, AskTitle, Recorded, RecordMessages
from gateway.delivery import deliver
from gateway.exchange import Exchange, Question, asking, opened
from gateway.kinds import recorded
from gateway.parameters import session_id_of
from gateway.problems import Problem, problem_body, problem_of
from gateway.reading import read_body
from gateway.stream import HEARTBEAT
from storage import ContextMissing, ContextUnreadable, StorageError

GIVEN: Final = "given"
"""The retriever of what comes with the question."""
GRAPH: Final = "graph"
MEMORY: Final = "memory"
MODES: Final[Mapping[str, tuple[str, ...]]] = {
    "text": (),
    "semantic": ("search",),
    "graph": (GRAPH,),
    "deep": ("search", GRAPH, MEMORY),
}
"""Names of the retrievers that each mode asks."""


async def ask(request: web.Request) -> web.StreamResponse:
    """Answer a question in one of the modes."""
    mode = request.match_info["mode"]
    if mode not in MODES:
        raise Problem("not-found", f"There is no mode {mode[:64]!r}: {', '.join(MODES)}.")
    began_s = asyncio.get_running_loop().time()
    gateway = request.app[GATEWAY]
    owner = gateway.owner_of(request)
    question = await _read_question(request, gateway, mode)
    async with _in_time(gateway, question), asking(gateway, owner, question) as exchange:
        await exchange.answered()
        answer = await _answer(gateway, owner, exchange, began_s)
        return json_response(answer, headers=_named(exchange))


async def ask_streamed(request: web.Request) -> web.StreamResponse:
    """Answer a question in mode `deep`, piece by piece, as server-sent events."""
    began_s = asyncio.get_running_loop().time()
    gateway = request.app[GATEWAY]
    owner = gateway.owner_of(request)
    question = await _read_question(request, gateway, "deep")
    response = web.StreamResponse(headers={"X-Accel-Buffering": "no"})
    response.content_type = "text/event-stream"
    try:
        async with _in_time(gateway, question), asking(gateway, owner, question) as exchange:
            response.headers.update(_named(exchange))
            await response.prepare(request)
            heartbeat_s = gateway.config.sse_heartbeat_s
            pieces = exchange.pieces(heartbeat_s=heartbeat_s)
            async with contextlib.aclosing(pieces):
                async for piece in pieces:
                    if piece is None:
                        await response.write(HEARTBEAT)
                    else:
                        chunk = {"message_id": piece.message_id, "text": piece.text}
                        await response.write(_frame("chunk", orjson.dumps(chunk)))
            answer = await _answer(gateway, owner, exchange, began_s)
        await response.write(_frame("done", orjson.dumps(answer)))
    except (Problem, StorageError) as error:
        problem = problem_of(error)
        if problem is None or not response.prepared:
            raise
        _, body = problem_body(problem, str(uuid7()))
        await response.write(_frame("error", body))
    except ConnectionResetError:
        return response  # the client has gone
    await response.write_eof()
    return response


async def make_title(request: web.Request) -> web.StreamResponse:
    """A title by the model; without one, how the conversation begins."""
    gateway = request.app[GATEWAY]
    owner = gateway.owner_of(request)
    body = await read_body(request, AskTitle, depth_max=gateway.config.json_depth_max)
    said = body.messages or [Recorded(role="user", content=body.text or "")]
    at_ms = gateway.clock()
    first = recorded(RecordMessages(messages=said), at_ms)
    title = ""
    # A title that takes too long is not worth the wait.
    with contextlib.suppress(TimeoutError):
        async with (
            gateway.waiting(gateway.config.title_s_max),
            opened(
                gateway,
                owner,
                first,
                config=Config(tools=()),
                wait_s=gateway.config.title_s_max,
            ) as (feed, _),
        ):
            await deliver(gateway, feed, owner, TitleRequested(at_ms=at_ms))
            await feed.wait_until(lambda mirror: not _makes_title(mirror.view.state))
            title = feed.mirror.view.state.title
    opening = next((m.content for m in said if m.role == "user"), said[0].content)
    shown = {"title": title or title_of(opening)}
    return json_response(shown)


async def delete_session(request: web.Request) -> web.StreamResponse:
    """Delete a session: the context of that name."""
    gateway = request.app[GATEWAY]
    owner = gateway.owner_of(request)
    try:
        context_id = await gateway.store.named(owner, session_id_of(request))
        async with (
            gateway.waiting(None),
            gateway.directory.follow(context_id, owner) as feed,
        ):
            await deliver(gateway, feed, owner, ContextDeleted(at_ms=gateway.clock()))
    except ContextMissing:
        raise Problem("not-found", "Session not found") from None
    except TimeoutError:
        return web.Response(status=202)
    return web.Response(status=204)


async def _read_question(request: web.Request, gateway: Gateway, mode: str) -> Question:
    """The question that a request asks.

    Raises:
        Problem: invalid-body, if it is empty.
    """
    body = await read_body(request, Ask, depth_max=gateway.config.json_depth_max)
    if not body.query.strip():
        raise Problem("invalid-body", "query: ask something; it is empty.")
    retrievers = tuple(name for name in MODES[mode] if name != MEMORY or not body.skip_memory)
    if body.context is not None or retrievers:
        retrievers = (GIVEN, *retrievers)
    at_ms = gateway.clock()
    # Nobody is there to approve of tools.
    config = Config(model=body.model, mode=mode, retrieval=retrievers, tools=())
    asks = {"mode", "retrieval"} if body.model is None else {"mode", "retrieval", "model"}
    return Question(
        said=MessageReceived(
            at_ms=at_ms,
            content=body.query,
            policy="enqueue",
            client_message_id=str(uuid7()),
            metadata={} if body.context is None else {"context": body.context},
            patch=config.model_dump(mode="json", include=asks),
        ),
        config=config,
        history=recorded(RecordMessages(messages=body.history), at_ms)
        if body.history
        else None,
        name=body.session_id or "",
    )


@contextlib.asynccontextmanager
async def _in_time(gateway: Gateway, question: Question) -> AsyncGenerator[None, None]:
    """Bound the wait for an answer.

    Raises:
        Problem: answer-late; draining, if the gateway stops meanwhile.
    """
    stopping = Problem("draining", "Ask again; another gateway answers.", {"retry_after_s": 1})
    if gateway.stopping.is_set():
        raise stopping
    try:
        async with gateway.waiting(gateway.config.chat_s_max):
            yield
    except TimeoutError:
        if gateway.stopping.is_set():
            raise stopping from None
        goes_on = "It goes on in its session." if question.name else "It was given up."
        waited_s = gateway.config.chat_s_max
        raise Problem("answer-late", f"No answer within {waited_s:g} s. {goes_on}") from None


async def _answer(
    gateway: Gateway, owner: str, exchange: Exchange, began_s: float
) -> dict[str, object]:
    reply = exchange.reply()
    references = await exchange.references(gateway)
    config = exchange.question.config
    graph = None
    if GRAPH in config.retrieval:
        graph = await _graph(gateway, owner, references)
    now_s = asyncio.get_running_loop().time()
    return {
        "response": reply.content,
        "sources": [reference.model_dump() for reference in references],
        "query_type": config.mode,
        "latency_ms": round((now_s - began_s) * 1_000),
        "graph_data": graph and graph.model_dump(),
        "model": reply.model,
    }


async def _graph(gateway: Gateway, owner: str, references: Sequence[Reference]) -> Graph:
    """The graph around the references that the retriever `graph` has found, as it is now."""
    places: dict[str, list[str]] = {}
    for found in references:
        if found.retriever == GRAPH and found.context_id and found.message_id:
            places.setdefault(found.context_id, []).append(found.message_id)
    nodes: dict[str, Node] = {}
    edges: list[Edge] = []
    for context_id, message_ids in places.items():
        try:
            mirror = await gateway.directory.read(context_id, owner)
        except (ContextMissing, ContextUnreadable):
            continue  # since it was found
        around = graph_around(mirror.view.state, message_ids)
        for node in around.nodes:
            if node.id == context_id:
                nodes[node.id] = node  # another may have been made from it, and name it only
            else:
                nodes.setdefault(node.id, node)
        edges += around.edges
    return Graph(nodes=tuple(nodes.values()), edges=tuple(edges))


def _named(exchange: Exchange) -> dict[str, str]:
    """Headers that name the context of a session; without a session there are none."""
    if not exchange.question.name:
        return {}
    return {"Contextd-Context-Id": exchange.feed.context_id}


def _makes_title(state: ContextState) -> bool:
    return any(isinstance(effect, MakeTitle) for effect in state.pending.values())


def _frame(event: str, data: bytes) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (event.encode(), data)
