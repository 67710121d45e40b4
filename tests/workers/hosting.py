"""Hosts in virtual time over a store in memory; jobs come from the test."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

import pytest
from typing_extensions import override

from storage import (
    StorageError,
    StoreUnavailable,
)
from tests.support.memory_store import MemoryStore, open_memory_store
from tests.support.playbook import CONTEXT_ID
from tests.workers.stage import Scripted, Stage, now_ms
from workers import Host, WorkerConfig
from workers.chores import Chores
from workers.dequeue import ActivationSource, Chore


class Jobs(ActivationSource):
    """A source of activations that a test fills."""

    def __init__(self, store: MemoryStore, worker_id: str) -> None:
        super().__init__(store.queue, worker_id, peek_s=5.0)
        self.waiting: asyncio.Queue[str | Chore] = asyncio.Queue()
        self.finished: list[tuple[str, bool]] = []
        self.failed: list[tuple[str, str]] = []
        self.ended: list[tuple[Chore, str | None]] = []
        self.rooms: list[int] = []
        self.errors: list[StorageError] = []
        """What the next takes end with."""

    @override
    async def take(self, room: int) -> list[str | Chore]:
        self.rooms.append(room)
        if self.errors:
            raise self.errors.pop()
        return [await self.waiting.get()]

    @override
    async def finish(self, context_id: str, *, active_elsewhere: bool = False) -> None:
        self.finished.append((context_id, active_elsewhere))

    @override
    async def fail(self, context_id: str, error: str) -> None:
        self.failed.append((context_id, error))

    @override
    async def end_chore(self, chore: Chore, error: str | None) -> None:
        self.ended.append((chore, error))


class Maintenance(Chores):
    """Chores as a test wants them: they work until they are let go, or break."""

    def __init__(self, store: MemoryStore, config: WorkerConfig, source: Jobs) -> None:
        super().__init__(store, config, source=source, clock=now_ms, teller=None)
        self.beats = 0
        self.working = 0
        self.breaks: Exception | None = None
        self.away = False
        self.let_go = asyncio.Event()

    @override
    async def enqueue_due(self) -> None:
        self.beats += 1
        if self.away:
            raise StoreUnavailable("away")
        await super().enqueue_due()

    @override
    async def perform(self, chore: Chore) -> None:
        self.working += 1
        if self.breaks is not None:
            raise self.breaks
        await self.let_go.wait()
        self.working -= 1


@dataclass(slots=True)
class Hosting:
    """A host that runs, and what goes with it."""

    host: Host
    jobs: Jobs
    performer: Scripted
    stop: asyncio.Event
    task: asyncio.Task[None]
    chores: Maintenance
    over: asyncio.Event
    """Set once the host has said that its session is not renewed any more."""
    outcome: list[ExceptionGroup] = field(default_factory=list[ExceptionGroup])

    def kill(self) -> None:
        """End it as kill -9 would: nothing is drained, nothing is said."""
        self.task.cancel()


@contextlib.asynccontextmanager
async def hosting(
    store: MemoryStore,
    worker_id: str = "w1",
    *,
    performer: Scripted | None = None,
    **settings: float,
) -> AsyncGenerator[Hosting, None]:
    """A host for the length of a block; it is killed at the end unless it has stopped."""
    performer = performer or Scripted()
    jobs = Jobs(store, worker_id)
    config = WorkerConfig.model_validate(settings)
    chores = Maintenance(store, config, jobs)
    stop, ready, over = asyncio.Event(), asyncio.Event(), asyncio.Event()
    host = Host(
        worker_id,
        store=store,
        source=jobs,
        performer=performer,
        config=config,
        clock=now_ms,
        chores=chores,
        on_over=over.set,
    )
    outcome: list[ExceptionGroup] = []

    async def run() -> None:
        try:
            await host.run(stop, ready.set)
        except ExceptionGroup as group:
            outcome.append(group)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(run(), name=worker_id)
        try:
            await ready.wait()
            yield Hosting(host, jobs, performer, stop, task, chores, over, outcome)
        finally:
            task.cancel()


@contextlib.asynccontextmanager
async def hosting_beside(store: MemoryStore, worker_id: str) -> AsyncGenerator[Hosting, None]:
    """A host in a process of its own, as far as the store can tell."""
    async with open_memory_store(store.server) as own, hosting(own, worker_id) as other:
        yield other


@contextlib.asynccontextmanager
async def open_world(*context_ids: str) -> AsyncGenerator[Stage[MemoryStore], None]:
    """A store with contexts at rest; the stage is for delivering and looking only."""
    async with open_memory_store() as store:
        stage = Stage(store)
        for context_id in context_ids or (CONTEXT_ID,):
            await stage.create(context_id)
        yield stage


def note_counts(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of what is counted from now on; nothing is added to totals."""
    counted: list[str] = []

    def count(name: str, number: int = 1) -> None:
        counted.extend([name] * number)

    monkeypatch.setattr(store.meters, "count", count)
    return counted
