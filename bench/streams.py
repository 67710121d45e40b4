"""The loads that watch replies being streamed: first token, many contexts, many viewers."""

import asyncio
from collections import Counter
from time import perf_counter, perf_counter_ns

import orjson

from bench.client import Connection, ConnectionCut, Recording, request
from bench.loads import create, each, model_call, send
from bench.processes import Meter
from bench.spec import DirectStreams, FirstToken, Outcome, Spread, Streams, Target, Viewers

_ENDED = b"reply-ended"
_OPEN_AT_ONCE = 50


async def view(target: Target, context_id: str) -> tuple[Connection, Recording]:
    """Open the stream of a context; the first frame tells that it is subscribed."""
    connection = await Connection.open(target)
    opened = connection.mark(b"event:")
    recording = await connection.stream(
        request(target, "GET", f"/api/contexts/{context_id}/events")
    )
    await opened
    return connection, recording


def text_of(recording: Recording) -> str:
    """Return the concatenated deltas. A restarted reply begins anew."""
    pieces: list[str] = []
    for frame in recording.frames():
        if frame.event == "reply-delta":
            pieces.append(orjson.loads(frame.data)["text"])
        elif frame.event == "reply-restarted":
            pieces.clear()
    return "".join(pieces)


async def first_token(load: FirstToken) -> Outcome:
    """Alternate one turn and one direct call; nothing else is under way meanwhile."""
    target = load.target
    pairs = load.pairs + 10  # warm-up, not counted
    ids = await create(target, -(-pairs // load.turns_per_context), model=load.model)
    poster = await Connection.open(target)
    through: list[float] = []
    straight: list[float] = []
    meter = Meter(load.watched)
    meter.start()
    began = perf_counter()
    for context_id in ids:
        viewer, _ = await view(target, context_id)
        prepared = send(target, context_id, wait_s=None)
        for _ in range(min(load.turns_per_context, pairs - len(through))):
            first, ended = viewer.mark(b"reply-delta"), viewer.mark(_ENDED)
            begun = perf_counter()
            reply = await poster.request(prepared)
            through.append(await first - begun)
            if reply.status != 200:
                raise ConnectionCut(f"send: {reply.status} {reply.body[:300]!r}")
            await ended
            straight.append(await _straight(load))
        viewer.close()
    del through[:10], straight[:10]
    gaps = [a - b for a, b in zip(through, straight, strict=True)]
    return Outcome(
        done=len(through),
        expected=load.pairs,
        seconds=perf_counter() - began,
        spreads={
            "through": Spread.of(through),
            "straight": Spread.of(straight),
            "added": Spread.of(gaps),
        },
        cpu_s=meter.stop(),
    )


async def _straight(load: FirstToken) -> float:
    # A new connection's handshake must not count: the first read is a throw-away call.
    connection = await Connection.open(load.mock)
    await connection.request(model_call(load.mock, "zero"))
    first, ended = connection.mark(b"word00000"), connection.mark(b"[DONE]")
    begun = perf_counter()
    await connection.stream(model_call(load.mock, load.model))
    took_s = await first - begun
    await ended
    connection.close()
    return took_s


async def streams(load: Streams) -> Outcome:
    """Let every context stream one reply to a viewer of its own."""
    target = load.target
    model = f"chunks-{load.chunks}-{load.gap_ms}"
    ids = await create(target, load.contexts, model=model)
    posters = [await Connection.open(target) for _ in range(64)]
    viewers: list[tuple[Connection, Recording]] = []
    for at in range(0, load.contexts, _OPEN_AT_ONCE):
        batch = ids[at : at + _OPEN_AT_ONCE]
        opened: list[tuple[Connection, Recording] | None] = [None] * len(batch)

        async def open_one(
            lane: int,
            batch: list[str] = batch,
            opened: list[tuple[Connection, Recording] | None] = opened,
        ) -> None:
            opened[lane] = await view(target, batch[lane])

        await each(len(batch), open_one)
        viewers += [one for one in opened if one is not None]
    errors: Counter[str] = Counter()
    applied: list[float] = []
    late: list[float] = []
    ideal_s = load.chunks * load.gap_ms / 1000
    expected = "".join(f"word{index:05d} " for index in range(load.chunks))
    begun = perf_counter()
    posted = [0.0] * load.contexts
    ends = [viewer.mark(_ENDED) for viewer, _ in viewers]

    async def post(lane: int) -> None:
        for at in range(lane, load.contexts, len(posters)):
            due = begun + load.start_s * at / load.contexts
            await asyncio.sleep(max(0.0, due - perf_counter()))
            # A burst is due at `begun`, whenever a free connection can carry it.
            posted[at] = begun if load.start_s == 0 else perf_counter()
            reply = await posters[lane].request(send(target, ids[at], wait_s=None))
            applied.append(perf_counter() - posted[at])
            if reply.status != 200:
                errors[f"status {reply.status}"] += 1

    async def finish(at: int) -> None:
        try:
            late.append(await ends[at] - posted[at] - ideal_s)
        except ConnectionCut:
            errors["stream cut"] += 1

    meter = Meter(load.watched)
    meter.start()
    try:
        async with asyncio.timeout(ideal_s + load.start_s + 30), asyncio.TaskGroup() as group:
            group.create_task(each(len(posters), post), name="posts")
            group.create_task(each(load.contexts, finish), name="finishes")
    except TimeoutError:
        errors["stream not finished"] += load.contexts - len(late)
    seconds = perf_counter() - begun
    spent = meter.stop()
    frames = 0
    for viewer, recording in viewers:
        viewer.close()
        frames += sum(frame.event == "reply-delta" for frame in recording.frames())
        if text_of(recording) != expected:
            errors["text differs"] += 1
    return Outcome(
        done=len(late),
        expected=load.contexts,
        errors=errors,
        seconds=seconds,
        spreads={"late": Spread.of(late), "applied": Spread.of(applied)},
        numbers={"delta_frames": frames},
        cpu_s=spent,
    )


async def viewers(load: Viewers) -> Outcome:
    """Let many viewers watch one reply whose chunks carry the time of their emission."""
    target = load.target
    [context_id] = await create(target, 1, model=f"stamped-{load.chunks}-{load.gap_ms}")
    opened: list[tuple[Connection, Recording]] = []
    for at in range(0, load.viewers, _OPEN_AT_ONCE):

        async def open_one(_lane: int) -> None:
            opened.append(await view(target, context_id))

        await each(min(_OPEN_AT_ONCE, load.viewers - at), open_one)
    poster = await Connection.open(target)
    errors: Counter[str] = Counter()
    ends = [viewer.mark(_ENDED) for viewer, _ in opened]
    meter = Meter(load.watched)
    meter.start()
    begun = perf_counter()
    reply = await poster.request(send(target, context_id, wait_s=None))
    if reply.status != 200:
        errors[f"status {reply.status}"] += 1

    async def finish(at: int) -> None:
        try:
            await ends[at]
        except ConnectionCut:
            errors["stream cut"] += 1

    try:
        async with asyncio.timeout(load.chunks * load.gap_ms / 1000 + 30):
            await each(load.viewers, finish)
    except TimeoutError:
        errors["stream not finished"] += 1
    seconds = perf_counter() - begun
    spent = meter.stop()
    offset_s = perf_counter() - perf_counter_ns() / 1e9
    lags: list[float] = []
    done = 0
    for viewer, recording in opened:
        viewer.close()
        stamps = 0
        for frame in recording.frames():
            if frame.event == "reply-delta":
                told = [one for one in orjson.loads(frame.data)["text"].split(";") if one]
                stamps += len(told)
                lags += [frame.at - int(stamp) / 1e9 - offset_s for stamp in told]
        done += stamps == load.chunks
    if done < load.viewers:
        errors["chunks missing"] += load.viewers - done
    return Outcome(
        done=done,
        expected=load.viewers,
        errors=errors,
        seconds=seconds,
        spreads={"lag": Spread.of(lags)},
        cpu_s=spent,
    )


async def direct_streams(load: DirectStreams) -> Outcome:
    """Stream many replies straight from the mock: how late is the mock itself."""
    connections: list[Connection] = []
    for at in range(0, load.streams, _OPEN_AT_ONCE):

        async def open_one(_lane: int) -> None:
            connections.append(await Connection.open(load.target))

        await each(min(_OPEN_AT_ONCE, load.streams - at), open_one)
    prepared = model_call(load.target, load.model)
    late: list[float] = []
    errors: Counter[str] = Counter()

    async def one(at: int) -> None:
        ended = connections[at].mark(b"[DONE]")
        begun = perf_counter()
        try:
            await connections[at].stream(prepared)
            late.append(await ended - begun - load.ideal_s)
        except ConnectionCut:
            errors["stream cut"] += 1

    meter = Meter(load.watched)
    meter.start()
    begun = perf_counter()
    await each(load.streams, one)
    seconds = perf_counter() - begun
    spent = meter.stop()
    for connection in connections:
        connection.close()
    return Outcome(
        done=len(late),
        expected=load.streams,
        errors=errors,
        seconds=seconds,
        spreads={"late": Spread.of(late)},
        cpu_s=spent,
    )
