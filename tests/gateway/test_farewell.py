"""How long a stopping gateway stays: as long as somebody may still ask it, and no longer."""

import asyncio

from gateway.serve import LOOK_S
from tests.support.service import serving

LONG_S = 3_600.0


async def test_nobody_waits_where_nobody_is_connected(store_url: str) -> None:
    async with asyncio.timeout(30), serving(store_url, gateway={"farewell_s": LONG_S}):
        pass


async def test_whoever_is_connected_is_answered_and_told_that_it_ends(store_url: str) -> None:
    async with (
        asyncio.timeout(30),
        serving(store_url, gateway={"farewell_s": LONG_S}) as service,
    ):
        (client,) = service.clients
        assert (await client.get("/healthz")).status == 200  # the connection is kept
        service.stop("gateway 0")
        await asyncio.sleep(3 * LOOK_S)
        last = await client.get("/healthz")
        assert (last.status, last.headers["Connection"]) == (200, "close")
