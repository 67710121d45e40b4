"""What a person decides on the calls that the model asks for."""

import hashlib

import pytest
from pydantic import JsonValue

from fsm import ApprovalGiven, CallStatus, Phase, call_digest
from tests.support.playbook import (
    PAUSE,
    Playbook,
    approve,
    deny,
    replied,
    returned,
    say,
    wants,
)


def asking(*call_ids: str, **config: JsonValue) -> Playbook:
    """A turn whose first reply asks for these calls of the clock."""
    book = Playbook(title="", **config).given(say("What time is it?"))
    return book.given(replied("", *(wants(call_id) for call_id in call_ids)))


def test_a_digest_is_the_sha_256_of_name_and_arguments() -> None:
    assert call_digest("clock", "{}") == hashlib.sha256(b"clock\n{}").hexdigest()
    assert call_digest("clock", "{ }") != call_digest("clock", "{}")


def test_a_call_waits_for_a_person_and_runs_nothing() -> None:
    book = asking("a").then(Phase.AWAITING_TOOL_APPROVAL)
    assert book.call("a").status is CallStatus.PENDING
    assert book.call("a").approved_digest is None
    assert book.branch[-1].tool_calls[0].id == "a"


def test_an_approved_call_runs_and_its_result_goes_to_the_model() -> None:
    book = asking("a").when(approve("a"))
    book.then(Phase.EXECUTING_TOOLS, book.run_tool("a"))
    book.when(returned("noon"))
    book.then(Phase.AWAITING_LLM_RESPONSE, book.call_model())
    assert book.branch[-1].role == "tool"
    assert book.branch[-1].content == "noon"
    assert book.branch[-1].tool_call_id == "a"
    assert book.branch[-1].metadata["tool"] == "clock"
    book.when(replied("It is noon.")).then(Phase.IDLE)


def test_calls_that_are_not_named_stay_pending_while_others_run() -> None:
    book = asking("a", "b").when(approve("b"))
    book.then(Phase.AWAITING_TOOL_APPROVAL, book.run_tool("b", index=1))
    assert book.call("a").status is CallStatus.PENDING
    book.when(returned()).then(Phase.AWAITING_TOOL_APPROVAL)
    book.when(approve("a"))
    book.then(Phase.EXECUTING_TOOLS, book.run_tool("a"))
    book.when(returned())
    book.then(Phase.AWAITING_LLM_RESPONSE, book.call_model())


def test_the_model_goes_on_only_when_the_last_tool_is_back() -> None:
    book = asking("a", "b").given(approve("a", "b")).when(returned("1"))
    book.then(Phase.EXECUTING_TOOLS)
    assert book.call("a").status is CallStatus.DONE
    assert book.call("b").status is CallStatus.APPROVED
    book.when(returned("2"))
    book.then(Phase.AWAITING_LLM_RESPONSE, book.call_model())


def test_a_denied_call_is_told_to_the_model_with_the_reason() -> None:
    book = asking("a").when(deny("a", "Too costly."))
    book.then(Phase.AWAITING_LLM_RESPONSE, book.call_model())
    told = book.branch[-1]
    assert told.content == "The person denied this call. Too costly."
    assert told.metadata == {"tool": "clock", "code": "denied"}
    assert (told.tool_call_id, told.status) == ("a", "failed")


def test_denying_without_a_reason_leaves_no_blank_behind() -> None:
    assert asking("a").given(deny("a")).branch[-1].content == "The person denied this call."


def test_one_action_may_approve_one_call_and_deny_another() -> None:
    both = approve("a").model_copy(update={"deny": deny("b", "No.").deny})
    book = asking("a", "b").when(both)
    book.then(Phase.EXECUTING_TOOLS, book.run_tool("a"))
    assert book.call("b").status is CallStatus.DENIED
    assert book.branch[-1].tool_call_id == "b"


def test_edited_arguments_are_what_is_approved_and_run() -> None:
    book = asking("a")
    asked_for = book.call("a").digest
    book.when(approve(a='{"zone": "UTC"}'))
    book.then(Phase.EXECUTING_TOOLS, book.run_tool("a"))
    call = book.call("a")
    assert call.arguments == '{"zone": "UTC"}'
    assert call.digest == call.approved_digest == call_digest("clock", '{"zone": "UTC"}')
    assert call.digest != asked_for


def test_what_the_model_wrote_stays_in_its_message_when_arguments_are_edited() -> None:
    book = asking("a").given(approve(a='{"zone": "UTC"}'))
    assert book.branch[-1].tool_calls[0].arguments == "{}"


