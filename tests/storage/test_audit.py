"""The audit log: numbered, in a chain, bounded; a change to it shows."""

import asyncio
from typing import Final, cast

import pytest

from storage import Act, Audit, Audited, Store, Unreadable, keys
from tests.storage.conftest import Backend

ACT: Final = Act(by="key:k", owner="ada", address="127.0.0.1", name="restart")
RECORDS_MAX: Final = 100_000


def audit_of(store: Store) -> Audit:
    return Audit(store.link, RECORDS_MAX)


async def rewrite(store: Store, number: int, raw: bytes | None) -> None:
    """Have another record, or none, in the place of one."""
    entries = cast(
        "list[tuple[bytes, list[bytes]]]",
        await store.link.call("XRANGE", keys.AUDIT, "-", "+"),
    )
    await store.link.call("DEL", keys.AUDIT)
    for entry_id, (_, kept) in entries:
        if not entry_id.startswith(b"%d-" % number):
            await store.link.call("XADD", keys.AUDIT, entry_id, "r", kept)
        elif raw is not None:
            await store.link.call("XADD", keys.AUDIT, entry_id, "r", raw)


async def test_records_are_numbered_and_each_follows_the_one_before(store: Store) -> None:
    audit = audit_of(store)
    assert (await audit.check()).last == 0
    asked = await audit.append(ACT, "asked", at_ms=1)
    done = await audit.append(ACT, "done", at_ms=2, of=asked.record.number)
    assert [asked.record.number, done.record.number] == [1, 2]
    assert (asked.record.before, done.record.before) == ("", asked.digest)
    assert await audit.page(after=0, limit=9) == [asked, done]
    assert await audit.page(after=1, limit=9) == [done]
    assert await audit.page(after=0, limit=1) == [asked]
    chain = await audit.check()
    assert (chain.first, chain.last, chain.digest, chain.broken) == (1, 2, done.digest, None)


async def test_of_many_at_once_none_is_lost(backend: Backend) -> None:
    async with backend.connect() as one, backend.connect() as two:
        async with asyncio.TaskGroup() as group:
            for number in range(30):
                store = (one, two)[number % 2]
                group.create_task(audit_of(store).append(ACT, "asked", at_ms=number))
        found = await audit_of(one).page(after=0, limit=99)
        page = [audited for audited in found if isinstance(audited, Audited)]
        assert [audited.record.number for audited in page] == list(range(1, 31))
        assert sorted(audited.record.at_ms for audited in page) == list(range(30))
        assert (await audit_of(one).check()).broken is None


@pytest.mark.parametrize("how", ["changed", "gone", "first gone"])
async def test_a_record_that_was_changed_or_taken_out_shows(store: Store, how: str) -> None:
    audit = audit_of(store)
    written = [await audit.append(ACT, "asked", at_ms=number) for number in range(5)]
    other = written[2].record.model_copy(update={"at_ms": 99}).model_dump_json().encode()
    if how == "first gone":
        await rewrite(store, 1, None)
        chain = await audit.check()
        # As when the oldest have made room: nothing says what was before.
        assert (chain.first, chain.broken) == (2, None)
        return
    await rewrite(store, 3, other if how == "changed" else None)
    assert (await audit.check()).broken == 4
    await rewrite(store, 5, other)
    assert (await audit.check()).broken == 4, "the first one is told"


@pytest.mark.parametrize("how", ["another number", "another shape", "no JSON"])
async def test_a_last_record_that_was_changed_shows_and_keeps_none_from_coming_after(
    store: Store, how: str
) -> None:
    audit = audit_of(store)
    written = [await audit.append(ACT, "asked", at_ms=number) for number in range(3)]
    other = written[2].record.model_copy(update={"number": 1}).model_dump_json().encode()
    changed = {"another number": other, "another shape": b"{}", "no JSON": b""}
    await rewrite(store, 3, changed[how])
    assert (await audit.append(ACT, "asked", at_ms=9)).record.number == 4
    assert [audited.place for audited in await audit.page(after=3, limit=9)] == [4]
    assert (await audit.check()).broken == 3


@pytest.mark.parametrize("fields", [("r", "{}"), ("r", ""), ("r", "{}", "s", "more")])
async def test_a_record_that_cannot_be_read_keeps_none_of_the_others_from_being_read(
    store: Store, fields: tuple[str, ...]
) -> None:
    audit = audit_of(store)
    first = await audit.append(ACT, "asked", at_ms=1)
    await store.link.call("XADD", keys.AUDIT, "2-0", *fields)
    last = await audit.append(ACT, "asked", at_ms=3)
    assert await audit.page(after=0, limit=9) == [first, Unreadable(2), last]
    assert (await audit.check()).broken == 2


async def test_the_oldest_records_make_room(store: Store) -> None:
    audit = Audit(store.link, 100)
    for number in range(350):
        await audit.append(ACT, "asked", at_ms=number)
    chain = await audit.check()
    assert chain.last == 350
    assert 1 < chain.first <= 251
    assert chain.broken is None
