"""What the body of each action becomes, field by field."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from pydantic import JsonValue

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
    ToolCall,
    TurnRequested,
)
from gateway.kinds import KINDS, expiry_ms
from gateway.problems import Problem

AT_MS = 1_700_000_000_000
SAID: dict[str, JsonValue] = {
    "role": "assistant",
    "content": "Tea.",
    "tool_calls": [{"id": "c", "name": "clock", "arguments": "{}"}],
    "tool_call_id": "t",
    "created_at": "1970-01-01T01:00:01+01:00",
    "status": "cancelled",
    "finish_reason": "stop",
    "client_message_id": "m1",
    "model": "large",
    "metadata": {"a": 1},
    "replaces": "m0",
}
RECORDED = RecordedMessage(
    role="assistant",
    content="Tea.",
    tool_calls=(ToolCall(id="c", name="clock", arguments="{}"),),
    tool_call_id="t",
    created_at_ms=1_000,
    status="cancelled",
    finish_reason="stop",
    client_message_id="m1",
    model="large",
    metadata={"a": 1},
    replaces="m0",
)
COMPLETE: dict[str, tuple[dict[str, JsonValue], AnyAction]] = {
    "send_message": (
        {
            "content": "Hello",
            "attachments": [{"type": "text", "name": "a.txt", "text": "line"}],
            "client_message_id": "m1",
            "policy": "steer",
            "not_before": "2026-01-31T12:00:00.0015Z",
            "metadata": {"a": 1},
        },
        MessageReceived(
            at_ms=AT_MS,
            content="Hello",
            parts=(
                {"type": "text", "text": "Hello"},
                {"type": "text_attachment", "name": "a.txt", "text": "line"},
            ),
            client_message_id="m1",
            policy="steer",
            not_before_ms=1_769_860_800_001,
            metadata={"a": 1},
        ),
    ),
    "edit_message": (
        {
            "message_id": "m1",
            "content": [{"type": "text", "text": "Hello"}],
            "client_message_id": "m2",
            "metadata": {"a": 1},
        },
        MessageEdited(
            at_ms=AT_MS,
            message_id="m1",
            content="Hello",
            parts=({"type": "text", "text": "Hello"},),
            client_message_id="m2",
            metadata={"a": 1},
        ),
    ),
    "regenerate": (
        {"message_id": "m1"},
        RegenerateRequested(at_ms=AT_MS, message_id="m1"),
    ),
    "update_queue": (
        {"remove": ["a"], "edit": {"b": "Tea?"}, "move": {"c": 0}},
        QueueUpdated(at_ms=AT_MS, remove=("a",), edit={"b": "Tea?"}, move={"c": 0}),
    ),
    "create_branch": (
        {"name": "b", "from_message_id": "m1", "system_prompt": "Be brief."},
        BranchCreated(at_ms=AT_MS, name="b", from_message_id="m1", system_prompt="Be brief."),
    ),
    "switch_branch": (
        {"name": "b", "message_id": "m1"},
        BranchSwitched(at_ms=AT_MS, name="b", message_id="m1"),
    ),
    "merge_branch": (
        {
            "source": "b",
            "strategy": "cherry_pick",
            "message_ids": ["m1", "m2"],
            "accept_conflicts": True,
        },
        BranchMerged(
            at_ms=AT_MS,
            source="b",
            strategy="cherry_pick",
            message_ids=("m1", "m2"),
            accept_conflicts=True,
        ),
    ),
    "record_messages": (
        {"messages": [SAID]},
        MessagesRecorded(at_ms=AT_MS, messages=(RECORDED,)),
    ),
    "request_turn": (
        {"messages": [SAID], "follows": "m1", "config": {"model": "large"}},
        TurnRequested(
            at_ms=AT_MS, messages=(RECORDED,), follows="m1", patch={"model": "large"}
        ),
    ),
    "approve_tools": (
        {
            "tool_call_ids": ["c1", "c2"],
            "deny": [{"id": "c3", "reason": "No."}],
            "edits": {"c1": {"path": "/tmp"}},
        },
        ApprovalGiven(
            at_ms=AT_MS,
            tool_call_ids=("c1", "c2"),
            deny=(Denial(id="c3", reason="No."),),
            edits={"c1": '{"path":"/tmp"}'},
        ),
    ),
    "answer": (
        {"question_id": "c1", "content": "blue"},
        AnswerGiven(at_ms=AT_MS, question_id="c1", content="blue"),
    ),
    "cancel": ({"turn_id": "m1"}, CancelRequested(at_ms=AT_MS, turn_id="m1")),
    "retry": ({}, RetryRequested(at_ms=AT_MS)),
    "reset": ({}, ResetRequested(at_ms=AT_MS)),
    "pause": ({}, PauseRequested(at_ms=AT_MS)),
    "resume": ({}, ResumeRequested(at_ms=AT_MS)),
    "configure": (
        {"model": None, "limits": {"rounds_max": 2, "tools_max": None}},
        ContextConfigured(
            at_ms=AT_MS, patch={"model": None, "limits": {"rounds_max": 2, "tools_max": None}}
        ),
    ),
    "rename": ({"title": "Tea"}, ContextRenamed(at_ms=AT_MS, title="Tea")),
    "generate_title": ({}, TitleRequested(at_ms=AT_MS)),
    "pin": ({}, ContextPinned(at_ms=AT_MS)),
    "unpin": ({}, ContextUnpinned(at_ms=AT_MS)),
    "delete": ({}, ContextDeleted(at_ms=AT_MS)),
}
"""By action: a body that says all that it may say, and its event."""


@pytest.mark.parametrize("name", KINDS)
def test_all_that_a_body_says_is_in_its_event(name: str) -> None:
    body, event = COMPLETE[name]
    assert KINDS[name].make(body, AT_MS) == event
    if KINDS[name].body is not Config:
        assert body.keys() == KINDS[name].body.model_fields.keys()


def heard(body: dict[str, JsonValue]) -> tuple[str, tuple[dict[str, JsonValue], ...]]:
    """Text and parts of the message that a body becomes."""
    event = KINDS["send_message"].make(body, AT_MS)
    assert isinstance(event, MessageReceived)
    return event.content, tuple(dict(part) for part in event.parts)


def test_the_text_of_parts_is_that_of_all_text_parts() -> None:
    image: dict[str, JsonValue] = {"type": "image_url", "image_url": {"url": "https://a/b"}}
    said: list[JsonValue] = [
        {"type": "text", "text": "One"},
        {**image, "text": "is no text"},
        {"type": "text", "text": "two"},
        {"type": "text", "text": None},
    ]
    assert heard({"content": said}) == (
        "One\ntwo",
        (
            {"type": "text", "text": "One"},
            {**image, "text": "is no text"},
            {"type": "text", "text": "two"},
            {"type": "text"},
        ),
    )


def test_a_picture_needs_no_words() -> None:
    picture: JsonValue = {"type": "image_url", "image_url": {"url": "https://a/b"}}
    said: list[JsonValue] = [{"type": "text", "text": ""}, picture]
    assert heard({"content": said}) == ("", tuple(said))


FILE: dict[str, JsonValue] = {"type": "file_reference", "name": "b.pdf"}


@pytest.mark.parametrize(
    ("content", "text", "parts"),
    [
        ("Look:", "Look:", ({"type": "text", "text": "Look:"}, FILE)),
        (" \n", " \n", (FILE,)),
        (
            [{"type": "text", "text": "Look:"}],
            "Look:",
            ({"type": "text", "text": "Look:"}, FILE),
        ),
        ([{"type": "text", "text": " "}], " ", ({"type": "text", "text": " "}, FILE)),
    ],
)
def test_attachments_stand_behind_what_is_said_if_anything_is(
    content: JsonValue, text: str, parts: tuple[dict[str, JsonValue], ...]
) -> None:
    assert heard({"content": content, "attachments": [FILE]}) == (text, parts)


@pytest.mark.parametrize(
    ("name", "body", "why"),
    [
        ("send_message", {"content": " \n"}, "say something"),
        ("send_message", {"content": [{"type": "text", "text": " "}]}, "say something"),
        ("edit_message", {"message_id": "m", "content": "\t"}, "say something"),
        ("update_queue", {"edit": {"a": "Tea?", "b": " "}}, "edit.b: it is empty"),
    ],
)
def test_what_says_nothing_is_refused(name: str, body: dict[str, JsonValue], why: str) -> None:
    with pytest.raises(Problem, match=why):
        KINDS[name].make(body, AT_MS)


@pytest.mark.parametrize("policy", ["reject", "interrupt", "rollback"])
def test_what_is_decided_on_arrival_is_not_delayed(policy: str) -> None:
    later: dict[str, JsonValue] = {"content": "Hi", "not_before": "2026-01-31T12:00:00Z"}
    with pytest.raises(Problem, match=policy):
        KINDS["send_message"].make({**later, "policy": policy}, AT_MS)


def test_a_context_may_expire_from_the_next_millisecond_on_until_the_last_year() -> None:
    now = datetime(2026, 1, 31, tzinfo=UTC)
    now_ms = round(now.timestamp() * 1_000)
    assert expiry_ms(now + timedelta(milliseconds=1), now_ms) == now_ms + 1
    with pytest.raises(Problem, match="that is over"):
        expiry_ms(now, now_ms)
    last = datetime(4000, 1, 1, tzinfo=UTC)
    assert expiry_ms(last - timedelta(milliseconds=1), now_ms) == MS_MAX
    with pytest.raises(Problem, match="out of range"):
        expiry_ms(last, now_ms)


def test_a_message_may_be_as_old_as_years_are_numbered() -> None:
    first = "0001-01-01T00:00:00"
    event = KINDS["record_messages"].make(
        {"messages": [{**SAID, "created_at": f"{first}Z"}]}, AT_MS
    )
    assert isinstance(event, MessagesRecorded)
    assert event.messages[0].created_at_ms == MS_MIN
    before = datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1))).isoformat()
    with pytest.raises(Problem, match="out of range"):
        KINDS["record_messages"].make({"messages": [{**SAID, "created_at": before}]}, AT_MS)
