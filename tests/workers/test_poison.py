"""P11: what ends the workers that begin it is given up, and nothing beside it suffers."""

import asyncio
from typing import TYPE_CHECKING

import pytest

import workers.batch
from fsm import (
    ContextCreated,
    ContextDeleted,
    ContextState,
    Event,
    MessageReceived,
    RetryDue,
    Step,
    TimePassed,
    transition,
)
from storage import (
    DeadLetters,
    Owned,
    StorageError,
    StoreRefusedWrite,
    StoreUnavailable,
)
from tests.support.clock import in_virtual_time, now_s, settled, until
from tests.support.memory_store import MemoryStore, open_memory_store
from tests.support.playbook import CONTEXT_ID, RETRY, configure, rename, say
from tests.workers.hosting import Hosting, hosting, open_world
from tests.workers.stage import OWNER, Bug, Reply, Scripted, Stage, now_ms, nth_id

if TYPE_CHECKING:
    from collections.abc import Callable

POISON = "poison"
BESIDE = [nth_id(number) for number in range(2, 6)]


class Deadly:
    """A transition that ends whoever applies the poison."""

    def __init__(self) -> None:
        self.ends: Callable[[], None] = lambda: None
        self.kinds: tuple[type[Event], ...] = ()
        """Other events that are poison."""
        self.taken: list[str] = []

    def __call__(self, state: ContextState, event: Event) -> Step:
        poison = isinstance(event, self.kinds)
        if isinstance(event, MessageReceived):
            self.taken.append(event.content)
            poison = event.content == POISON
        if poison:
            self.ends()
            raise Bug("poisoned")
        return transition(state, event)


@pytest.fixture
def deadly(monkeypatch: pytest.MonkeyPatch) -> Deadly:
    poisoned = Deadly()
    monkeypatch.setattr(workers.batch, "transition", poisoned)
    return poisoned


async def end_in_retrieval(world: Stage[MemoryStore]) -> None:
    """Begin a turn whose retrieval ends three workers, w0 to w2."""
    await world.deliver_all(configure(retrieval=["notes"]), say())
    for number in range(3):
        performer = Scripted(retrieval_hangs=True)
        async with hosting(world.store, f"w{number}", performer=performer) as one:
            one.jobs.waiting.put_nowait(CONTEXT_ID)
            while not performer.kinds:
                await settled()
            one.kill()
        await world.store.sessions.bury(f"w{number}")


async def until_active(one: Hosting, count: int) -> None:
    """Wait until a host runs so many contexts."""
    await until(lambda: one.host.load()["active"] == count)


@in_virtual_time
async def test_p11_an_action_that_crashes_its_activation_three_times_is_buried(
    deadly: Deadly,
) -> None:
    async with open_world() as world, hosting(world.store) as one:
        began_ms = now_ms()
        before = await world.deliver(say("before"))
        poison = await world.deliver(say(POISON))
        after = await world.deliver(rename("after"))
        one.jobs.waiting.put_nowait(CONTEXT_ID)
        state = await world.until_phase("failed")
        assert deadly.taken.count("before") <= 2  # the first try took all of them at once
        assert state.failure is not None
        assert state.failure.code == "poison_action"
        assert "send_message has ended 3 workers in a row" in state.failure.detail
        assert "poisoned" in state.failure.detail
        while (await world.state()).title != "after":
            await settled()
        results = [await world.result(seq) for seq in (before, poison, after)]
        assert [result and result.outcome for result in results] == [
            *("applied", "refused", "applied")
        ]
        assert results[1] is not None
        assert results[1].code == "action-abandoned"
        (letter,) = (await DeadLetters(world.store.link, world.store.sealer).page(10)).letters
        assert (letter.context_id, letter.owner, letter.cause) == (
            *(CONTEXT_ID, OWNER, state.failure.detail),
        )
        assert began_ms <= letter.at_ms <= now_ms()
        assert letter.mail is not None
        assert isinstance(letter.mail.event, MessageReceived)
        assert letter.mail.event.content == POISON
        await world.deliver(RETRY)
        await world.until_phase("idle")
        await world.deliver(say("again"))
        await until(lambda: "again" in deadly.taken)
        assert (await world.until_phase("idle")).failure is None


