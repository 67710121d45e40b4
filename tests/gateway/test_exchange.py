"""What is heard of a question while the epoch ends, or while somebody is slow to listen."""

# pyright: reportPrivateUsage=false
# Some tests give a feed its mirror.

import asyncio
from dataclasses import replace
from typing import Final, cast

import pytest

from fsm import AnyEvent, Config, MessageReceived, rests
from gateway import GatewayConfig
from gateway.directory import Directory
from gateway.exchange import Exchange, Question
from gateway.feed import Feed
from gateway.guard import OWNER
from gateway.mirror import Mirror
from gateway.problems import Problem
from storage import Store, StoreUnavailable, View
from tests.support.playbook import (
    CONTEXT_ID,
    RESET,
    STARTED,
    Playbook,
    abandoned,
    cancel,
    failed,
    replied,
    say,
    wants,
)
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


def after(*events: AnyEvent) -> Exchange:
    """An exchange whose context these events have led to, its question among them."""
    feed = Feed(cast("Store", object()), CONTEXT_ID, "ada")
    feed._mirror = Mirror(View(Playbook().given(*events).state, 0, ""), "1")
    return Exchange(feed, Question(SAID, Config()), None, is_applied=True, epoch="1")


ASKED: Final = say("Hello", client_message_id="q")
FAILED: Final = failed("Half of", code="unauthorized")


def test_a_reply_is_the_question_s_own_whatever_becomes_of_the_next() -> None:
    asked = after(ASKED, STARTED, replied("Hi."), say("More?"), STARTED, FAILED)
    assert asked.reply().content == "Hi."


def test_a_question_without_an_answer_says_why() -> None:
    with pytest.raises(Problem) as refused:
        after(ASKED, STARTED, FAILED).reply()
    assert refused.value.type == "model-unavailable"
    for reason, asked in (
        ("a person", after(ASKED, STARTED, replied("", wants("clock")))),
        ("it was stopped", after(ASKED, STARTED, cancel())),
        ("given up", after(ASKED, STARTED, FAILED, RESET)),
    ):
        with pytest.raises(Problem, match=reason) as refused:
            asked.reply()
        assert refused.value.type == "illegal-in-phase"


async def test_a_question_that_was_given_up_before_it_was_said_is_waited_for_no_longer() -> (
    None
):
    asked = replace(after(abandoned()), is_applied=False)
    async with asyncio.timeout(WITHIN_S):
        await asked.answered()
    with pytest.raises(Problem):
        asked.reply()
