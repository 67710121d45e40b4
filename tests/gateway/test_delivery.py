"""Results are of the epoch in which was asked; what is made for one request goes with it."""

import asyncio

import pytest

from gateway.app import Gateway
from gateway.config import GatewayConfig
from gateway.delivery import forget, read_result, result_of
from gateway.directory import Directory
from storage import Receipt, StoreUnavailable
from tests.support.service import eventually, serving


async def test_a_number_of_another_epoch_is_not_taken_for_that_of_an_action(
    store_url: str,
) -> None:
    async with serving(store_url) as service, asyncio.TaskGroup() as group:
        context_id = await service.client.create()
        renamed = await service.client.act(context_id, "rename", {"title": "Tea"})
        owner, seq = renamed.context["owner"], 1
        store, config = service.stores[0], GatewayConfig()
        directory = Directory(store, config, group)
        gateway = Gateway(config, store, directory, store.meters.clock, asyncio.Event())
        async with directory.follow(context_id, owner) as feed:
            reading = await read_result(gateway, feed, seq, owner, store.epoch)
            assert reading.result is not None
            assert reading.result.outcome == "applied"
            with pytest.raises(StoreUnavailable, match="restarted"):
                await read_result(gateway, feed, seq, owner, "an epoch before")
        directory.close()


@pytest.mark.parametrize("repeated", [True, False])
async def test_what_was_applied_before_anybody_listened_is_asked_for(
    store_url: str, *, repeated: bool
) -> None:
    async with serving(store_url) as service, asyncio.TaskGroup() as group:
        context_id = await service.client.create()
        renamed = await service.client.act(context_id, "rename", {"title": "Tea"})
        store, config = service.stores[0], GatewayConfig()
        directory = Directory(store, config, group)
        gateway = Gateway(config, store, directory, store.meters.clock, asyncio.Event())
        owner, receipt = (
            renamed.context["owner"],
            Receipt(1, repeated, active=False, result=None),
        )
        async with directory.follow(context_id, owner) as feed, asyncio.timeout(30):
            result = await result_of(
                gateway, feed, owner, store.epoch, receipt, is_followed=repeated
            )
        assert (result.outcome, result.version) == ("applied", renamed.context["version"])
        directory.close()


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
