"""Each problem of the server is an exception that says what it says."""

import pytest
from pydantic import JsonValue

from contextd_client.problems import (
    IllegalInPhase,
    InvalidRequest,
    KeyReused,
    MergeConflict,
    NoPendingApprovals,
    NotFound,
    OverQuota,
    Problem,
    QueueFull,
    Refused,
    TurnRunning,
    Unauthorized,
    Unavailable,
    VersionMismatch,
    problem_of,
)
from contextd_client.views import ProblemDocument
from gateway.problem_types import TYPES
from gateway.problems import Problem as Raised, problem_body
from gateway.views import ProblemDocument as Answered

KINDS = {
    "unauthorized": Unauthorized,
    "forbidden": Unauthorized,
    "origin-not-allowed": Unauthorized,
    "not-found": NotFound,
    "gone": NotFound,
    "key-reused": KeyReused,
    "quota-full": OverQuota,
    "quota-exceeded": OverQuota,
    "illegal-in-phase": IllegalInPhase,
    "no-pending-approvals": NoPendingApprovals,
    "version-mismatch": VersionMismatch,
    "turn-running": TurnRunning,
    "queue-full": QueueFull,
    "merge-conflict": MergeConflict,
    "internal": Problem,
    "unreadable": Problem,
    "busy": Problem,
    "no-supervisor": Problem,
}
BY_STATUS = {409: Problem} | dict.fromkeys((429, 502, 503, 504), Unavailable)
"""What the machine refuses is told by the phase that comes with it, see below."""


def raised(name: str, **extra: JsonValue) -> Problem:
    """What the client makes of a problem as the gateway answers it."""
    status, body = problem_body(Raised(name, "Do this.", extra), "r1")
    return problem_of(status, body, retry_after="", tries=2)


@pytest.mark.parametrize("name", TYPES)
def test_every_problem_type_has_its_kind(name: str) -> None:
    problem = raised(name)
    assert type(problem) is KINDS.get(name, BY_STATUS.get(TYPES[name].status, InvalidRequest))
    assert (problem.type, problem.status) == (name, TYPES[name].status)
    assert (problem.title, problem.detail) == (TYPES[name].title, "Do this.")
    assert (problem.request_id, problem.tries) == ("r1", 2)
    assert str(problem) == f"Do this. ({TYPES[name].status})"


def test_what_the_machine_refuses_says_where_it_is_and_what_it_takes() -> None:
    problem = raised(
        "unknown-turn", phase="idle", allowed_actions=["send_message", "pause"], version=7
    )
    assert type(problem) is Refused
    assert (problem.phase, problem.version) == ("idle", 7)
    assert problem.allowed_actions == ("send_message", "pause")


def test_what_there_is_too_much_of_is_told() -> None:
    problem = raised("quota-exceeded", quota="tokens", limit=100, used=120, retry_after_s=9)
    assert (problem.quota, problem.limit, problem.used) == ("tokens", 100, 120)
    assert (problem.passes, problem.retry_after_s) == (True, 9)
    assert not raised("quota-full", quota="contexts", limit=1, used=1).passes


def test_conflicts_of_a_merge_are_told() -> None:
    conflict: JsonValue = {"kind": "alternatives", "ours": "a", "theirs": "b"}
    (told,) = raised("merge-conflict", phase="idle", conflicts=[conflict]).conflicts
    assert (told.kind, told.ours, told.theirs) == ("alternatives", "a", "b")


def test_a_problem_of_somebody_on_the_way_is_told_by_its_status() -> None:
    problem = problem_of(502, b"<html>Bad gateway</html>", retry_after="", tries=1)
    assert type(problem) is Unavailable
    assert (problem.type, str(problem)) == ("about:blank", "no reason given (502)")


def test_a_problem_without_a_detail_is_told_by_its_title() -> None:
    problem = problem_of(500, b'{"title":"Out of order"}', retry_after="", tries=1)
    assert str(problem) == "Out of order (500)"


def test_what_is_left_of_a_log_and_how_the_model_failed_are_told() -> None:
    raw = b'{"type":"/problems/gone","first_version":7,"code":"overloaded"}'
    problem = problem_of(410, raw, retry_after="", tries=1)
    assert (problem.first_version, problem.code) == (7, "overloaded")


@pytest.mark.parametrize(
    ("retry_after", "waits_s"),
    [("7", 7.0), ("\u0667", 0.0), ("\u00b2", 0.0), ("-7", 0.0), ("1.5", 0.0)],
)
def test_a_wait_is_a_whole_number_of_seconds(retry_after: str, waits_s: float) -> None:
    problem = problem_of(503, b"", retry_after=retry_after, tries=1)
    assert problem.retry_after_s == waits_s


def test_the_document_has_the_fields_that_the_gateway_answers() -> None:
    assert ProblemDocument.model_fields.keys() == Answered.model_fields.keys()
