"""How workers stop: what they finish, what they hand over, and what they begin no more."""

import asyncio

import pytest
from structlog.testing import capture_logs

from storage import Listener, WorkerBuried, worker_mail
from storage.keys import WAKE
from storage.subscriber import Subscriber
from tests.support.clock import in_virtual_time, now_s, settled, until
from tests.support.memory_store import Fault
from tests.support.playbook import CONTEXT_ID, say
from tests.workers.hosting import Jobs, Maintenance, hosting, hosting_beside, open_world
from tests.workers.stage import Reply, Scripted, now_ms, nth_id
from workers import Host, WorkerConfig


@in_virtual_time
async def test_a_running_turn_is_finished_within_the_grace() -> None:
    async with open_world() as world, hosting(world.store, drain_s=10, linger_s=60) as one:
        one.performer.usual = Reply(("Hel", "lo."), pause_s=3)
        await world.deliver(say())
        one.jobs.waiting.put_nowait(CONTEXT_ID)
        await world.until_phase("awaiting_llm_response")
        one.stop.set()
        await asyncio.wait((one.task,))
        assert now_s() == pytest.approx(6, abs=0.2)
        assert (await world.said())[-1] == ("assistant", "Hello.", "complete")
        assert await world.store.sessions.living() == 0
        assert await world.owner_of() == ""
        assert one.outcome == []


@in_virtual_time
async def test_a_turn_that_takes_longer_than_the_grace_is_handed_over_and_finished() -> None:
    async with open_world() as world, hosting_beside(world.store, "w2") as other:
        async with hosting(world.store, "w1", drain_s=2) as one:
            one.performer.usual = Reply(("Hel",), hangs=True)
            await world.deliver(say())
            one.jobs.waiting.put_nowait(CONTEXT_ID)
            await world.until_phase("streaming_llm_response")
            one.stop.set()
            await asyncio.wait((one.task,))
            assert now_s() == pytest.approx(2, abs=0.1)
            assert one.performer.stopped == ["2.0"]
            await world.until_phase("idle")
            assert now_s() < 2.5
        assert len(other.performer.kinds) == 1
        assert (await world.said())[-1] == ("assistant", "Hi.", "complete")


@in_virtual_time
async def test_what_does_not_end_when_it_is_cancelled_keeps_no_context_from_the_others() -> (
    None
):
    ids = (nth_id(1), nth_id(2))
    async with open_world(*ids) as world, hosting_beside(world.store, "w2") as other:
        # Given a worker with two turns, whose effects take their time to end
        async with hosting(world.store, "w1", drain_s=2) as one:
            one.performer.usual = Reply((), hangs=True)
            one.performer.stops_after_s = 30
            for context_id in ids:
                await world.deliver(say(), context_id=context_id)
                one.jobs.waiting.put_nowait(context_id)
            await until(lambda: len(one.performer.kinds) == 2)
            # When it is told to stop
            one.stop.set()
            # Then both are finished by another, long before its session would be over
            for context_id in ids:
                await world.until_phase("idle", context_id)
            assert now_s() < 2 + 1.5
            assert not one.task.done()
        assert len(other.performer.kinds) == 2


@in_virtual_time
async def test_a_stopping_worker_activates_nothing_more() -> None:
    ids = (nth_id(1), nth_id(2))
    async with open_world(*ids) as world, hosting(world.store, drain_s=5) as one:
        one.performer.usual = Reply((), hangs=True)
        await world.deliver(say(), context_id=ids[0])
        one.jobs.waiting.put_nowait(ids[0])
        await until(lambda: one.performer.kinds)
        assert not world.store.meters.draining
        one.stop.set()
        await settled()
        assert world.store.meters.draining
        await world.deliver(say(), context_id=ids[1])
        one.jobs.waiting.put_nowait(ids[1])
        await asyncio.wait((one.task,))
        assert len(one.performer.kinds) == 1
        assert await world.owner_of(ids[1]) == ""


@in_virtual_time
async def test_a_stopping_worker_leaves_what_has_crashed_to_others() -> None:
    ids = (nth_id(1), nth_id(2))
    async with open_world(*ids) as world, hosting(world.store, drain_s=5) as one:
        one.performer.usual = Reply((), hangs=True)
        one.performer.bug_in = ids[1]
        for context_id in ids:
            await world.deliver(say(), context_id=context_id)
            one.jobs.waiting.put_nowait(context_id)
        await until(lambda: one.jobs.failed)
        one.stop.set()
        await asyncio.wait((one.task,))
        assert world.store.steps.count("activate") == 2


