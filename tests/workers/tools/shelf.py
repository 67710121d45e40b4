"""Contexts and notes of several owners in a store in memory, for what looks through them."""

import contextlib
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Final

from typing_extensions import override

from fsm import (
    AnyEvent,
    ContextCreated,
    ContextDeleted,
    ContextState,
    MessagesRecorded,
    RecordedMessage,
    replay,
    transition,
)
from storage import Commit, Notes, Reading, View
from tests.storage.arranging import live
from tests.support.memory_store import MemoryStore, open_memory_store
from tests.support.playbook import BEGAN_MS
from tests.workers.stage import nth_id
from workers.tools import SearchConfig, Searches

WORKER: Final = "w1"
ASKING: Final = 999
"""Number of the context that asks."""


class CountingStore(MemoryStore):
    """A store in memory that remembers which contexts were read."""

    reads: list[str]

    @override
    async def read(
        self, context_id: str, owner: str, *, known: View | None = None, seq: int = 0
    ) -> Reading:
        self.reads.append(context_id)
        return await super().read(context_id, owner, known=known, seq=seq)


@dataclass(slots=True)
class Shelf:
    """What owners have said and noted, and one worker that looks through it."""

    store: CountingStore
    notes: Notes
    searches: Searches
    _now_ms: int = field(default=BEGAN_MS)

    async def keep(
        self,
        number: int,
        *said: str,
        owner: str = "ada",
        title: str = "",
        labels: Mapping[str, str] | None = None,
    ) -> str:
        """A context in which the user has said something; its id."""
        self._now_ms += 1
        created = ContextCreated(
            at_ms=self._now_ms,
            context_id=nth_id(number),
            owner=owner,
            title=title,
            labels=labels or {},
        )
        await self.store.admissions.create(created, first=None, key="", digest="")
        await self.speak(number, *said)
        return created.context_id

    async def speak(self, number: int, *said: str) -> None:
        """More is said there."""
        self._now_ms += 1
        messages = tuple(RecordedMessage(role="user", content=content) for content in said)
        if messages:
            await self.happen(number, MessagesRecorded(at_ms=self._now_ms, messages=messages))

    async def happen(self, number: int, *events: AnyEvent) -> ContextState:
        """Events are committed; the state after them."""
        await live(self.store, WORKER)
        owned = await self.store.ownership.activate(nth_id(number), WORKER)
        state = owned.state
        for event in events:
            state = transition(state, event).state
        commit = Commit(
            context_id=owned.context_id,
            token=owned.token,
            base=owned.state.version,
            events=[event.model_dump_json().encode() for event in events],
            state=state,
            rests=True,
        )
        if isinstance(events[-1], ContextDeleted):
            await self.store.ownership.delete(commit, WORKER)
        else:
            await self.store.ownership.commit(commit)
            await self.store.ownership.passivate(
                owned.context_id, owned.token, WORKER, version=state.version
            )
        return state

    async def delete(self, number: int) -> None:
        """It is gone."""
        await self.happen(number, ContextDeleted(at_ms=self._now_ms))

    async def find(self, query: str, *, owner: str = "ada", asking: int = ASKING) -> list[str]:
        """Texts that are found, the best first."""
        found = await self.searches.find(context(asking, owner=owner), query)
        return [one.match.text for one in found]


def context(number: int = ASKING, *, owner: str = "ada") -> ContextState:
    """A context that asks; the store need not have it."""
    return replay([ContextCreated(at_ms=BEGAN_MS, context_id=nth_id(number), owner=owner)])


@contextlib.asynccontextmanager
async def open_shelf(**settings: int) -> AsyncGenerator[Shelf, None]:
    """An empty shelf; settings are those of SearchConfig."""
    async with open_memory_store() as opened:
        store = CountingStore(opened, opened.server)
        store.reads = []
        yield made_shelf(store, **settings)


def made_shelf(store: CountingStore, **settings: int) -> Shelf:
    """A shelf over a store: that of another worker, where there is one already."""
    notes = Notes(store.link, store.sealer, notes_max=100)
    config = SearchConfig.model_validate(settings)
    return Shelf(store, notes, Searches(store, notes, config))
