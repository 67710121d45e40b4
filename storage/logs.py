"""The logs of contexts: what was committed, and what a compacted one begins with.

Every method may raise StoreUnavailable (the outcome is unknown; calling it again with the
same arguments is safe) and, where it writes, StoreRefusedWrite (nothing has happened).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, cast

import structlog

import storage.keys as keys
from fsm import ContextState, decode_event, replay
from storage.codec import opening, read_events, read_state, write_state
from storage.errors import ContextMissing, Fenced, StoreUnavailable, VersionConflict
from storage.link import Link
from storage.scripts import Scripts
from storage.sealing import Sealer

log = structlog.get_logger(__name__)

READ_EVENTS_MAX: Final = 1_000
"""What is asked for at once; 50,000 events of 2,000 bytes would hold it up for 0.2 s."""


@dataclass(slots=True)
class Logs:
    """Reads and shortens the logs of contexts."""

    link: Link
    scripts: Scripts
    sealer: Sealer

    async def events(self, context_id: str, *, after: int, until: int) -> Sequence[bytes]:
        """Committed events of the versions `after` < v <= `until`, as JSON.

        Fewer where the log has been compacted or deleted, also meanwhile.

        Raises:
            ContextUnreadable: One of them cannot be opened.
        """
        (key,) = keys.of_context(context_id, "log")
        events = list[bytes]()
        while after < until:
            start, end = f"{after + 1}-0", f"{until}-0"
            reply = await self.link.call("XRANGE", key, start, end, "COUNT", READ_EVENTS_MAX)
            entries = cast("list[tuple[bytes, list[bytes]]]", reply)
            raw = [fields[1] for _, fields in entries]
            with opening(context_id):
                events += read_events(self.sealer, context_id, raw)
            if len(entries) < READ_EVENTS_MAX:
                break
            after = int(entries[-1][0].split(b"-")[0])
        return events

    async def first(self, context_id: str) -> int:
        """The first version that the log has; 1 unless it was compacted."""
        first = await self.link.call("HGET", keys.meta(context_id), "first")
        return int(cast("bytes | None", first) or 1)

    async def base(self, context_id: str) -> ContextState | None:
        """What the log begins with where it was compacted.

        Raises:
            ContextUnreadable: It cannot be opened.
        """
        (base,) = keys.of_context(context_id, "base")
        state = cast("bytes | None", await self.link.call("HGET", base, "state"))
        with opening(context_id):
            return None if state is None else read_state(self.sealer, context_id, state)

    async def replayed(self, context_id: str, version: int) -> ContextState:
        """The context at its present version as the log tells it, without any snapshot.

        Raises:
            ContextUnreadable: The log cannot be opened, either.
            StoreUnavailable: The log was compacted or deleted meanwhile.
        """
        base = await self.base(context_id)
        after = base.version if base else 0
        events = await self.events(context_id, after=after, until=version)
        if len(events) != version - after:
            raise StoreUnavailable("the log has changed meanwhile")
        with opening(context_id):
            state = replay(map(decode_event, events), base)
        log.error("snapshot damaged, using the log", context_id=context_id)
        return state

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
        match cast("list[object]", reply):
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
