"""Notes that owners keep across their contexts (the notes tool and retriever)."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import storage.keys as keys
from storage.errors import StoreRefusedWrite
from storage.link import Link


@dataclass(frozen=True, slots=True)
class Notes:
    """Every owner's notes, in the store."""

    link: Link
    notes_max: int
    """Notes of one owner."""

    async def add(self, owner: str, key: str, text: str) -> None:
        """Keep a note; under a key that is there already, change nothing.

        Raises:
            StoreRefusedWrite: The owner has `notes_max` notes.
        """
        where = keys.notes(owner)
        if cast("int", await self.link.call("HLEN", where)) >= self.notes_max:
            raise StoreRefusedWrite(f"an owner can keep {self.notes_max} notes")
        written_at_ms = time.time_ns() // 1_000_000
        await self.link.call("HSETNX", where, key, f"{written_at_ms} {text}")

    async def list(self, owner: str) -> Mapping[str, str]:
        """An owner's notes by key, the oldest first."""
        reply = cast("list[bytes]", await self.link.call("HGETALL", keys.notes(owner)))
        found = {
            key.decode(): value.decode().partition(" ")
            for key, value in zip(reply[::2], reply[1::2], strict=True)
        }
        ordered = sorted(found.items(), key=lambda item: int(item[1][0]))
        return {key: text for key, (_, _, text) in ordered}
