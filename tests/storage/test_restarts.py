"""Restarts and drains are asked for one at a time, and never without anybody to do them."""

import asyncio
from collections.abc import Sequence
from typing import Literal

import pytest

from storage import (
    CARRIER_S,
    Entry,
    NoSupervisor,
    OtherRuns,
    ProcessRestart,
    Restart,
    RestartRequest,
    Restarts,
    Store,
    SupervisorReport,
    announced_after,
    keys,
)
from storage.restarts import GONE
from tests.storage.arranging import listening
from tests.support.playbook import BEGAN_MS


async def ask(store: Store, kind: str = "restart", process: str | None = None) -> str:
    drains = kind == "drain"
    return await Restarts(store).ask(
        "workers",
        force=False,
        now_ms=BEGAN_MS,
        kind="drain" if drains else "restart",
        process=process,
    )


async def heard(store: Store, requests: int, *, asked: asyncio.Event) -> list[RestartRequest]:
    """What a supervisor hears that carries out each at once."""
    restarts, found = Restarts(store), list[RestartRequest]()
    asked.set()
    async for request in restarts.requests():
        found.append(request)
        report = SupervisorReport(supervisor="s", status="complete")
        await restarts.report(request.restart_id, report)
        if len(found) == requests:
            break
    return found


async def begin(store: Store, kind: str = "restart", process: str | None = None) -> str:
    """Have one asked for that somebody hears and does not end."""
    async with asyncio.TaskGroup() as group:

        async def hear() -> None:
            async for _ in Restarts(store).requests():
                return

        hearing = group.create_task(hear())
        found = await ask(store, kind, process)
        await hearing
    return found


async def test_a_drain_is_heard_with_what_it_is_about(store: Store) -> None:
    asked = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        hearing = group.create_task(heard(store, 1, asked=asked))
        await asked.wait()
        restart_id = await ask(store, "drain", "w1")
    (request,) = hearing.result()
    assert (request.restart_id, request.kind, request.process) == (restart_id, "drain", "w1")
    report = await Restarts(store).read(restart_id)
    assert report is not None
    assert report.status == "complete"
    assert await store.link.call("EXISTS", keys.RESTARTING) == 0


@pytest.mark.parametrize(
    ("runs", "asked"),
    [
        (("restart", None), ("drain", None)),
        (("drain", None), ("restart", None)),
        (("drain", "w1"), ("drain", "w2")),
        (("drain", "w1"), ("drain", None)),
    ],
)
async def test_while_one_runs_another_one_is_refused_and_leaves_nothing(
    store: Store, runs: tuple[str, str | None], asked: tuple[str, str | None]
) -> None:
    running = await begin(store, *runs)
    kept = await store.link.call("KEYS", "restart:*")
    with pytest.raises(OtherRuns) as refused:
        await ask(store, *asked)
    assert refused.value.restart_id == running
    assert await store.link.call("KEYS", "restart:*") == kept


@pytest.mark.parametrize("same", [("restart", None), ("drain", None), ("drain", "w1")])
async def test_what_runs_already_is_named_to_whoever_asks_for_the_same(
    store: Store, same: tuple[str, str | None]
) -> None:
    assert await begin(store, *same) == await ask(store, *same)


async def test_one_whose_gateway_died_before_it_told_is_told_by_whoever_asks_next(
    store: Store,
) -> None:
    asked = asyncio.Event()
    untold = RestartRequest(
        restart_id="r-1", scope="workers", force=False, requested_at_ms=BEGAN_MS
    )
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        hearing = group.create_task(heard(store, 1, asked=asked))
        await asked.wait()
        while await store.link.call("PUBLISH", keys.SUPERVISORS, "") == 0:
            pass
        await store.link.call("HSET", keys.restart("r-1"), "request", untold.model_dump_json())
        await store.link.call("SET", keys.RESTARTING, "r-1")
        assert await ask(store) == "r-1"
    assert hearing.result() == [untold]


@pytest.mark.parametrize("late", ["running", "complete"])
async def test_a_report_of_one_that_was_taken_to_be_over_leaves_the_next_one_alone(
    store: Store, late: Literal["running", "complete"]
) -> None:
    over = await begin(store, "drain", "w1")
    await store.link.call("DEL", keys.RESTARTING)  # it was silent for too long
    runs = await begin(store, "drain", "w2")
    await store.link.call("PERSIST", keys.RESTARTING)
    await Restarts(store).report(over, SupervisorReport(supervisor="s", status=late))
    assert await store.link.call("GET", keys.RESTARTING) == runs.encode()
    assert await store.link.call("TTL", keys.RESTARTING) == -1
    await Restarts(store).report(runs, SupervisorReport(supervisor="s", status="running"))
    assert await store.link.call("TTL", keys.RESTARTING) == store.config.restart_silent_s_max


