"""What has crashed, what of that is said, and when it is tried again."""

import pytest
from pydantic import BaseModel, ValidationError

from storage import ContextMissing, Fenced
from tests.support.playbook import CONTEXT_ID
from workers.config import WorkerConfig
from workers.crashes import Crashes, first_cause, was_taken_over

OTHER_ID = "01890a5d-ac96-774b-bcce-b302099a8058"


@pytest.fixture
def crashes() -> Crashes:
    """Of a host whose heartbeat takes half a second."""
    return Crashes(WorkerConfig(worker_heartbeat_s=0.5, crash_pause_s_max=3.0))


def test_each_crash_in_a_row_doubles_the_pause_up_to_a_bound(crashes: Crashes) -> None:
    told = [crashes.count(CONTEXT_ID, "Bug: ", now_s=7.0) for _ in range(5)]
    assert told == [(1, 0.5), (2, 1.0), (3, 2.0), (4, 3.0), (5, 3.0)]


def test_thousands_of_crashes_make_no_number_too_large() -> None:
    crashes = Crashes(WorkerConfig(worker_heartbeat_s=0.5, crash_pause_s_max=1e9))
    pauses_s = [crashes.count(CONTEXT_ID, "Bug: ", now_s=0.0)[1] for _ in range(2_000)]
    assert pauses_s[9:12] == [256.0, 512.0, 512.0]
    assert pauses_s[-1] == 512.0


def test_a_context_is_tried_again_when_its_pause_is_over(crashes: Crashes) -> None:
    crashes.count(CONTEXT_ID, "Bug: ", now_s=7.0)
    crashes.count(OTHER_ID, "Bug: ", now_s=7.2)
    assert crashes.due(7.4) == []
    assert crashes.due(7.5) == [CONTEXT_ID]
    assert crashes.due(7.8) == [CONTEXT_ID, OTHER_ID]


def test_the_last_cause_is_told(crashes: Crashes) -> None:
    assert crashes.cause_of(CONTEXT_ID) == ""
    crashes.count(CONTEXT_ID, "Bug: one", now_s=0.0)
    crashes.count(CONTEXT_ID, "Bug: two", now_s=0.0)
    assert crashes.cause_of(CONTEXT_ID) == "Bug: two"


def test_what_waits_for_the_store_is_tried_at_once_and_keeps_its_count(
    crashes: Crashes,
) -> None:
    crashes.wait(OTHER_ID)
    assert (crashes.due(0.0), crashes.cause_of(OTHER_ID)) == ([OTHER_ID], "")
    assert crashes.count(OTHER_ID, "Bug: ", now_s=0.0) == (1, 0.5)
    crashes.wait(OTHER_ID)
    assert crashes.due(0.4) == []
    assert crashes.count(OTHER_ID, "Bug: ", now_s=0.0) == (2, 1.0)


def test_what_was_taken_over_begins_anew(crashes: Crashes) -> None:
    crashes.count(CONTEXT_ID, "Bug: ", now_s=7.0)
    crashes.begin_anew(CONTEXT_ID, now_s=7.1)
    assert (crashes.due(7.0), crashes.due(7.1)) == ([], [CONTEXT_ID])
    assert crashes.cause_of(CONTEXT_ID) == ""
    assert crashes.count(CONTEXT_ID, "Bug: ", now_s=7.1) == (1, 0.5)


def test_what_is_forgotten_is_not_tried_again(crashes: Crashes) -> None:
    crashes.wait(CONTEXT_ID)
    crashes.wait(OTHER_ID)
    crashes.forget(CONTEXT_ID)
    crashes.forget(CONTEXT_ID)
    assert (len(crashes), list(crashes), crashes.due(9.0)) == (1, [OTHER_ID], [OTHER_ID])
    assert CONTEXT_ID not in crashes
    assert OTHER_ID in crashes


def test_the_cause_is_the_first_of_all_that_a_group_holds() -> None:
    crash = ExceptionGroup("", [ExceptionGroup("", [ValueError("no"), KeyError("k")])])
    assert first_cause(crash) == "ValueError: no"
    assert first_cause(KeyError("k")) == "KeyError: 'k'"


def test_the_cause_does_not_show_what_was_said() -> None:
    class Said(BaseModel):
        words: int
        more: int

    with pytest.raises(ValidationError) as raised:
        Said.model_validate({"words": "my secret", "more": "my other"})
    assert first_cause(raised.value) == "('words',): int_parsing; ('more',): int_parsing"


@pytest.mark.parametrize(
    ("crash", "told"),
    [
        (Fenced(CONTEXT_ID), True),
        (ContextMissing(CONTEXT_ID), False),
        (ValueError(), False),
        (ExceptionGroup("", [ValueError(), ContextMissing(CONTEXT_ID)]), True),
        (ExceptionGroup("", [ExceptionGroup("", [Fenced(CONTEXT_ID)])]), True),
        (ExceptionGroup("", [ValueError()]), False),
    ],
)
def test_a_context_was_taken_over_where_the_store_says_so(crash: Exception, told: bool) -> None:
    assert was_taken_over(crash) == told
