"""Tool calls: what waits for a person, what a person decides, what runs."""

import hashlib

import pytest
from pydantic import JsonValue

from fsm import ApprovalGiven, CallStatus, Phase, RunTool, call_digest, drafting
from tests.support.playbook import (
    PAUSE,
    RESUME,
    RETRY,
    STARTED,
    Playbook,
    approve,
    configure,
    deny,
    replied,
    returned,
    say,
    stop,
    tool_failed,
    tool_lost,
    wants,
)


def asking(*call_ids: str, **config: JsonValue) -> Playbook:
    """A turn whose first reply asks for these calls of the clock."""
    book = Playbook(title="", **config).given(say("What time is it?"))
    return book.given(replied("", *(wants(call_id) for call_id in call_ids)))


def run(book: Playbook, call_id: str, *, index: int = 0) -> RunTool:
    """The tool run that this event must have asked for."""
    assert book.state.turn is not None
    call, turn = book.call(call_id), book.state.turn
    return RunTool(
        effect_id=f"{book.state.version}.{index}",
        attempt=1,
        call_id=call_id,
        name=call.name,
        arguments=call.arguments,
        digest=call_digest(call.name, call.arguments),
        effect=call.effect,
        due_ms=turn.started_at_ms
        + book.state.config.limits.turn_s_max * 1_000
        + turn.waited_ms
        + (book.state.updated_at_ms - (turn.waiting_since_ms or book.state.updated_at_ms)),
    )


def test_a_digest_is_the_sha_256_of_name_and_arguments() -> None:
    assert call_digest("clock", "{}") == hashlib.sha256(b"clock\n{}").hexdigest()
    assert call_digest("clock", "{ }") != call_digest("clock", "{}")


# Approving


def test_a_call_waits_for_a_person_and_runs_nothing() -> None:
    book = asking("a").then(Phase.AWAITING_TOOL_APPROVAL)
    assert book.call("a").status is CallStatus.PENDING
    assert book.call("a").approved_digest is None
    assert book.branch[-1].tool_calls[0].id == "a"


def test_an_approved_call_runs_and_its_result_goes_to_the_model() -> None:
    book = asking("a").when(approve("a"))
    book.then(Phase.EXECUTING_TOOLS, run(book, "a"))
    book.when(returned("noon"))
    book.then(Phase.AWAITING_LLM_RESPONSE, book.call_model())
    assert book.branch[-1].role == "tool"
    assert book.branch[-1].content == "noon"
    assert book.branch[-1].tool_call_id == "a"
    assert book.branch[-1].metadata["tool"] == "clock"
    book.when(replied("It is noon.")).then(Phase.IDLE)


def test_calls_that_are_not_named_stay_pending_while_others_run() -> None:
    book = asking("a", "b").when(approve("b"))
    book.then(Phase.AWAITING_TOOL_APPROVAL, run(book, "b", index=1))
    assert book.call("a").status is CallStatus.PENDING
    book.when(returned()).then(Phase.AWAITING_TOOL_APPROVAL)
    book.when(approve("a"))
    book.then(Phase.EXECUTING_TOOLS, run(book, "a"))
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
    book.then(Phase.EXECUTING_TOOLS, run(book, "a"))
    assert book.call("b").status is CallStatus.DENIED
    assert book.branch[-1].tool_call_id == "b"


def test_edited_arguments_are_what_is_approved_and_run() -> None:
    book = asking("a")
    asked_for = book.call("a").digest
    book.when(approve(a='{"zone": "UTC"}'))
    book.then(Phase.EXECUTING_TOOLS, run(book, "a"))
    call = book.call("a")
    assert call.arguments == '{"zone": "UTC"}'
    assert call.digest == call.approved_digest == call_digest("clock", '{"zone": "UTC"}')
    assert call.digest != asked_for


