"""One context's frames on their way to everybody in this gateway who waits for them.

A feed listens to the context's channel and folds what it hears into its mirror. It checks
that frames are contiguous and reads the log on a hole, so a lost publication costs
latency and never an event. Viewers get each frame as the same bytes.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog
from typing_extensions import override

from fsm import drafting, ended
from gateway.mirror import Mirror
from gateway.stream import Frame, Position, delta_frame, frames_between, reset_frame
from storage import (
    CannotOpen,
    CommitFrame,
    ContextMissing,
    ContextUnreadable,
    DraftFrame,
    Listener,
    Result,
    Store,
    StoreUnavailable,
    View,
    decode_frame,
    feed,
)

log = structlog.get_logger(__name__)

FRAMES_WAITING_MAX = 1_024
"""Frames kept while the log is read; more are left to the next reading."""
RELOAD_PAUSE_S = 0.2
RESTARTED = "the store was restarted meanwhile, and may have lost what was delivered"
COMPACTED = "the events since were replaced by the state that they led to"
SET_BACK = "the store has been restored or replaced; what you saw may have been lost"
"""Why a stream begins again under a new epoch."""
RESULTS_MAX = 256
"""Results kept for receipts that are still on their way."""


class Viewer(Protocol):
    """Is shown every frame of a feed (`gateway/sse.py`; tests bring their own)."""

    def show(self, frames: Sequence[Frame]) -> None:
        """Take frames, in order, without waiting."""
        ...

    def close(self) -> None:
        """There will be no more frames."""
        ...


class Feed:
    """A context that this gateway listens to. Made by `Directory.follow`."""

    def __init__(self, store: Store, context_id: str, owner: str) -> None:
        self.context_id = context_id
        self.opened = asyncio.Event()
        """Set once the mirror is loaded, or what ended the feed is known."""
        self.users = 0
        """Requests and streams that need it; see `Directory`."""
        self.unused_since = 0.0
        self.viewers: set[Viewer] = set()
        self._store = store
        self._owner = owner
        self._mirror: Mirror | None = None
        self._stale = True
        self._waiting_frames: list[bytes] = []
        self._changed: list[asyncio.Future[None]] = []
        self._results: dict[tuple[str, int], set[asyncio.Future[Result | None]]] = {}
        """By epoch and number: the store counts again from where it was set back to."""
        self._recent: OrderedDict[int, Result] = OrderedDict()
        """Results that came before anybody asked: a commit may overtake the receipt."""
        self._reload = asyncio.Event()
        self._lost: Exception | None = None
        self._over = False

    @override
    def __repr__(self) -> str:
        version = self._mirror.version if self._mirror else "?"
        return f"<Feed {self.context_id} v{version}, {len(self.viewers)} viewers>"

    @property
    def mirror(self) -> Mirror:
        """The context as of the last frame."""
        assert self._mirror is not None, "a feed is used only once it is open"
        return self._mirror

    @property
    def current(self) -> bool:
        """Whether the mirror is of the epoch that the store is in."""
        return self._mirror is not None and self._mirror.epoch == self._store.epoch

    @property
    def known(self) -> View | None:
        """What need not be read again; None if the store may have lost it."""
        return self._mirror.view if self._mirror is not None and self.current else None

    @property
    def last_known(self) -> Mirror | None:
        """The mirror as it was last, perhaps behind; None if it may hold what was lost."""
        return self._mirror if self.current and not self.deleted else None

    @property
    def deleted(self) -> bool:
        """Whether the context is gone; the mirror holds its last state."""
        return self._mirror is not None and ended(self._mirror.view.state)

    async def run(self, known: Mirror | None) -> None:
        """Listen until cancelled.

        Args:
            known: A mirror to start from, perhaps an old one.
        """
        self._mirror = known
        channel, listener = feed(self.context_id), Listener(self._on_message, self._on_gap)
        try:
            await self._store.subscriber.subscribe(channel, listener)
            await self._catch_up()
            self.opened.set()
            while not self.deleted:
                await self._reload.wait()
                await self._catch_up()
        except (ContextMissing, ContextUnreadable, StoreUnavailable) as error:
            self._lost = error
        except Exception:
            # Whatever is wrong with this context is not the others' affair.
            log.exception("feed crashed", context_id=self.context_id)
            self._lost = StoreUnavailable("the context cannot be shown")
        finally:
            self._store.subscriber.unsubscribe(channel, listener)

    def end(self, _task: object) -> None:
        """Let go of everybody; to be called once `run` is over, even if it never began."""
        if self._mirror is None and self._lost is None:
            self._lost = StoreUnavailable("the gateway stops")
        self._over = True
        self.opened.set()
        self._wake()
        for epoch, seq in tuple(self._results):
            self._tell_result(epoch, seq, None)
        for viewer in tuple(self.viewers):
            viewer.close()

    def check(self) -> None:
        """Raise what ended the feed, if anything did.

        Raises:
            ContextMissing: The context is gone, or never was this owner's.
            ContextUnreadable: Nobody can open it.
            StoreUnavailable: It could not be shown.
        """
        if self._lost is not None:
            raise self._lost

    # Waiting

    def result_of(self, epoch: str, seq: int) -> asyncio.Future[Result | None]:
        """What becomes of an action that was delivered in an epoch.

        None: it was not heard, and the feed is over, as where the context is gone. The future
        is the caller's own: it may be cancelled. It fails with StoreUnavailable if the epoch
        ends before the result is known.
        """
        waiting: asyncio.Future[Result | None] = asyncio.get_running_loop().create_future()
        result = self._recent.get(seq) if self.mirror.epoch == epoch else None
        if result is not None or self._over:
            waiting.set_result(result)
        else:
            self._results.setdefault((epoch, seq), set()).add(waiting)
        return waiting

    def forget_result(
        self, epoch: str, seq: int, waiting: asyncio.Future[Result | None]
    ) -> None:
        """Give back what `result_of` gave."""
        waiting.cancel()
        others = self._results.get((epoch, seq), set())
        others.discard(waiting)
        if not others:
            self._results.pop((epoch, seq), None)

    def _tell_result(self, epoch: str, seq: int, result: Result | None) -> None:
        for waiting in self._results.pop((epoch, seq), set()):
            if not waiting.done():
                waiting.set_result(result)

    def _fail_results(self, epoch: str) -> None:
        """Fail waits for results of other epochs: their actions may be lost."""
        for asked in [asked for asked in self._results if asked[0] != epoch]:
            for waiting in self._results.pop(asked):
                if not waiting.done():
                    waiting.set_exception(StoreUnavailable(RESTARTED))

    async def wait_until(self, reached: Callable[[Mirror], bool]) -> None:
        """Wait for a state; returns at once if it is there. Raises what ended the feed."""
        while True:
            self.check()
            if reached(self.mirror) or self.deleted:
                return
            changed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._changed.append(changed)
            await changed

    def _wake(self) -> None:
        changed, self._changed = self._changed, []
        for future in changed:
            if not future.done():
                future.set_result(None)

    def read_again(self) -> None:
        """Have the store read: a frame was missed."""
        self._on_gap()

    # Frames

    def _on_gap(self) -> None:
        self._stale = True
        self._reload.set()

    def _on_message(self, raw: bytes) -> None:
        if self._stale:
            if len(self._waiting_frames) < FRAMES_WAITING_MAX:
                self._waiting_frames.append(raw)
        elif not self._take(raw):
            self._waiting_frames.append(raw)
            self._on_gap()
        if self.deleted:
            self._reload.set()
        self._wake()

    def _take(self, raw: bytes) -> bool:
        """Fold one frame; False if it does not continue what is here."""
        try:
            frame = decode_frame(self._store.sealer, self.context_id, raw)
        except CannotOpen:
            self._on_gap()  # whoever has published it, the store knows
            return True
        mirror = self.mirror
        if frame.epoch != mirror.epoch:
            # Older: the store has lost it. Newer: so it has what is here.
            return int(frame.epoch) < int(mirror.epoch)
        if isinstance(frame, DraftFrame):
            return self._take_draft(mirror, frame)
        if frame.base > mirror.version:
            return False
        if frame.base == mirror.version:
            self._take_commit(mirror, frame)
        elif frame.base + len(frame.events) > mirror.version:
            return False
        for seq, result in frame.results.items():
            self._recent[seq] = result
            self._tell_result(mirror.epoch, seq, result)
        while len(self._recent) > RESULTS_MAX:
            self._recent.popitem(last=False)
        return True

    def _take_draft(self, mirror: Mirror, frame: DraftFrame) -> bool:
        view = mirror.view
        message_id = drafting(view.state)
        if frame.version > mirror.version:
            return False
        if message_id != frame.message_id or frame.n_before < view.n:
            return True  # seen before: of a draft that was read from the store, or is over
        if frame.n_before > view.n:
            return False
        mirror.append_draft(frame.text)
        if self.viewers:
            shown = delta_frame(
                mirror.epoch,
                mirror.version,
                mirror.view.n,
                message_id=frame.message_id,
                text=frame.text,
            )
            self._show([shown])
        return True

    def _take_commit(self, mirror: Mirror, frame: CommitFrame) -> None:
        before = Position(mirror.version, mirror.view.n)
        mirror.apply(frame.events, frame.draft)
        if self.viewers:
            self._show(frames_between(mirror.epoch, before, frame.events, mirror.view))

    def _show(self, frames: Sequence[Frame]) -> None:
        for viewer in tuple(self.viewers):
            viewer.show(frames)

    # Reading the store

    async def _catch_up(self) -> None:
        """Read what is missing and go on with the frames that came meanwhile."""
        while self._stale:
            self._reload.clear()
            try:
                await self._load()
            except StoreUnavailable:
                if self._mirror is None:
                    raise
                await asyncio.sleep(RELOAD_PAUSE_S)
                continue
            if self._reload.is_set():
                continue  # told of a gap meanwhile: what we have read may lack what was lost
            self._stale = False
            waiting, self._waiting_frames = self._waiting_frames, []
            for index, raw in enumerate(waiting):
                if not self._take(raw):
                    self._waiting_frames = waiting[index:]
                    self._stale = True
                    break
            self._wake()

    async def _load(self) -> None:
        if self._mirror is not None:
            await self._connected()
        # Of another epoch nothing is known: the store may have lost what we have seen.
        epoch = self._store.epoch
        known = self._mirror.view if self._mirror and self._mirror.epoch == epoch else None
        self._fail_results(epoch)
        for asked in tuple(self._results):
            _, seq = asked
            reading = await self._store.read(self.context_id, self._owner, known=known, seq=seq)
            if reading.result is not None and self._store.epoch == epoch:
                self._tell_result(epoch, seq, reading.result)
        reading = await self._store.read(self.context_id, self._owner, known=known)
        if self._store.epoch != epoch:
            raise StoreUnavailable(RESTARTED)
        if reading.view is None:
            return
        if known is None or reading.version < known.state.version:
            self._begin_again(Mirror(reading.view, epoch), SET_BACK)
            return
        if len(reading.events) != reading.version - known.state.version:
            self._begin_again(Mirror(reading.view, epoch), COMPACTED)
            return
        assert self._mirror is not None
        before = Position(self._mirror.version, self._mirror.view.n)
        self._mirror.view = reading.view
        if self.viewers:
            self._show(frames_between(epoch, before, reading.events, reading.view))

    async def _connected(self) -> None:
        """Wait for the store's connection, and with it for its epoch."""
        try:
            async with asyncio.timeout(self._store.config.store_call_s_max):
                await self._store.link.connected.wait()
        except TimeoutError:
            raise StoreUnavailable("no connection to the store") from None

    def _begin_again(self, mirror: Mirror, reason: str) -> None:
        """Take a mirror that does not continue what viewers have seen, and tell them."""
        before, self._mirror = self._mirror, mirror
        if before is None:
            return
        self._recent.clear()  # the numbers of actions begin again, too
        self._show([reset_frame(mirror, reason)])
