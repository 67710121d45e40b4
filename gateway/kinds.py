"""Every action that a context takes: its body, and the event that the body becomes."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import orjson
from aiohttp import web
from pydantic import BaseModel, JsonValue

from fsm import (
    AnyAction,
    ApprovalGiven,
    CancelRequested,
    Config,
    ContextConfigured,
    ContextDeleted,
    ContextRenamed,
    Denial,
    MessageReceived,
    PauseRequested,
    ResetRequested,
    ResumeRequested,
    RetryRequested,
)
from gateway.bodies import (
    ApproveTools,
    B,
    Cancel,
    Empty,
    Rename,
    SendMessage,
    TextPart,
    parse_json,
    read_body,
    read_bytes,
)
from gateway.problems import Problem


@dataclass(frozen=True, slots=True)
class Kind:
    """One action."""

    body: type[BaseModel]
    """What its request holds, for OpenAPI; `Config` stands for a merge patch of it."""
    read: Callable[[web.Request, int, int], Awaitable[AnyAction]]
    """The event of a request, with json_depth_max and the time (ms)."""
    summary: str
    refusals: tuple[str, ...] = ()
    """Problem types that the machine may refuse it with, besides illegal-in-phase."""


def _kind(
    body: type[B],
    make: Callable[[B, int], AnyAction],
    summary: str,
    *refusals: str,
) -> Kind:
    async def read(request: web.Request, depth_max: int, at_ms: int) -> AnyAction:
        return make(await read_body(request, body, depth_max=depth_max), at_ms)

    return Kind(body, read, summary, refusals)


def received(said: SendMessage, at_ms: int) -> MessageReceived:
    """The event that a message sends off.

    Raises:
        Problem: invalid-body, if there is nothing in it.
    """
    text, parts = _text_of(said.content)
    return MessageReceived(
        at_ms=at_ms,
        content=text,
        parts=parts,
        policy=said.policy,
        client_message_id=said.client_message_id,
        metadata=said.metadata,
    )


def _text_of(
    content: str | list[TextPart],
) -> tuple[str, tuple[dict[str, JsonValue], ...]]:
    if isinstance(content, str):
        parts: tuple[dict[str, JsonValue], ...] = ()
        text, carries_more = content, False
    else:
        parts = tuple(part.model_dump(mode="json", exclude_none=True) for part in content)
        text = "\n".join(part.text for part in content if part.type == "text" and part.text)
        carries_more = any(part.type != "text" for part in content)
    if not text.strip() and not carries_more:
        raise Problem("invalid-body", "content: say something; it is empty.")
    return text, parts


def _approved(body: ApproveTools, at_ms: int) -> ApprovalGiven:
    return ApprovalGiven(
        at_ms=at_ms,
        tool_call_ids=tuple(body.tool_call_ids),
        deny=tuple(Denial(id=denied.id, reason=denied.reason) for denied in body.deny),
        edits={key: orjson.dumps(value).decode() for key, value in body.edits.items()},
    )


async def _configured(request: web.Request, depth_max: int, at_ms: int) -> AnyAction:
    patch = parse_json(await read_bytes(request), depth_max=depth_max)
    return ContextConfigured(at_ms=at_ms, patch=patch)


KINDS: Final[dict[str, Kind]] = {
    "send_message": _kind(
        SendMessage,
        received,
        "Say something; starts a turn, or waits for the running one",
        "queue-full",
    ),
    "approve_tools": _kind(
        ApproveTools,
        _approved,
        "Decide on tool calls that wait for a person",
        "no-pending-approvals",
        "unknown-tool-call",
    ),
    "cancel": _kind(
        Cancel,
        lambda body, at_ms: CancelRequested(at_ms=at_ms, turn_id=body.turn_id),
        "Stop the running turn; the partial reply stays, marked cancelled",
        "unknown-turn",
    ),
    "retry": _kind(
        Empty,
        lambda _, at_ms: RetryRequested(at_ms=at_ms),
        "Make the model call that failed again, now",
    ),
    "reset": _kind(
        Empty, lambda _, at_ms: ResetRequested(at_ms=at_ms), "Give up the turn that failed"
    ),
    "pause": _kind(
        Empty, lambda _, at_ms: PauseRequested(at_ms=at_ms), "Start nothing more until resumed"
    ),
    "resume": _kind(
        Empty, lambda _, at_ms: ResumeRequested(at_ms=at_ms), "Go on where it was paused"
    ),
    "configure": Kind(
        Config,
        _configured,
        "Patch the configuration (RFC 7396); in force from the next model call",
        ("invalid-config",),
    ),
    "rename": _kind(
        Rename,
        lambda body, at_ms: ContextRenamed(at_ms=at_ms, title=body.title),
        "Give the context another title",
    ),
    "delete": _kind(
        Empty,
        lambda _, at_ms: ContextDeleted(at_ms=at_ms),
        "Delete the context and all that is kept of it",
    ),
}
"""By the name on the wire."""
