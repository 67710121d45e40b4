"""Records: what they take from answers, and what a loss explains."""

import orjson
import pytest

from tests.verify.histories import CONTEXT, read, send
from verify.findings import ITEMS_MAX, TEXT_CHARS_MAX, VIOLATIONS_MAX, Findings
from verify.records import Cursor, Final, Json, Losses, Message, Read, number_of

STATE: Json = {
    "id": CONTEXT,
    "status": "streaming_llm_response",
    "version": 7,
    "cursor": "100.7.4",
    "messages": [
        {"id": "u1", "role": "user", "content": "a", "status": "complete"},
        {"id": "r1", "role": "assistant", "content": "re a", "status": "cancelled"},
        {"id": "u2", "role": "user", "content": "b", "status": "complete"},
    ],
    "draft": {"message_id": "r2", "n": 4, "text": "re b", "attempt": 1},
    "queue": [{"id": "u3", "content": "c", "policy": "enqueue", "client_message_id": None}],
}


def test_a_read_takes_from_a_state_what_users_have_said_and_the_draft() -> None:
    seen = Read.of(STATE, client="ann", called_s=1, returned_s=2)
    assert seen.said == ("a", "b", "c")
    assert (seen.epoch, seen.version, seen.n, seen.draft) == ("100", 7, 4, "re b")
    assert (seen.context_id, seen.status) == (CONTEXT, "streaming_llm_response")


def test_a_final_takes_all_messages_in_order() -> None:
    end = Final.of({**STATE, "draft": None})
    assert end.messages[1] == Message(
        id="r1", role="assistant", content="re a", status="cancelled"
    )
    assert (end.said, end.draft, end.version) == (("a", "b", "c"), None, 7)


@pytest.mark.parametrize("text", ["100.7.4", '"100.7.4"', 'W/"100.7.4"'])
def test_a_cursor_is_read_from_ids_and_etags(text: str) -> None:
    assert Cursor.parse(text) == Cursor("100", 7, 4)


def test_an_action_told_in_two_epochs_has_one_number() -> None:
    assert number_of("c1.100.7") == number_of("c1.200.7") == "c1.7"


@pytest.mark.parametrize("text", ["", "100", "100.7", "100.7.x", "1.2.3.4"])
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"unpack|invalid literal"):
        Cursor.parse(text)


@pytest.mark.parametrize(
    ("losses", "excused"),
    [
        (Losses(), False),
        (Losses(at_s=(10,)), False),
        (Losses(at_s=(10,), data_lost=True), True),
        (Losses(at_s=(10,), data_lost=True, window_s=2), False),
        (Losses(at_s=(6, 10), data_lost=True, window_s=2), True),
        (Losses(at_s=(4,), data_lost=True), False),
    ],
)
def test_what_was_acknowledged_at_5_s_may_be_gone(losses: Losses, *, excused: bool) -> None:
    assert losses.excuse(5) is excused


@pytest.mark.parametrize(
    ("at_s", "unexplained"),
    [
        ((), ("101", "102")),
        ((5,), ("102",)),
        ((5, 15), ()),
        ((12, 15), ("101",)),
        ((5, 25), ("102",)),
    ],
)
def test_each_new_epoch_needs_a_loss_before_it(
    at_s: tuple[float, ...], unexplained: tuple[str, ...]
) -> None:
    first_seen_s = {"102": 20.0, "99": 0.0, "101": 10.0}
    assert Losses(at_s=at_s).unexplained(first_seen_s) == unexplained


def test_evidence_is_json_and_small() -> None:
    # Given more violations of one check than anybody reads
    found = Findings()
    said = tuple(f"{number} " + "long " * 100 for number in range(100))
    for number in range(10):
        shown = {"first": send("a", 0, 1), "second": read(said, 0, 1, number)}
        found.add("stale-read", CONTEXT, "Too old.", **shown, at=Cursor("1", 2, 3))
    # When they are gathered
    violations = found.violations()
    # Then some are kept, each small, without the fields that say nothing
    assert len(violations) == VIOLATIONS_MAX
    evidence = violations[0].evidence
    assert len(orjson.dumps(evidence)) < 2 * ITEMS_MAX * TEXT_CHARS_MAX
    assert len(evidence["second"]["messages"]) == ITEMS_MAX + 1
    assert evidence["at"] == ["1", 2, 3]
    assert "code" not in evidence["first"]
    assert evidence["first"]["content"] == "a"
