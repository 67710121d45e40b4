"""Copies of a log that was compacted are copies of the log that it was."""

import pytest

from fsm import (
    MS_MAX,
    MS_MIN,
    Branch,
    BrokenLog,
    ContextState,
    MessageReceived,
    Phase,
    copy_log,
    replay,
    rests,
    transition,
)
from fsm.lineage import VERSION_MAX, CopiedLog
from tests.fsm.test_asking import called
from tests.support.playbook import (
    BEGAN_MS,
    DELETE,
    PAUSE,
    STARTED,
    TITLE,
    Playbook,
    failed,
    rename,
    replied,
    say,
    wants,
)

COPY_ID = "01932c5e-7a10-7c3b-9d2e-5f6071829399"
THIRD_ID = "01932c5e-7a10-7c3b-9d2e-5f607182939a"


def talk() -> Playbook:
    """A conversation with messages that the machine has given ids to."""
    book = Playbook().given(say("One"), STARTED, replied("First"), rename("Tea"))
    return book.given(say("Two"), STARTED, replied("Second"))


def copy(book: Playbook, *, after: int = 0) -> CopiedLog:
    """A copy of a log, compacted at a version unless that is 0."""
    return copy_log(
        book.log[after:],
        context_id=COPY_ID,
        owner="eve",
        at_ms=BEGAN_MS,
        base=replay(book.log[:after]) if after else None,
    )


def resting_versions(book: Playbook) -> list[int]:
    """Versions at which a context can have been passivated, hence compacted."""
    versions = range(1, len(book.log) + 1)
    return [version for version in versions if rests(replay(book.log[:version]))]


def test_a_copy_is_the_same_whether_the_log_was_compacted_and_where() -> None:
    book = talk()
    whole = copy(book)
    assert resting_versions(book)[-1] == len(book.log)
    for after in resting_versions(book):
        compacted = copy(book, after=after)
        assert compacted.state == whole.state
        assert compacted.base is not None
        assert (compacted.base.id, compacted.base.owner) == (COPY_ID, "eve")
        assert replay(compacted.events, compacted.base) == whole.state


def test_a_copy_of_a_compacted_copy_remembers_both_origins() -> None:
    book = talk()
    first = copy(book, after=len(book.log))
    again = copy_log([], context_id="another", owner="ada", at_ms=BEGAN_MS, base=first.state)
    assert [origin.context_id for origin in again.state.origins] == [book.state.id, COPY_ID]
    assert again.state.messages == book.state.messages


def test_a_copy_of_an_early_version_of_a_copy_has_no_more_of_the_first_than_that() -> None:
    book = talk()
    first = copy(book)
    early = copy_log(first.events[:4], context_id=THIRD_ID, owner="ada", at_ms=BEGAN_MS)
    base = replay(first.events[:4])
    whole = copy_log([], context_id=THIRD_ID, owner="ada", at_ms=BEGAN_MS, base=base)
    for again in (early, whole):
        assert [origin.version for origin in again.state.origins] == [4, 4]
        said = MessageReceived(at_ms=BEGAN_MS, content="Three")
        ours = transition(again.state, said).state.messages[-1].id
        assert ours[-12:] == f"{int(THIRD_ID[-12:], 16) ^ 5:012x}"


def test_a_message_of_the_very_last_version_that_is_copied_keeps_its_id() -> None:
    book = Playbook().given(PAUSE, say("next"))
    assert copy(book).state.queue == book.state.queue


def test_each_message_of_a_copy_of_a_copy_has_the_id_that_it_was_given() -> None:
    book = talk()
    first = copy(book)
    book.log, book.state = [*first.events], first.state
    book.given(say("Three"), replied())
    again = copy_log(book.log, context_id=THIRD_ID, owner="ada", at_ms=BEGAN_MS)
    assert again.state.messages == book.state.messages


def test_a_copy_has_the_labels_of_what_it_was_copied_from() -> None:
    book = talk()
    book.log[0] = book.log[0].model_copy(update={"labels": {"on": "tea"}})
    assert copy(book).state.labels == {"on": "tea"}


def test_a_copy_that_is_to_have_the_title_that_it_has_anyway_is_not_renamed() -> None:
    log = talk().log
    named = copy_log(log, context_id=COPY_ID, owner="eve", at_ms=BEGAN_MS, title="Tea")
    assert len(named.events) == len(log)


def test_a_title_that_is_being_made_is_not_waited_for_in_a_copy() -> None:
    copied = copy(talk().given(TITLE)).state
    assert (copied.title, copied.pending) == ("Tea", {})


def test_a_title_that_was_given_while_another_is_made_stays_in_a_copy() -> None:
    assert copy(talk().given(TITLE, rename("Coffee"))).state.title == "Coffee"


def test_a_tool_that_still_runs_in_a_paused_context_does_not_run_in_a_copy() -> None:
    running = Playbook(tool_policy={"mode": "auto_loop"}).given(say(), replied("", wants("a")))
    copied = copy(running.given(PAUSE)).state
    assert (copied.phase, copied.pending) == (Phase.PAUSED, {})


