"""Where this machine's commands find the key that they come in with."""

import os
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

OWNER_KEY: Final = "owner.key"
"""In the data folder: the first key, which `contextd up` has made."""
_HERE: Final = frozenset({"127.0.0.1", "localhost", "::1"})


class NoKey(Exception):
    """The file that was named cannot be read; says why."""


class NoKeys(Exception):
    """Others would reach the gateways, and there is no key; says what to do."""


def key_for(url: str, key_file: Path | None) -> str | None:
    """The key to send to a server; None: none is known.

    The one of this machine's data folder goes to this machine only.

    Raises:
        NoKey: The file cannot be read.
    """
    if key_file is not None:
        try:
            return key_file.read_text().strip()
        except OSError as error:
            raise NoKey(f"{key_file} cannot be read: {error.strerror}.") from None
    given = os.environ.get("CONTEXTD_API_KEY")
    if given:
        return given
    if urlsplit(url).hostname not in _HERE:
        return None
    own = Path(os.environ.get("CONTEXTD_DATA", "contextd-data")) / OWNER_KEY
    try:
        return own.read_text().strip()
    except OSError:
        return None
