"""A store in memory: the real scripts over fakeredis, with faults where a test wants them.

What the scripts mean is therefore not told twice; `tests/storage` holds fakeredis and the
real server to one contract. A call can be held, lost (nothing has happened), unanswered
(it has happened, and nobody hears of it) or refused.
"""

import asyncio
import contextlib
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field, fields
from typing import Literal, TypeVar

from fakeredis import FakeServer
from typing_extensions import override

from fsm import ContextState
from storage import (
    Commit,
    Delivered,
    NoScript,
    Owned,
    StorageConfig,
    Store,
    StoreRefusedWrite,
    StoreUnavailable,
    WorkerSessions,
    connect,
)
from storage.logs import Logs
from storage.ownership import Ownership
from tests.storage.fake_store import fake_pool

T = TypeVar("T")
Reply = object

Fault = Literal["lost", "unanswered", "refused", "no script", "conflict"]
"""What becomes of a call; the last two are for draft frames."""

StoreStep = Literal[
    "activate",
    "commit",
    "draft",
    "passivate",
    "delete",
    "compact",
    "undelivered",
    "renew",
    "claim",
    "bury",
    "reload",
]
SESSION_MS = 3_600_000
"""fakeredis expires keys in real time: no session runs out by itself."""


@dataclass(slots=True)
class Gate:
    """Where a call is held."""

    reached: asyncio.Event = field(default_factory=asyncio.Event)
    opened: asyncio.Event = field(default_factory=asyncio.Event)


class MemoryStore(Store):
    """A store whose calls are recorded and can be interfered with."""

    def __init__(self, store: Store, server: FakeServer) -> None:
        super().__init__(*(getattr(store, each.name) for each in fields(Store)))
        self.sessions = MemorySessions(self)
        self.ownership = MemoryOwnership(self)
        self.logs = MemoryLogs(self)
        self.server = server
        """Where other processes' stores can be opened."""
        self.steps: list[StoreStep] = []
        """Calls that were made, in order."""
        self.commits: list[Commit] = []
        """Every commit that was tried, deletions included."""
        self._faults: dict[StoreStep, deque[Fault]] = defaultdict(deque)
        self._gates: dict[StoreStep, Gate] = {}
        self._answers: dict[StoreStep, Gate] = {}

    def fail(self, step: StoreStep, *faults: Fault) -> None:
        """Have the next calls of a step fail, one fault each."""
        self._faults[step] += faults

    def hold(self, step: StoreStep) -> Gate:
        """Hold the next call of a step until its gate is opened."""
        self._gates[step] = gate = Gate()
        return gate

    def hold_answer(self, step: StoreStep) -> Gate:
        """Hold the answer of the next call of a step, which is made before."""
        self._answers[step] = gate = Gate()
        return gate

    async def made(self, step: StoreStep, call: Callable[[], Awaitable[T]]) -> T:
        """Record a call and make it, with the fault that it is to have."""
        self.steps.append(step)
        if (gate := self._gates.pop(step, None)) is not None:
            gate.reached.set()
            await gate.opened.wait()
        held = self._answers.pop(step, None)
        fault = self.fault(step)
        if fault == "lost":
            raise StoreUnavailable("lost")
        if fault == "refused":
            raise StoreRefusedWrite("OOM")
        answer = await call()
        if held is not None:
            held.reached.set()
            await held.opened.wait()
        if fault == "unanswered":
            raise StoreUnavailable("unanswered")
        return answer

    def fault(self, step: StoreStep) -> Fault | None:
        """What is to become of the next call of a step."""
        return self._faults[step].popleft() if self._faults[step] else None

    @override
    async def reload_scripts(self) -> None:
        # They are there: "no script" is only said. fakeredis takes none by this way.
        await self.made("reload", lambda: asyncio.sleep(0))


class MemoryOwnership(Ownership):
    """Owning contexts, whose calls are a memory store's steps."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(*(getattr(store.ownership, each.name) for each in fields(Ownership)))
        self._store = store

    @override
    async def activate(self, context_id: str, worker_id: str) -> Owned:
        step = super().activate
        return await self._store.made("activate", lambda: step(context_id, worker_id))

    @override
    async def commit(self, commit: Commit) -> None:
        self._store.commits.append(commit)
        step = super().commit
        await self._store.made("commit", lambda: step(commit))

    @override
    async def delete(self, commit: Commit, worker_id: str) -> None:
        self._store.commits.append(commit)
        step = super().delete
        await self._store.made("delete", lambda: step(commit, worker_id))

    @override
    async def undelivered(self, context_id: str, token: str) -> list[Delivered]:
        step = super().undelivered
        return await self._store.made("undelivered", lambda: step(context_id, token))

    @override
    async def passivate(
        self, context_id: str, token: str, worker_id: str, *, version: int
    ) -> bool:
        step = super().passivate
        return await self._store.made(
            "passivate", lambda: step(context_id, token, worker_id, version=version)
        )

    @override
    async def claim(self, *, now_ms: int, overdue_ms: int) -> list[str]:
        step = super().claim
        return await self._store.made(
            "claim", lambda: step(now_ms=now_ms, overdue_ms=overdue_ms)
        )

    @override
    def append_draft(
        self,
        context_id: str,
        token: str,
        *,
        began: int,
        version: int,
        n_before: int,
        message_id: str,
        text: str,
    ) -> asyncio.Future[Reply]:
        self._store.steps.append("draft")
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        match self._store.fault("draft"):
            case "lost":
                answer.set_exception(StoreUnavailable("lost"))
            case "refused":
                raise StoreUnavailable("too many calls are under way")
            case "no script":
                answer.set_exception(NoScript("NOSCRIPT"))
            case "conflict":
                answer.set_result(b"conflict")
            case fault:
                sent = super().append_draft(
                    context_id,
                    token,
                    began=began,
                    version=version,
                    n_before=n_before,
                    message_id=message_id,
                    text=text,
                )
                if fault is None:
                    return sent
                answer.set_exception(StoreUnavailable("unanswered"))
        return answer


class MemoryLogs(Logs):
    """Logs, whose compactions are a memory store's steps."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(*(getattr(store.logs, each.name) for each in fields(Logs)))
        self._store = store

    @override
    async def compact(self, token: str, state: ContextState, *, first: int) -> None:
        step = super().compact
        await self._store.made("compact", lambda: step(token, state, first=first))


class MemorySessions(WorkerSessions):
    """Workers' sessions, whose calls are a memory store's steps."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(
            *(getattr(store.sessions, each.name) for each in fields(WorkerSessions))
        )
        self._store = store

    @override
    async def renew(self, worker_id: str, *, now_ms: int, begin: bool = False) -> list[str]:
        step = super().renew
        return await self._store.made(
            "renew", lambda: step(worker_id, now_ms=now_ms, begin=begin)
        )

    @override
    async def bury(self, worker_id: str, *, cause: Literal["died", "left"] = "died") -> int:
        step = super().bury
        return await self._store.made("bury", lambda: step(worker_id, cause=cause))


@contextlib.asynccontextmanager
async def open_memory_store(
    server: FakeServer | None = None, **settings: object
) -> AsyncGenerator[MemoryStore, None]:
    """A store on a server in memory, a new one unless one is given."""
    config = StorageConfig.model_validate({"worker_session_ms": SESSION_MS, **settings})
    server = server or FakeServer()
    async with connect("redis://memory", config, pool=fake_pool(server)) as store:
        yield MemoryStore(store, server)
