"""What workers do with contexts: find, take, change and give them back.

Whoever changes one shows its fencing token, and only the newest is accepted.

Every method may raise StoreUnavailable (the outcome is unknown; calling it again with the
same arguments is safe) and, where it writes, StoreRefusedWrite (nothing has happened).
"""

import asyncio
import itertools
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import cast

import storage.keys as keys
from fsm import ContextState
from storage.codec import read_mailbox, read_owned, write_head, write_result, write_summary
from storage.config import StorageConfig
from storage.contract import Commit, Delivered, Owned
from storage.errors import (
    ContextBusy,
    ContextMissing,
    ContextUnreadable,
    Fenced,
    StoreUnavailable,
    VersionConflict,
    WorkerBuried,
)
from storage.frames import commit_header, draft_frame
from storage.link import Link, Reply
from storage.logs import Logs
from storage.meters import Meters
from storage.scripts import Scripts
from storage.sealing import Sealer
from storage.snapshots import JsonSnapshots
from storage.times import stopwatch

CLAIMS_MAX = 200
"""Contexts that one claim takes."""
DAY_S = 86_400


@dataclass(slots=True)
class Ownership:
    """Takes, changes and gives back contexts, for one worker process."""

    link: Link
    scripts: Scripts
    config: StorageConfig
    sealer: Sealer
    logs: Logs
    files: JsonSnapshots | None
    """None where snapshots are kept in the store."""
    meters: Meters
    epoch: Callable[[], str]
    """The store's, as of now."""
    _opened: str = field(default_factory=lambda: secrets.token_hex(8))
    _activations: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    """Number the activations of this process, so that one executed late does no harm."""

    async def activate(self, context_id: str, worker_id: str) -> Owned:
        """Become the owner of a context and load all of it.

        Raises:
            ContextMissing: It is gone.
            ContextBusy: Another living worker has it.
            ContextUnreadable: It is owned now, and cannot be opened; deleting it is all that
                can be done.
            WorkerBuried: This worker's session is over.
        """
        saved, epoch = None, self.epoch()
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
        match cast("list[object]", reply):
            case [b"active", bytes() as token, *rest]:
                if epoch_of(token.decode()) != epoch:
                    saved = None  # the store may have lost what it shows
                return await self._opened_as(context_id, saved, [token, *rest])
            case [b"busy", _]:
                raise ContextBusy(context_id)
            case [b"no-session"]:
                raise WorkerBuried(worker_id)
            case [b"stale"]:
                raise StoreUnavailable("an activation was executed late")
            case _:
                raise ContextMissing(context_id)

    async def _opened_as(
        self, context_id: str, saved: ContextState | None, reply: Sequence[object]
    ) -> Owned:
        """What activate.lua has answered, without the snapshot if that cannot be opened."""
        try:
            return read_owned(self.sealer, context_id, saved, reply)
        except ContextUnreadable as unreadable:
            if (remains := unreadable.remains) is None:
                raise
            try:
                state = await self.logs.replayed(context_id, remains.version)
            except ContextUnreadable:
                raise unreadable from None
            return read_owned(self.sealer, context_id, state, reply)

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
        state, draft = commit.state, commit.draft
        epoch = epoch_of(commit.token)
        context_id, seal = commit.context_id, self.sealer.seal
        header = commit_header(
            self.sealer,
            context_id,
            epoch=epoch,
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

    async def undelivered(self, context_id: str, token: str) -> list[Delivered]:
        """All mail that is not acknowledged, oldest first.

        Raises:
            Fenced: It was not ours any more.
        """
        where = [*keys.of_context(context_id, "meta", "mail"), keys.EPOCH]
        reply = await self.scripts.run(self.link, "collect", where, token)
        if reply == b"fenced":
            raise Fenced(context_id)
        return read_mailbox(self.sealer, context_id, reply)

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

    async def claim(self, *, now_ms: int, overdue_ms: int) -> list[str]:
        """Contexts whose mail or dead worker has waited for `overdue_ms`, or that are due."""
        reply = await self.scripts.run(
            self.link, "claim", [keys.READY, keys.DUE], now_ms, overdue_ms, CLAIMS_MAX
        )
        return [context_id.decode() for context_id in cast("list[bytes]", reply)]

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


def _tallied(commit: Commit) -> str:
    """What a commit adds to the totals, as scripts take it."""
    actions = [f"actions:{result.outcome}" for result in commit.results.values()]
    return " ".join((*actions, *commit.tally))


def epoch_of(token: str) -> str:
    """The epoch that a fencing token names."""
    return token.partition(".")[0]
