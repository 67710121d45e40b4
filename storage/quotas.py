"""How much an owner, and a context, may have: asked in the scripts, before anything is taken.

Scripts count what there is where it changes: contexts in the owner's index, turns in a set that
each commit keeps, messages and bytes in the context itself, tokens with the commit of the reply
that has used them, hence once. What a turn that runs adds is never refused.
"""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, cast

import storage.keys as keys
from fsm import (
    BranchMerged,
    MessageEdited,
    MessageReceived,
    MessagesRecorded,
    RegenerateRequested,
    RetryRequested,
    TurnRequested,
)
from storage.config import StorageConfig
from storage.contract import Mail
from storage.errors import QuotaExceeded
from storage.link import Link

Demand: TypeAlias = Literal["", "adds", "begins"]
"""What an action asks for: nothing that a quota is about, messages, or a turn as well."""

_BEGIN: Final = (
    *(MessageReceived, MessageEdited, RegenerateRequested, TurnRequested, RetryRequested),
)
_ADD: Final = (MessagesRecorded, BranchMerged)
_NAMES: Final = ("contexts", "messages", "bytes", "turns", "tokens")
"""Names of the quotas, in the order of `allowed`."""
_DAY_S: Final = 86_400


def demand_of(mail: Mail | None) -> Demand:
    """What mail asks for, as far as quotas go."""
    event = mail.event if mail is not None else None
    if isinstance(event, _BEGIN):
        return "begins"
    return "adds" if isinstance(event, _ADD) else ""


def allowed(config: StorageConfig) -> tuple[int, int, int, int, int]:
    """The quotas in the order that scripts take them in; 0 for any number."""
    return (
        config.contexts_per_owner_max,
        config.messages_per_context_max,
        config.bytes_per_context_max,
        config.turns_per_owner_max,
        config.tokens_per_owner_day_max,
    )


def exceeded(quota: str, used: int, config: StorageConfig, *, at_ms: int) -> QuotaExceeded:
    """The error for a quota that a script has found used up."""
    most = allowed(config)[_NAMES.index(quota)]
    passes_s = {"turns": 1, "tokens": _DAY_S - at_ms // 1_000 % _DAY_S}
    return QuotaExceeded(quota, most=most, used=used, again_s=passes_s.get(quota))


@dataclass(frozen=True, slots=True)
class OwnerUsage:
    """What an owner has."""

    contexts: int
    turns: int
    """Contexts that are at work."""
    tokens: int
    """Tokens that today's replies have used."""
    day_ends_at_ms: int
    """When today ends (UTC), by the store's clock: Unix time."""


async def usage_of(link: Link, owner: str) -> OwnerUsage:
    """What an owner has now.

    Raises:
        StoreUnavailable: The store does not answer.
    """
    contexts = link.call("ZCARD", keys.owner_contexts(owner))
    turns = link.call("SCARD", keys.owner_turns(owner))
    spent = link.call("HMGET", keys.owner_tokens(owner), "day", "used")
    now_s = int(cast("list[bytes]", await link.call("TIME"))[0])
    day, used = cast("list[bytes | None]", await spent)
    is_today = int(day or 0) == now_s // _DAY_S
    return OwnerUsage(
        contexts=cast("int", await contexts),
        turns=cast("int", await turns),
        tokens=int(used or 0) if is_today else 0,
        day_ends_at_ms=(now_s // _DAY_S + 1) * _DAY_S * 1_000,
    )
