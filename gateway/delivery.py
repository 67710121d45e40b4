"""An action on its way: into the mailbox of its context, and back as a result.

Handlers that do not answer with an ActionResponse use this; those that do can wait in more ways
(`gateway/actions.py`).
"""

import asyncio
import hashlib
from typing import Final

import structlog

from fsm import AnyAction, ContextDeleted
from gateway.app import Gateway
from gateway.feed import RESTARTED, Feed
from gateway.problems import refused
from storage import (
    ContextMissing,
    Mail,
    Reading,
    Receipt,
    Result,
    StorageError,
    StoreUnavailable,
    stopwatch,
)

log = structlog.get_logger(__name__)

_UNHEARD: Final = "the gateway stops, or cannot show the context: ask again"
_ORPHANED_S: Final = 60.0
"""How long after its request's time is over a context made for one request expires."""


def digest_of(action: str, raw: bytes) -> str:
    """What tells whether two requests under one Idempotency-Key are the same."""
    return hashlib.blake2b(action.encode() + b"\n" + raw, digest_size=16).hexdigest()


async def wake(gateway: Gateway, context_id: str, owner: str, receipt: Receipt) -> None:
    """Have the context activated, unless a worker has it or there is nothing to do."""
    if not receipt.active and receipt.result is None:
        await gateway.store.queue.enqueue(context_id, owner=owner)


async def deliver(
    gateway: Gateway,
    feed: Feed,
    owner: str,
    event: AnyAction,
    *,
    key: str = "",
    digest: str = "",
) -> Receipt:
    """Deliver an action and wait until it is applied and seen, however long that takes.

    Raises:
        Problem: It was refused.
        ContextMissing: The context is gone.
        StorageError: The store does not take it, or its epoch has ended.
    """
    context_id, began_s = feed.context_id, stopwatch()
    receipt = await gateway.store.admissions.deliver(
        context_id, owner, Mail(event=event), key=key, digest=digest
    )
    epoch = gateway.store.epoch
    await wake(gateway, context_id, owner, receipt)
    result = await result_of(gateway, feed, owner, epoch, receipt)
    gateway.store.meters.took("send", stopwatch() - began_s)
    if result.outcome == "refused":
        raise refused(result)
    await feed.wait_until(
        lambda mirror: mirror.epoch != epoch or mirror.version >= result.version
    )
    return receipt


async def result_of(
    gateway: Gateway,
    feed: Feed,
    owner: str,
    epoch: str,
    receipt: Receipt,
    *,
    is_followed: bool = True,
) -> Result:
    """Wait for what becomes of an action, however long that takes.

    Args:
        gateway: Its store was given the action.
        feed: Of the action's context.
        owner: Of the context.
        epoch: Of the store, when the action was delivered.
        receipt: Of the action.
        is_followed: Whether the feed was there before the action was.

    Raises:
        ContextMissing: The context was deleted before the action's turn came.
        StorageError: The store does not answer, or that epoch has ended.
    """
    if receipt.result is not None:
        return receipt.result
    pushed = feed.result_of(epoch, receipt.seq)
    try:
        hears = is_followed and not receipt.repeated
        result = await pushed if hears or pushed.done() else None
        if result is None:
            # It may have been applied before anybody listened here, or nobody listens any more.
            reading = await read_result(gateway, feed, receipt.seq, owner, epoch)
            result = reading.result or await pushed
        if result is None:
            raise StoreUnavailable(_UNHEARD)
        return result
    finally:
        feed.forget_result(epoch, receipt.seq, pushed)


async def read_result(
    gateway: Gateway, feed: Feed, seq: int, owner: str, epoch: str
) -> Reading:
    """What the store knows of a context, and of an action that was delivered in an epoch.

    Raises:
        StoreUnavailable: That epoch has ended: the number may be another action's by now.
    """
    reading = await gateway.store.read(feed.context_id, owner, known=feed.known, seq=seq)
    if gateway.store.epoch != epoch:
        raise StoreUnavailable(RESTARTED)
    return reading


# Contexts that are made for one request


def orphaned_ms(gateway: Gateway, wait_s: float) -> int:
    """When a context made for one request expires, if its gateway dies before deleting it."""
    return gateway.clock() + round((wait_s + _ORPHANED_S) * 1_000)


async def forget(gateway: Gateway, owner: str, context_id: str) -> None:
    """Delete a context that was made for one request, whatever it is doing.

    A client that leaves may be noticed twice: what is written to it fails, and then the end of
    its connection cancels the request, and with it a deletion that has not been sent yet.
    """
    try:
        await _delete(gateway, owner, context_id)
    except asyncio.CancelledError:
        await _delete(gateway, owner, context_id)
        raise


async def _delete(gateway: Gateway, owner: str, context_id: str) -> None:
    event = ContextDeleted(at_ms=gateway.clock())
    try:
        async with asyncio.timeout(gateway.config.applied_s_max):
            receipt = await gateway.store.admissions.deliver(
                context_id, owner, Mail(event=event), key="", digest=""
            )
            await wake(gateway, context_id, owner, receipt)
    except ContextMissing:
        return
    except (TimeoutError, StorageError) as error:
        log.warning("context is left to expire", context_id=context_id, error=str(error))
