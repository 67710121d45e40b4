"""One run: workers and gateways as they are, in one loop, over a store of their own.

Workers are `workers.Host` with its activations, effects and tools over `storage.connect`;
gateways are the real application behind `Door`s. Only the network, the disk, time and the
supervisor are made up.

Invariant: nothing here tells a process what became of another one: it hears of that through
the store, as it would in life.
"""

import asyncio
import contextlib
import contextvars
import random
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias, cast

from aiohttp import web

from fsm import Config, ContextCreated
from gateway import GatewayConfig
from gateway.app import Gateway
from gateway.directory import Directory
from gateway.guard import OWNER
from gateway.serve import make_app
from storage import (
    StorageConfig,
    Store,
    StoreRefusedWrite,
    StoreUnavailable,
    WorkerBuried,
    connect,
    keys,
)
from storage.scripts import script_bodies
from verify.records import ModelCall
from verify.simulation.clock import PROCESS, Process, VirtualTimeLoop
from verify.simulation.http import Door
from verify.simulation.network import Network, Plan, now_ms
from verify.simulation.server import Server
from workers import Effects, Host, WorkerConfig
from workers.dequeue import open_source
from workers.models.protocol import ModelRequest, ReplyFinished, ReplyItem, TextDelta
from workers.models.request import RequestBuilder
from workers.models.scripted import ScriptedModel
from workers.places import Places
from workers.tools.builtin import ask_person
from workers.tools.declaration import ToolCallContext, tool
from workers.tools.registry import Registry

Main: TypeAlias = Coroutine[object, object, None]

URL: Final = "unix://simulated"
SESSION_MS: Final = 3_600_000
"""Longer than any run takes in real time: sessions end in virtual time (`Network`)."""
NOTICED_S: Final = 0.05
"""How long a supervisor takes to notice a death."""
RESTARTED_S: Final = 0.2
"""How long the next process takes to start."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a run is set up."""

    workers: int = 1
    gateways: int = 1
    supervised: bool = True
    """Whether somebody sees a worker die and buries it; else its session has to run out."""
    json_snapshots: bool = False
    standard: bool = False
    """Durability `standard` instead of `strict`."""
    session_s: float = 4.0
    heartbeat_s: float = 1.0
    overdue_ms: int = 500
    linger_s: float = 0.3
    draft_ms: float = 20.0
    chunk_ms: int = 5
    snapshot_events: int = 64
    commit_events_max: int = 64
    inbox_max: int = 1_024
    mailbox_max: int = 256
    results_max: int = 1_000
    log_events_max: int = 0
    """Longer logs are compacted; 0: none is."""
    call_s_max: float = 5.0
    drain_s: float = 2.0
    linger_feed_s: float = 10.0
    feed_check_s: float = 5.0
    mirrors_max: int = 4_096
    applied_s_max: float = 2.0

    def storage(self) -> StorageConfig:
        """Settings of the storage room."""
        return StorageConfig(
            durability="standard" if self.standard else "strict",
            store_call_s_max=self.call_s_max,
            worker_session_ms=SESSION_MS,
            mailbox_max=self.mailbox_max,
            results_max=max(self.results_max, self.mailbox_max),
            log_events_max=self.log_events_max,
        )

    def worker(self) -> WorkerConfig:
        """Settings of the workers room."""
        return WorkerConfig(
            linger_s=self.linger_s,
            draft_ms=self.draft_ms,
            snapshot_events=self.snapshot_events,
            commit_events_max=self.commit_events_max,
            inbox_max=self.inbox_max,
            worker_heartbeat_s=self.heartbeat_s,
            overdue_ms=self.overdue_ms,
            drain_s=self.drain_s,
            scripted_chunk_ms=self.chunk_ms,
        )

    def gateway(self) -> GatewayConfig:
        """Settings of the gateway room."""
        return GatewayConfig(
            auth="off",
            linger_feed_s=self.linger_feed_s,
            feed_check_s=self.feed_check_s,
            mirrors_max=self.mirrors_max,
            applied_s_max=self.applied_s_max,
        )


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
class Living:
    """A process of ours, and what ends it properly."""

    process: Process
    stop: asyncio.Event
    door: Door | None = None
    """A gateway's."""


