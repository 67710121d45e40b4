"""What is drained stays away, loses nothing and refuses nobody; a restart brings it back."""

import asyncio
import socket

import pytest

from tests.e2e.test_rolling_restart import keep_sending, restarted
from tests.support.http_client import HttpClient, Json
from tests.support.invariants import (
    Sent,
    answer_faults,
    everything_said,
    history_faults,
    text_faults,
)
from tests.support.service_processes import Service, alive, run_command

pytestmark = pytest.mark.timeout(480)

CHUNKS = 60
WHOLE = "".join(f"chunk {number} " for number in range(1, CHUNKS + 1))


async def drain(client: HttpClient, **order: object) -> Json:
    """Ask for a drain, wait for its end; what became of the processes."""
    asked = await client.request("POST", "/admin/drain", order)
    assert (asked.status, asked.body["status"]) == (200, "draining"), asked.body
    async with asyncio.timeout(180):
        while True:
            report = (await client.request("GET", asked.body["report_url"])).body
            if report["status"] in {"complete", "failed"}:
                assert report["status"] == "complete"
                return [p for s in report["supervisors"] for p in s["processes"]]
            await asyncio.sleep(0.1)


def told(*words: str, service: Service) -> str:
    """What a command prints that succeeds."""
    ran = run_command(*words, service=service)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


async def test_a_gateway_and_the_workers_are_drained_under_load_and_come_back() -> None:
    with Service(gateways=2, workers=2, standby=False, drain_s=0.3) as service:
        async with HttpClient(service.url) as client:
            streaming, busy = await client.create(), await client.create()
            sent: list[Sent] = []
            stop = asyncio.Event()
            async with client.watching(streaming) as seen, asyncio.TaskGroup() as group:
                group.create_task(keep_sending(client, busy, sent, stop))
                await client.send(streaming, f"/chunks {CHUNKS} 40")
                await seen.until(lambda stream: len(stream.of("reply-delta")) >= 3)
                # The worker that streams: its turn goes on with the other one.
                leaving = service.owner_of(streaming)
                (worker,) = await drain(
                    client, scope="workers", process=service.worker_id_of(leaving)
                )
                assert (worker["process_id"], worker["replaced_by"]) == (leaving, None)
                assert worker["moved"] >= 1
                gateway = service.processes("gateway")[0]
                name = f"{socket.gethostname()}:{gateway}"
                words = ("drain", "--scope", "gateways", "--process", name)
                said = await asyncio.to_thread(told, *words, service=service)
                assert f"{gateway} drained" in said
                stop.set()
                final = await client.rested(streaming)
                await seen.until(lambda stream: stream.cursor == final["cursor"])
            assert not any(map(alive, (leaving, gateway)))
            assert final["messages"][-1]["content"] == WHOLE
            assert answer_faults(final) == []
            assert text_faults(seen.frames, final) == []
            state = await client.rested(busy)
            assert len(sent) > 1
            assert history_faults(sent, everything_said(state)) == []
            # Nobody comes back by itself, and the last of each is not drained unasked.
            assert len(service.processes("gateway")) == len(service.processes("worker")) == 1
            (last,) = service.processes("gateway")
            name = f"{socket.gethostname()}:{last}"
            order: Json = {"scope": "gateways", "process": name, "force": True}
            refused = await client.request("POST", "/admin/drain", order)
            assert (refused.status, refused.body["type"]) == (409, "/problems/nobody-left")
            refused = await client.request("POST", "/admin/drain", {"scope": "workers"})
            assert (refused.status, refused.body["type"]) == (409, "/problems/nobody-left")
            (killed,) = await drain(client, scope="workers", force=True)
            assert killed["outcome"] == "killed"
            waiting = await client.send(busy, "still there?", prefer="respond-async")
            assert waiting.status == 202
            report = await restarted(client)
            assert report["status"] == "complete"
            assert len(service.processes("gateway")) == len(service.processes("worker")) == 2
            now = await client.send(busy, "and now?", prefer="wait=30")
            assert now.status == 200
            state = await client.rested(busy)
            new = [text for text in everything_said(state) if not text.startswith("message")]
            assert new == ["still there?", "and now?"]
            assert answer_faults(state) == []
