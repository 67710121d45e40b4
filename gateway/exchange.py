"""A question and its answer: into a mailbox, to whichever worker takes it, back by the feed.

The gateway asks no model itself. A question without a name gets a context of its own, which
is deleted once it is answered; the context of a name is made by its first question.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from functools import partial

from pydantic import JsonValue
from uuid_utils import uuid7

from fsm import (
    UNSEARCHED,
    AnyAction,
    Config,
    ContextCreated,
    ContextState,
    Message,
    MessageReceived,
    MessagesRecorded,
    Reference,
    RequestPrepared,
    allowed_actions,
    decode_event,
    drafting,
    replay,
    rests,
)
from gateway.app import Gateway
from gateway.delivery import deliver, forget, orphaned_ms
from gateway.feed import RESTARTED, Feed
from gateway.mirror import Mirror
from gateway.problems import Problem, unanswered
from storage import ContextMissing, LogCompacted, Mail, StoreUnavailable, View


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and how."""

    said: MessageReceived
    """Its `client_message_id` is nobody else's."""
    config: Config
    """Of the context, if it is made for the question; `said` patches that of another."""
    history: MessagesRecorded | None = None
    """What was said before; a context that there is already knows that by itself."""
    name: str = ""
    """The owner's name for the context; without one the question stands alone."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Some more text of a reply."""

    message_id: str
    text: str


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question that was delivered. Made by `asking`."""

    feed: Feed
    question: Question
    before: ContextState | None
    """The context as it was; None: it was made for the question."""
    is_applied: bool
    """Whether it was applied, so that it waits in the queue if it is not in the tree."""
    epoch: str
    """Epoch of the store when the question was delivered; a later one may have lost it."""

    @property
    def mirror(self) -> Mirror:
        """The context as of the last frame.

        Raises:
            ContextMissing: It was deleted.
            StoreUnavailable: The store has been restarted since the question was delivered.
        """
        if self.feed.deleted:
            raise ContextMissing(self.feed.context_id)
        if self.feed.mirror.epoch != self.epoch:
            raise StoreUnavailable(RESTARTED)
        return self.feed.mirror

    async def answered(self) -> None:
        """Wait until the turn of the question is over, or waits for a person, or is lost."""
        await self.feed.wait_until(
            lambda mirror: mirror.epoch != self.epoch or self._is_over(mirror.view.state)
        )

    async def pieces(self, *, heartbeat_s: float) -> AsyncGenerator[Piece | None, None]:
        """The replies' text as it arrives; None after each `heartbeat_s` without any.

        Raises:
            ContextMissing: The context was deleted.
            StoreUnavailable: The question may be lost.
        """
        shown: dict[str, int] = {}
        while True:
            mirror = self.mirror
            at, is_over = mirror.head, self._is_over(mirror.view.state)
            for message_id, text in self._texts(mirror.view):
                if len(text) > (seen := shown.get(message_id, 0)):
                    shown[message_id] = len(text)
                    yield Piece(message_id, text[seen:])
            if is_over:
                return
            try:
                async with asyncio.timeout(heartbeat_s):
                    await self.feed.wait_until(partial(_has_moved, at))
            except TimeoutError:
                yield None

    def reply(self) -> Message:
        """The last reply of a turn that is over.

        Raises:
            Problem: There is none, for a reason that it tells.
            ContextMissing: The context was deleted.
            StoreUnavailable: The question may be lost.
        """
        state = self.mirror.view.state
        said = self._said(state)
        is_open = said is None or (state.turn is not None and state.turn.id == said.id)
        if is_open and state.failure is not None:
            raise unanswered(state.failure)
        replies = self._replies(state)
        if is_open or not replies or replies[-1].status == "failed":
            waits_for = "a person" if is_open else "nothing: it was stopped, or given up"
            raise Problem(
                "illegal-in-phase",
                f"The question is not answered; it waits for {waits_for}.",
                {
                    "phase": state.phase.value,
                    "allowed_actions": list[JsonValue](allowed_actions(state)),
                },
            )
        return replies[-1]

    async def references(self, gateway: Gateway) -> Sequence[Reference]:
        """What the model was given to read for this question, as far as the log tells."""
        state, now = self.before, self.mirror.view.state
        after = state.version if state else 0
        try:
            events = await gateway.store.read_log(
                now.id, now.owner, after=after, until=now.version, epoch=self.epoch
            )
        except (LogCompacted, ContextMissing):
            return ()  # since it was answered
        found: Sequence[Reference] = ()
        for raw in events:
            event = decode_event(raw)
            state = replay([event], state)
            if isinstance(event, RequestPrepared) and self._is_asked(state):
                found = event.references
        return found

    def _said(self, state: ContextState) -> Message | None:
        """The question in the tree; None while it waits."""
        asked = self.question.said.client_message_id
        return next((m for m in reversed(state.messages) if m.client_message_id == asked), None)

    def _is_asked(self, state: ContextState) -> bool:
        """Whether the turn that runs is that of the question."""
        said = self._said(state)
        return said is not None and state.turn is not None and state.turn.id == said.id

    def _is_over(self, state: ContextState) -> bool:
        if self._said(state) is None:
            return rests(state) and (self.is_applied or state.failure is not None)
        return rests(state) or not self._is_asked(state)

    def _replies(self, state: ContextState) -> Sequence[Message]:
        """The replies of the turn of the question, oldest first."""
        said = self._said(state)
        if said is None:
            return ()
        line = {said.id}
        replies: list[Message] = []
        for message in state.messages[said.seq :]:
            if message.parent_id in line and message.role != "user":
                line.add(message.id)
                if message.role == "assistant":
                    replies.append(message)
        return replies

    def _texts(self, view: View) -> Sequence[tuple[str, str]]:
        """Each reply of the turn by its id, as far as it has arrived."""
        texts = [(reply.id, reply.content) for reply in self._replies(view.state)]
        reply_id = drafting(view.state)
        if reply_id is not None and self._is_asked(view.state):
            texts.append((reply_id, view.draft))
        return texts


@contextlib.asynccontextmanager
async def asking(
    gateway: Gateway, owner: str, question: Question
) -> AsyncGenerator[Exchange, None]:
    """Ask, and listen for the length of a block.

    Raises:
        Problem: The question was refused.
        ContextMissing: The context was deleted meanwhile.
        StorageError: The store does not take the question.
    """
    opening = opened(
        gateway,
        owner,
        question.history or question.said,
        config=question.config,
        wait_s=gateway.config.chat_s_max,
        name=question.name,
    )
    async with opening as (feed, before):
        is_first = before is None and question.history is None
        if not is_first:
            await deliver(gateway, feed, owner, question.said)
        try:
            yield Exchange(
                feed, question, before, is_applied=not is_first, epoch=gateway.store.epoch
            )
        except ContextMissing:
            await gateway.directory.head(feed.context_id, owner)  # a tombstone may say more
            raise


@contextlib.asynccontextmanager
async def opened(
    gateway: Gateway,
    owner: str,
    first: AnyAction,
    *,
    config: Config,
    wait_s: float,
    name: str = "",
) -> AsyncGenerator[tuple[Feed, ContextState | None], None]:
    """Follow the context of a name; if there is none, make it with a first action.

    Without a name, a context is made and deleted at the end, also when this is cancelled; it
    expires soon after `wait_s` if this process is killed. Other contexts' searches do not find
    it.

    Yields:
        Its feed, and the state in which it was found, None where it was made.
    """
    store = gateway.store
    created = ContextCreated(
        at_ms=gateway.clock(),
        context_id=str(uuid7()),
        owner=owner,
        labels={} if name else {UNSEARCHED: "asked once"},
        config=config,
        expires_ms=None if name else orphaned_ms(gateway, wait_s),
    )
    try:
        context_id, is_old = await store.admissions.create(
            created, first=Mail(event=first), key="", digest="", name=name
        )
        if not is_old:
            await store.queue.enqueue(context_id, owner=owner)
        async with gateway.directory.follow(context_id, owner) as feed:
            yield feed, feed.mirror.view.state if is_old else None
    finally:
        if not name:
            await forget(gateway, owner, created.context_id)


def _has_moved(at: tuple[int, int], mirror: Mirror) -> bool:
    return mirror.head != at
