"""Many clients of one context: one history, and everybody sees the same."""

import asyncio
import time

import pytest

from tests.support.http_client import HttpClient, Json, Recording
from tests.support.invariants import (
    Sent,
    answer_faults,
    contents,
    events_of,
    history_faults,
    poll_faults,
    stream_faults,
    text_faults,
)
from tests.support.service_processes import Service

pytestmark = pytest.mark.timeout(240)

CLIENTS = 32
VIEWERS = 4


async def test_p2_p3_32_clients_at_once_make_one_history_that_every_viewer_sees(
    shared_service: Service,
) -> None:
    async with HttpClient(shared_service.url, shared_service.second_url) as client:
        context_id = await client.create()
        polls: list[list[Json]] = [[] for _ in range(VIEWERS)]
        begun, over = asyncio.Event(), asyncio.Event()
        sent: list[Sent] = []

        async def say(number: int) -> None:
            """Every other client repeats itself at once, through the other gateway."""
            content, key = f"question {number:02} of many", f"key-{number}"
            began_s = time.monotonic()
            async with asyncio.TaskGroup() as both:
                tries = [
                    both.create_task(
                        client.send(context_id, content, key=key, gateway=(number + again) % 2)
                    )
                    for again in range(1 + number % 2)
                ]
            acked_s = time.monotonic()
            replies = [one.result() for one in tries]
            assert [reply.status for reply in replies] == [200] * len(replies)
            assert len({reply.body["action"]["id"] for reply in replies}) == 1
            sent.append(Sent(content, began_s, acked_s))

        async def poll(viewer: int) -> None:
            while not over.is_set():
                polls[viewer].append(await client.state(context_id, gateway=viewer % 2))
                await asyncio.sleep(0.01)

        async def watch(viewer: int, recordings: list[Recording]) -> None:
            async with client.watching(context_id, gateways=(viewer % 2,)) as recording:
                recordings.append(recording)
                begun.set()
                await over.wait()
                end = (await client.state(context_id))["cursor"]
                await recording.until(lambda seen: seen.cursor == end)

        recordings: list[Recording] = []
        async with asyncio.TaskGroup() as group:
            for viewer in range(VIEWERS):
                group.create_task(poll(viewer))
                group.create_task(watch(viewer, recordings))
            await begun.wait()
            async with asyncio.TaskGroup() as senders:
                for number in range(CLIENTS):
                    senders.create_task(say(number))
            final = await client.rested(context_id)
            over.set()

    assert history_faults(sent, contents(final)) == []
    assert len(contents(final)) == CLIENTS
    assert answer_faults(final) == []
    for question, answer in zip(contents(final), contents(final, "assistant"), strict=True):
        assert f'"{question}"' in answer
    assert [poll_faults(seen, final) for seen in polls] == [[]] * VIEWERS
    assert all(len(seen) > 1 for seen in polls)
    for recording in recordings:
        assert stream_faults(recording.frames) == []
        assert text_faults(recording.frames, final) == []
    # They joined at different versions: what each has seen is the end of what the first has.
    histories = sorted((events_of(recording) for recording in recordings), key=len)
    whole = histories[-1]
    assert len(whole) > CLIENTS
    for history in histories:
        assert whole[len(whole) - len(history) :] == history
