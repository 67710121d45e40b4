"""The linearizability checker: against a brute force, and by hand."""

import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, combinations, permutations

import pytest
from hypothesis import given, settings, strategies as st

from tests.verify.histories import EPOCH, act, final, read, send, serial_history
from verify.linearizability import (
    Entry,
    Explained,
    Undecided,
    arrange,
    check_linearizability,
    linearize,
    smallest_stuck,
)
from verify.models import ContextModel, Record
from verify.records import Final, Operation, Outcome, Read

RNG = st.randoms(use_true_random=False)


def refused(
    operations: Sequence[Operation], reads: Sequence[Read] = (), end: Final | None = None
) -> bool:
    """Whether a history is refused."""
    return bool(check_linearizability(operations, reads, [end] if end else []))


def test_operations_that_overlap_may_take_effect_in_either_order() -> None:
    sends = [send("a", 0, 5, 4), send("b", 1, 4, 2)]
    assert not refused(sends, [read(("b",), 2, 3, 3)], final(("b", "a"), 6))


@pytest.mark.parametrize("said", [("a",), ("a", "b"), ("b", "a")])
def test_an_unknown_outcome_takes_effect_at_any_time_or_never(said: tuple[str, ...]) -> None:
    sends = [send("a", 2, 3, 5), send("b", 0, None)]
    assert not refused(sends, [], final(said, 9))


def test_an_accepted_message_may_be_applied_after_a_read_that_lacks_it() -> None:
    sends = [send("a", 0, 1)]
    assert not refused(sends, [read((), 2, 3, 1)], final(("a",), 4))


def test_a_repeated_request_may_be_answered_long_after_its_effect() -> None:
    sends = [
        send("a", 0, None, key="k"),
        send("b", 2, 3, 5),
        send("a", 6, 7, 2, key="k", client="eve"),
    ]
    assert not refused(sends, [read(("a", "b"), 4, 5, 6)], final(("a", "b"), 9))


def test_an_effect_that_only_its_repetition_was_told_of_may_be_the_first_tries() -> None:
    sends = [send("a", 0, None, key="k"), send("b", 2, 3, 5), send("a", 6, 7, 2, key="k")]
    assert not refused(sends)


def test_a_read_that_says_that_it_may_be_stale_is_left_out() -> None:
    stale = read((), 2, 3, 1, stale=True)
    assert not refused([send("a", 0, 1, 2)], [stale])
    assert refused([send("a", 0, 1, 2)], [replace(stale, stale=False)])


def test_a_turn_that_nobody_saw_can_be_cancelled() -> None:
    assert not refused([send("a", 0, None), act("cancel", 2, 3, 4)])


def test_what_is_decided_the_same_twice_is_harmless() -> None:
    twice = [
        act("approve_tools", start, start + 1, 5, tool_call_ids=("t",)) for start in (0, 2)
    ]
    assert not refused(twice, [], final((), 9))


def test_a_pause_lasts_until_it_is_resumed() -> None:
    operations = [act("pause", 0, 1, 2), act("resume", 4, 5, 4), act("pause", 8, None, None)]
    reads = [read((), 2, 3, 3, status="paused"), read((), 6, 7, 5)]
    assert not refused(operations, reads, final((), 9, status="paused"))
    assert not refused(operations, reads, final((), 9))


def test_a_deleted_context_is_not_found() -> None:
    operations = [send("a", 0, 1, 2), act("delete", 2, 5, 4)]
    reads = [read(("a",), 2, 3, 3), read((), 4, 5, 0, found=False)]
    assert not refused(operations, reads, final((), 0, found=False))


