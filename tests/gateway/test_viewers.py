"""P12: what one stream's viewer may keep waiting, and for how long; seen from its transport."""

import asyncio
from typing import cast

from typing_extensions import override

from gateway.sse import SseViewer
from gateway.stream import Frame, Wanted

BYTES_MAX = 1_000
STALLED_S_MAX = 10.0


class Wire(asyncio.Transport):
    """A transport whose client takes as much as the test says."""

    def __init__(self) -> None:
        super().__init__()
        self.unsent_bytes = 0
        self.aborted = False

    @override
    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.unsent_bytes += len(data)

    @override
    def get_write_buffer_size(self) -> int:
        return self.unsent_bytes

    @override
    def is_closing(self) -> bool:
        return self.aborted

    @override
    def abort(self) -> None:
        self.aborted = True


def viewer_on(wire: Wire) -> SseViewer:
    return SseViewer(
        cast("asyncio.Transport", wire), Wanted(), chunked=False, bytes_max=BYTES_MAX, now=0.0
    )


def frame(size_bytes: int) -> Frame:
    """A frame of about that size."""
    return Frame("1.1.0", "any", b"x" * size_bytes)


async def test_p12_a_viewer_that_takes_nothing_is_dropped_at_its_bound() -> None:
    wire = Wire()
    viewer = viewer_on(wire)
    viewer.go_live(b"hello")
    shown = 0
    while not wire.aborted:
        viewer.show([frame(100)])
        shown += 1
        assert shown < 20
    assert wire.unsent_bytes < BYTES_MAX + 200


async def test_p12_what_is_held_back_while_the_backlog_is_read_is_bounded() -> None:
    wire = Wire()
    viewer = viewer_on(wire)
    viewer.show([frame(BYTES_MAX - 100)])
    assert not wire.aborted
    viewer.show([frame(200)])
    assert wire.aborted


async def test_a_backlog_larger_than_the_bound_is_no_fault_of_the_viewer() -> None:
    wire = Wire()
    viewer = viewer_on(wire)
    viewer.go_live(b"x" * 50 * BYTES_MAX)
    viewer.show([frame(100)])
    assert not wire.aborted
    for _ in range(20):
        viewer.show([frame(100)])
    assert wire.aborted


async def test_once_the_backlog_is_taken_the_bound_is_the_plain_one() -> None:
    wire = Wire()
    viewer = viewer_on(wire)
    viewer.go_live(b"x" * 50 * BYTES_MAX)
    wire.unsent_bytes = 0
    for _ in range(20):
        viewer.show([frame(100)])
    assert wire.aborted


async def test_p12_a_viewer_is_stalled_when_it_takes_nothing_and_not_while_it_takes() -> None:
    wire = Wire()
    viewer = viewer_on(wire)
    viewer.go_live(b"x" * 50 * BYTES_MAX)
    now = 0.0
    for _ in range(40):
        wire.unsent_bytes -= 1_000
        now += STALLED_S_MAX - 1
        assert not viewer.is_stalled(now, stalled_s_max=STALLED_S_MAX)
    viewer.show([frame(100)])  # more for it to take is no sign that it takes
    assert not viewer.is_stalled(now + STALLED_S_MAX - 1, stalled_s_max=STALLED_S_MAX)
    assert viewer.is_stalled(now + STALLED_S_MAX + 1, stalled_s_max=STALLED_S_MAX)


async def test_a_viewer_that_has_all_is_never_stalled() -> None:
    viewer = viewer_on(Wire())
    for now in (0.0, 100.0, 200.0):
        assert not viewer.is_stalled(now, stalled_s_max=STALLED_S_MAX)
