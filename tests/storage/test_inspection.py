"""What operators see of contexts and workers: what is at work, what is stuck, what is slow."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from fsm import ContextCreated, Event, Phase, replay
from storage import (
    ContextMissing,
    DeadLetter,
    Draft,
    Glance,
    Inspection,
    Inspector,
    Notice,
    Page,
    Place,
    Reading,
    Store,
    Wanted,
    keys,
)
from storage.inspection import LOOKS_MAX, UNREADABLE
from storage.link import Argument, Link, Reply
from tests.storage import arranging
from tests.storage.arranging import die, live, next_commit, say_mail
from tests.storage.conftest import Backend
from tests.storage.test_sealing import key_file
from tests.support.playbook import BEGAN_MS, CONTEXT_ID, STARTED, Playbook, say
from tests.workers.stage import nth_id

SECRET = "the title that nobody who runs the service reads"
AT_WORK, ALL = Wanted(), Wanted(everything=True)
STUCK_MS, SLOW_MS = 10_000, 300_000
"""The settings' defaults."""


async def keep(store: Store, number: int, *, owner: str = "ada", mail: bool = False) -> str:
    """A context that was made then, perhaps with a message that waits since."""
    context_id = nth_id(number)
    made = ContextCreated(at_ms=BEGAN_MS, context_id=context_id, owner=owner, title=SECRET)
    await store.admissions.create(made, first=say_mail() if mail else None, key="", digest="")
    return context_id


async def work(store: Store, context_id: str, *events: Event, worker_id: str = "w1") -> None:
    """A living worker has it and has committed these."""
    await live(store, worker_id)
    owned = await store.ownership.activate(context_id, worker_id)
    state = replay(events, owned.state)
    commit = next_commit(Playbook(), owned, base=owned.state.version)
    written = [event.model_dump_json().encode() for event in events]
    await store.ownership.commit(replace(commit, events=written, state=state, rests=False))


async def page(
    store: Store,
    wanted: Wanted = AT_WORK,
    *,
    after_ms: int = 0,
    limit: int = 200,
    after: Place | None = None,
) -> Page:
    """The list as it is so long after everything began."""
    now_ms = BEGAN_MS + after_ms
    return await Inspector(store).page(wanted, limit=limit, after=after, now_ms=now_ms)


def ids(found: Page) -> list[str]:
    return [glance.context_id for glance in found.glances]


async def only(store: Store, *, after_ms: int = 0) -> Glance:
    (glance,) = (await page(store, after_ms=after_ms)).glances
    return glance


async def test_what_rests_without_mail_is_listed_only_where_all_are_asked_for(
    store: Store,
) -> None:
    resting = await keep(store, 1)
    assert await page(store) == Page([], None, complete=True)
    (glance,) = (await page(store, ALL)).glances
    assert (glance.context_id, glance.owner, glance.status) == (resting, "ada", "idle")
    assert (glance.waits_since_ms, glance.trouble, glance.mail) == (None, None, 0)


async def test_what_rests_and_is_still_with_its_worker_is_not_at_work(store: Store) -> None:
    context_id = await keep(store, 1)
    await live(store, "w1")
    await store.ownership.activate(context_id, "w1")
    assert ids(await page(store)) == []
    assert ids(await page(store, ALL)) == [context_id]
    assert ids(await page(store, Wanted(everything=True, waits_s_min=1))) == []


async def test_mail_that_no_living_worker_takes_is_stuck_after_its_time(store: Store) -> None:
    await keep(store, 1, mail=True)
    glance = await only(store, after_ms=STUCK_MS)
    assert (glance.mail, glance.oldest_mail_ms, glance.worker) == (1, BEGAN_MS, "")
    assert (glance.waits_since_ms, glance.trouble) == (BEGAN_MS, None)
    assert (await only(store, after_ms=STUCK_MS + 1)).trouble == "stuck"


async def test_what_a_living_worker_has_is_slow_where_nothing_is_committed_for_long(
    store: Store,
) -> None:
    context_id = await keep(store, 1)
    await work(store, context_id, say().model_copy(update={"at_ms": BEGAN_MS + 3}))
    glance = await only(store, after_ms=SLOW_MS)
    assert (glance.worker, glance.changed_ms) == ("w1", BEGAN_MS + 3)
    assert glance.worker_lives
    assert (Phase(glance.status), glance.trouble) == (Phase.AWAITING_LLM_RESPONSE, None)
    assert (await only(store, after_ms=3 + SLOW_MS + 1)).trouble == "slow"


