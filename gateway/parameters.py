"""What an address carries: ids in its path, parameters in its query.

Ids go into names of keys, so only well-formed ones get as far as the store. A parameter
that is unknown or comes twice is refused: it asks for something that would not happen.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from aiohttp import web
from pydantic import JsonValue

from gateway.problems import Problem

ID_PATTERN: Final = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_ID: Final = re.compile(ID_PATTERN)
_RESTART_ID: Final = re.compile("r-[0-9a-f]{16}")
MESSAGE_ID_SCHEMA: Final[Mapping[str, JsonValue]] = {"type": "string", "maxLength": 255}
_NUMBER_PATTERN: Final = "[1-9][0-9]{0,14}"
_ACTION_ID: Final = re.compile(f"({ID_PATTERN})[.]({_NUMBER_PATTERN})[.]({_NUMBER_PATTERN})")
_LETTER_ID: Final = re.compile(f"{ID_PATTERN}[.]{_NUMBER_PATTERN}([.]webhook)?")


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query parameter that an address knows."""

    name: str
    schema: Mapping[str, JsonValue]
    description: str
    is_list: bool = False
    """Whether it may come several times."""


WHOLE_MAX: Final = 999_999_999
WHOLE: Final[Mapping[str, JsonValue]] = {
    "type": "integer",
    "minimum": 0,
    "maximum": WHOLE_MAX,
}
ID_SCHEMA: Final[Mapping[str, JsonValue]] = {"type": "string", "pattern": f"^{ID_PATTERN}$"}
ACTION_ID_SCHEMA: Final[Mapping[str, JsonValue]] = {
    "type": "string",
    "pattern": f"^{ID_PATTERN}[.]{_NUMBER_PATTERN}[.]{_NUMBER_PATTERN}$",
}
SESSION_PATTERN: Final = "[A-Za-z0-9._~:@+-]{1,200}"
"""What goes into an address without being escaped."""
_SESSION_ID: Final = re.compile(SESSION_PATTERN)
SESSION_ID_SCHEMA: Final[Mapping[str, JsonValue]] = {
    "type": "string",
    "pattern": f"^{SESSION_PATTERN}$",
}
_NOTE_PATTERN: Final = f"{ID_PATTERN}(:[0-9]{{1,15}}[.][0-9]{{1,15}})?"
"""Id of an uploaded note, or of one that the notes tool has written."""
_NOTE_ID: Final = re.compile(_NOTE_PATTERN)
NOTE_ID_SCHEMA: Final[Mapping[str, JsonValue]] = {
    "type": "string",
    "pattern": f"^{_NOTE_PATTERN}$",
}
_NOTE_PLACE: Final = re.compile(f"([0-9]{{1,15}})[.]({_NOTE_PATTERN})")
"""When a note was written, in milliseconds, and its id: there also without the note."""
LETTER_ID_SCHEMA: Final[Mapping[str, JsonValue]] = {
    "type": "string",
    "pattern": f"^{ID_PATTERN}[.][1-9][0-9]{{0,14}}([.]webhook)?$",
}
RESTART_ID_SCHEMA: Final[Mapping[str, JsonValue]] = {
    "type": "string",
    "pattern": "^r-[0-9a-f]{16}$",
}
CURSOR_PATTERN: Final = "[0-9]{1,15}[.][0-9]{1,15}[.][0-9]{1,15}"
CURSOR_SCHEMA: Final[Mapping[str, JsonValue]] = {
    "type": "string",
    "pattern": f"^{CURSOR_PATTERN}$",
}

MESSAGES: Final = Parameter(
    "messages", WHOLE, "How many of the last messages to show; all if it is not given."
)
LIMIT: Final = Parameter(
    "limit",
    {"type": "integer", "minimum": 1, "maximum": WHOLE_MAX, "default": 50},
    "Entries a page, up to the server's `list_max` (200).",
)
AFTER_ID: Final = Parameter("after", ID_SCHEMA, "Begin behind this context (see Link).")
BRANCH: Final = Parameter(
    "branch", {"type": "string"}, "Name of a branch; the active one, if it is not given."
)
AFTER_SEQ: Final = Parameter("after_seq", WHOLE, "Only what stands behind this number.")
BEFORE_SEQ: Final = Parameter(
    "before_seq", WHOLE, "Only what stands before this number: the page that ends there."
)
AFTER_VERSION: Final = Parameter("after", WHOLE, "Only events behind this version.")
AFTER_RECORD: Final = Parameter("after", WHOLE, "Only records behind this number.")
AT_VERSION: Final = Parameter(
    "at_version",
    {"type": "integer", "minimum": 1, "maximum": WHOLE_MAX},
    "The state as it was at this version.",
)
AFTER_NOTE: Final = Parameter(
    "after",
    {"type": "string", "pattern": f"^{_NOTE_PLACE.pattern}$"},
    "Begin behind this note (see Link).",
)
STATES: Final = Parameter(
    "states", {"enum": ["true", "false"], "type": "string"}, "Show the cursor of each, too."
)
AFTER_CURSOR: Final = Parameter(
    "after", CURSOR_SCHEMA, "Only the events since this cursor, instead of the state."
)
RESUME: Final = Parameter(
    "after",
    {"type": "string"},
    "Cursor to go on from, for clients that cannot send Last-Event-ID.",
)