async def test_many_who_ask_at_once_get_one_restart(store: Store) -> None:
    asked = asyncio.Event()
    async with asyncio.TaskGroup() as group:

        async def hear() -> None:
            asked.set()
            async for _ in Restarts(store).requests():
                return

        group.create_task(hear())
        await asked.wait()
        asking = [group.create_task(ask(store)) for _ in range(8)]
    assert len({one.result() for one in asking}) == 1


async def test_without_a_supervisor_nothing_is_begun_and_nothing_is_left(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.restarts.SUPERVISOR_LOOKS", 1)
    monkeypatch.setattr("storage.restarts.SUPERVISOR_LOOK_S", 0)
    with pytest.raises(NoSupervisor):
        await ask(store, "drain")
    assert await store.link.call("KEYS", "restart*") == []


@pytest.mark.parametrize(
    ("reported", "status"),
    [
        ((), "requested"),
        (("running", "failed"), "running"),
        (("complete", "failed"), "failed"),
        (("complete", "complete"), "complete"),
    ],
)
def test_a_restart_is_as_far_as_its_supervisors_together(
    reported: Sequence[Literal["running", "complete", "failed"]], status: str
) -> None:
    request = RestartRequest(
        restart_id="r-1", scope="workers", force=False, requested_at_ms=BEGAN_MS
    )
    reports = (SupervisorReport(supervisor=f"s{n}", status=s) for n, s in enumerate(reported))
    assert Restart(request=request, supervisors=tuple(reports)).status == status


async def test_dashboards_are_told_what_was_asked_for_how_far_it_is_and_how_it_ends(
    store: Store,
) -> None:
    store.begin("gateway", "g", dict)
    restart_id = await begin(store)
    replaced = ProcessRestart(
        role="worker",
        slot=0,
        process_id=7,
        replaced_by=8,
        outcome="drained",
        moved=3,
        duration_ms=90,
    )
    begun = SupervisorReport(supervisor="s", status="running")
    for report in (
        begun,
        begun.model_copy(update={"processes": (replaced,)}),
        begun.model_copy(update={"processes": (replaced,), "status": "complete"}),
    ):
        await Restarts(store).report(restart_id, report)
    await store.announcer.flush()
    found = await announced_after(store.link, 0, limit=100)
    told = [Entry.model_validate_json(raw).what.model_dump() for _, raw in found]
    assert [(one["type"], one.get("done"), one.get("replaced_by")) for one in told] == [
        ("restart_requested", None, None),
        ("restart_progress", 0, None),
        ("restart_progress", 1, 8),
        ("restart_complete", None, None),
    ]
    assert {one["restart_id"] for one in told} == {restart_id}
    assert told[-1]["status"] == "complete"


async def reported(
    store: Store, restart_id: str, **statuses: Literal["running", "complete"]
) -> None:
    """Reports of supervisors, by their names."""
    for name, status in statuses.items():
        report = SupervisorReport(supervisor=name, status=status)
        await Restarts(store).report(restart_id, report)


async def be_silent(store: Store, restart_id: str, supervisor: str) -> None:
    """A supervisor has given no sign for so long that it is taken to be gone."""
    assert await store.link.call("TTL", keys.carrier(restart_id, supervisor)) == CARRIER_S
    await store.link.call("DEL", keys.carrier(restart_id, supervisor))


async def test_a_supervisor_that_gives_no_sign_any_more_has_failed_for_whoever_looks(
    store: Store,
) -> None:
    restart_id = await begin(store)
    await reported(store, restart_id, gone="running", here="running", done="complete")
    await be_silent(store, restart_id, "gone")
    found = await Restarts(store).fail_lost(restart_id)
    assert found is not None
    assert found == await Restarts(store).read(restart_id)
    assert [(one.supervisor, one.status, one.reason) for one in found.supervisors] == [
        ("done", "complete", None),
        ("gone", "failed", GONE),
        ("here", "running", None),
    ]
    assert found.status == "running"
    await be_silent(store, restart_id, "here")
    await Restarts(store).carry(restart_id, "here")
    assert await Restarts(store).fail_lost(restart_id) == found
    await be_silent(store, restart_id, "here")
    found = await Restarts(store).fail_lost(restart_id)
    assert found is not None
    assert found.status == "failed"
    assert await Restarts(store).running() is None
    assert await Restarts(store).fail_lost("r-unknown") is None


async def test_what_supervisors_that_are_gone_have_begun_keeps_nobody_from_another_one(
    store: Store,
) -> None:
    restart_id = await begin(store, "drain", "w1")
    await reported(store, restart_id, gone="running")
    with pytest.raises(OtherRuns):
        await ask(store)
    await be_silent(store, restart_id, "gone")
    async with listening(store, keys.SUPERVISORS):
        assert await ask(store) != restart_id


async def test_one_that_is_over_and_was_not_said_to_be_keeps_nobody_from_another_one(
    store: Store,
) -> None:
    restart_id = await begin(store, "drain", "w1")
    await reported(store, restart_id, done="complete")
    await store.link.call("SET", keys.RESTARTING, restart_id)  # who reported died before
    async with listening(store, keys.SUPERVISORS):
        assert await ask(store) != restart_id