async def test_what_a_dead_worker_had_is_stuck(store: Store) -> None:
    context_id = await keep(store, 1)
    await work(store, context_id, say())
    await die(store, "w1")
    glance = await only(store, after_ms=SLOW_MS)
    assert (glance.worker, glance.worker_lives, glance.trouble) == ("w1", False, "stuck")


async def test_what_is_at_work_waits_since_the_first_of_what_it_waits_for(
    store: Store,
) -> None:
    context_id = await keep(store, 1, mail=True)
    await work(store, context_id, say().model_copy(update={"at_ms": BEGAN_MS + 3}))
    assert (await only(store)).waits_since_ms == BEGAN_MS
    await store.link.call("ZADD", keys.DUE, BEGAN_MS - 7, context_id)
    assert (await only(store)).waits_since_ms == BEGAN_MS - 7


async def test_activations_that_have_committed_nothing_are_told(store: Store) -> None:
    context_id = await keep(store, 1, mail=True)
    assert (await only(store)).attempts == 0
    await live(store, "w1")
    owned = await store.ownership.activate(context_id, "w1")
    assert (await only(store)).attempts == 1
    await store.ownership.count_attempt(owned, 2)
    assert (await only(store)).attempts == 2


async def test_what_is_due_and_not_activated_is_stuck_and_what_will_be_due_is_not_listed(
    store: Store,
) -> None:
    context_id = await keep(store, 1)
    await store.link.call("ZADD", keys.DUE, BEGAN_MS + 1_000, context_id)
    assert ids(await page(store, after_ms=999)) == []
    (waiting,) = (await page(store, ALL, after_ms=999)).glances
    assert (waiting.due_ms, waiting.waits_since_ms) == (BEGAN_MS + 1_000, None)
    glance = await only(store, after_ms=1_000 + STUCK_MS + 1)
    assert (glance.due_ms, glance.trouble) == (BEGAN_MS + 1_000, "stuck")


async def test_a_list_has_what_fits_all_that_is_asked_for(store: Store) -> None:
    waiting = await keep(store, 1, mail=True)
    others = await keep(store, 2, owner="bob", mail=True)
    working = await keep(store, 3)
    await work(store, working, say())
    long_ms = SLOW_MS * 2
    assert ids(await page(store)) == [waiting, others, working]
    assert ids(await page(store, Wanted(owner="bob"))) == [others]
    assert ids(await page(store, Wanted(status="idle"))) == [waiting, others]
    assert ids(await page(store, Wanted(troubles=["slow"]), after_ms=long_ms)) == [working]
    assert ids(await page(store, Wanted(troubles=["stuck"]), after_ms=long_ms)) == [
        waiting,
        others,
    ]
    assert (
        len(ids(await page(store, Wanted(troubles=["stuck", "slow"]), after_ms=long_ms))) == 3
    )
    assert ids(await page(store, Wanted(waits_s_min=5), after_ms=4_999)) == []
    assert len(ids(await page(store, Wanted(waits_s_min=5), after_ms=5_000))) == 3


@pytest.mark.parametrize("wanted", [AT_WORK, ALL, Wanted(everything=True, owner="ada")])
async def test_pages_have_each_context_once(store: Store, wanted: Wanted) -> None:
    made = [await keep(store, number, mail=True) for number in range(1, 8)]
    seen: list[str] = []
    ended: Place | None = None
    while True:
        found = await page(store, wanted, limit=3, after=ended)
        assert len(found.glances) <= 3
        seen += ids(found)
        if (ended := found.ended) is None:
            break
    assert sorted(seen) == made
    newest_first = wanted.owner is not None
    assert seen == (made[::-1] if newest_first else made)


async def test_no_context_is_passed_over_where_the_last_of_a_page_is_gone(
    store: Store,
) -> None:
    made = [await keep(store, number) for number in range(1, 8)]
    first = await page(store, ALL, limit=3)
    assert first.ended is not None
    await store.link.call("ZREM", keys.CONTEXTS, first.ended[1])
    second = await page(store, ALL, limit=10, after=first.ended)
    assert set(made) == {*ids(first), *ids(second)}


