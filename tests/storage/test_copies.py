"""Logs that are copied: long ones come in pieces, and are a context only with the last one.

A snapshot comes with a long one.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest

import storage.admissions as admissions
import storage.logs as logs
from fsm import ContextState, MessagesRecorded, RecordedMessage
from storage import (
    ContextMissing,
    KeyReused,
    Mail,
    QuotaExceeded,
    Store,
    StoreUnavailable,
    keys,
)
from storage.link import Argument, Link, Reply
from tests.storage.arranging import created, deliver, next_commit, own, say_mail
from tests.storage.conftest import Backend
from tests.storage.saving import opened, play
from tests.storage.test_late_calls import Recording, late
from tests.support.playbook import CONTEXT_ID, DELETE, Playbook, rename, say

OTHER_ID = "01932c5e-7a10-7c3b-9d2e-5f6071829305"
LOG, SNAPSHOT, MESSAGES = keys.of_context(CONTEXT_ID, "log", "snap", "msgs")
FOR_EVER, NOT_AT_ALL = -1, -2
NOTHING = (NOT_AT_ALL, NOT_AT_ALL)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two events are a piece, in both directions."""
    monkeypatch.setattr(admissions, "PIECE_EVENTS_MAX", 2)
    monkeypatch.setattr(logs, "READ_EVENTS_MAX", 2)


@pytest.fixture
def recorded(store: Store) -> Recording:
    """The scripts of the store, which from here on are remembered."""
    recorded = store.admissions.scripts = Recording(store.scripts)
    return recorded


def talk(events: int) -> Playbook:
    """A log of so many events."""
    book = Playbook()
    while len(book.log) < events:
        said = RecordedMessage(role="user", content=f"said {len(book.log)}")
        book.given(MessagesRecorded(at_ms=book.now_ms, messages=(said,)))
    return book


async def copy(
    store: Store,
    book: Playbook,
    *,
    context_id: str = CONTEXT_ID,
    key: str = "",
    digest: str = "d",
    name: str = "",
    base: ContextState | None = None,
    first: Mail | None = None,
) -> tuple[str, bool]:
    """Create a context with the log of a book, or with what it has behind a base."""
    further = book.log[base.version if base else 1 :]
    return await store.admissions.create(
        created(context_id),
        first=first,
        key=key,
        digest=digest,
        further=[event.to_json() for event in further],
        state=book.state.model_copy(update={"id": context_id}),
        name=name,
        base=base,
    )


async def kept_s(store: Store, key: str = LOG) -> int:
    """How long something is kept."""
    return cast("int", await store.link.call("TTL", key))


async def left(store: Store) -> tuple[int, int]:
    """How long log and messages are kept."""
    return await kept_s(store), await kept_s(store, MESSAGES)


@pytest.mark.parametrize("events", [1, 2, 3, 4, 5, 6])
async def test_a_copy_is_the_whole_log_however_many_pieces_it_came_in(
    store: Store, events: int
) -> None:
    book = talk(events)
    assert await copy(store, book) == (CONTEXT_ID, False)
    reading = await store.read(CONTEXT_ID, "ada")
    assert reading.view is not None
    assert reading.view.state == book.state
    written = [event.to_json() for event in book.log]
    assert await store.logs.events(CONTEXT_ID, after=0, until=events) == written
    assert await store.logs.events(CONTEXT_ID, after=1, until=events - 1) == written[1:-1]
    assert (await own(store)).state == book.state
    assert await kept_s(store) == FOR_EVER
    counted = await store.link.call("HGET", keys.meta(CONTEXT_ID), "bytes")
    assert counted == b"%d" % sum(map(len, written))


