"""What workers perform in a run: a model and two tools, with points to die at.

Invariant: what is performed is noted with the version that the store had at that moment.
"""

import asyncio
import contextlib
import contextvars
from collections.abc import AsyncGenerator, Generator
from dataclasses import dataclass, field
from typing import Final

from storage import keys
from verify.records import ModelCall
from verify.simulation.clock import PROCESS, Process
from verify.simulation.network import Network
from workers.models.protocol import ModelRequest, ReplyFinished, ReplyItem, TextDelta
from workers.models.scripted import ScriptedModel
from workers.tools.builtin import ask_person
from workers.tools.declaration import ToolCallContext, tool


@dataclass(frozen=True, slots=True)
class Performed:
    """An effect that a process has begun to perform."""

    kind: str
    """`call-model` or the name of a tool."""
    context_id: str
    effect_id: str
    attempt: int
    """Of a model call; 0: of a tool, which is not told."""
    version: int
    """Of the context in the store at that moment; 0: it was gone."""
    process: str
    beside: str = ""
    """Of a model call: a living process that was waiting for another reply of the context."""


@dataclass(slots=True, eq=False)
class Performances:
    """All that is performed in one run."""

    network: Network
    performed: list[Performed] = field(default_factory=list[Performed])
    model_calls: list[ModelCall] = field(default_factory=list[ModelCall])
    _awaiting: list[tuple[Process, str]] = field(default_factory=list[tuple[Process, str]])
    """Who waits for replies of the model, and in which contexts."""

    async def begin(self, process: Process, performed: Performed) -> None:
        """Note that an effect is performed, unless its process dies before."""
        if not self.network.plan.reach(process, f"before {performed.kind}"):
            await asyncio.sleep(0)
        self.performed.append(performed)

    async def end(self, process: Process, kind: str) -> None:
        """An effect is done and nobody has heard of it yet."""
        if not self.network.plan.reach(process, f"after {kind}"):
            await asyncio.sleep(0)

    @contextlib.contextmanager
    def awaiting(self, process: Process, context_id: str) -> Generator[str, None, None]:
        """Wait for a reply; gives the name of a process that lives and waits for one, too.

        That is nobody unless something is wrong: a worker gives a call up before it makes the
        next one, and whoever takes its context over has seen it die, or declared it dead. One
        that was declared dead while it was frozen may yet make the call that it has committed.
        """
        beside = [
            one.name
            for one, awaited in self._awaiting
            if awaited == context_id and one.runs and self._is_worker(one)
        ]
        if not self._is_worker(process):
            beside.clear()
        self._awaiting.append((process, context_id))
        try:
            yield beside[0] if beside else ""
        finally:
            self._awaiting.remove((process, context_id))

    def _is_worker(self, process: Process) -> bool:
        """Whether the store knows a process as a worker that lives."""
        return bool(self.network.server.call("EXISTS", keys.session(process.name)))


@dataclass(frozen=True, slots=True)
class WatchedModel:
    """The scripted model, with points to die at."""

    performances: Performances
    process: Process
    model: ScriptedModel

    @property
    def label(self) -> str:
        """As that of the scripted model."""
        return self.model.label

    async def close(self) -> None:
        """Do nothing; there is nothing to give back."""

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ReplyItem, None]:
        """Reply as the scripted model does."""
        context_id, _, effect_id = request.idempotency_key.partition(":")
        version = self.performances.network.version_of(context_id)
        async with contextlib.AsyncExitStack() as stack:
            beside = ""
            if request.purpose == "reply":
                beside = stack.enter_context(
                    self.performances.awaiting(self.process, context_id)
                )
            performed = Performed(
                kind="call-model",
                context_id=context_id,
                effect_id=effect_id,
                attempt=request.attempt,
                version=version,
                process=self.process.name,
                beside=beside,
            )
            await self.performances.begin(self.process, performed)
            self.performances.model_calls.append(
                ModelCall(
                    context_id=context_id,
                    effect_id=effect_id,
                    messages=request.messages,
                    at_s=self.performances.network.loop.time(),
                )
            )
            items = await stack.enter_async_context(
                contextlib.aclosing(self.model.stream(request))
            )
            async for item in items:
                match item:
                    case TextDelta():
                        await self.performances.end(self.process, "text of call-model")
                    case ReplyFinished():
                        await self.performances.end(self.process, "call-model")
                yield item


PERFORMANCES: Final[contextvars.ContextVar[Performances]] = contextvars.ContextVar(
    "performances"
)
"""Those of the run that the running process is part of."""


async def _run_tool(name: str, call: ToolCallContext, pause_ms: int) -> str:
    performances, process = PERFORMANCES.get(), PROCESS.get()
    assert process is not None
    performed = Performed(
        kind=name,
        context_id=call.context_id,
        effect_id=call.effect_id,
        attempt=0,
        version=performances.network.version_of(call.context_id),
        process=process.name,
    )
    await performances.begin(process, performed)
    await asyncio.sleep(pause_ms / 1_000)
    await performances.end(process, name)
    return f"{name} is done"


@tool(effect="once", name="charge")
async def _charge(call: ToolCallContext, pause_ms: int = 3) -> str:
    """Do what must not be done twice."""
    return await _run_tool("charge", call, pause_ms)


@tool(effect="idempotent", name="look")
async def _look(call: ToolCallContext, pause_ms: int = 3) -> str:
    """Do what may be done twice."""
    return await _run_tool("look", call, pause_ms)


TOOLS: Final = (_charge, _look, ask_person)
