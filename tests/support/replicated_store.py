"""A primary with replicas, and Sentinels that watch them: real servers, for a block."""

# pyright: reportUnknownMemberType=false
# redis-py leaves keyword arguments, and so every second method, partly untyped.

import contextlib
import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import cast

from redis import Redis
from redis.exceptions import RedisError

from runtime.store_binary import find_store_binary
from tests.support.service_processes import Running, free_port, tethered, until
from tests.support.store_server import StoreServer

SERVICE = "contextd"
DOWN_AFTER_MS = 1_500
"""Below 1 s Sentinels, which connect once a second, take a fresh primary for dead at once."""
FAILOVER_MS_MAX = 5_000
IN_SYNC_S_MAX = 15.0


class ReplicatedStore:
    """A primary and its replicas, on ports of 127.0.0.1."""

    def __init__(self, *, replicas: int) -> None:
        """Take how many replicas there are; nothing is started yet."""
        self.servers = [a_server() for _ in range(replicas + 1)]

    @property
    def primary(self) -> StoreServer:
        """Of the beginning: nobody moves it here."""
        return self.servers[0]

    @property
    def replicas(self) -> list[StoreServer]:
        return self.servers[1:]

    def in_sync(self) -> bool:
        """Whether every replica has, and has acknowledged, what the primary has."""
        for replica in self.replicas:
            with contextlib.closing(replica.client()) as client:
                if client.info("replication")["master_link_status"] != "up":
                    return False
        with contextlib.closing(self.primary.client()) as client:
            client.publish("any", "")
            return bool(client.wait(len(self.replicas), 100) == len(self.replicas))


def a_server() -> StoreServer:
    return StoreServer(
        port=str(free_port()),
        bind="127.0.0.1",
        repl_diskless_sync_delay="0",
        repl_ping_replica_period="1",
    )


@contextlib.contextmanager
def replicated_store(*, replicas: int) -> Generator[ReplicatedStore]:
    """A primary and replicas that are in sync with it."""
    store = ReplicatedStore(replicas=replicas)
    with contextlib.ExitStack() as stack:
        for server in store.servers:
            stack.enter_context(server)
        for replica in store.replicas:
            with contextlib.closing(replica.client()) as client:
                client.replicaof("127.0.0.1", store.primary.options["port"])
        until(store.in_sync, "replicas in sync", within_s=IN_SYNC_S_MAX)
        yield store


@contextlib.contextmanager
def sentinels(store: ReplicatedStore, *, count: int = 3) -> Generator[str]:
    """Sentinels that watch a store and know each other; gives the URL for contextd."""
    folder = Path(tempfile.mkdtemp(prefix="sentinels-"))
    watched = f"{SERVICE} 127.0.0.1 {store.primary.options['port']} {count // 2 + 1}"
    ports = [free_port() for _ in range(count)]
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        running: list[Running] = []
        for port in ports:
            file = folder / f"{port}.conf"
            file.write_text(
                f"port {port}\nbind 127.0.0.1\ndir {folder}\n"
                f"sentinel monitor {watched}\n"
                f"sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER_MS}\n"
                f"sentinel failover-timeout {SERVICE} {FAILOVER_MS_MAX}\n"
            )
            words = tethered(str(find_store_binary().path), str(file), "--sentinel")
            running.append(Running(words, {}, folder / f"{port}.log"))
            stack.callback(running[-1].kill)
        until(
            lambda: all(knows(port, count, len(store.replicas)) for port in ports),
            "Sentinels that know everybody",
        )
        yield f"redis+sentinel://{','.join(f'127.0.0.1:{port}' for port in ports)}/{SERVICE}"


def knows(port: int, sentinels: int, replicas: int) -> bool:
    """Whether a Sentinel knows the others and all replicas."""
    with contextlib.closing(Redis(port=port, decode_responses=True)) as client:
        try:
            found = cast("dict[str, int]", client.sentinel_master(SERVICE))
        except (RedisError, OSError):
            return False
    return (found["num-other-sentinels"], found["num-slaves"]) == (sentinels - 1, replicas)
