"""How often a turn may ask, how many calls it may make, and how long it may work."""

from fsm import CallStatus, Phase, RunTool
from tests.fsm.test_approvals import asking
from tests.support.playbook import (
    PAUSE,
    RESUME,
    RETRY,
    Playbook,
    approve,
    replied,
    returned,
    say,
    wants,
)


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
    book.then(Phase.EXECUTING_TOOLS, book.run_tool("b"))
    assert book.said[-1] == ("tool", "Limit of 2 tool calls a turn.", "failed")
    assert book.branch[-1].tool_call_id == "c"


def test_calls_of_all_rounds_count_towards_the_limit_of_the_turn() -> None:
    book = asking("a", "b", tool_policy={"mode": "auto_loop"}, limits={"tools_max": 4})
    book.given(returned(), returned(), replied("", wants("c")), returned())
    book.given(replied("", wants("d"), wants("e")))
    assert book.call("d").status is CallStatus.APPROVED
    assert book.call("e").status is CallStatus.DONE
    assert book.branch[-1].content == "Limit of 4 tool calls a turn."


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
    book.then(Phase.EXECUTING_TOOLS, book.run_tool("a"))
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
    book.then(Phase.AWAITING_TOOL_APPROVAL, book.run_tool("a"))


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
    book.then(Phase.EXECUTING_TOOLS, book.run_tool("a"))
