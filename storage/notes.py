"""Notes that owners keep across their contexts: uploaded, or written with the notes tool."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import storage.keys as keys
from storage.errors import NotesFull
from storage.link import Link
from storage.sealing import Sealer
from storage.times import unix_ms


@dataclass(frozen=True, slots=True)
class Note:
    """One note; it never changes."""

    key: str
    written_at_ms: int
    text: str

    @property
    def place(self) -> tuple[int, str]:
        """Where it stands among its owner's notes, the oldest first."""
        return self.written_at_ms, self.key


@dataclass(frozen=True, slots=True)
class Notes:
    """Every owner's notes, in the store."""

    link: Link
    sealer: Sealer
    notes_max: int
    """Notes of one owner."""

    async def add(self, owner: str, key: str, text: str) -> Note:
        """Keep a note; under a key that is there already, change nothing.

        Returns:
            The note as it is kept, if there was none of that key.

        Raises:
            NotesFull: The owner has `notes_max` notes, none of that key.
        """
        where = keys.notes(owner)
        number = cast("int", await self.link.call("HLEN", where))
        if number >= self.notes_max and await self.link.call("HGET", where, key) is None:
            raise NotesFull(f"an owner can keep {self.notes_max} notes")
        written_at_ms = unix_ms()
        kept = self.sealer.seal("note", owner, f"{written_at_ms} {text}")
        await self.link.call("HSETNX", where, key, kept)
        return Note(key, written_at_ms, text)

    async def remove(self, owner: str, key: str) -> bool:
        """Forget a note; False if there was none."""
        return await self.link.call("HDEL", keys.notes(owner), key) == 1

    async def keys_of(self, owner: str) -> frozenset[str]:
        """Keys of all of an owner's notes."""
        found = cast("list[bytes]", await self.link.call("HKEYS", keys.notes(owner)))
        return frozenset(key.decode() for key in found)

    async def read(self, owner: str, wanted: Iterable[str]) -> Sequence[Note]:
        """The notes of these keys, as far as there are such, in no order."""
        asked = tuple(wanted)
        if not asked:
            return ()
        reply = await self.link.call("HMGET", keys.notes(owner), *asked)
        found = cast("list[bytes | None]", reply)
        return [
            self._note(owner, key, raw) for key, raw in zip(asked, found, strict=True) if raw
        ]

    async def all(self, owner: str) -> Sequence[Note]:
        """An owner's notes, the oldest first."""
        reply = cast("list[bytes]", await self.link.call("HGETALL", keys.notes(owner)))
        found = [
            self._note(owner, key.decode(), raw)
            for key, raw in zip(reply[::2], reply[1::2], strict=True)
        ]
        return sorted(found, key=lambda note: note.place)

    async def list(self, owner: str) -> Mapping[str, str]:
        """The texts of an owner's notes by key, the oldest first."""
        return {note.key: note.text for note in await self.all(owner)}

    def _note(self, owner: str, key: str, raw: bytes) -> Note:
        opened = self.sealer.open("note", owner, raw).decode()
        written_at_ms, _, text = opened.partition(" ")
        return Note(key, int(written_at_ms), text)
