"""What nobody can open any more: whose it is, what of it can be, and that others are shown."""

import pytest

from storage import ContextUnreadable, Store, keys
from tests.storage.arranging import create, created, deliver, live
from tests.support.playbook import CONTEXT_ID

OTHER_ID = "01932c5e-7a10-7c3b-9d2e-5f6071829305"
META, LOG, MAIL, BASE = keys.of_context(CONTEXT_ID, "meta", "log", "mail", "base")


async def break_log(store: Store) -> None:
    """Somebody has written into the log what is no event."""
    await store.link.call("XADD", LOG, "2-0", "e", "no event")
    await store.link.call("HSET", META, "version", 2)


async def test_whoever_owns_what_cannot_be_opened_is_told_of_the_mail_that_can(
    store: Store,
) -> None:
    await create(store)
    await break_log(store)
    await deliver(store)
    await store.link.call("XADD", MAIL, "2-0", "m", "no mail", "t", 0)
    await live(store, "w1")
    with pytest.raises(ContextUnreadable) as unreadable:
        await store.ownership.activate(CONTEXT_ID, "w1")
    assert str(unreadable.value) == f"{CONTEXT_ID}: it was changed"
    remains = unreadable.value.remains
    assert remains is not None
    assert (remains.context_id, remains.owner, remains.version) == (CONTEXT_ID, "ada", 2)
    assert [delivered.seq for delivered in remains.mail] == [1]


async def test_whoever_reads_what_cannot_be_opened_is_told_so(store: Store) -> None:
    await create(store)
    await store.link.call("HSET", BASE, "state", "{}")
    with pytest.raises(ContextUnreadable):
        await store.logs.base(CONTEXT_ID)
    await break_log(store)
    with pytest.raises(ContextUnreadable) as unreadable:
        await store.read(CONTEXT_ID, "ada")
    assert unreadable.value.remains is None


async def test_a_summary_that_cannot_be_read_hides_no_other(store: Store) -> None:
    await create(store)
    await create(store, created(OTHER_ID))
    await store.link.call("HSET", META, "summary", "{}")
    shown = dict(await store.contexts("ada", limit=9, after=None))
    assert shown.keys() == {CONTEXT_ID, OTHER_ID}
    assert shown[CONTEXT_ID] is None
    assert shown[OTHER_ID] is not None
