"""Contexts that are made for one request go with it, however it ends."""

import asyncio

import pytest

from gateway.app import Gateway
from gateway.config import GatewayConfig
from gateway.delivery import forget
from gateway.directory import Directory
from tests.support.service import eventually, serving


@pytest.mark.parametrize("steps", range(1, 8))
async def test_a_context_is_forgotten_although_the_request_is_cancelled_meanwhile(
    store_url: str, steps: int
) -> None:
    async with serving(store_url) as service, asyncio.TaskGroup() as group:
        context_id = await service.client.create()
        owner = (await service.client.state(context_id))["owner"]
        store, config = service.stores[0], GatewayConfig()
        directory = Directory(store, config, group)
        gateway = Gateway(config, store, directory, store.meters.clock, asyncio.Event())
        forgetting = group.create_task(forget(gateway, owner, context_id))
        for _ in range(steps):
            await asyncio.sleep(0)
        forgetting.cancel()

        async def is_gone() -> bool:
            return (await service.client.get(f"/api/contexts/{context_id}")).status == 404

        await eventually(is_gone)