@dataclass(slots=True, eq=False)
class World:
    """Everything there is in one run."""

    server: Server
    loop: VirtualTimeLoop
    plan: Plan
    settings: Settings
    group: asyncio.TaskGroup
    scripts: Mapping[bytes, str]
    """Names by digest."""
    folder: Path
    """Where snapshot files go."""
    note: Callable[[str], None]
    """Writes a line of the history."""
    network: Network = field(init=False)
    store: Store | None = None
    """The supervisor's, and ours to look at what is there; nothing happens to it."""
    workers: dict[str, Living] = field(default_factory=dict[str, Living])
    gateways: dict[str, Living] = field(default_factory=dict[str, Living])
    performed: list[Performed] = field(default_factory=list[Performed])
    model_calls: list[ModelCall] = field(default_factory=list[ModelCall])
    deaths: int = 0
    crashes: list[str] = field(default_factory=list[str])
    """Processes that ended by an exception that nothing explains."""
    closing: bool = False
    """Nobody is started any more."""
    _started: int = 0
    _processes: list[Process] = field(default_factory=list[Process])
    _awaiting: list[tuple[Process, str]] = field(default_factory=list[tuple[Process, str]])
    """Who waits for replies of the model, and in which contexts."""

    def __post_init__(self) -> None:
        self.network = Network(
            self.server,
            self.loop,
            self.plan,
            scripts=self.scripts,
            session_s=self.settings.session_s,
        )

    def now_ms(self) -> int:
        """Unix time."""
        return now_ms(self.loop)

    # Processes

    def start_worker(self) -> Living:
        """Start a worker under a name of its own."""
        living = self._start("w", self.workers)
        self._run(living, self._work(living))
        return living

    def start_gateway(self) -> Living:
        """Start a gateway."""
        living = self._start("g", self.gateways)
        living.door = Door(living.process, self.loop)
        living.process.on_death(living.door.shut)
        self._run(living, self._serve(living, living.door))
        return living

    def _start(self, kind: str, among: dict[str, Living]) -> Living:
        self._started += 1
        process = Process(f"{kind}{self._started}")
        self._processes.append(process)
        living = among[process.name] = Living(process, asyncio.Event())
        process.on_death(lambda: self._died(living))
        return living

    def _run(self, living: Living, main: Main) -> None:
        process = living.process
        context = contextvars.Context()
        context.run(PROCESS.set, process)
        context.run(_WORLD.set, self)
        self._spawn(self._until_it_ends(process, main), process.name, context)

    def _spawn(self, main: Main, name: str, context: contextvars.Context | None = None) -> None:
        self.group.create_task(main, name=name, context=context)

    async def _until_it_ends(self, process: Process, main: Main) -> None:
        """A process ends with its main function, whatever ends that."""
        try:
            await main
        except BaseException as error:  # noqa: BLE001 - judged here, as a supervisor's log would be
            if process.alive and not _explained(error):
                self.crashes.append(f"{process.name}: {innermost(error)!r}")
        process.kill()

    def _died(self, living: Living) -> None:
        """Somebody notices, sooner or later."""
        name = living.process.name
        self.network.abandon(living.process)
        if not self.closing:
            self.note(f"{name} ends")
            self.deaths += 1
        was_worker = self.workers.pop(name, None) is not None
        self.gateways.pop(name, None)
        if not self.closing:
            self.network.at(
                self.loop.time() + NOTICED_S, lambda: self._noticed(name, was_worker=was_worker)
            )

    def _noticed(self, name: str, *, was_worker: bool) -> None:
        if was_worker and self.settings.supervised:
            self._spawn(self._bury(name), f"bury {name}")
        start = self.start_worker if was_worker else self.start_gateway
        if not self.closing:
            self.network.at(self.loop.time() + RESTARTED_S, lambda: self._restart(start))

    def _restart(self, start: Callable[[], Living]) -> None:
        if not self.closing:
            start()

    async def _bury(self, name: str) -> None:
        assert self.store is not None
        while True:
            try:
                await self.store.sessions.bury(name)
            except (StoreUnavailable, StoreRefusedWrite):
                await asyncio.sleep(RESTARTED_S)
            else:
                return

    async def _work(self, living: Living) -> None:
        process, settings = living.process, self.settings
        storage = settings.storage()
        if settings.json_snapshots:
            storage = storage.model_copy(update={"snapshots": "json:simulated"})
        async with connect(URL, storage, pool=self.network.pool(process)) as store:
            if store.files is not None:
                store.files.folder = self.folder
            config = settings.worker()
            effects = Effects(
                model=_WatchedModel(self, process, ScriptedModel(config)),
                requests=RequestBuilder(cache_bytes_max=1_000_000),
                tools=Registry((_charge, _look, ask_person), config),
                retrievers={},
                places=Places(config.model_connections_max),
                clock=self.now_ms,
                draw=random.Random(process.name).random,
            )
            async with open_source(store.queue, process.name) as source:
                host = Host(
                    process.name,
                    store=store,
                    source=source,
                    performer=effects,
                    config=config,
                    clock=self.now_ms,
                )
                await host.run(living.stop, lambda: None)

    async def _serve(self, living: Living, door: Door) -> None:
        settings = self.settings
        pool = self.network.pool(living.process)
        async with (
            connect(URL, settings.storage(), pool=pool) as store,
            asyncio.TaskGroup() as group,
        ):
            config = settings.gateway()
            directory = Directory(store, config, group)
            gateway = Gateway(config, store, directory, self.now_ms, living.stop)
            keeping = (
                group.create_task(directory.sweep(), name="feeds-sweep"),
                group.create_task(directory.check_feeds(), name="feeds-check"),
                group.create_task(gateway.viewers.keep_alive(), name="viewers-keep-alive"),
            )
            runner = web.AppRunner(
                make_app(gateway),
                access_log=None,
                handler_cancellation=True,
                shutdown_timeout=config.gateway_drain_s,
            )
            await runner.setup()
            door.server = runner.server
            await living.stop.wait()
            door.server = None
            gateway.end_waits()
            gateway.viewers.say_bye()
            await runner.cleanup()
            directory.close()
            for task in keeping:
                task.cancel()

    # What effects do to the world

    async def begin(self, process: Process, performed: Performed) -> None:
        """Note that an effect is performed, unless its process dies before."""
        if not self.plan.reach(process, f"before {performed.kind}"):
            await asyncio.sleep(0)
        self.performed.append(performed)

    async def end(self, process: Process, kind: str) -> None:
        """An effect is done and nobody has heard of it yet."""
        if not self.plan.reach(process, f"after {kind}"):
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
        return bool(self.server.call("EXISTS", keys.session(process.name)))

    def version_of(self, context_id: str) -> int:
        """Where a context's log is, seen from outside; 0 where there is none."""
        reply = self.server.call("HGET", f"ctx:{{{context_id}}}:meta", "version")
        return int(cast("bytes", reply or b"0"))

    # Contexts

    async def create(self, context_id: str, config: Config) -> None:
        """Make a context, before anything goes wrong."""
        assert self.store is not None
        event = ContextCreated(
            at_ms=self.now_ms(), context_id=context_id, owner=OWNER, config=config
        )
        await self.store.admissions.create(event, first=None, key="", digest="")

    async def open(self) -> None:
        """Connect the supervisor's store and start everybody."""
        supervisor = Process("supervisor")
        context = contextvars.copy_context()
        opened = asyncio.Event()

        async def keep() -> None:
            config = self.settings.storage()
            async with connect(URL, config, pool=self.network.pool(supervisor)) as store:
                self.store = store
                opened.set()
                await asyncio.Event().wait()

        self._spawn(keep(), "supervisor", context)
        await opened.wait()
        for _ in range(self.settings.workers):
            self.start_worker()
        for _ in range(self.settings.gateways):
            self.start_gateway()

    def thaw_all(self) -> None:
        """Nobody is frozen any more."""
        for living in (*self.workers.values(), *self.gateways.values()):
            if living.process.frozen:
                living.process.thaw()

    def close(self) -> None:
        """End the run: nobody lives on, and nothing of theirs can touch the store."""
        self.closing = True
        for living in (*self.workers.values(), *self.gateways.values()):
            living.process.kill()
        self.network.stop()
        self.loop.over = True
        for process in self._processes:
            process.release()
        this = asyncio.current_task()
        for task in asyncio.all_tasks():
            if task is not this:
                task.cancel()