def test_a_call_that_was_denied_waits_for_nobody() -> None:
    book = asking("a", "b").given(deny("a"))
    assert book.call("a").expires_ms is None
    assert book.call("b").expires_ms is not None


# Approvals that make no sense


def test_approving_what_does_not_exist_is_refused_and_names_it() -> None:
    book = asking("a")
    refused = book.refuses(approve("a", "zz", "yy"))
    assert (refused.code, refused.detail) == (
        "unknown-tool-call",
        "No such tool call: yy, zz.",
    )
    assert book.refuses(deny("zz")).code == "unknown-tool-call"
    assert book.refuses(approve(zz="{}")).code == "unknown-tool-call"


def test_an_edit_of_what_does_not_exist_says_so() -> None:
    edits = approve("a").model_copy(update={"edits": {"z": "{}"}})
    assert asking("a").refuses(edits).detail == "No such tool call: z."


def test_a_call_cannot_be_approved_and_denied_at_once() -> None:
    both = approve("a").model_copy(update={"deny": deny("a").deny})
    refused = asking("a").refuses(both)
    assert refused.detail == "Approve or deny, not both: a."


def test_calls_that_wait_in_a_paused_context_are_decided_on_once_it_goes_on() -> None:
    book = asking("a").given(PAUSE)
    refused = book.refuses(approve("a"))
    assert (refused.code, refused.detail) == (
        "illegal-in-phase",
        "approve_tools is not possible while paused.",
    )
    assert "resume" in refused.allowed_actions


def test_only_approved_calls_can_be_edited() -> None:
    edited = approve(a="{}").model_copy(update={"tool_call_ids": ("b",)})
    refused = asking("a", "b").refuses(edited)
    assert refused.code == "unknown-tool-call"
    assert refused.detail == "Edited, but not approved: a. Name it in tool_call_ids, too."


@pytest.mark.parametrize("decision", [approve("a"), approve(a='{"zone": "UTC"}'), deny("a")])
def test_deciding_the_same_twice_changes_nothing_at_all(decision: ApprovalGiven) -> None:
    book = asking("a", "b").given(decision)
    before = book.state
    book.when(decision).then(Phase.AWAITING_TOOL_APPROVAL)
    assert book.state is before


def test_an_approval_repeated_while_its_tool_runs_changes_nothing() -> None:
    book = asking("a").given(approve("a"))
    before = book.state
    assert book.when(approve("a")).state is before


def test_an_approval_repeated_after_its_tool_is_back_changes_nothing() -> None:
    book = asking("a", "b").given(approve("a"), returned())
    before = book.state
    assert book.when(approve("a")).state is before


def test_a_decision_about_a_call_that_runs_cannot_be_changed() -> None:
    book = asking("a").given(approve("a"))
    for late in (deny("a"), approve(a='{"zone": "UTC"}')):
        refused = book.refuses(late)
        assert refused.code == "no-pending-approvals"
        assert refused.detail == "No pending tool approvals"
    assert asking("a", "b").given(deny("a")).refuses(approve("a")).code == (
        "no-pending-approvals"
    )


def test_decisions_of_which_one_contradicts_an_earlier_one_are_refused_together() -> None:
    for earlier, late in (
        (deny("a"), approve("a", "b")),
        (approve("a"), approve(b="{}", a='{"zone": "UTC"}')),
        (approve("a"), approve("b").model_copy(update={"deny": deny("a").deny})),
    ):
        book = asking("a", "b").given(earlier)
        before = book.state
        refused = book.refuses(late)
        assert refused.code == "no-pending-approvals"
        assert refused.detail == "Decided otherwise already: a. Nothing else was decided."
        assert book.state is before
    agreeing = asking("a", "b").given(approve("a")).when(approve("a", "b"))
    assert agreeing.call("b").status is CallStatus.APPROVED


def test_approving_with_nothing_to_approve_says_so_in_the_words_of_the_contract() -> None:
    books = (
        Playbook(),
        Playbook().given(say()),
        Playbook().given(PAUSE),
        asking("a").given(approve("a"), returned()),
    )
    for book in books:
        refused = book.refuses(approve("a"))
        assert refused.code == "no-pending-approvals"
        assert refused.detail == "No pending tool approvals"
        assert "approve_tools" not in refused.allowed_actions


def test_an_approval_while_paused_has_nothing_to_approve_where_the_tools_run() -> None:
    book = asking("a").given(approve("a"), PAUSE)
    assert book.refuses(approve("a")).code == "no-pending-approvals"