@pytest.mark.parametrize("paused", [False, True])
def test_nothing_that_waits_comes_along_where_its_turn_would_begin(*, paused: bool) -> None:
    book = Playbook().given(say(), say("next"), say("then", not_before_ms=MS_MAX))
    log = book.given(*[PAUSE] * paused).log
    copied = copy_log(
        log, context_id=COPY_ID, owner="eve", at_ms=BEGAN_MS, keeps_waiting=False
    ).state
    assert (copied.queue, copied.scheduled) == ((), ())


def test_messages_that_wait_come_along_unless_their_turn_would_begin() -> None:
    running = Playbook(tool_policy={"mode": "auto_loop"}).given(say(), replied("", wants("a")))
    assert copy(running.given(say("next"))).state.queue == ()
    paused = copy(running.given(PAUSE)).state
    assert paused.phase is Phase.PAUSED
    assert [said.content for said in paused.queue] == ["next"]


def refused(state: ContextState) -> str:
    """Why a base is none."""
    with pytest.raises(BrokenLog) as broken:
        copy_log([], context_id=COPY_ID, owner="eve", at_ms=BEGAN_MS, base=state)
    return str(broken.value)


def test_what_the_machine_could_not_go_on_with_is_no_base() -> None:
    book = talk()
    at_work = replay(book.log[:2])
    assert refused(at_work) == "base: a log begins with a context that rests"
    waiting = book.state.model_copy(update={"phase": Phase.AWAITING_ANSWER, "turn": None})
    assert refused(waiting) == "base: nobody knows which turn waits"
    backwards = book.state.model_copy(update={"messages": book.state.messages[::-1]})
    assert refused(backwards) == "base: message 1 has no place in the tree"
    lighter = book.state.model_copy(update={"tokens": 0})
    assert refused(lighter) == "base: its messages have another number of tokens"
    assert refused(talk().given(DELETE).state) == "base: a log begins with a context that rests"
    *before, last = book.state.messages
    for misplaced in ({"parent_id": "nobody"}, {"id": before[0].id}, {"seq": 7}):
        tree = (*before, last.model_copy(update=misplaced))
        why = refused(book.state.model_copy(update={"messages": tree}))
        assert why == f"base: message {len(tree)} has no place in the tree"
    for field in ("replaces", "copy_of"):
        for named in (last.id, "nobody"):
            circle = (*before, last.model_copy(update={field: named}))
            why = refused(book.state.model_copy(update={"messages": circle}))
            assert why == f"base: message {len(circle)} stands for one that was not there"
    elsewhere = book.state.model_copy(update={"active_branch": "side"})
    assert refused(elsewhere) == "base: there is no active branch"
    headless = book.state.model_copy(update={"branches": {"main": Branch(head="nobody")}})
    assert refused(headless) == "base: a branch leads to a message that is not there"
    asked = called().state
    assert asked.turn is not None
    slow = asked.turn.model_copy(update={"waited_ms": asked.updated_at_ms})
    why = refused(asked.model_copy(update={"turn": slow}))
    assert why == "base: its turn has waited for longer than it takes"
    for version in (0, VERSION_MAX + 1):
        why = refused(book.state.model_copy(update={"version": version}))
        assert why.startswith("base: its version is not between")


def test_a_base_may_have_waited_all_the_time_and_may_be_of_the_last_version() -> None:
    asked = called().state
    assert asked.turn is not None
    waited_ms = asked.updated_at_ms - asked.turn.started_at_ms
    slow = asked.turn.model_copy(update={"waited_ms": waited_ms})
    base = asked.model_copy(update={"turn": slow, "version": VERSION_MAX})
    copied = copy_log([], context_id=COPY_ID, owner="eve", at_ms=BEGAN_MS, base=base)
    assert copied.state.version == VERSION_MAX


def test_a_log_that_leads_out_of_every_range_is_refused() -> None:
    *log, failure = Playbook().given(say("Hello"), failed(retryable=True)).log
    endless = failure.model_copy(update={"retry_after_ms": MS_MAX - MS_MIN})
    with pytest.raises(BrokenLog, match="it leads out of every range"):
        copy_log([*log, endless], context_id=COPY_ID, owner="eve", at_ms=BEGAN_MS)


def test_a_log_without_a_beginning_is_refused() -> None:
    with pytest.raises(BrokenLog, match="event 1"):
        copy_log([], context_id=COPY_ID, owner="eve", at_ms=BEGAN_MS)
    events = [*talk().log, replied()]
    with pytest.raises(BrokenLog, match=f"event {len(events)}"):
        copy_log(events, context_id=COPY_ID, owner="eve", at_ms=BEGAN_MS)


def test_a_log_that_ends_with_a_deletion_is_not_copied() -> None:
    log = talk().given(DELETE).log
    with pytest.raises(BrokenLog, match=f"event {len(log)}: the context was deleted"):
        copy_log(log, context_id=COPY_ID, owner="eve", at_ms=BEGAN_MS)


def test_a_log_with_an_event_that_changes_nothing_is_refused() -> None:
    # Versions behind it would not be the numbers of their events.
    log = talk().log
    events = [*log, rename("Tea").model_copy(update={"at_ms": BEGAN_MS})]
    with pytest.raises(BrokenLog, match=f"event {len(events)}: it changes nothing"):
        copy_log(events, context_id=COPY_ID, owner="eve", at_ms=BEGAN_MS)
