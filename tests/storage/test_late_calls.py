"""Calls of an abandoned connection that the store executes late, after others went on.

Each test takes the very command that was sent, and has it executed a second time.
"""

import asyncio
from collections.abc import Sequence

import pytest
from typing_extensions import override

from storage import Draft, Store
from storage.link import Argument, Link, Reply
from storage.scripts import Scripts
from tests.storage.arranging import APPLIED, append, create, deliver, next_commit, own, say_mail
from tests.storage.conftest import Backend
from tests.support.playbook import CONTEXT_ID, STARTED, Playbook, replied, say


class Recording(Scripts):
    """Remembers what was sent."""

    def __init__(self, scripts: Scripts) -> None:
        self.__dict__.update(vars(scripts))
        self.sent: list[tuple[str, Sequence[Argument], tuple[Argument, ...]]] = []

    @override
    def send(
        self, link: Link, name: str, keys: Sequence[Argument], *args: Argument
    ) -> asyncio.Future[Reply]:
        self.sent.append((name, keys, args))
        return super().send(link, name, keys, *args)


@pytest.fixture
def recorded(store: Store) -> Recording:
    """The scripts of the store, which from here on are remembered."""
    recorded = Recording(store.scripts)
    store.admissions.scripts = store.ownership.scripts = recorded
    return recorded


async def late(store: Store, recorded: Recording, name: str, *, nth: int = 0) -> object:
    """Execute a call again, as it was sent."""
    calls = [(keys, args) for sent, keys, args in recorded.sent if sent == name]
    where, args = calls[nth]
    return await store.scripts.run(store.link, name, where, *args)


async def test_a_late_activation_does_not_fence_the_newer_one(
    store: Store, recorded: Recording
) -> None:
    book = Playbook()
    await create(store, book.log[0])
    await own(store)
    newer = await own(store)
    assert await late(store, recorded, "activate") == [b"stale"]
    assert await late(store, recorded, "activate", nth=1) == [b"stale"]
    await store.ownership.commit(next_commit(book.given(say()), newer, base=1))


async def test_a_late_passivation_does_not_give_away_a_context_that_went_on(
    store: Store, recorded: Recording
) -> None:
    book = Playbook()
    await create(store, book.log[0])
    owned = await own(store)
    await deliver(store)
    assert not await store.ownership.passivate(CONTEXT_ID, owned.token, "w1", version=1)
    await store.ownership.commit(
        next_commit(book.given(say()), owned, base=1, acknowledged=1, results={1: APPLIED})
    )
    assert await late(store, recorded, "passivate") == b"fenced"
    assert (
        await store.admissions.deliver(CONTEXT_ID, "ada", say_mail(), key="", digest="")
    ).active


async def test_a_late_draft_frame_is_not_text_of_the_next_reply(
    store: Store, recorded: Recording
) -> None:
    book = Playbook()
    await create(store, book.log[0])
    owned = await own(store)
    book.given(say(), STARTED)
    await store.ownership.commit(
        next_commit(book, owned, base=1, draft=Draft("start", 2, "Gu"))
    )
    assert await append(store, owned, 2, "ten", version=3) == b"appended"
    book.given(replied("Guten"), say(), STARTED)
    await store.ownership.commit(
        next_commit(book, owned, base=3, draft=Draft("start", 2, "Ta"))
    )
    assert await late(store, recorded, "draft") == b"conflict"
    reading = await store.read(CONTEXT_ID, "ada")
    assert reading.view is not None
    assert reading.view.draft == "Ta"


async def test_a_late_commit_changes_nothing(store: Store, recorded: Recording) -> None:
    book = Playbook()
    await create(store, book.log[0])
    owned = await own(store)
    await store.ownership.commit(next_commit(book.given(say()), owned, base=1))
    assert await late(store, recorded, "commit") == [b"repeated"]
    await store.ownership.commit(
        next_commit(book.given(STARTED), owned, base=2, draft=Draft("start"))
    )
    assert await late(store, recorded, "commit") == [b"conflict", 3]


async def test_an_activation_of_another_process_is_not_stale_whatever_its_number(
    backend: Backend,
) -> None:
    async with backend.connect() as one:
        await create(one)
        for _ in range(3):
            await own(one)
    async with backend.connect() as another:
        assert (await another.ownership.activate(CONTEXT_ID, "w1")).token.endswith(".4")
