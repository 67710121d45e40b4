"""Finds the API key that the commands of this machine use."""

import os
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

OWNER_KEY: Final = "owner.key"
"""In the data folder: the first key, which `contextd up` has made."""
_HERE: Final = frozenset({"127.0.0.1", "localhost", "::1"})


class NoKey(Exception):
    """No usable key, or no usable URL; the message says why, without the key."""


class NoKeys(Exception):
    """Others could reach the gateways and there is no key; the message says what to do."""


def key_for(url: str, key_file: Path | None) -> str | None:
    """The key to send to a server; None: none is known.

    The one of this machine's data folder goes to this machine only.

    Raises:
        NoKey: The file cannot be read, what is there is no key, or the URL is none.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise NoKey(f"{url} is no address: it looks like http://127.0.0.1:8000.") from None
    if key_file is not None:
        try:
            return _key(key_file.read_text(errors="replace"), str(key_file))
        except OSError as error:
            raise NoKey(f"{key_file} cannot be read: {error.strerror}.") from None
    if given := os.environ.get("CONTEXTD_API_KEY", "").strip():
        return _key(given, "CONTEXTD_API_KEY")
    if host not in _HERE:
        return None
    own = Path(os.environ.get("CONTEXTD_DATA", "contextd-data")) / OWNER_KEY
    try:
        return _key(own.read_text(errors="replace"), str(own))
    except OSError:
        return None


def _key(text: str, source: str) -> str:
    key = text.strip()
    if not (key.isascii() and key.isprintable()):
        raise NoKey(f"{source} holds no key: there are characters in it that no key has.")
    return key
