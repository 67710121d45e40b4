"""fakeredis behind our own link, for what needs no real server."""

from typing import Any, Final

from fakeredis import FakeServer
from fakeredis.aioredis import FakeAsyncRedisConnection
from redis.asyncio.connection import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from typing_extensions import override

Packed = Any
"""redis-py's commands and replies, which it types in part."""

SHEBANG: Final = "#!lua"


class FakeStoreConnection(FakeAsyncRedisConnection):
    """A connection to a fake server that takes our scripts and tells its run id."""

    def __init__(self, *, run_id: str, **kwargs: Packed) -> None:
        super().__init__(**kwargs)
        self._run_id = run_id

    @override
    def pack_command(self, *args: Packed) -> list[bytes]:
        """Pack a command, without what fakeredis does not know."""
        match args:
            case ("SCRIPT", "LOAD", str() as body) if body.startswith(SHEBANG):
                # It answers HRANDFIELD of no key with a nil; servers with an empty array.
                known = body.partition("\n")[2].replace('"WITHVALUES")', '"WITHVALUES") or {}')
                args = ("SCRIPT", "LOAD", known)
            case ("INFO", "server"):
                args = ("ECHO", f"# Server\r\nrun_id:{self._run_id}\r\n")
            case ("INFO", "replication"):
                args = ("ECHO", "# Replication\r\nsecond_repl_offset:-1\r\n")
            case _:
                pass
        packed: list[bytes] = super().pack_command(*args)
        return packed

    @override
    async def read_response(
        self,
        disable_decoding: bool = False,
        timeout: float | None = None,
        *,
        disconnect_on_error: bool = True,
        push_request: bool | None = False,
        **kwargs: Packed,
    ) -> Packed:
        """Read a reply, however long it takes: no event loop can wait for `math.inf`."""
        return await super().read_response(
            disable_decoding=disable_decoding, disconnect_on_error=disconnect_on_error
        )


def fake_pool(server: FakeServer, *, run_id: str = "r1") -> ConnectionPool:
    """Connections to a fake server; another `run_id` is a server that was restarted."""
    return ConnectionPool(
        connection_class=FakeStoreConnection,
        server=server,
        run_id=run_id,
        socket_timeout=None,
        protocol=2,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=0,
    )
