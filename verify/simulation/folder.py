"""A folder of snapshot files that outlives processes, every operation a point to die at.

`JsonSnapshots` works on a path; given this one instead, it works on a real folder (in memory,
where the machine has such a place) through operations that are counted.

Invariant: what was written by a process that died is what the next one reads; a rename is
done or not done.
"""

import contextlib
import io
import shutil
import tempfile
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from typing_extensions import Buffer, override

from verify.simulation.clock import PROCESS, Killed, Process

IN_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a folder of its own is made in there

Reach: TypeAlias = Callable[[Process, str], bool]
"""Whether the process that reaches a point lives on."""


if TYPE_CHECKING:
    _MachinePath = Path
else:
    _MachinePath = type(Path())  # before 3.12 only the class for the machine can be made


class FolderPath(_MachinePath):
    """A path whose writing, renaming and removing are points to die at."""

    __slots__ = ()
    reach: Reach
    """Set by `snapshot_folder` on a class of its own; paths made of one have its class."""
    renamed: Callable[[Path], None]
    """Told of each file that has got its name."""

    def _step(self, name: str) -> None:
        process = PROCESS.get()
        if process is not None and not (process.alive and self.reach(process, name)):
            raise Killed

    @override
    def open(  # type: ignore[override]  # only writing is simulated
        self, mode: str = "r", *_args: object, **_kwargs: object
    ) -> io.FileIO:
        if mode != "wb":
            return io.FileIO(str(self), mode)
        self._step("before create")
        return _File(self)

    @override
    def replace(self, target: "FolderPath") -> "FolderPath":  # type: ignore[override]  # paths of this kind
        self._step("before rename")
        super().replace(target)
        self.renamed(Path(str(target)))
        self._step("after rename")
        return target

    @override
    def unlink(self, missing_ok: bool = False) -> None:
        self._step("before unlink")
        super().unlink(missing_ok=missing_ok)

    def step(self, name: str) -> None:
        """A point that its open file has reached."""
        self._step(name)


class _File(io.FileIO):
    """An open file, unbuffered; what is written is torn if its writer dies."""

    def __init__(self, path: FolderPath) -> None:
        super().__init__(str(path), "wb")
        self._at = path

    @override
    def write(self, data: Buffer, /) -> int:
        raw = bytes(data)
        half = len(raw) // 2
        super().write(raw[:half])
        self._at.step("within write")
        super().write(raw[half:])
        self._at.step("after write")
        return len(raw)


@contextlib.contextmanager
def snapshot_folder(
    reach: Reach, renamed: Callable[[Path], None]
) -> Generator[Path, None, None]:
    """An empty folder for the length of a block."""
    where = IN_MEMORY if IN_MEMORY.is_dir() else None
    folder = tempfile.mkdtemp(prefix="contextd-simulation-", dir=where)
    own = {"reach": staticmethod(reach), "renamed": staticmethod(renamed), "__slots__": ()}
    kind = type("FolderPath", (FolderPath,), own)
    try:
        yield kind(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