def script_names(server: Server) -> Mapping[bytes, str]:
    """Names of our scripts by digest; the server has them from now on."""
    return {
        cast("bytes", server.call("SCRIPT", "LOAD", body)): name
        for name, body in script_bodies().items()
    }


@dataclass(frozen=True, slots=True)
class _WatchedModel:
    """The scripted model, with points to die at."""

    world: World
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
        version = self.world.version_of(context_id)
        async with contextlib.AsyncExitStack() as stack:
            beside = ""
            if request.purpose == "reply":
                beside = stack.enter_context(self.world.awaiting(self.process, context_id))
            performed = Performed(
                kind="call-model",
                context_id=context_id,
                effect_id=effect_id,
                attempt=request.attempt,
                version=version,
                process=self.process.name,
                beside=beside,
            )
            await self.world.begin(self.process, performed)
            self.world.model_calls.append(
                ModelCall(
                    context_id=context_id,
                    effect_id=effect_id,
                    messages=request.messages,
                    at_s=self.world.loop.time(),
                )
            )
            items = await stack.enter_async_context(
                contextlib.aclosing(self.model.stream(request))
            )
            async for item in items:
                match item:
                    case TextDelta():
                        await self.world.end(self.process, "text of call-model")
                    case ReplyFinished():
                        await self.world.end(self.process, "call-model")
                yield item


