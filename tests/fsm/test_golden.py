"""Logs as they were once written mean for ever what they meant then."""

from collections import Counter
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from fsm import AnyEvent, ContextState, Event, decode_event, replay
from tests.fsm.goldens import GOLDEN, HISTORIES, event_schema, log_lines, schemas, write_missing
from tests.fsm.invariants import check

LOGS = sorted(GOLDEN.glob("*.jsonl"))


def events(log: Path) -> list[Event]:
    """The events of a log, read as a store reads them."""
    return [decode_event(line) for line in log.read_bytes().splitlines()]


@pytest.mark.parametrize("log", LOGS, ids=lambda log: log.stem)
def test_a_golden_log_leads_to_the_same_state_byte_for_byte(log: Path) -> None:
    expected = log.with_suffix(".state.json").read_text(encoding="utf-8")
    assert replay(events(log)).model_dump_json(indent=1) + "\n" == expected
    assert (
        ContextState.model_validate_json(expected).model_dump_json(indent=1) + "\n" == expected
    )


@pytest.mark.parametrize("log", LOGS, ids=lambda log: log.stem)
def test_every_beginning_of_a_golden_log_is_the_state_at_that_version(log: Path) -> None:
    history = events(log)
    for version in range(1, len(history) + 1):
        state = replay(history[:version])
        assert state.version == version
        assert replay(history[version:], state) == replay(history)
        check(state)


@pytest.mark.parametrize("log", LOGS, ids=lambda log: log.stem)
def test_a_golden_event_survives_being_written_again(log: Path) -> None:
    for event in events(log):
        assert decode_event(event.model_dump_json()) == event


@pytest.mark.parametrize("name", HISTORIES)
def test_every_history_has_its_golden_log(name: str) -> None:
    assert (GOLDEN / f"{name}.jsonl").exists(), "run python -m tests.fsm.goldens"
    assert (GOLDEN / f"{name}.state.json").exists(), "run python -m tests.fsm.goldens"


def test_the_golden_logs_hold_every_event_there_is() -> None:
    kinds = Counter(type(event) for log in LOGS for event in events(log))
    assert set(kinds) == set(get_args(get_args(AnyEvent)[0]))


def test_events_look_as_the_newest_schema_says() -> None:
    """A change that old logs survive is written down; one that they do not, is upcast."""
    assert schemas()[-1].read_text() == event_schema(), (
        "An event has changed. If old logs still read the same (a new event, a new field with"
        " a default), run python -m tests.fsm.goldens. Else write an upcaster first."
    )


def test_writing_golden_files_never_touches_one_that_is_there(tmp_path: Path) -> None:
    kept = tmp_path / "queue.jsonl"
    other = log_lines(HISTORIES["denial"]())
    kept.write_text(other)
    written = write_missing(tmp_path)
    assert len(written) == 2 * len(HISTORIES) - 1
    assert kept.read_text() == other
    assert write_missing(tmp_path) == []


# Upcasters


def renamed_field(entry: dict[str, Any]) -> dict[str, Any]:
    """Titles were once called names."""
    if entry["kind"] == "context-renamed" and "name" in entry:
        return {**{k: v for k, v in entry.items() if k != "name"}, "title": entry["name"]}
    return entry


def renamed_kind(entry: dict[str, Any]) -> dict[str, Any]:
    """Once, a context was labelled."""
    if entry["kind"] == "context-labelled":
        return {**entry, "kind": "context-renamed"}
    return entry


def test_an_old_event_is_read_with_todays_meaning() -> None:
    old = '{"kind":"context-renamed","at_ms":1,"name":"Old"}'
    with pytest.raises(ValidationError):
        decode_event(old)
    event = decode_event(old, [renamed_field])
    assert event.model_dump() == {"at_ms": 1, "kind": "context-renamed", "title": "Old"}


def test_upcasters_work_oldest_first_each_on_what_the_one_before_it_returned() -> None:
    older = b'{"kind":"context-labelled","at_ms":1,"name":"Old"}'
    event = decode_event(older, [renamed_kind, renamed_field])
    assert event.model_dump() == {"at_ms": 1, "kind": "context-renamed", "title": "Old"}
    with pytest.raises(ValidationError):
        decode_event(older, [renamed_field, renamed_kind])


@pytest.mark.parametrize("log", LOGS, ids=lambda log: log.stem)
def test_an_upcaster_leaves_every_other_event_as_it_is(log: Path) -> None:
    for line in log.read_bytes().splitlines():
        assert decode_event(line, [renamed_kind, renamed_field]) == decode_event(line)
