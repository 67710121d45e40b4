"""A feed is of one epoch of the store, and what is wrong with it concerns its context alone."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence

import orjson
import pytest

from fsm import ContextDeleted
from gateway.config import GatewayConfig
from gateway.directory import Directory
from gateway.feed import COMPACTED
from gateway.stream import Frame
from storage import (
    ContextMissing,
    ContextUnreadable,
    StorageConfig,
    Store,
    StoreUnavailable,
    connect,
)
from tests.storage.arranging import APPLIED, create, created, listening, next_commit, own
from tests.support.playbook import BEGAN_MS, CONTEXT_ID, Playbook, rename
from tests.support.store_faults import lose

OTHER_ID = CONTEXT_ID[:-1] + ("1" if CONTEXT_ID[-1] != "1" else "2")
LATER = "9999999999999"
"""An epoch that the store may come to."""


@pytest.fixture
async def store(store_url: str) -> AsyncGenerator[Store, None]:
    config = StorageConfig(durability="standard")
    async with connect(store_url, config) as store:
        await create(store)
        yield store


@contextlib.asynccontextmanager
async def open_directory(store: Store) -> AsyncGenerator[Directory, None]:
    async with asyncio.TaskGroup() as group:
        directory = Directory(store, GatewayConfig(), group)
        try:
            yield directory
        finally:
            directory.close()


async def test_a_result_is_told_only_in_the_epoch_of_its_action(store: Store) -> None:
    book = Playbook()
    owned = await own(store)
    async with open_directory(store) as directory, directory.follow(CONTEXT_ID, "ada") as feed:
        commit = next_commit(book.given(rename("new")), owned, base=1, results={1: APPLIED})
        await store.ownership.commit(commit)
        assert await feed.result_of(store.epoch, 1) == APPLIED
        assert feed.result_of(store.epoch, 1).done()
        # Its number may have been given again where the store was set back.
        assert not feed.result_of(LATER, 1).done()


async def test_whoever_waits_for_a_result_is_told_that_its_epoch_is_over(store: Store) -> None:
    async with open_directory(store) as directory, directory.follow(CONTEXT_ID, "ada") as feed:
        waiting, given_up = feed.result_of(store.epoch, 1), feed.result_of(store.epoch, 1)
        given_up.cancel()
        store.epoch = LATER
        assert feed.known is None
        feed.read_again()
        with pytest.raises(StoreUnavailable):
            await waiting
        await feed.wait_until(lambda mirror: mirror.epoch == LATER)
        assert feed.known is not None


async def test_nobody_waits_for_an_action_behind_the_deletion_of_its_context(
    store: Store,
) -> None:
    book = Playbook()
    owned = await own(store)
    async with open_directory(store) as directory, directory.follow(CONTEXT_ID, "ada") as feed:
        before = feed.result_of(store.epoch, 2)
        deleted = ContextDeleted(at_ms=BEGAN_MS)
        await store.ownership.commit(
            next_commit(book.given(deleted), owned, base=1, results={1: APPLIED})
        )
        assert await before is None
        assert feed.result_of(store.epoch, 1).result() == APPLIED
        assert feed.result_of(store.epoch, 3).done()
        await feed.wait_until(lambda _mirror: False)


async def test_what_was_heard_last_is_known_until_it_is_deleted_or_may_be_lost(
    store: Store,
) -> None:
    book = Playbook()
    owned = await own(store)
    async with open_directory(store) as directory, directory.follow(CONTEXT_ID, "ada") as feed:
        epoch = store.epoch
        assert directory.last_known(CONTEXT_ID, "ada") is feed.mirror
        store.epoch = LATER
        assert directory.last_known(CONTEXT_ID, "ada") is None
        store.epoch = epoch
        deleted = ContextDeleted(at_ms=BEGAN_MS)
        await store.ownership.commit(next_commit(book.given(deleted), owned, base=1))
        await feed.wait_until(lambda _mirror: False)
        assert directory.last_known(CONTEXT_ID, "ada") is None


async def test_a_frame_of_an_epoch_that_is_over_is_not_shown(store: Store) -> None:
    book = Playbook()
    owned = await own(store)
    async with open_directory(store) as directory, directory.follow(CONTEXT_ID, "ada") as feed:
        feed.mirror.epoch = store.epoch = LATER  # the store was set back to version 1
        commit = next_commit(book.given(rename("lost")), owned, base=1, results={1: APPLIED})
        await store.ownership.commit(commit)  # its frame fits, by its number
        async with listening(store, "later"):  # so what was published before has been heard
            pass
        assert feed.mirror.version == 1


async def test_a_feed_that_is_stopped_before_it_was_open_is_not_used(store: Store) -> None:
    async with open_directory(store) as directory:

        async def follow() -> None:
            with pytest.raises(StoreUnavailable):
                async with directory.follow(CONTEXT_ID, "ada"):
                    raise AssertionError("it was never open")

        async with asyncio.TaskGroup() as group:
            group.create_task(follow())
            await asyncio.sleep(0)
            directory.close()


async def test_a_context_that_cannot_be_shown_is_nobody_elses_affair(store: Store) -> None:
    await create(store, created(OTHER_ID))
    await store.link.call("XADD", f"ctx:{{{CONTEXT_ID}}}:log", "2-0", "e", "no event")
    await store.link.call("HSET", f"ctx:{{{CONTEXT_ID}}}:meta", "version", 2)
    async with open_directory(store) as directory:
        with pytest.raises(ContextUnreadable):
            async with directory.follow(CONTEXT_ID, "ada"):
                raise AssertionError("it cannot be read")
        async with directory.follow(OTHER_ID, "ada") as feed:
            assert feed.mirror.version == 1


async def test_a_context_that_can_be_shown_no_longer_is_not_waited_for(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object, **_options: object) -> None:
        raise RuntimeError("a fault of ours")

    async with open_directory(store) as directory, directory.follow(CONTEXT_ID, "ada") as feed:
        monkeypatch.setattr(Store, "read", fail)
        feed.read_again()
        with pytest.raises(StoreUnavailable, match="cannot be shown"):
            await feed.wait_until(lambda mirror: mirror.version == 2)


@pytest.mark.parametrize(("context_id", "owner"), [(OTHER_ID, "ada"), (CONTEXT_ID, "bob")])
async def test_who_follows_a_context_of_nobody_or_of_another_is_told_that_it_is_missing(
    store: Store, context_id: str, owner: str
) -> None:
    async with open_directory(store) as directory:
        with pytest.raises(ContextMissing):
            async with directory.follow(context_id, owner):
                raise AssertionError("there is nothing to follow")


async def test_who_has_given_up_waiting_does_not_keep_a_state_from_the_others(
    store: Store,
) -> None:
    book = Playbook()
    owned = await own(store)
    async with (
        open_directory(store) as directory,
        directory.follow(CONTEXT_ID, "ada") as feed,
        asyncio.TaskGroup() as group,
    ):
        waits = [
            group.create_task(feed.wait_until(lambda mirror: mirror.version == 2))
            for _ in range(2)
        ]
        await asyncio.sleep(0)
        waits[0].cancel()
        await store.ownership.commit(next_commit(book.given(rename("new")), owned, base=1))
        await waits[1]


class Seen:
    """A viewer that keeps what it is shown."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []

    def show(self, frames: Sequence[Frame]) -> None:
        self.frames += frames

    def close(self) -> None:
        raise AssertionError("nothing ends it")


async def test_viewers_of_a_feed_that_has_missed_what_was_compacted_get_one_reset(
    store: Store,
) -> None:
    book = Playbook()
    owned = await own(store)
    async with open_directory(store) as directory, directory.follow(CONTEXT_ID, "ada") as feed:
        viewer = Seen()
        feed.viewers.add(viewer)
        lose(store.subscriber, lambda _: True)
        for title in ("Tea", "Coffee", "Milk"):
            before = book.state.version
            await store.ownership.commit(
                next_commit(book.given(rename(title)), owned, base=before)
            )
        await store.logs.compact(owned.token, book.state, first=book.state.version)
        feed.read_again()
        await feed.wait_until(lambda mirror: mirror.version == book.state.version)
        (reset,) = viewer.frames
        assert (reset.event, reset.id) == ("reset", feed.mirror.cursor)
        assert orjson.loads(reset.data)["reason"] == COMPACTED
        feed.viewers.discard(viewer)
