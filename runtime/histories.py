"""Reads conversations that other programs have kept, as JSON or in a SQLite database.

What is found is checked as a whole before anything is imported; a problem names its place.
Nothing is guessed about a message: one without a role that is known is a problem, not a
message of somebody.
"""

import json
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, cast

Json: TypeAlias = Any
"""Decoded JSON of any shape."""

Role = Literal["system", "user", "assistant", "tool"]

ROLES: Final[Mapping[str, Role]] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "ai": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "tool": "tool",
    "function": "tool",
}
_MESSAGES: Final = ("messages", "turns", "history")
_TITLES: Final = ("title", "name", "summary")
_TIMES: Final = ("created_at", "createdAt", "create_time", "timestamp", "time", "date")
_TEXTS: Final = ("content", "text", "body", "message")
_ROLES: Final = ("role", "sender", "author", "type")
_OWNERS: Final = ("conversation_id", "chat_id", "thread_id", "session_id", "context_id")
_PARTS_DEPTH_MAX: Final = 56
"""Levels of a message's parts: with those around them an export has no more than the 64 that a
server takes, unless it was told otherwise."""
_SECONDS_MAX: Final = 100_000_000_000
"""A number below it is Unix time in seconds, one above in milliseconds."""
_SQLITE: Final = b"SQLite format 3\x00"
_ESCAPE: Final = re.compile(
    r"\\(?:ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}|(ud[89a-f][0-9a-f]{2})|.)",
    re.IGNORECASE | re.DOTALL,
)
"""An escape of JSON; the group has half a character, of one that takes two."""


class Unreadable(Exception):
    """The file is of no kind that can be imported; the message says what was looked for."""


@dataclass(frozen=True, slots=True)
class OldMessage:
    """A message, as the other program kept it."""

    role: Role
    content: str
    parts: tuple[Mapping[str, Json], ...] = ()
    at_ms: int | None = None
    id: str | None = None


@dataclass(slots=True)
class OldConversation:
    """A conversation, as the other program kept it, and what is wrong with it."""

    source_id: str
    """Its id, or its place in the file where it has none or another one has the same."""
    title: str = ""
    messages: list[OldMessage] = field(default_factory=list[OldMessage])
    problems: list[str] = field(default_factory=list[str])


