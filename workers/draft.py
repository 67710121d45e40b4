"""The text of a reply that is arriving, and how much of it readers have.

Frames of one reply leave one after another; a frame whose outcome is unknown is sent
again as it was, because the script knows it by its position.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

from fsm import ContextState, drafting
from storage import (
    Draft,
    DraftConflict,
    Fenced,
    NoScript,
    Owned,
    Store,
    StoreRefusedWrite,
    StoreUnavailable,
)


@dataclass(slots=True)
class DraftBuffer:
    """The draft of the reply to one model call."""

    effect_id: str
    reply_id: str | None = None
    """Set once the commit that begins the draft has been made."""
    began: int = 0
    """Version of the context after that commit."""
    n: int = 0
    """Characters that are in the store."""
    _parts: list[str] = field(default_factory=list[str])
    """All text that has arrived, in the pieces that it came in."""
    _unsent: list[str] = field(default_factory=list[str])
    _on_its_way: str = ""
    sending: bool = False

    @property
    def text(self) -> str:
        """All text that has arrived."""
        if len(self._parts) > 1:
            self._parts = ["".join(self._parts)]
        return self._parts[0] if self._parts else ""

    def add(self, text: str) -> None:
        """Take some more text."""
        self._parts.append(text)
        self._unsent.append(text)

    def begin(self) -> str:
        """The draft begins with what has arrived by now, which is returned."""
        text = "".join(self._unsent)
        self._unsent.clear()
        self.n = len(text)
        return text

    def take(self) -> tuple[int, str] | None:
        """The next frame as (n before it, text), or None if there is nothing to send now."""
        if self.sending or self.reply_id is None:
            return None
        if not self._on_its_way:
            self._on_its_way = "".join(self._unsent)
            self._unsent.clear()
        if not self._on_its_way:
            return None
        self.sending = True
        return self.n, self._on_its_way

    def sent(self) -> None:
        """The frame that was taken last is in the store."""
        self.n += len(self._on_its_way)
        self._on_its_way = ""
        self.sending = False

    def not_sent(self) -> None:
        """The outcome of the frame that was taken last is unknown: take gives it again."""
        self.sending = False

    @property
    def waiting(self) -> bool:
        """Whether some text has not been sent."""
        return bool(self._unsent or self._on_its_way)


class Drafts:
    """The drafts of one activation: of one reply after another."""

    def __init__(
        self,
        owned: Owned,
        store: Store,
        *,
        on_first: Callable[[], object],
        on_waiting: Callable[[], object],
        on_broken: Callable[[], object],
    ) -> None:
        """Begin without a draft.

        Args:
            owned: The context.
            store: Where frames go.
            on_first: Called when the first text of a reply arrives.
            on_waiting: Called whenever there is text to send.
            on_broken: Called once `broken` is set.
        """
        self.current: DraftBuffer | None = None
        self.broken: Exception | None = None
        """Why no frame can follow: the activation is over."""
        self._context_id = owned.context_id
        self._token = owned.token
        self._store = store
        self._on_first = on_first
        self._on_waiting = on_waiting
        self._on_broken = on_broken
        self._framed: DraftBuffer | None = None
        """The draft whose frame was sent and is not confirmed yet."""

    def add(self, effect_id: str, text: str) -> bool:
        """Take some more of a reply; True if it is the reply's first."""
        draft = self.current
        first = draft is None or draft.effect_id != effect_id
        if draft is None or first:
            self.current = draft = DraftBuffer(effect_id)
            self._on_first()
        draft.add(text)
        if draft.reply_id is not None:
            self._on_waiting()
        return first

    def partial_of(self, effect_id: str) -> str:
        """Text that has arrived of the reply to a model call."""
        draft = self.current
        return draft.text if draft is not None and draft.effect_id == effect_id else ""

    def change(self, before: ContextState, after: ContextState) -> Draft:
        """What a commit does to the draft; the one that begins it brings its first text."""
        reply_id, known_id = drafting(after), drafting(before)
        if reply_id is None:
            if self.current is not None and self.current.effect_id not in after.pending:
                self.current = None
            return Draft("clear" if known_id else "keep")
        if self.current is None or reply_id == known_id:
            return Draft("keep", n=self.current.n if self.current else 0)
        text = self.current.begin()
        return Draft("start", n=self.current.n, text=text)

    def begun(self, state: ContextState) -> None:
        """The commit that begins the draft has been made, and has led to this state."""
        if self.current is not None:
            self.current.reply_id = drafting(state)
            self.current.began = state.version
            if self.current.waiting:
                self._on_waiting()

    def send(self, *, version: int) -> asyncio.Future[object] | None:
        """Send the text that has arrived since the last frame, if nothing is on its way.

        Args:
            version: Of the context.
        """
        draft = self.current
        if draft is None or (unsent := draft.take()) is None:
            return None
        n_before, text = unsent
        try:
            answer = self._store.ownership.append_draft(
                self._context_id,
                self._token,
                began=draft.began,
                version=version,
                n_before=n_before,
                message_id=draft.reply_id or "",
                text=text,
            )
        except StoreUnavailable:
            draft.not_sent()
            self._on_waiting()
            return None
        self._framed = draft
        return answer

    async def confirm(self, answer: asyncio.Future[object]) -> None:
        """Take the outcome of `send`; what is not in the store is sent again.

        Raises nothing: a failure of the store concerns this activation alone.
        """
        if not answer.done():
            await asyncio.wait((answer,))
        draft, self._framed = self._framed, None
        if draft is None or draft is not self.current:
            return  # the reply has ended meanwhile, and its commit holds all of the text
        error = answer.exception()
        if error is None and answer.result() in {b"appended", b"repeated"}:
            draft.sent()
        elif isinstance(error, (StoreUnavailable, StoreRefusedWrite, NoScript)):
            draft.not_sent()
            if isinstance(error, NoScript):
                await self._reload_scripts()
        else:
            self.broken = _failure(self._context_id, answer)
            self._on_broken()
            return
        if draft.waiting:
            self._on_waiting()

    def end(self) -> None:
        """Call nobody any more: the activation, whose methods these are, is over."""
        self._on_first = self._on_waiting = self._on_broken = lambda: None

    async def _reload_scripts(self) -> None:
        with contextlib.suppress(StoreUnavailable, StoreRefusedWrite):
            await self._store.reload_scripts()


def _failure(context_id: str, answer: asyncio.Future[object]) -> Exception:
    """The error for a draft that the store refused, or that failed unexpectedly."""
    match answer.exception():
        case None if answer.result() == b"fenced":
            return Fenced(context_id)
        case None:
            return DraftConflict(context_id)
        case Exception() as error:
            return error
        case never:
            raise never
