"""Virtual time, and processes that can be frozen or die within it.

Invariant 1: nothing waits: the clock jumps to the next timer, so a run depends on nothing
but its seed.
Invariant 2: whatever a process has scheduled belongs to it. While it is frozen none of that
runs; once it is dead none of it runs ever again, not even a `finally`.
"""

import asyncio
import contextlib
import contextvars
import selectors
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from typing_extensions import override

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

T = TypeVar("T")

Callback: TypeAlias = Callable[..., Any]
"""What a loop is given to call: any signature, its arguments are passed on."""

ORDER_S: Final = 1e-12
"""Between timers of one moment: the heap that asyncio keeps them in has no order for those."""
THREAD_S: Final = 0.000_5
"""What work in a thread takes."""


class NothingHappens(Exception):
    """Nothing is scheduled any more, and the run is not over: a deadlock."""


class Killed(BaseException):
    """Unwinds what a process does in one go at the moment of its death."""


@dataclass(slots=True, eq=False)
class Process:
    """A process of ours, as the loop sees it."""

    name: str
    alive: bool = True
    frozen: bool = False
    _held: list["_Held"] = field(default_factory=list["_Held"])
    """Callbacks that became due while it was frozen."""
    _on_death: list[Callable[[], None]] = field(default_factory=list[Callable[[], None]])

    @property
    def runs(self) -> bool:
        """Whether it does anything at all."""
        return self.alive and not self.frozen

    def on_death(self, tell: Callable[[], None]) -> None:
        """Call `tell` at the moment of its death."""
        self._on_death.append(tell)

    def kill(self) -> None:
        """Die as by kill -9: nothing of it runs from now on."""
        if self.alive:
            self.alive = False
            for tell in self._on_death:
                tell()

    def freeze(self) -> None:
        """Stop as by SIGSTOP: nothing of it runs until `thaw`; the world goes on."""
        self.frozen = True

    def thaw(self) -> None:
        """Go on as by SIGCONT: all that was due meanwhile is run, in that order."""
        self.frozen = False
        if self.alive:
            self.release()

    def hold(self, held: "_Held") -> None:
        """Keep something for later."""
        self._held.append(held)

    def release(self) -> None:
        """Have everything run that was held."""
        held, self._held = self._held, []
        for one in held:
            one.schedule()


PROCESS: Final[contextvars.ContextVar[Process | None]] = contextvars.ContextVar(
    "process", default=None
)
"""The process whose code runs; None: the simulation's own."""


@contextlib.contextmanager
def inside(process: Process | None) -> Generator[None, None, None]:
    """Let what is scheduled in this block belong to a process, or to the world."""
    token = PROCESS.set(process)
    try:
        yield
    finally:
        PROCESS.reset(token)


class _Held:
    """A callback that runs only while its process does."""

    __slots__ = ("_args", "_callback", "_context", "_loop", "_process", "handle")

    def __init__(
        self,
        loop: "VirtualTimeLoop",
        process: Process,
        callback: Callback,
        args: tuple[object, ...],
        context: contextvars.Context | None,
    ) -> None:
        self._loop = loop
        self._process = process
        self._callback = callback
        self._args = args
        self._context = context
        self.handle: asyncio.Handle | None = None

    def __call__(self) -> None:
        process = self._process
        if not (process.alive and not process.frozen) and not self._loop.over:
            process.hold(self)
        elif self.handle is None or not self.handle.cancelled():
            self._callback(*self._args)

    def schedule(self) -> None:
        """Run it with the loop's next turn."""
        self._loop.call_unheld(self, context=self._context)


class _Selector(selectors.BaseSelector):
    """Knows of no file: waiting is what moves the clock."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.ends_s = 3_600.0
        self._keys: dict[FileDescriptorLike, selectors.SelectorKey] = {}

    @override
    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or self.now_s > self.ends_s:
            raise NothingHappens(f"nothing happens any more, {self.now_s:.3f} s from the start")
        if timeout > 0:
            self.now_s += timeout
        return []

    @override
    def register(
        self, fileobj: "FileDescriptorLike", events: int, data: object = None
    ) -> selectors.SelectorKey:
        key = selectors.SelectorKey(fileobj, 0, events, data)
        self._keys[fileobj] = key
        return key

    @override
    def unregister(self, fileobj: "FileDescriptorLike") -> selectors.SelectorKey:
        return self._keys.pop(fileobj)

    @override
    def get_map(self) -> "Mapping[FileDescriptorLike, selectors.SelectorKey]":
        return self._keys

    @override
    def close(self) -> None:
        self._keys.clear()


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """A loop that begins at 0 s, is never late, and has neither sockets nor threads."""

    def __init__(self, *, ends_s: float = 3_600.0) -> None:
        self._virtual = _Selector()
        self._virtual.ends_s = ends_s
        self._timers = 0
        self.over = False
        """The run is over: what dead processes have left behind is cleared away."""
        super().__init__(self._virtual)

    @override
    def time(self) -> float:
        return self._virtual.now_s

    def call_unheld(
        self, callback: Callable[[], None], *, context: contextvars.Context | None
    ) -> None:
        """Call something whatever has become of its process."""
        super().call_soon(callback, context=context)

    @override
    def call_soon(
        self,
        callback: Callback,
        *args: object,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        process = PROCESS.get() if context is None else context.get(PROCESS)
        if process is None:
            return super().call_soon(callback, *args, context=context)
        held = _Held(self, process, callback, args, context)
        held.handle = super().call_soon(held, context=context)
        return held.handle

    @override
    def call_at(
        self,
        when: float,
        callback: Callback,
        *args: object,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        self._timers += 1
        when += self._timers * ORDER_S
        process = PROCESS.get() if context is None else context.get(PROCESS)
        if process is None:
            return super().call_at(when, callback, *args, context=context)
        held = _Held(self, process, callback, args, context)
        timer = super().call_at(when, held, context=context)
        held.handle = timer
        return timer

    @override
    def run_in_executor(
        self, executor: Executor | None, func: Callable[..., T], *args: object
    ) -> asyncio.Future[T]:
        """Do a thread's work in this one, in no time, a moment from now."""
        done: asyncio.Future[T] = self.create_future()

        def work() -> None:
            try:
                result = func(*args)
            except Killed:
                return
            except Exception as error:  # noqa: BLE001 - handed over to whoever waits
                if not done.done():
                    done.set_exception(error)
            else:
                if not done.done():
                    done.set_result(result)

        self.call_later(THREAD_S, work)
        return done
