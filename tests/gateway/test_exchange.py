"""What is heard of a question while the epoch ends, or while somebody is slow to listen."""

import asyncio

import pytest

from fsm import Config, MessageReceived, rests
from gateway import GatewayConfig
from gateway.directory import Directory
from gateway.exchange import Exchange, Question
from gateway.guard import OWNER
from storage import StoreUnavailable
from tests.support.service import WITHIN_S, serving

SAID = MessageReceived(at_ms=1, content="Hello", client_message_id="q")


async def test_a_question_of_an_epoch_that_is_over_is_waited_for_no_longer(
    store_url: str,
) -> None:
    async with serving(store_url, workers=0) as service, asyncio.TaskGroup() as group:
        (store,) = service.stores
        directory = Directory(store, GatewayConfig(), group)
        context_id = await service.client.create()
        async with directory.follow(context_id, OWNER) as feed:
            asked = Exchange(
                feed, Question(SAID, Config()), None, is_applied=False, epoch="before"
            )
            async with asyncio.timeout(WITHIN_S):
                await asked.answered()
            with pytest.raises(StoreUnavailable, match="restarted"):
                asked.reply()
            with pytest.raises(StoreUnavailable, match="restarted"):
                await anext(asked.pieces(heartbeat_s=1))
        directory.close()


async def test_a_listener_for_whom_the_turn_ends_meanwhile_hears_the_rest(
    store_url: str,
) -> None:
    async with serving(store_url) as service, asyncio.TaskGroup() as group:
        (store,) = service.stores
        directory = Directory(store, GatewayConfig(), group)
        context_id = await service.client.create()
        async with directory.follow(context_id, OWNER) as feed, asyncio.timeout(WITHIN_S):
            said = {"content": "/chunks 50 20", "client_message_id": SAID.client_message_id}
            await service.client.act(context_id, "send_message", said)
            asked = Exchange(
                feed, Question(SAID, Config()), None, is_applied=True, epoch=store.epoch
            )
            shown: list[str] = []
            async for piece in asked.pieces(heartbeat_s=WITHIN_S):
                assert piece is not None
                shown.append(piece.text)
                await feed.wait_until(lambda mirror: rests(mirror.view.state))
            assert "".join(shown) == asked.reply().content
        directory.close()