@in_virtual_time
async def test_p11_an_action_that_kills_three_workers_is_buried_by_the_fourth(
    deadly: Deadly,
) -> None:
    async with open_world(CONTEXT_ID, *BESIDE) as world:
        for context_id in BESIDE:
            await world.deliver(say("beside"), context_id=context_id)
        await world.deliver(say(POISON))
        for number in range(3):
            # In mid-reply when the worker dies, all of them.
            performer = Scripted(usual=Reply(("Hel", "lo."), pause_s=0.4))
            worker_id = f"w{number}"
            async with hosting(world.store, worker_id, performer=performer) as one:
                deadly.ends = one.kill
                for context_id in (*BESIDE, CONTEXT_ID):
                    one.jobs.waiting.put_nowait(context_id)
                await until(one.task.done)
            await world.store.sessions.bury(worker_id)
        assert deadly.taken.count(POISON) == 3
        async with hosting(world.store, "w3") as last:
            state = await world.until_phase("failed")
            assert state.failure is not None
            assert state.failure.detail.endswith("The worker w2 died.")
            for context_id in BESIDE:
                beside = await world.until_phase("idle", context_id)
                assert [m.status for m in beside.messages] == ["complete", "complete"]
            assert not last.outcome
        assert deadly.taken.count(POISON) == 3
        letters = (await DeadLetters(world.store.link, world.store.sealer).page(10)).letters
        assert [letter.context_id for letter in letters] == [CONTEXT_ID]


@in_virtual_time
async def test_p11_of_several_suspects_the_next_death_blames_one(deadly: Deadly) -> None:
    """Innocent mail that waited beside the poison each time is never buried with it."""
    async with open_world(CONTEXT_ID, *BESIDE) as world:
        await world.deliver(say(POISON))
        for number in range(3):
            async with hosting(world.store, f"w{number}") as one:
                deadly.ends = one.kill
                one.jobs.waiting.put_nowait(CONTEXT_ID)
                # Loaded in the same moment, and none has committed when the worker dies.
                for context_id in BESIDE:
                    if number == 0:
                        await world.deliver(rename(f"{number}"), context_id=context_id)
                    one.jobs.waiting.put_nowait(context_id)
                await until(one.task.done)
            await world.store.sessions.bury(f"w{number}")
        async with hosting(world.store, "w3"):
            await world.until_phase("failed")
            for context_id in BESIDE:
                assert (await world.until_phase("idle", context_id)).title == "0"
        (letter,) = (await DeadLetters(world.store.link, world.store.sealer).page(10)).letters
        assert letter.context_id == CONTEXT_ID


