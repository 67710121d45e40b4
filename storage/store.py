"""Contexts in a Redis or Valkey server: one method per atomic step, no more.

Every method may raise StoreUnavailable (the outcome is unknown; calling it again with the
same arguments is safe) and, where it writes, StoreRefusedWrite (nothing has happened).
"""

import asyncio
import contextlib
import itertools
import secrets
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

from redis.asyncio.connection import AbstractConnection, ConnectionPool

import storage.keys as keys
from fsm import (
    ContextCreated,
    ContextState,
    decode_event,
    replay,
    turn_change,
    wakes_at_ms,
)
from storage.address import make_pool
from storage.announcements import ActionReceived, Announcer
from storage.barrier import Barrier
from storage.codec import (
    read_events,
    read_mail,
    read_owned,
    read_result,
    read_snapshot,
    read_state,
    read_summary,
    write_head,
    write_result,
    write_state,
    write_summary,
)
from storage.config import StorageConfig
from storage.contract import (
    Commit,
    Delivered,
    Mail,
    Owned,
    Reading,
    Receipt,
    Summary,
    View,
)
from storage.durability import check_durability
from storage.enqueue import ActivationQueue
from storage.errors import (
    ContextBusy,
    ContextGone,
    ContextMissing,
    Fenced,
    KeyReused,
    MailboxFull,
    StoreUnavailable,
    VersionConflict,
    WorkerBuried,
)
from storage.frames import (
    CommitFrame,
    DraftFrame,
    commit_header,
    decode_frame,
    draft_frame,
)
from storage.link import Link, Reply, open_link
from storage.meters import Meters, Role
from storage.quotas import allowed, demand_of, exceeded
from storage.scripts import Scripts
from storage.sealing import Sealer, make_sealer
from storage.sessions import WorkerSessions
from storage.snapshots import JsonSnapshots
from storage.subscriber import Subscriber, open_subscriber
from storage.times import stopwatch, unix_ms
from storage.tracing import NO_TRACES, Tracer
from storage.webhooks import Webhooks

CLAIMS_MAX = 200
"""Contexts that one claim takes."""
DAY_S = 86_400


