"""What grows old goes, like anybody's deletion; what is pinned, at work or waiting stays."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from fsm import ContextCreated, ContextDeleted, ContextPinned, ContextState, Event, replay
from storage import (
    ContextMissing,
    KeyReused,
    Mail,
    MailboxFull,
    Owned,
    Plan,
    Receipt,
    Retention,
    StorageError,
    Store,
    keys,
    stopwatch,
    unix_ms,
)
from storage.admissions import Admissions
from storage.link import Argument, Link, Reply
from storage.retention import DAY_MS, PAGE
from tests.storage.arranging import create, next_commit, own, say_mail
from tests.storage.conftest import Backend
from tests.storage.test_sealing import key_file
from tests.support.playbook import BEGAN_MS, DELETE, Playbook, rename, say
from tests.workers.stage import nth_id

DAYS = 30
MADE_MS = int("01932c5e7a10", 16)
"""When the ids were made that the tests use."""
NOW_MS = max(MADE_MS, BEGAN_MS) + 100 * DAY_MS


async def keep(store: Store, number: int, *, at_ms: int = BEGAN_MS) -> str:
    """A context that was last changed then."""
    context_id = nth_id(number)
    event = ContextCreated(at_ms=at_ms, context_id=context_id, owner="ada")
    await store.admissions.create(event, first=None, key="", digest="")
    return context_id


async def change(store: Store, context_id: str, *events: Event) -> ContextState:
    """Have events committed behind the first one, by a worker that gives the context back."""
    owned, state = await commit(store, context_id, *events)
    assert await store.ownership.passivate(context_id, owned.token, "w1", version=state.version)
    return state


async def commit(store: Store, context_id: str, *events: Event) -> tuple[Owned, ContextState]:
    """Have events committed behind the first one."""
    await store.sessions.renew("w1", now_ms=BEGAN_MS, begin=True)
    owned = await store.ownership.activate(context_id, "w1")
    book = Playbook()
    state = replay(events, owned.state)
    step = replace(
        next_commit(book, owned, base=1),
        events=[event.model_dump_json().encode() for event in events],
        state=state,
    )
    await store.ownership.commit(step)
    return owned, state


async def plan_of(store: Store, *, limit: int = 1_000, days: int | None = None) -> Plan:
    return await Retention(store).plan(now_ms=NOW_MS, limit=limit, days=days)


def ids(plan: Plan) -> Sequence[str]:
    return [aged.context_id for aged in plan.contexts]


async def asked_to_go(store: Store, *context_ids: str) -> list[str]:
    """The contexts that have a deletion in their mailbox."""
    mail = {context_id: await store.undelivered(context_id) for context_id in context_ids}
    return [
        context_id
        for context_id, waiting in mail.items()
        if any(isinstance(each.mail.event, ContextDeleted) for each in waiting)
    ]


async def test_without_a_setting_nothing_is_old(backend: Backend) -> None:
    async with backend.connect() as store:
        await keep(store, 1)
        assert await plan_of(store) == Plan(0, 0, True, {}, [])
        assert await Retention(store).run(lambda: NOW_MS) == 0
        assert ids(await plan_of(store, days=DAYS)) == [nth_id(1)]


async def test_a_clock_that_has_jumped_makes_nothing_old(backend: Backend) -> None:
    async with backend.connect(retention_days=DAYS) as store:
        await keep(store, 1, at_ms=unix_ms())
        assert await Retention(store).run(lambda: unix_ms() + 100 * DAY_MS) == 0


async def test_a_dry_run_lists_what_would_go_and_changes_nothing(backend: Backend) -> None:
    async with backend.connect(retention_days=DAYS) as store:
        old = [await keep(store, number) for number in (1, 2, 3)]
        pinned = await keep(store, 4)
        await change(store, pinned, ContextPinned(at_ms=BEGAN_MS + 1))
        await keep(store, 5, at_ms=NOW_MS - 29 * DAY_MS)
        before = await store.link.call("ZRANGE", keys.CONTEXTS, 0, -1, "WITHSCORES")
        plan = await plan_of(store, limit=2)
        assert (plan.count, plan.complete, plan.kept) == (3, True, {"pinned": 1})
        assert (ids(plan), plan.before_ms) == (old[:2], NOW_MS - DAYS * DAY_MS)
        first = plan.contexts[0]
        assert (first.owner, first.status, first.version) == ("ada", "idle", 1)
        assert await store.link.call("ZRANGE", keys.CONTEXTS, 0, -1, "WITHSCORES") == before
        assert await asked_to_go(store, *old, pinned) == []


async def test_a_run_asks_for_the_deletion_of_what_the_dry_run_has_listed(
    backend: Backend,
) -> None:
    async with backend.connect(retention_days=DAYS, retention_deletes_s_max=1e6) as store:
        old, young = await keep(store, 1), await keep(store, 2, at_ms=NOW_MS)
        assert ids(await plan_of(store)) == [old]
        assert await Retention(store).run(lambda: NOW_MS) == 1
        assert await asked_to_go(store, old, young) == [old]
        (waiting,) = await store.undelivered(old)
        assert waiting.mail == Mail(event=ContextDeleted(at_ms=NOW_MS), if_version=1)
        queued = await store.link.call("LRANGE", store.queue.KEY, 0, -1)
        assert queued == [store.queue.job_id(old).encode()]


async def test_what_was_changed_since_is_looked_at_only_once_it_is_old_again(
    backend: Backend,
) -> None:
    async with backend.connect(retention_days=DAYS) as store:
        context_id = await keep(store, 1)
        state = await change(store, context_id, say().model_copy(update={"at_ms": NOW_MS - 7}))
        plan = await plan_of(store)
        assert (plan.count, plan.kept) == (0, {})
        assert await Retention(store).run(lambda: NOW_MS) == 0
        score = await store.link.call("ZSCORE", keys.CONTEXTS, context_id)
        assert float(str(score, "ascii") if isinstance(score, bytes) else 0) == (
            state.updated_at_ms
        )


async def test_what_goes_while_it_is_looked_at_does_not_come_back_into_the_index(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = Link.call

    def goes_first(link: Link, *command: Argument) -> asyncio.Future[Reply]:
        if command[0] == "ZADD":
            _gone = call(link, "ZREM", keys.CONTEXTS, nth_id(1))
        return call(link, *command)

    async with backend.connect(retention_days=DAYS) as store:
        context_id = await keep(store, 1)
        await change(store, context_id, say().model_copy(update={"at_ms": NOW_MS - 7}))
        monkeypatch.setattr(Link, "call", goes_first)
        assert await Retention(store).run(lambda: NOW_MS) == 0
        assert await store.link.call("EXISTS", keys.CONTEXTS) == 0


async def test_a_context_is_asked_to_go_once_for_each_version_that_was_old(
    backend: Backend,
) -> None:
    async with backend.connect(retention_days=DAYS, retention_deletes_s_max=1e6) as store:
        context_id = await keep(store, 1)

        async def run_again() -> list[int | None]:
            """As where nobody has taken the mail, and it is not known to wait."""
            await store.link.call("ZREM", keys.READY, context_id)
            await store.link.call("ZADD", keys.CONTEXTS, BEGAN_MS, context_id)
            assert await Retention(store).run(lambda: NOW_MS) == 1
            return [each.mail.if_version for each in await store.undelivered(context_id)]

        assert await run_again() == [1]
        assert await run_again() == [1]
        await commit(store, context_id, rename("t").model_copy(update={"at_ms": BEGAN_MS + 1}))
        assert await run_again() == [1, 2]


async def test_what_a_worker_has_is_asked_to_go_without_a_job(backend: Backend) -> None:
    async with backend.connect(retention_days=DAYS) as store:
        context_id = await keep(store, 1)
        await store.sessions.renew("w1", now_ms=BEGAN_MS, begin=True)
        await store.ownership.activate(context_id, "w1")
        assert await Retention(store).run(lambda: NOW_MS) == 1
        assert await asked_to_go(store, context_id) == [context_id]
        assert await store.link.call("EXISTS", store.queue.KEY) == 0


async def test_what_is_at_work_or_waits_for_something_stays(backend: Backend) -> None:
    async with backend.connect(retention_days=DAYS) as store:
        at_work, due, has_mail = [await keep(store, number) for number in (1, 2, 3)]
        await change(store, at_work, say().model_copy(update={"at_ms": BEGAN_MS + 1}))
        await store.link.call("ZADD", keys.DUE, NOW_MS + 1, due)
        await store.admissions.deliver(has_mail, "ada", say_mail(), key="", digest="")
        plan = await plan_of(store)
        assert (plan.count, plan.kept) == (0, {"at-work": 1, "waiting": 2})
        assert await Retention(store).run(lambda: NOW_MS) == 0
        assert await asked_to_go(store, at_work, due, has_mail) == []


async def test_a_copy_is_as_young_as_its_id_however_old_its_log(backend: Backend) -> None:
    async with backend.connect(retention_days=DAYS) as store:
        await keep(store, 1, at_ms=MADE_MS - 1_000 * DAY_MS)
        plan = await Retention(store).plan(now_ms=MADE_MS + DAYS * DAY_MS - 1, limit=9)
        assert plan.count == 0
        plan = await Retention(store).plan(now_ms=MADE_MS + DAYS * DAY_MS, limit=9)
        assert plan.contexts[0].touched_ms == MADE_MS


async def test_a_dry_run_looks_at_page_after_page_and_says_where_it_stopped(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with backend.connect(retention_days=DAYS) as store:
        for number in range(2 * PAGE + 5):
            await keep(store, number)
        plan = await plan_of(store)
        assert (plan.count, plan.complete) == (2 * PAGE + 5, True)
        assert len(set(ids(plan))) == 2 * PAGE + 5
        monkeypatch.setattr("storage.retention.LOOKS_MAX", 2 * PAGE)
        plan = await plan_of(store)
        assert (plan.count, plan.complete) == (2 * PAGE, False)


async def test_a_run_is_bounded_and_the_next_one_goes_on(backend: Backend) -> None:
    many = PAGE + 5
    async with backend.connect(
        retention_days=DAYS, retention_run_max=PAGE, retention_deletes_s_max=1e6
    ) as store:
        old = [await keep(store, number) for number in range(many)]
        assert await Retention(store).run(lambda: NOW_MS) == PAGE
        assert len(await asked_to_go(store, *old)) == PAGE
        assert await Retention(store).run(lambda: NOW_MS) == 5
        assert await asked_to_go(store, *old) == old


async def test_a_run_deletes_no_more_than_it_may_however_many_are_looked_at_together(
    backend: Backend,
) -> None:
    async with backend.connect(
        retention_days=DAYS, retention_run_max=2, retention_deletes_s_max=1e6
    ) as store:
        old = [await keep(store, number) for number in range(5)]
        assert await Retention(store).run(lambda: NOW_MS) == 2
        assert await Retention(store).run(lambda: NOW_MS) == 2
        assert await Retention(store).run(lambda: NOW_MS) == 1
        assert await asked_to_go(store, *old) == old


async def test_what_is_passed_over_does_not_stop_what_stands_behind_it(
    backend: Backend,
) -> None:
    async with backend.connect(retention_days=DAYS, retention_run_max=1) as store:
        pinned = await keep(store, 1)
        await change(store, pinned, ContextPinned(at_ms=BEGAN_MS + 1))
        old = await keep(store, 2, at_ms=BEGAN_MS + 2)
        assert await Retention(store).run(lambda: NOW_MS) == 1
        assert await asked_to_go(store, pinned, old) == [old]
        # It is looked at again a day later.
        plan = await Retention(store).plan(now_ms=NOW_MS + DAY_MS - 1, limit=9)
        assert plan.kept == {}
        plan = await Retention(store).plan(now_ms=NOW_MS + DAY_MS, limit=9)
        assert plan.kept["pinned"] == 1


@pytest.mark.parametrize("error", [ContextMissing, KeyReused, MailboxFull])
async def test_what_cannot_be_asked_to_go_stops_no_run(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, error: type[StorageError]
) -> None:
    deliver = Admissions.deliver

    async def refuse(
        admissions: Admissions,
        context_id: str,
        owner: str,
        mail: Mail,
        *,
        key: str,
        digest: str,
    ) -> Receipt:
        if context_id == refused:
            raise error(context_id)
        return await deliver(admissions, context_id, owner, mail, key=key, digest=digest)

    async with backend.connect(retention_days=DAYS, retention_deletes_s_max=1e6) as store:
        refused, old = await keep(store, 1), await keep(store, 2)
        await store.link.call("ZADD", keys.CONTEXTS, 0, nth_id(3))  # it has gone meanwhile
        monkeypatch.setattr(Admissions, "deliver", refuse)
        assert await Retention(store).run(lambda: NOW_MS) == 1
        assert await asked_to_go(store, refused, old) == [old]


async def test_what_cannot_be_opened_stops_no_run(backend: Backend, tmp_path: Path) -> None:
    encryption = key_file(tmp_path, "new")
    async with backend.connect(
        retention_days=DAYS, retention_deletes_s_max=1e6, encryption=encryption
    ) as store:
        first, sealed_as_another, no_summary, old = [
            await keep(store, number) for number in range(4)
        ]
        summary = await store.link.call("HGET", keys.meta(first), "summary")
        assert isinstance(summary, bytes)
        await store.link.call("HSET", keys.meta(sealed_as_another), "summary", summary)
        odd = store.sealer.seal("summary", no_summary, b"{}")
        await store.link.call("HSET", keys.meta(no_summary), "summary", odd)
        with capture_logs() as logs:  # of the plan first
            assert ids(await plan_of(store)) == [first, old]
            assert await Retention(store).run(lambda: NOW_MS) == 2
        told = [(entry["context_id"], entry["reason"]) for entry in logs[:2]]
        assert told == [
            (sealed_as_another, "CannotOpen"),
            (no_summary, "ValidationError"),
        ]


async def test_deletions_are_spread_over_time(backend: Backend) -> None:
    async with backend.connect(retention_days=DAYS, retention_deletes_s_max=20) as store:
        for number in range(3):
            await keep(store, number)
        began_s = stopwatch()
        assert await Retention(store).run(lambda: NOW_MS) == 3
        assert stopwatch() - began_s >= 0.1


async def test_two_runs_at_once_ask_once(backend: Backend) -> None:
    async with (
        backend.connect(retention_days=DAYS, retention_deletes_s_max=1e6) as store,
        backend.connect(retention_days=DAYS, retention_deletes_s_max=1e6) as other,
    ):
        old = [await keep(store, number) for number in range(10)]
        gone = await Retention(store).run(lambda: NOW_MS)
        gone += await Retention(other).run(lambda: NOW_MS)
        assert gone == 10
        for context_id in old:
            assert len(await store.undelivered(context_id)) == 1


async def test_a_deleted_context_is_forgotten_by_retention_too(store: Store) -> None:
    book = Playbook()
    await create(store, book.log[0])
    owned = await own(store)
    await store.ownership.delete(next_commit(book.given(DELETE), owned, base=1), "w1")
    assert await store.link.call("EXISTS", keys.CONTEXTS) == 0


@pytest.mark.parametrize("days", [-1, 40_000])
async def test_a_number_of_days_that_is_none_is_refused(backend: Backend, days: int) -> None:
    with pytest.raises(ValueError, match="retention_days"):
        async with backend.connect(retention_days=days):
            pass