KINDS_SHOWN: Final = Parameter(
    "kinds",
    {"type": "string"},
    "Only events of these kinds, separated by commas (and `snapshot` and `reset`).",
)
DELTAS: Final = Parameter(
    "deltas", {"enum": ["on", "off"], "type": "string"}, "`off`: no text while it arrives."
)
TICKET: Final = Parameter(
    "ticket",
    {"type": "string"},
    "Stands for the header Authorization, once: browsers cannot set it here.",
)
DAYS_MAX: Final = 36_500
DAYS: Final = Parameter(
    "days",
    {"type": "integer", "minimum": 1, "maximum": DAYS_MAX},
    "As if `retention_days` were this; the server's own, if it is not given.",
)
CONTEXTS: Final = Parameter(
    "contexts",
    {"type": "string"},
    "Ids, separated by commas; each perhaps with the cursor to go on from, `<id>:<cursor>`.",
)


def check_query(request: web.Request, known: Sequence[Parameter]) -> None:
    """Refuse parameters that the address does not know, and those that come twice.

    Raises:
        Problem: invalid-parameter.
    """
    by_name = {parameter.name: parameter for parameter in known}
    for name in request.query:
        if name not in by_name:
            takes = f"it takes {', '.join(by_name)}" if by_name else "it takes none"
            raise Problem("invalid-parameter", f"Unknown parameter {name[:64]!r}: {takes}.")
        if not by_name[name].is_list and len(request.query.getall(name)) > 1:
            raise Problem("invalid-parameter", f"Send {name} once.")


def read_whole(request: web.Request, name: str) -> int | None:
    """A parameter that is a whole number, or None where it is not given.

    Raises:
        Problem: invalid-parameter.
    """
    raw = request.query.get(name)
    if raw is None:
        return None
    if not (raw.isascii() and raw.isdecimal() and len(raw) <= len(str(WHOLE_MAX))):
        raise Problem("invalid-parameter", f"{name} takes a whole number, as {name}=50.")
    return int(raw)


def read_flag(request: web.Request, name: str) -> bool:
    """A parameter that is `true` or `false`; false where it is not given.

    Raises:
        Problem: invalid-parameter.
    """
    raw = request.query.get(name, "false")
    if raw not in {"true", "false"}:
        raise Problem("invalid-parameter", f"{name} takes true or false.")
    return raw == "true"


def read_id(request: web.Request, name: str) -> str | None:
    """A parameter that is the id of a context, or None where it is not given.

    Raises:
        Problem: invalid-parameter.
    """
    raw = request.query.get(name)
    if raw is not None and _ID.fullmatch(raw) is None:
        raise Problem("invalid-parameter", f"{name} takes the id of a context.")
    return raw


def read_note_place(request: web.Request, name: str) -> tuple[int, str] | None:
    """A parameter that is a note's time (ms) and id, or None where it is not given.

    Raises:
        Problem: invalid-parameter.
    """
    raw = request.query.get(name)
    if raw is None:
        return None
    found = _NOTE_PLACE.fullmatch(raw)
    if found is None:
        raise Problem("invalid-parameter", f"{name} takes what a page's Link says.")
    return int(found[1]), found[2]


def restart_id_of(request: web.Request) -> str:
    """The id of a restart in the path.

    Raises:
        Problem: not-found.
    """
    unknown = "There is no such restart, or it was long ago."
    return _path_part(request, "restart_id", _RESTART_ID, unknown)


def session_id_of(request: web.Request) -> str:
    """The id of a session in the path.

    Raises:
        Problem: not-found.
    """
    return _path_part(request, "session_id", _SESSION_ID, "Session not found")


def note_id_of(request: web.Request) -> str:
    """The id of a note in the path.

    Raises:
        Problem: not-found.
    """
    return _path_part(request, "note_id", _NOTE_ID, "Note not found")


def letter_id_of(request: web.Request) -> str:
    """The id of a dead letter in the path.

    Raises:
        Problem: not-found.
    """
    return _path_part(request, "letter_id", _LETTER_ID, "There is no such dead letter.")


def context_id_of(request: web.Request) -> str:
    """The id of a context in the path.

    Raises:
        Problem: not-found, as for an id that does not exist.
    """
    return _path_part(request, "id", _ID, "Context not found")


def _path_part(request: web.Request, name: str, pattern: re.Pattern[str], unknown: str) -> str:
    part = request.match_info[name]
    if pattern.fullmatch(part) is None:
        raise Problem("not-found", unknown)
    return part


def action_of(request: web.Request) -> tuple[str, str, int]:
    """Context, epoch and number of the action whose id is in the path.

    Raises:
        Problem: not-found.
    """
    found = _ACTION_ID.fullmatch(request.match_info["action_id"])
    if found is None:
        raise Problem("not-found", "Action not found")
    return found[1], found[2], int(found[3])
