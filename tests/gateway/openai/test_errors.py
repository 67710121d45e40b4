"""Problems in the words that OpenAI's clients look for."""

import orjson
import pytest

from fsm import Failure
from gateway.openai.errors import render_error, speaks_openai
from gateway.problems import Problem, unanswered


@pytest.mark.parametrize(
    ("problem", "status", "kind", "code"),
    [
        (Problem("invalid-body", "x"), 400, "invalid_request_error", "invalid-body"),
        (Problem("not-found", "x"), 404, "invalid_request_error", "not-found"),
        (Problem("gone", "x"), 404, "invalid_request_error", "not-found"),
        (Problem("illegal-in-phase", "x"), 409, "conflict_error", "illegal-in-phase"),
        (Problem("rate-limited", "x"), 429, "rate_limit_error", "rate_limit_exceeded"),
        (Problem("quota-exceeded", "x"), 429, "rate_limit_error", "insufficient_quota"),
        (Problem("mailbox-full", "x"), 429, "rate_limit_error", "mailbox-full"),
        (Problem("internal", "x"), 500, "server_error", "internal"),
        (Problem("draining", "x"), 503, "server_error", "draining"),
    ],
)
def test_a_problem_is_an_error_of_its_kind(
    problem: Problem, status: int, kind: str, code: str
) -> None:
    answer = render_error(problem, "r1")
    assert isinstance(answer.body, bytes)
    assert answer.status == status
    assert orjson.loads(answer.body) == {
        "error": {"message": "x", "type": kind, "param": None, "code": code}
    }


@pytest.mark.parametrize(
    ("code", "status", "told"),
    [
        ("not_found", 404, "model_not_found"),
        ("content_too_long", 400, "context_length_exceeded"),
        ("bad_request", 400, "bad_request"),
        ("rate_limited", 429, "rate_limit_exceeded"),
        ("overloaded", 503, "overloaded"),
    ],
)
def test_how_the_model_has_failed_is_told(code: str, status: int, told: str) -> None:
    answer = render_error(unanswered(Failure(code=code, detail="x", retryable=False)), "r1")
    assert isinstance(answer.body, bytes)
    assert (answer.status, orjson.loads(answer.body)["error"]["code"]) == (status, told)


def test_headers_and_the_request_s_number_are_there() -> None:
    headers = {"x-should-retry": "false"}
    problem = Problem("rate-limited", "x", {"retry_after_s": 3, "param": "n"}, headers)
    answer = render_error(problem, "r1")
    assert isinstance(answer.body, bytes)
    assert answer.headers["Retry-After"] == "3"
    assert answer.headers["x-should-retry"] == "false"
    assert answer.headers["x-request-id"] == "r1"
    assert orjson.loads(answer.body)["error"]["param"] == "n"
    assert "Retry-After" not in render_error(Problem("not-found", "x"), "r1").headers


@pytest.mark.parametrize(
    ("path", "is_openai"),
    [
        ("/v1/responses", True),
        ("/v1/contextsx", True),
        ("/v1/contexts", False),
        ("/v1/contexts/x/state", False),
        ("/api/contexts", False),
    ],
)
def test_addresses_that_are_aliases_of_native_ones_speak_natively(
    path: str, is_openai: bool
) -> None:
    assert speaks_openai(path) is is_openai
