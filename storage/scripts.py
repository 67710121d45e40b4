"""The Lua scripts of `storage/lua/`, each one atomic step of a protocol.

A script's file says its call, keys, types and meaning. Scripts validate before their first
write (the store does not roll them back) and may be repeated: every one is idempotent.
They are loaded on every connection; a SCRIPT FLUSH in between costs one more round trip.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Final, cast

from redis.asyncio.connection import AbstractConnection

from storage.errors import NoScript, StoreUnavailable
from storage.link import Argument, Link, Reply, read_reply

NAMES: Final = (
    "activate",
    "announce",
    "attempt",
    "bury",
    "claim",
    "collect",
    "commit",
    "compact",
    "create",
    "delete",
    "deliver",
    "draft",
    "enqueue",
    "fill",
    "finish",
    "hold",
    "lease",
    "open",
    "passivate",
    "read",
    "renew",
    "report",
    "settle",
    "shorten",
    "spend",
    "survey",
    "take",
)
RELOADS_MAX: Final = 3
"""How often one call loads the scripts again before it is given up."""


_INCLUDE: Final = re.compile(r"^--- include (\w+)$", re.MULTILINE)
"""Stands in a script for the functions of a file in `storage/lua/parts/`."""


@cache
def script_bodies() -> Mapping[str, str]:
    """The text of each script by its name, with the parts that it includes."""
    folder = files("storage") / "lua"

    def part(found: re.Match[str]) -> str:
        return (folder / "parts" / f"{found[1]}.lua").read_text()

    return {name: _INCLUDE.sub(part, (folder / f"{name}.lua").read_text()) for name in NAMES}


class Scripts:
    """Runs scripts by name over a link."""

    def __init__(self) -> None:
        self._bodies = script_bodies()
        self._shas: dict[str, bytes] = {}

    async def load(self, connection: AbstractConnection) -> None:
        """Load every script on a fresh connection, before anything else is sent on it."""
        for name, body in self._bodies.items():
            await connection.send_command("SCRIPT", "LOAD", body)
            self._shas[name] = cast("bytes", await read_reply(connection))

    def sha(self, name: str) -> bytes:
        """Digest of a loaded script, as the store names it."""
        return self._shas[name]

    def send(
        self, link: Link, name: str, keys: Sequence[Argument], *args: Argument
    ) -> asyncio.Future[Reply]:
        """Send a script without waiting; after a SCRIPT FLUSH it fails with NoScript."""
        return link.call("EVALSHA", self._shas.get(name, b""), len(keys), *keys, *args)

    async def run(
        self, link: Link, name: str, keys: Sequence[Argument], *args: Argument
    ) -> Reply:
        """Run one script.

        Raises:
            StoreUnavailable: The outcome is unknown; running it again is safe.
            StoreRefusedWrite: Nothing has happened.
        """
        for _ in range(RELOADS_MAX):
            try:
                return await self.send(link, name, keys, *args)
            except NoScript:
                await self.reload(link)
        raise StoreUnavailable("the store forgets its scripts")

    async def reload(self, link: Link) -> None:
        """Load every script again, after a SCRIPT FLUSH."""
        for name, body in self._bodies.items():
            self._shas[name] = cast("bytes", await link.call("SCRIPT", "LOAD", body))
