"""Faults of a store that go away again: memory full, disk full, read-only, no replicas.

Each is a block: the fault begins with it and has ended when it is left. A full disk is a
bound on the size of files (RLIMIT_FSIZE) put on the running server: writes beyond it fail
with an error, as on a disk without room, and nobody else on the machine notices.
"""

# pyright: reportUnknownMemberType=false
# redis-py leaves keyword arguments, and so every second method, partly untyped.

import contextlib
import resource
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Final

from redis import Redis

from storage import Listener
from storage.subscriber import Subscriber

Fault = Callable[[Redis, int], contextlib.AbstractContextManager[None]]
"""Takes a client of the store and the id of its process."""

NOBODY: Final = ("127.0.0.1", "1")
"""Where no primary listens."""
SMALLEST_MEMORY: Final = "1mb"


@contextlib.contextmanager
def memory_full(client: Redis, _process_id: int) -> Generator[None]:
    """No memory is left for what admits work."""
    client.config_set("maxmemory", SMALLEST_MEMORY)
    try:
        yield
    finally:
        client.config_set("maxmemory", "0")


@contextlib.contextmanager
def read_only(client: Redis, _process_id: int) -> Generator[None]:
    """The store is a replica, whose primary is away."""
    client.replicaof(*NOBODY)
    try:
        yield
    finally:
        client.replicaof("NO", "ONE")


@contextlib.contextmanager
def too_few_replicas(client: Redis, _process_id: int) -> Generator[None]:
    """The store is told to write only with a replica, and has none."""
    client.config_set("min-replicas-to-write", "1")
    try:
        yield
    finally:
        client.config_set("min-replicas-to-write", "0")


@contextlib.contextmanager
def disk_full(_client: Redis, process_id: int) -> Generator[None]:
    """No file of the server's grows: with everysec it refuses writes, with always it ends."""
    with no_room([process_id], file_bytes_max=1):
        yield


@contextlib.contextmanager
def no_room(process_ids: Sequence[int], *, file_bytes_max: int) -> Generator[None]:
    """No file of these processes, or of children that they start, grows beyond a size.

    Children that live when the block is left have to be given their room by the caller.
    """
    no_bound = resource.RLIM_INFINITY
    for process_id in process_ids:
        resource.prlimit(process_id, resource.RLIMIT_FSIZE, (file_bytes_max, no_bound))
    try:
        yield
    finally:
        for process_id in process_ids:
            give_room(process_id)


def give_room(process_id: int) -> None:
    """Let files of a process grow again; harmless when it is gone."""
    no_bound = resource.RLIM_INFINITY
    with contextlib.suppress(ProcessLookupError):
        resource.prlimit(process_id, resource.RLIMIT_FSIZE, (no_bound, no_bound))


REFUSALS: Final[Mapping[str, Fault]] = {
    "memory full": memory_full,
    "read-only": read_only,
    "too few replicas": too_few_replicas,
    "disk full": disk_full,
}
"""Faults with which the store goes on answering and takes no writes (everysec)."""


def newest_log(data: Path) -> Path:
    """The append-only file that the server writes at the moment."""
    return max(data.glob("appendonlydir/*.incr.aof"), key=_generation)


def _generation(path: Path) -> int:
    return int(path.name.split(".")[-3])


def lose(subscriber: Subscriber, lost: Callable[[bytes], bool]) -> None:
    """Lose publications, on every channel that is listened to by now."""
    # Nothing in the product loses a message; the test has to reach inside.
    listeners = subscriber._listeners  # pyright: ignore[reportPrivateUsage] - see above

    def losing(listener: Listener) -> Listener:
        def on_message(message: bytes) -> None:
            if not lost(message):
                listener.on_message(message)

        return Listener(on_message, listener.on_gap)

    for channel, all_of_it in tuple(listeners.items()):
        listeners[channel] = tuple(map(losing, all_of_it))
