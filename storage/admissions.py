"""What clients bring in: new contexts, and actions for their mailboxes.

Every method may raise StoreUnavailable (the outcome is unknown; calling it again with the
same arguments is safe) and, where it writes, StoreRefusedWrite (nothing has happened).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import storage.keys as keys
from fsm import ContextCreated, ContextState, replay, turn_change, wakes_at_ms
from storage.announcements import ActionReceived, Announcer
from storage.codec import read_result, write_state, write_summary
from storage.config import StorageConfig
from storage.contract import Mail, Receipt
from storage.errors import ContextGone, ContextMissing, KeyReused, MailboxFull
from storage.link import Link
from storage.quotas import allowed, demand_of, exceeded
from storage.scripts import Scripts
from storage.sealing import Sealer
from storage.tracing import Tracer
from storage.webhooks import Webhooks


@dataclass(slots=True)
class Admissions:
    """Takes in what clients bring, each once per Idempotency-Key."""

    link: Link
    scripts: Scripts
    config: StorageConfig
    sealer: Sealer
    webhooks: Webhooks
    announcer: Announcer
    tracer: Tracer

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
        """
        context_id, owner = event.context_id, event.owner
        meta, log, mail, notices, based = keys.of_context(
            context_id, "meta", "log", "mail", "notices", "base"
        )
        where = [meta, log, mail, keys.owner_contexts(owner), keys.creation(owner, key)]
        where += [keys.READY, keys.DUE, keys.CONTEXTS, notices, keys.WEBHOOKS, based]
        where += [keys.owner_names(owner), keys.owner_turns(owner), keys.owner_tokens(owner)]
        where.append(keys.TOTALS)
        opened = replay([event])
        state = state or opened
        wake_ms = wakes_at_ms(state)
        notice = self.webhooks.notice(None, event, opened)
        seal = self.sealer.seal
        about = {"contextd.context_id": context_id, "contextd.action": "create"}
        with self.tracer.child("deliver", about) as span:
            first = first and first.within(span.traceparent)
            reply = await self.scripts.run(
                self.link,
                "create",
                where,
                context_id,
                owner,
                seal("event", context_id, event.to_json()),
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
                *(seal("event", context_id, raw) for raw in further),
            )
        match reply:
            case [b"created"]:
                if first is not None:
                    self._tell_received(context_id, first, repeated=False)
                return context_id, False
            case [b"repeated", bytes() as before]:
                return before.decode(), True
            case [b"over", bytes() as quota, int() as used]:
                raise exceeded(quota.decode(), used, self.config, at_ms=event.at_ms)
            case _:
                raise KeyReused(key)

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
