"""SIGTERM of the whole service: goodbye to viewers, no orphans, and the turn goes on later."""

import pytest

from tests.support.http_client import HttpClient
from tests.support.invariants import answer_faults, text_faults
from tests.support.service_processes import Service, alive, until

pytestmark = pytest.mark.timeout(240)

CHUNKS = 80
WHOLE = "".join(f"chunk {number} " for number in range(1, CHUNKS + 1))


async def test_sigterm_in_mid_reply_says_bye_exits_0_and_the_turn_goes_on_after_a_restart() -> (
    None
):
    with Service(workers=2, drain_s=0.3, standby=False) as service:
        async with HttpClient(service.url) as client:
            context_id = await client.create()
            async with client.watching(context_id) as seen:
                await client.send(context_id, f"/chunks {CHUNKS} 60")
                await seen.until(lambda stream: len(stream.of("reply-delta")) >= 3)
                processes = service.everything()
                assert len(processes) >= 5
                service.up.terminate()
                await seen.until(lambda stream: stream.of("bye"))
                cursor = seen.cursor
                texts = [frame.data["text"] for frame in seen.of("reply-delta")]
        assert service.up.wait() == 0, service.log_tails()
        until(lambda: not any(map(alive, processes)), "the end of every process")
        assert WHOLE.startswith("".join(texts))

        service.start()
        async with (
            HttpClient(service.url) as client,
            client.watching(context_id, cursor=cursor) as seen_after,
        ):
            final = await client.rested(context_id)
            await seen_after.until(lambda stream: stream.cursor == final["cursor"])
        assert final["messages"][-1]["content"] == WHOLE
        assert answer_faults(final) == []
        assert len(seen_after.of("reply-restarted")) == 1
        assert text_faults(seen_after.frames, final) == []
        service.up.terminate()
        assert service.up.wait() == 0


async def test_sigterm_lets_a_short_reply_end_first() -> None:
    with Service(standby=False) as service:
        async with HttpClient(service.url) as client:
            context_id = await client.create()
            async with client.watching(context_id) as seen:
                await client.send(context_id, "/chunks 40 60")
                await seen.until(lambda stream: len(stream.of("reply-delta")) >= 3)
                service.up.terminate()
                await seen.until(lambda stream: stream.of("bye"))
        assert service.up.wait() == 0
        service.start()
        async with HttpClient(service.url) as client:
            final = await client.state(context_id)
            assert final["status"] == "idle"
            assert final["messages"][-1]["content"].endswith("chunk 40 ")
            log = await client.request(
                "GET", f"/api/contexts/{context_id}/state?after={seen.cursor}"
            )
            kinds = [event["event"] for event in log.body["events"]]
            assert "reply-restarted" not in kinds
