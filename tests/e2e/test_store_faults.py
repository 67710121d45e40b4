"""P12, P15: the store is full, read-only or failing under a running service, and recovers.

Real processes throughout. A full disk is a bound on the size of files (see
`tests/support/store_faults.py`).
"""

import asyncio
import resource
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest

from tests.support.http_client import HttpClient, Reply
from tests.support.invariants import Sent, everything_said, history_faults
from tests.support.service_processes import Service, until
from tests.support.store_faults import REFUSALS, give_room, newest_log, no_room
from tests.support.store_server import StoreServer

pytestmark = [pytest.mark.timeout(240), pytest.mark.real_only]

ANSWER_S_MAX = 6.0
"""P15: a write is answered so soon, whatever the store does."""
RETURN_S_MAX = 5.0
"""P15: service resumes so soon after the fault's end."""
LONG_S = 8.0
"""Long enough for every wait between restarts to have grown."""
BIG = "x" * 50_000


async def sent_once(client: HttpClient, context_id: str, sent: list[Sent]) -> Reply | None:
    """Send the next message; None where the connection broke. Written down if acked."""
    content = f"said {len(sent):03}"
    began_s = time.monotonic()
    try:
        reply = await client.send(context_id, content, key=content)
    except aiohttp.ClientError:
        reply = None
    took_s = time.monotonic() - began_s
    assert took_s < ANSWER_S_MAX, took_s
    acked = reply is not None and reply.status < 300
    sent.append(Sent(content, began_s, time.monotonic() if acked else None))
    return reply


async def served_again(client: HttpClient, context_id: str, sent: list[Sent]) -> float:
    """Send until one is acked; how long that took."""
    began_s = time.monotonic()
    while True:
        reply = await sent_once(client, context_id, sent)
        if reply is not None and reply.status < 300:
            return time.monotonic() - began_s
        assert time.monotonic() - began_s < RETURN_S_MAX + ANSWER_S_MAX, reply
        await asyncio.sleep(0.05)


async def nothing_lost(client: HttpClient, context_id: str, sent: list[Sent]) -> None:
    """What was acked comes to be there, once and in order; the rest is there or not."""
    final = await client.until_state(
        context_id, lambda seen: not history_faults(sent, everything_said(seen))
    )
    assert history_faults(sent, everything_said(final)) == []


@pytest.mark.parametrize("fault", REFUSALS)
@pytest.mark.slow  # a whole service each
async def test_p15_a_store_that_takes_no_writes_is_told_and_the_service_goes_on_after_it(
    fault: str,
) -> None:
    with (
        StoreServer(appendfsync="everysec") as server,
        server.client() as plain,
        Service(redis_url=server.url, durability="standard", scripted_chunk_ms=0) as service,
    ):
        workers = set(service.processes("worker"))
        sent: list[Sent] = []
        async with HttpClient(service.url) as client:
            context_id = await client.create()
            await served_again(client, context_id, sent)
            async with client.watching(context_id) as seen:
                with REFUSALS[fault](plain, server.process_id):
                    refused = 0
                    until_s = time.monotonic() + LONG_S
                    while time.monotonic() < until_s:
                        reply = await sent_once(client, context_id, sent)
                        assert reply is not None
                        if reply.status == 503:
                            refused += 1
                            assert reply.body["type"] == "/problems/store-unavailable"
                            assert int(reply.headers["Retry-After"]) >= 1
                        state = await client.request("GET", f"/api/contexts/{context_id}")
                        assert state.status == 200
                        await asyncio.sleep(0.2)
                    assert refused >= 3
                took_s = await served_again(client, context_id, sent)
                assert took_s < RETURN_S_MAX
                await nothing_lost(client, context_id, sent)
                final = await client.rested(context_id)
                await seen.until(lambda stream: stream.cursor == final["cursor"])
            assert seen.of("reset") == []
        print(f"{fault}: {refused} refused, served again after {took_s:.2f} s")  # noqa: T201 - a number to report
        assert workers & set(service.processes("worker")) == workers


