"""Finding what an owner has said in other contexts, and noted.

Each owner that asks gets an index in this worker's memory, made when it is first needed.
Before each search it is compared with the owner's list of contexts in the store: what has
moved on is read again, what is gone is forgotten. So a search sees what was committed before
it began, whichever worker has committed it, and nothing of another owner ever.
"""

import asyncio
import itertools
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from fsm import UNSEARCHED, ContextState, Message
from storage import ContextMissing, Notes, StorageError, Store, Summary
from workers.tools.config import SearchConfig
from workers.tools.index import Match, Passage, TextIndex

READS_AT_ONCE: Final = 16
"""Contexts that are read together."""
NOTES: Final = ""
"""The home of notes in an index; contexts have their ids."""
_ROLES: Final = frozenset({"user", "assistant"})


@dataclass(frozen=True, slots=True)
class Found:
    """A match, and the title of the context that it is from ("" for notes)."""

    match: Match
    title: str


@dataclass(frozen=True, slots=True)
class _Seen:
    """A context as it was when it was read."""

    version: int
    updated_at_ms: int
    title: str
    last: Message | None = None
    """The last message that was looked at."""
    count: int = 0
    """Messages up to that one."""
    text_bytes: int = 0
    """Of it, in the index."""


@dataclass(slots=True)
class _Library:
    """One owner's index, and what is in it."""

    epoch: str
    index: TextIndex = field(default_factory=TextIndex)
    seen: dict[str, _Seen] = field(default_factory=dict[str, _Seen])
    notes: dict[str, int] = field(default_factory=dict[str, int])
    """Bytes of each note, by its key."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def text_bytes(self) -> int:
        """Text that is indexed."""
        return sum(seen.text_bytes for seen in self.seen.values()) + sum(self.notes.values())


class Searches:
    """The indexes of one worker."""

    def __init__(self, store: Store, notes: Notes, config: SearchConfig) -> None:
        self._store = store
        self._notes = notes
        self._config = config
        self._libraries: OrderedDict[str, _Library] = OrderedDict()

    @property
    def text_bytes(self) -> int:
        """Text that is indexed, of all owners."""
        return sum(library.text_bytes for library in self._libraries.values())

    async def find(self, asking: ContextState, query: str) -> Sequence[Found]:
        """What the owner of a context has said elsewhere, or noted, that fits a query.

        Cancelled, it forgets what it has of this owner: a thread may still be at it.

        Raises:
            StoreUnavailable: The store does not answer.
            SearchFailed: There can be no index.
        """
        while True:
            library = self._library_of(asking.owner)
            async with library.lock:
                if self._libraries.get(asking.owner) is library:
                    return await self._find(library, asking, query)

    def _library_of(self, owner: str) -> _Library:
        library = self._libraries.get(owner)
        if library is None or library.epoch != self._store.epoch:
            library = self._libraries[owner] = _Library(self._store.epoch)
        self._libraries.move_to_end(owner)
        return library

    async def _find(
        self, library: _Library, asking: ContextState, query: str
    ) -> Sequence[Found]:
        try:
            await self._refresh(library, asking)
            matches = await asyncio.to_thread(
                library.index.search,
                query,
                without=asking.id,
                matches_max=self._config.search_matches_max,
                text_chars_max=self._config.search_match_chars_max,
            )
        except StorageError:
            raise  # what is in the index is right all the same
        except BaseException:
            self._libraries.pop(asking.owner, None)
            raise
        bytes_max = self._config.search_text_bytes_max
        while len(self._libraries) > 1 and self.text_bytes > bytes_max:
            self._libraries.popitem(last=False)
        return [Found(match, _title(library, match.home)) for match in matches]

    async def others(self, asking: ContextState) -> list[tuple[str, Summary]]:
        """The owner's other contexts that can be read, those that were spoken in last first."""
        most = self._config.search_contexts_max
        listed = await self._store.contexts(asking.owner, limit=most, after=None)
        others = [
            (context_id, summary)
            for context_id, summary in listed
            if summary is not None and context_id != asking.id
        ]
        return sorted(others, key=lambda entry: entry[1].updated_at_ms, reverse=True)

    async def read(self, context_id: str, owner: str) -> ContextState | None:
        """A context of the owner's as it is now; None if it is gone, or is not searched."""
        try:
            reading = await self._store.read(context_id, owner)
        except ContextMissing:
            return None
        assert reading.view is not None, "nothing was known of it"
        state = reading.view.state
        return None if UNSEARCHED in state.labels else state

    async def _refresh(self, library: _Library, asking: ContextState) -> None:
        others = await self.others(asking)
        listed = {context_id for context_id, _ in others} | {asking.id}
        for context_id in library.seen.keys() - listed:
            await self._forget(library, context_id)
        # The newest last: of equal matches the one that was indexed last comes first.
        moved = [entry for entry in others[::-1] if not _is_seen(library, *entry)]
        for start in range(0, len(moved), READS_AT_ONCE):
            await self._read_again(library, asking.owner, moved[start : start + READS_AT_ONCE])
        await self._trim(library)
        await self._read_notes(library, asking.owner)

    async def _read_again(
        self, library: _Library, owner: str, moved: Sequence[tuple[str, Summary]]
    ) -> None:
        async with asyncio.TaskGroup() as group:
            reads = {
                context_id: group.create_task(
                    self._read_or_error(context_id, owner), name=f"search {context_id}"
                )
                for context_id, _ in moved
            }
        for context_id, summary in moved:
            state = reads[context_id].result()
            if isinstance(state, StorageError):
                raise state
            if state is None:
                await self._forget(library, context_id)
                library.seen[context_id] = _Seen(
                    summary.version, summary.updated_at_ms, summary.title
                )
            else:
                await self._take(library, state)

    async def _read_or_error(
        self, context_id: str, owner: str
    ) -> ContextState | StorageError | None:
        # An error that ends a task group may lose a cancellation (storage/cancellation.py).
        try:
            return await self.read(context_id, owner)
        except StorageError as error:
            return error

    async def _take(self, library: _Library, state: ContextState) -> None:
        """Index what a context has gained; all of it, where it does not continue."""
        before = library.seen.get(state.id)
        messages = state.messages
        if before is None or before.last is None:
            start, text_bytes = 0, 0
        elif messages[before.count - 1 : before.count] == (before.last,):
            start, text_bytes = before.count, before.text_bytes
        else:
            await self._forget(library, state.id)
            start, text_bytes = 0, 0
        passages = [
            Passage(message.id, message.role, message.content)
            for message in messages[start:]
            if message.role in _ROLES and message.content
        ]
        await asyncio.to_thread(library.index.add, state.id, passages)
        library.seen[state.id] = _Seen(
            version=state.version,
            updated_at_ms=state.updated_at_ms,
            title=state.title,
            last=messages[-1] if messages else None,
            count=len(messages),
            text_bytes=text_bytes + sum(len(one.text.encode()) for one in passages),
        )

    async def _trim(self, library: _Library) -> None:
        """Drop the contexts that were quiet the longest, while the index is too large."""
        over = library.text_bytes - self._config.search_owner_text_bytes_max
        quiet = sorted(library.seen.items(), key=lambda entry: entry[1].updated_at_ms)
        for context_id, seen in quiet:
            if over <= 0:
                break
            if seen.text_bytes:
                over -= seen.text_bytes
                await self._forget(library, context_id)
                library.seen[context_id] = _Seen(seen.version, seen.updated_at_ms, seen.title)

    async def _read_notes(self, library: _Library, owner: str) -> None:
        keys = await self._notes.keys_of(owner)
        for key in library.notes.keys() - keys:
            await asyncio.to_thread(library.index.forget, NOTES, item=key)
            del library.notes[key]
        new = iter(sorted(keys - library.notes.keys()))
        while batch := tuple(itertools.islice(new, READS_AT_ONCE)):
            notes = await self._notes.read(owner, batch)
            passages = [Passage(note.key, "note", note.text) for note in notes]
            await asyncio.to_thread(library.index.add, NOTES, passages)
            library.notes |= {note.key: len(note.text.encode()) for note in notes}

    async def _forget(self, library: _Library, context_id: str) -> None:
        if library.seen.pop(context_id, None) is not None:
            await asyncio.to_thread(library.index.forget, context_id)


def _is_seen(library: _Library, context_id: str, summary: Summary) -> bool:
    seen = library.seen.get(context_id)
    stamp = (summary.version, summary.updated_at_ms)
    return seen is not None and (seen.version, seen.updated_at_ms) == stamp


def _title(library: _Library, home: str) -> str:
    return library.seen[home].title if home in library.seen else ""
