"""Contexts at the end of a run: none is stuck, and each message has its answer."""

from dataclasses import replace

import pytest

from tests.verify.histories import final
from verify.finals import check_answers, check_rest
from verify.records import Final, Message

QUIET = final(("a", "b"), 9)


def cut_to(count: int) -> Final:
    """The quiet context with only its first messages."""
    return replace(QUIET, messages=QUIET.messages[:count])


@pytest.mark.parametrize(
    "end",
    [
        QUIET,
        final((), 1),
        replace(QUIET, status="failed"),
        replace(QUIET, status="awaiting_tool_approval", queued=("c",)),
        replace(QUIET, status="streaming_llm_response", found=False),
    ],
)
def test_what_rests_or_waits_for_a_person_or_is_gone_is_not_stuck(end: Final) -> None:
    assert check_rest([end]) == ()


@pytest.mark.parametrize(
    "end",
    [
        replace(QUIET, status="streaming_llm_response"),
        replace(QUIET, status="transient_failure"),
        replace(QUIET, queued=("c",)),
        replace(QUIET, draft="some"),
    ],
)
def test_what_neither_rests_nor_waits_for_a_person_is_stuck(end: Final) -> None:
    [violation] = check_rest([QUIET, end])
    assert violation.check == "stuck"
    assert violation.context_id == end.context_id


@pytest.mark.parametrize(
    ("end", "check"),
    [
        (cut_to(3), "unanswered"),
        (cut_to(1), "unanswered"),
        (replace(QUIET, messages=(*QUIET.messages, QUIET.messages[1])), "answered-twice"),
        (
            replace(QUIET, messages=(QUIET.messages[0], *cut_to(2).messages)),
            "unanswered",
        ),
        (
            replace(
                QUIET, messages=tuple(replace(m, status="failed") for m in cut_to(2).messages)
            ),
            "not-whole",
        ),
    ],
)
def test_each_message_has_exactly_one_whole_answer(end: Final, check: str) -> None:
    assert check_answers([QUIET, cut_to(0), cut_to(2)]) == ()
    assert {violation.check for violation in check_answers([end])} == {check}


def test_messages_of_tools_and_the_system_answer_nobody() -> None:
    asked, answer = cut_to(2).messages
    between = (
        Message(id="t", role="tool", content="12"),
        Message(id="s", role="system", content=""),
    )
    assert check_answers([replace(QUIET, messages=(asked, *between, answer))]) == ()
