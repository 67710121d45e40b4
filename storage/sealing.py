"""What contents go through on their way into the store and out of it.

- Without a cipher they pass as they are.
- What a value is and whose it is are sealed in with it: anywhere else it does not open.
- A sealed value begins with a byte that UTF-8 never has and goes on in base64, so that it
  stands in a line of a frame as well, and a draft can be appended to.
- The store says that it holds sealed contents, and whether nothing else: `keys.SEALED`.
  Whoever cannot open that is refused at every connection, before anything is written.
"""

import binascii
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final, Literal, Protocol, TypeAlias, cast, overload

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ResponseError

import storage.keys as keys
from storage.errors import CannotOpen, EncryptionMismatch
from storage.link import Argument, Reply, read_reply, refuses_writes

ENTRY_POINT_GROUP: Final = "contextd.ciphers"
FILE: Final = "file"
"""The cipher that is built in: a file of keys."""

Kind: TypeAlias = Literal[
    "draft",
    "event",
    "letter",
    "mail",
    "marker",
    "message",
    "note",
    "notice",
    "result",
    "snapshot",
    "state",
    "summary",
]
"""What a sealed value is."""

_MARK: Final = b"\xff"
_STORE: Final = "store"
_ALL, _SINCE = b"all", b"since"
"""The store holds nothing but sealed contents; it held others before."""


class Cipher(Protocol):
    """What seals; an installed package may bring one that asks a key service.

    Called on the event loop for each value, so it must not wait: a cipher that asks a key
    service keeps data keys in memory.
    """

    def seal(self, content: bytes, about: bytes) -> bytes:
        """Encrypt, so that it opens only with the same `about`."""
        ...

    def open(self, sealed: bytes, about: bytes) -> bytes:
        """Decrypt.

        Raises:
            CannotOpen: It was changed, is about something else, or no key is here for it.
        """
        ...


class Sealer:
    """Seals contents, where there is a cipher."""

    def __init__(self, cipher: Cipher | None) -> None:
        self._cipher = cipher
        self.refuses_plain = False
        """Whether all that the store holds is sealed."""

    @overload
    def seal(self, kind: Kind, whose: str, content: bytes) -> bytes: ...
    @overload
    def seal(self, kind: Kind, whose: str, content: str) -> str | bytes: ...
    def seal(self, kind: Kind, whose: str, content: str | bytes) -> str | bytes:
        """A value as it goes into the store; what is empty stays so.

        Args:
            kind: What it is.
            whose: The context, or the owner where it belongs to none.
            content: The value.
        """
        if self._cipher is None or not content:
            return content
        plain = content.encode() if isinstance(content, str) else content
        sealed = self._cipher.seal(plain, _about(kind, whose))
        return _MARK + binascii.b2a_base64(sealed, newline=False)

    def open(self, kind: Kind, whose: str, raw: bytes) -> bytes:
        """A value as it was before it was sealed.

        Raises:
            CannotOpen: It is not what was sealed as this, or should be sealed and is not.
        """
        if not raw.startswith(_MARK):
            if self.refuses_plain and raw:
                raise CannotOpen(f"a {kind} of {whose} is not encrypted")
            return raw
        if self._cipher is None:
            raise CannotOpen(
                f"a {kind} of {whose} is encrypted; CONTEXTD_ENCRYPTION is not set"
            )
        about = _about(kind, whose)
        try:
            parts = [binascii.a2b_base64(part) for part in raw[1:].split(_MARK)]
        except binascii.Error:
            raise CannotOpen(f"a {kind} of {whose} was changed") from None
        return b"".join(self._cipher.open(part, about) for part in parts)

    async def check(self, connection: AbstractConnection) -> None:
        """Hold the store's own mark against the cipher, on a fresh connection.

        Raises:
            EncryptionMismatch: It is sealed and there is no cipher, or not the right one.
            ResponseError: It is to be marked and takes no writes.
        """
        mark = await _ask(connection, "GET", keys.SEALED)
        if self._cipher is None:
            if mark is not None:
                raise EncryptionMismatch(
                    "what the store holds is encrypted: set CONTEXTD_ENCRYPTION to its keys"
                )
            return None
        if mark is None:
            # Its epoch begins with the first look; what was said may outlive its contexts.
            is_new = await _ask(connection, "EXISTS", keys.EPOCH) == 0
            made = self.seal("marker", _STORE, _ALL if is_new else _SINCE)
            if await _ask(connection, "SET", keys.SEALED, made, "NX") is None:
                return await self.check(connection)  # somebody was quicker
            mark = made
        try:
            holds = self.open("marker", _STORE, cast("bytes", mark))
        except CannotOpen as wrong:
            raise EncryptionMismatch(
                f"what the store holds was encrypted with other keys: {wrong}"
            ) from None
        self.refuses_plain = holds == _ALL
        try:  # with the newest key, so that the oldest can be given up once nothing needs it
            await _ask(connection, "SET", keys.SEALED, self.seal("marker", _STORE, holds), "XX")
        except ResponseError as error:
            if not refuses_writes(error):
                raise


def make_sealer(encryption: str | None) -> Sealer:
    """The sealer that `encryption` asks for.

    Raises:
        EncryptionMismatch: Its keys cannot be read, or nothing installed is called so.
    """
    if encryption is None:
        return Sealer(None)
    name, _, argument = encryption.partition(":")
    if name == FILE:
        from storage.keyring import read_keyring  # it brings a cryptography that takes its time

        return Sealer(read_keyring(Path(argument)))
    for entry_point in entry_points(group=ENTRY_POINT_GROUP, name=name):
        return Sealer(entry_point.load()(argument))
    raise EncryptionMismatch(
        f"CONTEXTD_ENCRYPTION names {name!r}, which no installed package brings; "
        f"`{FILE}:PATH` takes a file of keys"
    )


def _about(kind: Kind, whose: str) -> bytes:
    return f"{kind} {whose}".encode()


async def _ask(connection: AbstractConnection, *command: Argument) -> Reply:
    await connection.send_command(*command)
    return await read_reply(connection)
