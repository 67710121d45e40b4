"""A load process: one load as JSON on stdin, one outcome as JSON on stdout, then it ends."""

import asyncio
import sys
from typing import cast

import uvloop
from pydantic import TypeAdapter

from bench import dashboards, loads, streams
from bench.client import ConnectionCut
from bench.processes import die_with_parent
from bench.spec import (
    AnyLoad,
    Dashboards,
    Direct,
    DirectStreams,
    Endpoint,
    FirstToken,
    Idle,
    Outcome,
    Polls,
    Sends,
    Streams,
    Turns,
    Viewers,
)

_LOAD: TypeAdapter[AnyLoad] = TypeAdapter(AnyLoad)


async def _run(load: AnyLoad) -> Outcome:
    match load:
        case Endpoint():
            return await loads.endpoint(load)
        case Direct():
            return await loads.direct(load)
        case DirectStreams():
            return await streams.direct_streams(load)
        case Turns():
            return await loads.turns(load)
        case Sends():
            return await loads.sends(load)
        case FirstToken():
            return await streams.first_token(load)
        case Streams():
            return await streams.streams(load)
        case Polls():
            return await loads.polls(load)
        case Viewers():
            return await streams.viewers(load)
        case Dashboards():
            return await dashboards.dashboards(load)
        case Idle():
            return await loads.idle(load)


async def drive(load: AnyLoad) -> Outcome:
    """Run one load; what cut it short is its error, so that the other scenarios go on."""
    try:
        async with asyncio.timeout(load.run_s_max):
            return await _run(load)
    except TimeoutError:
        return Outcome(done=0, errors={f"not done after {load.run_s_max:.0f} s": 1}, seconds=0)
    except (ConnectionCut, OSError, ExceptionGroup) as error:
        first: BaseException = error
        while isinstance(first, BaseExceptionGroup):
            first = cast("BaseExceptionGroup[BaseException]", first).exceptions[0]
        if not isinstance(first, (ConnectionCut, OSError)):
            raise
        return Outcome(done=0, errors={f"{type(first).__name__}: {first}"[:400]: 1}, seconds=0)


if __name__ == "__main__":
    die_with_parent()
    outcome = uvloop.run(drive(_LOAD.validate_json(sys.stdin.buffer.read())))
    sys.stdout.write(outcome.model_dump_json())
