"""What clients bring in: new contexts, and actions for their mailboxes.

Every method may raise StoreUnavailable (the outcome is unknown; calling it again with the
same arguments is safe) and, where it writes, StoreRefusedWrite (nothing has happened).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, cast

import storage.keys as keys
from fsm import ContextCreated, ContextState, replay, turn_change, wakes_at_ms
from storage.announcements import ActionReceived, Announcer
from storage.codec import read_result, write_head, write_state, write_summary
from storage.config import StorageConfig
from storage.contract import Mail, Receipt
from storage.errors import (
    ContextGone,
    ContextMissing,
    KeyReused,
    MailboxFull,
    StoreUnavailable,
)
from storage.link import Link
from storage.quotas import allowed, demand_of, exceeded
from storage.scripts import Scripts
from storage.sealing import Sealer
from storage.snapshots import JsonSnapshots
from storage.tracing import Tracer
from storage.webhooks import Webhooks

PIECE_EVENTS_MAX: Final = 1_000
PIECE_BYTES_MAX: Final = 262_144
"""Of a log that is copied: what the store takes in one step, some 5 ms. One step for 50,000
events of 300 bytes would hold it up for 0.3 s, of 2,000 bytes for 0.6 s."""
FILL_S: Final = 60
"""How long a log that is being copied is kept for its next piece; calls take less."""
_LOST: Final = "the store has lost the beginning of a copy"


@dataclass(frozen=True, slots=True)
class _Filled:
    """How much of a log is where it will be."""

    version: int
    """Of the last event that is there; 0: none is, the log is short."""
    byte_count: int
    """Of all that are there."""
    rest: Sequence[bytes]
    """The events behind them."""


@dataclass(slots=True)
class Admissions:
    """Takes in what clients bring, each once per Idempotency-Key."""

    link: Link
    scripts: Scripts
    config: StorageConfig
    sealer: Sealer
    files: JsonSnapshots | None
    """None where snapshots are kept in the store."""
    webhooks: Webhooks
    announcer: Announcer
    tracer: Tracer
    epoch: Callable[[], str]
    """The store's, as of now."""

    async def create(
        self,
        event: ContextCreated,
        *,
        first: Mail | None,
        key: str,
        digest: str,
        further: Sequence[bytes] = (),
        state: ContextState | None = None,
        name: str = "",
        base: ContextState | None = None,
    ) -> tuple[str, bool]:
        """Make a context, perhaps with its first action in the mailbox.

        Args:
            event: Its first event, with the new id.
            first: An action to be delivered with it.
            key: The owner's Idempotency-Key, or "".
            digest: Of the request, no spaces; the same key must come with the same digest.
            further: JSON of the events after the first, where a log is copied.
            state: What all these events lead to, if there are some.
            name: The owner's name for it; one context of that name there is at most.
            base: What the log begins with instead of `event`, where a compacted one is copied.

        Returns:
            The id, and whether an earlier request with the same key, or name, had made it.

        Raises:
            KeyReused: The key came with another digest.
            QuotaExceeded: The owner has as much as one may have.

        A long log goes to the store in pieces that nobody sees before the last one is there,
        and a snapshot with it, so that nobody has to replay it. A call that is cancelled in
        between leaves nothing after `FILL_S`.
        """
        context_id, owner = event.context_id, event.owner
        meta, log, mail, notices, based, *snapshot = keys.of_context(
            context_id, "meta", "log", "mail", "notices", "base", "snap", "msgs"
        )
        where = [meta, log, mail, keys.owner_contexts(owner), keys.creation(owner, key)]
        where += [keys.READY, keys.DUE, keys.CONTEXTS, notices, keys.WEBHOOKS, based]
        where += [keys.owner_names(owner), keys.owner_turns(owner), keys.owner_tokens(owner)]
        where += [keys.TOTALS, *snapshot]
        opened = replay([event])
        state, epoch = state or opened, self.epoch()
        wake_ms = wakes_at_ms(state)
        notice = self.webhooks.notice(None, event, opened)
        seal = self.sealer.seal
        about = {"contextd.context_id": context_id, "contextd.action": "create"}
        with self.tracer.child("deliver", about) as span:
            first = first and first.within(span.traceparent)
            logged = further if base else (event.to_json(), *further)
            filled = await self._fill(context_id, logged, after=base.version if base else 0)
            in_store = filled.version > 0 and self.files is None
            if in_store:
                await self._fill_messages(state)
            reply = await self.scripts.run(
                self.link,
                "create",
                where,
                context_id,
                owner,
                filled.version,
                write_summary(self.sealer, state),
                "" if first is None else seal("mail", context_id, first.to_json()),
                event.at_ms,
                digest if key else "",
                self.config.creation_key_s,
                "" if wake_ms is None else wake_ms,
                seal("notice", context_id, notice.to_json()) if notice else "",
                base.version if base else 0,
                write_state(self.sealer, base) if base else "",
                name,
                len(state.messages),
                demand_of(first),
                *allowed(self.config),
                state.phase.value,
                int(turn_change(opened, event, state).began),
                filled.byte_count,
                write_head(self.sealer, state) if in_store else "",
                *filled.rest,
            )
        match reply:
            case [b"created"]:
                if first is not None:
                    self._tell_received(context_id, first, repeated=False)
                if filled.version > 0 and self.files is not None:
                    self.files.save_later(state, epoch)
                return context_id, False
            case [b"repeated", bytes() as before]:
                return before.decode(), True
            case [b"over", bytes() as quota, int() as used]:
                raise exceeded(quota.decode(), used, self.config, at_ms=event.at_ms)
            case [b"lost"]:
                raise StoreUnavailable(_LOST)
            case _:
                raise KeyReused(key)

    async def _fill(self, context_id: str, events: Sequence[bytes], *, after: int) -> _Filled:
        """Bring a long log to where it will be, all of it but its last piece.

        Args:
            context_id: Of a context that is not there yet.
            events: JSON of the whole log.
            after: Version before the first of them.
        """
        version, filled_bytes, rest = after, 0, list[bytes]()
        for piece in _pieces(self.sealer.seal("event", context_id, raw) for raw in events):
            if rest:
                await self._bring(context_id, "log", rest, first=after, before=version)
                version, filled_bytes = version + len(rest), filled_bytes + sum(map(len, rest))
            rest = piece
        return _Filled(version if filled_bytes else 0, filled_bytes, rest)

    async def _fill_messages(self, state: ContextState) -> None:
        """Bring the messages of a snapshot to where they will be, all of them."""
        brought, seal = 0, self.sealer.seal
        for piece in _pieces(seal("message", state.id, m.to_json()) for m in state.messages):
            await self._bring(state.id, "msgs", piece, first=0, before=brought)
            brought += len(piece)

    async def _bring(
        self,
        context_id: str,
        what: Literal["log", "msgs"],
        piece: Sequence[bytes],
        *,
        first: int,
        before: int,
    ) -> None:
        where = keys.of_context(context_id, "meta", what)
        reply = await self.scripts.run(
            self.link, "fill", where, what, first, before, FILL_S, *piece
        )
        if reply == b"lost":
            raise StoreUnavailable(_LOST)

    async def created(self, owner: str, *, key: str, digest: str) -> str | None:
        """Id of what the owner's Idempotency-Key has created, or None.

        Raises:
            KeyReused: The key came with another digest.
        """
        found = await self.link.call("GET", keys.creation(owner, key))
        if found is None:
            return None
        context_id, _, before = cast("bytes", found).decode().partition(" ")
        if before != digest:
            raise KeyReused(key)
        return context_id

    async def deliver(
        self, context_id: str, owner: str, mail: Mail, *, key: str, digest: str
    ) -> Receipt:
        """Put an action into a mailbox, once per idempotency key ("" for none).

        Raises:
            ContextMissing: No such context, or not this owner's.
            ContextGone: This owner has deleted it, and not with this key.
            KeyReused: The key came with another digest.
            MailboxFull: `mailbox_max` actions wait already.
            QuotaExceeded: The owner, or the context, has as much as it may have.
        """
        where = keys.of_context(context_id, "meta", "mail", "keys", "results")
        about = {"contextd.context_id": context_id, "contextd.action": mail.event.action}
        with self.tracer.child("deliver", about) as span:
            mail = mail.within(span.traceparent)
            reply = await self.scripts.run(
                self.link,
                "deliver",
                [
                    *(*where, keys.READY, *keys.of_context(context_id, "gone")),
                    *(keys.owner_turns(owner), keys.owner_tokens(owner), keys.TOTALS),
                ],
                context_id,
                owner,
                self.sealer.seal("mail", context_id, mail.to_json()),
                key,
                digest,
                mail.event.at_ms,
                self.config.mailbox_max,
                self.config.results_max,
                demand_of(mail),
                *allowed(self.config),
            )
        match reply:
            case [b"delivered", int() as seq, int() as active]:
                self._tell_received(context_id, mail, repeated=False)
                return Receipt(seq, repeated=False, active=bool(active), result=None)
            case [b"repeated", int() as seq, int() as active, bytes() as result]:
                told = read_result(self.sealer, context_id, result)
                self._tell_received(context_id, mail, repeated=True)
                return Receipt(seq, True, bool(active), told)
            case [b"missing"]:
                raise ContextMissing(context_id)
            case [b"gone"]:
                raise ContextGone(context_id)
            case [b"full"]:
                raise MailboxFull(context_id)
            case [b"over", bytes() as quota, int() as used]:
                raise exceeded(quota.decode(), used, self.config, at_ms=mail.event.at_ms)
            case _:
                raise KeyReused(key)

    def _tell_received(self, context_id: str, mail: Mail, *, repeated: bool) -> None:
        action = mail.event.action
        if not self.announcer.leaves_out():
            self.announcer.tell(
                ActionReceived(context_id=context_id, action=action, repeated=repeated)
            )


def _pieces(parts: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Parts of something long, by what the store takes in one step."""
    piece, piece_bytes = list[bytes](), 0
    for part in parts:
        is_full = piece_bytes + len(part) > PIECE_BYTES_MAX
        if piece and (is_full or len(piece) == PIECE_EVENTS_MAX):
            yield piece
            piece, piece_bytes = [], 0
        piece.append(part)
        piece_bytes += len(part)
    if piece:
        yield piece
