"""Frames that wait for a request are bounded, and silence is told."""

import pytest

from gateway.app import Gateway
from gateway.feed import Feed
from gateway.openai.transcript import Transcript
from gateway.openai.watch import TurnWatch, Watch, happenings_of
from gateway.stream import Frame
from storage import StoreUnavailable
from tests.gateway.openai.sdk import MODEL, talking

LARGE = Frame("1.1.0", "turn-requested", b"x" * 1_000)
SMALL = Frame("1.2.0", "reply-started", b"x")


async def test_what_was_shown_comes_in_order_and_then_silence() -> None:
    watch = Watch(bytes_max=100)
    watch.show([SMALL])
    watch.show([LARGE])
    assert await watch.next(1) == [SMALL, LARGE]
    assert await watch.next(0.01) == []
    watch.show([SMALL])
    assert await watch.next(1) == [SMALL]


async def test_one_commit_may_be_as_large_as_it_likes_whatever_waits_behind_it() -> None:
    watch = Watch(bytes_max=100)
    watch.show([LARGE])
    for _ in range(100):
        watch.show([SMALL])
    assert await watch.next(1) == [LARGE, *[SMALL] * 100]
    assert await watch.next(0.01) == []


async def test_a_request_that_lets_too_much_wait_is_given_up() -> None:
    watch = Watch(bytes_max=100)
    watch.show([LARGE])
    for _ in range(102):
        watch.show([SMALL])
    assert await watch.next(1) == [LARGE, *[SMALL] * 102]
    assert await watch.next(1) is None


async def test_after_the_end_comes_what_was_shown_before_it() -> None:
    watch = Watch(bytes_max=100)
    watch.show([SMALL])
    watch.close()
    assert await watch.next(1) == [SMALL]
    assert await watch.next(1) is None


def test_a_feed_that_begins_again_ends_the_watch_of_a_turn() -> None:
    with pytest.raises(StoreUnavailable, match="may be lost"):
        happenings_of(Transcript("r", None), [Frame("2.1.0", "reset", b"{}")])


async def test_nobody_listens_any_more_once_a_request_is_answered(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    feeds: list[Feed] = []
    begin = TurnWatch.__init__

    def remember(self: TurnWatch, gateway: Gateway, feed: Feed, request: str) -> None:
        feeds.append(feed)
        begin(self, gateway, feed, request)

    monkeypatch.setattr(TurnWatch, "__init__", remember)
    async with talking(store_url) as talk:
        context_id = await talk.service.client.create()
        # Somebody else keeps the feed open.
        async with talk.service.client.stream(context_id):
            for _ in range(2):  # a repeat begins to listen twice
                await talk.client.chat.completions.create(
                    model=MODEL,
                    messages=[{"role": "user", "content": "Hi."}],
                    extra_headers={"Contextd-Context-Id": context_id, "Idempotency-Key": "k"},
                )
            response = await talk.client.responses.create(model=MODEL, input="Hi.")
            await talk.client.responses.cancel(response.id)
            assert [len(feed.viewers) for feed in feeds] == [1, 1, 1, 0, 0]
