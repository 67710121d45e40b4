"""The loads of plain requests: turns, sends, polls, an endpoint, the mock itself."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter

import orjson

from bench.client import Connection, ConnectionCut, Reply, request
from bench.processes import Meter
from bench.spec import (
    Direct,
    Endpoint,
    Idle,
    Outcome,
    Polls,
    Sends,
    Spread,
    Target,
    Turns,
)

SAY = {"content": "Say ok."}
MODEL_PATH = "/v1/chat/completions"


def model_call(target: Target, model: str) -> bytes:
    """Return the request that asks the mock itself, streamed."""
    body = {"model": model, "messages": [{"role": "user", **SAY}], "stream": True}
    return request(target, "POST", MODEL_PATH, body=body)


def send(target: Target, context_id: str, *, wait_s: int | None) -> bytes:
    """Return a send_message; the answer shows two messages, as to a client with the rest."""
    path = f"/api/contexts/{context_id}/actions/send_message?messages=2"
    prefer = f"Prefer: wait={wait_s}\r\n" if wait_s is not None else ""
    return request(target, "POST", path, body=SAY, headers=prefer)


async def each(workers: int, work: Callable[[int], Awaitable[None]]) -> None:
    """Run `work(0) .. work(workers - 1)` side by side."""

    async def run(lane: int) -> None:
        await work(lane)

    async with asyncio.TaskGroup() as group:
        for lane in range(workers):
            group.create_task(run(lane), name=f"lane-{lane}")


async def create(target: Target, count: int, *, model: str | None = None) -> list[str]:
    """Create contexts over a few connections and return their ids.

    Raises:
        ConnectionCut: The server refused one; without its contexts no load can go on.
    """
    body = {} if model is None else {"config": {"model": model}}
    prepared = request(target, "POST", "/api/contexts", body=body)
    ids: list[str] = []
    lanes = min(16, count)

    async def lane(at: int) -> None:
        connection = await Connection.open(target)
        for _ in range(at, count, lanes):
            reply = await connection.request(prepared)
            if reply.status != 201:
                raise ConnectionCut(f"create: {reply.status} {reply.body[:300]!r}")
            ids.append(orjson.loads(reply.body)["context"]["id"])
        connection.close()

    await each(lanes, lane)
    return ids


def answered(reply: Reply) -> str | None:
    """Return what is wrong with the answer of a waited send, None if it holds the reply."""
    if reply.status != 200:
        return f"status {reply.status}"
    told = orjson.loads(reply.body)
    if told["status"] != "idle":
        return f"phase {told['status']}"
    last = told["context"]["messages"][-1]
    if last["role"] != "assistant" or last["content"] != "ok":
        return "wrong reply"
    return None


async def turns(load: Turns) -> Outcome:
    """Send, wait for the reply, send again, on `lanes` contexts at a time."""
    target = load.target
    per_context = min(load.turns_per_context, load.turns)
    count = -(-load.turns // per_context)
    ids = await create(target, count, model=load.model)
    warm = await create(target, load.lanes, model=load.model)
    errors: Counter[str] = Counter()
    times: list[float] = []
    deadline = perf_counter() + load.run_s_max

    async def drive(connection: Connection, context_id: str, rounds: int) -> None:
        prepared = send(target, context_id, wait_s=10)
        for _ in range(rounds):
            begun = perf_counter()
            if begun > deadline:
                return
            reply = await connection.request(prepared)
            took_s = perf_counter() - begun
            problem = answered(reply)
            if problem is None:
                times.append(took_s)
            else:
                errors[problem] += 1

    connections = [await Connection.open(target) for _ in range(load.lanes)]
    share = max(1, load.warmup_turns // load.lanes)
    await each(load.lanes, lambda lane: drive(connections[lane], warm[lane], share))
    times.clear()

    async def lane(at: int) -> None:
        while ids and perf_counter() < deadline:
            await drive(connections[at], ids.pop(), per_context)

    meter = Meter(load.watched)
    meter.start()
    begun = perf_counter()
    deadline = begun + load.run_s
    await each(load.lanes, lane)
    seconds = perf_counter() - begun
    return Outcome(
        done=len(times),
        errors=errors,
        seconds=seconds,
        spreads={"turn": Spread.of(times)},
        cpu_s=meter.stop(),
    )


async def sends(load: Sends) -> Outcome:
    """Take the time until a send is applied; a context sends again when its turn rests."""
    target = load.target
    ids = await create(target, load.contexts)
    errors: Counter[str] = Counter()
    times: list[float] = []
    late: list[float] = []
    meter = Meter(load.watched)
    warmup_s = min(1.0, load.run_s / 4)
    gap_s = load.contexts / load.sends_per_s if load.sends_per_s is not None else None
    begun = perf_counter() + warmup_s

    async def lane(at: int) -> None:
        poster = await Connection.open(target)
        viewer = await Connection.open(target)
        await viewer.stream(request(target, "GET", f"/api/contexts/{ids[at]}/events"))
        prepared = send(target, ids[at], wait_s=None)
        due = begun - warmup_s + (gap_s or 0.0) * at / load.contexts
        while perf_counter() < begun + load.run_s:
            if gap_s is not None:
                await asyncio.sleep(max(0.0, due - perf_counter()))
                late.append(perf_counter() - due)
                due += gap_s
            rested = viewer.mark(b"reply-ended")
            started = perf_counter()
            reply = await poster.request(prepared)
            took_s = perf_counter() - started
            if reply.status != 200:
                errors[f"status {reply.status}"] += 1
                break
            if started >= begun:
                times.append(took_s)
            await rested
        viewer.close()
        poster.close()

    async def metered() -> None:
        await asyncio.sleep(max(0.0, begun - perf_counter()))
        meter.start()

    async with asyncio.TaskGroup() as group:
        group.create_task(metered(), name="meter")
        group.create_task(each(load.contexts, lane), name="lanes")
    return Outcome(
        done=len(times),
        errors=errors,
        seconds=perf_counter() - begun,
        spreads={"applied": Spread.of(times), "client-late": Spread.of(late)},
        cpu_s=meter.stop(),
    )


async def hammer(
    load: Endpoint | Direct | Polls, prepared: Sequence[bytes], *, status: int, has: bytes = b""
) -> Outcome:
    """Send the requests round robin on all connections for the time of the load."""
    errors: Counter[str] = Counter()
    times: list[float] = []
    deadline = perf_counter() + min(1.0, load.run_s / 4)
    body_bytes = 0

    async def lane(at: int) -> None:
        nonlocal body_bytes
        connection = await Connection.open(load.target)
        while (begun := perf_counter()) < deadline:
            reply = await connection.request(prepared[at % len(prepared)])
            took_s = perf_counter() - begun
            at += 1
            if reply.status == status and has in reply.body:
                times.append(took_s)
            else:
                errors[f"status {reply.status}"] += 1
            body_bytes = len(reply.body)
        connection.close()

    await each(load.connections, lane)  # warm-up
    times.clear()
    meter = Meter(load.watched)
    meter.start()
    begun = perf_counter()
    deadline = begun + load.run_s
    await each(load.connections, lane)
    return Outcome(
        done=len(times),
        errors=errors,
        seconds=perf_counter() - begun,
        spreads={"request": Spread.of(times)},
        numbers={"body_bytes": body_bytes},
        cpu_s=meter.stop(),
    )


async def endpoint(load: Endpoint) -> Outcome:
    """GET one path over and over."""
    return await hammer(load, [request(load.target, "GET", load.path)], status=200)


async def direct(load: Direct) -> Outcome:
    """Call the mock over and over, each call a turn without a server between."""
    prepared = [model_call(load.target, load.model)]
    return await hammer(load, prepared, status=200, has=b"[DONE]")


async def polls(load: Polls) -> Outcome:
    """GET the state, plain (200) or with the present entity tag (304)."""
    target = load.target
    ids = await create(target, load.contexts)
    etags = [""] * load.contexts

    async def fill(at: int) -> None:
        connection = await Connection.open(target)
        prepared = send(target, ids[at], wait_s=10)
        for _ in range(load.messages // 2):
            problem = answered(await connection.request(prepared))
            if problem is not None:
                raise ConnectionCut(f"filling a context: {problem}")
        state = await connection.request(
            request(target, "GET", f"/api/contexts/{ids[at]}/state")
        )
        if len(orjson.loads(state.body)["context"]["messages"]) != load.messages:
            raise ConnectionCut("the state does not show all messages")
        etags[at] = state.etag
        connection.close()

    await each(load.contexts, fill)
    prepared = [
        request(
            target,
            "GET",
            f"/api/contexts/{context_id}/state",
            headers=f"If-None-Match: {etag}\r\n" if load.conditional else "",
        )
        for context_id, etag in zip(ids, etags, strict=True)
    ]
    return await hammer(load, prepared, status=304 if load.conditional else 200)


async def idle(load: Idle) -> Outcome:
    """Give many contexts one turn each, and leave them."""
    target = load.target
    ids = await create(target, load.contexts, model="zero")
    errors: Counter[str] = Counter()
    done = 0
    begun = perf_counter()

    async def lane(at: int) -> None:
        nonlocal done
        connection = await Connection.open(target)
        for context_id in ids[at :: load.lanes]:
            problem = answered(await connection.request(send(target, context_id, wait_s=10)))
            if problem is None:
                done += 1
            else:
                errors[problem] += 1
        connection.close()

    await each(load.lanes, lane)
    return Outcome(
        done=done, expected=load.contexts, errors=errors, seconds=perf_counter() - begun
    )