def read_history(path: Path) -> list[OldConversation]:
    """Every conversation of a file, in the order in which it has them.

    Raises:
        Unreadable: It is neither JSON nor SQLite, or holds no conversations.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        is_sqlite = file.read(len(_SQLITE)) == _SQLITE
    return _read_sqlite(path) if is_sqlite else _read_json(path)


# JSON


def _read_json(path: Path) -> list[OldConversation]:
    try:
        return _read_value(_decoded(path.read_text(encoding="utf-8-sig")))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise Unreadable(f"It is neither SQLite nor JSON in UTF-8: {error}.") from None
    except RecursionError:
        raise Unreadable("It is nested too deeply.") from None


def _read_value(value: Json) -> list[OldConversation]:
    found: dict[str, OldConversation] = {}
    for where, listed in _conversations(value, "$"):
        for number, one in enumerate(listed):
            at = f"{where}[{number}]"
            conversation = _conversation(one, at)
            if conversation.source_id in found:
                conversation.source_id = at  # two lists may have the same ids
            found[conversation.source_id] = conversation
    if not found:
        raise Unreadable(
            "No conversations in it. Looked for objects with a list `messages`: in a list, as "
            "values of an object, or as JSON text in the values (a dump of localStorage)."
        )
    return list(found.values())


def _conversations(value: Json, where: str) -> Iterator[tuple[str, list[Json]]]:
    """The lists of conversations in a JSON value, each with its place."""
    if (listed := _list(value)) is not None:
        if any(_looks_like_one(one) for one in listed):
            yield where, listed
        return
    if (fields := _object(value)) is None:
        return
    if _looks_like_one(fields):
        yield where, [fields]
    elif fields and all(_looks_like_one(one) for one in fields.values()):
        yield where, [{"id": key, **one} for key, one in fields.items()]
    else:
        for key, inner in fields.items():
            yield from _conversations(_unpacked(inner), f"{where}.{key}")


def _decoded(text: str) -> Json:
    """JSON; half a character becomes U+FFFD: JavaScript cuts titles in the middle of emoji.

    Raises:
        json.JSONDecodeError: It is none.
        RecursionError: It is nested too deeply.
    """
    return json.loads(_ESCAPE.sub(lambda found: r"\ufffd" if found[1] else found[0], text))


def _object(value: Json) -> dict[str, Json] | None:
    return cast("dict[str, Json]", value) if isinstance(value, dict) else None


def _list(value: Json) -> list[Json] | None:
    return [*cast("Sequence[Json]", value)] if isinstance(value, list) else None


def _unpacked(value: Json) -> Json:
    """A value of localStorage, decoded if it is JSON text."""
    if isinstance(value, str) and value[:1] in {"[", "{"}:
        try:
            return _decoded(value)
        except (json.JSONDecodeError, RecursionError):
            return value
    return value


def _looks_like_one(value: Json) -> bool:
    fields = _object(value)
    return fields is not None and _list(_first(fields, _MESSAGES)) is not None


def _conversation(value: Json, where: str) -> OldConversation:
    fields = _object(value) or {}
    messages = _list(_first(fields, _MESSAGES))
    if messages is None:
        return OldConversation(where, problems=[f"{where}: no conversation (no `messages`)"])
    found = OldConversation(str(fields.get("id") or where), title=_title(fields))
    for number, one in enumerate(messages):
        at = f"{where}.messages[{number}]"
        if (message := _object(one)) is not None:
            _add(found, message, at)
        else:
            found.problems.append(f"{at}: no object")
    return found


def _title(value: Mapping[str, Json]) -> str:
    title = _first(value, _TITLES)
    return " ".join(title.split())[:200] if isinstance(title, str) else ""


def _add(found: OldConversation, value: Mapping[str, Json], where: str) -> None:
    said = _first(value, _ROLES)
    if (author := _object(said)) is not None:
        said = author.get("role")
    role = ROLES.get(said.lower()) if isinstance(said, str) else None
    if role is None:
        found.problems.append(f"{where}: unknown role {said!r}")
        return
    content = _first(value, _TEXTS)
    if (wrapped := _object(content)) is not None:  # {"content_type": "text", "parts": ["..."]}
        content = wrapped.get("parts")
    parts: tuple[Mapping[str, Json], ...] = ()
    if (listed := _list(content)) is not None:
        typed = [
            _object({"type": "text", "text": p} if isinstance(p, str) else p) for p in listed
        ]
        parts = tuple(part for part in typed if part is not None and "type" in part)
        if len(parts) != len(listed):
            found.problems.append(f"{where}: content with parts that are no typed objects")
            return
        if _is_deeper([*parts], _PARTS_DEPTH_MAX):
            found.problems.append(f"{where}: content that is nested too deeply")
            return
        content = "\n".join(str(p.get("text")) for p in parts if p["type"] == "text")
        if all(part["type"] == "text" for part in parts):
            parts = ()
    if content is None and role == "assistant":
        content = ""  # it asked for tools, and said nothing
    if not isinstance(content, str):
        found.problems.append(f"{where}: content is neither text nor a list of parts")
        return
    at_ms, problem = _time(_first(value, _TIMES))
    if problem is not None:
        found.problems.append(f"{where}: {problem}")
        return
    own_id = value.get("id")
    kept_id = None if own_id is None else str(own_id)[:255]
    found.messages.append(OldMessage(role, content, parts, at_ms, kept_id))


def _is_deeper(value: Json, depth_max: int) -> bool:
    """Whether a value has more levels than so many."""
    level: list[Json] = [value]
    for _ in range(depth_max):
        deeper: list[Json] = []
        for outer in level:
            if (fields := _object(outer)) is not None:
                deeper += fields.values()
            elif (listed := _list(outer)) is not None:
                deeper += listed
        level = deeper
    return bool(level)


def _first(value: Mapping[str, Json], names: Sequence[str]) -> Json:
    return next((value[name] for name in names if value.get(name) is not None), None)


def _time(value: Json) -> tuple[int | None, str | None]:
    """Unix milliseconds of a time in any usual form, and what is wrong with it."""
    if value is None:
        return None, None
    try:
        if isinstance(value, str) and not value.replace(".", "", 1).isdigit():
            at = datetime.fromisoformat(value.strip().replace(" UTC", "+00:00"))
            at = at if at.tzinfo else at.replace(tzinfo=UTC)
            return int(at.timestamp() * 1_000), None
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None, f"a time that cannot be understood: {str(value)[:64]!r}"
    at_ms = number * 1_000 if abs(number) < _SECONDS_MAX else number
    if not 0 <= at_ms < _SECONDS_MAX * 1_000:
        return None, f"a time that cannot be understood: {str(value)[:64]!r}"
    return int(at_ms), None


# SQLite


def _read_sqlite(path: Path) -> list[OldConversation]:
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as rows:
            rows.row_factory = sqlite3.Row
            return _read_tables(rows)
    except sqlite3.DatabaseError as error:
        raise Unreadable(f"SQLite cannot read it: {error}.") from None


def _read_tables(rows: sqlite3.Connection) -> list[OldConversation]:
    columns = {
        table: [row["name"] for row in rows.execute(f"PRAGMA table_info({_quoted(table)})")]
        for (table,) in rows.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    }
    said = next(
        (
            (table, owner)
            for table, names in columns.items()
            for owner in _OWNERS
            if owner in names and {*_ROLES} & {*names} and {*_TEXTS} & {*names}
        ),
        None,
    )
    if said is None:
        raise Unreadable(
            "No table of messages in it. Looked for one with a role, a text and one of "
            f"{', '.join(_OWNERS)}."
        )
    table, owner = said
    titles = _titles(rows, columns, besides=table)
    order = next(
        (name for name in ("seq", "position", *_TIMES) if name in columns[table]), "rowid"
    )
    found: dict[str, OldConversation] = {}
    words = ("SELECT rowid AS rowid_, * FROM", _quoted(table), "ORDER BY", _quoted(order))
    for row in rows.execute(" ".join((*words, ", rowid"))):
        value: dict[str, Json] = dict(row)
        source_id = str(value[owner])
        if source_id not in found:
            found[source_id] = OldConversation(source_id, title=titles.get(source_id, ""))
        content = next((name for name in _TEXTS if value.get(name) is not None), None)
        if content is not None:
            value[content] = _unpacked(value[content])
        _add(found[source_id], value, f"{table} row {value['rowid_']}")
    return list(found.values())


def _titles(
    rows: sqlite3.Connection, columns: Mapping[str, list[str]], *, besides: str
) -> dict[str, str]:
    for table, names in columns.items():
        title = next((name for name in _TITLES if name in names), None)
        if table == besides or title is None or "id" not in names:
            continue
        query = " ".join(("SELECT id,", _quoted(title), "FROM", _quoted(table)))
        listed = rows.execute(query)
        return {str(one): " ".join(str(text or "").split())[:200] for one, text in listed}
    return {}


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
