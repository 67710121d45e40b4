"""The checker of policies accepts what each promises, and nothing else."""

from itertools import permutations
from typing import Final, get_args

import pytest

from fsm import CallModel, RunTool, SendPolicy
from tests.support.playbook import Playbook, abandoned, replied, returned, say, wants
from tests.verify.histories import CONTEXT, act
from verify.promises import check_policy
from verify.records import Log, Operation, Outcome

POLICIES: Final[tuple[SendPolicy, ...]] = get_args(SendPolicy)


def log_of(book: Playbook) -> Log:
    """The log of a playbook."""
    events = tuple(event.model_dump(mode="json") for event in book.log)
    return Log(context_id=CONTEXT, events=events)


def raced(policy: SendPolicy) -> Playbook:
    """Three messages of a policy come while a tool runs; then everything comes to rest."""
    book = Playbook(tool_policy={"mode": "auto_loop"})
    book.given(say("m0", policy="enqueue"), replied("", wants("a")))
    for number in range(1, 4):
        said = say(f"m{number}", policy=policy)
        if policy == "reject":
            assert book.refuses(said).code == "turn-running"
        else:
            book.given(said)
    return brought_to_rest(book)


def brought_to_rest(book: Playbook) -> Playbook:
    """Tools and the model answer until nothing is pending."""
    while book.state.pending:
        (effect,) = book.state.pending.values()
        assert isinstance(effect, CallModel | RunTool)
        book.given(returned() if isinstance(effect, RunTool) else replied("Well."))
    return book


def checks(policy: SendPolicy, log: Log, *operations: Operation) -> set[str]:
    """Names of the checks that refuse a log."""
    return {violation.check for violation in check_policy(policy, operations, log)}


@pytest.mark.parametrize("policy", POLICIES)
def test_what_a_policy_promises_is_accepted(policy: SendPolicy) -> None:
    assert checks(policy, log_of(raced(policy))) == set()


@pytest.mark.parametrize(
    ("policy", "done"), [pair for pair in permutations(POLICIES, 2) if pair[1] != "reject"]
)
def test_what_another_policy_does_is_refused(policy: SendPolicy, done: SendPolicy) -> None:
    assert checks(policy, log_of(raced(done)))


@pytest.mark.parametrize("policy", POLICIES)
def test_a_message_at_rest_begins_a_turn_whatever_its_policy(policy: SendPolicy) -> None:
    book = brought_to_rest(raced(policy).given(say("m4", policy=policy)))
    assert checks(policy, log_of(book)) == set()
    unanswered = raced(policy).given(say("m4", policy=policy))
    assert "unanswered" in checks(policy, log_of(unanswered))


def test_a_message_that_is_taken_twice_is_refused() -> None:
    book = brought_to_rest(raced("enqueue").given(say("m3", policy="enqueue")))
    assert "duplicated" in checks("enqueue", log_of(book))


def test_a_refusal_needs_a_turn_that_ran() -> None:
    # Given a turn that ran from version 2 to 6, and a rename before and after
    log = log_of(raced("reject"))
    before, after = act("rename", 1, 2, 2), act("rename", 8, 9, 6)
    refused = act("send_message", 3, 4, None, code="turn-running", outcome=Outcome.REFUSED)
    assert checks("reject", log, before, refused, after) == set()
    # When another rename shows that it was over, then there was no reason
    over = act("rename", 2.2, 2.8, 6)
    assert checks("reject", log, before, over, refused, after) == {"refused-at-rest"}


def test_nothing_is_promised_of_a_turn_that_was_given_up() -> None:
    book = Playbook().given(say("m0", policy="enqueue"), abandoned())
    assert checks("enqueue", log_of(book)) == set()
