"""What a deleted context leaves behind where tombstones are on: for its owner, for a while."""

import pytest

from storage import ContextGone, ContextMissing, KeyReused, Mail, Store, keys
from tests.storage.arranging import APPLIED, create, kept, next_commit, own
from tests.storage.conftest import Backend
from tests.support.playbook import CONTEXT_ID, DELETE, Playbook

ON = {"tombstones": True, "tombstone_days": 2}
DELETION = Mail(event=DELETE.model_copy(update={"at_ms": 7}))


async def delete(store: Store, *, key: str = "k") -> None:
    """A context that was made and deleted."""
    book = Playbook()
    await create(store, book.log[0])
    receipt = await store.admissions.deliver(CONTEXT_ID, "ada", DELETION, key=key, digest="d")
    owned = await own(store)
    commit = next_commit(
        book.given(DELETE),
        owned,
        base=1,
        acknowledged=receipt.seq,
        results={receipt.seq: APPLIED},
    )
    await store.ownership.delete(commit, "w1")


async def peeked(store: Store, owner: str) -> tuple[int, int]:
    return store.peeked(CONTEXT_ID, await store.peek(CONTEXT_ID, owner))


async def test_the_former_owner_is_told_that_it_is_gone_and_others_nothing(
    backend: Backend,
) -> None:
    async with backend.connect(**ON) as store:
        await delete(store)
        with pytest.raises(ContextGone):
            await store.read(CONTEXT_ID, "ada")
        with pytest.raises(ContextGone):
            await peeked(store, "ada")
        for stranger in ("eve", ""):
            with pytest.raises(ContextMissing) as missing:
                await store.read(CONTEXT_ID, stranger)
            assert type(missing.value) is ContextMissing
            with pytest.raises(ContextMissing) as missing:
                await peeked(store, stranger)
            assert type(missing.value) is ContextMissing
            with pytest.raises(ContextMissing) as missing:
                await store.admissions.deliver(
                    CONTEXT_ID, stranger, DELETION, key="k", digest="d"
                )
            assert type(missing.value) is ContextMissing


async def test_the_deletion_repeated_under_its_key_is_answered_as_done(
    backend: Backend,
) -> None:
    async with backend.connect(**ON) as store:
        await delete(store)
        receipt = await store.admissions.deliver(
            CONTEXT_ID, "ada", DELETION, key="k", digest="d"
        )
        assert (receipt.seq, receipt.repeated, receipt.active) == (1, True, False)
        assert receipt.result == APPLIED
        with pytest.raises(KeyReused):
            await store.admissions.deliver(CONTEXT_ID, "ada", DELETION, key="k", digest="other")
        for key in ("", "another"):
            with pytest.raises(ContextGone):
                await store.admissions.deliver(CONTEXT_ID, "ada", DELETION, key=key, digest="d")


async def test_a_deletion_without_a_key_has_none_to_repeat(backend: Backend) -> None:
    async with backend.connect(**ON) as store:
        await delete(store, key="")
        with pytest.raises(ContextGone):
            await store.admissions.deliver(CONTEXT_ID, "ada", DELETION, key="", digest="d")


async def test_a_tombstone_is_all_that_stands_and_it_falls(backend: Backend) -> None:
    async with backend.connect(**ON) as store:
        await delete(store)
        (gone,) = keys.of_context(CONTEXT_ID, "gone")
        assert {key for key in await kept(store) if "ctx" in key} == {gone}
        ttl_s = await store.link.call("TTL", gone)
        assert isinstance(ttl_s, int)
        assert 2 * 86_400 - 60 < ttl_s <= 2 * 86_400


async def test_without_the_setting_nothing_stands(backend: Backend) -> None:
    async with backend.connect() as store:
        await delete(store)
        with pytest.raises(ContextMissing) as missing:
            await store.read(CONTEXT_ID, "ada")
        assert type(missing.value) is ContextMissing
        assert not {key for key in await kept(store) if "ctx" in key}