def test_what_the_model_wrote_stays_in_its_message_when_arguments_are_edited() -> None:
    book = asking("a").given(approve(a='{"zone": "UTC"}'))
    assert book.branch[-1].tool_calls[0].arguments == "{}"


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


# Whose ids


def test_calls_without_an_id_or_with_one_twice_get_one_of_their_own() -> None:
    book = asking("", "x", "x", "")
    ids = [call.id for call in book.branch[-1].tool_calls]
    assert ids == ["2.0.0", "x", "2.0.2", "2.0.3"]
    assert book.state.turn is not None
    assert [call.id for call in book.state.turn.calls] == ids


def test_an_id_that_looks_like_ours_cannot_swallow_another_call() -> None:
    book = asking("2.0.1", "", "2.0.1")
    ids = [call.id for call in book.branch[-1].tool_calls]
    assert len(set(ids)) == 3


def test_a_late_second_approval_cannot_hit_a_later_call_of_the_same_name_and_id() -> None:
    # Some servers count from call_0 in every reply.
    book = asking("call_0").given(approve("call_0"), returned())
    book.given(replied("", wants("call_0", "{}", dangerous=True)))
    refused = book.refuses(approve("call_0"))
    assert refused.code == "unknown-tool-call"
    assert book.branch[-1].tool_calls[0].id == f"{book.state.version - 1}.0.0"


# Policies


def statuses(book: Playbook) -> dict[str, CallStatus]:
    """How far each call of the turn has come."""
    assert book.state.turn is not None
    return {call.name: call.status for call in book.state.turn.calls}


BOTH = replied("", wants("a", name="clock"), wants("b", name="notes"))
DANGEROUS = replied("", wants("a", name="clock", dangerous=True))
PENDING, APPROVED = CallStatus.PENDING, CallStatus.APPROVED


def under(mode: str, *allowed: str) -> Playbook:
    """A turn that waits for the model, with this tool policy."""
    policy: JsonValue = {"mode": mode, "allowed": list(allowed)}
    return Playbook(tool_policy=policy).given(say())


def test_manual_asks_about_every_call() -> None:
    book = under("manual", "clock").when(BOTH).then(Phase.AWAITING_TOOL_APPROVAL)
    assert statuses(book) == {"clock": PENDING, "notes": PENDING}


def test_an_allow_list_runs_what_is_on_it_and_asks_about_the_rest() -> None:
    book = under("allow_list", "clock").when(BOTH)
    book.then(Phase.AWAITING_TOOL_APPROVAL, run(book, "a"))
    assert statuses(book) == {"clock": APPROVED, "notes": PENDING}
    assert book.call("a").approved_digest == book.call("a").digest


def test_auto_runs_the_first_round_and_asks_about_later_ones() -> None:
    book = under("auto").when(BOTH)
    book.then(Phase.EXECUTING_TOOLS, run(book, "a"), run(book, "b", index=1))
    book.given(returned(), returned()).when(BOTH).then(Phase.AWAITING_TOOL_APPROVAL)
    assert statuses(book) == {"clock": PENDING, "notes": PENDING}


def test_auto_loop_runs_every_round() -> None:
    book = under("auto_loop").given(BOTH, returned(), returned()).when(BOTH)
    assert book.state.phase is Phase.EXECUTING_TOOLS
    assert statuses(book) == {"clock": APPROVED, "notes": APPROVED}


@pytest.mark.parametrize("mode", ["manual", "auto", "allow_list", "auto_loop"])
def test_dangerous_tools_wait_for_a_person_whatever_the_policy(mode: str) -> None:
    book = under(mode, "clock").when(DANGEROUS).then(Phase.AWAITING_TOOL_APPROVAL)
    assert statuses(book) == {"clock": PENDING}


def test_a_policy_configured_in_mid_turn_holds_from_the_next_reply_on() -> None:
    book = under("manual").given(BOTH, configure(tool_policy={"mode": "auto_loop"}))
    assert statuses(book) == {"clock": PENDING, "notes": PENDING}
    book.given(approve("a", "b"), returned(), returned()).when(BOTH)
    assert book.state.phase is Phase.EXECUTING_TOOLS