@pytest.mark.slow  # a whole service, and waits
async def test_p1_p15_a_full_disk_ends_a_strict_store_and_nothing_acked_is_lost() -> None:
    """With `appendfsync always` the server ends itself rather than answer unwritten."""
    with Service(scripted_chunk_ms=0) as service:
        sent: list[Sent] = []
        async with HttpClient(service.url) as client:
            context_id = await client.create()
            # The log is larger than all that other processes write meanwhile.
            for _ in range(20):
                await client.create(title="fills", message={"content": BIG})
            await served_again(client, context_id, sent)
            await client.rested(context_id)
            (store,) = service.processes("store")
            size_bytes = newest_log(service.data).stat().st_size + 500
            with no_room([store, service.up.process_id], file_bytes_max=size_bytes):
                unavailable = 0
                until_s = time.monotonic() + LONG_S
                while time.monotonic() < until_s:
                    reply = await sent_once(client, context_id, sent)
                    if reply is not None and reply.status == 503:
                        unavailable += 1
                        assert reply.body["type"] == "/problems/store-unavailable"
                    state = await client.request("GET", f"/api/contexts/{context_id}/state")
                    # It is known here: fresh while the store is up, else marked.
                    assert state.status == 200
                assert unavailable >= 1
            for process_id in service.everything():
                give_room(process_id)
            took_s = await served_again(client, context_id, sent)
            await nothing_lost(client, context_id, sent)
        print(f"{unavailable} times 503, served again after {took_s:.2f} s")  # noqa: T201 - a number to report
        assert took_s < RETURN_S_MAX


def replace_by_file(folder: Path, _worker: int) -> None:
    """Nobody can write there, not even root."""
    shutil.move(folder, folder.with_name("away"))
    folder.write_text("in the way")


def put_back(folder: Path, _worker: int) -> None:
    folder.unlink()
    shutil.move(folder.with_name("away"), folder)


def remove(folder: Path, _worker: int) -> None:
    shutil.rmtree(folder)


def damage(folder: Path, _worker: int) -> None:
    for path in folder.rglob("*.json"):
        path.write_bytes(path.read_bytes()[:-20])


def fill(_folder: Path, worker: int) -> None:
    """No snapshot has room; a line in the log has."""
    resource.prlimit(worker, resource.RLIMIT_FSIZE, (len(BIG), resource.RLIM_INFINITY))


def empty(_folder: Path, worker: int) -> None:
    give_room(worker)


def leave(_folder: Path, _worker: int) -> None:
    """There is nothing to put right."""


Change = Callable[[Path, int], None]
FOLDER_FAULTS: dict[str, tuple[Change, Change, str]] = {
    "full": (fill, empty, "snapshot not written"),
    "not to be written": (replace_by_file, put_back, "snapshot not written"),
    "removed": (remove, leave, ""),
    "damaged": (damage, leave, "snapshot damaged"),
}
"""What is done to the folder of snapshots, how it ends, and what is logged."""


@pytest.mark.parametrize("fault", FOLDER_FAULTS)
@pytest.mark.slow  # a whole service each
async def test_p5_a_folder_of_snapshots_that_fails_costs_time_and_no_data(
    fault: str, tmp_path: Path
) -> None:
    begin, end, logged = FOLDER_FAULTS[fault]
    folder = tmp_path / "snapshots"
    snapshots = f"json:{folder}"
    with Service(
        snapshots=snapshots,
        linger_s=0.2,
        scripted_chunk_ms=0,
        standby=False,
        applied_s_max=ANSWER_S_MAX - 1,
    ) as service:
        sent = [Sent(BIG, time.monotonic(), time.monotonic())]
        async with HttpClient(service.url) as client:
            context_id = await client.create(message={"content": BIG})

            async def say() -> None:
                reply = await sent_once(client, context_id, sent)
                assert reply is not None
                assert reply.status == 200, reply
                await client.rested(context_id)

            for _ in range(2):
                await say()
            until(lambda: any(folder.rglob("*.previous")), "two generations")
            until(lambda: active(service, context_id) == "", "the context is passive")
            (worker,) = service.processes("worker")
            begin(folder, worker)
            for _ in range(3):
                await say()
                until(lambda: active(service, context_id) == "", "the context is passive")
            end(folder, worker)
            await say()
            await nothing_lost(client, context_id, sent)
            version = (await client.rested(context_id))["version"]
            until(lambda: f'"generation": {version}' in newest(folder), "the newest file")
        assert logged in service.up.log.read_text()
        assert service.processes("worker") == [worker]


def active(service: Service, context_id: str) -> str:
    """Id of the worker that has the context, or nothing."""
    with service.store() as store:
        worker = store.hget(f"ctx:{{{context_id}}}:meta", "worker")
    assert isinstance(worker, str)
    return worker


def newest(folder: Path) -> str:
    """All newest generations, as text."""
    return "".join(path.read_text() for path in folder.rglob("*.json"))
