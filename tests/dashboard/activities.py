"""A service whose activity is kept, and what it tells of that."""

import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence

from dashboard import ActivityConfig
from gateway import Extension
from runtime.activity import activity_extension
from storage import Store
from tests.support.service import Client, Json, Service, serving

WRITE_S = 0.02


def active(**options: object) -> Callable[[Store], Sequence[Extension]]:
    """The extension, with options of its configuration."""
    config = ActivityConfig.model_validate({"activity_write_s": WRITE_S, **options})
    return lambda store: (activity_extension(config, store),)


@contextlib.asynccontextmanager
async def watched(store_url: str, **options: object) -> AsyncGenerator[Service, None]:
    """A service of one gateway, and a worker, whose activity is kept."""
    async with serving(store_url, extensions=active(**options)) as service:
        yield service


async def activity(client: Client) -> Json:
    answer = await client.get("/api/v1/metrics/activity")
    assert answer.status == 200, answer
    return answer.json


async def recent(client: Client) -> list[Json]:
    answer = await client.get("/api/v1/activity/recent?limit=1000")
    assert answer.status == 200, answer
    found: list[Json] = answer.json["events"]
    return found


async def stored(client: Client) -> list[Json]:
    answer = await client.get("/api/v1/metrics/events?limit=1000")
    assert answer.status == 200, answer
    found: list[Json] = answer.json["events"]
    return found
