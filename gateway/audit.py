"""What the gateway writes into the audit log, and the address that shows the log."""

import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import orjson
import structlog
from aiohttp import web

from fsm import AnswerGiven, AnyAction, ApprovalGiven, ContextDeleted, call_digest
from gateway.app import GATEWAY, Gateway
from gateway.clients import client_address
from gateway.guard import PRINCIPAL, Principal
from gateway.history import next_page, read_limit
from gateway.parameters import AFTER_RECORD, LIMIT, read_whole
from storage import (
    Act,
    Audit,
    Audited,
    ContextGone,
    Decision,
    Outcome,
    StorageError,
    Unreadable,
    rfc3339,
)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks for something, and from where."""

    principal: Principal
    address: str
    asks_for_keys: bool

    def act(self, name: str, target: str, decisions: tuple[Decision, ...] = ()) -> Act:
        """An act of theirs, as the audit log has it."""
        key_id = self.principal.credential
        token = "token" if self.asks_for_keys else "anybody"
        return Act(
            by=f"key:{key_id}" if key_id else token,
            owner=self.principal.owner,
            address=self.address,
            name=name,
            target=target,
            decisions=decisions,
        )


def actor_of(request: web.Request) -> Actor:
    """Who has sent a request."""
    config = request.app[GATEWAY].config
    return Actor(request[PRINCIPAL], client_address(request), config.auth == "keys")


@contextlib.asynccontextmanager
async def recorded(request: web.Request, name: str) -> AsyncGenerator[None, None]:
    """Record that something is asked for, then, after the block, what came of it.

    Raises:
        StoreUnavailable, StoreRefusedWrite: It cannot be recorded, and is not to be done.
    """
    gateway = request.app[GATEWAY]
    act = actor_of(request).act(name, " ".join(request.match_info.values())[:256])
    asked = await _record(gateway, act, "asked")
    outcome: Outcome = "failed"
    try:
        yield
        outcome = "done"
    finally:
        try:
            await _record(gateway, act, outcome, of=asked.record.number)
        except StorageError as error:
            log.warning("outcome not recorded", number=asked.record.number, error=str(error))


async def record_action(
    gateway: Gateway, actor: Actor, context_id: str, event: AnyAction
) -> None:
    """Record an approval, an answer or a deletion before it is delivered; nothing else is.

    What came of it is in the context's own log. A deletion that comes again, when the context
    is gone, decides nothing: it is not recorded, and its tombstone knows the answer.

    Raises:
        ContextMissing: There is no such context to decide anything in.
        StoreUnavailable, StoreRefusedWrite: It cannot be recorded, and is not to be delivered.
    """
    owner = actor.principal.owner
    match event:
        case ApprovalGiven():
            decisions = await _decisions(gateway, owner, context_id, event)
        case AnswerGiven():
            await gateway.directory.head(context_id, owner)
            decisions = (Decision(call_id=event.question_id[:256], verdict="answered"),)
        case ContextDeleted():
            try:
                await gateway.directory.head(context_id, owner)
            except ContextGone:
                return
            decisions = ()
        case _:
            return
    await _record(gateway, actor.act(event.action, context_id, decisions), "asked")


async def _decisions(
    gateway: Gateway, owner: str, context_id: str, event: ApprovalGiven
) -> tuple[Decision, ...]:
    """The decisions about calls of the running turn; those about other calls change nothing."""
    mirror = await gateway.directory.read(context_id, owner)
    turn = mirror.view.state.turn
    found: list[Decision] = []
    for call in turn.calls if turn else ():
        if call.id in event.tool_call_ids:
            digest = call_digest(call.name, event.edits.get(call.id, call.arguments))
            made = Decision(call_id=call.id, verdict="approved", tool=call.name, digest=digest)
            found.append(made)
        elif any(denied.id == call.id for denied in event.deny):
            found.append(Decision(call_id=call.id, verdict="denied", tool=call.name))
    return tuple(found)


async def _record(
    gateway: Gateway, act: Act, outcome: Outcome, *, of: int | None = None
) -> Audited:
    audit = Audit(gateway.store.link, gateway.store.config.audit_records_max)
    audited = await audit.append(act, outcome, at_ms=gateway.clock(), of=of)
    log.info(
        "act recorded",
        number=audited.record.number,
        act=act.name,
        by=act.by,
        outcome=outcome,
        digest=audited.digest,
    )
    return audited


async def list_audit(request: web.Request) -> web.StreamResponse:
    """The record, the oldest first."""
    gateway = request.app[GATEWAY]
    limit = read_limit(request, gateway.config.list_max)
    after = read_whole(request, AFTER_RECORD.name) or 0
    audit = Audit(gateway.store.link, gateway.store.config.audit_records_max)
    page = await audit.page(after=after, limit=limit)
    headers: dict[str, str] = {}
    if len(page) == limit:
        query = {LIMIT.name: str(limit), AFTER_RECORD.name: str(page[-1].place)}
        headers["Link"] = next_page(request, query)
    shown = {
        "records": [_shown(found) for found in page if isinstance(found, Audited)],
        "unreadable": [found.place for found in page if isinstance(found, Unreadable)],
    }
    body = orjson.dumps(shown)
    return web.Response(body=body, headers=headers, content_type="application/json")


def _shown(audited: Audited) -> dict[str, object]:
    record = audited.record
    return {
        "number": record.number,
        "at": rfc3339(record.at_ms),
        "outcome": record.outcome,
        "of": record.of,
        **record.act.model_dump(mode="json"),
        "before": record.before,
        "digest": audited.digest,
    }
