"""A stream that is cut anywhere and resumed elsewhere shows what one never cut does."""

import asyncio
from collections.abc import Sequence

import pytest

from tests.support.service import Client, SseFrame, serving, text_of

CHUNKS = "/chunks 40 25"


def committed(frames: Sequence[SseFrame]) -> list[tuple[str, str]]:
    """The events of the log, with their cursors."""
    own = {"hello", "snapshot", "reset", "reply-delta", "bye"}
    return [(frame.id, frame.event) for frame in frames if frame.event not in own]


def assert_contiguous(frames: Sequence[SseFrame]) -> None:
    """Every delta begins where the last one ended."""
    n = 0
    for frame in frames:
        if frame.event == "reply-delta":
            n += len(frame.data["text"])
            assert frame.data["n"] == n, frame
        elif frame.event == "reply-started":
            n = 0


async def watch(client: Client, context_id: str, after: str, *, last: str) -> list[SseFrame]:
    async with client.stream(context_id, after=after) as stream:
        frames = await stream.take(last)
    assert frames[0].event == "hello"
    assert frames[0].data["resumed"] is True
    return frames[1:]


async def watch_cut(
    client: Client, other: Client, context_id: str, after: str, *, cut: int, last: str
) -> list[SseFrame]:
    """Watch `cut` frames, go to the other gateway, and watch on."""
    frames: list[SseFrame] = []
    async with client.stream(context_id, after=after) as stream:
        await stream.next()
        while len(frames) < cut:
            frame = await stream.next()
            assert frame is not None
            frames.append(frame)
            if frame.event == last:
                return frames
    return frames + await watch(other, context_id, frames[-1].id, last=last)


async def test_a_reply_cut_after_any_frame_and_resumed_elsewhere_is_the_same_text(
    store_url: str,
) -> None:
    async with serving(store_url, gateways=2) as service:
        here, there = service.clients
        context_id = await here.create()
        start = (await here.state(context_id))["cursor"]
        async with asyncio.TaskGroup() as group:
            whole = group.create_task(watch(here, context_id, start, last="reply-ended"))
            viewers = [
                group.create_task(
                    watch_cut(here, there, context_id, start, cut=cut, last="reply-ended")
                )
                for cut in range(1, 45)
            ]
            await here.act(context_id, "send_message", {"content": CHUNKS})
        uncut = whole.result()
        deltas = [frame for frame in uncut if frame.event == "reply-delta"]
        assert len(deltas) > 1  # it was streamed; how finely is the machine's affair
        assert text_of(uncut) == uncut[-1].data["text"]
        for viewer in viewers:
            frames = viewer.result()
            assert text_of(frames).encode() == text_of(uncut).encode()
            assert committed(frames) == committed(uncut)
            assert_contiguous(frames)


async def test_a_stream_resumed_after_the_reply_has_ended_shows_the_rest(
    store_url: str,
) -> None:
    async with serving(store_url, gateways=2) as service:
        here, there = service.clients
        context_id = await here.create()
        start = (await here.state(context_id))["cursor"]
        async with asyncio.TaskGroup() as group:
            whole = group.create_task(watch(here, context_id, start, last="reply-ended"))
            await here.act(context_id, "send_message", {"content": CHUNKS})
        uncut = whole.result()
        for cut in range(len(uncut) - 1):
            rest = await watch(there, context_id, uncut[cut].id, last="reply-ended")
            frames = uncut[: cut + 1] + rest
            assert text_of(frames) == text_of(uncut)
            assert committed(frames) == committed(uncut)
            assert_contiguous(frames)


async def test_a_stream_resumed_after_a_cancel_shows_the_rest_of_the_partial_reply(
    store_url: str,
) -> None:
    async with serving(store_url, gateways=2) as service:
        here, there = service.clients
        context_id = await here.create()
        start = (await here.state(context_id))["cursor"]
        async with here.stream(context_id, after=start) as stream:
            await here.act(context_id, "send_message", {"content": "/chunks 1000 5"})
            uncut = await stream.take("reply-delta")
            for _ in range(8):
                uncut += await stream.take("reply-delta")
            await here.act(context_id, "cancel")
            uncut += await stream.take("cancel-requested")
        uncut = uncut[1:]
        state = await there.state(context_id)
        assert state["messages"][-1]["status"] == "cancelled"
        assert text_of(uncut) == uncut[-1].data["partial"] == state["messages"][-1]["content"]
        for cut in range(len(uncut) - 1):
            rest = await watch(there, context_id, uncut[cut].id, last="cancel-requested")
            frames = uncut[: cut + 1] + rest
            assert text_of(frames) == text_of(uncut)
            assert committed(frames) == committed(uncut)
            assert {f.data["message_id"] for f in frames if f.event == "reply-delta"} == {
                state["messages"][-1]["id"]
            }


async def test_a_stream_resumed_turns_later_shows_every_turn(store_url: str) -> None:
    async with serving(store_url, gateways=2) as service:
        here, there = service.clients
        context_id = await here.create()
        start = (await here.state(context_id))["cursor"]
        async with here.stream(context_id, after=start) as stream:
            uncut: list[SseFrame] = []
            for n in range(3):
                await here.say(context_id, f"message {n}")
                uncut += await stream.take("reply-ended")
        uncut = uncut[1:]
        async with there.stream(context_id, after=start) as stream:
            late = (await stream.take("reply-ended"))[1:]
            late += await stream.take("reply-ended")
            late += await stream.take("reply-ended")
        assert committed(late) == committed(uncut)
        assert text_of(late) == text_of(uncut)


@pytest.mark.parametrize(
    "cursor",
    [
        "garbage",
        "1.2",
        "-1.1.0",
        "1.1.1e3",
        "%D9%A3.1.0",
        "{epoch}.{ahead}.0",
        "{epoch}.{version}.7",
        "{foreign}.1.0",
        "9" * 40 + ".1.0",
    ],
)
async def test_a_cursor_that_cannot_be_resumed_gives_one_reset_with_the_state(
    store_url: str, cursor: str
) -> None:
    async with serving(store_url, workers=0) as service:
        client = service.client
        context_id = await client.create()
        state = await client.state(context_id)
        epoch, version, _ = state["cursor"].split(".")
        after = cursor.format(
            epoch=epoch, version=version, ahead=int(version) + 1, foreign=int(epoch) + 1
        )
        async with client.stream(context_id, query=f"?after={after}") as stream:
            hello, reset = await stream.take("reset")
        assert hello.data["resumed"] is False
        assert reset.id == state["cursor"]
        assert reset.data["context"] == state
        assert reset.data["reason"]


async def test_a_stream_that_has_everything_is_resumed_with_nothing(store_url: str) -> None:
    async with serving(store_url) as service:
        client = service.client
        context_id = await client.create()
        cursor = (await client.state(context_id))["cursor"]
        async with client.stream(context_id, after=cursor) as stream:
            hello = await stream.next()
            assert hello is not None
            assert (hello.event, hello.data["resumed"]) == ("hello", True)
            await client.act(context_id, "pause")
            paused = await stream.next()
        assert paused is not None
        assert paused.event == "pause-requested"
