"""A place that is to be filled by one living process, and the processes that fill it."""

import asyncio
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from runtime.child import Child
from runtime.port import Place

Role = Literal["gateway", "worker"]


@dataclass(frozen=True, slots=True)
class Slot:
    """A place that is to be filled by one living process."""

    role: Role
    number: int
    command: Sequence[str]
    place: Place | None = None
    """Where the process accepts connections, if it does."""

    @property
    def log_fields(self) -> dict[str, object]:
        """What log lines say of it."""
        return {"role": self.role, "slot": self.number}

    @property
    def listen_fd(self) -> int | None:
        """The listening socket that it inherits."""
        return self.place.descriptor if self.place else None


@dataclass(frozen=True, slots=True)
class Replaced:
    """What became of one process in a restart; see `storage.ProcessRestart`."""

    slot: Slot
    process_id: int | None
    replaced_by: int | None
    outcome: Literal["drained", "killed", "not replaced"]
    moved: int | None
    took_s: float


@dataclass(slots=True, eq=False)
class Begun:
    """A process that was started, and whether it has ended."""

    child: Child
    worker_id: str
    """The id of its worker session, if it is a worker."""
    moved: int | None = None
    """What it has moved elsewhere while it drained, once it has ended."""
    over: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once it has ended."""

    def is_called(self, name: str) -> bool:
        """Whether `name` is the id of this worker, or `<host>:<process id>` of this process."""
        return name in {self.worker_id, f"{socket.gethostname()}:{self.child.process_id}"}

    def end_soon(self, *, force: bool) -> None:
        """Have it drain, or end now."""
        if force:
            self.child.kill()
        else:
            self.child.terminate()

    async def end(self) -> None:
        """Kill it if it lives, and let go of it."""
        self.child.kill()
        await self.child.wait()
        self.moved = self.child.moved()
        self.child.close()
        self.over.set()
