"""Where records of activity cannot be written, no request fails or waits for that."""

import asyncio
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
import structlog

from storage import ActivityLog, keys
from tests.dashboard.activities import WRITE_S, active, activity, recent, stored, watched
from tests.gateway.arrivals import tell_store
from tests.support.service import eventually, serving
from tests.support.store_faults import memory_full
from tests.support.store_server import StoreServer


async def test_activity_under_a_store_that_does_not_answer_delays_and_fails_nothing() -> None:
    with StoreServer() as server:
        bounds = {"activity_waiting_max": 20, "activity_records_s_max": 1_000}
        quick = {"store_call_s_max": 1.0}
        async with serving(server.url, storage=quick, extensions=active(**bounds)) as service:
            client = service.client
            await client.create()
            server.pause()
            try:
                for _ in range(60):  # each would wait for the store, if any did
                    assert (await client.get("/healthz")).status == 200

                async def is_lost() -> bool:
                    assert (await client.get("/healthz")).status == 200
                    view = await activity(client)
                    assert (view["complete"], view["failed_requests"]) == (False, 0)
                    return bool(view["records"]["lost"]["store"] > 40)

                await eventually(is_lost)
                assert len(await recent(client)) > 60
            finally:
                server.resume()

            async def is_back() -> bool:
                await client.get("/readyz")
                answer = await client.get("/api/v1/metrics/events?limit=5")
                return (
                    answer.status == 200
                    and any(each["endpoint"] == "GET /readyz" for each in answer.json["events"])
                    and bool((await activity(client))["complete"])
                )

            await eventually(is_back)


async def test_records_that_wait_are_bounded_and_the_oldest_make_room(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[int] = []
    goes_on = asyncio.Event()

    async def late(_log: ActivityLog, records: Sequence[bytes]) -> int:
        taken.append(len(records))
        await goes_on.wait()
        return len(records)

    monkeypatch.setattr(ActivityLog, "append", late)
    async with watched(store_url, activity_waiting_max=5) as service:

        async def is_writing() -> bool:
            await service.client.get("/healthz")
            return bool(taken)

        await eventually(is_writing)
        for _ in range(20):
            assert (await service.client.get("/healthz")).status == 200
        records = (await activity(service.client))["records"]
        assert records["lost"] == {"store": records["kept"] - taken[0] - 5}
        goes_on.set()

        async def is_written() -> bool:
            return len(taken) > 1

        await eventually(is_written)
        assert taken[1] == 5


async def test_a_place_that_takes_nothing_is_said_once_and_tried_after_pauses(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    began_s: list[float] = []
    goes_on = asyncio.Event()

    async def fail(_log: ActivityLog, _records: Sequence[bytes]) -> int:
        began_s.append(asyncio.get_running_loop().time())
        await goes_on.wait()
        return 0

    monkeypatch.setattr(ActivityLog, "append", fail)
    monkeypatch.setattr("dashboard.activity.BATCH_MAX", 1)
    with structlog.testing.capture_logs() as logged:
        async with watched(store_url) as service:
            for _ in range(6):
                await service.client.get("/healthz")
            goes_on.set()

            async def is_tried() -> bool:
                return len(began_s) > 4

            await eventually(is_tried)
            pauses = [later - sooner for sooner, later in pairwise(began_s[1:5])]
    assert min(pauses) > WRITE_S / 2, "it has a full batch, and waits all the same"
    said = [line for line in logged if line["event"] == "activity is not written"]
    assert [line["lost"] for line in said] == [1]


async def test_activity_under_a_store_that_takes_no_writes_is_lost_and_counted() -> None:
    with StoreServer() as server, server.client() as store:
        async with watched(server.url) as service:
            client = service.client
            context_id = await client.create()
            with memory_full(store, server.process_id):

                async def is_lost() -> bool:
                    polled = await client.get(f"/api/contexts/{context_id}/state")
                    assert polled.status == 200
                    return bool((await activity(client))["records"]["lost"].get("store", 0) > 3)

                await eventually(is_lost)

            async def is_back() -> bool:
                await client.get("/docs")
                return any(each["endpoint"] == "GET /docs" for each in await stored(client))

            await eventually(is_back)


async def test_a_store_with_something_else_in_the_place_of_records_fails_nothing(
    store_url: str, shared_store: StoreServer
) -> None:
    for key in (keys.ACTIVITY, keys.ACTIVITY_GATEWAYS):
        tell_store(shared_store, "SET", key, "in the way")
    async with watched(store_url) as service:
        client = service.client
        answer = await client.get("/api/v1/metrics/events")
        assert (answer.status, answer.problem) == (503, "store-unavailable")
        assert (await activity(client))["complete"] is False

        async def is_lost() -> bool:
            assert (await client.get("/healthz")).status == 200
            return bool((await activity(client))["records"]["lost"].get("store", 0) > 3)

        await eventually(is_lost)


async def test_a_folder_that_goes_away_loses_records_and_no_request(
    store_url: str, tmp_path: Path
) -> None:
    folder = tmp_path / "activity"
    folder.mkdir()
    async with watched(store_url, activity_folder=folder) as service:
        client = service.client
        newest = folder / "activity-0.jsonl"

        async def is_written() -> bool:
            assert (await client.get("/healthz")).status == 200
            return newest.exists() and "/healthz" in newest.read_text()

        await eventually(is_written)
        folder.rename(tmp_path / "gone")

        async def is_lost() -> bool:
            assert (await client.get("/healthz")).status == 200
            return bool((await activity(client))["records"]["lost"].get("files", 0) > 3)

        await eventually(is_lost)
        (tmp_path / "gone").rename(folder)
        lines = len(newest.read_text().splitlines())

        async def is_back() -> bool:
            await client.get("/healthz")
            return len(newest.read_text().splitlines()) > lines

        await eventually(is_back)


async def test_what_waits_is_written_when_a_gateway_ends(
    store_url: str,
    shared_store: StoreServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dashboard.activity.LAST_S_MAX", 20.0)
    options = {"activity_write_s": 60, "activity_folder": tmp_path}
    async with watched(store_url, **options) as service:
        await service.client.get("/healthz")
    assert "/healthz" in (tmp_path / "activity-0.jsonl").read_text()
    with shared_store.client() as store:
        assert "/healthz" in str(store.xrange(keys.ACTIVITY))