@in_virtual_time
async def test_p11_deaths_are_counted_in_a_row_only(
    deadly: Deadly, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_world() as world:
        for number in range(5):
            await world.deliver(say(f"fine {number}"))
            await world.deliver(say(POISON))
            async with hosting(world.store, f"a{number}") as one:
                deadly.ends = one.kill
                one.jobs.waiting.put_nowait(CONTEXT_ID)
                await until(one.task.done)
            await world.store.sessions.bury(f"a{number}")
            with monkeypatch.context() as mended:
                mended.setattr(workers.batch, "transition", transition)
                async with hosting(world.store, f"b{number}"):
                    await world.until_phase("idle")
            await world.store.sessions.bury(f"b{number}")
        assert await DeadLetters(world.store.link, world.store.sealer).count() == 0


@in_virtual_time
async def test_p11_retrieval_that_kills_its_workers_fails_the_turn() -> None:
    async with open_world() as world:
        await end_in_retrieval(world)
        async with hosting(world.store, "w3") as last:
            state = await world.until_phase("failed")
            assert last.performer.kinds == []
            assert state.failure is not None
            assert "what the context was doing" in state.failure.detail
            await world.deliver(RETRY)
            await world.until_phase("idle")
            assert last.performer.kinds == ["prepare-request", "call-model"]


@in_virtual_time
async def test_p11_mail_that_comes_while_work_is_given_up_is_not_buried_with_it() -> None:
    async with open_world() as world:
        await end_in_retrieval(world)
        loaded = world.store.hold_answer("activate")
        async with hosting(world.store, "w3") as last:
            last.jobs.waiting.put_nowait(CONTEXT_ID)
            await loaded.reached.wait()
            pushed = await world.deliver(rename("pushed"))
            await settled()
            loaded.opened.set()
            while (result := await world.result(pushed)) is None:
                await settled()
            assert result.outcome == "applied"
        (letter,) = (await DeadLetters(world.store.link, world.store.sealer).page(10)).letters
        assert letter.mail is None


@in_virtual_time
async def test_p11_contexts_that_only_wait_are_no_suspects() -> None:
    """For somebody, for a time, for the next attempt: each dies with its worker, blameless."""
    scheduled, failing, *idle = BESIDE
    async with open_world(scheduled, *idle) as world:
        await world.create(
            failing, {"limits": {"backoff_ms_base": 60_000, "backoff_ms_max": 60_000}}
        )
        tomorrow_ms = now_ms() + 86_400_000
        await world.deliver(say("later", not_before_ms=tomorrow_ms), context_id=scheduled)
        await world.deliver(say(), context_id=failing)
        for number in range(5):
            performer = Scripted(usual=Reply((), fails="overloaded"))
            async with hosting(world.store, f"w{number}", performer=performer) as one:
                if number == 0:
                    for context_id in BESIDE:
                        one.jobs.waiting.put_nowait(context_id)
                await until_active(one, len(BESIDE))
                await world.until_phase("transient_failure", failing)
                one.kill()
            await world.store.sessions.bury(f"w{number}")
        async with hosting(world.store, "w9") as last:
            await until_active(last, len(BESIDE))
            await world.deliver(rename("said"), context_id=idle[-1])
            while (await world.state(idle[-1])).title != "said":
                await settled()
            assert now_s() < 5, "nobody waits for those that wait"
            for context_id in (scheduled, *idle):
                await world.until_phase("idle", context_id)
        assert await DeadLetters(world.store.link, world.store.sealer).count() == 0


@pytest.mark.parametrize("kind", [TimePassed, RetryDue])
@in_virtual_time
async def test_p11_what_ends_workers_when_its_time_has_come_is_given_up(
    kind: type[Event], deadly: Deadly
) -> None:
    deadly.kinds = (kind,)
    async with open_world() as world:
        soon_ms = now_ms() + 1_000 if kind is TimePassed else None
        await world.deliver(say(not_before_ms=soon_ms))
        for number in range(4):  # of the first it is not known what it was doing
            performer = Scripted(usual=Reply((), fails="overloaded"))
            async with hosting(world.store, f"w{number}", performer=performer) as one:
                deadly.ends = one.kill
                one.jobs.waiting.put_nowait(CONTEXT_ID)
                await until(one.task.done)
            await world.store.sessions.bury(f"w{number}")
        deadly.kinds = ()
        letters = DeadLetters(world.store.link, world.store.sealer)
        async with hosting(world.store, "w4"):
            while not await letters.count():
                await settled()
        (letter,) = (await letters.page(10)).letters
        what = "send_message" if kind is TimePassed else "what the context was doing"
        assert f"{what} has ended 3 workers in a row" in letter.cause


@in_virtual_time
async def test_p11_a_message_for_later_that_ends_workers_is_given_up_once(
    deadly: Deadly,
) -> None:
    deadly.kinds = (TimePassed,)
    async with open_world() as world:
        tomorrow_ms = now_ms() + 86_400_000
        await world.deliver(say("soon", not_before_ms=now_ms() + 1_000))
        await world.deliver(say("tomorrow", not_before_ms=tomorrow_ms))
        for number in range(4):
            async with hosting(world.store, f"w{number}") as one:
                deadly.ends = one.kill
                one.jobs.waiting.put_nowait(CONTEXT_ID)
                await until(one.task.done)
            await world.store.sessions.bury(f"w{number}")
        async with hosting(world.store, "w4") as last:
            deadly.ends = last.kill
            state = await world.until_phase("failed")
            await asyncio.sleep(60)
            assert not last.task.done()
        assert [said.content for said in state.scheduled] == ["tomorrow"]
        (letter,) = (await DeadLetters(world.store.link, world.store.sealer).page(10)).letters
        assert letter.mail is not None
        assert isinstance(letter.mail.event, MessageReceived)
        assert (letter.mail.event.content, letter.mail.event.not_before_ms) == ("soon", None)


@in_virtual_time
async def test_p11_mail_is_not_blamed_for_what_has_become_due_behind_it(
    deadly: Deadly,
) -> None:
    deadly.kinds = (TimePassed,)
    async with open_world() as world:
        await world.deliver(say("soon", not_before_ms=now_ms() + 1_000))
        for number in range(5):
            async with hosting(world.store, f"w{number}") as one:
                deadly.ends = one.kill
                one.jobs.waiting.put_nowait(CONTEXT_ID)
                await until(one.task.done)
            await world.store.sessions.bury(f"w{number}")
            if number == 0:
                await world.deliver(rename("Innocent"))
        async with hosting(world.store, "w5") as last:
            deadly.ends = last.kill
            state = await world.until_phase("failed")
        assert state.title == "Innocent"
        (letter,) = (await DeadLetters(world.store.link, world.store.sealer).page(10)).letters
        assert letter.mail is not None
        assert isinstance(letter.mail.event, MessageReceived)


@in_virtual_time
async def test_p11_an_expiry_that_ends_workers_is_given_up_once(deadly: Deadly) -> None:
    deadly.kinds = (ContextDeleted,)
    async with open_memory_store() as store:
        created = ContextCreated(
            at_ms=now_ms(), context_id=CONTEXT_ID, owner=OWNER, expires_ms=now_ms() + 1_000
        )
        await store.admissions.create(created, first=None, key="", digest="")
        world = Stage(store)
        await world.deliver(say("later", not_before_ms=now_ms() + 1_000))
        for number in range(4):
            async with hosting(store, f"w{number}") as one:
                deadly.ends = one.kill
                one.jobs.waiting.put_nowait(CONTEXT_ID)
                await until(one.task.done)
            await store.sessions.bury(f"w{number}")
        async with hosting(store, "w4") as last:
            deadly.ends = last.kill
            await asyncio.sleep(60)
            assert not last.task.done()
        assert (await world.state()).pinned
        assert deadly.taken.count("later") == 1
        assert ("user", "later", "complete") in await world.said()
        (letter,) = (await DeadLetters(store.link, store.sealer).page(10)).letters
        assert letter.mail is not None
        assert isinstance(letter.mail.event, ContextDeleted)


@in_virtual_time
async def test_p11_mail_that_is_pushed_to_an_idle_context_is_blamed_for_its_own_deaths(
    deadly: Deadly,
) -> None:
    async with open_world() as world:
        for number in range(4):
            async with hosting(world.store, f"idle{number}") as one:
                one.jobs.waiting.put_nowait(CONTEXT_ID)
                await until_active(one, 1)
                one.kill()
            await world.store.sessions.bury(f"idle{number}")
        for number in range(3):
            loaded = world.store.hold_answer("activate")
            async with hosting(world.store, f"w{number}") as one:
                deadly.ends = one.kill
                one.jobs.waiting.put_nowait(CONTEXT_ID)
                await loaded.reached.wait()
                if number == 0:
                    await world.deliver(say(POISON))
                loaded.opened.set()
                await until(one.task.done)
            await world.store.sessions.bury(f"w{number}")
        assert deadly.taken == [POISON] * 3
        async with hosting(world.store, "w3"):
            state = await world.until_phase("failed")
        assert state.failure is not None
        assert "send_message has ended 3 workers in a row" in state.failure.detail
        assert deadly.taken == [POISON] * 3


@in_virtual_time
async def test_p11_a_store_that_is_away_is_nobodys_fault() -> None:
    async with open_world() as world:
        await world.deliver(say())
        for number in range(6):
            world.store.fail("activate", "unanswered")
            async with hosting(world.store, f"w{number}") as one:
                one.jobs.waiting.put_nowait(CONTEXT_ID)
                while world.store.steps.count("activate") <= number:
                    await settled()
                one.kill()
            await world.store.sessions.bury(f"w{number}")
        async with hosting(world.store, "w9"):
            await world.until_phase("idle")
        assert await DeadLetters(world.store.link, world.store.sealer).count() == 0


@pytest.mark.parametrize("error", [StoreUnavailable("unanswered"), StoreRefusedWrite("full")])
@in_virtual_time
async def test_p11_an_attempt_whose_answer_is_lost_is_counted_once(
    error: StorageError, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_world() as world:
        await world.deliver(rename("fine"))
        loaded = world.store.hold_answer("activate")
        async with hosting(world.store, "w0") as one:
            one.jobs.waiting.put_nowait(CONTEXT_ID)
            await loaded.reached.wait()
            one.kill()
        await world.store.sessions.bury("w0")
        count, counted = world.store.ownership.count_attempt, list[int]()

        async def unanswered(owned: Owned, attempt: int) -> None:
            await count(owned, attempt)
            counted.append(attempt)
            if len(counted) < 5:
                raise error

        monkeypatch.setattr(world.store.ownership, "count_attempt", unanswered)
        async with hosting(world.store, "w1"):
            while (await world.state()).title != "fine":
                await settled()
                assert not await DeadLetters(world.store.link, world.store.sealer).count()
        assert counted == [2] * 5
