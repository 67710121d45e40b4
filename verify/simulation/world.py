"""One run: workers and gateways as they are, in one loop, over a store of their own.

Workers are `workers.Host` with its activations, effects and tools over `storage.connect`;
gateways are the real application behind `Door`s. Only the network, the disk, time and the
supervisor are made up.

Invariant: nothing here tells a process what became of another one: it hears of that through
the store, as it would in life.
"""

import asyncio
import contextvars
import random
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias, cast

from aiohttp import web

from fsm import Config, ContextCreated
from gateway.app import Gateway
from gateway.directory import Directory
from gateway.guard import OWNER
from gateway.serve import make_app
from storage import Store, StoreRefusedWrite, StoreUnavailable, WorkerBuried, connect
from storage.scripts import script_bodies
from verify.simulation.clock import PROCESS, Process, VirtualTimeLoop
from verify.simulation.fates import Plan
from verify.simulation.http import Door
from verify.simulation.network import Network, now_ms, pool
from verify.simulation.performing import PERFORMANCES, TOOLS, Performances, WatchedModel
from verify.simulation.server import Server
from verify.simulation.settings import Settings
from workers import Effects, Host
from workers.chores import Chores
from workers.dequeue import open_source
from workers.models.request import RequestBuilder
from workers.models.scripted import ScriptedModel
from workers.places import Places
from workers.tools.registry import Registry

Main: TypeAlias = Coroutine[object, object, None]

URL: Final = "unix://simulated"
NOTICED_S: Final = 0.05
"""How long a supervisor takes to notice a death."""
RESTARTED_S: Final = 0.2
"""How long the next process takes to start."""


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
    performances: Performances = field(init=False)
    store: Store | None = None
    """The supervisor's, and ours to look at what is there; nothing happens to it."""
    workers: dict[str, Living] = field(default_factory=dict[str, Living])
    gateways: dict[str, Living] = field(default_factory=dict[str, Living])
    deaths: int = 0
    crashes: list[str] = field(default_factory=list[str])
    """Processes that ended by an exception that nothing explains."""
    closing: bool = False
    """Nobody is started any more."""
    _started: int = 0
    _processes: list[Process] = field(default_factory=list[Process])

    def __post_init__(self) -> None:
        self.network = Network(
            self.server,
            self.loop,
            self.plan,
            scripts=self.scripts,
            session_s=self.settings.session_s,
        )
        self.performances = Performances(self.network)

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
        context.run(PERFORMANCES.set, self.performances)
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
        async with connect(URL, storage, pool=pool(self.network, process)) as store:
            if store.files is not None:
                store.files.folder = self.folder
            config = settings.worker()
            effects = Effects(
                model=WatchedModel(self.performances, process, ScriptedModel(config)),
                requests=RequestBuilder(cache_bytes_max=1_000_000),
                tools=Registry(TOOLS, config),
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
                    chores=Chores(store, config, source=source, clock=self.now_ms, teller=None),
                )
                await host.run(living.stop, lambda: None)

    async def _serve(self, living: Living, door: Door) -> None:
        storage = self.settings.storage()
        async with (
            connect(URL, storage, pool=pool(self.network, living.process)) as store,
            asyncio.TaskGroup() as group,
        ):
            config = self.settings.gateway()
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
            async with connect(URL, config, pool=pool(self.network, supervisor)) as store:
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


def _explained(error: BaseException) -> bool:
    """Whether a process may end so: it was taken for dead, or could not reach the store."""
    return isinstance(innermost(error), (WorkerBuried, StoreUnavailable, StoreRefusedWrite))


def innermost(error: BaseException) -> BaseException:
    """The first error in nested groups."""
    while isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        error = group.exceptions[0]
    return error