@dataclass(slots=True)
class Store:
    """One process's view of the store. Made by `connect`."""

    link: Link
    scripts: Scripts
    subscriber: Subscriber
    config: StorageConfig
    files: JsonSnapshots | None
    """None where snapshots are kept in the store."""
    url: str
    queue: ActivationQueue
    """Asks for contexts to be activated, and for maintenance."""
    sessions: WorkerSessions
    """Who is alive, and has what."""
    webhooks: Webhooks
    sealer: Sealer
    """What contents go through on their way in and out."""
    meters: Meters
    """What this process counts."""
    announcer: Announcer
    """What it tells dashboards."""
    tracer: Tracer = NO_TRACES
    """Who is told where the time goes."""
    epoch: str = ""
    """Changes when the store may have lost commits; a part of every cursor."""
    _opened: str = field(default_factory=lambda: secrets.token_hex(8))
    _activations: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    """Number the activations of this process, so that one executed late does no harm."""

    def begin(self, role: Role, process_id: str, load: Callable[[], Mapping[str, int]]) -> None:
        """Report and announce as this process from now on; see `Meters.begin`."""
        self.meters.begin(role, process_id, load)
        self.announcer.by = process_id

    async def leave(self) -> None:
        """Send what waits to be announced, and unregister the process."""
        await self.announcer.flush()
        await self.meters.leave()

    # Clients' side

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

    async def read(
        self, context_id: str, owner: str, *, known: View | None = None, seq: int = 0
    ) -> Reading:
        """Look at a context, as it is at some moment between call and return.

        Args:
            context_id: Which.
            owner: Who asks.
            known: What the caller has already, of this epoch; then only what came since is
                read.
            seq: An action whose result is wanted.

        Raises:
            ContextMissing: No such context, or not this owner's.
            ContextGone: This owner has deleted it.
        """
        version, n = (known.state.version, known.n) if known else (-1, 0)
        epoch = self.epoch
        reply = await self.scripts.run(
            self.link, "read", _read_keys(context_id), owner, version, n, 0, seq
        )
        if known and self.epoch != epoch:
            raise StoreUnavailable("the store was restarted while we read")
        sealer = self.sealer
        match _parts(reply):
            case [b"same", int() as at, int() as now, int() as mail_seq, bytes() as result]:
                return Reading(at, now, mail_seq, read_result(sealer, context_id, result), None)
            case [b"state", *rest]:
                at, now, mail_seq, result, draft, snapshot_version, head, messages, raw = cast(
                    "tuple[int, int, int, bytes, bytes, int, bytes, list[bytes], list[bytes]]",
                    tuple(rest),
                )
                base = read_snapshot(sealer, context_id, head, messages)
                if known and snapshot_version == version:
                    base = known.state
                events = read_events(sealer, context_id, raw)
                state = replay(map(decode_event, events), base)
                view = View(state, now, sealer.open("draft", context_id, draft).decode())
                told = read_result(sealer, context_id, result)
                return Reading(at, now, mail_seq, told, view, events)
            case _:
                raise _absent(context_id, reply)

    def peek(self, context_id: str, owner: str) -> asyncio.Future[Reply]:
        """Ask for version and draft position, without loading; `peeked` reads the answer.

        Several readers may share one answer. After a SCRIPT FLUSH it fails with NoScript.
        """
        return self.scripts.send(self.link, "read", _read_keys(context_id), owner, -1, 0, 1, 0)

    def peeked(self, context_id: str, reply: Reply) -> tuple[int, int]:
        """Version and draft position out of the answer to a peek.

        Raises:
            ContextMissing: No such context, or not this owner's.
            ContextGone: This owner has deleted it.
        """
        match _parts(reply):
            case [_, int() as version, int() as n, _, _]:
                return version, n
            case _:
                raise _absent(context_id, reply)

    async def events(self, context_id: str, *, after: int, until: int) -> Sequence[bytes]:
        """Committed events of the versions `after` < v <= `until`, as JSON."""
        (log,) = keys.of_context(context_id, "log")
        if until <= after:
            return ()
        reply = await self.link.call("XRANGE", log, f"{after + 1}-0", f"{until}-0")
        entries = cast("list[tuple[bytes, list[bytes]]]", reply)
        return read_events(self.sealer, context_id, [fields[1] for _, fields in entries])

    async def log_first(self, context_id: str) -> int:
        """The first version that the log has; 1 unless it was compacted."""
        first = await self.link.call("HGET", keys.meta(context_id), "first")
        return int(cast("bytes | None", first) or 1)

    async def base(self, context_id: str) -> ContextState | None:
        """What the log begins with where it was compacted."""
        (base,) = keys.of_context(context_id, "base")
        state = cast("bytes | None", await self.link.call("HGET", base, "state"))
        return None if state is None else read_state(self.sealer, context_id, state)

    async def contexts(
        self, owner: str, *, limit: int, after: str | None
    ) -> list[tuple[str, Summary]]:
        """An owner's contexts, newest first, beginning behind the id `after`.

        Fewer than `limit`: there are no more.
        """
        shown: list[tuple[str, Summary]] = []
        index, start = keys.owner_contexts(owner), f"({after}" if after else "+"
        while (missing := limit - len(shown)) > 0:
            reply = await self.link.call(
                "ZREVRANGEBYLEX", index, start, "-", "LIMIT", 0, missing
            )
            ids = [context_id.decode() for context_id in cast("list[bytes]", reply)]
            calls = [self.link.call("HGET", keys.meta(cid), "summary") for cid in ids]
            for context_id, call in zip(ids, calls, strict=True):
                summary = cast("bytes | None", await call)
                if summary is not None:  # else it was deleted meanwhile
                    shown.append((context_id, read_summary(self.sealer, context_id, summary)))
            if len(ids) < missing:
                break
            start = f"({ids[-1]}"
        return shown

    def read_frame(self, context_id: str, raw: bytes) -> CommitFrame | DraftFrame:
        """A publication of a context's feed.

        Raises:
            CannotOpen: It is no frame of this context's.
        """
        return decode_frame(self.sealer, context_id, raw)

    async def named(self, owner: str, name: str) -> str:
        """Id of the owner's context of that name.

        Raises:
            ContextMissing: There is none.
        """
        found = await self.link.call("HGET", keys.owner_names(owner), name)
        if found is None:
            raise ContextMissing(name)
        return cast("bytes", found).decode()

    # Workers' side

    async def activate(self, context_id: str, worker_id: str) -> Owned:
        """Become the owner of a context and load all of it.

        Raises:
            ContextMissing: It is gone.
            ContextBusy: Another living worker has it.
            WorkerBuried: This worker's session is over.
        """
        saved, epoch = None, self.epoch
        if self.files is not None:
            saved = await asyncio.to_thread(self.files.load, context_id, epoch)
        where = keys.of_context(context_id, "meta", "log", "mail", "snap", "msgs", "draft")
        where += [keys.session(worker_id), keys.worker_contexts(worker_id)]
        where += [keys.READY, keys.EPOCH, *keys.of_context(context_id, "base")]
        reply = await self.scripts.run(
            self.link,
            "activate",
            where,
            context_id,
            worker_id,
            saved.version if saved else -1,
            self._opened,
            next(self._activations),
            epoch,
        )
        match _parts(reply):
            case [b"active", bytes() as token, *rest]:
                if epoch_of(token.decode()) != epoch:
                    saved = None  # the store may have lost what it shows
                return read_owned(self.sealer, context_id, saved, [token, *rest])
            case [b"busy", _]:
                raise ContextBusy(context_id)
            case [b"no-session"]:
                raise WorkerBuried(worker_id)
            case [b"stale"]:
                raise StoreUnavailable("an activation was executed late")
            case _:
                raise ContextMissing(context_id)

    async def count_attempt(self, owned: Owned, attempt: int) -> None:
        """Count one more attempt at work that has killed workers before.

        Raises:
            Fenced: A newer activation owns the context.
        """
        where = [*keys.of_context(owned.context_id, "meta"), keys.EPOCH]
        reply = await self.scripts.run(self.link, "attempt", where, owned.token, attempt)
        if reply == b"fenced":
            raise Fenced(owned.context_id)

    async def commit(self, commit: Commit) -> None:
        """Make accepted events durable and visible, with all that belongs to them.

        Raises:
            Fenced: A newer activation owns the context.
            VersionConflict: The log is not at `commit.base`.
            ContextMissing: It was deleted.
        """
        state, draft, epoch = commit.state, commit.draft, self.epoch
        context_id, seal = commit.context_id, self.sealer.seal
        header = commit_header(
            self.sealer,
            context_id,
            epoch=epoch_of(commit.token),
            base=commit.base,
            count=len(commit.events),
            n=draft.n,
            draft=draft.text,
            rests=commit.rests,
            phase=state.phase.value,
            results=commit.results,
        )
        in_store = commit.snapshot and self.files is None
        saved = commit.messages_saved
        added = state.messages[saved:] if in_store else ()
        fresh = [seal("message", context_id, m.to_json()) for m in added]
        events = [seal("event", context_id, event) for event in commit.events]
        results = [
            part
            for seq, result in commit.results.items()
            for part in (seq, write_result(self.sealer, context_id, result))
        ]
        where = keys.of_context(
            context_id, "meta", "log", "mail", "draft", "results", "snap", "msgs"
        )
        letter = commit.letter
        dead, notices = keys.of_context(context_id, "dead", "notices")
        where += [keys.READY, dead, keys.DEAD, keys.EPOCH, keys.DUE, notices, keys.WEBHOOKS]
        where += [keys.owner_turns(state.owner), keys.owner_tokens(state.owner), keys.TOTALS]
        began_s = stopwatch()
        reply = await self.scripts.run(
            self.link,
            "commit",
            where,
            context_id,
            commit.token,
            commit.base,
            len(commit.events),
            commit.acknowledged,
            len(commit.results),
            draft.op,
            draft.n,
            seal("draft", context_id, draft.text),
            write_summary(self.sealer, state) if commit.events else "",
            keys.feed(context_id),
            header,
            state.version if in_store else 0,
            write_head(self.sealer, state) if in_store else "",
            saved,
            len(fresh),
            seal("letter", context_id, letter.model_dump_json()) if letter else "",
            letter.id if letter else "",
            letter.at_ms if letter else 0,
            int(commit.progress),
            "" if commit.wake_ms is None else commit.wake_ms,
            len(commit.notices),
            len(state.messages),
            commit.tokens,
            int(commit.rests),
            state.phase.value,
            _tallied(commit),
            "-" if commit.trace is None else commit.trace,
            *events,
            *results,
            *fresh,
            *self._told(commit),
        )
        self.meters.took("save", stopwatch() - began_s)
        match reply:
            case [b"committed" | b"repeated"]:
                if events:
                    self.meters.count("saves")
                    self.meters.count("saves:bytes", sum(map(len, events)))
                if in_store:
                    self.meters.count("saves:snapshots")
                if commit.snapshot and self.files is not None:
                    self.files.save_later(state, epoch)
            case [b"conflict", int() as found]:
                raise VersionConflict(context_id, expected=commit.base, found=found)
            case [b"fenced"]:
                raise Fenced(context_id)
            case _:
                raise ContextMissing(context_id)

    def append_draft(
        self,
        context_id: str,
        token: str,
        *,
        began: int,
        version: int,
        n_before: int,
        message_id: str,
        text: str,
    ) -> asyncio.Future[Reply]:
        """Publish some more of a reply that is arriving; `began`: its draft's first version.

        The answer is b"appended" or b"repeated", or b"fenced" or b"conflict" where the
        draft is not ours any more. After a SCRIPT FLUSH it fails with NoScript.
        """
        n = n_before + len(text)
        sealed = self.sealer.seal("draft", context_id, text)
        frame = draft_frame(
            epoch=epoch_of(token),
            version=version,
            n_before=n_before,
            n=n,
            message_id=message_id,
            text=sealed,
        )
        where = [*keys.of_context(context_id, "meta", "draft"), keys.EPOCH]
        channel = keys.feed(context_id)
        return self.scripts.send(
            self.link, "draft", where, token, n_before, n, sealed, channel, frame, began
        )

    async def passivate(
        self, context_id: str, token: str, worker_id: str, *, version: int
    ) -> bool:
        """Give a context back as of `version`.

        Returns:
            False, and it stays ours, if mail waits or a compaction was asked for.

        Raises:
            Fenced: It was not ours any more.
        """
        where = keys.of_context(context_id, "meta", "mail")
        reply = await self.scripts.run(
            self.link,
            "passivate",
            [*where, keys.worker_contexts(worker_id), keys.EPOCH],
            context_id,
            token,
            version,
        )
        if reply == b"fenced":
            raise Fenced(context_id)
        return reply == b"passive"

    async def compact(self, token: str, state: ContextState, *, first: int) -> None:
        """Replace the events before version `first` by the present state.

        Raises:
            Fenced: A newer activation owns the context.
            VersionConflict: The context is at another version than the state.
        """
        where = [*keys.of_context(state.id, "meta", "log", "base"), keys.EPOCH]
        kept = write_state(self.sealer, state)
        reply = await self.scripts.run(
            self.link, "compact", where, token, state.version, kept, first
        )
        match reply:
            case b"fenced":
                raise Fenced(state.id)
            case [b"conflict", int() as found]:
                raise VersionConflict(state.id, expected=state.version, found=found)
            case _:
                pass

    async def shorten(
        self, context_id: str, *, keep: int
    ) -> Literal["short", "owned", "asked"]:
        """Ask for a log to be compacted down to `keep` events, once its context rests.

        Returns:
            `short`: it has no more already. `owned`: the living worker that has the context
            will. `asked`: whoever activates it next will; enqueue that.

        Raises:
            ContextMissing: There is no such context.
        """
        reply = await self.scripts.run(
            self.link, "shorten", keys.of_context(context_id, "meta"), keep
        )
        match _parts(reply):
            case [b"short"]:
                return "short"
            case [b"asked", int() as active]:
                return "owned" if active else "asked"
            case _:
                raise ContextMissing(context_id)

    async def wished_length(self, context_id: str) -> int | None:
        """How many events the log is to keep, if a compaction was asked for; else None."""
        keep = await self.link.call("HGET", keys.meta(context_id), "keep")
        return None if keep is None else int(cast("bytes", keep))

    async def delete(self, commit: Commit, worker_id: str) -> None:
        """The last commit of a context: publish it and remove all that is kept of it.

        What the webhook is still to be told stays, and a tombstone where that is configured.

        Raises:
            Fenced: A newer activation owns the context.
        """
        context_id = commit.context_id
        where = keys.of_context(
            context_id, "meta", "log", "mail", "draft", "keys", "results", "snap", "msgs"
        )
        where += [keys.READY, keys.owner_contexts(commit.state.owner)]
        dead, gone, notices, base = keys.of_context(
            context_id, "dead", "gone", "notices", "base"
        )
        where += [keys.worker_contexts(worker_id), dead, keys.DEAD, keys.EPOCH, keys.DUE]
        where += [keys.CONTEXTS, gone, notices, keys.WEBHOOKS, base]
        where += [keys.owner_names(commit.state.owner), keys.owner_turns(commit.state.owner)]
        where.append(keys.TOTALS)
        if self.files is not None:
            # Before, because nobody would look for them afterwards, and a snapshot that is
            # missing costs a replay only.
            await asyncio.to_thread(self.files.delete, context_id)
        header = commit_header(
            self.sealer,
            context_id,
            epoch=epoch_of(commit.token),
            base=commit.base,
            count=len(commit.events),
            n=0,
            draft="",
            rests=True,
            phase=commit.state.phase.value,
            results=commit.results,
        )
        result = commit.results.get(commit.acknowledged)
        events = (self.sealer.seal("event", context_id, event) for event in commit.events)
        frame = b"\n".join((header, *events))
        reply = await self.scripts.run(
            self.link,
            "delete",
            where,
            context_id,
            commit.token,
            keys.feed(context_id),
            frame,
            self.config.tombstone_days * DAY_S if self.config.tombstones else 0,
            commit.acknowledged,
            "" if result is None else write_result(self.sealer, context_id, result),
            _tallied(commit),
            len(commit.results),
            *self._told(commit),
        )
        if reply == b"fenced":
            raise Fenced(context_id)
        if self.files is not None:
            # What a late writer has made since.
            await asyncio.to_thread(self.files.delete, context_id)

    async def exists(self, context_id: str) -> bool:
        """Whether a context is there, whoever's it is."""
        (meta,) = keys.of_context(context_id, "meta")
        return await self.link.call("EXISTS", meta) == 1

    async def undelivered(self, context_id: str) -> list[Delivered]:
        """All mail of a context that is not acknowledged, oldest first."""
        (mail,) = keys.of_context(context_id, "mail")
        entries = cast(
            "list[tuple[bytes, list[bytes]]]", await self.link.call("XRANGE", mail, "-", "+")
        )
        return [
            Delivered(int(entry_id.split(b"-")[0]), self.read_mail(context_id, fields[1]))
            for entry_id, fields in entries
        ]

    def read_mail(self, context_id: str, raw: bytes) -> Mail:
        """An action, as the mailbox and the worker's channel have it.

        Raises:
            CannotOpen, ValidationError: It is no mail of this context's.
        """
        return read_mail(self.sealer, context_id, raw)

    async def begin_epoch(self, *, now_ms: int) -> None:
        """Begin a new epoch: the store was restored, and lacks what was answered since.

        Done again it does nothing, for as long as nobody else has opened the store.
        """
        durability = self.config.durability
        await self.scripts.run(self.link, "open", [keys.EPOCH], "", durability, now_ms, 1)

    async def context_count(self) -> int:
        """How many contexts there are."""
        return cast("int", await self.link.call("ZCARD", keys.CONTEXTS))

    async def claim(self, *, now_ms: int, overdue_ms: int) -> list[str]:
        """Contexts whose mail or dead worker has waited for `overdue_ms`, or that are due."""
        reply = await self.scripts.run(
            self.link, "claim", [keys.READY, keys.DUE], now_ms, overdue_ms, CLAIMS_MAX
        )
        return [context_id.decode() for context_id in cast("list[bytes]", reply)]

    async def reload_scripts(self) -> None:
        """Load the scripts again, after a SCRIPT FLUSH."""
        await self.scripts.reload(self.link)

    def _told(self, commit: Commit) -> list[int | str | bytes]:
        """The notices of a commit, as scripts take them."""
        seal = self.sealer.seal
        return [
            part
            for notice in commit.notices
            for part in (
                notice.version,
                seal("notice", commit.context_id, notice.to_json()),
            )
        ]

    async def prepare(self, connection: AbstractConnection) -> None:
        """Prepare a fresh connection: encryption, scripts, durability, epoch."""
        await self.sealer.check(connection)
        await self.scripts.load(connection)
        before = self.epoch
        self.epoch = await check_durability(connection, self.scripts, self.config)
        if before not in {"", self.epoch}:
            # A primary that was cut off from its replicas may still hold subscriptions.
            self.subscriber.reconnect()


