"""A backup that is taken under load, restored on another machine's empty folder."""

import asyncio
import shutil
from pathlib import Path

import pytest

from tests.support.http_client import HttpClient, Json
from tests.support.invariants import Sent, everything_said, history_faults, stream_faults
from tests.support.service_processes import Service, run_command

pytestmark = pytest.mark.timeout(240)
BUSY = 3
SENT_MIN = 4
"""Messages of each context before the backup begins, and after it has ended, at least."""


async def say(client: HttpClient, context_id: str, sent: list[Sent]) -> None:
    """Send one more message, and wait for its turn."""
    loop = asyncio.get_running_loop()
    content, began_s = f"message {len(sent)}", loop.time()
    reply = await client.send(context_id, content, prefer="wait=20")
    assert reply.status == 200, reply.body
    sent.append(Sent(content, began_s, loop.time()))


async def say_until(
    stop: asyncio.Event, client: HttpClient, context_id: str, sent: list[Sent]
) -> None:
    """Send one message after the other, and some more after `stop`."""
    while not stop.is_set():
        await say(client, context_id, sent)
    for _ in range(SENT_MIN):
        await say(client, context_id, sent)


async def whole_log(client: HttpClient, context_id: str) -> list[Json]:
    """All events of a context."""
    events: list[Json] = []
    while True:
        path = f"/api/contexts/{context_id}/log?after={len(events)}&limit=200"
        page = (await client.request("GET", path)).body["events"]
        if not page:
            return events
        events += page


async def test_what_was_acked_before_a_backup_under_load_is_there_after_its_restore(
    tmp_path: Path,
) -> None:
    file = tmp_path / "backup.tar"
    with Service(scripted_chunk_ms=0, linger_s=1, standby=False) as service:
        async with HttpClient(service.url) as client:
            quiet = await client.create(title="quiet", labels={"kind": "quiet"})
            await client.send(quiet, "Once", prefer="wait=20")
            await client.send(
                quiet, '/tool calculator {"expression": "6 * 7"}', prefer="wait=20"
            )
            asleep = await client.state(quiet)
            assert asleep["status"] == "awaiting_tool_approval"
            busy = [await client.create() for _ in range(BUSY)]
            sent: dict[str, list[Sent]] = {context_id: [] for context_id in busy}
            already = asyncio.Event()
            already.set()
            async with asyncio.TaskGroup() as group:
                for context_id in busy:
                    group.create_task(say_until(already, client, context_id, sent[context_id]))
            before = {one: list(sent[one]) for one in busy}
            async with client.watching(busy[0]) as seen:
                stop = asyncio.Event()
                async with asyncio.TaskGroup() as group:
                    for context_id in busy:
                        group.create_task(say_until(stop, client, context_id, sent[context_id]))
                    done = await asyncio.to_thread(
                        run_command, "backup", str(file), service=service
                    )
                    stop.set()
                assert done.returncode == 0, done.stderr
                later = {one: await whole_log(client, one) for one in busy}
                service.kill_everything()
                shutil.rmtree(service.data)
                done = await asyncio.to_thread(
                    run_command, "restore", str(file), service=service
                )
                assert done.returncode == 0, done.stderr
                service.start()

                assert {**await client.state(quiet), "cursor": ""} == {**asleep, "cursor": ""}
                for context_id in busy:
                    final = await client.rested(context_id)
                    restored = await whole_log(client, context_id)
                    kept = everything_said(final)
                    assert (
                        history_faults(before[context_id], kept[: len(before[context_id])])
                        == []
                    )
                    assert len(kept) < len(sent[context_id])
                    # A cut of the log that was: what goes on from there is new.
                    begun = [one for one in restored if one in later[context_id]]
                    assert begun == later[context_id][: len(begun)]
                    assert len(restored) - len(begun) < 5
                await seen.until(lambda stream: stream.of("reset"))
                reply = await client.send(busy[0], "afterwards", prefer="wait=20")
                assert (reply.status, reply.body["status"]) == (200, "idle")
                await seen.until(lambda stream: stream.cursor == reply.context["cursor"])
            assert len(seen.of("reset")) == 1
            assert stream_faults(seen.frames) == []
            (call,) = asleep["pending_tool_calls"]
            approved = await client.act(
                quiet, "approve_tools", {"tool_call_ids": [call["id"]]}, prefer="wait=20"
            )
            assert approved.context["messages"][-1]["role"] == "assistant"
            assert approved.body["status"] == "idle"
