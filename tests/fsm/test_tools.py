"""Tool calls: whose ids they have, which run unasked, and those that come to nothing."""

import pytest

from fsm import CallStatus, Phase, RunTool, drafting
from tests.fsm.test_approvals import asking
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
    return Playbook(tool_policy={"mode": mode, "allowed": [*allowed]}).given(say())


def test_manual_asks_about_every_call() -> None:
    book = under("manual", "clock").when(BOTH).then(Phase.AWAITING_TOOL_APPROVAL)
    assert statuses(book) == {"clock": PENDING, "notes": PENDING}


def test_an_allow_list_runs_what_is_on_it_and_asks_about_the_rest() -> None:
    book = under("allow_list", "clock").when(BOTH)
    book.then(Phase.AWAITING_TOOL_APPROVAL, book.run_tool("a"))
    assert statuses(book) == {"clock": APPROVED, "notes": PENDING}
    assert book.call("a").approved_digest == book.call("a").digest


def test_auto_runs_the_first_round_and_asks_about_later_ones() -> None:
    book = under("auto").when(BOTH)
    book.then(Phase.EXECUTING_TOOLS, book.run_tool("a"), book.run_tool("b", index=1))
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
    book.then(Phase.EXECUTING_TOOLS, book.run_tool("b", index=1))


def test_a_failing_tool_is_the_models_business() -> None:
    book = asking("a").given(approve("a")).when(tool_failed("timeout"))
    book.then(Phase.AWAITING_LLM_RESPONSE, book.call_model())
    assert book.said[-1] == ("tool", "Error (timeout): It took too long.", "failed")
    assert book.branch[-1].metadata["code"] == "timeout"


def test_neither_calls_nor_a_draft_outlast_their_round() -> None:
    book = Playbook().given(say(), STARTED, replied("", wants("a")))
    assert drafting(book.state) is None
    book.given(approve("a"), returned())
    assert book.state.turn is not None
    assert book.state.turn.calls == ()


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
    book.then(Phase.EXECUTING_TOOLS, book.run_tool("a"))
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
