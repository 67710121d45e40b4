"""Puts a worker together and runs it."""

import asyncio
import os
import random
import secrets
from collections.abc import Callable

from storage import Notes, Store, unix_ms
from workers.chores import Chores
from workers.config import WorkerConfig
from workers.dequeue import open_source, open_worker
from workers.effects import Effects
from workers.host import Host
from workers.models.request import RequestBuilder
from workers.models.selection import open_model
from workers.places import Places
from workers.tools.builtin import builtin_tools
from workers.tools.mcp_attachment import attached
from workers.tools.recall import recall_retrievers
from workers.tools.registry import Registry, installed_tools
from workers.tools.retrieval import given, notes_retriever
from workers.tools.search import Searches
from workers.webhooks import open_teller


async def serve(
    config: WorkerConfig,
    store: Store,
    *,
    stop: asyncio.Event,
    ready: Callable[[], None],
    on_over: Callable[[], object] | None = None,
) -> int:
    """Run one worker until `stop` is set and it has drained.

    Args:
        config: Its limits.
        store: Where the contexts are.
        stop: Set it to have running turns finished and the rest handed over.
        ready: Called once, when the worker takes contexts.
        on_over: Called once it does not take part any more; what it has begun may not end.

    Returns:
        How many contexts it has handed over with their turns unfinished.

    Raises:
        ExceptionGroup: Of WorkerBuried, if the worker was taken for dead meanwhile.
        BadServers: The file that declares MCP servers cannot be used.
    """
    worker_id = (
        config.worker_id or f"{os.uname().nodename}-{os.getpid()}-{secrets.token_hex(3)}"
    )
    notes = Notes(store.link, store.sealer, store.config.notes_max)
    searches = Searches(store, notes, config)
    model = open_model(config)
    tools = Registry((*builtin_tools(notes), *installed_tools()), config)
    teller = open_teller(store, config, clock=unix_ms, draw=random.random)
    effects = Effects(
        model=model,
        requests=RequestBuilder(cache_bytes_max=config.model_request_cache_bytes_max),
        tools=tools,
        retrievers={
            "given": given,
            "notes": notes_retriever(notes),
            **recall_retrievers(searches, config),
        },
        places=Places(config.model_connections_max),
        clock=unix_ms,
        draw=random.random,
        tracer=store.tracer,
    )
    try:
        async with (
            open_worker(store.url, worker_id),
            open_source(store.queue, worker_id) as source,
            attached(config, tools),
        ):
            host = Host(
                worker_id,
                store=store,
                source=source,
                performer=effects,
                config=config,
                clock=unix_ms,
                chores=Chores(store, config, source=source, clock=unix_ms, teller=teller),
                on_over=on_over,
            )
            store.begin("worker", worker_id, host.load)
            return await host.run(stop, ready)
    finally:
        await store.leave()
        await model.close()
        if teller is not None:
            await teller.close()
