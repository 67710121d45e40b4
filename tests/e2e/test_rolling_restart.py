"""P13: a restart under load refuses nothing, loses and repeats nothing, and streams go on."""

import asyncio
import re

import pytest

from tests.support.http_client import HttpClient, Json
from tests.support.invariants import (
    Sent,
    answer_faults,
    everything_said,
    history_faults,
    text_faults,
)
from tests.support.service_processes import Service, alive

pytestmark = pytest.mark.timeout(480)

CHUNKS = 200
WHOLE = "".join(f"chunk {number} " for number in range(1, CHUNKS + 1))


async def restarted(client: HttpClient, scope: str = "all", *, force: bool = False) -> Json:
    """Ask for a restart, wait for its end; the report."""
    asked = await client.request("POST", "/admin/restart", {"scope": scope, "force": force})
    assert asked.status == 200, asked.body
    assert asked.body["status"] == "restarting"
    async with asyncio.timeout(180):
        while True:
            report = (await client.request("GET", asked.body["report_url"])).body
            if report["status"] in {"complete", "failed"}:
                return report
            await asyncio.sleep(0.1)


async def keep_sending(
    client: HttpClient, context_id: str, sent: list[Sent], stop: asyncio.Event
) -> None:
    """Send one message after the other, each once and without a key: no repeat hides a loss."""
    loop = asyncio.get_running_loop()
    while not stop.is_set():
        content, began_s = f"message {len(sent)}", loop.time()
        reply = await client.send(context_id, content, prefer="wait=20")
        # 202: it waits for the worker that takes over.
        assert reply.status in {200, 202}, reply.body
        sent.append(Sent(content, began_s, loop.time()))


async def test_p13_a_restart_of_everything_under_load_is_not_noticed() -> None:
    with Service(gateways=2, workers=2) as service:
        before = service.everything()
        async with HttpClient(service.url) as client:
            streaming = await client.create()
            busy = [await client.create() for _ in range(3)]
            sent: dict[str, list[Sent]] = {context_id: [] for context_id in busy}
            stop = asyncio.Event()
            async with client.watching(streaming) as seen, asyncio.TaskGroup() as group:
                for context_id in busy:
                    group.create_task(keep_sending(client, context_id, sent[context_id], stop))
                await client.send(streaming, f"/chunks {CHUNKS} 40")
                await seen.until(lambda stream: len(stream.of("reply-delta")) >= 3)
                report = await restarted(client)
                stop.set()
                final = await client.rested(streaming)
                await seen.until(lambda stream: stream.cursor == final["cursor"])
            assert report["status"] == "complete"
            (supervisor,) = report["supervisors"]
            assert [(p["role"], p["outcome"]) for p in supervisor["processes"]] == [
                *[("gateway", "drained")] * 2,
                *[("worker", "drained")] * 2,
            ]
            ends = {p["process_id"] for p in supervisor["processes"]}
            begun = {p["replaced_by"] for p in supervisor["processes"]}
            assert ends <= set(before)
            assert all(map(alive, begun))
            assert not any(map(alive, ends))
            assert (
                sum(p["moved"] for p in supervisor["processes"] if p["role"] == "gateway") >= 1
            )
            assert final["messages"][-1]["content"] == WHOLE
            assert answer_faults(final) == []
            assert text_faults(seen.frames, final) == []
            assert seen.of("reset") == []
            for context_id in busy:
                state = await client.rested(context_id)
                assert len(sent[context_id]) > 5
                assert history_faults(sent[context_id], everything_said(state)) == []


async def test_p13_asking_again_while_it_runs_names_the_same_restart() -> None:
    with Service(workers=1, standby=False) as service:
        async with HttpClient(service.url) as client:
            order = {"scope": "workers"}
            first = await client.request("POST", "/admin/restart", order)
            again = await client.request("POST", "/admin/restart", order)
            assert first.body == again.body
            assert re.fullmatch(r"r-[0-9a-f]{16}", first.body["restart_id"])
            await restarted(client, "workers")


async def test_p13_a_forced_restart_kills_and_the_reply_is_begun_again() -> None:
    with Service(workers=1) as service:
        async with HttpClient(service.url) as client:
            context_id = await client.create()
            async with client.watching(context_id) as seen:
                # Longer than a busy machine takes to start another worker.
                await client.send(context_id, "/chunks 2000 30")
                await seen.until(lambda stream: len(stream.of("reply-delta")) >= 3)
                report = await restarted(client, "workers", force=True)
                await seen.until(lambda stream: len(stream.of("reply-restarted")) > 0)
                again = len(seen.of("reply-delta"))
                await seen.until(lambda stream: len(stream.of("reply-delta")) >= again + 3)
                await client.act(context_id, "cancel")
                final = await client.rested(context_id)
                await seen.until(lambda stream: stream.cursor == final["cursor"])
            ((process,),) = [s["processes"] for s in report["supervisors"]]
            assert (process["role"], process["outcome"]) == ("worker", "killed")
            assert len(seen.of("reply-restarted")) == 1
            assert text_faults(seen.frames, final) == []
            assert final["messages"][-1]["status"] == "cancelled"


async def test_p13_busy_and_unconfirmed_it_is_refused_and_says_where_turns_run() -> None:
    with Service(restart_confirm="true", linger_s=0, standby=False) as service:
        async with HttpClient(service.url) as client:
            context_id = await client.create()
            await client.send(context_id, "/chunks 2 600000")
            refused = await client.request("POST", "/admin/restart", {})
            assert (refused.status, refused.body["type"]) == (409, "/problems/busy")
            assert sum(refused.body["active_contexts"].values()) == 1
            await client.act(context_id, "cancel")
            async with asyncio.timeout(20):
                while refused.status == 409:
                    refused = await client.request("POST", "/admin/restart", {})
            await restarted(client)
