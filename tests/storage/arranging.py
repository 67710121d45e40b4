"""Short ways to bring a store where a test begins, and to see what it holds."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, cast

from fsm import ContextCreated, Event, MessageReceived, rests
from storage import (
    Commit,
    CommitFrame,
    DeadLetter,
    Draft,
    DraftFrame,
    Listener,
    Mail,
    Owned,
    Result,
    Sealer,
    Store,
    decode_frame,
    feed,
    keys,
)
from tests.support.playbook import BEGAN_MS, CONTEXT_ID, Playbook

HEARD_S_MAX: Final = 10.0
APPLIED: Final = Result(outcome="applied", version=2)


def say_mail(content: str = "Hello", *, if_version: int | None = None) -> Mail:
    """A message on its way to the mailbox."""
    return Mail(event=MessageReceived(at_ms=BEGAN_MS, content=content), if_version=if_version)


def created(context_id: str = CONTEXT_ID, *, owner: str = "ada") -> ContextCreated:
    """The first event of a context."""
    return ContextCreated(at_ms=BEGAN_MS, context_id=context_id, owner=owner)


async def create(
    store: Store, event: Event | None = None, *, first: Mail | None = None
) -> None:
    """A context, without an idempotency key."""
    event = event or created()
    assert isinstance(event, ContextCreated)
    await store.admissions.create(event, first=first, key="", digest="")


async def deliver(store: Store, content: str = "Hello", *, key: str = "") -> int:
    """Mail for the context; its number."""
    receipt = await store.admissions.deliver(
        CONTEXT_ID, "ada", say_mail(content), key=key, digest=f"d-{content}"
    )
    return receipt.seq


async def live(store: Store, *worker_ids: str) -> None:
    """Workers with a session."""
    for worker_id in worker_ids:
        await store.sessions.renew(worker_id, now_ms=BEGAN_MS, begin=True)


async def die(store: Store, worker_id: str) -> None:
    """A worker's session is over; nobody has buried it yet."""
    await store.link.call("DEL", keys.session(worker_id))


async def own(store: Store, worker_id: str = "w1") -> Owned:
    """A living worker that owns the context."""
    await live(store, worker_id)
    return await store.ownership.activate(CONTEXT_ID, worker_id)


def next_commit(
    book: Playbook,
    owned: Owned,
    *,
    base: int,
    acknowledged: int = 0,
    results: Mapping[int, Result] | None = None,
    draft: Draft | None = None,
    snapshot: bool = False,
    messages_saved: int = 0,
    letter: DeadLetter | None = None,
    progress: bool = True,
) -> Commit:
    """What a playbook's events behind version `base` are committed with."""
    return Commit(
        context_id=owned.context_id,
        token=owned.token,
        base=base,
        events=logged(book)[base:],
        state=book.state,
        rests=rests(book.state),
        acknowledged=acknowledged,
        results=results or {},
        draft=draft or Draft("keep"),
        snapshot=snapshot,
        messages_saved=messages_saved,
        letter=letter,
        progress=progress,
    )


def logged(book: Playbook) -> list[bytes]:
    """A playbook's log, as the store holds it."""
    return [event.model_dump_json().encode() for event in book.log]


async def append(
    store: Store,
    owned: Owned,
    n_before: int,
    text: str,
    *,
    version: int,
    began: int | None = None,
) -> bytes:
    """Some more of a reply, begun at `version` unless told; what the store says to it."""
    answer = store.ownership.append_draft(
        owned.context_id,
        owned.token,
        began=version if began is None else began,
        version=version,
        n_before=n_before,
        message_id="m",
        text=text,
    )
    return cast("bytes", await answer)


async def kept(store: Store) -> set[str]:
    """Every key that there is, but the epoch."""
    found = cast("list[bytes]", await store.link.call("KEYS", "*"))
    return {key.decode() for key in found} - {keys.EPOCH}


async def ready(store: Store) -> Sequence[str]:
    """The contexts that wait for a worker, oldest first."""
    found = cast("list[bytes]", await store.link.call("ZRANGE", keys.READY, 0, -1))
    return [context_id.decode() for context_id in found]


@dataclass
class Ear:
    """What was heard on a channel."""

    messages: list[bytes] = field(default_factory=list[bytes])
    gaps: int = 0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def on_message(self, message: bytes) -> None:
        self.messages.append(message)
        self._changed.set()

    def on_gap(self) -> None:
        self.gaps += 1
        self._changed.set()

    async def hears(self, count: int, *, gaps: int = 0) -> list[bytes]:
        """What was heard, once it is so much."""
        await self.until(lambda: len(self.messages) >= count and self.gaps >= gaps)
        return self.messages

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until what was heard is so."""
        async with asyncio.timeout(HEARD_S_MAX):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def knows_more(self, *, gaps: int, heard: int) -> bool:
        """Whether there was a message, or a gap to read up, since these were counted."""
        return self.gaps > gaps or len(self.messages) > heard

    async def frames(self, count: int) -> list[CommitFrame | DraftFrame]:
        """What was heard, as frames, once it is so much."""
        return [
            decode_frame(Sealer(None), CONTEXT_ID, message)
            for message in await self.hears(count)
        ]


@contextlib.asynccontextmanager
async def listening(store: Store, channel: str = "") -> AsyncGenerator[Ear, None]:
    """An ear on a channel, else on the context's feed."""
    ear, channel = Ear(), channel or feed(CONTEXT_ID)
    listener = Listener(ear.on_message, ear.on_gap)
    await store.subscriber.subscribe(channel, listener)
    yield ear
    store.subscriber.unsubscribe(channel, listener)
