"""What is counted in the scripts is exact, whatever is repeated."""

from collections.abc import Mapping
from typing import cast

import pytest

import storage.statistics as statistics
from fsm import MessageReceived, replay
from storage import (
    Mail,
    Result,
    Statistics,
    Store,
    StoreUnavailable,
    VersionConflict,
    keys,
    survey,
)
from tests.storage.arranging import (
    APPLIED,
    create,
    created,
    deliver,
    next_commit,
    own,
    say_mail,
)
from tests.support.playbook import BEGAN_MS, CONTEXT_ID, DELETE, STARTED, Playbook, replied, say

REFUSED = Result(outcome="refused", version=2, code="illegal-in-phase")
NOBODY = "01890a5d-ac96-774b-bcce-b302099a8057"


async def seen(store: Store) -> Statistics:
    return await survey(store.link, store.scripts)


def counted(found: Statistics, *names: str) -> tuple[int, ...]:
    return tuple(found.totals.get(name, 0) for name in names)


def resting(found: Statistics) -> tuple[Mapping[str, int], int]:
    """Contexts by phase, and how much mail waits."""
    by_phase = {phase: number for phase, number in found.by_phase.items() if number}
    return by_phase, found.mail_waiting


async def test_a_context_is_counted_in_the_phase_that_it_is_in(store: Store) -> None:
    book = Playbook()
    await create(store, book.log[0], first=say_mail())
    assert resting(await seen(store)) == ({"idle": 1}, 1)
    owned = await own(store)
    await store.ownership.commit(
        next_commit(book.given(say()), owned, base=1, results={1: APPLIED})
    )
    assert resting(await seen(store)) == ({book.state.phase.value: 1}, 0)
    await store.ownership.commit(next_commit(book.given(STARTED, replied("Hi")), owned, base=2))
    assert resting(await seen(store)) == ({"idle": 1}, 0)
    await store.ownership.commit(next_commit(book.given(say()), owned, base=4))
    assert resting(await seen(store)) == ({book.state.phase.value: 1}, 0)


async def test_a_create_a_commit_and_a_deletion_that_are_repeated_count_once(
    store: Store,
) -> None:
    book = Playbook()
    for _ in range(2):
        await create(store, book.log[0], first=say_mail())
    owned = await own(store)
    commit = next_commit(book.given(say()), owned, base=1, results={1: APPLIED}, acknowledged=1)
    for _ in range(2):
        await store.ownership.commit(commit)
    names = ("contexts:created", "turns:started", "actions:delivered", "actions:applied")
    assert counted(await seen(store), *names) == (1, 0, 1, 1)
    assert resting(await seen(store)) == ({book.state.phase.value: 1}, 0)
    last = next_commit(book.given(DELETE), owned, base=2, results={2: APPLIED})
    for _ in range(2):
        await store.ownership.delete(last, "w1")
    found = await seen(store)
    assert counted(found, "contexts:deleted", "actions:applied") == (1, 2)
    assert resting(found) == ({}, 0)
    assert found.contexts == 0


async def test_a_refusal_whose_commit_is_repeated_is_counted_once(store: Store) -> None:
    book = Playbook()
    await create(store, book.log[0])
    owned = await own(store)
    await deliver(store, "Refused")
    await deliver(store, "Waiting")
    commit = next_commit(book, owned, base=1, results={1: REFUSED}, acknowledged=1)
    for _ in range(2):
        await store.ownership.commit(commit)
        assert counted(await seen(store), "actions:refused") == (1,)
    assert resting(await seen(store)) == ({"idle": 1}, 1)


async def test_an_action_that_comes_twice_under_one_key_is_delivered_once(store: Store) -> None:
    await create(store)
    for _ in range(3):
        await deliver(store, "Hello", key="k")
    await deliver(store, "And this")
    assert counted(await seen(store), "actions:delivered") == (2,)
    assert resting(await seen(store)) == ({"idle": 1}, 2)


async def test_mail_that_a_deletion_leaves_undelivered_waits_no_more(store: Store) -> None:
    book = Playbook()
    await create(store, book.log[0])
    owned = await own(store)
    await deliver(store, "One")
    await deliver(store, "Two")
    last = next_commit(book.given(DELETE), owned, base=1, results={1: APPLIED})
    await store.ownership.delete(last, "w1")
    assert counted(await seen(store), "actions:delivered", "actions:dropped") == (2, 1)
    assert resting(await seen(store)) == ({}, 0)


async def test_a_commit_that_is_fenced_or_late_counts_nothing(store: Store) -> None:
    book = Playbook()
    await create(store, book.log[0])
    owned = await own(store)
    before = (await seen(store)).totals
    late = next_commit(book.given(say()), owned, base=7, results={1: REFUSED})
    with pytest.raises(VersionConflict):
        await store.ownership.commit(late)
    assert (await seen(store)).totals == before


async def test_what_a_copied_log_leads_to_is_the_phase_that_is_counted(store: Store) -> None:
    book = Playbook().given(say(), STARTED)
    log = book.log
    first = created()
    await store.admissions.create(
        first,
        first=None,
        key="",
        digest="",
        further=[event.model_dump_json().encode() for event in log[1:]],
        state=replay(log),
    )
    assert resting(await seen(store)) == ({"streaming_llm_response": 1}, 0)


async def test_a_copy_that_is_made_in_the_middle_of_a_turn_begins_with_it(store: Store) -> None:
    book = Playbook().given(say(), STARTED)
    log = book.log
    for _ in range(2):
        await store.admissions.create(
            created(),
            first=None,
            key="",
            digest="",
            further=[event.model_dump_json().encode() for event in log[1:]],
            state=replay(log),
        )
    assert counted(await seen(store), "contexts:created", "turns:started") == (1, 1)


