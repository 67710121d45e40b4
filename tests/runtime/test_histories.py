"""What browsers and databases have kept, read without guessing."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gateway.reading import parse_json
from runtime.histories import OldConversation, OldMessage, Unreadable, read_history
from runtime.importing import export_of

Json = Any
AT_MS = 1_700_000_000_123


def kept(tmp_path: Path, value: Json) -> list[OldConversation]:
    """What is read of a file with this JSON."""
    path = tmp_path / "history.json"
    path.write_text(json.dumps(value), encoding="utf-8")
    return read_history(path)


def said(one: OldConversation) -> list[tuple[str, str]]:
    """Role and text of each message."""
    return [(message.role, message.content) for message in one.messages]


def deep_part(levels: int) -> Json:
    """A part of a message that, in its list, has so many levels, and one for the last value."""
    value: Json = 1
    for _ in range(levels - 2):
        value = [value]
    return {"type": "x", "value": value}


CHAT = {
    "id": "c1",
    "title": " A  chat ",
    "messages": [
        {"id": "m1", "role": "user", "content": "Hi", "created_at": "2023-11-14T22:13:20.123Z"},
        {"id": "m2", "role": "assistant", "content": "Hello.", "created_at": AT_MS / 1_000},
    ],
}


@pytest.mark.parametrize(
    "value",
    [
        [CHAT],
        CHAT,
        {"conversations": [CHAT]},
        {"chats": {"c1": {**CHAT, "id": None}}},
        {"c1": CHAT},
        {"theme": "dark", "app:chats": json.dumps([CHAT]), "n": 3, "bad": "[{"},
        {"store": json.dumps({"state": {"sessions": [CHAT]}, "version": 1})},
    ],
    ids=["list", "one", "named list", "by id", "only values", "localStorage", "nested"],
)
def test_conversations_are_found_wherever_a_browser_keeps_them(
    tmp_path: Path, value: Json
) -> None:
    (one,) = kept(tmp_path, value)
    assert (one.title, one.problems) == ("A chat", [])
    assert one.messages == [
        OldMessage("user", "Hi", at_ms=AT_MS, id="m1"),
        OldMessage("assistant", "Hello.", at_ms=AT_MS, id="m2"),
    ]


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "localStorage"])
def test_half_a_character_is_read_as_one_that_cannot_be_shown(
    tmp_path: Path, packed: bool
) -> None:
    message = {
        "id": "\udc4b",
        "role": "user",
        "content": "\U0001f44b \ud83d\ud83d\udc4b \\ud83d",
    }
    chats = [{"id": "c1", "title": "Cut \ud83d", "messages": [message]}]
    (one,) = kept(tmp_path, {"chats": json.dumps(chats)} if packed else chats)
    assert one.title == "Cut \ufffd"
    assert one.messages == [
        OldMessage("user", "\U0001f44b \ufffd\U0001f44b \\ud83d", id="\ufffd")
    ]


def test_conversations_of_two_lists_that_have_the_same_id_are_two(tmp_path: Path) -> None:
    other = {**CHAT, "title": "Another"}
    found = kept(tmp_path, {"chats": [CHAT], "archive": json.dumps([other])})
    assert [(one.source_id, one.title) for one in found] == [
        ("c1", "A chat"),
        ("$.archive[0]", "Another"),
    ]


def test_roles_and_contents_of_others_are_understood(tmp_path: Path) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:,"}}
    messages = [
        {"sender": "human", "text": "a"},
        {"author": {"role": "assistant"}, "content": {"content_type": "text", "parts": ["b"]}},
        {"role": "user", "content": [{"type": "text", "text": "c"}, image]},
        {"role": "assistant", "content": None},
        {"role": "function", "content": "d"},
    ]
    (one,) = kept(tmp_path, [{"messages": messages}])
    assert one.problems == []
    assert said(one) == [
        ("user", "a"),
        ("assistant", "b"),
        ("user", "c"),
        ("assistant", ""),
        ("tool", "d"),
    ]
    assert one.messages[2].parts == ({"type": "text", "text": "c"}, image)


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        ("text", "no object"),
        ({"content": "x"}, "unknown role None"),
        ({"role": "narrator", "content": "x"}, "unknown role 'narrator'"),
        ({"role": "user"}, "content is neither text nor a list of parts"),
        ({"role": "user", "content": 7}, "content is neither text nor a list of parts"),
        ({"role": "user", "content": [7]}, "content with parts that are no typed objects"),
        ({"role": "user", "content": "x", "time": "noon"}, "a time that cannot be understood"),
        ({"role": "user", "content": "x", "time": 1e30}, "a time that cannot be understood"),
        ({"role": "user", "content": [deep_part(56)]}, "nested too deeply"),
    ],
)
def test_what_cannot_be_understood_is_a_problem_with_its_place(
    tmp_path: Path, message: Json, problem: str
) -> None:
    good = {"role": "user", "content": "kept"}
    (one,) = kept(tmp_path, {"conversations": [{"messages": [good, message]}]})
    assert said(one) == [("user", "kept")]
    assert one.problems[0].startswith("$.conversations[0].messages[1]: ")
    assert problem in one.problems[0]


DEEP = 100_000


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "{}", '"x"', "7", '[{"a": 1}]', "\udcff"),
        *("[" * DEEP, "[" * DEEP + "]" * DEEP, '{"a":' * DEEP + "1" + "}" * DEEP),
        json.dumps({"app:chats": "[" * DEEP}),
    ],
    ids=range(12),
)
def test_a_file_without_conversations_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "history.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(Unreadable):
        read_history(path)


# SQLite


def database(tmp_path: Path, *statements: str) -> Path:
    """A database made by these statements."""
    path = tmp_path / "chats.db"
    with closing(sqlite3.connect(path)) as rows:
        for statement in statements:
            rows.execute(statement)
        rows.commit()
    return path


def test_rows_of_a_database_become_conversations_in_the_order_of_their_times(
    tmp_path: Path,
) -> None:
    path = database(
        tmp_path,
        'CREATE TABLE "chat threads" (id INTEGER PRIMARY KEY, name TEXT)',
        "CREATE TABLE messages (id TEXT, thread_id INTEGER, role TEXT, text TEXT, created_at)",
        "INSERT INTO \"chat threads\" VALUES (1, 'First'), (2, 'Second')",
        "INSERT INTO messages VALUES ('b', 1, 'ai', 'later', '2023-11-14 22:13:21')",
        "INSERT INTO messages VALUES ('a', 1, 'user', 'sooner', '2023-11-14 22:13:20')",
        "INSERT INTO messages VALUES ('c', 2, 'user', '[\"parts\"]', '2023-11-14 22:13:22')",
    )
    first, second = read_history(path)
    assert (first.source_id, first.title) == ("1", "First")
    assert said(first) == [("user", "sooner"), ("assistant", "later")]
    assert [message.id for message in first.messages] == ["a", "b"]
    assert (second.title, said(second)) == ("Second", [("user", "parts")])


def test_rows_that_cannot_be_understood_name_themselves(tmp_path: Path) -> None:
    path = database(
        tmp_path,
        "CREATE TABLE m (chat_id, role, content)",
        "INSERT INTO m VALUES (1, 'user', 'x'), (1, 'ghost', 'boo')",
    )
    (one,) = read_history(path)
    assert one.problems == ["m row 2: unknown role 'ghost'"]


def test_a_database_without_messages_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unreadable):
        read_history(database(tmp_path, "CREATE TABLE notes (id, body)"))
    broken = tmp_path / "broken.db"
    broken.write_bytes(b"SQLite format 3\x00" + b"\xff" * 200)
    with pytest.raises(Unreadable):
        read_history(broken)


def test_a_database_is_only_read(tmp_path: Path) -> None:
    path = database(
        tmp_path,
        "CREATE TABLE m (chat_id, role, content)",
        "INSERT INTO m VALUES (1, 'user', 'x')",
    )
    before = path.read_bytes()
    read_history(path)
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["chats.db"]


def test_a_text_that_is_nested_beyond_measure_is_a_text(tmp_path: Path) -> None:
    text = "[" * DEEP
    path = tmp_path / "chats.sqlite"
    with closing(sqlite3.connect(path)) as rows:
        rows.execute("CREATE TABLE messages (chat_id, role, content)")
        rows.execute("INSERT INTO messages VALUES (1, 'user', ?)", (text,))
        rows.commit()
    (one,) = read_history(path)
    assert said(one) == [("user", text)]
    (one,) = kept(tmp_path, {"theme": text, "chats": [CHAT]})
    assert one.problems == []


def test_a_part_that_a_server_takes_is_kept(tmp_path: Path) -> None:
    part = deep_part(55)
    (one,) = kept(tmp_path, [{"messages": [{"role": "user", "content": [part]}]}])
    assert (one.messages[0].parts, one.problems) == ((part,), [])
    assert parse_json(export_of(one, "0" * 40, at_ms=AT_MS), depth_max=64)
