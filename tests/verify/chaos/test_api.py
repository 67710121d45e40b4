"""What a client of the chaos writes down is what it was answered."""

import asyncio
import random
from typing import Final

from tests.gateway.arrivals import tell_store
from tests.support.service import serving
from tests.support.store_server import StoreServer
from verify.chaos.api import Api, Records

PAUSE_MS: Final = "1500"


async def test_a_read_that_may_be_behind_is_written_down_as_such() -> None:
    options = {"stale_after_s": 0.2}
    with StoreServer() as store:
        async with serving(store.url, workers=0, gateway=options) as service:
            records = Records()
            api = Api(
                *(service.client.url, "c", records),
                draw=random.Random(1),
                request_s_max=5,
                operation_s_max=5,
            )
            context_id = await service.client.create()
            async with asyncio.timeout(10):
                assert await api.read(context_id) is not None
                tell_store(store, "CLIENT", "PAUSE", PAUSE_MS, "ALL")
                assert await api.read(context_id) is not None
            await api.close()
    assert [read.stale for read in records.reads] == [False, True]