# Calls that cannot run


def test_a_call_with_a_problem_is_told_to_the_model_and_nobody_is_asked() -> None:
    book = Playbook().given(say()).when(replied("", wants("a", problem="No such tool.")))
    book.then(Phase.AWAITING_LLM_RESPONSE, book.call_model())
    assert book.said[-1] == ("tool", "No such tool.", "failed")
    assert book.branch[-1].metadata == {"tool": "clock", "code": "refused"}


def test_a_problem_of_one_call_does_not_stop_the_others() -> None:
    book = under("auto_loop").when(replied("", wants("a", problem="Bad."), wants("b")))
    book.then(Phase.EXECUTING_TOOLS, run(book, "b", index=1))


def test_a_failing_tool_is_the_models_business() -> None:
    book = asking("a").given(approve("a")).when(tool_failed("timeout"))
    book.then(Phase.AWAITING_LLM_RESPONSE, book.call_model())
    assert book.said[-1] == ("tool", "Error (timeout): It took too long.", "failed")
    assert book.branch[-1].metadata["code"] == "timeout"


# Limits


def test_after_the_last_round_the_model_is_asked_once_more_without_tools() -> None:
    book = asking("a", limits={"rounds_max": 2}).given(approve("a"), returned())
    book.given(replied("", wants("b")), approve("b")).when(returned())
    book.then(Phase.AWAITING_LLM_RESPONSE, book.call_model(with_tools=False))


def test_calls_that_a_reply_without_tools_makes_all_the_same_are_ignored() -> None:
    book = asking("a", limits={"rounds_max": 1}).given(approve("a"), returned())
    book.when(replied("Enough.", wants("b"))).then(Phase.IDLE)
    assert book.branch[-1].tool_calls == ()


def test_each_turn_has_its_rounds_anew() -> None:
    book = asking("a", limits={"rounds_max": 1}).given(approve("a"), returned(), replied())
    book.when(say())
    book.then(Phase.AWAITING_LLM_RESPONSE, book.call_model(with_tools=True))


def test_calls_over_the_limit_of_the_turn_are_refused_and_the_model_is_told() -> None:
    book = Playbook(limits={"tools_max": 2}, tool_policy={"mode": "auto_loop"})
    book.given(say(), replied("", wants("a")), returned())
    book.when(replied("", wants("b"), wants("c")))
    book.then(Phase.EXECUTING_TOOLS, run(book, "b"))
    assert book.said[-1] == ("tool", "Limit of 2 tool calls a turn.", "failed")
    assert book.branch[-1].tool_call_id == "c"


def test_a_turn_that_worked_too_long_fails_and_stops_its_tools() -> None:
    book = asking("a", "b", limits={"turn_s_max": 10}).given(approve("a", "b"))
    other = book.pending("run-tool")[1].effect_id
    book.later(seconds=10).when(returned())
    assert book.state.phase is Phase.FAILED
    assert [effect.effect_id for effect in book.effects] == [other]
    assert book.state.failure is not None
    assert book.state.failure.code == "turn_timeout"
    assert book.state.failure.retryable


def test_a_turn_may_use_all_but_the_last_moment_of_its_time() -> None:
    book = asking("a", limits={"turn_s_max": 10}).given(approve("a"))
    assert book.state.turn is not None
    due_ms = book.state.turn.started_at_ms + 10_000 + book.state.turn.waited_ms
    just = returned().model_copy(update={"at_ms": due_ms - 1})
    late = returned().model_copy(update={"at_ms": due_ms})
    assert Playbook.at(book).when(just).state.phase is Phase.AWAITING_LLM_RESPONSE
    assert Playbook.at(book).when(late).state.phase is Phase.FAILED