async def test_a_context_that_was_there_before_anything_was_counted_joins_when_it_moves(
    store: Store,
) -> None:
    book = Playbook()
    await create(store, book.log[0])
    await store.link.call("HDEL", f"ctx:{{{CONTEXT_ID}}}:meta", "phase")
    owned = await own(store)
    await store.ownership.commit(next_commit(book.given(say()), owned, base=1))
    assert resting(await seen(store)) == ({book.state.phase.value: 1}, 0)
    await store.ownership.delete(next_commit(book.given(DELETE), owned, base=2), "w1")
    assert resting(await seen(store)) == ({}, 0)


async def test_mail_waits_for_as_long_as_nobody_has_taken_it(store: Store) -> None:
    assert (await seen(store)).oldest_mail_ms is None
    await create(store)
    mail = Mail(event=MessageReceived(at_ms=BEGAN_MS + 5_000, content="Hello"))
    await store.admissions.deliver(CONTEXT_ID, "ada", mail, key="", digest="")
    assert (await seen(store)).oldest_mail_ms == BEGAN_MS + 5_000


async def say_at(store: Store, context_id: str, at_ms: int) -> None:
    """Mail that comes at some time."""
    mail = Mail(event=MessageReceived(at_ms=at_ms, content="Hello"))
    await store.admissions.deliver(context_id, "ada", mail, key="", digest="")


async def test_mail_waits_since_it_came_whoever_was_offered_its_context_since(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await create(store, first=say_mail())
    await create(store, created(NOBODY))
    await say_at(store, NOBODY, BEGAN_MS + 5)
    await say_at(store, CONTEXT_ID, BEGAN_MS + 9)
    later_ms = BEGAN_MS + 60_000
    assert len(await store.ownership.claim(now_ms=later_ms, overdue_ms=1_000)) == 2
    assert (await seen(store)).oldest_mail_ms == BEGAN_MS
    await own(store)
    await store.sessions.bury("w1")
    assert (await seen(store)).oldest_mail_ms == BEGAN_MS
    monkeypatch.setattr(statistics, "MAILBOXES_MAX", 1)
    await store.link.call("ZADD", keys.READY, later_ms, CONTEXT_ID)
    await store.link.call("ZADD", keys.READY, 0, NOBODY)
    assert (await seen(store)).oldest_mail_ms == BEGAN_MS + 5


async def test_an_empty_store_has_nothing_of_anything(store: Store) -> None:
    found = await seen(store)
    assert (found.by_phase, found.announced, found.window_s) == ({"idle": 0}, 0, 0.0)


async def test_totals_that_say_more_than_there_is_leave_nothing_below_zero(
    store: Store,
) -> None:
    for name in ("phase:b", "phase:a", "actions:applied"):
        await store.link.call("HINCRBY", "totals", name, 2)
    found = await seen(store)
    assert list(found.by_phase.items()) == [("idle", 0), ("a", 2), ("b", 2)]
    assert found.mail_waiting == 0


async def test_mail_that_was_taken_waits_no_longer(store: Store) -> None:
    book = Playbook()
    await create(store, book.log[0], first=say_mail())
    await say_at(store, CONTEXT_ID, BEGAN_MS + 7)
    owned = await own(store)
    await store.ownership.commit(
        next_commit(book.given(say()), owned, base=1, acknowledged=1, results={1: APPLIED})
    )
    assert (await seen(store)).oldest_mail_ms == BEGAN_MS + 7
    await store.ownership.commit(
        next_commit(book.given(say()), owned, base=2, acknowledged=2, results={2: APPLIED})
    )
    assert (await seen(store)).oldest_mail_ms is None


async def test_a_context_whose_worker_has_died_has_no_mail_by_that(store: Store) -> None:
    await create(store)
    await own(store)
    await store.sessions.bury("w1")
    assert (await seen(store)).oldest_mail_ms is None


async def test_dead_letters_and_contexts_are_counted(store: Store) -> None:
    await create(store)
    for number in range(3):
        await store.link.call("ZADD", keys.DEAD, number, f"letter {number}")
    found = await seen(store)
    assert (found.contexts, found.dead_letters) == (1, 3)


async def test_without_a_store_there_are_no_statistics(store: Store) -> None:
    store.link.calls_max = 0
    with pytest.raises(StoreUnavailable):
        await seen(store)


async def test_a_commit_of_many_actions_counts_each_of_them(store: Store) -> None:
    book = Playbook()
    await create(store, book.log[0])
    owned = await own(store)
    results = {seq: APPLIED if seq % 3 else REFUSED for seq in range(1, 31)}
    await store.ownership.commit(next_commit(book.given(say()), owned, base=1, results=results))
    found = await seen(store)
    assert counted(found, "actions:applied", "actions:refused") == (20, 10)
    assert resting(found) == ({book.state.phase.value: 1}, 0)
    fields = await store.link.call("HKEYS", "totals")
    assert max(map(len, cast("list[bytes]", fields))) < 200


async def test_a_process_reports_its_commits_their_bytes_and_snapshots(store: Store) -> None:
    store.meters.begin("worker", "w1", dict)
    book = Playbook()
    await create(store, book.log[0])
    owned = await own(store)
    commit = next_commit(book.given(say()), owned, base=1)
    await store.ownership.commit(commit)
    await store.meters.report()
    size = sum(map(len, commit.events))
    saves = ("saves", "saves:bytes", "saves:snapshots")
    assert counted(await seen(store), *saves) == (1, size, int(commit.snapshot))
