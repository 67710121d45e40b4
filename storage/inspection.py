"""Contexts and workers as operators see them: which do not move, and why.

- Metadata only. No title, message, tool or argument leaves this file, so that nobody has to
  read what the service is used for in order to run it.
- It is not a snapshot of one moment: each context is looked at by itself, while it goes on.
- The work for a page is bounded, however many contexts there are; the next page begins where
  this one ended.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal, TypeAlias, cast

from pydantic import ValidationError

import storage.keys as keys
from fsm import RESTING, ContextState, Phase
from storage.codec import read_mail, read_places, summary_if_readable
from storage.contract import Mail, Place, Summary
from storage.errors import CannotOpen, ContextMissing
from storage.store import Store

PAGE: Final = 100
"""Contexts that are looked at together."""
LOOKS_MAX: Final = 1_000
"""Contexts that are looked at for one page of a list."""
CANDIDATES_MAX: Final = 20_000
"""Contexts at work that one list considers; beyond, it says that there are more."""

UNREADABLE: Final = "unreadable"
"""Status where contents cannot be opened: they were changed, or their key is gone."""
Trouble = Literal["stuck", "slow"]
"""`stuck`: something is to happen, and no living worker has the context. `slow`: one has it,
and nothing is committed."""
_Entries: TypeAlias = list[tuple[bytes, list[bytes]]]
"""Entries of a mailbox, as XRANGE returns them: a mail's content, and when it came."""
_META: Final = ("owner", "summary", "worker", "attempts", "version")
_Source: TypeAlias = Callable[[Place | None], Awaitable[Sequence[Place]]]
"""Up to PAGE contexts behind a place, in their order."""


@dataclass(frozen=True, slots=True)
class WorkerGlance:
    """A worker that nobody has buried."""

    worker_id: str
    since_ms: int
    seen_ms: int | None
    """When it has last said that it lives; None: its session is over."""
    contexts: int
    """How many it has active."""


