"""Contexts that nobody has changed for so long that they are forgotten.

- What goes is decided here: the dry run and the run judge alike.
- Nothing goes before its time by the store's clock, too: a worker's may have jumped.
- A context goes as if its owner had deleted it, and only at the version that was looked at:
  whatever happens to it meanwhile keeps it.
- `contexts` says for each context a time that is not later than its last change, so no commit
  has to write it. Whoever finds a later one writes that down; whoever passes one over looks
  again after `LOOK_AGAIN_MS`. So a run costs what has come of age, not what there is.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, cast

import structlog
from pydantic import ValidationError

import storage.keys as keys
from fsm import RESTING, ContextDeleted, Phase
from storage.codec import read_summary
from storage.contract import Mail, Summary
from storage.errors import CannotOpen, ContextMissing, KeyReused, MailboxFull
from storage.store import Store

log = structlog.get_logger(__name__)

DAY_MS: Final = 86_400_000
LOOK_AGAIN_MS: Final = DAY_MS
"""How long a context is passed over that is old and stays for another reason."""
PAGE: Final = 100
"""Contexts that are looked at together."""
LOOKS_MAX: Final = 10_000
"""Contexts that a dry run looks at."""

Verdict = Literal["old", "changed", "pinned", "at-work", "waiting"]
"""`old` goes. `changed`: not so old. `waiting`: for its time, or mail waits for it."""


@dataclass(frozen=True, slots=True)
class Aged:
    """A context that retention has looked at."""

    context_id: str
    owner: str
    status: str
    version: int
    touched_ms: int
    """When it was last changed, or copied."""
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Plan:
    """What retention would do now."""

    before_ms: int
    """Contexts that were last changed before this go."""
    count: int
    """How many would go, of those that were looked at."""
    complete: bool
    """All of age were looked at."""
    kept: Mapping[Verdict, int]
    """How many of age stay, and why."""
    contexts: Sequence[Aged]
    """Those that would go first."""


class Retention:
    """Forgets what is older than `retention_days`; with 0 nothing is."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._config = store.config

    async def plan(self, *, now_ms: int, limit: int, days: int | None = None) -> Plan:
        """What would go, changing nothing.

        Args:
            now_ms: Now.
            limit: How many of them to list.
            days: Instead of `retention_days`.

        Raises:
            StoreUnavailable: The store does not answer.
        """
        before_ms = self._before_ms(now_ms, days)
        going: list[Aged] = []
        kept: dict[Verdict, int] = {}
        count = looked = 0
        complete = False
        while looked < LOOKS_MAX and not complete:
            page = await self._page(before_ms, looked)
            looked += len(page)
            complete = len(page) < PAGE
            for aged in await self._judge(page, before_ms):
                if aged.verdict == "old":
                    count += 1
                    going += [aged] if len(going) < limit else []
                elif aged.verdict != "changed":
                    kept[aged.verdict] = kept.get(aged.verdict, 0) + 1
        return Plan(before_ms, count, complete, kept, going)

    async def run(self, clock: Callable[[], int]) -> int:
        """Delete what is of age, up to `retention_run_max`; returns how many.

        Cancelled, or without the store, it leaves the rest to the next run.

        Args:
            clock: Unix time in milliseconds.

        Raises:
            StoreUnavailable, StoreRefusedWrite: The rest is left to the next run.
        """
        seconds, _ = cast("list[bytes]", await self._store.link.call("TIME"))
        before_ms = self._before_ms(min(clock(), 1_000 * int(seconds)), None)
        gone = 0
        while gone < self._config.retention_run_max:
            # What was leased and is not looked at would wait for a day.
            limit = min(PAGE, self._config.retention_run_max - gone)
            page = await self._lease(before_ms, limit)
            for aged in await self._judge(page, before_ms):
                if aged.verdict == "changed":
                    score = ("XX", aged.touched_ms, aged.context_id)
                    await self._store.link.call("ZADD", keys.CONTEXTS, *score)
                elif aged.verdict == "old" and await self._delete(aged, clock()):
                    gone += 1
                    await asyncio.sleep(1 / self._config.retention_deletes_s_max)
            if len(page) < limit:
                break
        return gone

    def _before_ms(self, now_ms: int, days: int | None) -> int:
        """What was changed later is too young; 0, which nothing is older than: all is."""
        days = self._config.retention_days if days is None else days
        return now_ms - days * DAY_MS if days else 0

    async def _page(self, before_ms: int, skipped: int) -> list[bytes]:
        reply = await self._store.link.call(
            *("ZRANGEBYSCORE", keys.CONTEXTS, "-inf", before_ms, "LIMIT", skipped, PAGE)
        )
        return cast("list[bytes]", reply)

    async def _lease(self, before_ms: int, limit: int) -> list[bytes]:
        again_ms = before_ms + LOOK_AGAIN_MS
        found = await self._store.scripts.run(
            self._store.link, "lease", [keys.CONTEXTS], before_ms, again_ms, limit, "+inf"
        )
        return cast("list[bytes]", found)

    async def _judge(self, page: Sequence[bytes], before_ms: int) -> list[Aged]:
        """Look at contexts; those that are gone, or cannot be read, are left out."""
        call = self._store.link.call
        asked = [
            (
                context_id.decode(),
                call("HMGET", keys.meta(context_id.decode()), "owner", "summary"),
                call("ZSCORE", keys.DUE, context_id),
                call("ZSCORE", keys.READY, context_id),
            )
            for context_id in page
        ]
        found: list[Aged] = []
        for context_id, meta, due, ready in asked:
            owner, summary = cast("list[bytes | None]", await meta)
            waits = await due is not None or await ready is not None
            if owner is None or summary is None:
                continue
            try:
                shown = read_summary(self._store.sealer, context_id, summary)
            except (CannotOpen, ValidationError) as error:
                reason = type(error).__name__
                log.warning("context cannot be read", context_id=context_id, reason=reason)
                continue
            touched_ms = max(shown.updated_at_ms, _made_ms(context_id))
            found.append(
                Aged(
                    context_id=context_id,
                    owner=owner.decode(),
                    status=shown.status,
                    version=shown.version,
                    touched_ms=touched_ms,
                    verdict=_verdict(shown, waits=waits, old=touched_ms <= before_ms),
                )
            )
        return found

    async def _delete(self, aged: Aged, now_ms: int) -> bool:
        """Have a context deleted; False if it is gone, or nobody could be asked to."""
        try:
            receipt = await self._store.admissions.deliver(
                aged.context_id,
                aged.owner,
                Mail(event=ContextDeleted(at_ms=now_ms), if_version=aged.version),
                key=f"retention {aged.version}",
                digest="retention",
            )
        except (ContextMissing, KeyReused, MailboxFull) as error:
            log.info(
                "context passed over", context_id=aged.context_id, reason=type(error).__name__
            )
            return False
        if not receipt.active and receipt.result is None:
            await self._store.queue.enqueue(aged.context_id)
        log.info("context is of age", context_id=aged.context_id, version=aged.version)
        return True


def _verdict(shown: Summary, *, waits: bool, old: bool) -> Verdict:
    if not old:
        return "changed"
    if shown.pinned:
        return "pinned"
    if Phase(shown.status) not in RESTING:
        return "at-work"
    return "waiting" if waits else "old"


def _made_ms(context_id: str) -> int:
    """When the context was made here, as its id (UUIDv7) says; a copy's log is older."""
    return int(context_id[:8] + context_id[9:13], 16)
