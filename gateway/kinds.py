"""Every action that a context takes: its body, and the event that the body becomes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import orjson
from pydantic import BaseModel, JsonValue

from fsm import (
    MS_MAX,
    MS_MIN,
    AnswerGiven,
    AnyAction,
    ApprovalGiven,
    BranchCreated,
    BranchMerged,
    BranchSwitched,
    CancelRequested,
    Config,
    ContextConfigured,
    ContextDeleted,
    ContextPinned,
    ContextRenamed,
    ContextUnpinned,
    Denial,
    MessageEdited,
    MessageReceived,
    MessagesRecorded,
    PauseRequested,
    QueueUpdated,
    RecordedMessage,
    RegenerateRequested,
    ResetRequested,
    ResumeRequested,
    RetryRequested,
    TitleRequested,
    TurnRequested,
)
from gateway.bodies import (
    AnswerQuestion,
    ApproveTools,
    Attachment,
    Cancel,
    CreateBranch,
    EditMessage,
    Empty,
    MergeBranch,
    RecordMessages,
    Regenerate,
    Rename,
    RequestTurn,
    SendMessage,
    SwitchBranch,
    TextPart,
    UpdateQueue,
    check_limits,
)
from gateway.problems import Problem
from gateway.reading import B, validate


@dataclass(frozen=True, slots=True)
class Kind:
    """One action."""

    body: type[BaseModel]
    """What its request holds, for OpenAPI; `Config` stands for a merge patch of it."""
    make: Callable[[Mapping[str, JsonValue], int], AnyAction]
    """The event of a parsed body and the time (ms); raises Problem."""
    summary: str
    refusals: tuple[str, ...] = ()
    """Problem types that the machine may refuse it with, besides illegal-in-phase."""


def _kind(
    body: type[B],
    make: Callable[[B, int], AnyAction],
    summary: str,
    *refusals: str,
) -> Kind:
    def read(value: Mapping[str, JsonValue], at_ms: int) -> AnyAction:
        return make(validate(body, value), at_ms)

    return Kind(body, read, summary, refusals)


def received(said: SendMessage, at_ms: int) -> MessageReceived:
    """The event that a message sends off.

    Raises:
        Problem: invalid-body, if there is nothing in it, or it is to cut in later.
    """
    text, parts = _text_of(said.content, said.attachments)
    not_before_ms = None if said.not_before is None else _ms(said.not_before)
    if not_before_ms is not None and said.policy in {"reject", "interrupt", "rollback"}:
        detail = (
            f"policy: {said.policy} is decided when the message arrives; not_before delays it."
        )
        raise Problem("invalid-body", detail)
    return MessageReceived(
        at_ms=at_ms,
        content=text,
        parts=parts,
        policy=said.policy,
        client_message_id=said.client_message_id,
        metadata=said.metadata,
        not_before_ms=not_before_ms,
    )


def expiry_ms(at: datetime, now_ms: int) -> int:
    """When a context that is made now is to be deleted.

    Raises:
        Problem: invalid-body, if that is over.
    """
    expires_ms = _ms(at)
    if expires_ms <= now_ms:
        raise Problem("invalid-body", "expires_at: that is over.")
    return expires_ms


def _ms(at: datetime) -> int:
    at_ms = (at - _EPOCH) // timedelta(milliseconds=1)
    if not MS_MIN <= at_ms <= MS_MAX:
        raise Problem("invalid-body", "A time is out of range: the years 1 to 3999 are taken.")
    return at_ms


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


Parts = tuple[dict[str, JsonValue], ...]


def _text_of(
    content: str | list[TextPart], attachments: Sequence[Attachment] = ()
) -> tuple[str, Parts]:
    if isinstance(content, str):
        parts: Parts = ()
        text, carries_more = content, False
    else:
        parts = tuple(part.model_dump(mode="json", exclude_none=True) for part in content)
        text = "\n".join(part.text for part in content if part.type == "text" and part.text)
        carries_more = any(part.type != "text" for part in content)
    if attachments:
        carries_more = True
        if text.strip() and not parts:
            parts = ({"type": "text", "text": text},)
        parts += tuple(map(_attached, attachments))
    if not text.strip() and not carries_more:
        raise Problem("invalid-body", "content: say something; it is empty.")
    return text, parts


def _attached(attachment: Attachment) -> dict[str, JsonValue]:
    if attachment.type == "text":
        return {
            "type": "text_attachment",
            "name": attachment.name,
            "text": attachment.text or "",
        }
    reference: dict[str, JsonValue] = {"type": "file_reference", "name": attachment.name}
    if attachment.url is not None:
        reference["url"] = attachment.url
    return reference


def _edited(body: EditMessage, at_ms: int) -> MessageEdited:
    text, parts = _text_of(body.content)
    return MessageEdited(
        at_ms=at_ms,
        message_id=body.message_id,
        content=text,
        parts=parts,
        client_message_id=body.client_message_id,
        metadata=body.metadata,
    )


def _queue_updated(body: UpdateQueue, at_ms: int) -> QueueUpdated:
    for message_id, content in body.edit.items():
        if not content.strip():
            raise Problem("invalid-body", f"edit.{message_id}: it is empty; use remove.")
    return QueueUpdated(at_ms=at_ms, remove=tuple(body.remove), edit=body.edit, move=body.move)


def recorded(body: RecordMessages, at_ms: int) -> MessagesRecorded:
    """The event that adds messages from elsewhere."""
    return MessagesRecorded(at_ms=at_ms, messages=_recorded_messages(body))


def _turn_requested(body: RequestTurn, at_ms: int) -> TurnRequested:
    return TurnRequested(
        at_ms=at_ms,
        messages=_recorded_messages(body),
        follows=body.follows,
        patch=checked_patch(body.config),
    )


def _recorded_messages(body: RecordMessages) -> tuple[RecordedMessage, ...]:
    return tuple(
        RecordedMessage(
            role=said.role,
            content=said.content,
            tool_calls=tuple(said.tool_calls),
            tool_call_id=said.tool_call_id,
            created_at_ms=_ms(said.created_at) if said.created_at else None,
            status=said.status,
            finish_reason=said.finish_reason,
            client_message_id=said.client_message_id,
            model=said.model,
            metadata=said.metadata,
            replaces=said.replaces,
        )
        for said in body.messages
    )


def _approved(body: ApproveTools, at_ms: int) -> ApprovalGiven:
    return ApprovalGiven(
        at_ms=at_ms,
        tool_call_ids=tuple(body.tool_call_ids),
        deny=tuple(Denial(id=denied.id, reason=denied.reason) for denied in body.deny),
        edits={key: orjson.dumps(value).decode() for key, value in body.edits.items()},
    )


def checked_patch(patch: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
    """Check the fields of a merge patch (RFC 7396) of a configuration.

    Whether its values are allowed only the machine can say, with the present configuration.

    Raises:
        Problem: invalid-body, if a limit is no number; invalid-config, if a field is unknown.
    """
    try:
        check_limits(dict(patch))
    except ValueError as error:
        raise Problem("invalid-body", f"limits: {error}.") from None
    if unknown := sorted(patch.keys() - Config.model_fields.keys()):
        # With null, too: what is taken away must be there to be taken away.
        raise Problem("invalid-config", f"{unknown[0][:64]!r} is no field of it.")
    return patch


def _configured(patch: Mapping[str, JsonValue], at_ms: int) -> AnyAction:
    return ContextConfigured(at_ms=at_ms, patch=checked_patch(patch))


KINDS: Final[dict[str, Kind]] = {
    "send_message": _kind(
        SendMessage,
        received,
        "Say something; starts a turn, or does as its policy says while one runs",
        "queue-full",
        "turn-running",
    ),
    "edit_message": _kind(
        EditMessage,
        _edited,
        "Say something else in a message's place; runs a turn, the old line is kept",
        "unknown-message",
    ),
    "regenerate": _kind(
        Regenerate,
        lambda body, at_ms: RegenerateRequested(at_ms=at_ms, message_id=body.message_id),
        "Ask for another alternative of a reply",
        "unknown-message",
    ),
    "update_queue": _kind(
        UpdateQueue,
        _queue_updated,
        "Edit, remove and move messages that wait",
        "not-waiting",
    ),
    "create_branch": _kind(
        CreateBranch,
        lambda body, at_ms: BranchCreated(
            at_ms=at_ms,
            name=body.name,
            from_message_id=body.from_message_id,
            system_prompt=body.system_prompt,
        ),
        "Give a line through the tree a name; the active branch stays active",
        "unknown-message",
        "branch-exists",
    ),
    "switch_branch": _kind(
        SwitchBranch,
        lambda body, at_ms: BranchSwitched(
            at_ms=at_ms, name=body.name, message_id=body.message_id
        ),
        "Go on on another branch, or along another line",
        "unknown-message",
        "unknown-branch",
    ),
    "merge_branch": _kind(
        MergeBranch,
        lambda body, at_ms: BranchMerged(
            at_ms=at_ms,
            source=body.source,
            strategy=body.strategy,
            message_ids=tuple(body.message_ids),
            accept_conflicts=body.accept_conflicts,
        ),
        "Bring to the active branch what another has of its own",
        "unknown-message",
        "unknown-branch",
        "merge-conflict",
        "too-many-messages",
    ),
    "record_messages": _kind(
        RecordMessages,
        recorded,
        "Add messages that came about elsewhere; no turn begins",
        "too-many-messages",
        "unknown-message",
    ),
    "request_turn": _kind(
        RequestTurn,
        _turn_requested,
        "Add messages that came about elsewhere, and have the model answer them",
        "too-many-messages",
        "turn-running",
        "unknown-message",
        "invalid-config",
    ),
    "approve_tools": _kind(
        ApproveTools,
        _approved,
        "Decide on tool calls that wait for a person",
        "no-pending-approvals",
        "unknown-tool-call",
    ),
    "answer": _kind(
        AnswerQuestion,
        lambda body, at_ms: AnswerGiven(
            at_ms=at_ms, question_id=body.question_id, content=body.content
        ),
        "Answer what the model asked",
        "unknown-question",
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
    "generate_title": _kind(
        Empty,
        lambda _, at_ms: TitleRequested(at_ms=at_ms),
        "Have the model make a title; without one it is how the conversation begins",
    ),
    "pin": _kind(
        Empty,
        lambda _, at_ms: ContextPinned(at_ms=at_ms),
        "Keep the context from retention and expiry",
    ),
    "unpin": _kind(
        Empty,
        lambda _, at_ms: ContextUnpinned(at_ms=at_ms),
        "Let the context go when its time comes",
    ),
    "delete": _kind(
        Empty,
        lambda _, at_ms: ContextDeleted(at_ms=at_ms),
        "Delete the context and all that is kept of it",
    ),
}
"""By the name on the wire."""