@pytest.mark.parametrize("events", [3, 4, 5, 6, 7])
async def test_a_long_copy_comes_with_a_snapshot_and_is_not_replayed(
    store: Store, events: int
) -> None:
    book = talk(events)
    await copy(store, book)
    await store.link.call("DEL", LOG)  # whoever would replay it finds nothing
    reading = await store.read(CONTEXT_ID, "ada")
    assert reading.view is not None
    assert reading.view.state == book.state
    owned = await own(store)
    assert owned.state == book.state
    assert (owned.snapshot_version, owned.messages_saved) == (events, events - 1)
    assert await store.link.call("HGET", SNAPSHOT, "writes") == b"1"
    head = cast("bytes", await store.link.call("HGET", SNAPSHOT, "head"))
    assert b"said 2" not in head, "its messages are kept one by one"
    assert await left(store) == (NOT_AT_ALL, FOR_EVER)


async def test_a_short_copy_comes_without_a_snapshot(store: Store) -> None:
    await copy(store, talk(2))
    assert await store.link.call("EXISTS", SNAPSHOT, MESSAGES) == 0


@pytest.mark.parametrize("deleted", [True, False])
async def test_a_snapshot_goes_on_where_that_of_the_copy_ends(
    store: Store, recorded: Recording, deleted: bool
) -> None:
    book = talk(5)
    await copy(store, book)
    owned = await own(store)
    await play(store, owned, book, rename("new"), say("more"))
    for nth in range(4):
        assert await late(store, recorded, "fill", nth=nth) == b"filled"
    if deleted:
        await store.link.call("DEL", LOG)
    again = await own(store)
    assert again.state == book.state
    assert (again.snapshot_version, again.messages_saved) == (7, 5)


async def test_a_long_copy_comes_with_a_file_where_snapshots_are_files(
    backend: Backend, tmp_path: Path
) -> None:
    book = talk(5)
    async with opened(backend, f"json:{tmp_path}") as kept:
        await copy(kept.store, talk(2), context_id=OTHER_ID)
        await copy(kept.store, book)
        assert await kept.writes() == 1
        assert await kept.store.link.call("EXISTS", SNAPSHOT, MESSAGES) == 0
        await kept.store.link.call("DEL", LOG)
        assert (await own(kept.store)).state == book.state
        reading = await kept.store.read(CONTEXT_ID, "ada")
        assert reading.view is not None
        assert reading.view.state == book.state


