"""Virtual time: a loop whose clock jumps to the next timer instead of waiting for it.

Nothing here waits, so what a test calls "an hour later" is exact and takes no time at all.
Threads and sockets have no place in such a test: the clock would not wait for them.
"""

import asyncio
import functools
import selectors
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar, cast

from typing_extensions import override

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

P = ParamSpec("P")
T = TypeVar("T")

ENDS_S: Final = 3_600.0
"""A test that has come so far waits for what never happens."""
SETTLED_S: Final = 0.001


class _Selector(selectors.BaseSelector):
    """Asks what is ready and never waits for it: waiting is what moves the clock."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._ready = selectors.DefaultSelector()

    @override
    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = self._ready.select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None or self.now_s + timeout > ENDS_S:
            raise TimeoutError(f"nothing happens any more, {self.now_s:.3f} s from the start")
        self.now_s += max(timeout, 0.0)
        return ready

    @override
    def register(
        self, fileobj: "FileDescriptorLike", events: int, data: object = None
    ) -> selectors.SelectorKey:
        return self._ready.register(fileobj, events, data)

    @override
    def unregister(self, fileobj: "FileDescriptorLike") -> selectors.SelectorKey:
        return self._ready.unregister(fileobj)

    @override
    def get_map(self) -> "Mapping[FileDescriptorLike, selectors.SelectorKey]":
        return self._ready.get_map()

    @override
    def close(self) -> None:
        self._ready.close()


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """A loop that begins at 0 s and is never late."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    @override
    def time(self) -> float:
        return self._virtual.now_s

    def stand_still(self, span_s: float) -> None:
        """Let time pass as where a call blocks the loop for so long."""
        self._virtual.now_s += span_s


def in_virtual_time(
    test: Callable[P, Coroutine[object, object, None]],
) -> Callable[P, None]:
    """Run a test on a loop of its own, in virtual time.

    A failure that came through task groups is raised as it was, so that pytest shows it.
    """

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
                runner.run(test(*args, **kwargs))
        except BaseExceptionGroup as group:
            raise _only(group) from None

    return run


def _only(error: BaseException) -> BaseException:
    """The one error in nested groups, or the group of several."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    group = cast("BaseExceptionGroup[BaseException]", error)
    return _only(group.exceptions[0]) if len(group.exceptions) == 1 else group


def now_s() -> float:
    """The running loop's time."""
    return asyncio.get_running_loop().time()


async def settled() -> None:
    """Everything has happened that can happen by now; takes 1 ms of virtual time."""
    await asyncio.sleep(SETTLED_S)


async def until(true: Callable[[], object], *, within_s: float = 60.0) -> None:
    """Wait, in steps of 1 ms, until something is so."""
    ends_s = now_s() + within_s
    while not true():
        assert now_s() < ends_s, "it never came true"
        await asyncio.sleep(SETTLED_S)


async def timed(work: Awaitable[T]) -> tuple[T, float]:
    """What some work gives, and how long it took."""
    began_s = now_s()
    return await work, now_s() - began_s
