"""Streams of server-sent events: what they show, and how they begin and end."""

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from tests.support.service import Service, eventually, serving, text_of


async def test_a_stream_begins_with_hello_and_the_whole_state(store_url: str) -> None:
    async with serving(store_url, workers=0) as service:
        context_id = await service.client.create(title="seen")
        async with service.client.stream(context_id) as stream:
            hello, snapshot = await stream.take("snapshot")
            headers = stream.response.headers
        state = await service.client.state(context_id)
        assert stream.response.status == 200
        assert headers["Content-Type"] == "text/event-stream"
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Accel-Buffering"] == "no"
        epoch = state["cursor"].split(".")[0]
        assert (hello.id, hello.event) == ("", "hello")
        assert hello.data == {"epoch": epoch, "cursor": state["cursor"], "resumed": False}
        assert (snapshot.id, snapshot.event) == (state["cursor"], "snapshot")
        assert snapshot.data == state
        (retry_ms,) = stream.retries_ms
        assert 1_000 <= retry_ms <= 2_000


async def test_a_stream_shows_a_turn_as_it_happens(store_url: str) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        async with client.stream(context_id) as stream:
            await stream.take("snapshot")
            await client.act(context_id, "send_message", {"content": "/chunks 20 50"})
            frames = await stream.take("reply-ended")
        kinds = [frame.event for frame in frames]
        assert kinds[:2] == ["message-received", "reply-started"]
        assert set(kinds[2:-1]) == {"reply-delta"}
        assert kinds.count("reply-delta") > 1  # it was not kept until its end
        ended = frames[-1].data
        assert text_of(frames) == ended["text"]
        shown = ""
        for frame in frames[2:-1]:
            shown += frame.data["text"]
            assert frame.data["n"] == len(shown)
            assert frame.data["message_id"] == ended["message_id"]
            assert frame.id.endswith(f".{len(shown)}")
        assert frames[-1].id.endswith(".0")


async def test_a_message_for_later_leaves_the_text_that_streams_alone(store_url: str) -> None:
    # Given a context whose messages interrupt, and a reply that streams
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create(config={"send_policy": "interrupt"})
        async with client.stream(context_id) as stream:
            await stream.take("snapshot")
            await client.act(context_id, "send_message", {"content": "/chunks 30 5"})
            frames = await stream.take("reply-delta")
            # When a message comes that counts as sent only later
            later = {"content": "later", "not_before": "2100-01-01T00:00:00Z"}
            await client.act(context_id, "send_message", later)
            frames += await stream.take("reply-ended")
        # Then the reply goes on where it was
        assert "message-received" in [frame.event for frame in frames[2:]]
        assert text_of(frames) == frames[-1].data["text"]


async def test_every_viewer_gets_the_same_bytes(store_url: str) -> None:
    async with serving(store_url, gateways=2) as service:
        here, there = service.clients
        context_id = await here.create()
        start = (await here.state(context_id))["cursor"]
        async with (
            here.stream(context_id, after=start) as one,
            here.stream(context_id, after=start) as two,
            there.stream(context_id, after=start) as three,
        ):
            await here.act(context_id, "send_message", {"content": "/chunks 10 5"})
            shown = [await stream.take("reply-ended") for stream in (one, two, three)]
        raw = [b"".join(frame.raw for frame in frames) for frames in shown]
        assert raw[0] == raw[1] == raw[2]


async def test_a_draft_that_is_under_way_is_in_the_snapshot(store_url: str) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        await client.act(context_id, "send_message", {"content": "/chunks 40 10"})
        await client.until(context_id, "streaming_llm_response")
        async with client.stream(context_id) as stream:
            frames = await stream.take("reply-ended")
        draft = frames[1].data["draft"]
        assert draft["n"] == len(draft["text"])
        assert draft["text"] + text_of(frames) == frames[-1].data["text"]
        assert frames[2].data["n"] == draft["n"] + len(frames[2].data["text"])


async def test_the_after_parameter_resumes_like_last_event_id(store_url: str) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        start = (await client.state(context_id))["cursor"]
        await client.say(context_id, "hi")
        async with client.stream(context_id, query=f"?after={start}") as stream:
            frames = await stream.take("reply-ended")
        assert frames[0].data["resumed"] is True
        assert [frame.event for frame in frames[1:3]] == ["message-received", "reply-started"]


async def test_a_stream_ends_with_the_deletion(store_url: str) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        async with client.stream(context_id) as stream:
            await stream.take("snapshot")
            await client.act(context_id, "delete")
            (deleted,) = await stream.take("context-deleted")
            assert await stream.next() is None
        assert deleted.data["kind"] == "context-deleted"


async def test_actions_that_change_nothing_leave_streams_as_they_are(store_url: str) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create(title="same")
        async with client.stream(context_id) as stream:
            await stream.take("snapshot")
            same = await client.act(context_id, "rename", {"title": "same"})
            assert (same.status, same.json["version"]) == (200, 1)
            assert (await client.act(context_id, "resume")).status == 409
            await client.act(context_id, "pause")
            frame = await stream.next()
        assert frame is not None
        assert frame.event == "pause-requested"