def test_waiting_for_a_person_does_not_count_as_work() -> None:
    book = asking("a", limits={"turn_s_max": 10}).later(seconds=1_000).when(approve("a"))
    book.then(Phase.EXECUTING_TOOLS, run(book, "a"))
    assert book.state.turn is not None
    assert book.state.turn.waited_ms == 1_001_000
    assert book.state.turn.waiting_since_ms is None
    book.when(returned())
    book.then(Phase.AWAITING_LLM_RESPONSE, book.call_model())


def test_a_tool_that_starts_while_a_person_is_still_waited_for_has_its_full_time() -> None:
    book = asking("a", "b", limits={"turn_s_max": 10}).later(seconds=1_000)
    book.when(approve("a"))
    started = book.effects[0]
    assert isinstance(started, RunTool)
    assert started.due_ms == book.now_ms + 10_000 - 1_000
    book.then(Phase.AWAITING_TOOL_APPROVAL, run(book, "a"))


def test_being_paused_does_not_count_as_work() -> None:
    book = Playbook(limits={"turn_s_max": 10}).given(say(), PAUSE).later(seconds=1_000)
    book.when(RESUME)
    book.then(Phase.AWAITING_LLM_RESPONSE, book.call_model())


def test_a_pause_while_a_person_is_waited_for_counts_once() -> None:
    book = asking("a").later(seconds=10).given(PAUSE).later(seconds=10).given(RESUME)
    book.given(approve("a"))
    assert book.state.turn is not None
    assert book.state.turn.waited_ms == 23_000


def test_work_before_the_person_came_does_count() -> None:
    book = Playbook(limits={"turn_s_max": 10}).given(say()).later(seconds=20)
    book.given(replied("", wants("a"))).when(approve("a"))
    book.then(Phase.FAILED)
    book.when(RETRY)
    book.then(Phase.EXECUTING_TOOLS, run(book, "a"))


# Workers that die


def test_a_harmless_tool_is_run_again_under_the_same_effect_id() -> None:
    book = asking("a").given(approve("a"))
    first = book.pending("run-tool")[0]
    assert isinstance(first, RunTool)
    book.when(tool_lost())
    book.then(Phase.EXECUTING_TOOLS, first.model_copy(update={"attempt": 2}))
    assert book.state.pending == {first.effect_id: book.effects[0]}


def once(*, policy: str = "manual") -> Playbook:
    """A tool declared `once` was running when its worker died."""
    book = Playbook(tool_policy={"mode": policy}).given(say())
    book.given(replied("", wants("a", effect="once")))
    return (book.given(approve("a")) if policy == "manual" else book).given(tool_lost())


@pytest.mark.parametrize("policy", ["manual", "auto_loop"])
def test_a_tool_declared_once_is_not_run_again_but_a_person_is_asked(policy: str) -> None:
    book = once(policy=policy).then(Phase.AWAITING_TOOL_APPROVAL)
    assert book.call("a").status is CallStatus.OUTCOME_UNKNOWN
    assert book.call("a").approved_digest is None
    assert book.state.pending == {}


def test_approving_a_call_of_unknown_outcome_runs_it_under_a_new_effect_id() -> None:
    book = once()
    lost_id = book.call("a").effect_id
    book.when(approve("a"))
    book.then(Phase.EXECUTING_TOOLS, run(book, "a"))
    assert book.effects[0].effect_id != lost_id


def test_denying_a_call_of_unknown_outcome_lets_the_model_go_on() -> None:
    book = once().when(deny("a"))
    book.then(Phase.AWAITING_LLM_RESPONSE, book.call_model())


def test_p11_a_tool_that_kills_its_worker_three_times_fails_the_turn() -> None:
    book = asking("a").given(approve("a"), tool_lost(), tool_lost()).when(tool_lost())
    book.then(Phase.FAILED)
    told = "clock was started 3 times, and each time its worker died."
    assert book.state.failure is not None
    assert (book.state.failure.code, book.state.failure.detail) == ("poison_action", told)
    assert book.said[-1] == ("tool", f"Error (lost): {told}", "failed")
    assert book.state.pending == {}
    book.when(RETRY)
    book.then(Phase.AWAITING_LLM_RESPONSE, book.call_model())


