"""P1, P7, P15: a gateway or the store itself is killed in the middle of a reply."""

import time

import aiohttp
import pytest

from tests.support.http_client import HttpClient
from tests.support.invariants import (
    Sent,
    answer_faults,
    everything_said,
    history_faults,
    stream_faults,
    text_faults,
)
from tests.support.service_processes import Service, kill, until

pytestmark = pytest.mark.timeout(240)

CHUNKS = 60
CHUNK_MS = 60
"""A busy machine merges chunks; there are to be some before the death, and after it."""
WHOLE = "".join(f"chunk {number} " for number in range(1, CHUNKS + 1))


async def test_p7_a_client_of_a_killed_gateway_resumes_on_the_other_one(
    shared_service: Service,
) -> None:
    port = shared_service.join_gateway()
    doomed = shared_service.joined[-1]
    async with HttpClient(f"http://127.0.0.1:{port}", shared_service.url) as client:
        context_id = await client.create()
        async with client.watching(context_id, gateways=(0, 1)) as seen:
            await client.send(context_id, f"/chunks {CHUNKS} {CHUNK_MS}")
            await seen.until(lambda stream: len(stream.of("reply-delta")) >= 3)
            kill(doomed.process_id)
            await seen.until(lambda stream: stream.of("reply-ended"))
        final = await client.rested(context_id, gateway=1)
    assert doomed.wait() < 0
    assert seen.connections == 2
    assert [frame.data["resumed"] for frame in seen.of("hello")] == [False, True]
    assert seen.of("reset") == []
    assert seen.of("reply-restarted") == []
    assert stream_faults(seen.frames) == []
    assert text_faults(seen.frames, final) == []
    assert final["messages"][-1]["content"] == WHOLE


async def test_p1_p15_the_store_killed_in_mid_reply_comes_back_with_everything_acked() -> None:
    with Service() as service:
        async with HttpClient(service.url) as client:
            context_id = await client.create()
            async with client.watching(context_id) as seen:
                sent = [Sent(f"/chunks {CHUNKS} {CHUNK_MS}", time.monotonic(), None)]
                reply = await client.send(context_id, sent[0].content, key="key-0")
                assert reply.status in {200, 202}
                sent[0] = Sent(sent[0].content, sent[0].began_s, time.monotonic())
                await seen.until(lambda stream: len(stream.of("reply-delta")) >= 3)
                workers = service.processes("worker")
                (store,) = service.processes("store")
                kill(store)
                unavailable = 0
                for number in range(1, 6):
                    content, began_s = f"said {number}", time.monotonic()
                    status = 0
                    while status != 200:
                        status = await self_healing(client, context_id, content, number)
                        unavailable += status == 503
                        assert status in {0, 200, 202, 503}
                        if status == 202:
                            break
                    sent.append(Sent(content, began_s, time.monotonic()))
                until(lambda: service.processes("store") not in ([], [store]), "a new store")
                # A 202 is a promise: its mail may still wait for the workers to look.
                await client.until_state(
                    context_id, lambda seen: not history_faults(sent, everything_said(seen))
                )
                final = await client.rested(context_id)
                await seen.until(lambda stream: stream.cursor == final["cursor"])
        print(f"answered 503 while the store was away: {unavailable} times")  # noqa: T201 - a number to report
        assert history_faults(sent, everything_said(final)) == []
        assert answer_faults(final) == []
        replies = [m["content"] for m in final["messages"] if m["role"] == "assistant"]
        assert replies[0] == WHOLE
        assert stream_faults(seen.frames) == []
        assert text_faults(seen.frames, final) == []
        # The same processes went on: the store is what was away, not they.
        assert set(workers) <= set(service.processes("worker"))


async def self_healing(client: HttpClient, context_id: str, content: str, number: int) -> int:
    """Send with a key, as often as is needed; 0 where the connection broke."""
    try:
        reply = await client.send(context_id, content, key=f"key-{number}")
    except aiohttp.ClientError:
        return 0
    return reply.status
