"""Contexts whose work kills the workers that begin it: counted, isolated, given up.

A context is under suspicion while the workers that began its work died before they committed
anything; one that only waited has begun none. Its actions are then taken one at a time; from
the second death on, no other suspected context runs beside it in the same worker, so that the
next death blames one context; and after `kills_max` deaths the action goes to the dead letters
and the context fails.
"""

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from fsm import (
    AwaitRetry,
    ContextDeleted,
    ContextPinned,
    MessageReceived,
    PrepareRequest,
    QueuedMessage,
    QueueUpdated,
    WorkAbandoned,
    allowed_actions,
    drafting,
    event_due,
    first_due,
    wakes_at_ms,
)
from storage import Delivered, Mail, Owned, Result
from workers.batch import Batch

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Suspicion:
    """The suspicion that a context's work kills its workers."""

    deaths: int
    """How many activations in a row have died with this work in hand."""
    cause: str
    """What is known about the last of these deaths."""
    cleared: Callable[[], None]
    """Called once something was committed."""


def deaths(owned: Owned, *, now_ms: int) -> int:
    """How many activations in a row have died with the work of this context in hand."""
    if not _has_work(owned, now_ms):
        return 0
    # What others were doing is counted where it is remembered: as attempts of the effect.
    works = bool(owned.mail) or any(
        isinstance(effect, PrepareRequest) for effect in owned.state.pending.values()
    )
    return max(owned.attempts, 1 if owned.before and works else 0)


def _has_work(owned: Owned, now_ms: int) -> bool:
    """Whether there is work to do, more than waiting for mail or for a time."""
    due_ms = wakes_at_ms(owned.state)
    if owned.mail or (due_ms is not None and due_ms <= now_ms):
        return True
    return any(
        not isinstance(effect, AwaitRetry) or effect.due_ms <= now_ms
        for effect in owned.state.pending.values()
    )


def give_up(
    batch: Batch,
    suspicion: Suspicion,
    delivered: Delivered | None,
    *,
    partial: str,
    at_ms: int,
) -> None:
    """Give up an action, or else what runs, or what is due.

    Args:
        batch: Still empty; it takes what is committed for that.
        suspicion: Why.
        delivered: The oldest mail that waited; None: there was none, or it was not to blame.
        partial: Text of the reply that was being streamed.
        at_ms: Now.
    """
    before = batch.state
    due_ms = None if before.pending else wakes_at_ms(before)
    due = None if due_ms is None or due_ms > at_ms else event_due(before, at_ms)
    expired = due if isinstance(due, ContextDeleted) else None
    said = None if before.pending or expired is not None else first_due(before, at_ms)
    later = expired or (None if said is None else _sent(said))
    mail = delivered.mail if delivered else Mail(event=later) if later else None
    abandoned = WorkAbandoned(
        at_ms=at_ms,
        deaths=suspicion.deaths,
        cause=suspicion.cause,
        action=mail.event.action if mail else None,
        partial=partial,
        message_id=drafting(before),
    )
    batch.apply(abandoned)
    if delivered is None and said is not None:
        batch.apply(QueueUpdated(at_ms=at_ms, remove=(said.id,)))
    if delivered is None and expired is not None:
        # Else it would be due again at once.
        batch.apply(ContextPinned(at_ms=at_ms))
    batch.write_letter(at_ms, mail)
    if delivered is not None:
        failure = batch.state.failure
        refused = Result(
            outcome="refused",
            version=batch.state.version,
            code="action-abandoned",
            detail=failure.detail if failure else None,
            phase=batch.state.phase.value,
            allowed_actions=allowed_actions(batch.state),
        )
        batch.answer(delivered.seq, refused)
    log.error(
        "work abandoned",
        context_id=before.id,
        deaths=suspicion.deaths,
        cause=suspicion.cause,
        action=abandoned.action,
    )


def _sent(said: QueuedMessage) -> MessageReceived:
    """A message that waits, as it would be sent now."""
    return MessageReceived(
        at_ms=said.received_at_ms,
        content=said.content,
        parts=said.parts,
        policy=said.policy,
        client_message_id=said.client_message_id,
        metadata=said.metadata,
        patch=said.patch,
    )
