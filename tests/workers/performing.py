"""What the tests of effects share: a scene with a pending effect, tools and models for it."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue
from typing_extensions import override

from fsm import AnyEffect, ContextState, Event, RunTool, call_digest
from storage import Owned
from tests.support.memory_store import MemoryStore, open_memory_store
from tests.support.playbook import Playbook
from tests.workers.stage import Scripted, now_ms
from workers import Activation, Effects, WorkerConfig
from workers.models.protocol import (
    ModelError,
    ModelRequest,
    ReplyFinished,
    ReplyItem,
    TextDelta,
)
from workers.models.request import RequestBuilder
from workers.models.scripted import ScriptedModel
from workers.places import Places
from workers.tools.declaration import Tool, ToolCallContext, tool
from workers.tools.registry import Registry
from workers.tools.retrieval import Retriever


@tool(effect="idempotent", timeout_s=5.0)
async def echo(text: str, context: ToolCallContext) -> str:
    """Say it back."""
    return f"{text} {context.idempotency_key}"


@tool(effect="once", dangerous=True, timeout_s=5.0)
async def sleep(seconds: float) -> str:
    """Take some time."""
    await asyncio.sleep(seconds)
    return "slept"


@tool(effect="none", timeout_s=5.0)
async def broken() -> str:
    """Fail."""
    raise LookupError("no such thing")


class Ear(Activation):
    """An activation that only listens."""

    def __init__(self, store: MemoryStore, state: ContextState) -> None:
        owned = Owned(state.id, "0.1", state, (), "", 0, 0)
        super().__init__(
            owned,
            worker_id="w1",
            store=store,
            performer=Scripted(),
            config=WorkerConfig(),
            clock=now_ms,
            on_draft=lambda _: None,
        )
        self.heard: list[Event] = []

    @override
    def post(self, event: Event) -> None:
        self.heard.append(event)


@dataclass(slots=True)
class Scene:
    """A context in which an effect is pending, and what can perform it."""

    book: Playbook
    ear: Ear
    effects: Effects

    async def perform(self, effect: AnyEffect | None = None) -> list[Event]:
        """Perform the pending effect, or another; the answers."""
        effect = effect or next(iter(self.book.state.pending.values()))
        await self.effects.perform(effect, self.book.state, self.ear)
        return self.ear.heard


@contextlib.asynccontextmanager
async def scene(
    *events: Event,
    tools: Sequence[Tool] = (echo, sleep, broken),
    retrievers: Mapping[str, Retriever] | None = None,
    **config: JsonValue,
) -> AsyncGenerator[Scene, None]:
    settings = WorkerConfig(scripted_chunk_ms=1_000)
    effects = Effects(
        model=ScriptedModel(settings),
        requests=RequestBuilder(cache_bytes_max=0),
        tools=Registry(tools, settings),
        retrievers=retrievers or {},
        places=Places(settings.model_connections_max),
        clock=now_ms,
        draw=lambda: 0.25,
    )
    async with open_memory_store() as store:
        book = Playbook(title="", **config).given(*events)
        yield Scene(book, Ear(store, book.state), effects)


def run_tool(name: str, arguments: str, *, digest: str = "", due_ms: int = 0) -> RunTool:
    return RunTool(
        effect_id="4.0",
        attempt=1,
        call_id="c1",
        name=name,
        arguments=arguments,
        digest=digest or call_digest(name, arguments),
        effect="none",
        due_ms=due_ms or now_ms() + 60_000,
    )


class Refusing(ScriptedModel):
    """Answers nothing."""

    def __init__(self, error: ModelError | None = None) -> None:
        super().__init__(WorkerConfig())
        self._error = error or ModelError("overloaded", "Busy.", True)

    @override
    async def stream(self, request: ModelRequest) -> AsyncGenerator[ReplyItem, None]:
        raise self._error
        yield TextDelta("never")


class Saying(ScriptedModel):
    """Answers with these pieces; one that only thinks, with no text."""

    def __init__(self, *pieces: str) -> None:
        super().__init__(WorkerConfig())
        self._pieces = pieces

    @override
    async def stream(self, request: ModelRequest) -> AsyncGenerator[ReplyItem, None]:
        for piece in self._pieces:
            yield TextDelta(piece)
        yield ReplyFinished(
            text="".join(self._pieces),
            tool_calls=(),
            finish_reason="length",
            usage=None,
            model=None,
            metadata={},
        )