WRONG: dict[str, tuple[list[Operation], list[Read], Final | None]] = {
    "an applied message is not there": ([send("a", 0, 1, 2)], [], final((), 6)),
    "an accepted message is not there": ([send("a", 0, 1)], [], final((), 6)),
    "a message is there twice": ([send("a", 0, 1, 2)], [], final(("a", "a"), 6)),
    "a message of unknown outcome is there twice": (
        [send("a", 0, None)],
        [],
        final(("a", "a"), 6),
    ),
    "nobody sent it": ([], [], final(("a",), 6)),
    "it was refused": ([send("a", 0, 1, outcome=Outcome.REFUSED)], [], final(("a",), 6)),
    "accepted ones change places": (
        [send("a", 0, 1), send("b", 2, 3)],
        [],
        final(("b", "a"), 6),
    ),
    "a later one has overtaken an accepted one": (
        [send("a", 0, 1), send("b", 2, 3, 5)],
        [read(("b",), 4, 5, 6)],
        final(("b", "a"), 9),
    ),
    "a read is stale": (
        [send("a", 0, 1, 2)],
        [read((), 2, 3, 2)],
        final(("a",), 6),
    ),
    "two reads disagree on the order": (
        [send("a", 0, 9, 2), send("b", 0, 9, 3)],
        [read(("a",), 1, 2, 2), read(("b",), 3, 4, 3)],
        None,
    ),
    "a message flickers": (
        [send("a", 0, None)],
        [read(("a",), 1, 2, 2), read((), 3, 4, 2)],
        None,
    ),
    "versions go back": ([], [read((), 0, 1, 5), read((), 2, 3, 4)], None),
    "versions go back behind a repeated answer": (
        [send("a", 0, 1, 2, key="k"), send("a", 4, 5, 2, key="k")],
        [read(("a",), 2, 3, 6), read(("a",), 6, 7, 4)],
        None,
    ),
    "two have one version": (
        [send("a", 0, 9, 2), send("b", 0, 9, 2)],
        [],
        final(("a", "b"), 6),
    ),
    "one key has two effects": (
        [send("a", 0, 1, 2, key="k"), send("a", 2, 3, 3, key="k")],
        [],
        final(("a", "a"), 6),
    ),
    "one key has two answers": (
        [send("a", 0, 1, 2, key="k"), send("a", 2, 3, 3, key="k")],
        [],
        final(("a",), 6),
    ),
    "one key is used for two requests": (
        [send("a", 0, 1, 2, key="k"), send("b", 2, 3, 2, key="k")],
        [],
        final(("a",), 6),
    ),
    "one call is approved and denied": (
        [
            act("approve_tools", 0, 9, 5, tool_call_ids=("t",)),
            act("approve_tools", 0, 9, 6, denied_ids=("t",)),
        ],
        [],
        None,
    ),
    "one turn is cancelled twice": (
        [send("a", 0, 1, 2), act("cancel", 2, 3, 4), act("cancel", 2, 3, 5)],
        [],
        None,
    ),
    "it is paused twice": ([act("pause", 0, 9, 4), act("pause", 0, 9, 5)], [], None),
    "it runs though it is paused": (
        [act("pause", 0, 1, 4)],
        [read((), 2, 3, 5, status="idle")],
        None,
    ),
    "it was resumed but not paused": ([act("resume", 0, 1, 4)], [], None),
    "it lives after its deletion": ([act("delete", 0, 1, 4)], [read((), 2, 3, 5)], None),
    "it acts after its deletion": ([act("delete", 0, 1, 4), send("a", 2, 3, 6)], [], None),
    "it is gone without a deletion": ([], [read((), 0, 1, 0, found=False)], None),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_history_is_refused(name: str) -> None:
    assert refused(*WRONG[name])


def test_the_violation_shows_the_smallest_stuck_beginning() -> None:
    # Given a long history in which one read in the middle is stale
    history = serial_history(random.Random(3), operations=80)
    late_s = 1_000.0
    stale = read((), late_s, late_s + 1, history.finals[0].version)
    after = read(history.finals[0].said, late_s + 2, late_s + 3, history.finals[0].version)
    # When it is refused
    [violation] = check_linearizability(
        [replace(one, context_id="c0") for one in history.operations],
        [replace(one, context_id="c0") for one in (*history.reads, stale, after)],
    )
    # Then the evidence ends with that read, and says where the order got to
    assert violation.check == "not-linearizable"
    assert violation.context_id == "c0"
    blocked = violation.evidence["cannot_come_next"]
    assert [one["called_s"] for one in blocked if one["client"] == "bob"] == [late_s]
    assert violation.evidence["explained_last"]


@pytest.mark.parametrize("given_up", [True, False])
def test_a_pause_ends_without_a_client_only_where_work_was_given_up(given_up: bool) -> None:
    pause = act("pause", 0, 1, 4)
    violations = check_linearizability([pause], [read((), 2, 3, 5)], pauses_hold=not given_up)
    assert bool(violations) is not given_up


def test_contexts_are_judged_each_by_itself() -> None:
    there = send("a", 0, 1, 2, context_id="c2")
    [violation] = check_linearizability(
        [send("a", 0, 1, 2), there], [], [final((), 3), final(("a",), 3, context_id="c2")]
    )
    assert violation.context_id == "c1"


def test_a_history_that_overlaps_too_much_is_not_called_wrong() -> None:
    sends = [send(f"m{number}", 0, 100, None, outcome=Outcome.APPLIED) for number in range(12)]
    reads = [read(tuple(f"m{number}" for number in range(11)), 101, 102, 50)]
    with pytest.raises(Undecided):
        linearize(ContextModel(), arrange([*sends, *reads]), states_max=500)


def test_each_set_of_operations_is_tried_once() -> None:
    # Given more operations at once than their permutations could be tried
    renames = [act("rename", 0, 100, None, outcome=Outcome.APPLIED) for _ in range(14)]
    entries = arrange([*renames, read(("a",), 101, 102, 50)])
    # When there is no order, then it takes no more tries than there are sets
    stuck = linearize(ContextModel(), entries, states_max=2**14)
    assert not isinstance(stuck, Explained)
    assert len(stuck.order) == 14


@given(rng=RNG, operations=st.integers(0, 60), overlap_s=st.sampled_from([0.0, 3.0, 6.0]))
@settings(max_examples=100, deadline=None)
def test_whatever_a_serial_service_does_is_accepted(
    rng: random.Random, operations: int, overlap_s: float
) -> None:
    history = serial_history(rng, operations=operations, contexts=2, overlap_s=overlap_s)
    assert check_linearizability(history.operations, history.reads, history.finals) == ()


@given(rng=RNG)
@settings(max_examples=100, deadline=None)
def test_a_read_that_turns_stale_is_refused(rng: random.Random) -> None:
    history = serial_history(rng, operations=30)
    acked = [one for one in history.operations if one.outcome is Outcome.APPLIED]
    pairs = [
        (one, index)
        for one in acked
        for index, seen in enumerate(history.reads)
        if (one.returned_s or 0) < seen.called_s
    ]
    if not pairs:
        return
    one, index = rng.choice(pairs)
    reads = list(history.reads)
    said = history.finals[0].said
    reads[index] = replace(reads[index], messages=said[: said.index(one.content or "")])
    assert check_linearizability(history.operations, reads, history.finals)


# Against a brute force


def explained_by_force(model: ContextModel, entries: Sequence[Entry]) -> bool:
    """Whether any permutation of any possible choice of operations explains a history."""
    certain = [entry for entry in entries if entry.certain]
    perhaps = [entry for entry in entries if not entry.certain]
    choices = chain.from_iterable(
        combinations(perhaps, size) for size in range(len(perhaps) + 1)
    )
    return any(
        _explains(model, order)
        for chosen in choices
        for order in permutations((*certain, *chosen))
        if _respects_time(order)
    )


def _respects_time(order: Sequence[Entry]) -> bool:
    return not any(_before(later, earlier) for earlier, later in combinations(order, 2))


def _before(first: Entry, second: Entry) -> bool:
    if first.returned_s < second.called_s:
        return True
    return not isinstance(second.record, Read) and first.delivered_s < second.called_s


def _explains(model: ContextModel, order: Sequence[Entry]) -> bool:
    state = model.begin()
    for entry in order:
        after = model.step(state, entry.record)
        if after is None:
            return False
        state = after
    return True


def tiny_history(rng: random.Random) -> list[Record]:
    """A few operations with results that may or may not fit together."""
    contents = ["a", "b"]
    history: list[Record] = []
    for number in range(rng.randint(1, 6)):
        called_s = rng.randint(0, 6)
        returned_s = called_s + rng.randint(0, 4)
        version = rng.choice([None, rng.randint(1, 4)])
        what = rng.random()
        if what < 0.4:
            said = tuple(rng.sample(contents, rng.randint(0, 2)))
            made = read(said, called_s, returned_s, rng.randint(1, 5))
            status = rng.choice(["idle", "idle", "idle", "paused"])
            history.append(replace(made, status=status, found=rng.random() < 0.95))
            continue
        outcome = rng.choice([Outcome.APPLIED, Outcome.APPLIED, Outcome.ACCEPTED, *Outcome])
        if what < 0.8:
            content = rng.choice(contents)
            key = rng.choice([None, content, "k"])
            one = send(content, called_s, returned_s, version, key=key, outcome=outcome)
        else:
            kind = rng.choice(["pause", "resume", "cancel", "approve_tools", "delete"])
            verdict = {rng.choice(["tool_call_ids", "denied_ids"]): ("t",)}
            one = act(kind, called_s, returned_s, version, outcome=outcome, **verdict)
        history.append(replace(one, client=f"client {number}", epoch=EPOCH))
    return history


@given(rng=RNG, accepted_may_be_refused=st.booleans())
@settings(max_examples=300, deadline=None)
def test_the_search_agrees_with_a_brute_force(
    rng: random.Random, *, accepted_may_be_refused: bool
) -> None:
    history = tiny_history(rng)
    entries = arrange(history, accepted_may_be_refused=accepted_may_be_refused)
    informed = ContextModel.for_history(history)
    shared_keys = frozenset({"a", "b", "k"})
    expected = explained_by_force(ContextModel(shared_keys=shared_keys), entries)
    for model in (ContextModel(shared_keys=shared_keys), informed):
        assert isinstance(linearize(model, entries), Explained) is expected
    if not expected:
        shortest = smallest_stuck(informed, entries)
        assert not isinstance(linearize(informed, shortest), Explained)


def test_the_tiny_histories_are_of_both_kinds() -> None:
    right = sum(
        isinstance(linearize(ContextModel.for_history(history), arrange(history)), Explained)
        for history in (tiny_history(random.Random(seed)) for seed in range(300))
    )
    assert 50 < right < 250
