import orjson
import pytest
from pydantic import JsonValue

from workers.models.failures import failure_in_stream, failure_of_status
from workers.models.protocol import ModelError

KEY = "secret-key-of-the-owner"


def failure(
    status: int, error: object = None, *, headers: dict[str, str] | None = None
) -> ModelError:
    body = b"<html>" if error is None else orjson.dumps({"error": error})
    return failure_of_status(
        status, headers or {}, body, api_key=KEY, retry_after_ms_max=60_000
    )


@pytest.mark.parametrize(
    ("status", "code", "retryable"),
    [
        (302, "bad_response", False),
        (400, "bad_request", False),
        (401, "unauthorized", False),
        (402, "bad_request", False),
        (403, "unauthorized", False),
        (404, "not_found", False),
        (408, "timeout", True),
        (409, "overloaded", True),
        (413, "content_too_long", False),
        (422, "bad_request", False),
        (429, "rate_limited", True),
        (500, "overloaded", True),
        (502, "overloaded", True),
        (503, "overloaded", True),
        (529, "overloaded", True),
    ],
)
def test_the_status_decides(status: int, code: str, retryable: bool) -> None:
    told = failure(status)
    assert (told.code, told.retryable, told.retry_after_ms) == (code, retryable, None)
    assert f"(HTTP {status})" in told.detail


def test_a_conversation_that_is_too_long_is_told_from_other_bad_requests() -> None:
    assert failure(400, {"code": "context_length_exceeded"}).code == "content_too_long"


def test_a_spent_quota_is_not_retried() -> None:
    told = failure(429, {"code": "insufficient_quota", "type": "insufficient_quota"})
    assert (told.code, told.retryable) == ("rate_limited", False)


@pytest.mark.parametrize(
    ("headers", "wait_ms"),
    [
        ({"Retry-After": "2"}, 2_000),
        ({"Retry-After": " 1.5 "}, 1_500),
        ({"Retry-After": "2", "retry-after-ms": "150"}, 150),
        ({"Retry-After": "999999999"}, 60_000),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "nan"}, None),
        (
            {
                "Retry-After": "Wed, 21 Oct 2015 07:28:30 GMT",
                "Date": "Wed, 21 Oct 2015 07:28:00 GMT",
            },
            30_000,
        ),
        (
            {
                "Retry-After": "Wed, 21 Oct 2015 07:27:00 GMT",
                "Date": "Wed, 21 Oct 2015 07:28:00 GMT",
            },
            0,
        ),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:30 GMT"}, None),
        ({"Retry-After": "Wed, 99 Oct 2015", "Date": "Wed, 21 Oct 2015 07:28:00 GMT"}, None),
        (
            {
                "Retry-After": f"Wed, 21 Oct 2015{10**30} 07:28:00 GMT",
                "Date": "Wed, 21 Oct 2015 07:28:00 GMT",
            },
            None,
        ),
        (
            {
                "Retry-After": "21 Oct 2015 07:28:30 -0000",
                "Date": "Wed, 21 Oct 2015 07:28:00 GMT",
            },
            None,
        ),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(
    headers: dict[str, str], wait_ms: int | None
) -> None:
    assert failure(429, headers=headers).retry_after_ms == wait_ms


def test_the_servers_own_words_explain_and_hold_no_secret() -> None:
    message = f"Bad thing\nwith {KEY}, sk-proj-1234 and Bearer abc and {'a1' * 20}\x1b[0m"
    detail = failure(400, {"message": message}).detail
    assert detail == (
        "The model server does not accept this request (HTTP 400). It says: Bad thing with "
        "[removed], [removed] and [removed] and [removed][0m"
    )
    assert len(failure(400, {"message": "long " * 10_000}).detail) < 400


def test_what_a_server_says_of_a_key_is_not_passed_on() -> None:
    assert "hello" not in failure(401, {"message": "hello"}).detail


@pytest.mark.parametrize(
    ("error", "code", "retryable"),
    [
        ({"code": 429, "message": "x"}, "rate_limited", True),
        ({"code": 503}, "overloaded", True),
        ({"type": "overloaded_error"}, "overloaded", True),
        ({"type": "server_error", "code": None}, "overloaded", True),
        (
            {"code": "context_length_exceeded", "type": "invalid_request_error"},
            "content_too_long",
            False,
        ),
        ({"type": "invalid_request_error"}, "bad_request", False),
        ({"message": "?"}, "bad_response", True),
        ("words", "bad_response", True),
        (7, "bad_response", True),
    ],
)
def test_an_error_inside_a_stream_is_told_by_its_words(
    error: JsonValue, code: str, retryable: bool
) -> None:
    told = failure_in_stream(error, api_key=KEY)
    assert (told.code, told.retryable) == (code, retryable)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b'"x"', b'{"detail": [1]}', b'{"error": 5}']
)
def test_any_body_is_survived(body: bytes) -> None:
    told = failure_of_status(400, {}, body, api_key=None, retry_after_ms_max=1)
    assert told.code == "bad_request"