@contextlib.asynccontextmanager
async def connect(
    url: str,
    config: StorageConfig,
    *,
    pool: ConnectionPool | None = None,
    tracer: Tracer = NO_TRACES,
) -> AsyncGenerator[Store, None]:
    """A store for the length of a block.

    Args:
        url: `unix://path`, `redis://host:port/db`, `rediss://...`, or
            `redis+sentinel://host:port,host:port/service`.
        config: Bounds and durability.
        pool: Connections made otherwise (tests).
        tracer: Who is told where the time goes.

    Raises:
        StoreUnavailable: Not reachable within `store_call_s_max`.
        DurabilityMismatch: The server does not keep what `config.durability` promises.
        EncryptionMismatch: The keys of `config.encryption` are not those of the store.
    """
    pool = pool or make_pool(url)
    sealer = make_sealer(config.encryption)
    files = None
    if config.snapshots.startswith("json:"):
        files = JsonSnapshots(Path(config.snapshots.removeprefix("json:")), sealer)
    scripts = Scripts()
    link = Link(pool, config.store_call_s_max, config.store_calls_max)
    if config.store_replicas_min:
        link.barrier = Barrier(config.store_replicas_min, config.store_replicas_s_max)
    subscriber = Subscriber(pool, config.store_call_s_max, config.store_ping_s)
    meters = Meters(link, scripts, config, unix_ms)
    queue = ActivationQueue(link, scripts)
    store = Store(
        link,
        scripts,
        subscriber,
        config,
        files,
        url,
        queue,
        WorkerSessions(link, scripts, queue, config.worker_session_ms),
        Webhooks(link, scripts, config, sealer),
        sealer,
        meters,
        Announcer(link, scripts, config, meters),
        tracer,
    )
    link.on_connect = store.prepare
    async with open_link(link), open_subscriber(subscriber), asyncio.TaskGroup() as group:
        await link.call("ECHO", "")  # a server whose disk is full refuses PING
        helpers = [
            group.create_task(meters.run(), name="meters"),
            group.create_task(store.announcer.run(), name="announcements"),
        ]
        if files is not None:
            helpers.append(group.create_task(files.run(store.exists), name="snapshots"))
        try:
            yield store
        finally:
            for helper in helpers:
                helper.cancel()


def _tallied(commit: Commit) -> str:
    """What a commit adds to the totals, as scripts take it."""
    actions = [f"actions:{result.outcome}" for result in commit.results.values()]
    return " ".join((*actions, *commit.tally))


def epoch_of(token: str) -> str:
    """The epoch that a fencing token names."""
    return token.partition(".")[0]


def _read_keys(context_id: str) -> list[str]:
    return keys.of_context(
        context_id, "meta", "log", "snap", "msgs", "draft", "results", "gone", "base"
    )


def _absent(context_id: str, reply: Reply) -> ContextMissing:
    """The error for a context that a script has not found."""
    match _parts(reply):
        case [b"gone"]:
            return ContextGone(context_id)
        case _:
            return ContextMissing(context_id)


def _parts(reply: Reply) -> list[object]:
    """An answer of several parts."""
    return cast("list[object]", reply)
