"""Only what is well-formed gets from an address, or a header, to the store."""

from collections.abc import Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from gateway.parameters import letter_id_of, note_id_of, restart_id_of, session_id_of
from gateway.problems import Problem
from gateway.resume import parse_cursor

CONTEXT = "01890a5d-ac96-774b-bcce-b302099a8057"
RESTART, LETTER, NOTE, SESSION = "restart_id", "letter_id", "note_id", "session_id"
READS: dict[str, Callable[[web.Request], str]] = {
    RESTART: restart_id_of,
    LETTER: letter_id_of,
    NOTE: note_id_of,
    SESSION: session_id_of,
}


def read(name: str, given: str) -> str:
    return READS[name](make_mocked_request("GET", "/", match_info={name: given}))


@pytest.mark.parametrize(
    ("name", "given"),
    [
        (RESTART, "r-0123456789abcdef"),
        (LETTER, f"{CONTEXT}.7"),
        (LETTER, f"{CONTEXT}.{10**14}.webhook"),
        (NOTE, CONTEXT),
        (NOTE, f"{CONTEXT}:12.3"),
        (SESSION, "a"),
        (SESSION, "A.b_c~d:e@f+g-9" + "x" * 185),
    ],
)
def test_an_id_that_is_well_formed_is_taken(name: str, given: str) -> None:
    assert read(name, given) == given


@pytest.mark.parametrize(
    ("name", "given"),
    [
        *((name, given) for name in READS for given in ("", "*", "a b", "{x}", "\n", "é")),
        *((RESTART, given) for given in ("r-0123456789abcde", "r-0123456789abcdef0")),
        *((RESTART, given) for given in ("0123456789abcdef", "r-0123456789ABCDEF")),
        *((LETTER, f"{CONTEXT}{end}") for end in ("", ".", ".0", ".01", f".{10**15}")),
        *((LETTER, f"{CONTEXT}{end}") for end in (".7.webhooks", ".7.", ":7")),
        *((NOTE, f"{CONTEXT}{end}") for end in (":12", ":12.", ":.3", f":{10**15}.3", ".1")),
        (SESSION, "x" * 201),
    ],
)
def test_an_id_that_is_not_is_not_found(name: str, given: str) -> None:
    with pytest.raises(Problem) as refused:
        read(name, given)
    assert refused.value.type == "not-found"


@pytest.mark.parametrize("text", ["1.2.3", '"1.2.3"', 'W/"1.2.3"', " 1.2.3 "])
def test_a_cursor_is_read_from_an_etag_too(text: str) -> None:
    assert parse_cursor(text) == ("1", 2, 3)


@pytest.mark.parametrize(
    "text", ["", "1.2", "1.2.3.4", "1.2.x", "1.-2.3", "1..3", "1.2.\u0663", f"1.{10**15}.3"]
)
def test_what_is_no_cursor_is_none(text: str) -> None:
    assert parse_cursor(text) is None
