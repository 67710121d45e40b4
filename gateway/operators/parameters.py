"""What the addresses of operators take in their queries."""

import re
from collections.abc import Mapping, Sequence
from typing import Final, TypeVar, get_args

from aiohttp import web
from pydantic import JsonValue

from fsm import Phase
from gateway.parameters import (
    ID_PATTERN,
    ID_SCHEMA,
    WHOLE,
    Parameter,
    read_flag,
    read_id,
    read_whole,
)
from gateway.problems import Problem
from storage import UNREADABLE, LetterKind, Place, Sought, Trouble, Wanted

_PLACE_PATTERN: Final = f"([0-9]{{1,15}})[.]({ID_PATTERN}([.][1-9][0-9]{{0,14}}([.]webhook)?)?)"
_PLACE: Final = re.compile(_PLACE_PATTERN)
T = TypeVar("T", bound=str)
STATUSES: Final = (*(phase.value for phase in Phase), UNREADABLE)
_FLAG: Final[Mapping[str, JsonValue]] = {"enum": ["true", "false"], "type": "string"}
_TEXT_MAX: Final = 1_000

AFTER_PLACE: Final = Parameter(
    "after",
    {"type": "string", "pattern": f"^{_PLACE_PATTERN}$"},
    "Where the page before has ended (see Link).",
)
STATUS: Final = Parameter(
    "status",
    {"type": "string", "enum": [*STATUSES]},
    "Only those with this status.",
)
OWNER: Final = Parameter("owner", {"type": "string"}, "Only this owner's.")
OLDER_S: Final = Parameter(
    "older_s", WHOLE, "Only those to which something is to happen for so many seconds."
)
STUCK: Final = Parameter(
    "stuck",
    _FLAG,
    "Only those that no living worker has for `stuck_after_s`, though something is to happen.",
)
SLOW: Final = Parameter(
    "slow",
    _FLAG,
    "Only those whose worker lives and commits nothing for `slow_after_s`, though something is "
    "to happen; with `stuck`, both.",
)
ALL: Final = Parameter(
    "all", _FLAG, "Also those that rest; page by page through all there are."
)
CONTEXT: Final = Parameter("context", ID_SCHEMA, "Only those of this context.")
KIND: Final = Parameter(
    "kind", {"type": "string", "enum": list(get_args(LetterKind))}, "Only those of this kind."
)
CAUSE: Final = Parameter(
    "cause", {"type": "string", "maxLength": _TEXT_MAX}, "Only those whose cause says this."
)


def read_place(request: web.Request) -> Place | None:
    """Where the page before has ended.

    Raises:
        Problem: invalid-parameter.
    """
    raw = request.query.get(AFTER_PLACE.name)
    if raw is None:
        return None
    found = _PLACE.fullmatch(raw)
    if found is None:
        raise Problem("invalid-parameter", "after takes what the Link of a page has.")
    return int(found[1]), found[2]


def write_place(place: Place) -> str:
    """A place, as a page's Link has it."""
    return f"{place[0]}.{place[1]}"


def read_wanted(request: web.Request) -> Wanted:
    """Which contexts are asked for.

    Raises:
        Problem: invalid-parameter.
    """
    flags: dict[Trouble, Parameter] = {"stuck": STUCK, "slow": SLOW}
    return Wanted(
        everything=read_flag(request, ALL.name),
        owner=request.query.get(OWNER.name),
        status=_one_of(request, STATUS.name, STATUSES),
        waits_s_min=read_whole(request, OLDER_S.name) or 0,
        troubles=[
            trouble
            for trouble, parameter in flags.items()
            if read_flag(request, parameter.name)
        ],
    )


def read_sought(request: web.Request) -> Sought:
    """Which dead letters are asked for.

    Raises:
        Problem: invalid-parameter.
    """
    kinds: list[LetterKind] = ["action", "turn", "webhook"]
    cause = request.query.get(CAUSE.name)
    if cause is not None and len(cause) > _TEXT_MAX:
        raise Problem("invalid-parameter", f"cause takes up to {_TEXT_MAX} characters.")
    return Sought(
        context_id=read_id(request, CONTEXT.name),
        kind=_one_of(request, KIND.name, kinds),
        cause=cause,
    )


def _one_of(request: web.Request, name: str, known: Sequence[T]) -> T | None:
    raw = request.query.get(name)
    for one in known:
        if raw == one:
            return one
    if raw is not None:
        raise Problem("invalid-parameter", f"{name} takes one of {', '.join(known)}.")
    return None
