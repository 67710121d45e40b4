"""Keeps a context's log short: its state replaces the older events."""

import structlog

from fsm import ContextState
from storage import Owned, Store
from workers.patience import Patience

log = structlog.get_logger(__name__)


class Compaction:
    """The length of one context's log, while an activation has the context.

    The state that is given to it is the committed one.
    """

    def __init__(self, owned: Owned, store: Store, patience: Patience) -> None:
        self._token = owned.token
        self._first = owned.log_first
        self._store = store
        self._patience = patience

    async def if_too_long(self, state: ContextState) -> None:
        """Compact a log that has grown too long, to half of what it may have."""
        events_max = self._store.config.log_events_max
        if events_max and state.version - self._first >= events_max:
            await self._keep(events_max // 2, state)

    async def as_wished(self, state: ContextState) -> None:
        """Compact the log, if an operator has asked for it, to the length asked for."""
        keep = await self._patience.insist(lambda: self._store.logs.wished_length(state.id))
        if keep is not None:
            await self._keep(keep, state)

    async def _keep(self, events: int, state: ContextState) -> None:
        first = state.version - events + 1
        await self._patience.insist(
            lambda: self._store.logs.compact(self._token, state, first=first)
        )
        self._first = first
        log.info("log compacted", context_id=state.id, version=state.version, first=first)
