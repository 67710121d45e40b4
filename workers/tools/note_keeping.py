"""Where the notes tool and the notes retriever keep what an owner noted."""

from collections.abc import Mapping
from typing import Protocol


class Notes(Protocol):
    """The part of `storage.Notes` that is used in here.

    It stands as a protocol so that these tools are declared without a store.
    """

    async def add(self, owner: str, key: str, text: str) -> None:
        """Keep a note of this owner; under a key that is there already, change nothing."""
        ...

    async def list(self, owner: str) -> Mapping[str, str]:
        """Return the owner's notes by key, the oldest first."""
        ...
