"""The load of many dashboards: what each is shown of turns, how late, in which order."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from itertools import pairwise
from time import perf_counter

import aiohttp
import orjson

from bench.client import Connection
from bench.loads import create, each, send
from bench.processes import Meter
from bench.spec import Dashboards, Outcome, Spread, Target

PATH = "/api/v1/ws/dashboard"
_OPEN_AT_ONCE = 50
_END = b'"turn_ended"'
_SHOWN_S_MAX = 10.0
"""How long the last announcement may take to reach everybody."""


class Dashboard:
    """One viewer: keeps what arrives with its time (Unix, s), and reads it afterwards."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._arrived: list[tuple[float, bytes]] = []

    async def see(self, turns: int) -> bool:
        """Keep what arrives until that many turns have ended; False: the connection has."""
        ended = 0
        async for heard in self._socket:
            if heard.type is not aiohttp.WSMsgType.TEXT:
                return False
            text = str(heard.data).encode()
            self._arrived.append((time.time_ns() / 1e9, text))
            ended += _END in text[:40]
            if ended == turns:
                return True
        return False

    def announced(self) -> list[tuple[int, float]]:
        """Number of each announcement, and how late it came in seconds."""
        found: list[tuple[int, float]] = []
        for at, text in self._arrived:
            told = orjson.loads(text)
            if told["type"] not in {"connection_ack", "stats_update", "personal"}:
                made_at = datetime.fromisoformat(told["timestamp"]).timestamp()
                found.append((told["seq"], at - made_at))
        return found


def problems(shown: Sequence[Sequence[int]]) -> Counter[str]:
    """What is wrong with the numbers of what they were shown: all of them, in order."""
    wrong: Counter[str] = Counter()
    for numbers in shown:
        gap = any(after != before + 1 for before, after in pairwise(numbers))
        wrong["announcement missing or out of order"] += gap
        wrong["not shown the same"] += numbers != shown[0]
    return +wrong


async def connect(
    session: aiohttp.ClientSession, target: Target, count: int
) -> list[Dashboard]:
    """Open so many dashboards, some at a time."""
    headers = {"Authorization": f"Bearer {target.token}"} if target.token is not None else {}
    url = f"ws://{target.host}:{target.port}{PATH}"
    opened: list[Dashboard] = []

    async def one(_lane: int) -> None:
        # Answers the server's pings by itself.
        opened.append(Dashboard(await session.ws_connect(url, headers=headers)))

    for at in range(0, count, _OPEN_AT_ONCE):
        await each(min(_OPEN_AT_ONCE, count - at), one)
    return opened


async def dashboards(load: Dashboards) -> Outcome:
    """Let many dashboards watch turns that are begun at a steady rate."""
    target = load.target
    ids = await create(target, load.contexts, model="zero")
    applied: list[float] = []
    errors: Counter[str] = Counter()
    turns = round(load.sends_per_s * load.run_s)
    done = 0
    meter = Meter(load.watched)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        opened = await connect(session, target, load.dashboards)
        poster = await Connection.open(target)
        meter.start()
        begun = perf_counter()

        async def post() -> None:
            for n in range(turns):
                await asyncio.sleep(max(0.0, begun + n / load.sends_per_s - perf_counter()))
                started = perf_counter()
                reply = await poster.request(send(target, ids[n % len(ids)], wait_s=None))
                applied.append(perf_counter() - started)
                if reply.status != 200:
                    errors[f"status {reply.status}"] += 1

        async def see(lane: int) -> None:
            nonlocal done
            if await opened[lane].see(turns):
                done += 1

        with suppress(TimeoutError):
            async with asyncio.timeout(load.run_s + _SHOWN_S_MAX), asyncio.TaskGroup() as group:
                group.create_task(each(len(opened), see), name="dashboards")
                group.create_task(post(), name="posts")
        seconds = perf_counter() - begun
        spent = meter.stop()
        poster.close()
    announced = [each_one.announced() for each_one in opened]
    return Outcome(
        done=done,
        expected=load.dashboards,
        errors=errors + problems([[seq for seq, _ in numbers] for numbers in announced]),
        seconds=seconds,
        spreads={
            "applied": Spread.of(applied),
            "lag": Spread.of([lag_s for numbers in announced for _, lag_s in numbers]),
        },
        numbers={"announcements": len(announced[0])},
        cpu_s=spent,
    )