async def test_a_file_of_a_copy_counts_in_the_epoch_in_which_the_copy_was_begun(
    backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(backend, f"json:{tmp_path}") as kept:
        store, epoch = kept.store, kept.store.epoch
        run = store.scripts.run

        async def restarted(
            link: Link, name: str, where: Sequence[Argument], *args: Argument
        ) -> Reply:
            store.epoch = "9"
            return await run(link, name, where, *args)

        monkeypatch.setattr(store.scripts, "run", restarted)
        await copy(store, talk(5))
        assert await kept.writes() == 1
        assert store.files is not None
        assert store.files.load(CONTEXT_ID, epoch) == talk(5).state


async def test_no_more_than_a_piece_of_a_log_is_asked_for_at_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await copy(store, talk(5))
    asked = list[Sequence[Argument]]()
    call = Link.call

    def noted(link: Link, *command: Argument) -> object:
        asked.append(command[2:])
        return call(link, *command)

    monkeypatch.setattr(Link, "call", noted)
    assert len(await store.logs.events(CONTEXT_ID, after=1, until=5)) == 4
    assert asked == [("2-0", "5-0", "COUNT", 2), ("4-0", "5-0", "COUNT", 2)]


@pytest.mark.parametrize("events", [3, 4, 5, 6, 7, 8])
async def test_a_copy_goes_on_from_a_base_however_many_pieces_it_came_in(
    store: Store, events: int
) -> None:
    book = talk(events)
    base = talk(3).state
    await copy(store, book, base=base)
    reading = await store.read(CONTEXT_ID, "ada")
    assert reading.view is not None
    assert reading.view.state == book.state
    written = [event.to_json() for event in book.log[3:]]
    assert await store.logs.events(CONTEXT_ID, after=3, until=events) == written
    assert await store.logs.first(CONTEXT_ID) == 4
    assert (await own(store)).state == book.state
    counted = await store.link.call("HGET", keys.meta(CONTEXT_ID), "bytes")
    assert counted == b"%d" % sum(map(len, [base.to_json(), *written]))


async def test_no_step_takes_more_than_a_piece(store: Store, recorded: Recording) -> None:
    await copy(store, talk(5))
    taken = [(name, args[0] == "msgs", len(args)) for name, _, args in recorded.sent]
    assert taken == [
        *(("fill", False, 4 + 2), ("fill", False, 4 + 2)),
        *(("fill", True, 4 + 2), ("fill", True, 4 + 2)),
        ("create", False, 24 + 1),
    ]


async def test_a_piece_has_no_more_bytes_than_one_may_unless_one_event_has(
    store: Store, recorded: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = [len(event.to_json()) for event in talk(3).log]
    monkeypatch.setattr(admissions, "PIECE_EVENTS_MAX", 100)
    monkeypatch.setattr(admissions, "PIECE_BYTES_MAX", sizes[0] + sizes[1])
    await copy(store, talk(3))
    monkeypatch.setattr(admissions, "PIECE_BYTES_MAX", 1)
    await copy(store, talk(3), context_id=OTHER_ID)
    taken = [len(args) for _, _, args in recorded.sent if args[0] == "log"]
    assert taken == [4 + 2, 4 + 1, 4 + 1]


async def test_whoever_dies_with_a_copy_leaves_nothing(
    store: Store, recorded: Recording
) -> None:
    await copy(store, talk(5))
    await store.link.call("FLUSHALL")
    for nth in range(4):
        assert await late(store, recorded, "fill", nth=nth) == b"filled"
    assert await store.link.call("DBSIZE") == 2
    for key in (LOG, MESSAGES):
        assert 0 < await kept_s(store, key) <= admissions.FILL_S
    with pytest.raises(ContextMissing):
        await store.read(CONTEXT_ID, "ada")


async def test_a_copy_whose_beginning_is_lost_is_not_made(
    store: Store, recorded: Recording
) -> None:
    await copy(store, talk(5))
    await store.link.call("FLUSHALL")
    assert await late(store, recorded, "fill", nth=1) == b"lost"
    assert await late(store, recorded, "create") == [b"lost"]
    for messages in (2, 3):
        assert await late(store, recorded, "fill", nth=messages) == b"filled"
    assert await late(store, recorded, "fill", nth=0) == b"filled"
    assert await late(store, recorded, "create") == [b"lost"]
    assert await late(store, recorded, "fill", nth=1) == b"filled"
    await store.link.call("DEL", MESSAGES)
    assert await late(store, recorded, "create") == [b"lost"]
    assert await late(store, recorded, "fill", nth=3) == b"lost"
    assert await late(store, recorded, "fill", nth=2) == b"filled"
    assert await late(store, recorded, "create") == [b"lost"]
    with pytest.raises(ContextMissing):
        await store.read(CONTEXT_ID, "ada")
    assert await store.context_count() == 0


@pytest.mark.parametrize("step", ["fill", "create"])
@pytest.mark.parametrize("key", [LOG, MESSAGES])
async def test_a_client_is_told_that_the_beginning_of_its_copy_is_lost(
    store: Store, monkeypatch: pytest.MonkeyPatch, step: str, key: str
) -> None:
    run = store.scripts.run

    async def forgetful(
        link: Link, name: str, where: Sequence[Argument], *args: Argument
    ) -> Reply:
        if name == step:
            await link.call("DEL", key)
        return await run(link, name, where, *args)

    monkeypatch.setattr(store.scripts, "run", forgetful)
    with pytest.raises(StoreUnavailable, match="lost"):
        await copy(store, talk(5))


async def test_each_step_of_a_copy_may_be_repeated(store: Store, recorded: Recording) -> None:
    book = talk(5)
    await copy(store, book, key="k")
    await store.link.call("FLUSHALL")
    for nth in (0, 0, 1, 0, 1, 2, 2, 3, 2, 3):
        assert await late(store, recorded, "fill", nth=nth) == b"filled"
    assert await late(store, recorded, "create") == [b"created"]
    assert await late(store, recorded, "create") == [b"repeated", CONTEXT_ID.encode()]
    for nth in range(4):
        assert await late(store, recorded, "fill", nth=nth) == b"filled"
    assert (await kept_s(store), await kept_s(store, MESSAGES)) == (FOR_EVER, FOR_EVER)
    assert (await own(store)).state == book.state


async def test_a_late_piece_does_nothing_to_a_log_that_was_compacted_since(
    store: Store, recorded: Recording
) -> None:
    book = talk(5)
    await copy(store, book)
    owned = await own(store)
    await store.logs.compact(owned.token, book.state, first=6)
    assert await late(store, recorded, "fill") == b"filled"
    assert await kept_s(store) == FOR_EVER
    assert await store.logs.events(CONTEXT_ID, after=0, until=5) == []


async def test_a_late_step_brings_back_nothing_of_a_context_that_was_deleted(
    store: Store, recorded: Recording
) -> None:
    book = talk(5)
    await copy(store, book)
    owned = await own(store)
    await store.ownership.delete(next_commit(book.given(DELETE), owned, base=5), "w1")
    assert await late(store, recorded, "create") == [b"lost"]
    assert await late(store, recorded, "fill") == b"filled"
    assert 0 < await kept_s(store) <= admissions.FILL_S


async def test_what_was_brought_for_a_copy_that_is_refused_goes_at_once(
    backend: Backend,
) -> None:
    book = talk(5)
    for quota in ("contexts_per_owner", "messages_per_context", "bytes_per_context"):
        most = 1_000 if quota == "bytes_per_context" else 1
        async with backend.connect(**{f"{quota}_max": most}) as store:
            await store.link.call("FLUSHALL")
            await store.admissions.create(created(OTHER_ID), first=None, key="", digest="")
            with pytest.raises(QuotaExceeded):
                await copy(store, book)
            assert await left(store) == NOTHING


async def test_what_was_brought_goes_at_once_where_its_first_mail_may_begin_no_turn(
    backend: Backend,
) -> None:
    async with backend.connect(turns_per_owner_max=1) as store:
        await store.admissions.create(created(OTHER_ID), first=say_mail(), key="", digest="")
        with pytest.raises(QuotaExceeded):
            await copy(store, talk(5), first=say_mail())
        assert await left(store) == NOTHING


@pytest.mark.parametrize("quota", ["messages", "bytes"])
async def test_what_a_copy_has_counts_when_more_is_said(backend: Backend, quota: str) -> None:
    book = talk(5)
    has = {"messages": 4, "bytes": sum(len(event.to_json()) for event in book.log)}[quota]
    async with backend.connect(**{f"{quota}_per_context_max": has}) as store:
        await copy(store, book)
        with pytest.raises(QuotaExceeded) as refused:
            await deliver(store)
        assert (refused.value.quota, refused.value.used) == (quota, has)


async def test_what_was_brought_for_a_copy_that_was_made_before_goes_at_once(
    store: Store,
) -> None:
    book = talk(5)
    made = await copy(store, book, context_id=OTHER_ID, key="k", name="n")
    assert made == (OTHER_ID, False)
    for key, name in (("k", ""), ("", "n")):
        assert await copy(store, book, key=key, name=name) == (OTHER_ID, True)
        assert await left(store) == NOTHING
    with pytest.raises(KeyReused):
        await copy(store, book, key="k", digest="other")
    assert await left(store) == NOTHING
    (others,) = keys.of_context(OTHER_ID, "log")
    assert await kept_s(store, others) == FOR_EVER