async def test_a_silent_stream_gets_comments(store_url: str) -> None:
    async with serving(store_url, gateway={"sse_heartbeat_s": 0.2}) as service:
        client = service.client
        context_id = await client.create()
        async with client.stream(context_id) as stream, asyncio.TaskGroup() as group:
            await stream.take("snapshot")
            reading = group.create_task(stream.take("pause-requested"))

            async def commented() -> bool:
                return len(stream.comments) >= 2

            await eventually(commented)
            await client.act(context_id, "pause")
        assert len(reading.result()) == 1
        assert set(stream.comments) == {b": still here"}


async def test_a_stopping_gateway_says_bye_and_the_stream_goes_on_at_another(
    store_url: str,
) -> None:
    async with serving(store_url, gateways=2) as service:
        leaving, staying = service.clients
        context_id = await leaving.create()
        async with leaving.stream(context_id) as stream:
            await stream.take("snapshot")
            await staying.act(context_id, "send_message", {"content": "/chunks 60 10"})
            frames = await stream.take("reply-delta")
            service.stop("gateway 0")
            frames += await stream.take("bye")
            bye = frames.pop()
            assert await stream.next() is None
        assert bye.id == ""
        assert 1_000 <= bye.data["retry_ms"] <= 2_000
        assert stream.retries_ms[-1] == bye.data["retry_ms"]
        async with staying.stream(context_id, after=frames[-1].id) as stream:
            frames += await stream.take("reply-ended")
        assert text_of(frames) == frames[-1].data["text"]


async def test_viewers_beyond_the_bound_are_sent_away(store_url: str) -> None:
    async with serving(store_url, workers=0, gateway={"viewers_max": 1}) as service:
        client = service.client
        context_id = await client.create()
        async with client.stream(context_id) as stream:
            await stream.take("snapshot")
            answer = await client.get(f"/api/contexts/{context_id}/events")
            assert (answer.status, answer.problem) == (503, "too-many-viewers")
            assert answer.headers["Retry-After"] == "2"
        async with asyncio.timeout(10):
            while True:
                async with client.stream(context_id) as stream:
                    if stream.response.status == 200:
                        break


async def test_an_http_1_0_client_gets_plain_bytes_until_the_end(store_url: str) -> None:
    async with serving(store_url) as service:
        context_id = await service.client.create()
        async with raw_stream(service, context_id, b"HTTP/1.0") as (reader, _):
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.0 200 OK\r\n")
            assert b"chunked" not in head.lower()
            await service.client.act(context_id, "delete")
            body = await reader.read()
        assert body.startswith(b"retry: ")
        frames = body.split(b"\n\n")
        assert frames[1].startswith(b"event: hello\ndata: ")
        assert b"\nevent: context-deleted\n" in frames[-2]
        assert frames[-1] == b""


@asynccontextmanager
async def raw_stream(
    service: Service, context_id: str, version: bytes = b"HTTP/1.1", *, buffer_bytes: int = 0
) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter], None]:
    """A stream over a bare socket, perhaps one with a small receive buffer."""
    port = int(service.client.url.rpartition(":")[2])
    connection = socket.socket()
    if buffer_bytes:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", port))
    limit = buffer_bytes or 65_536
    reader, writer = await asyncio.open_connection(sock=connection, limit=limit)
    try:
        path = f"/api/contexts/{context_id}/events".encode()
        writer.write(b"GET %s %s\r\nHost: localhost\r\n\r\n" % (path, version))
        yield reader, writer
    finally:
        writer.close()


@pytest.mark.parametrize("bound", [{"viewer_bytes_max": 4_096}, {"viewer_stalled_s_max": 0.4}])
async def test_a_slow_viewer_is_dropped_and_resumes_without_loss(
    store_url: str, bound: dict[str, float]
) -> None:
    async with serving(store_url, gateway=bound) as service:
        client = service.client
        context_id = await client.create()
        async with raw_stream(service, context_id, buffer_bytes=4_096) as (reader, _):
            first = await reader.readuntil(b"event: snapshot")
            assert b"hello" in first
            # Nothing more is read until four replies are over; the reader stops by itself.
            texts: list[str] = []
            for _ in range(4):
                answer = await client.say(context_id, "/chunks 100000 0", Prefer="wait=60")
                texts.append(answer.context["messages"][-1]["content"])
            rest = bytearray()
            dropped = False
            async with asyncio.timeout(20):
                try:
                    while piece := await reader.read(1 << 20):
                        rest += piece
                except ConnectionResetError:
                    dropped = True
        assert dropped or not rest.endswith(b"\r\n0\r\n\r\n")
        cursors = [
            block.split(b"id: ")[1].split(b"\n")[0].decode()
            for block in bytes(rest).split(b"\n\n")[:-1]
            if b"id: " in block
        ]
        epoch = (await client.state(context_id))["cursor"].split(".")[0]
        last = cursors[-1] if cursors else f"{epoch}.1.0"
        async with client.stream(context_id, after=last) as stream:
            frames = await stream.take("reply-ended")
        assert frames[0].data["resumed"] is True
        assert frames[-1].data["text"] in texts
        n = int(last.split(".")[2])
        assert text_of(frames) == frames[-1].data["text"][n:]