@dataclass(frozen=True, slots=True)
class Glance:
    """What one look at a context shows."""

    context_id: str
    owner: str
    status: str
    """Its phase, or UNREADABLE."""
    version: int
    changed_ms: int | None
    """When its last event was committed: it has its status at least since then; None: it is
    unreadable."""
    waits_since_ms: int | None
    """Since when something is to happen; None: nothing is until somebody acts, as far as can
    be read."""
    worker: str
    """The worker that has it; empty: none has."""
    worker_lives: bool
    mail: int
    """Undelivered actions."""
    oldest_mail_ms: int | None
    """When the first of them came; None: there is none."""
    due_ms: int | None
    """When it wants to be activated by itself."""
    attempts: int
    """Activations in a row that have committed nothing."""
    trouble: Trouble | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which contexts a list has; without `everything`, those that something is to happen to."""

    everything: bool = False
    """Also those that rest: the whole store is walked, or all that the owner has."""
    owner: str | None = None
    status: str | None = None
    waits_s_min: int = 0
    """Only those to which something is to happen for so long."""
    troubles: Collection[Trouble] = ()
    """Only those in one of these; empty: whatever they are in."""

    def fits(self, glance: Glance, now_ms: int) -> bool:
        """Whether the list has it."""
        if self.owner is not None and glance.owner != self.owner:
            return False
        if self.status is not None and glance.status != self.status:
            return False
        if self.troubles and glance.trouble not in self.troubles:
            return False
        if glance.waits_since_ms is None:
            # Of what is at work and unreadable nobody knows what is to happen.
            fits = self.everything or glance.status == UNREADABLE
            return fits and self.waits_s_min == 0
        return now_ms - glance.waits_since_ms >= self.waits_s_min * 1_000


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list."""

    glances: Sequence[Glance]
    ended: Place | None
    """Where the next page begins; None: there is none."""
    complete: bool
    """All that are at work were found; else there are more than CANDIDATES_MAX."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """One context in depth."""

    glance: Glance
    state: ContextState
    epoch: str
    token: int
    """Its fencing token counts its activations."""
    draft_chars: int
    mail_seq: int
    """Number of the last action that was delivered."""
    oldest_mail: str | None
    """Name of the first action that waits."""
    ready_since_ms: int | None
    """Since when it waits for a worker; 0: its worker has died."""
    job: str | None
    """What rq says of its activation; None: nothing."""
    log_first: int
    """The first version that its log has."""
    log_bytes: int
    """Size of its log, and of the state that a compacted one begins with."""
    base_version: int | None
    """Version of that state."""
    snapshot_version: int
    """What a new owner need not replay; 0: there is no snapshot."""
    compacts_to: int | None
    """Events that its log is to keep, once it rests; None: nobody has asked for that."""
    notices: int
    """Events that the webhook is still to be told of."""
    dead_letters: int


class Inspector:
    """Looks at contexts and workers; changes nothing."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._call = store.link.call
        self._config = store.config

    async def workers(self) -> Sequence[WorkerGlance]:
        """All workers that nobody has buried, oldest first.

        Raises:
            StoreUnavailable: The store does not answer.
        """
        call = self._call
        listed = call("ZRANGEBYSCORE", keys.WORKERS, 0, "+inf", "WITHSCORES")
        reply = cast("list[bytes]", await listed)
        asked = [
            (
                worker_id.decode(),
                _ms(since),
                call("GET", keys.session(worker_id.decode())),
                call("SCARD", keys.worker_contexts(worker_id.decode())),
            )
            for worker_id, since in zip(reply[::2], reply[1::2], strict=True)
        ]
        found: list[WorkerGlance] = []
        for worker_id, since_ms, seen, contexts in asked:
            seen_ms = cast("bytes | None", await seen)
            count = cast("int", await contexts)
            found.append(
                WorkerGlance(worker_id, since_ms, _ms(seen_ms) if seen_ms else None, count)
            )
        return found

    async def page(
        self, wanted: Wanted, *, limit: int, after: Place | None, now_ms: int
    ) -> Page:
        """A part of a list: shorter than `limit`, though there are more, where few fit.

        Those at work come oldest first, as do all there are; those of an owner newest first.

        Args:
            wanted: Which contexts.
            limit: How many at most.
            after: Where the page before ended.
            now_ms: Now.

        Raises:
            StoreUnavailable: The store does not answer.
        """
        complete = True
        source: _Source = self._of_all
        if wanted.everything and wanted.owner is not None:
            source = partial(self._of_owner, wanted.owner)
        elif not wanted.everything:
            at_work, complete = await self._at_work(now_ms)
            source = partial(_behind, at_work)
        found: list[Glance] = []
        ended = after
        for _ in range(LOOKS_MAX // PAGE):
            places = await source(ended)
            glances = await self._look([context_id for _, context_id in places], now_ms)
            for place in places:
                ended = place
                glance = glances.get(place[1])
                if glance is not None and wanted.fits(glance, now_ms):
                    found.append(glance)
                    if len(found) == limit:
                        return Page(found, ended, complete)
            if len(places) < PAGE:
                return Page(found, None, complete)
        return Page(found, ended, complete)

    async def inspect(self, context_id: str, *, now_ms: int) -> Inspection:
        """One context in depth, whoever has it; loads all of it.

        Raises:
            ContextMissing: There is none.
            StoreUnavailable: The store does not answer.
        """
        call = self._call
        meta, mail, base, snap, notices, dead = keys.of_context(
            context_id, "meta", "mail", "base", "snap", "notices", "dead"
        )
        epoch = self._store.epoch
        reading = await self._store.read(context_id, "")
        assert reading.view is not None, "a look without anything known shows all"
        asked = [
            call("HMGET", meta, "token", "first", "bytes", "keep"),
            call("XRANGE", mail, "-", "+", "COUNT", 1),
            call("ZSCORE", keys.READY, context_id),
            call("HGET", base, "version"),
            call("HGET", snap, "version"),
            call("ZCARD", notices),
            call("HLEN", dead),
        ]
        fields, first_mail, ready, base_version, saved, told, letters = [
            await each for each in asked
        ]
        token, first, size, keep = cast("list[bytes | None]", fields)
        oldest = self._first_mail(context_id, cast("_Entries", first_mail))
        glances = await self._look([context_id], now_ms)
        if token is None or context_id not in glances:
            raise ContextMissing(context_id)
        return Inspection(
            glance=glances[context_id],
            state=reading.view.state,
            epoch=epoch,
            token=int(token),
            draft_chars=reading.n,
            mail_seq=reading.mail_seq,
            oldest_mail=oldest.event.action if oldest else None,
            ready_since_ms=_ms(cast("bytes", ready)) if ready is not None else None,
            job=await self._store.queue.status(context_id),
            log_first=int(first or 1),
            log_bytes=int(size or 0),
            base_version=int(cast("bytes", base_version)) if base_version else None,
            snapshot_version=await self._saved(context_id, cast("bytes | None", saved)),
            compacts_to=int(keep) if keep else None,
            notices=cast("int", told),
            dead_letters=cast("int", letters),
        )

    async def owner(self, context_id: str) -> str:
        """Whose a context is.

        Raises:
            ContextMissing: There is none.
            StoreUnavailable: The store does not answer.
        """
        owner = await self._call("HGET", keys.meta(context_id), "owner")
        if owner is None:
            raise ContextMissing(context_id)
        return cast("bytes", owner).decode()

    # Where contexts come from

    async def _at_work(self, now_ms: int) -> tuple[Sequence[Place], bool]:
        """Contexts that may be at work, by their ids, and whether these are all."""
        call = self._call
        ready = call("ZRANGE", keys.READY, 0, CANDIDATES_MAX)
        due = call("ZRANGEBYSCORE", keys.DUE, "-inf", now_ms, "LIMIT", 0, CANDIDATES_MAX + 1)
        # In this order: what waits longest is not left out for what its worker has.
        found = dict.fromkeys(
            [*cast("list[bytes]", await ready), *cast("list[bytes]", await due)]
        )
        for worker_id in await self._store.sessions.workers():
            if len(found) > CANDIDATES_MAX:
                break
            active = await call("SMEMBERS", keys.worker_contexts(worker_id))
            found |= dict.fromkeys(cast("list[bytes]", active))
        kept = sorted(itertools.islice(found, CANDIDATES_MAX))
        complete = len(found) <= CANDIDATES_MAX
        return [(0, context_id.decode()) for context_id in kept], complete

    async def _of_owner(self, owner: str, after: Place | None) -> Sequence[Place]:
        start = f"({after[1]}" if after else "+"
        index = keys.owner_contexts(owner)
        reply = await self._call("ZREVRANGEBYLEX", index, start, "-", "LIMIT", 0, PAGE)
        return [(0, context_id.decode()) for context_id in cast("list[bytes]", reply)]

    async def _of_all(self, after: Place | None) -> Sequence[Place]:
        call, start = self._call, 0
        if after is not None:
            score, context_id = after
            asked = call("ZRANK", keys.CONTEXTS, context_id)
            found = cast("bytes | None", await call("ZSCORE", keys.CONTEXTS, context_id))
            rank = cast("int | None", await asked)
            if found is None or rank is None or _ms(found) != score:
                # It has gone, or elsewhere: some are seen once more, none is passed over.
                reply = await call(
                    *("ZRANGEBYSCORE", keys.CONTEXTS, score, "+inf", "WITHSCORES"),
                    *("LIMIT", 0, PAGE),
                )
                return read_places(cast("list[bytes]", reply))
            start = rank + 1
        stop = start + PAGE - 1
        reply = await call("ZRANGE", keys.CONTEXTS, start, stop, "WITHSCORES")
        return read_places(cast("list[bytes]", reply))

    # Looking

    async def _look(self, ids: Sequence[str], now_ms: int) -> Mapping[str, Glance]:
        """Look at contexts; those that are gone are left out."""
        call = self._call
        asked = [
            (
                context_id,
                call("HMGET", keys.meta(context_id), *_META),
                call("XLEN", _mail(context_id)),
                call("XRANGE", _mail(context_id), "-", "+", "COUNT", 1),
                call("ZSCORE", keys.DUE, context_id),
            )
            for context_id in ids
        ]
        seen = [
            (
                context_id,
                cast("list[bytes | None]", await meta),
                cast("int", await length),
                cast("_Entries", await entries),
                cast("bytes | None", await due),
            )
            for context_id, meta, length, entries, due in asked
        ]
        living = await self._living({meta[2] for _, meta, *_ in seen if meta[2]})
        found: dict[str, Glance] = {}
        for context_id, meta, length, entries, due in seen:
            owner, summary, worker, attempts, version = meta
            if owner is None or summary is None:
                continue
            shown = summary_if_readable(self._store.sealer, context_id, summary)
            oldest_ms = next((_ms(fields[3]) for _, fields in entries), None)
            due_ms = _ms(due) if due else None
            waits_since_ms = _waits_since_ms(shown, now_ms, oldest_ms=oldest_ms, due_ms=due_ms)
            lives = worker in living
            found[context_id] = Glance(
                context_id=context_id,
                owner=owner.decode(),
                status=shown.status if shown else UNREADABLE,
                version=int(version or 0),
                changed_ms=shown.updated_at_ms if shown else None,
                waits_since_ms=waits_since_ms,
                worker=(worker or b"").decode(),
                worker_lives=lives,
                mail=length,
                oldest_mail_ms=oldest_ms,
                due_ms=due_ms,
                attempts=int(attempts or 0),
                trouble=self._trouble(waits_since_ms, now_ms, lives=lives),
            )
        return found

    async def _living(self, workers: Collection[bytes]) -> Collection[bytes]:
        """Those of some workers whose session is not over."""
        asked = [(one, self._call("EXISTS", keys.session(one.decode()))) for one in workers]
        return {one for one, exists in asked if await exists == 1}

    def _trouble(
        self, waits_since_ms: int | None, now_ms: int, *, lives: bool
    ) -> Trouble | None:
        if waits_since_ms is None:
            return None
        waited_s = (now_ms - waits_since_ms) / 1_000
        if lives:
            return "slow" if waited_s > self._config.slow_after_s else None
        return "stuck" if waited_s > self._config.stuck_after_s else None

    def _first_mail(self, context_id: str, entries: _Entries) -> Mail | None:
        """The first mail; None: there is none, or it cannot be read."""
        try:
            return next(
                (read_mail(self._store.sealer, context_id, fields[1]) for _, fields in entries),
                None,
            )
        except (CannotOpen, ValidationError):
            return None  # what ails the context is the very thing to be looked for

    async def _saved(self, context_id: str, in_store: bytes | None) -> int:
        """Version of the snapshot, wherever it is kept."""
        files = self._store.files
        if files is None:
            return int(in_store or 0)
        state = await asyncio.to_thread(files.load, context_id, self._store.epoch)
        return state.version if state else 0


async def _behind(places: Sequence[Place], after: Place | None) -> Sequence[Place]:
    return [place for place in places if after is None or place > after][:PAGE]


def _waits_since_ms(
    shown: Summary | None, now_ms: int, *, oldest_ms: int | None, due_ms: int | None
) -> int | None:
    """Since when something is to happen in a context; None: nothing is until somebody acts."""
    since_ms: list[int] = []
    if oldest_ms is not None:
        since_ms.append(oldest_ms)
    if shown is not None and Phase(shown.status) not in RESTING:
        since_ms.append(shown.updated_at_ms)
    if due_ms is not None and due_ms <= now_ms:
        since_ms.append(due_ms)
    return min(since_ms, default=None)


def _mail(context_id: str) -> str:
    (mail,) = keys.of_context(context_id, "mail")
    return mail


def _ms(raw: bytes) -> int:
    """A score, or a time that a script has kept."""
    return int(float(raw))