def test_p11_a_tool_that_kills_its_workers_stops_the_tools_beside_it() -> None:
    book = asking("a", "b").given(approve("a", "b"))
    first, second = book.state.pending
    for _ in range(2):
        book.given(tool_lost(effect_id=first))
    book.when(tool_lost(effect_id=first)).then(Phase.FAILED, stop(second))


def test_a_tool_that_kills_its_workers_while_paused_is_told_to_the_model() -> None:
    book = asking("a").given(approve("a"), PAUSE, tool_lost(), tool_lost()).when(tool_lost())
    book.then(Phase.PAUSED)
    assert book.said[-1][0::2] == ("tool", "failed")


def test_an_idempotent_tool_is_run_again_beside_a_person_being_asked() -> None:
    book = Playbook(tool_policy={"mode": "allow_list", "allowed": ["notes"]}).given(say())
    book.given(replied("", wants("a"), wants("b", name="notes", effect="idempotent")))
    book.when(tool_lost())
    assert book.state.phase is Phase.AWAITING_TOOL_APPROVAL
    assert [effect.effect_id for effect in book.effects] == ["3.1"]


def test_a_tool_lost_while_paused_waits_for_the_person_without_waking_the_turn() -> None:
    book = Playbook().given(say(), replied("", wants("a", effect="once")), approve("a"), PAUSE)
    book.when(tool_lost()).then(Phase.PAUSED)
    book.when(RESUME).then(Phase.AWAITING_TOOL_APPROVAL)


def test_a_call_beside_those_that_wait_keeps_its_own_date() -> None:
    book = Playbook().given(say())
    once = wants("a", effect="once")
    book.given(replied("", once, wants("b"), wants("c", problem="No such tool.")))
    waits_until_ms = book.call("b").expires_ms
    book.given(approve("a"), tool_lost())
    assert book.call("b").expires_ms == waits_until_ms
    assert book.call("a").expires_ms != waits_until_ms
    assert book.call("c").expires_ms is None


def test_a_call_that_was_denied_waits_for_nobody() -> None:
    book = asking("a", "b").given(deny("a"))
    assert book.call("a").expires_ms is None
    assert book.call("b").expires_ms is not None


def test_an_approval_repeated_after_its_tool_is_back_changes_nothing() -> None:
    book = asking("a", "b").given(approve("a"), returned())
    before = book.state
    assert book.when(approve("a")).state is before


def test_an_edit_of_what_does_not_exist_says_so() -> None:
    edits = approve("a").model_copy(update={"edits": {"z": "{}"}})
    assert asking("a").refuses(edits).detail == "No such tool call: z."


def test_calls_of_all_rounds_count_towards_the_limit_of_the_turn() -> None:
    book = asking("a", "b", tool_policy={"mode": "auto_loop"}, limits={"tools_max": 4})
    book.given(returned(), returned(), replied("", wants("c")), returned())
    book.given(replied("", wants("d"), wants("e")))
    assert book.call("d").status is CallStatus.APPROVED
    assert book.call("e").status is CallStatus.DONE
    assert book.branch[-1].content == "Limit of 4 tool calls a turn."


def test_neither_calls_nor_a_draft_outlast_their_round() -> None:
    book = Playbook().given(say(), STARTED, replied("", wants("a")))
    assert drafting(book.state) is None
    book.given(approve("a"), returned())
    assert book.state.turn is not None
    assert book.state.turn.calls == ()


def test_an_approval_while_paused_has_nothing_to_approve_where_the_tools_run() -> None:
    book = asking("a").given(approve("a"), PAUSE)
    assert book.refuses(approve("a")).code == "no-pending-approvals"