async def test_no_context_is_passed_over_where_the_last_of_a_page_has_changed_its_place(
    store: Store,
) -> None:
    made = [await keep(store, number) for number in range(1, 8)]
    first = await page(store, ALL, limit=3)
    assert first.ended is not None
    await store.link.call("ZADD", keys.CONTEXTS, BEGAN_MS + 9_000, first.ended[1])
    second = await page(store, ALL, limit=10, after=first.ended)
    assert set(made) == {*ids(first), *ids(second)}


async def test_a_list_says_whether_more_may_be_at_work_than_it_has_looked_at(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.inspection.CANDIDATES_MAX", 3)
    made = [await keep(store, number, mail=True) for number in (1, 2)]
    found = await page(store)
    assert (ids(found), found.complete) == (made, True)
    made.append(await keep(store, 3, mail=True))
    found = await page(store)
    assert (ids(found), found.complete) == (made, True), "there are no more"
    working = await keep(store, 4)
    await work(store, working, say())
    found = await page(store)
    assert (ids(found), found.complete) == (made, False)
    found = await page(store, limit=1)
    assert (ids(found), found.complete) == (made[:1], False)
    await keep(store, 5, mail=True)
    assert ids(await page(store)) == made, "no more than these are considered"


@pytest.mark.parametrize("is_due", [True, False])
async def test_a_list_says_that_more_wait_or_are_due_than_it_has_looked_at(
    store: Store, monkeypatch: pytest.MonkeyPatch, *, is_due: bool
) -> None:
    monkeypatch.setattr("storage.inspection.CANDIDATES_MAX", 3)
    made = [await keep(store, number, mail=not is_due) for number in (1, 2, 3, 4)]
    for context_id in made if is_due else ():
        await store.link.call("ZADD", keys.DUE, BEGAN_MS, context_id)
    found = await page(store)
    assert (ids(found), found.complete) == (made[:3], False)


async def test_of_too_many_those_come_first_that_wait_for_a_worker_and_then_what_is_due(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.inspection.CANDIDATES_MAX", 3)
    await work(store, await keep(store, 1), say())
    due = [await keep(store, number) for number in (2, 3)]
    for context_id in due:
        await store.link.call("ZADD", keys.DUE, BEGAN_MS, context_id)
    waits = await keep(store, 4, mail=True)
    found = await page(store)
    assert (ids(found), found.complete) == ([*due, waits], False)
    for number in (5, 6, 7):
        due.append(await keep(store, number))
        await store.link.call("ZADD", keys.DUE, BEGAN_MS, due[-1])
    found = await page(store)
    assert (ids(found), found.complete) == ([*due[:2], waits], False)


async def test_what_will_be_due_takes_no_place_of_what_is_at_work(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.inspection.CANDIDATES_MAX", 3)
    for number in (1, 2, 3):
        await store.link.call("ZADD", keys.DUE, BEGAN_MS + 1, await keep(store, number))
    assert await page(store) == Page([], None, complete=True)


async def test_all_that_is_due_is_listed(store: Store) -> None:
    made = [await keep(store, number) for number in (1, 2, 3)]
    for context_id in made:
        await store.link.call("ZADD", keys.DUE, BEGAN_MS, context_id)
    assert ids(await page(store)) == made


async def test_a_page_looks_at_a_bounded_number_of_contexts(backend: Backend) -> None:
    async with backend.connect() as store:
        flat: list[int | str] = []
        for number in range(LOOKS_MAX + 50):
            flat += [BEGAN_MS, nth_id(number)]
        await store.link.call("ZADD", keys.CONTEXTS, *flat)
        last = await keep(store, LOOKS_MAX + 60)
        first = await page(store, ALL)
        assert (ids(first), first.ended) == ([], (BEGAN_MS, nth_id(LOOKS_MAX - 1)))
        second = await page(store, ALL, after=first.ended)
        assert (ids(second), second.ended) == ([last], None)


async def test_mail_that_cannot_be_read_is_listed_all_the_same(store: Store) -> None:
    context_id = await keep(store, 1, mail=True)
    (mail,) = keys.of_context(context_id, "mail")
    await store.link.call("DEL", mail)
    await store.link.call("XADD", mail, "1-0", "m", "{}", "t", BEGAN_MS)
    glance = await only(store, after_ms=STUCK_MS + 1)
    assert (glance.mail, glance.oldest_mail_ms, glance.trouble) == (1, BEGAN_MS, "stuck")
    found = await Inspector(store).inspect(context_id, now_ms=BEGAN_MS)
    assert (found.glance.oldest_mail_ms, found.oldest_mail) == (BEGAN_MS, None)


async def test_mail_that_cannot_be_opened_is_listed_all_the_same(
    backend: Backend, tmp_path: Path
) -> None:
    async with backend.connect(encryption=key_file(tmp_path, "new")) as store:
        await keep(store, 1, mail=True)
        (mail,), (other,) = (keys.of_context(nth_id(number), "mail") for number in (1, 2))
        await store.link.call("RENAME", mail, other)
        await keep(store, 2)
        await store.link.call("ZADD", keys.READY, BEGAN_MS, nth_id(2))
        glance = await only(store, after_ms=STUCK_MS + 1)
        assert (glance.context_id, glance.mail, glance.trouble) == (nth_id(2), 1, "stuck")


async def test_a_context_whose_contents_cannot_be_opened_is_listed_as_such(
    backend: Backend, tmp_path: Path
) -> None:
    async with backend.connect(encryption=key_file(tmp_path, "new")) as store:
        lost, kept = await keep(store, 1), await keep(store, 2)
        taken = cast("bytes", await store.link.call("HGET", keys.meta(kept), "summary"))
        await store.link.call("HSET", keys.meta(lost), "summary", taken)
        found = await page(store, ALL)
        assert [(one.context_id, one.status, one.changed_ms) for one in found.glances] == [
            (lost, UNREADABLE, None),
            (kept, "idle", BEGAN_MS),
        ]
        glance = found.glances[0]
        assert (glance.owner, glance.version, glance.waits_since_ms) == ("ada", 1, None)
        assert ids(await page(store, Wanted(everything=True, status=UNREADABLE))) == [lost]


async def test_what_is_at_work_and_cannot_be_opened_is_listed_and_stuck_once_mail_waits(
    backend: Backend, tmp_path: Path
) -> None:
    async with backend.connect(encryption=key_file(tmp_path, "new")) as store:
        context_id = await keep(store, 1)
        await store.link.call("HSET", keys.meta(context_id), "summary", "{}")
        await store.link.call("ZADD", keys.READY, 0, context_id)
        assert await only(store) == await only(store, after_ms=STUCK_MS * 9)
        assert ids(await page(store, Wanted(waits_s_min=1), after_ms=STUCK_MS)) == []
        mail = say_mail()
        await store.admissions.deliver(context_id, "ada", mail, key="", digest="")
        glance = await only(store, after_ms=STUCK_MS + 1)
        assert (glance.status, glance.mail, glance.waits_since_ms, glance.trouble) == (
            *(UNREADABLE, 1, BEGAN_MS, "stuck"),
        )


async def test_one_context_is_seen_in_depth_and_nothing_that_is_said_in_it(
    store: Store,
) -> None:
    context_id = await keep(store, 1)
    await work(store, context_id, say("a secret"))
    await store.admissions.deliver(context_id, "ada", say_mail("another"), key="", digest="")
    await store.queue.enqueue(context_id)
    found = await Inspector(store).inspect(context_id, now_ms=BEGAN_MS)
    assert (found.glance.version, found.glance.mail) == (2, 1)
    assert (found.token, found.mail_seq, found.oldest_mail) == (1, 1, "send_message")
    assert (found.log_first, found.base_version, found.snapshot_version) == (1, None, 0)
    assert (found.job, found.compacts_to) == ("queued", None)
    assert found.log_bytes > 0
    assert SECRET not in repr(found.glance)


async def test_what_is_kept_beside_the_log_of_a_context_is_told(store: Store) -> None:
    book = Playbook()
    await arranging.create(store, book.log[0])
    owned = await arranging.own(store)
    letter = DeadLetter(
        id=f"{CONTEXT_ID}.2", context_id=CONTEXT_ID, owner="ada", at_ms=BEGAN_MS, cause="died"
    )
    said = next_commit(book.given(say()), owned, base=1, snapshot=True, letter=letter)
    await store.ownership.commit(said)
    await store.logs.compact(owned.token, book.state, first=3)
    notice = Notice(
        version=3, at_ms=BEGAN_MS, owner="ada", status="idle", occasions=("changed",), event={}
    )
    began = next_commit(book.given(STARTED), owned, base=2, draft=Draft("start", 5, "Hallo"))
    await store.ownership.commit(replace(began, notices=[notice]))
    await store.logs.shorten(CONTEXT_ID, keep=0)
    await store.link.call("ZADD", keys.READY, BEGAN_MS + 7, CONTEXT_ID)
    found = await Inspector(store).inspect(CONTEXT_ID, now_ms=BEGAN_MS)
    assert (found.epoch, found.draft_chars, found.ready_since_ms) == (
        *(store.epoch, 5, BEGAN_MS + 7),
    )
    assert (found.log_first, found.base_version, found.snapshot_version) == (3, 2, 2)
    assert (found.compacts_to, found.notices, found.dead_letters) == (0, 1, 1)
    kept = await store.link.call("HGET", keys.meta(CONTEXT_ID), "bytes")
    assert found.log_bytes == int(cast("bytes", kept))


async def test_a_snapshot_in_a_file_is_told(backend: Backend, tmp_path: Path) -> None:
    async with backend.connect(snapshots=f"json:{tmp_path}") as store:
        book = Playbook()
        await arranging.create(store, book.log[0])
        found = await inspected(store)
        assert (found.snapshot_version, found.ready_since_ms) == (0, None)
        owned = await arranging.own(store)
        await store.ownership.commit(next_commit(book.given(say()), owned, base=1))
        assert store.files is not None
        store.files.save(book.state, store.epoch)
        assert (await inspected(store)).snapshot_version == 2


async def inspected(store: Store) -> Inspection:
    return await Inspector(store).inspect(CONTEXT_ID, now_ms=BEGAN_MS)


async def test_a_context_that_goes_while_it_is_looked_at_is_missing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await keep(store, 1)
    read = Store.read

    async def last_seen(store: Store, *given: Any, **named: Any) -> Reading:
        found = await read(store, *given, **named)
        await store.link.call("DEL", keys.meta(nth_id(1)))
        return found

    monkeypatch.setattr(Store, "read", last_seen)
    with pytest.raises(ContextMissing):
        await Inspector(store).inspect(nth_id(1), now_ms=BEGAN_MS)


async def test_a_context_that_goes_before_the_last_look_at_it_is_missing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await keep(store, 1)
    dead, meta = keys.of_context(nth_id(1), "dead", "meta")
    call = Link.call

    def goes_next(link: Link, *command: Argument) -> asyncio.Future[Reply]:
        answer = call(link, *command)
        if command == ("HLEN", dead):
            _gone = call(link, "DEL", meta)
        return answer

    monkeypatch.setattr(Link, "call", goes_next)
    with pytest.raises(ContextMissing):
        await Inspector(store).inspect(nth_id(1), now_ms=BEGAN_MS)


async def test_the_owner_of_a_context_is_told(store: Store) -> None:
    assert await Inspector(store).owner(await keep(store, 1, owner="eve")) == "eve"


async def test_a_context_that_is_not_there_is_not_inspected(store: Store) -> None:
    with pytest.raises(ContextMissing):
        await Inspector(store).inspect(nth_id(1), now_ms=BEGAN_MS)
    with pytest.raises(ContextMissing):
        await Inspector(store).owner(nth_id(1))


async def test_workers_are_told_with_what_they_have_and_whether_they_live(
    store: Store,
) -> None:
    context_id = await keep(store, 1)
    await work(store, context_id, say(), worker_id="w1")
    await store.sessions.renew("w1", now_ms=BEGAN_MS + 5)
    await live(store, "w2", "w3")
    await die(store, "w2")
    await store.link.call("ZADD", keys.WORKERS, -1, "w3")  # buried, its jobs are ended still
    first, second = await Inspector(store).workers()
    assert (first.worker_id, first.since_ms, first.seen_ms) == ("w1", BEGAN_MS, BEGAN_MS + 5)
    assert (first.contexts, second.contexts) == (1, 0)
    assert (second.worker_id, second.seen_ms) == ("w2", None)
