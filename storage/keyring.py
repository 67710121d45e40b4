"""The built-in cipher: AES-256-GCM with the keys of a file.

A line of the file is a key: its name and 32 bytes in base64. The first one seals, all open.
What is sealed names its key; the key itself is never used: for each context and kind of value
one of its own is derived, so that no key meets the 2^32 random nonces that it may meet (NIST
SP 800-38D, 8.3), and what was sealed as something else does not open.
"""

import base64
import binascii
import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from storage.errors import CannotOpen, EncryptionMismatch

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
_LINE: Final = re.compile(r"(?P<name>[A-Za-z0-9._-]{1,64})\s+(?P<key>[A-Za-z0-9+/=]+)")
_PERSON: Final = b"contextd seal"


class Keyring:
    """Keys by name."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        """Take keys; the first one seals."""
        self._keys = {name.encode(): key for name, key in keys.items()}
        self._newest = next(iter(self._keys))

    def seal(self, content: bytes, about: bytes) -> bytes:
        """Encrypt with the first key."""
        nonce = os.urandom(NONCE_BYTES)
        cipher = _derived(self._keys[self._newest], about)
        return self._newest + b" " + nonce + cipher.encrypt(nonce, content, about)

    def open(self, sealed: bytes, about: bytes) -> bytes:
        """Decrypt with the key that it names.

        Raises:
            CannotOpen: There is no such key, or it was changed, or is about something else.
        """
        name, _, rest = sealed.partition(b" ")
        shown = about.decode(errors="replace")
        key = self._keys.get(name)
        if key is None:
            raise CannotOpen(f"no key {name.decode(errors='replace')!r} for: {shown}")
        nonce, content = rest[:NONCE_BYTES], rest[NONCE_BYTES:]
        try:
            return _derived(key, about).decrypt(nonce, content, about)
        except (InvalidTag, ValueError):
            raise CannotOpen(f"changed, or sealed as something else: {shown}") from None


def read_keyring(path: Path) -> Keyring:
    """The keys of a file; empty lines and those that begin with `#` are passed over.

    Raises:
        EncryptionMismatch: It cannot be read, or is no file of keys; no key is in the message.
    """
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not text"
        raise EncryptionMismatch(f"the keys in {path} cannot be read: {why}") from None
    keys: dict[str, bytes] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        found = _LINE.fullmatch(line.strip())
        key = _decoded(found["key"]) if found else b""
        if found is None or len(key) != KEY_BYTES or found["name"] in keys:
            raise EncryptionMismatch(
                f"{path}, line {number}: it takes a name of its own and {KEY_BYTES} bytes in "
                "base64"
            )
        keys[found["name"]] = key
    if not keys:
        raise EncryptionMismatch(f"there is no key in {path}")
    return Keyring(keys)


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return b""


def _derived(key: bytes, about: bytes) -> AESGCM:
    # BLAKE2b as a keyed pseudo-random function (RFC 7693, 2.9).
    derived = hashlib.blake2b(about, key=key, digest_size=KEY_BYTES, person=_PERSON)
    return AESGCM(derived.digest())
