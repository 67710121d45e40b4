"""What is still to be told to the operator's webhook, context by context.

- A commit puts its notices beside its events in the same step, so none is lost and none tells
  what has not happened; what was told is taken out.
- The first notice of a context is told before its second. One that is given up becomes a dead
  letter, and the next one is first.
- A notice holds all that is told, so that it outlives the log, and repeats byte for byte.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, cast

import storage.keys as keys
from fsm import ContextState, Event, occasions
from storage.config import StorageConfig
from storage.contract import NOTICE, DeadLetter, Notice
from storage.link import Link
from storage.redaction import make_redactor
from storage.scripts import Scripts
from storage.sealing import Sealer

if TYPE_CHECKING:
    from pydantic import JsonValue


class Webhooks:
    """The notices of all contexts."""

    def __init__(
        self, link: Link, scripts: Scripts, config: StorageConfig, sealer: Sealer
    ) -> None:
        self._link = link
        self._sealer = sealer
        self._redact = make_redactor(config.redact)
        self._scripts = scripts
        self._wanted = frozenset(
            config.webhook_events.split(",") if config.webhook_url is not None else ()
        )

    def notice(
        self, before: ContextState | None, event: Event, after: ContextState
    ) -> Notice | None:
        """What is to be told of a step, or None; `before` is None where it opens a context."""
        if not self._wanted:
            return None
        names = occasions(before, event, after)
        if self._wanted.isdisjoint(names):
            return None
        return Notice(
            version=after.version,
            at_ms=event.at_ms,
            owner=after.owner,
            status=after.phase.value,
            occasions=names,
            event=cast("dict[str, JsonValue]", self._redact(event.model_dump(mode="json"))),
        )

    async def claim(
        self, *, now_ms: int, again_ms: int, latest_ms: int, limit: int
    ) -> Sequence[str]:
        """Contexts that have something to tell, each to one caller.

        Args:
            now_ms: Now.
            again_ms: When they are claimed again unless all was told.
            latest_ms: A time beyond this one comes from a clock that has jumped.
            limit: How many at most.

        Raises:
            StoreUnavailable: Some may be claimed; they come again.
            StoreRefusedWrite: Nothing has happened.
        """
        found = await self._scripts.run(
            self._link, "lease", [keys.WEBHOOKS], now_ms, again_ms, limit, latest_ms
        )
        return [context_id.decode() for context_id in cast("list[bytes]", found)]

    async def first(self, context_id: str) -> tuple[Notice, int] | None:
        """The notice to be told next and how often that has failed; None: there is none.

        Raises:
            StoreUnavailable: The store does not answer.
        """
        (notices,) = keys.of_context(context_id, "notices")
        tries = self._link.call("HGET", keys.TRIES, context_id)
        found = cast("list[bytes]", await self._link.call("ZRANGE", notices, 0, 0))
        failed = int(cast("bytes | None", await tries) or 0)
        if not found:
            return None
        opened = self._sealer.open("notice", context_id, found[0])
        return NOTICE.validate_json(opened), failed

    async def told(self, context_id: str, notice: Notice, *, again_ms: int) -> int:
        """A notice was taken; how many the context still has (-1: it was not the first).

        Raises:
            StoreUnavailable, StoreRefusedWrite: It may be told once more.
        """
        return await self._settle(context_id, notice, "told", again_ms=again_ms)

    async def failed(
        self, context_id: str, notice: Notice, *, tries: int, again_ms: int
    ) -> None:
        """A notice was not taken; it is tried again at `again_ms`.

        Raises:
            StoreUnavailable, StoreRefusedWrite: It may be tried again sooner.
        """
        await self._settle(context_id, notice, "failed", again_ms=again_ms, tries=tries)

    async def give_up(
        self, context_id: str, notice: Notice, *, cause: str, now_ms: int, again_ms: int
    ) -> int:
        """Make a notice a dead letter; how many the context still has.

        Raises:
            StoreUnavailable, StoreRefusedWrite: It may be tried once more.
        """
        letter = DeadLetter(
            id=f"{context_id}.{notice.version}.webhook",
            context_id=context_id,
            owner=notice.owner,
            at_ms=now_ms,
            cause=cause,
            notice=notice,
        )
        return await self._settle(
            context_id, notice, "given-up", again_ms=again_ms, letter=letter
        )

    async def put_back(self, context_id: str, notice: Notice) -> None:
        """Have a notice told before those that wait; doing it twice is harmless.

        Raises:
            StoreUnavailable, StoreRefusedWrite: It may not have been put back; do it again.
        """
        (notices,) = keys.of_context(context_id, "notices")
        call = self._link.call
        kept = self._sealer.seal("notice", context_id, notice.to_json())
        # Sealed twice it differs, and would be told twice.
        await call("ZREMRANGEBYSCORE", notices, notice.version, notice.version)
        await call("ZADD", notices, notice.version, kept)
        await call("HDEL", keys.TRIES, context_id)
        await call("ZADD", keys.WEBHOOKS, 0, context_id)

    async def _settle(
        self,
        context_id: str,
        notice: Notice,
        outcome: Literal["told", "failed", "given-up"],
        *,
        again_ms: int,
        tries: int = 0,
        letter: DeadLetter | None = None,
    ) -> int:
        notices, dead = keys.of_context(context_id, "notices", "dead")
        left = await self._scripts.run(
            self._link,
            "settle",
            [notices, keys.WEBHOOKS, keys.TRIES, dead, keys.DEAD],
            context_id,
            notice.version,
            outcome,
            again_ms,
            tries,
            letter.id if letter else "",
            self._sealer.seal("letter", context_id, letter.model_dump_json()) if letter else "",
            letter.at_ms if letter else 0,
        )
        return cast("int", left)