@in_virtual_time
async def test_a_context_that_is_still_loaded_when_the_grace_is_over_is_handed_over() -> None:
    async with open_world() as world, hosting(world.store, drain_s=1) as one:
        one.performer.usual = Reply((), hangs=True)
        await world.deliver(say())
        answer = world.store.hold_answer("activate")
        one.jobs.waiting.put_nowait(CONTEXT_ID)
        await answer.reached.wait()
        one.stop.set()
        await asyncio.wait((one.task,), timeout=5)
        assert one.task.done()
        claimed = await world.store.ownership.claim(now_ms=now_ms(), overdue_ms=0)
        assert claimed == [CONTEXT_ID]


@in_virtual_time
@pytest.mark.parametrize("fault", ["lost", "refused"])
async def test_a_worker_stops_even_if_the_store_does_not_hear_of_it(fault: Fault) -> None:
    async with open_world() as world, hosting(world.store) as one:
        world.store.fail("bury", fault)
        one.stop.set()
        await asyncio.wait((one.task,))
        assert one.outcome == []


@in_virtual_time
async def test_a_context_that_is_loaded_within_the_grace_is_finished_and_given_back() -> None:
    async with open_world() as world, hosting(world.store, drain_s=10, linger_s=60) as one:
        one.performer.usual = Reply(pause_s=1)
        await world.deliver(say())
        answer = world.store.hold_answer("activate")
        one.jobs.waiting.put_nowait(CONTEXT_ID)
        await answer.reached.wait()
        one.stop.set()
        await settled()
        answer.opened.set()
        await asyncio.wait((one.task,))
        assert now_s() < 2
        assert (await world.said())[-1] == ("assistant", "Hi.", "complete")
        assert one.performer.stopped == []


@in_virtual_time
async def test_a_stopping_worker_claims_nothing_that_others_could_have() -> None:
    async with open_world() as world, hosting(world.store, drain_s=30) as one:
        one.performer.usual = Reply((), hangs=True)
        await world.deliver(say())
        one.jobs.waiting.put_nowait(CONTEXT_ID)
        await until(lambda: one.performer.kinds)
        one.stop.set()
        await settled()
        claims = world.store.steps.count("claim")
        await asyncio.sleep(20)
        assert not one.task.done()
        assert world.store.steps.count("claim") == claims


@in_virtual_time
async def test_a_worker_that_is_over_begins_nothing_that_is_still_pushed_to_it() -> None:
    ids = (nth_id(1), nth_id(2))
    async with open_world(*ids) as world, hosting(world.store) as one:
        # Given a worker that was buried, and an effect of its that takes its time to end
        one.performer.usual = Reply((), hangs=True)
        one.performer.stops_after_s = 30
        await world.deliver(say(), context_id=ids[0])
        one.jobs.waiting.put_nowait(ids[0])
        await until(lambda: one.performer.kinds)
        await world.store.sessions.bury("w1")
        await until(one.over.is_set)
        # When mail of another context arrives that was on its way
        await world.store.link.call("PUBLISH", worker_mail("w1"), f"{ids[1]}\n0\n".encode())
        await asyncio.wait((one.task,))
        # Then nothing begins, and nothing else ends
        (group,) = one.outcome
        assert group.split(WorkerBuried)[1] is None
        assert world.store.steps.count("activate") == 1


@in_virtual_time
async def test_a_worker_that_has_stopped_listens_to_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    left: list[str] = []
    unsubscribe = Subscriber.unsubscribe

    def note(self: Subscriber, channel: str, listener: Listener) -> None:
        left.append(channel)
        unsubscribe(self, channel, listener)

    monkeypatch.setattr(Subscriber, "unsubscribe", note)
    async with open_world() as world, hosting(world.store) as one:
        one.stop.set()
        await one.task
        assert left == [worker_mail("w1"), WAKE]


@in_virtual_time
async def test_a_worker_that_waits_for_the_store_says_so_once_and_stops_when_it_is_told() -> (
    None
):
    async with open_world() as world:
        away: list[Fault] = ["lost"] * 10
        world.store.fail("renew", *away)
        stop = asyncio.Event()
        config, jobs = WorkerConfig(commit_pause_s_max=10), Jobs(world.store, "w1")
        host = Host(
            "w1",
            store=world.store,
            source=jobs,
            performer=Scripted(),
            config=config,
            clock=now_ms,
            chores=Maintenance(world.store, config, jobs),
        )
        with capture_logs() as logs:
            async with asyncio.TaskGroup() as group:
                running = group.create_task(host.run(stop, lambda: None), name="w1")
                await asyncio.sleep(25)
                stop.set()
                assert await running == 0
        assert now_s() == 25
        assert [line["event"] for line in logs] == ["worker waits for the store"]
