"""What a viewer of the chaos writes down is what it was shown, whichever way it connects."""

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import pytest

from gateway import states
from gateway.resume import backlog_frames
from gateway.sockets import SocketViewer
from gateway.stream import Frame
from tests.support.service import eventually, serving
from tests.support.store_server import StoreServer
from verify.chaos.viewers import Viewer
from verify.records import Final, StreamRecording
from verify.streams import check_streams


async def watched(socket_rate: float, poll_rate: float = 0.0) -> tuple[StreamRecording, Final]:
    """What a viewer that hangs up now and then was shown of two replies, and their end."""
    with StoreServer() as store:
        async with serving(store.url, gateways=2) as service:
            client = service.client
            context_id = await client.create()
            draw = random.Random(1)
            viewer = Viewer(
                *(client.url, "v", context_id, draw),
                socket_rate=socket_rate,
                poll_rate=poll_rate,
            )
            async with asyncio.TaskGroup() as group:
                watching = group.create_task(viewer.run())
                for _ in range(2):
                    await client.say(context_id, "/chunks 100 15")
                state = await client.state(context_id)
                viewer.hangs_up = False

                async def caught_up() -> bool:
                    return bool(viewer.cursor == state["cursor"])

                await eventually(caught_up)
                watching.cancel()
    return viewer.recording(), Final.of(state)


@pytest.mark.parametrize(
    ("socket_rate", "poll_rate"), [(0.0, 0.0), (0.5, 0.0), (1.0, 0.0), (0.0, 1.0), (0.4, 0.3)]
)
async def test_a_viewer_resumes_on_streams_sockets_or_polls_and_sees_everything(
    socket_rate: float, poll_rate: float
) -> None:
    recording, final = await watched(socket_rate, poll_rate)
    assert len(recording.connections) > 1
    assert check_streams([recording], [final]) == ()


async def test_a_socket_that_leaves_a_frame_out_is_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain_show = SocketViewer.show
    shown = 0

    def show(self: SocketViewer, frames: Sequence[Frame]) -> None:
        nonlocal shown
        shown += 1
        if shown != 30:
            plain_show(self, frames)

    monkeypatch.setattr(SocketViewer, "show", show)
    recording, final = await watched(1.0)
    found = check_streams([recording], [final])
    assert {violation.check for violation in found} == {"text-gap"}


async def test_a_poll_that_leaves_a_frame_out_is_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain_frames = backlog_frames

    asked = 0

    async def frames(*asking: Any) -> Sequence[Frame]:
        nonlocal asked
        asked += 1
        return (await plain_frames(*asking))[asked == 10 :]

    monkeypatch.setattr(states, "backlog_frames", frames)
    recording, final = await watched(0.0, 1.0)
    assert {v.check for v in check_streams([recording], [final])} & {"gap", "text-gap"}
