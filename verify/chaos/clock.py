"""Clocks that jump: a file, which all processes of the service map, says how far each is off.

The processes take the shift up by `sitecustomize`, which Python imports before anything else;
shifted is what contextd takes for the time of day, `time.time_ns`.
"""

import mmap
import os
import struct
import time
from pathlib import Path
from typing import Final

CLOCKS: Final = "VERIFY_CLOCKS"
"""Variable with the path of the file."""
SLOTS: Final = 7
"""Processes share clocks by their ids; a prime, so that neighbours do not."""
_SHIFT: Final = struct.Struct("<q")
"""Nanoseconds."""


def install(folder: Path, clocks: Path) -> None:
    """Have every Python process with this folder on its path follow clocks, all right yet."""
    clocks.write_bytes(bytes(SLOTS * _SHIFT.size))
    module = "from verify.chaos.clock import follow\n\nfollow()\n"
    (folder / "sitecustomize.py").write_text(module)


def jump(clocks: Path, slot: int, by_s: float) -> None:
    """Set one of the clocks off by so much."""
    with clocks.open("r+b") as file:
        file.seek(slot * _SHIFT.size)
        file.write(_SHIFT.pack(round(by_s * 1e9)))


def follow() -> None:
    """Take the time from the clock of this process from now on."""
    path = os.environ.get(CLOCKS)
    if path is None:
        return
    with Path(path).open("rb") as file:
        view = mmap.mmap(file.fileno(), SLOTS * _SHIFT.size, access=mmap.ACCESS_READ)
    right_ns = time.time_ns

    def shifted_ns() -> int:
        at = os.getpid() % SLOTS * _SHIFT.size
        shift_ns: int = _SHIFT.unpack_from(view, at)[0]
        return right_ns() + shift_ns

    time.time_ns = shifted_ns