def _explained(error: BaseException) -> bool:
    """Whether a process may end so: it was taken for dead, or could not reach the store."""
    return isinstance(innermost(error), (WorkerBuried, StoreUnavailable, StoreRefusedWrite))


def innermost(error: BaseException) -> BaseException:
    """The first error in nested groups."""
    while isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        error = group.exceptions[0]
    return error


_WORLD: Final[contextvars.ContextVar[World]] = contextvars.ContextVar("world")
"""The one that the running process is part of."""


async def _run_tool(name: str, call: ToolCallContext, pause_ms: int) -> str:
    world, process = _WORLD.get(), PROCESS.get()
    assert process is not None
    performed = Performed(
        kind=name,
        context_id=call.context_id,
        effect_id=call.effect_id,
        attempt=0,
        version=world.version_of(call.context_id),
        process=process.name,
    )
    await world.begin(process, performed)
    await asyncio.sleep(pause_ms / 1_000)
    await world.end(process, name)
    return f"{name} is done"


@tool(effect="once", name="charge")
async def _charge(call: ToolCallContext, pause_ms: int = 3) -> str:
    """Do what must not be done twice."""
    return await _run_tool("charge", call, pause_ms)


@tool(effect="idempotent", name="look")
async def _look(call: ToolCallContext, pause_ms: int = 3) -> str:
    """Do what may be done twice."""
    return await _run_tool("look", call, pause_ms)
