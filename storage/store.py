"""One process's view of a Redis or Valkey server: its parts, and looking at contexts.

Every method may raise StoreUnavailable (the outcome is unknown; calling it again with the
same arguments is safe) and, where it writes, StoreRefusedWrite (nothing has happened).
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from redis.asyncio.connection import AbstractConnection, ConnectionPool

import storage.keys as keys
from fsm import decode_event, replay
from storage.address import make_pool
from storage.admissions import Admissions
from storage.announcements import Announcer
from storage.barrier import Barrier
from storage.codec import (
    opening,
    read_events,
    read_mailbox,
    read_result,
    read_snapshot,
    summary_if_readable,
)
from storage.config import StorageConfig
from storage.contract import Delivered, Reading, Summary, View
from storage.durability import check_durability
from storage.enqueue import ActivationQueue
from storage.errors import (
    ContextGone,
    ContextMissing,
    ContextUnreadable,
    LogCompacted,
    StoreUnavailable,
)
from storage.link import Link, Reply, open_link
from storage.logs import Logs
from storage.meters import Meters, Role
from storage.ownership import Ownership
from storage.scripts import Scripts
from storage.sealing import Sealer, make_sealer
from storage.sessions import WorkerSessions
from storage.snapshots import JsonSnapshots
from storage.subscriber import Subscriber, open_subscriber
from storage.times import unix_ms
from storage.tracing import NO_TRACES, Tracer
from storage.webhooks import Webhooks

_RESTARTED: Final = "the store was restarted while we read"


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
    admissions: Admissions
    """Takes in what clients bring."""
    ownership: Ownership
    """Changes contexts; for workers only."""
    logs: Logs
    """What was committed."""
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

    def begin(self, role: Role, process_id: str, load: Callable[[], Mapping[str, int]]) -> None:
        """Report and announce as this process from now on; see `Meters.begin`."""
        self.meters.begin(role, process_id, load)
        self.announcer.by = process_id

    async def leave(self) -> None:
        """Send what waits to be announced, and unregister the process."""
        await self.announcer.flush()
        await self.meters.leave()

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
            ContextUnreadable: It cannot be opened.
        """
        base, n, epoch = known.state if known else None, known.n if known else 0, self.epoch
        if known is None and self.files is not None:
            base = await asyncio.to_thread(self.files.load, context_id, epoch)
            n = -1  # no draft of its is known: the store says how it stands
        version = base.version if base else -1
        reply = await self.scripts.run(
            self.link, "read", _read_keys(context_id), owner, version, n, 0, seq
        )
        if base and self.epoch != epoch:
            raise StoreUnavailable(_RESTARTED)
        sealer = self.sealer
        match _parts(reply):
            case [b"same", int() as at, int() as now, int() as mail_seq, bytes() as result]:
                return Reading(at, now, mail_seq, read_result(sealer, context_id, result), None)
            case [b"state", *rest]:
                at, now, mail_seq, result, draft, snapshot_version, head, messages, raw = cast(
                    "tuple[int, int, int, bytes, bytes, int, bytes, list[bytes], list[bytes]]",
                    tuple(rest),
                )
                with opening(context_id):
                    events = read_events(sealer, context_id, raw)
                    partial = sealer.open("draft", context_id, draft).decode()
                    told = read_result(sealer, context_id, result)
                try:
                    with opening(context_id):
                        if snapshot_version != version:
                            base = read_snapshot(sealer, context_id, head, messages)
                        state = replay(map(decode_event, events), base)
                except ContextUnreadable:
                    state = await self.logs.replayed(context_id, at)
                return Reading(at, now, mail_seq, told, View(state, now, partial), events)
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

    async def read_log(
        self, context_id: str, owner: str, *, after: int, until: int, epoch: str
    ) -> Sequence[bytes]:
        """Events of a context that was there a moment ago: all of `after` < v <= `until`.

        Args:
            context_id: Which.
            owner: Whose.
            after: The version before the first.
            until: The version of the last.
            epoch: When the context was there.

        Raises:
            ContextMissing: It was deleted meanwhile.
            ContextGone: It was, and its owner is told so.
            LogCompacted: The log begins later.
            StoreUnavailable: The epoch has ended, and some of it may be lost.
        """
        events = await self.logs.events(context_id, after=after, until=until)
        is_whole = len(events) == max(0, until - after)
        first = 1 if is_whole else await self.logs.first(context_id)
        if self.epoch != epoch:
            raise StoreUnavailable(_RESTARTED)
        if is_whole:
            return events
        if first > after + 1:
            raise LogCompacted(context_id, first)
        await self.read(context_id, owner)  # a tombstone may say more
        raise ContextMissing(context_id)

    async def contexts(
        self, owner: str, *, limit: int, after: str | None
    ) -> list[tuple[str, Summary | None]]:
        """An owner's contexts, newest first, beginning behind the id `after`.

        Fewer than `limit`: there are no more. None in place of a summary: it cannot be read.
        """
        shown: list[tuple[str, Summary | None]] = []
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
                    shown.append(
                        (context_id, summary_if_readable(self.sealer, context_id, summary))
                    )
            if len(ids) < missing:
                break
            start = f"({ids[-1]}"
        return shown

    async def named(self, owner: str, name: str) -> str:
        """Id of the owner's context of that name.

        Raises:
            ContextMissing: There is none.
        """
        found = await self.link.call("HGET", keys.owner_names(owner), name)
        if found is None:
            raise ContextMissing(name)
        return cast("bytes", found).decode()

    async def exists(self, context_id: str) -> bool:
        """Whether a context is there, whoever's it is."""
        (meta,) = keys.of_context(context_id, "meta")
        return await self.link.call("EXISTS", meta) == 1

    async def undelivered(self, context_id: str) -> list[Delivered]:
        """All mail of a context that is not acknowledged, oldest first."""
        (mail,) = keys.of_context(context_id, "mail")
        reply = await self.link.call("XRANGE", mail, "-", "+")
        return read_mailbox(self.sealer, context_id, reply)

    async def begin_epoch(self, *, now_ms: int) -> None:
        """Begin a new epoch: the store was restored, and lacks what was answered since.

        Done again it does nothing, for as long as nobody else has opened the store.
        """
        durability = self.config.durability
        await self.scripts.run(self.link, "open", [keys.EPOCH], "", durability, now_ms, 1)

    async def context_count(self) -> int:
        """How many contexts there are."""
        return cast("int", await self.link.call("ZCARD", keys.CONTEXTS))

    async def reload_scripts(self) -> None:
        """Load the scripts again, after a SCRIPT FLUSH."""
        await self.scripts.reload(self.link)

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
    webhooks = Webhooks(link, scripts, config, sealer)
    announcer = Announcer(link, scripts, config, meters)
    logs = Logs(link, scripts, sealer)
    store = Store(
        link,
        scripts,
        subscriber,
        config,
        files,
        url,
        queue,
        WorkerSessions(
            link, scripts, queue, announcer, config.worker_session_ms, config.announcements_kept
        ),
        Admissions(
            *(link, scripts, config, sealer, files, webhooks, announcer, tracer),
            lambda: store.epoch,
        ),
        Ownership(link, scripts, config, sealer, logs, files, meters, lambda: store.epoch),
        logs,
        webhooks,
        sealer,
        meters,
        announcer,
        tracer,
    )
    link.on_connect = store.prepare
    async with open_link(link), open_subscriber(subscriber), asyncio.TaskGroup() as group:
        await link.call("ECHO", "")  # a server whose disk is full refuses PING
        helpers = [
            group.create_task(meters.run(), name="meters"),
            group.create_task(announcer.run(), name="announcements"),
        ]
        if files is not None:
            helpers.append(group.create_task(files.run(store.exists), name="snapshots"))
        try:
            yield store
        finally:
            for helper in helpers:
                helper.cancel()


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
